"""Setting up a project: dimensions in use stay, overlap follows, the last lead stays."""

import threading

import pytest
from django.contrib.auth.tokens import default_token_generator
from django.core.exceptions import ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext

from annotation import jobs, pairs, projects, work
from annotation.models import Annotation, AssignmentState, Invitation, Membership, Pair, PairRefresh, Role
from tests.factories import ItemFactory, MembershipFactory, PairFactory, ProjectFactory, UserFactory

LABELS = {"bias": "high", "toxicity": "mild", "harm": "medium", "sentiment": "negative"}


def annotate(project, user=None):
    user = user or MembershipFactory(project=project, role=Role.ANNOTATOR).user
    assignment = work.next_assignment(user, project)
    return work.submit(user, assignment.pk, {"labels": LABELS, "rewrite": "Kinder."})


def as_values(project):
    return list(project.dimensions.values("key", "name", "levels"))


@pytest.mark.django_db
def test_a_new_project_has_the_four_dimensions_and_its_maker_as_lead():
    user = UserFactory()
    project = projects.create(user=user, name="One")
    assert [dimension.key for dimension in project.dimensions.all()] == ["bias", "toxicity", "harm", "sentiment"]
    assert list(project.memberships.values_list("user", "role")) == [(user.pk, Role.LEAD)]


@pytest.mark.django_db
def test_nothing_of_a_refused_project_stays():
    with pytest.raises(ValidationError) as error:
        projects.create(user=UserFactory(), name="", overlap=0)
    assert set(error.value.message_dict) == {"name", "overlap"}
    with pytest.raises(ValidationError, match="50,001 characters"):
        projects.create(user=UserFactory(), name="x", guidelines="x" * 50_001)
    with pytest.raises(ValidationError):
        projects.create(user=UserFactory(), name="x", dimensions=[{"name": "Bias", "levels": ["one"]}])
    assert not Membership.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("dimensions", "words"),
    [
        ([], "at least one dimension"),
        ([{"name": "Bias", "levels": ["only"]}], "2 to 9 levels"),
        ([{"name": "Bias", "levels": [str(number) for number in range(10)]}], "2 to 9 levels"),
        ([{"name": "Bias", "levels": ["a", " a "]}], "same name"),
        ([{"name": "Bias", "levels": ["a,b", "c"]}], "holds a comma"),
        ([{"name": "Bias", "levels": ["x" * 41, "c"]}], "at most 40"),
        ([{"name": "Bias", "levels": "none"}], "list of names"),
        ([{"name": "Text", "levels": ["a", "b"]}], "'text' is the name of another column"),
        ([{"name": "إيذاء", "levels": ["a", "b"]}], "lower-case letters"),
        ([{"name": "A", "levels": ["a", "b"]}, {"name": "a", "levels": ["a", "b"]}], "the same key: a"),
        ([{"name": " ", "levels": ["a", "b"]}], "needs a name"),
        ([{"name": f"D{number}", "levels": ["a", "b"]} for number in range(13)], "at most 12"),
    ],
)
def test_dimensions_that_break_a_rule_are_refused_with_the_reason(dimensions, words):
    with pytest.raises(ValidationError) as error:
        projects.create(user=UserFactory(), name="One", dimensions=dimensions)
    assert words in " ".join(error.value.message_dict["dimensions"])


@pytest.mark.django_db
def test_dimensions_can_be_renamed_reordered_extended_and_removed():
    project = ProjectFactory()
    values = as_values(project)
    wanted = [
        {"name": "Tone", "levels": ["calm", "loud"]},
        values[3] | {"name": "Mood", "levels": ["very bad", *values[3]["levels"]]},
        values[0],
    ]
    projects.change(project, dimensions=wanted)
    assert [(row["key"], row["name"]) for row in as_values(project)] == [
        ("tone", "Tone"),
        ("sentiment", "Mood"),
        ("bias", "Bias"),
    ]
    assert as_values(project)[1]["levels"][0] == "very bad"


