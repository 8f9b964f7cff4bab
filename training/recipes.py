"""Recipes: check, make, pin to a commit. Pages, API, admin site and the start of a run call these."""

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Avg, Count, Max
from django.db.models.functions import Length

from annotation.jobs import JobStatus
from annotation.models import Project
from annotation.redaction import holds_token
from annotation.validators import check_storable, normalise_text
from training import base_models, checks, known_models, prompts, recipe_yaml
from training.facts import ModelFacts
from training.models import Dataset, Method, PromptVersion, Recipe, Run, Split
from training.parameters import Hyperparameters, ParameterErrors

REVISION_LENGTH = 100
LABELS = {
    "base_model": "Base model", "method": "Method", "dataset": "Dataset", "revision": "Revision", "name": "Name",
    "prompt_template": "Prompt template", "prompt_name": "Prompt name", "examples": "Examples",
}  # fmt: skip


@dataclass(frozen=True)
class Examined:
    """What was found out about a recipe, and about its base model."""

    report: checks.Report
    known: known_models.Known
    device: checks.Device | None = None
    gib: float | None = None
    measured_memory: tuple[float, str] | None = None

    @property
    def capacity(self) -> float | None:
        return self.gib or (self.device.gib if self.device else None)

    @property
    def high(self) -> float:
        """From where on the memory is nearly full, in GiB."""
        return 0.9 * (self.capacity or 0)

    @property
    def fits(self) -> bool | None:
        """Whether the estimate fits the device; None where one of the two is not known."""
        if not self.report.memory or not self.capacity:
            return None
        return self.report.memory.gib <= self.capacity


def check_parameters(values: Any) -> Hyperparameters:
    """The hyperparameters. Raises ValidationError keyed by parameter."""
    try:
        return Hyperparameters.from_json(values)
    except ParameterErrors as error:
        raise ValidationError(dict(error.messages)) from None


def check_method(method: Any) -> None:
    if method not in Method.values:
        raise ValidationError({"method": f"Give one of {', '.join(Method.values)}."})


def read_yaml(text: str) -> recipe_yaml.Loaded:
    """The recipe. Raises ValidationError keyed by "yaml", each message beginning with the key that is wrong."""
    try:
        return recipe_yaml.load(text)
    except recipe_yaml.RecipeErrors as error:
        lines = [message if key == "yaml" else f"{key}: {message}" for key, message in error.messages.items()]
        raise ValidationError({"yaml": lines}) from None


def check_template(template: str) -> None:
    """Raise ValidationError unless this can be a prompt template."""
    try:
        prompts.check_template(template)
    except ValueError as error:
        raise ValidationError(str(error)) from None
    check_storable(template, "The prompt template")


def check_prompt(template: str, examples: Any) -> list[list[str]]:
    """The examples, tidied. Raises ValidationError keyed by field unless both can make a prompt."""
    try:
        check_template(template)
    except ValidationError as error:
        raise ValidationError({"prompt_template": error.messages}) from None
    try:
        checked = prompts.check_examples(examples)
    except ValueError as error:
        raise ValidationError({"examples": str(error)}) from None
    for number, example in enumerate(checked, start=1):
        for part in example:
            _check_stored("examples", part, f"Example {number}")
    return checked


def _check_stored(field: str, text: str, what: str) -> None:
    """Raise ValidationError, keyed by field, where the text cannot be stored."""
    try:
        check_storable(text, what)
    except ValidationError as error:
        raise ValidationError({field: error.messages}) from None


def _refuse_token(field: str, text: str) -> None:
    """Raise ValidationError, keyed by field, where an access token would be stored."""
    if holds_token(text):
        raise ValidationError(
            {field: "This holds an access token. Tokens belong into the worker's environment, HF_TOKEN."}
        )


