"""The target groups that a project's annotators have named so far."""

import pytest
from django.utils import timezone

from annotation import groups
from annotation.models import Annotation, Assignment, AssignmentState
from tests.factories import ItemFactory, MembershipFactory, ProjectFactory, UserFactory

pytestmark = pytest.mark.django_db


def annotate(project, *names):
    annotator, item = UserFactory(), ItemFactory(project=project)
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
        annotate(made, *names)
    annotate(ProjectFactory(), "elsewhere")
    return made


def named(project, query=""):
    return [(group.name, group.uses) for group in groups.named(project, query)]


def test_groups_are_counted_in_the_project_alone_most_used_first(project):
    assert named(project) == [("women", 2), ("men", 1), ("nurses", 1), ("Young women", 1)]


def test_names_that_begin_with_what_is_typed_come_first(project):
    assert named(project, " WOM") == [("women", 2), ("Young women", 1)]
    assert named(project, "men") == [("men", 1), ("women", 2), ("Young women", 1)]


@pytest.mark.parametrize("query", ["%", "_", "\\", "\x00", "'; --", "x" * 5000, "\ud800"])
def test_what_people_type_is_no_pattern(project, query):
    assert named(project, query) in ([], named(project))


def test_only_the_newest_annotations_are_counted(project, monkeypatch):
    monkeypatch.setattr(groups, "WINDOW", 2)
    assert named(project) == [("men", 1), ("Young women", 1)]


def test_the_api_offers_them_to_members(client, project):
    client.force_login(MembershipFactory(project=project).user)
    found = client.get(f"/api/projects/{project.pk}/target-groups/", {"q": "nur"}).json()
    assert found == [{"name": "nurses", "uses": 1}]
    client.force_login(UserFactory())
    assert client.get(f"/api/projects/{project.pk}/target-groups/").status_code == 404
