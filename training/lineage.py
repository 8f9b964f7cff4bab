"""From a pair to what was made of it: datasets, runs, and what came of those.

A pair is withdrawn when a dataset holds it, so that it was approved once, and it is not approved now: a lead rejected
it, opened it again, or undid the approval. Datasets never change, so whoever trained on it should know.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from django.db import connection
from django.db.models import Case, Count, Exists, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import Coalesce

from annotation.jobs import ACTIVE, JobStatus
from annotation.models import Event, Pair, PairStatus
from annotation.pagination import Page, page_by_id
from training.models import (
    Dataset,
    DatasetKind,
    DatasetRow,
    PreferenceSource,
    PromptVersion,
    Publication,
    Run,
    Split,
)

NOT_APPROVED = (PairStatus.PROPOSED, PairStatus.REJECTED)  # by name, so that the index of status serves
DECISIONS = ("pair.rejected", "pair.reopened", "pair.undone")  # by which a pair ceases to be approved
PAGE_SIZE = 50
MOST = 100  # datasets, prompts and products that are listed; more are counted
RUNS_SHOWN = 3  # of each withdrawn pair in a list

# How far a split is from the weights.
DISTANCE = Case(When(split=Split.TRAIN, then=0), When(split=Split.VALIDATION, then=1), default=2)


@dataclass(frozen=True)
class Product:
    """What came of a run: a system, or a copy of its model elsewhere. `url` is "" where there is no page."""

    kind: str
    name: str
    url: str = ""


# Applications above this one add what they make of runs: (person, run ids) -> (run id, product), as the person may see.
PRODUCTS: list[Callable[[object, Sequence[int]], Iterable[tuple[int, Product]]]] = []


def publications(user: object, run_ids: Sequence[int]) -> Iterable[tuple[int, Product]]:
    found = Publication.objects.filter(run__in=run_ids, status=JobStatus.FINISHED).order_by("-pk")[:MOST]
    for publication in found:
        if publication.run_id is not None:
            yield publication.run_id, Product(f"{publication.get_what_display()}, published", publication.target)


def products_of(user: object, run_ids: Sequence[int]) -> dict[int, list[Product]]:
    """What came of each run, without what this person may not see."""
    found: dict[int, list[Product]] = defaultdict(list)
    for source in (*PRODUCTS, publications):
        for run_id, product in source(user, run_ids):
            found[run_id].append(product)
    return found


# From a pair on


# Rows that a pair went into: itself, or a preference made of its rewrite. An item has one pair: the item tells which.
FROM_PAIRS = Q(pair__isnull=False) | Q(preference__source=PreferenceSource.PAIRS)


def rows_of(pair: Pair) -> "QuerySet[DatasetRow]":
    """The rows of datasets that hold the pair, or a preference made of it."""
    return DatasetRow.objects.filter(FROM_PAIRS, item=pair.item_id)


def used(runs: "QuerySet[Run]") -> "QuerySet[Run]":
    """Those that took a step, or may yet."""
    return runs.filter(Q(done__gt=0) | Q(status__in=ACTIVE))


@dataclass(frozen=True)
class Use:
    """One run of a dataset that holds the pair. `changed`: the pair reads otherwise now than when it was frozen."""

    run: Run
    split: str
    changed: bool
    products: list[Product] = field(default_factory=list)

    @property
    def split_label(self) -> str:
        return Split(self.split).label

    @property
    def how(self) -> str:
        """What the run did with the pair, in words."""
        waits = self.run.is_active and not self.run.done
        if not self.run.done and not waits:
            return "Ended before its first step: not trained on it"
        words = {
            Split.TRAIN: ("Trained on it", "Will be trained on it"),
            Split.VALIDATION: ("Its validation loss includes it", "Its validation loss will include it"),
            Split.TEST: ("Held out: the run never saw it", "Held out: the run does not see it"),
        }
        return words[Split(self.split)][waits]


@dataclass(frozen=True)
class Uses:
    """Where a pair went. `datasets` are rows with their dataset, at most MOST of `number_of_datasets`."""

    pair: Pair
    withdrawn: bool
    decision: Event | None
    datasets: list[DatasetRow]
    number_of_datasets: int
    page: Page
    prompts: list[PromptVersion]

    @property
    def trained(self) -> bool:
        """Whether one of the datasets has it in train."""
        return any(row.split == Split.TRAIN for row in self.datasets)


def uses(pair: Pair, user: object, after: str | None = None, size: int = PAGE_SIZE) -> Uses:
    """Everything that was made of a pair, as this person may see it; runs newest first, a page of them.

    The number of queries does not depend on how much that is.
    """
    rows = rows_of(pair)
    page = page_by_id(
        Run.objects.filter(dataset__in=rows.values("dataset")).select_related("dataset", "created_by"),
        after,
        size,
        descending=True,
    )
    used_rows = rows.filter(dataset__in={run.dataset_id for run in page.rows}).order_by(DISTANCE.desc())
    nearest = {row.dataset_id: row for row in used_rows}
    products = products_of(user, [run.pk for run in page.rows])
    page.rows = [
        Use(run, nearest[run.dataset_id].split, changed(nearest[run.dataset_id], pair), products.get(run.pk, []))
        for run in page.rows
    ]
    datasets = list(rows.select_related("dataset").order_by("-dataset_id", DISTANCE).distinct("dataset_id")[: MOST + 1])
    number = len(datasets) if len(datasets) <= MOST else rows.values("dataset").distinct().count()
    withdrawn = pair.status != PairStatus.APPROVED and bool(datasets)
    return Uses(
        pair=pair,
        withdrawn=withdrawn,
        decision=last_decision(pair) if withdrawn else None,
        datasets=datasets[:MOST],
        number_of_datasets=number,
        page=page,
        prompts=prompts_with(pair),
    )


def changed(row: DatasetRow, pair: Pair) -> bool:
    """Whether the pair reads otherwise now than in the row; a preference's row has no labels."""
    return row.rewrite != pair.rewrite or (row.pair_id is not None and row.labels != pair.labels)


