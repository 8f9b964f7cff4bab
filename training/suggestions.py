"""The model of a finished run as a source of suggestions. Only `ask` loads it, on a GPU worker."""

from collections.abc import Callable, Iterator
from typing import Any

from annotation import suggesters
from annotation.jobs import JobError, JobStatus
from annotation.models import AnswerFormat, Project, SuggestionPrompt
from annotation.suggesters import Answer, Asked, Request, Source
from training.models import Run

BATCH_SIZE = 32


def _usable(project_id: int):
    return Run.objects.filter(project_id=project_id, status=JobStatus.FINISHED, has_adapter=True)


def _source(run: Run) -> Source:
    # Runs learn to answer with the rewrite alone, to the prompt they were trained with.
    return Source(
        kind="run",
        id=run.pk,
        name=f"Run: {run.name}"[:300],
        template=run.parameters["prompt_template"],
        answer_format=AnswerFormat.TEXT,
        is_scratch=run.is_scratch,
    )


def sources(project: Project) -> list[Source]:
    return [_source(run) for run in _usable(project.pk)[:200]]


def source(project_id: int, pk: int) -> Source | None:
    run = _usable(project_id).filter(pk=pk).first()
    return _source(run) if run else None


class _Prompts:
    """The prompts of the requests that are taken. Unlike a generator it may go on after it had none for a while.

    `taken` maps the number of a prompt, in the order they were taken, to its request.
    """

    def __init__(self, take: Callable[[], Request | None]) -> None:
        self.take = take
        self.count = 0
        self.taken: dict[int, Request] = {}

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        request = self.take()
        if request is None:
            raise StopIteration
        self.taken[self.count] = request
        self.count += 1
        return request.prompt


def ask(
    prompt: SuggestionPrompt, rate_per_minute: int, take: Callable[[], Request | None], tick: Callable[[], None]
) -> Iterator[Asked]:
    """As suggesters.Suggester.ask; batch by batch. The rate limit is for servers of others and does not hold here."""
    from training import artifacts, base_models  # here, so that web processes never load torch
    from training.engine import generation, loading
    from training.engine.trusted import trust

    run = _usable(prompt.project_id).filter(pk=prompt.source_id).first()
    if run is None:
        raise JobError(f"{prompt.source_name} is gone. Choose another source.")
    parameters = run.run_parameters()
    prompts = _Prompts(take)
    try:
        base = base_models.locate(run.base_model, run.base_revision)
        adapter = artifacts.fetch(run)
        if base.remote_code:
            trust(adapter)  # its tokenizer, or the whole model, is loaded from there, with the same code
        spec = generation.GenerationSpec(
            base_folder=base.folder,
            adapter=adapter,
            prompt_template="{text}",  # the prompts are complete
            max_length=parameters.max_length,
            max_new_tokens=prompt.max_tokens,
            window=BATCH_SIZE,  # more would set the budget aside for texts whose turn is far away
            four_bit=parameters.in_four_bits,
            double_quantisation=parameters.double_quantisation,
            compute_dtype=parameters.compute_dtype,
        )
        for batch in generation.generate(spec, prompts, tick):
            for made in batch:
                yield prompts.taken.pop(made.index), _answer(run, made)
    except (base_models.BaseModelError, loading.TrainingError) as error:
        raise JobError(str(error)) from error
    except Exception as error:
        if "out of memory" in str(error).lower():
            raise JobError(
                f"The worker ran out of memory with batches of {BATCH_SIZE} texts and answers of up to "
                f"{prompt.max_tokens} tokens. Allow fewer tokens, or choose a smaller model."
            ) from error
        raise


def _answer(run: Run, made: Any) -> Answer:
    return Answer(
        text=made.text.replace("\x00", "\ufffd"),
        model=run.base_model,
        input_tokens=made.prompt_tokens,
        output_tokens=made.tokens,
        seconds=made.seconds,
        cut_off=made.cut_off,
    )


def _task() -> Any:
    from training import tasks

    return tasks.execute_suggestions


SUGGESTER = suggesters.Suggester(kind="run", title="Finished run", sources=sources, source=source, ask=ask, task=_task)
