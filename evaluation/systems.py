"""Systems that generate here: a run's model, or a base model with a prompt; and their outputs for a
dataset.
"""

import time
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from annotation import validators
from annotation.jobs import JobError, JobStatus
from annotation.models import Project
from evaluation.models import Generation, Output, System, SystemKind
from training import prompts
from training.models import Dataset, Run, Split

MAX_NEW_TOKENS = 4_096
DEFAULT_NEW_TOKENS = 256
BATCH_SIZE = 8
LOOK_EVERY = 0.5  # seconds between two looks at whether the job was cancelled


def usable_runs(project_id: int):
    """Runs whose model can generate."""
    return Run.objects.filter(project_id=project_id, status=JobStatus.FINISHED, has_adapter=True)


@transaction.atomic
def create(
    project: Project,
    user,
    *,
    kind: str,
    name: str,
    run: Run | None = None,
    base_model: str = "",
    prompt_template: str = "",
    max_new_tokens: int = DEFAULT_NEW_TOKENS,
) -> System:
    """A system that generates its outputs here.

    Args:
        kind: run (the run's model) or base (a base model alone).
        run: for kind run, the run; for kind base, the run whose base model to use, so that both start from
        the same. base_model: for kind base without a run: a hub id, a folder on the GPU worker, or "" for the
        server's default. prompt_template: holds {text} once. Empty: the run's own, else the usual one.

    Raises:
        ValidationError: keyed by field.
    """
    name, base_model = name.strip(), base_model.strip()
    errors: dict[str, Any] = {}
    if kind not in (SystemKind.RUN, SystemKind.BASE):
        errors["kind"] = "A system is the model of a run, or a base model. Outputs made elsewhere are uploaded."
    if kind == SystemKind.RUN and run is None:
        errors["run"] = "Choose the run whose model it is."
    if run is not None and not usable_runs(project.pk).filter(pk=run.pk).exists():
        errors["run"] = "Choose a finished run of this project."
    if run is not None and base_model:
        errors["base_model"] = "The run says which base model; leave this empty, or choose no run."
    prompt_template = validators.normalise_text(prompt_template)
    if not prompt_template.strip():
        prompt_template = run.parameters["prompt_template"] if run else prompts.DEFAULT_TEMPLATE
    try:
        prompts.check_template(prompt_template)
        validators.check_storable(prompt_template, "The prompt template")
    except ValueError as error:
        errors["prompt_template"] = str(error)
    except ValidationError as error:
        errors["prompt_template"] = error.messages
    if not 1 <= max_new_tokens <= MAX_NEW_TOKENS:
        errors["max_new_tokens"] = f"An output has at least 1 and at most {MAX_NEW_TOKENS} tokens."
    if System.objects.filter(project=project, name=name).exists():
        errors["name"] = "The project has a system of this name already."
    if errors:
        raise ValidationError(errors)
    settings: dict[str, Any] = {"max_new_tokens": max_new_tokens, "batch_size": BATCH_SIZE}
    if run is not None:
        settings["base_revision"] = run.base_revision
    system = System(
        project=project,
        created_by=user,
        name=name,
        kind=kind,
        run=run,
        base_model=run.base_model if run else base_model,
        prompt_template=prompt_template,
        settings=settings,
        is_scratch=run.is_scratch if run else False,
    )
    system.full_clean()
    system.save()
    return system


def pending(system: System, dataset: Dataset, split: str):
    """Rows of the split that the system has no output for, in the dataset's order."""
    have = Output.objects.filter(system=system)
    rows = dataset.rows.filter(split=split, item__isnull=False)  # an uploaded preference may have no text here
    return rows.exclude(item__in=have.values("item")).order_by("position")


