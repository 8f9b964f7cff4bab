"""Rows of the training application for tests."""

import hashlib

import factory
from factory.django import DjangoModelFactory

from annotation.models import Project
from tests.factories import PairFactory, ProjectFactory, UserFactory
from training import datasets, models, runs
from training.parameters import PRESETS

SHARES = {"train": 0.6, "validation": 0.2, "test": 0.2}


def make_dataset(pairs: int = 5, *, project: Project | None = None, **values) -> models.Dataset:
    """A dataset frozen from new approved pairs."""
    project = project or ProjectFactory()
    PairFactory.create_batch(pairs, project=project)
    values = {"name": "Frozen", "shares": SHARES, "user": project.created_by} | values
    return datasets.freeze(project=project, **values)


def make_preference(*, project: Project | None = None, **values) -> models.Preference:
    """A preference of a text of the project, as an upload makes it."""
    project = project or ProjectFactory()
    number = models.Preference.objects.count()
    values = {"text": f"Text {number}", "chosen": f"Kind {number}.", "rejected": f"Rude {number}."} | values
    joined = "\x1f".join([values["text"], values["chosen"], values["rejected"]])
    values.setdefault("digest", hashlib.sha256(joined.encode()).hexdigest())
    return models.Preference.objects.create(
        project=project, created_by=project.created_by, **{"source": models.PreferenceSource.UPLOAD} | values
    )


class RecipeFactory(DjangoModelFactory):
    """The CPU demo."""

    class Meta:
        model = models.Recipe

    project = factory.SubFactory(ProjectFactory)
    name = factory.Sequence("recipe {}".format)
    parameters = factory.LazyFunction(lambda: PRESETS["cpu-demo"].parameters.to_json())
    created_by = factory.SubFactory(UserFactory)


def make_run(*, dataset: models.Dataset | None = None, recipe: models.Recipe | None = None, **columns) -> models.Run:
    """A waiting run, or one in the state that `columns` say."""
    dataset = dataset or make_dataset()
    recipe = recipe or RecipeFactory(project=dataset.project)
    run = runs.start(dataset=dataset, recipe=recipe, user=dataset.created_by, seed=1)
    if columns:
        models.Run.objects.filter(pk=run.pk).update(**columns)
        run.refresh_from_db()
    return run
