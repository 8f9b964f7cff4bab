"""Labels estimated from all annotations of a project together, for leads to see beside the majority.

Annotations are streamed into arrays, so memory grows by about 30 bytes an annotation; the estimation runs inside a
worker only, where its library is loaded.
"""

import json
import warnings
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.core.exceptions import ValidationError
from django.db import connection, transaction

from annotation import events
from annotation.jobs import JobError, JobStatus, LeaseLost
from annotation.models import (
    Annotation,
    AnnotatorConsensus,
    ConsensusMethod,
    ConsensusRun,
    ItemConsensus,
    ItemKind,
    Project,
)

CHUNK = 10_000
MAX_ITERATIONS = 200
TOLERANCE = 1e-7
TIED = 1e-3  # a smaller difference between two levels' probabilities decides nothing


@dataclass(frozen=True)
class Estimate:
    """One dimension, estimated.

    Args:
        labels: shape (items,), index of the most probable level, -1 where there is none or the first place is shared.
        confidence: shape (items,), its probability.
        prior: shape (levels,), estimated share of each level.
        matrices: shape (annotators, true level, chosen level), rows sum to 1. NaN for annotators without
            a label, and in rows of levels that nobody chose.
        used: shape (annotators,), how many labels each gave.
    """

    labels: np.ndarray
    confidence: np.ndarray
    prior: np.ndarray
    matrices: np.ndarray
    used: np.ndarray
    iterations: int
    converged: bool


