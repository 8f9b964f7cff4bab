"""The target groups that a project's annotators have named so far."""

import pytest
from django.utils import timezone

from annotation import groups
from annotation.models import Annotation, Assignment, AssignmentState
from tests.factories import ItemFactory, MembershipFactory, ProjectFactory, UserFactory

pytestmark = pytest.mark.django_db


def annotate(project, *names, annotator=None):
    annotator, item = annotator or UserFactory(), ItemFactory(project=project)
    assignment = Assignment.objects.create(
        project=project, item=item, annotator=annotator, state=AssignmentState.FINISHED, lease_until=timezone.now()
    )
    return Annotation.objects.create(
        project=project, item=item, annotator=annotator, assignment=assignment, target_groups=list(names)
    )


@pytest.fixture
def project():
    made = ProjectFactory()
    for names in (["women", "nurses"], ["women"], ["Young women"], ["men"], []):
        for _ in range(2):
            annotate(made, *names)
    annotate(ProjectFactory(), "elsewhere")
    return made


def named(project, query="", user=None):
    return groups.named(project, user or UserFactory(), query)


def test_groups_are_counted_in_the_project_alone_most_used_first(project):
    assert named(project) == ["women", "men", "nurses", "Young women"]


def test_what_one_colleague_alone_named_is_offered_to_nobody_else(project):
    ada = UserFactory()
    annotate(project, "night owls", annotator=ada)
    assert named(project, "owl") == []
    assert named(project, "owl", ada) == ["night owls"]
    annotate(project, "night owls")
    assert named(project, "owl") == ["night owls"]


def test_names_that_begin_with_what_is_typed_come_first(project):
    assert named(project, " WOM") == ["women", "Young women"]
    assert named(project, "men") == ["men", "women", "Young women"]


@pytest.mark.parametrize("query", ["%", "_", "\\", "\x00", "'; --", "x" * 5000, "\ud800"])
def test_what_people_type_is_no_pattern(project, query):
    assert named(project, query) in ([], named(project))


def test_only_the_newest_annotations_are_counted(project, monkeypatch):
    monkeypatch.setattr(groups, "WINDOW", 4)
    assert named(project) == ["men", "Young women"]


def test_the_api_offers_them_to_members(client, project):
    client.force_login(MembershipFactory(project=project).user)
    found = client.get(f"/api/projects/{project.pk}/target-groups/", {"q": "nur"}).json()
    assert found == [{"name": "nurses"}]
    client.force_login(UserFactory())
    assert client.get(f"/api/projects/{project.pk}/target-groups/").status_code == 404