@pytest.mark.django_db
def test_a_level_or_dimension_in_use_stays_and_the_refusal_counts():
    project = ProjectFactory(overlap=2)
    ItemFactory(project=project)
    annotate(project)
    PairFactory(project=project, labels={"bias": "slight"})
    bias, toxicity, _, sentiment = as_values(project)
    with pytest.raises(ValidationError) as error:
        projects.change(project, dimensions=[bias | {"levels": ["none", "strong"]}, toxicity, sentiment], name="New")
    messages = error.value.message_dict["dimensions"]
    assert messages == [
        "Harm is in use by 1 annotation and 0 pairs, so it can be neither removed nor renamed.",
        "Bias: the level 'slight' is in use by 0 annotations and 1 pair, so it can be neither removed nor renamed.",
        "Bias: the level 'high' is in use by 1 annotation and 0 pairs, so it can be neither removed nor renamed.",
    ]
    project.refresh_from_db()
    assert len(as_values(project)) == 4 and project.name != "New"


@pytest.mark.django_db
def test_a_level_nobody_used_can_go():
    project = ProjectFactory(overlap=2)
    ItemFactory(project=project)
    annotate(project)
    bias, *others = as_values(project)
    projects.change(project, dimensions=[bias | {"levels": ["none", "high"]}, *others])
    assert as_values(project)[0]["levels"] == ["none", "high"]


@pytest.mark.django_db
def test_lowering_the_overlap_never_goes_below_what_an_item_has(django_capture_on_commit_callbacks, monkeypatch):
    monkeypatch.setattr("annotation.jobs.send", lambda task, pk: task(pk))
    project = ProjectFactory(overlap=3)
    twice, once, never = ItemFactory.create_batch(3, project=project)
    people = [MembershipFactory(project=project, role=Role.ANNOTATOR).user for _ in range(2)]
    annotate(project, people[0])  # the first text
    annotate(project, people[0])  # the second
    annotate(project, people[1])  # the first
    with django_capture_on_commit_callbacks(execute=True):
        projects.change(project, overlap=1)
    assert [item.overlap for item in project.items.all()] == [2, 1, 1]
    assert set(Pair.objects.values_list("item", flat=True)) == {twice.pk, once.pk}  # complete now
    projects.change(project, overlap=4)
    assert {item.overlap for item in project.items.all()} == {4}
    assert work.next_assignment(people[1], project).item == once
    assert never.finished == 0


@pytest.mark.django_db
def test_changing_the_overlap_is_one_statement_however_many_items():
    counts = []
    for items in (1, 20):
        project = ProjectFactory(overlap=3)
        ItemFactory.create_batch(items, project=project)
        with CaptureQueriesContext(connection) as queries:
            projects.change(project, overlap=5)
        assert sum('UPDATE "annotation_item"' in query["sql"] for query in queries) == 1
        counts.append(len(queries))
    assert counts[0] == counts[1]


@pytest.mark.django_db
def test_an_existing_account_is_added_by_name_or_address():
    project = ProjectFactory()
    user = UserFactory(username="ada", email="Ada@example.org")
    other = UserFactory(username="ben")
    assert projects.add_member(project, "ada@EXAMPLE.org", [Role.ANNOTATOR], invited_by=other) == user
    assert projects.add_member(project, " ben ", [Role.LEAD, Role.TRAINER], invited_by=user) == other
    assert Membership.objects.filter(project=project, user=other).count() == 2
    assert not Invitation.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("person", "roles", "words"),
    [
        ("nobody", ["annotator"], "No account has the name 'nobody'"),
        ("no@", ["annotator"], "is not an e-mail address"),
        ("twice@example.org", ["annotator"], "Several accounts"),
        ("gone@example.org", ["annotator"], "is closed"),
        ("member", ["annotator"], "is a member already"),
        ("free", [], "at least one role"),
        ("free", ["owner"], "'owner' is no role"),
        ("a\x00b", ["annotator"], "null byte"),
        ("x" * 200 + "@example.org", ["annotator"], "at most 150 characters"),
    ],
)
def test_people_who_cannot_be_added_are_refused_with_the_reason(person, roles, words):
    project = ProjectFactory()
    for name in ("one", "two"):
        UserFactory(username=name, email="twice@example.org")
    UserFactory(email="gone@example.org", is_active=False)
    UserFactory(username="free")
    MembershipFactory(project=project, user=UserFactory(username="member"))
    with pytest.raises(ValidationError, match=words):
        projects.add_member(project, person, roles, invited_by=project.created_by)
    assert Membership.objects.count() == 1