@transaction.atomic
def keep_prompt(project: Project, user, name: str, template: str, examples: Any = ()) -> PromptVersion:
    """The newest version of the named prompt; a new one where its words or examples differ.

    Raises:
        ValidationError: keyed by field.
    """
    template = normalise_text(template)  # a form posts \r\n, which a model would read as other tokens
    examples = check_prompt(template, examples)
    name = name.strip() or "Rewrite"
    _check_stored("prompt_name", name, "The prompt's name")
    _refuse_token("prompt_name", name)
    _refuse_token("prompt_template", template)
    for part in itertools.chain(*examples):
        _refuse_token("examples", part)
    Project.objects.select_for_update().get(pk=project.pk)  # two people never get one number
    newest = PromptVersion.objects.filter(project=project, name=name).order_by("-version").first()
    if newest and newest.template == template and newest.examples == examples:
        return newest
    prompt = PromptVersion(
        project=project,
        name=name,
        version=newest.version + 1 if newest else 1,
        template=template,
        examples=examples,
        created_by=user,
    )
    prompt.full_clean()
    prompt.save()
    return prompt


def examine(
    *,
    method: str,
    base_model: str,
    revision: str,
    parameters: Hyperparameters,
    template: str = "",
    examples: Sequence[Sequence[str]] = (),
    dataset: Dataset | None = None,
    device: str = "",
    gib: float | None = None,
    look: bool = True,
) -> Examined:
    """Check a recipe and estimate what it needs, with all that is known about its base model and earlier runs.

    Args:
        device: a key of checks.DEVICES, or "". gib: the device's memory, where it is another than the table's.
        look: whether the hub may be asked about the base model.
    """
    found = known_models.known(base_model, revision, look=look)
    chosen = checks.DEVICES.get(device)
    measured = memory = None
    if dataset and chosen:
        measured, memory = _measured(found.name, method, parameters, chosen)
    made = checks.report(
        found.facts,
        method,
        parameters,
        template=template,
        examples=examples,
        device=chosen,
        gib=gib,
        data=data_of(dataset) if dataset else None,
        measured=measured,
        remote_code_allowed=found.code_allowed,
    )
    if not base_model:
        # The server's default may be a scratch model, which only a worker knows: nothing about it is impossible.
        softer = [
            checks.warning(one.field, one.message)
            if one.level == "error" and _is_about_model(one, found.facts)
            else one
            for one in made.findings
        ]
        made = checks.Report(made.facts, softer, made.memory, made.time)
    if found.trouble:
        made.findings.insert(0, checks.error("base_model", found.trouble))
    return Examined(made, found, chosen, gib, memory)


def _is_about_model(finding: checks.Finding, facts: ModelFacts | None) -> bool:
    return facts is not None and finding.field in ("base_model", "method", "max_length", "target_modules")


def data_of(dataset: Dataset) -> checks.Data:
    """Lengths of a dataset's training pairs, in characters."""
    rows = dataset.rows.filter(split=Split.TRAIN).aggregate(
        pairs=Count("pk"), mean=Avg(Length("text")), answer=Avg(Length("rewrite")), longest=Max(Length("text"))
    )
    return checks.Data(
        dataset.kind, rows["pairs"], float(rows["mean"] or 0), float(rows["answer"] or 0), rows["longest"] or 0
    )


def _measured(
    name: str, method: str, p: Hyperparameters, device: checks.Device
) -> tuple[tuple[float, str] | None, tuple[float, str] | None]:
    """(tokens a second, where from) and (peak GiB, where from) of earlier runs of this base model and method on this
    device; the peak only of runs with the same batch and length.
    """
    ended = Run.objects.filter(
        status=JobStatus.FINISHED, base_model=name, parameters__method=method, device__contains=device.matches
    ).order_by("-pk")
    speeds, memory = [], None
    for run in ended.only("pk", "device", "figures", "parameters")[:20]:
        if checks.device_named(run.device) != device:
            continue
        if speed := run.figures.get("tokens_per_second"):
            speeds.append(float(speed) / max(1, int(run.parameters.get("processes", 1))))
        peak = run.figures.get("peak_gpu_gib")
        same = all(run.parameters.get(key) == getattr(p, key) for key in ("batch_size", "max_length"))
        if peak and same and memory is None:
            memory = float(peak), f"run {run.pk}"
    if not speeds:
        return None, memory
    words = f"measured in {len(speeds)} earlier run{'s' if len(speeds) > 1 else ''} of this base model and method"
    return (statistics.median(speeds[:5]), f"{words} on {device.name}"), memory


