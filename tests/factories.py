"""Rows for tests. Each factory makes what it needs, so that a test names only what it is about."""

import factory
from django.contrib.auth import get_user_model
from django.utils import timezone
from factory.django import DjangoModelFactory

from annotation import models
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
