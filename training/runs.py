"""Runs: start, cancel, delete. The page, the API and the admin site call these."""

from collections.abc import Callable, Iterable
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import RestrictedError

from training import recipes
from training.datasets import used_by
from training.models import Dataset, Recipe, Run
from training.parameters import SEED_LIMIT, Hyperparameters, ParameterErrors, RunParameters


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
    hyperparameters, doubts = checked(recipe, dataset)
    parameters = RunParameters(
        **hyperparameters.to_json(),
        method=recipe.method,
        base_model=recipe.base_model,
        base_revision=recipe.revision,  # a worker replaces it by the commit it points to
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
        warnings=doubts,
        created_by=user,
        message="Waiting for a GPU worker",
    )
    run.full_clean()
    run.save()
    run.queue(tasks.execute_run)
    return run


def checked(recipe: Recipe, dataset: Dataset) -> tuple[Hyperparameters, list[str]]:
    """The recipe's hyperparameters, and in words what is doubtful about it on this dataset.

    Raises:
        ValidationError: keyed by "recipe" or "dataset", where it cannot work.
    """
    try:
        hyperparameters = recipe.hyperparameters()
    except ParameterErrors as error:
        reasons = [f"{recipes.label(name)}: {message}" for name, message in error.messages.items()]
        raise ValidationError(
            {"recipe": ["This recipe is from another version and cannot be run as it is. Make one like it.", *reasons]}
        ) from None
    found = recipes.examine(
        method=recipe.method,
        base_model=recipe.base_model,
        revision=recipe.revision,
        parameters=hyperparameters,
        template=recipe.prompt_template,
        examples=recipe.prompt.examples if recipe.prompt else (),
        dataset=dataset,
        look=False,  # a start does not wait for the hub
    )
    errors: dict[str, list[str]] = {}
    for one in found.report.errors:
        if one.field == "dataset":
            errors.setdefault("dataset", []).append(one.message)
        else:
            errors.setdefault("recipe", []).append(f"{recipes.label(one.field)}: {one.message}")
    if errors:
        raise ValidationError(errors)
    return hyperparameters, [f"{recipes.label(one.field)}: {one.message}" for one in found.report.warnings]


@transaction.atomic
def delete(run: Run, user: Any = None) -> None:
    """Remove a run and its files.

    Raises:
        ValidationError: it has not ended, or something uses it; what that is is not said to somebody who rates it
            blind.
    """
    locked = Run.objects.select_for_update().get(pk=run.pk)
    if locked.is_active:
        raise ValidationError("The run has not ended. Cancel it first.")
    try:
        locked.delete()
    except RestrictedError as error:
        if user is not None and run.pk in hidden_from(user):
            raise ValidationError("The run is in use by a study that you review.") from None
        raise ValidationError(f"The run is in use by {used_by(error)}. Delete that first.") from None


# What has people rate outputs blind says here whose: user -> ids of runs.
OUTPUTS_HIDDEN: list[Callable[[Any], Iterable[int]]] = []


def hidden_from(user) -> set[int]:
    """Runs whose model's outputs this person may not see now, because they rate them blind, whatever their roles."""
    return {pk for runs in OUTPUTS_HIDDEN for pk in runs(user)}


def outputs_shown(user, run: Run) -> bool:
    """Whether this person may see what the run's model writes."""
    return run.pk not in hidden_from(user)
