"""Rows for tests. Each factory makes what it needs, so that a test names only what it is about."""

import factory
from django.contrib.auth import get_user_model
from django.utils import timezone
from factory.django import DjangoModelFactory

from annotation import models, suggestions
from annotation.models import Role

PASSWORD = "correct horse battery staple"


class UserFactory(DjangoModelFactory):
    class Meta:
        model = get_user_model()
        skip_postgeneration_save = True

    username = factory.Sequence("person{}".format)
    email = factory.LazyAttribute(lambda user: f"{user.username}@example.org")
    password = factory.django.Password(PASSWORD)


class ProjectFactory(DjangoModelFactory):
    """A project with the four dimensions. Pass `lead=user` and so on to give people roles."""

    class Meta:
        model = models.Project
        skip_postgeneration_save = True

    name = factory.Sequence("Project {}".format)
    overlap = 1
    created_by = factory.SubFactory(UserFactory)

    @factory.post_generation
    def dimensions(project, create, extracted, **kwargs):
        for position, values in enumerate(models.default_dimensions()):
            models.Dimension.objects.create(project=project, position=position, **values)

    @factory.post_generation
    def lead(project, create, extracted, **kwargs):
        if extracted:
            MembershipFactory(project=project, user=extracted, role=Role.LEAD)

    @factory.post_generation
    def annotator(project, create, extracted, **kwargs):
        if extracted:
            MembershipFactory(project=project, user=extracted, role=Role.ANNOTATOR)

    @factory.post_generation
    def trainer(project, create, extracted, **kwargs):
        if extracted:
            MembershipFactory(project=project, user=extracted, role=Role.TRAINER)


class MembershipFactory(DjangoModelFactory):
    class Meta:
        model = models.Membership

    project = factory.SubFactory(ProjectFactory)
    user = factory.SubFactory(UserFactory)
    role = Role.ANNOTATOR


class ItemFactory(DjangoModelFactory):
    class Meta:
        model = models.Item

    project = factory.SubFactory(ProjectFactory)
    external_id = factory.Sequence("text-{:05d}".format)
    text = factory.Sequence("They are all lazy, said neighbour number {}.".format)
    overlap = factory.SelfAttribute("project.overlap")


class PairFactory(DjangoModelFactory):
    """An approved pair."""

    class Meta:
        model = models.Pair

    project = factory.SubFactory(ProjectFactory)
    item = factory.SubFactory(ItemFactory, project=factory.SelfAttribute("..project"))
    rewrite = factory.Sequence("Some of them work less, said neighbour number {}.".format)
    labels = factory.LazyFunction(
        lambda: {"bias": "high", "toxicity": "mild", "harm": "medium", "sentiment": "negative"}
    )
    status = models.PairStatus.APPROVED
    settled_by = factory.SubFactory(UserFactory)
    settled_at = factory.LazyFunction(timezone.now)


class EndpointFactory(DjangoModelFactory):
    class Meta:
        model = models.Endpoint

    name = factory.Sequence("Endpoint {}".format)
    base_url = "http://127.0.0.1:9/v1"
    model = "tiny"
    input_price = 1
    output_price = 2


def set_up_suggestions(project, user, endpoint=None, **values) -> models.SuggestionSettings:
    """Suggestions from an endpoint, none of them withheld unless `values` say so."""
    endpoint = endpoint or EndpointFactory()
    values = {"budget": 10, "rate_per_minute": 60_000, "withheld_percent": 0} | values
    return suggestions.change(project, user, source=("endpoint", endpoint.pk), **values)


class SuggestionFactory(DjangoModelFactory):
    """A usable answer about an item, as a job stores it."""

    class Meta:
        model = models.Suggestion

    item = factory.SubFactory(ItemFactory)
    project = factory.SelfAttribute("item.project")
    prompt = factory.LazyAttribute(lambda row: _settings(row.project).prompt)
    job = factory.LazyAttribute(
        lambda row: models.SuggestionJob.objects.create(
            project=row.project, prompt=row.prompt, created_by=row.project.created_by, status="finished"
        )
    )
    status = "ok"
    answer = "{}"
    labels = factory.LazyFunction(
        lambda: {"bias": "high", "toxicity": "mild", "harm": "medium", "sentiment": "negative"}
    )
    rewrite = "Some of them rest a lot."
    model = "tiny-1"


def _settings(project) -> models.SuggestionSettings:
    return suggestions.settings_of(project) or set_up_suggestions(project, project.created_by)