def prompts_with(pair: Pair) -> list[PromptVersion]:
    """Prompts that show the pair's text as an example: a model reads those too."""
    text = pair.item.text.strip()
    return list(PromptVersion.objects.filter(project=pair.project_id, examples__contains=[[text]])[:MOST])


def last_decision(pair: Pair) -> Event | None:
    """By what the pair ceased to be approved; None where the log does not reach back to it."""
    events = Event.objects.filter(item=pair.item_id, action__in=DECISIONS)
    return events.select_related("actor").order_by("-pk").first()


def note(pair: Pair) -> dict[str, object] | None:
    """For the pair's page: in how many datasets it is, how many runs used those, and whether it was withdrawn since."""
    rows = rows_of(pair)
    facts = Dataset.objects.filter(pk__in=rows.values("dataset")).aggregate(
        datasets=Count("pk", distinct=True), runs=Count("runs", distinct=True)
    )
    if not facts["datasets"]:
        return None
    return facts | {"pair": pair, "withdrawn": pair.status != PairStatus.APPROVED}


# Withdrawn pairs


def withdrawn(project_id: int, dataset: Dataset | None = None) -> "QuerySet[Pair]":
    """The project's pairs, or the dataset's, that were withdrawn; each with its last `decision`, an event's id or 0."""
    rows = DatasetRow.objects.filter(FROM_PAIRS, item=OuterRef("item"))
    if dataset is not None:
        rows = rows.filter(dataset=dataset)
    pairs = Pair.objects.filter(project=project_id, status__in=NOT_APPROVED).filter(Exists(rows))
    return _with_decision(pairs).select_related("item")


def trained_on(project_id: int) -> "QuerySet[Pair]":
    """Withdrawn pairs that are in train of a dataset that a run used, or is about to."""
    runs = used(Run.objects.filter(dataset=OuterRef("dataset")))
    rows = DatasetRow.objects.filter(Exists(runs), FROM_PAIRS, item=OuterRef("item"), split=Split.TRAIN)
    return withdrawn(project_id).filter(Exists(rows))


def _with_decision(pairs: "QuerySet[Pair]") -> "QuerySet[Pair]":
    events = Event.objects.filter(item=OuterRef("item"), action__in=DECISIONS).order_by("-pk")
    return pairs.annotate(decision=Coalesce(Subquery(events.values("pk")[:1]), Value(0)))