def refuse(findings: Sequence[checks.Finding]) -> None:
    """Raise ValidationError, keyed by field, where there are errors among the findings."""
    errors: dict[str, list[str]] = {}
    for finding in findings:
        if finding.level == "error":
            errors.setdefault(finding.field, []).append(finding.message)
    if errors:
        raise ValidationError(errors)


def label(field: str) -> str:
    """A field's name on the form."""
    import dataclasses

    labels = {spec.name: spec.metadata["label"] for spec in dataclasses.fields(Hyperparameters)}
    return labels.get(field) or LABELS.get(field, field)


def create_recipe(
    *,
    project: Project,
    name: str,
    user,
    parameters: Mapping[str, Any],
    base_model: str = "",
    revision: str = "",
    method: str = Method.QLORA,
    prompt_template: str = prompts.DEFAULT_TEMPLATE,
    prompt_name: str = "",
    examples: Any = (),
) -> Recipe:
    """A recipe, checked before anything is queued.

    Raises:
        ValidationError: keyed by field or parameter.
    """
    check_method(method)
    base_model, revision = base_model.strip(), revision.strip()
    check_base(base_model, revision)
    for field, text in (("name", name), ("base_model", base_model), ("revision", revision)):
        _refuse_token(field, text)
    check_storable(name, "The name")
    hyperparameters = check_parameters(dict(parameters))
    # Before the transaction: the hub may take its time.
    looked = examine(
        method=method,
        base_model=base_model,
        revision=revision,
        parameters=hyperparameters,
        look=bool(base_model),
    )
    refuse(looked.report.findings)
    with transaction.atomic():
        prompt = keep_prompt(project, user, prompt_name, prompt_template, examples)
        recipe = Recipe(
            project=project,
            name=name,
            method=method,
            base_model=base_model,
            revision=revision,
            prompt=prompt,
            prompt_template=prompt.template,
            parameters=hyperparameters.to_json(),
            created_by=user,
        )
        recipe.full_clean()
        recipe.save()
    return recipe


def check_base(base_model: str, revision: str) -> None:
    """Raise ValidationError unless this can name a base model."""
    for field, text in (("base_model", base_model), ("revision", revision)):
        _check_stored(field, text, "This")
    if revision and not base_model:
        raise ValidationError(
            {"revision": "A revision belongs to a base model: name the model too, or leave it empty."}
        )
    if len(revision) > REVISION_LENGTH:
        raise ValidationError({"revision": f"A revision has at most {REVISION_LENGTH} characters."})
    if base_model.startswith(base_models.SCRATCH):
        raise ValidationError(
            {"base_model": "A scratch model is made for one run. Leave this empty to have one made where it is needed."}
        )
    if revision and base_models.is_folder(base_model) and not revision.startswith("sha256:"):
        raise ValidationError(
            {"revision": "A folder has no branches: leave this empty, or give the sha256:… of its content."}
        )
    if any(part in base_model for part in ("://", "\n")):
        raise ValidationError({"base_model": "Give the hub id alone (organisation/model), without an address."})


@transaction.atomic
def pin(recipe: Recipe) -> Recipe:
    """Fix the recipe to the commit that is known of its base model, so that later runs start from the same.

    Raises:
        ValidationError: none is known yet.
    """
    commit = pinnable(recipe)
    if not commit:
        raise ValidationError(
            "No commit of this base model is known yet. Start a run, or check the recipe while the hub can be reached."
        )
    recipe.revision = commit
    recipe.save(update_fields=["revision"])
    return recipe


def pinnable(recipe: Recipe) -> str:
    """The commit that the recipe's base model stands at, as far as anybody knows; "" if unknown or pinned already."""
    if not recipe.base_model or is_pinned(recipe.revision):
        return ""
    run = recipe.runs.exclude(base_revision="").filter(is_scratch=False, base_model=recipe.base_model).first()
    if run:
        return run.base_revision
    return known_models.known(recipe.base_model, recipe.revision, look=False).commit


def is_pinned(revision: str) -> bool:
    return bool(base_models.COMMIT.fullmatch(revision)) or revision.startswith("sha256:")