@pytest.mark.django_db
def test_an_unknown_address_makes_an_account_whose_link_only_its_inviter_sees():
    project = ProjectFactory()
    lead = project.created_by
    user = projects.add_member(project, "new@example.org", [Role.ANNOTATOR], invited_by=lead)
    assert not user.has_usable_password()
    path = projects.invitation_path(user, lead)
    assert default_token_generator.check_token(user, path.rstrip("/").rpartition("/")[2])
    assert projects.invitation_path(user, UserFactory()) is None
    user.set_password("something long enough")
    user.save()
    assert projects.invitation_path(user, lead) is None


@pytest.mark.django_db
def test_an_account_somebody_else_has_gets_no_link():
    lead = UserFactory()
    victim = UserFactory(username="sso", email="sso@example.org")
    victim.set_unusable_password()
    victim.save()
    projects.add_member(ProjectFactory(), "sso@example.org", [Role.ANNOTATOR], invited_by=lead)
    assert projects.invitation_path(victim, lead) is None


@pytest.mark.django_db
def test_the_last_lead_can_neither_leave_nor_step_down():
    lead = UserFactory()
    project = ProjectFactory(lead=lead)
    for roles in ([], [Role.ANNOTATOR]):
        with pytest.raises(ValidationError, match="last lead"):
            projects.set_roles(project, lead, roles)
    MembershipFactory(project=project, role=Role.LEAD)
    projects.remove_member(project, lead)
    assert not project.memberships.filter(user=lead).exists()


@pytest.mark.django_db
def test_a_removed_annotators_text_goes_back_and_their_annotations_stay():
    project = ProjectFactory(lead=UserFactory())
    ItemFactory.create_batch(2, project=project)
    user = MembershipFactory(project=project, role=Role.ANNOTATOR).user
    annotate(project, user)
    held = work.next_assignment(user, project)
    projects.remove_member(project, user)
    held.refresh_from_db()
    held.item.refresh_from_db()
    assert (held.state, held.item.taken) == (AssignmentState.EXPIRED, 0)
    assert Annotation.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_two_leads_who_remove_each_other_at_once_leave_one():
    project = ProjectFactory()
    leads = [MembershipFactory(project=project, role=Role.LEAD).user for _ in range(2)]
    refused, barrier = [], threading.Barrier(2)

    def remove(user):
        try:
            barrier.wait()
            projects.remove_member(project, user)
        except ValidationError:
            refused.append(user)
        finally:
            connection.close()

    threads = [threading.Thread(target=remove, args=[user]) for user in leads]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(refused) == 1
    assert project.memberships.get().user == refused[0]


@pytest.mark.django_db
def test_progress_and_distributions_are_counted_in_sql(django_assert_num_queries):
    project = ProjectFactory(overlap=2)
    ItemFactory.create_batch(3, project=project)
    people = [MembershipFactory(project=project, role=Role.ANNOTATOR).user for _ in range(2)]
    for user in people:
        annotate(project, user)
    annotate(project, people[0])
    with django_assert_num_queries(1):
        counts = projects.progress([project.pk])[project.pk]
    assert counts == {"items": 3, "complete": 1, "finished_annotations": 3, "needed_annotations": 6}
    with django_assert_num_queries(2):
        bias = projects.level_counts(project)[0]
    assert (bias["total"], [level["count"] for level in bias["levels"]]) == (3, [0, 0, 3])
    assert [row["annotations"] for row in projects.people(project)] == [2, 1]


@pytest.mark.django_db
def test_a_lower_overlap_leaves_a_job_that_proposes_for_what_is_complete_now():
    project = ProjectFactory(overlap=2)
    ItemFactory.create_batch(2, project=project)
    annotate(project, MembershipFactory(project=project, role=Role.ANNOTATOR).user)
    projects.change(project, overlap=1)
    job = PairRefresh.objects.get()
    jobs.execute(PairRefresh.objects, job.pk, pairs.refresh)
    job.refresh_from_db()
    assert (job.status, job.proposed, Pair.objects.count()) == ("finished", 1, 1)
    projects.change(project, name="Another name")
    assert PairRefresh.objects.count() == 1