def generate(system: System, dataset: Dataset, user, split: str = Split.TEST) -> Generation:
    """Queue the system's outputs for a split of a dataset.

    Raises:
        ValidationError: keyed by field.
    """
    from evaluation import tasks

    if system.kind == SystemKind.UPLOAD:
        raise ValidationError("This system's outputs are uploaded; there is no model to generate with.")
    if dataset.project_id != system.project_id:
        raise ValidationError({"dataset": "Choose a dataset of the same project."})
    if split not in Split.values:
        raise ValidationError({"split": f"A split is one of {', '.join(Split.values)}."})
    if not dataset.counts.get(split):
        raise ValidationError({"split": f"The {split} split of this dataset is empty."})
    missing = pending(system, dataset, split).count()
    if not missing:
        raise ValidationError({"dataset": "The system has an output for every text of this split already."})
    try:
        with transaction.atomic():
            job = Generation.objects.create(
                project_id=system.project_id,
                system=system,
                dataset=dataset,
                split=split,
                created_by=user,
                total=dataset.counts[split],
                done=dataset.counts[split] - missing,
                message="Waiting for a GPU worker",
            )
            job.queue(tasks.execute_generation)
    except IntegrityError:
        raise ValidationError("The system is generating already. Wait for it, or stop it first.") from None
    return job


def run(job: Generation) -> dict[str, Any]:
    """Generate what is missing, batch by batch. Stopped or killed, it goes on where it was.

    Raises:
        JobError: with a sentence for people. Cancelled and LeaseLost pass through from the job.
    """
    from training import base_models  # here, so that web processes never load torch
    from training.engine import generation, loading

    rows = list(pending(job.system, job.dataset, job.split).values_list("item_id", "text"))
    total = job.dataset.counts[job.split]
    done = total - len(rows)
    job.report(done, total, "Loading the model")
    looked = time.monotonic()

    def tick() -> None:
        nonlocal looked
        if time.monotonic() - looked >= LOOK_EVERY:
            looked = time.monotonic()
            job.beat()

    try:
        spec = _spec(job)
        for batch in generation.generate(spec, [text for _, text in rows], tick):
            made, rows = rows[: len(batch)], rows[len(batch) :]
            _store(job, made, batch)
            done += len(batch)
            job.report(done, total, "Generating")
    except (base_models.BaseModelError, loading.TrainingError) as error:
        raise JobError(str(error)) from error
    except Exception as error:
        if "out of memory" in str(error).lower():
            raise JobError(
                f"The worker ran out of memory with batches of {spec.batch_size} texts and outputs of up to "
                f"{spec.max_new_tokens} tokens. Make a system with fewer tokens, or use a smaller model."
            ) from error
        raise
    return {"message": f"{total:,} outputs"}


def _spec(job: Generation):
    """What to generate with. A base model is found once: later outputs come from the one that made the
    first.
    """
    from training import artifacts, base_models, runner
    from training.engine.generation import GenerationSpec

    system = job.system
    if revision := system.settings.get("base_revision"):
        base = base_models.locate(system.base_model, revision)
    else:
        base = base_models.resolve(system.base_model, lambda: runner.scratch_texts(job.dataset, system.prompt_template))
        system.base_model, system.is_scratch = base.name, base.is_scratch
        system.settings |= {"base_revision": base.revision}
        system.save(update_fields=["base_model", "is_scratch", "settings"])
    values: dict[str, Any] = {}
    if system.run:
        parameters = system.run.run_parameters()
        values = {
            "max_length": parameters.max_length,
            "double_quantisation": parameters.double_quantisation,
            "compute_dtype": parameters.compute_dtype,
        }
    if system.run and system.kind == SystemKind.RUN:
        values["adapter"] = artifacts.fetch(system.run)
    return GenerationSpec(
        base_folder=base.folder,
        prompt_template=system.prompt_template,
        max_new_tokens=system.settings.get("max_new_tokens", DEFAULT_NEW_TOKENS),
        batch_size=system.settings.get("batch_size", BATCH_SIZE),
        **values,
    )


@transaction.atomic
def _store(job: Generation, rows: list[tuple[int, str]], batch) -> None:
    # The row stays locked until the outputs are written: a job that was taken over writes none.
    if not job._mine().select_for_update().exists():
        job.beat()
        return
    Output.objects.bulk_create(
        (
            Output(
                project_id=job.project_id,
                system_id=job.system_id,
                item_id=item_id,
                # An output of nothing but white space is an empty one.
                text=validators.normalise_text(made.text).replace("\x00", "\ufffd") if made.text.strip() else "",
                tokens=made.tokens,
                seconds=made.seconds,
            )
            for (item_id, _), made in zip(rows, batch, strict=True)
        ),
        ignore_conflicts=True,
    )
