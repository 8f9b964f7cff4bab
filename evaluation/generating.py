"""What a GPU worker does with a generation: load the model once, generate what is missing, batch by batch."""

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from django.db import transaction

from annotation.jobs import Job, JobError
from evaluation.models import Generation, Output, System, SystemKind
from evaluation.systems import DEFAULT_NEW_TOKENS, clean_output, pending, rows_of
from training.models import Dataset

if TYPE_CHECKING:
    from training.engine.generation import Generated, GenerationSpec

LOOK_EVERY = 0.5  # seconds between two looks at whether the job was cancelled
FETCH = 1_000  # texts


def run(job: Generation) -> dict[str, Any]:
    """Generate what is missing. Stopped or killed, it goes on where it was.

    Raises:
        JobError: with a sentence for people. Cancelled and LeaseLost pass through from the job.
    """
    from training.engine import generation  # here, so that web processes never load torch

    total = rows_of(job.dataset, job.split).count()
    done = total - pending(job.system, job.dataset, job.split).count()
    job.report(done, total, "Loading the model")
    taken: dict[int, int] = {}

    def texts() -> Iterator[str]:
        number, last = 0, -1
        while rows := list(
            pending(job.system, job.dataset, job.split)
            .filter(position__gt=last)
            .values_list("position", "item_id", "text")[:FETCH]
        ):
            last = rows[-1][0]
            for _, item_id, text in rows:
                taken[number] = item_id
                number += 1
                yield text

    cut = 0
    with explained(job.system):
        spec = spec_for(job.system, job.dataset)
        for batch in generation.generate(spec, texts(), ticking(job)):
            _store(job, [(taken.pop(made.index), made) for made in batch])
            cut += sum(made.prompt_cut for made in batch)
            done += len(batch)
            job.report(done, total, "Generating")
    message = f"{total:,} outputs"
    if cut:
        message += f"; {cut:,} prompts were longer than the model reads and lost their beginning"
    return {"message": message}


def ticking(job: Job) -> Callable[[], None]:
    """Looks now and then whether the job is to stop, and raises what stops it."""
    looked = time.monotonic()

    def tick() -> None:
        nonlocal looked
        if time.monotonic() - looked >= LOOK_EVERY:
            looked = time.monotonic()
            job.beat()

    return tick


class explained:
    """Turns what goes wrong with a model into a sentence for people."""

    def __init__(self, system: System) -> None:
        self.system = system

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        from training import base_models
        from training.engine import loading

        if isinstance(error, base_models.BaseModelError | loading.TrainingError):
            raise JobError(str(error)) from error
        if isinstance(error, Exception) and "out of memory" in str(error).lower():
            raise JobError(
                "The worker ran out of memory with a single text and outputs of up to "
                f"{self.system.settings.get('max_new_tokens', DEFAULT_NEW_TOKENS):,} tokens. Make a system with fewer "
                "tokens, or use a smaller model."
            ) from error


def spec_for(system: System, dataset: Dataset | None) -> "GenerationSpec":
    """What to generate with. A base model is found once: later outputs come from the one that made the first.

    Args:
        dataset: whose texts a scratch model is made of, where it comes to that.
    Raises:
        training.base_models.BaseModelError: the base model cannot be found.
        JobError: what the run trained is not to be had.
    """
    from training import base_models
    from training.engine.generation import GenerationSpec
    from training.engine.trusted import trust

    base = _base(system, dataset)
    settings = system.settings
    values: dict[str, Any] = {
        name: settings[name] for name in ("temperature", "top_p", "seed", "engine") if name in settings
    }
    if "batch_size" in settings:
        values["batch_size"] = settings["batch_size"]
    if system.run:
        parameters = system.run.run_parameters()
        values |= {
            "max_length": parameters.max_length,
            "four_bit": parameters.in_four_bits,
            "double_quantisation": parameters.double_quantisation,
            "compute_dtype": parameters.compute_dtype,
        }
    if system.run and system.kind == SystemKind.RUN:
        values |= _trained(system)
        if base.remote_code:
            trust(values["adapter"])  # its tokenizer, or the whole model, is loaded from there, with the same code
    if not base.folder.is_dir():
        raise base_models.BaseModelError(f"The base model's folder {base.folder} is gone.")
    return GenerationSpec(
        base_folder=base.folder,
        prompt_template=system.prompt_template,
        examples=system.examples,
        max_new_tokens=settings.get("max_new_tokens", DEFAULT_NEW_TOKENS),
        **values,
    )


def _trained(system: System) -> dict[str, Any]:
    """What the run trained, on this machine, and how it is loaded. Raises JobError where it is not to be had."""
    from training import artifacts

    assert system.run is not None
    weights = system.settings.get("weights", "adapter")
    if weights == "stored":
        return {"adapter": artifacts.fetch(system.run, "merged")}
    return {"adapter": artifacts.fetch(system.run), "weights": weights}


def _base(system: System, dataset: Dataset | None):
    from training import base_models, runner

    if revision := system.settings.get("base_revision"):
        return base_models.locate(system.base_model, revision)

    def scratch_texts() -> Iterator[str]:
        if dataset is None:
            raise JobError(
                "This base model cannot be loaded, and a scratch model is made from a dataset: freeze one first."
            )
        return runner.scratch_texts(dataset, system.prompt_template)

    base = base_models.resolve(system.base_model, scratch_texts)
    system.base_model, system.is_scratch = base.name, base.is_scratch
    system.settings |= {"base_revision": base.revision}
    system.save(update_fields=["base_model", "is_scratch", "settings"])
    return base


@transaction.atomic
def _store(job: Generation, rows: "list[tuple[int, Generated]]") -> None:
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
                text=clean_output(made.text),
                tokens=made.tokens,
                prompt_tokens=made.prompt_tokens,
                seconds=made.seconds,
                cut_off=made.cut_off,
                prompt_cut=made.prompt_cut,
            )
            for item_id, made in rows
        ),
        ignore_conflicts=True,
    )