@dataclass(frozen=True)
class Withdrawn:
    """A withdrawn pair in a list: the decision, its split in the dataset asked about, the newest runs trained on it.

    `number_of_runs` counts all of those; `split` is "" where no dataset was asked about.
    """

    pair: Pair
    decision: Event | None
    split: str = ""
    runs: list[Run] = field(default_factory=list)
    number_of_runs: int = 0

    @property
    def more_runs(self) -> int:
        return self.number_of_runs - len(self.runs)


def page_of_withdrawn(
    pairs: "QuerySet[Pair]", after: str | None, dataset: Dataset | None = None, size: int = PAGE_SIZE
) -> Page:
    """A page of what `withdrawn` or `trained_on` gives, the newest decision first. `after` is a pair's id."""
    if after and after.isdecimal() and len(after) < 19:
        # The pair may be approved again by now: its place in the list stays known.
        place = _with_decision(Pair.objects.filter(pk=int(after))).first()
        if place is not None:
            at = place.decision  # type: ignore[attr-defined]
            pairs = pairs.filter(Q(("decision__lt", at)) | Q(("decision", at), ("pk__lt", place.pk)))
    rows = list(pairs.order_by("-decision", "-pk")[: size + 1])  # type: ignore[misc]
    return Page(described(rows[:size], dataset), rows[size - 1].pk if len(rows) > size else None)


# The newest runs trained on each item's pair, and how many there are. A dataset may hold several preferences made of
# one pair: its runs count once.
TRAINED = """
SELECT item_id, run_id, number FROM (
    SELECT item_id, run_id, row_number() OVER (PARTITION BY item_id ORDER BY run_id DESC) AS rank,
        count(*) OVER (PARTITION BY item_id) AS number
    FROM (
        SELECT DISTINCT held.item_id, run.id AS run_id
        FROM training_datasetrow held
        JOIN training_run run ON run.dataset_id = held.dataset_id
        LEFT JOIN training_preference preference ON preference.id = held.preference_id
        WHERE held.item_id = ANY(%(items)s) AND held.split = 'train'
            AND (held.pair_id IS NOT NULL OR preference.source = 'pairs')
            AND (run.done > 0 OR run.status = ANY(%(active)s))
    ) AS once
) AS ranked
WHERE rank <= %(most)s ORDER BY item_id, rank
"""


def described(pairs: Sequence[Pair], dataset: Dataset | None = None) -> list[Withdrawn]:
    """What a list says about each of these pairs, in a few queries for any number of them."""
    rows = DatasetRow.objects.filter(FROM_PAIRS, item__in=[pair.item_id for pair in pairs])
    decisions = Event.objects.select_related("actor").in_bulk([pair.decision for pair in pairs])  # type: ignore[attr-defined]
    splits = dict(rows.filter(dataset=dataset).values_list("item", "split")) if dataset else {}
    with connection.cursor() as cursor:
        items = [pair.item_id for pair in pairs]
        cursor.execute(TRAINED, {"items": items, "active": list(ACTIVE), "most": RUNS_SHOWN})
        trained = cursor.fetchall()
    runs = Run.objects.in_bulk({run for _, run, _ in trained})
    numbers = {item: number for item, _, number in trained}
    of_item: dict[int, list[Run]] = defaultdict(list)
    for item, run, _ in trained:
        if run in runs:  # not deleted in the meantime
            of_item[item].append(runs[run])
    return [
        Withdrawn(
            pair=pair,
            decision=decisions.get(pair.decision),  # type: ignore[attr-defined]
            split=splits.get(pair.item_id, ""),
            runs=of_item[pair.item_id],
            number_of_runs=numbers.get(pair.item_id, 0),
        )
        for pair in pairs
    ]


def withdrawn_by_split(dataset: Dataset) -> dict[str, int]:
    """How many pairs of each split were withdrawn; splits without any are left out. One query, on indexes alone."""
    gone = Pair.objects.filter(project=dataset.project_id, status__in=NOT_APPROVED)
    if dataset.kind == DatasetKind.PAIRS:
        rows = DatasetRow.objects.filter(dataset=dataset, pair__in=gone.values("pk"))
    else:
        rows = DatasetRow.objects.filter(FROM_PAIRS, dataset=dataset, item__in=gone.values("item"))
    found = dict(rows.order_by().values_list("split").annotate(pairs=Count("item", distinct=True)))
    return {split: found[split] for split in Split.values if split in found}
