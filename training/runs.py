"""Recipes and runs: make, start, cancel, delete. The page, the API and the admin site call these."""

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import RestrictedError

from annotation.models import Project
from annotation.validators import check_storable, normalise_text
from training import prompts
from training.datasets import used_by
from training.models import Dataset, Method, PromptVersion, Recipe, Run
from training.parameters import SEED_LIMIT, Hyperparameters, ParameterErrors, RunParameters


def check_parameters(values: Any) -> Hyperparameters:
    """The hyperparameters. Raises ValidationError keyed by parameter."""
    try:
        return Hyperparameters.from_json(values)
    except ParameterErrors as error:
        raise ValidationError(dict(error.messages)) from None


def check_template(template: str) -> None:
    """Raise ValidationError unless this can be a prompt template."""
    try:
        prompts.check_template(template)
    except ValueError as error:
        raise ValidationError(str(error)) from None
    check_storable(template, "The prompt template")


@transaction.atomic
def keep_prompt(project: Project, user, name: str, template: str, examples: Any = ()) -> PromptVersion:
    """The newest version of the named prompt; a new one where its words or examples differ.

    Raises:
        ValidationError: keyed by field.
    """
    template = normalise_text(template)  # a form posts \r\n, which a model would read as other tokens
    try:
        check_template(template)
    except ValidationError as error:
        raise ValidationError({"prompt_template": error.messages}) from None
    try:
        examples = prompts.check_examples(examples)
    except ValueError as error:
        raise ValidationError({"examples": str(error)}) from None
    name = name.strip() or "Rewrite"
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


@transaction.atomic
def create_recipe(
    *,
    project: Project,
    name: str,
    user,
    parameters: Mapping[str, Any],
    base_model: str = "",
    method: str = Method.QLORA,
    prompt_template: str = prompts.DEFAULT_TEMPLATE,
    prompt_name: str = "",
    examples: Any = (),
) -> Recipe:
    """A recipe, checked before anything is queued.

    Raises:
        ValidationError: keyed by field or parameter.
    """
    hyperparameters = check_parameters(dict(parameters))
    prompt = keep_prompt(project, user, prompt_name, prompt_template, examples)
    recipe = Recipe(
        project=project,
        name=name,
        method=method,
        base_model=base_model.strip(),
        prompt=prompt,
        prompt_template=prompt.template,
        parameters=hyperparameters.to_json(),
        created_by=user,
    )
    recipe.full_clean()
    recipe.save()
    return recipe


@transaction.atomic
def start(*, dataset: Dataset, recipe: Recipe, user, seed: int = 0, name: str = "") -> Run:
    """Queue a run of the recipe on the dataset. What decides it is copied, so that a later change does not reach it.

    Raises:
        ValidationError: keyed by field.
    """
    from training import tasks

    if recipe.project_id != dataset.project_id:
        raise ValidationError({"recipe": "The recipe belongs to another project than the dataset."})
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= SEED_LIMIT:
        raise ValidationError({"seed": f"The seed must be a whole number from 0 to {SEED_LIMIT}."})
    parameters = RunParameters(
        **recipe.hyperparameters().to_json(),
        method=recipe.method,
        base_model=recipe.base_model,
        base_revision="",
        is_scratch=False,
        prompt_template=recipe.prompt_template,
        examples=recipe.prompt.examples if recipe.prompt else [],
        dataset_hash=dataset.content_hash,
        seed=seed,
    )
    run = Run(
        project_id=dataset.project_id,
        dataset=dataset,
        recipe=recipe,
        name=name.strip() or f"{recipe.name} on {dataset.name}"[:200],
        seed=seed,
        parameters=parameters.to_json(),
        created_by=user,
        message="Waiting for a GPU worker",
    )
    run.full_clean()
    run.save()
    run.queue(tasks.execute_run)
    return run


@transaction.atomic
def delete(run: Run) -> None:
    """Remove a run and its files.

    Raises:
        ValidationError: it has not ended.
    """
    locked = Run.objects.select_for_update().get(pk=run.pk)
    if locked.is_active:
        raise ValidationError("The run has not ended. Cancel it first.")
    try:
        locked.delete()
    except RestrictedError as error:
        raise ValidationError(f"The run is in use by {used_by(error)}. Delete that first.") from None
