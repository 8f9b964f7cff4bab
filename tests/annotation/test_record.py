"""The log of a project, and the versions of its guidelines."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from annotation import events, pairs, projects, work
from annotation.models import Event, Pair, Role, Scale
from tests.factories import ItemFactory, MembershipFactory, UserFactory

pytestmark = pytest.mark.django_db

LABELS = {"bias": "high", "toxicity": "mild", "harm": "medium", "sentiment": "negative"}


@pytest.fixture
def lead():
    return UserFactory(username="lena")


@pytest.fixture
def project(lead):
    return projects.create(user=lead, name="Round 2", guidelines="Be fair.", overlap=1)


def test_changed_guidelines_become_a_version_and_each_annotation_knows_its_own(project, lead):
    ada = MembershipFactory(project=project).user
    ItemFactory.create_batch(2, project=project)
    first = work.submit(ada, work.next_assignment(ada, project).pk, {"labels": LABELS, "rewrite": "Kinder."})
    project = projects.change(project, by=lead, guidelines="Be fair and brief.")
    second = work.submit(ada, work.next_assignment(ada, project).pk, {"labels": LABELS, "rewrite": "Kinder."})
    assert (first.guidelines_version, second.guidelines_version) == (1, 2)
    revised = work.revise(ada, first.pk, {"labels": LABELS, "rewrite": "Kinder still."}, 1)
    assert revised.guidelines_version == 2
    assert revised.revisions.get().guidelines_version == 1
    assert list(project.guidelines_versions.values_list("number", "text")) == [
        (2, "Be fair and brief."),
        (1, "Be fair."),
    ]


def test_guidelines_that_change_under_a_text_count_from_when_they_were_shown(project, lead):
    ada, ben = (MembershipFactory(project=project).user for _ in range(2))
    ItemFactory.create_batch(2, project=project)
    first, second = work.next_assignment(ada, project), work.next_assignment(ben, project)
    project = projects.change(project, by=lead, guidelines="Be fair and brief.")
    assert work.next_assignment(ben, project).pk == second.pk  # the page was opened again
    content = {"labels": LABELS, "rewrite": "Kinder."}
    assert work.submit(ada, first.pk, content).guidelines_version == 1
    assert work.submit(ben, second.pk, content).guidelines_version == 2


def test_settings_saved_without_a_change_make_neither_version_nor_event(project, lead):
    before = Event.objects.count()
    projects.change(project, by=lead, guidelines="Be fair.", overlap=1)
    assert Event.objects.count() == before
    assert project.guidelines_versions.count() == 1


def test_the_log_says_who_changed_what_from_what_to_what(project, lead):
    projects.change(project, by=lead, overlap=3)
    event = project.events.first()
    assert (event.actor, event.action) == (lead, "project.changed")
    assert (event.before, event.after) == ({"overlap": 1}, {"overlap": 3})
    ben = UserFactory(username="ben")
    projects.add_member(project, "ben", [Role.ANNOTATOR], invited_by=lead)
    projects.set_roles(project, ben, [Role.ANNOTATOR, Role.TRAINER], lead)
    event = project.events.first()
    assert (event.subject, event.before) == ("ben", {"roles": ["annotator"]})
    assert event.after == {"roles": ["annotator", "trainer"]}


def test_a_scale_is_kept_and_logged(project, lead):
    dimensions = list(project.dimensions.values("key", "name", "levels"))
    dimensions[0]["scale"] = "nominal"
    projects.change(project, by=lead, dimensions=dimensions)
    assert project.dimensions.first().scale == Scale.NOMINAL
    assert project.events.first().after["dimensions"][0]["scale"] == "nominal"


def test_deciding_on_a_pair_is_logged_with_what_it_was_before(project, lead):
    ada = MembershipFactory(project=project).user
    ItemFactory(project=project, external_id="t-1")
    work.submit(ada, work.next_assignment(ada, project).pk, {"labels": LABELS, "rewrite": "Kinder."})
    pair = Pair.objects.get()
    pair = pairs.approve(pair, lead, version=pair.version, rewrite="Kindest.", labels=LABELS)
    pair = pairs.reopen(pair, lead, version=pair.version)
    pairs.reject(pair, lead, version=pair.version, reason="Not a text.")
    rejected, reopened, approved, *_ = project.events.all()
    assert [event.action for event in (approved, reopened, rejected)] == [
        "pair.approved",
        "pair.reopened",
        "pair.rejected",
    ]
    assert approved.item == pair.item
    assert approved.before["rewrite"] == "Kinder." and approved.after["rewrite"] == "Kindest."
    assert rejected.after == {"status": "rejected", "reason": "Not a text."}


def test_a_misspelt_action_is_refused(project, lead):
    with pytest.raises(KeyError):
        events.record(project, lead, "pair.aproved")


def test_the_log_is_shown_in_words_with_markup_as_text_and_constant_queries(client, project, lead):
    client.force_login(lead)
    item = ItemFactory(project=project, external_id="<b>t</b>")
    counts = []
    for _ in range(2):
        for number in range(5):
            events.record(project, lead, "pair.approved", item=item, after={"rewrite": f"<script>{number}</script>"})
        with CaptureQueriesContext(connection) as queries:
            page = client.get(reverse("annotation:log", args=[project.pk])).content.decode()
        counts.append(len(queries))
    assert counts[0] == counts[1]
    assert "approved a pair" in page and "made the project" in page
    assert "<script>4" not in page and "&lt;script&gt;4" in page
    page = client.get(reverse("annotation:log", args=[project.pk]), {"action": "project.created"}).content.decode()
    assert "made the project" in page and "&lt;script&gt;4" not in page


def test_an_earlier_version_of_the_guidelines_can_be_read_with_what_changed(client, project, lead):
    projects.change(project, by=lead, guidelines="Be fair and brief.")
    client.force_login(lead)
    address = reverse("annotation:guidelines", args=[project.pk])
    newest = client.get(address).content.decode()
    assert "version 2, in force" in newest and "<ins>" in newest
    oldest = client.get(address, {"version": "1"}).content.decode()
    assert "<p>Be fair.</p>" in oldest and "<ins>" not in oldest
    assert client.get(address, {"version": "9"}).status_code == 404


def test_guidelines_can_be_previewed_while_they_are_written(client, lead):
    client.force_login(lead)
    answer = client.post(reverse("annotation:guidelines-preview"), {"guidelines": "# Rules\n<script>x</script>"})
    assert "<h1>Rules</h1>" in answer.content.decode() and "<script>" not in answer.content.decode()