def dawid_skene(
    items: np.ndarray, annotators: np.ndarray, levels: np.ndarray, *, n_items: int, n_annotators: int, n_levels: int
) -> Estimate:
    """Labels and error rates by the EM algorithm of Dawid and Skene, begun from the shares of the votes.

    Args:
        items, annotators, levels: shape (labels given,), indices. Labels may be missing, or given twice by one person.

    Returns:
        Items without a label get -1 and NaN. A level that nobody chose has prior 0.

    Source: Dawid and Skene, Applied Statistics 28 (1979), by crowdkit.aggregation.DawidSkene.
    """
    import pandas as pd
    from crowdkit.aggregation import DawidSkene

    labels = np.full(n_items, -1, dtype=np.int16)
    confidence = np.full(n_items, np.nan)
    prior = np.zeros(n_levels)
    matrices = np.full((n_annotators, n_levels, n_levels), np.nan)
    used = np.bincount(annotators, minlength=n_annotators)
    if not len(items):
        return Estimate(labels, confidence, prior, matrices, used, 0, True)
    data = pd.DataFrame({"task": items, "worker": annotators, "label": levels}, copy=False)
    model = DawidSkene(n_iter=MAX_ITERATIONS, tol=TOLERANCE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(data)
    assert model.probas_ is not None and model.errors_ is not None and model.priors_ is not None
    found = model.probas_.columns.to_numpy()
    probabilities = model.probas_.to_numpy()
    rows = model.probas_.index.to_numpy()
    best = probabilities.argmax(axis=1)
    labels[rows] = found[best]
    confidence[rows] = probabilities[np.arange(len(rows)), best]
    if probabilities.shape[1] > 1:
        first_two = np.sort(probabilities, axis=1)[:, -2:]
        labels[rows[first_two[:, 1] - first_two[:, 0] < TIED]] = -1
    prior[found] = model.priors_.reindex(found).to_numpy()
    workers = model.errors_.index.get_level_values("worker").to_numpy()
    chosen = model.errors_.index.get_level_values("label").to_numpy()
    for column, true in enumerate(model.errors_.columns.to_numpy()):
        matrices[np.unique(workers), true] = 0
        matrices[workers, true, chosen] = model.errors_.to_numpy()[:, column]
    iterations = len(model.loss_history_)
    return Estimate(labels, confidence, prior, matrices, used, iterations, iterations < MAX_ITERATIONS)


# The job


def start(project: Project, user, *, method: str = ConsensusMethod.DAWID_SKENE) -> ConsensusRun:
    """Queue an estimation.

    Raises:
        ValidationError: keyed by field; nobody has annotated yet, or one is running.
    """
    from annotation import tasks

    if method not in ConsensusMethod.values:
        raise ValidationError({"method": f"Choose one of {', '.join(ConsensusMethod.values)}."})
    with transaction.atomic():
        Project.objects.select_for_update(no_key=True).get(pk=project.pk)
        active = ConsensusRun.objects.filter(project=project, status__in=[JobStatus.QUEUED, JobStatus.RUNNING])
        if active.exists():
            raise ValidationError("The consensus is being estimated already.")
        if not _annotations(project.pk).exists():
            raise ValidationError("Nobody has annotated a text of this project yet.")
        run = ConsensusRun.objects.create(project=project, created_by=user, method=method)
        events.record(project, user, "consensus.started", subject=run.get_method_display())
        run.queue(tasks.execute_consensus)
    return run


def _annotations(project_id: int):
    return Annotation.objects.filter(project=project_id, kind=ItemKind.WORK)


@dataclass
class _Votes:
    """Everybody's labels as arrays. items, annotators: ids by first appearance; levels: per dimension, -1 for none."""

    items: list[int]
    annotators: list[int]
    item: np.ndarray
    annotator: np.ndarray
    levels: dict[str, np.ndarray]


def read(job: ConsensusRun, levels: dict[str, list[str]]) -> _Votes:
    """Stream the project's annotations into arrays."""
    item_places: dict[int, int] = {}
    annotator_places: dict[int, int] = {}
    item, annotator = array("i"), array("i")
    chosen = {key: array("b") for key in levels}
    places = {key: {level: place for place, level in enumerate(names)} for key, names in levels.items()}
    total = _annotations(job.project_id).count()
    job.report(0, total, "Reading the annotations")
    rows = _annotations(job.project_id).order_by().values_list("item_id", "annotator_id", "labels")
    for done, (item_id, annotator_id, labels) in enumerate(rows.iterator(chunk_size=CHUNK), 1):
        item.append(item_places.setdefault(item_id, len(item_places)))
        annotator.append(annotator_places.setdefault(annotator_id, len(annotator_places)))
        for key, known in places.items():
            chosen[key].append(known.get(labels.get(key), -1))
        if done % (10 * CHUNK) == 0:
            job.report(done, max(total, done))
    return _Votes(
        list(item_places),
        list(annotator_places),
        np.frombuffer(item, dtype=np.int32),
        np.frombuffer(annotator, dtype=np.int32),
        {key: np.frombuffer(values, dtype=np.int8) for key, values in chosen.items()},
    )


def run(job: ConsensusRun) -> dict[str, Any]:
    """Estimate every dimension and write the result, all of it at once.

    Raises:
        JobError: there is nothing to estimate from.
    """
    dimensions = list(job.project.dimensions.all())
    levels = {dimension.key: dimension.levels for dimension in dimensions}
    votes = read(job, levels)
    if not votes.items:
        raise JobError("Nobody has annotated a text of this project yet.")
    estimates: dict[str, Estimate] = {}
    for number, dimension in enumerate(dimensions, 1):
        job.report(number - 1, len(dimensions), f"Estimating {dimension.name}")
        given = votes.levels[dimension.key] >= 0
        estimates[dimension.key] = dawid_skene(
            votes.item[given],
            votes.annotator[given],
            votes.levels[dimension.key][given],
            n_items=len(votes.items),
            n_annotators=len(votes.annotators),
            n_levels=len(dimension.levels),
        )
    job.report(len(dimensions), len(dimensions), f"Writing {len(votes.items):,} texts")
    _write(job, votes, estimates, levels)
    texts = f"{len(votes.items):,} text{'' if len(votes.items) == 1 else 's'}"
    count = len(votes.item)
    return {
        "annotations": count,
        "items": len(votes.items),
        "dimensions": {
            key: {
                "iterations": one.iterations,
                "converged": one.converged,
                "prior": dict(zip(levels[key], [round(float(p), 6) for p in one.prior], strict=True)),
            }
            for key, one in estimates.items()
        },
        "message": f"{texts}, from {count:,} annotation{'' if count == 1 else 's'}.",
    }


def _write(job: ConsensusRun, votes: _Votes, estimates: dict[str, Estimate], levels: dict[str, list[str]]) -> None:
    with transaction.atomic():
        # Another attempt's rows, and those of earlier runs: the newest one is what is shown.
        earlier = ConsensusRun.objects.filter(project=job.project_id, pk__lte=job.pk)
        ItemConsensus.objects.filter(run__in=earlier).delete()
        AnnotatorConsensus.objects.filter(run__in=earlier).delete()
        gone = _missing_items(votes.items)
        counts = np.bincount(votes.item, minlength=len(votes.items))
        with connection.cursor() as cursor:
            sql = "COPY annotation_itemconsensus (run_id, item_id, labels, confidence, annotations) FROM STDIN"
            with cursor.copy(sql) as copy:
                for place, item in enumerate(votes.items):
                    if item in gone:
                        continue
                    labels, confidence = {}, {}
                    for key, one in estimates.items():
                        if (level := int(one.labels[place])) >= 0:
                            labels[key] = levels[key][level]
                            confidence[key] = round(float(one.confidence[place]), 6)
                    values = (json.dumps(labels, ensure_ascii=False), json.dumps(confidence))
                    copy.write_row((job.pk, item, *values, int(counts[place])))
        AnnotatorConsensus.objects.bulk_create(_annotator_rows(job, votes, estimates, levels), batch_size=500)
        job.beat()  # cancelled, or another worker's by now: then nothing of this is written
        if not ConsensusRun.objects.filter(pk=job.pk, attempt=job.attempt).exists():
            raise LeaseLost


def _missing_items(items: list[int]) -> set[int]:
    """Those that were deleted since they were read."""
    from annotation.models import Item

    gone: set[int] = set()
    for begin in range(0, len(items), CHUNK):
        part = items[begin : begin + CHUNK]
        gone |= set(part) - set(Item.objects.filter(pk__in=part).values_list("pk", flat=True))
    return gone


def _annotator_rows(
    job: ConsensusRun, votes: _Votes, estimates: dict[str, Estimate], levels: dict[str, list[str]]
) -> Iterator[AnnotatorConsensus]:
    for key, one in estimates.items():
        for place, annotator in enumerate(votes.annotators):
            if not one.used[place]:
                continue
            matrix = one.matrices[place]
            yield AnnotatorConsensus(
                run=job,
                annotator_id=annotator,
                dimension=key,
                annotations=int(one.used[place]),
                accuracy=float(np.nansum(one.prior * matrix.diagonal())),
                levels=levels[key],
                matrix=[[None if np.isnan(value) else round(float(value), 6) for value in row] for row in matrix],
            )


# What others read


def latest(project_id: int) -> ConsensusRun | None:
    """The newest finished run, whose rows are kept."""
    return ConsensusRun.objects.filter(project=project_id, status=JobStatus.FINISHED).order_by("-pk").first()


def annotations_since(run: ConsensusRun) -> int:
    """How many annotations came after the run began; so many it does not know."""
    return _annotations(run.project_id).filter(created_at__gt=run.started_at or run.created_at).count()


def labels_for(item_ids: Iterable[int]) -> dict[int, dict[str, Any]]:
    """The consensus of these items: id -> {"labels": {key: level}, "confidence": {key: probability}, "run": id}.

    Items without one are absent. One query; call it with a page or a chunk of ids.
    """
    rows = ItemConsensus.objects.filter(item__in=list(item_ids), run__status=JobStatus.FINISHED).order_by("run_id")
    return {
        item: {"labels": labels, "confidence": confidence, "run": run}
        for item, labels, confidence, run in rows.values_list("item_id", "labels", "confidence", "run_id")
    }
