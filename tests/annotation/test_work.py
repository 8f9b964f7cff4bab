"""Taking, drafting, submitting, skipping and revising."""

from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from annotation import drafts, pairs, wellbeing, work
from annotation.models import Annotation, Assignment, AssignmentState, Item, Role
from tests.factories import ItemFactory, MembershipFactory, ProjectFactory, UserFactory

pytestmark = pytest.mark.django_db

LABELS = {"bias": "high", "toxicity": "mild", "harm": "medium", "sentiment": "negative"}


def content(**changes):
    return {"labels": LABELS, "rewrite": "Some of them work less."} | changes


@pytest.fixture
def project():
    return ProjectFactory(overlap=2)


@pytest.fixture
def people(project):
    return [MembershipFactory(project=project, role=Role.ANNOTATOR).user for _ in range(3)]


def let_lease_run_out(assignment):
    Assignment.objects.filter(pk=assignment.pk).update(lease_until=timezone.now() - timedelta(seconds=1))


def test_an_annotator_keeps_the_text_they_hold_until_they_are_done(project, people):
    ItemFactory.create_batch(2, project=project)
    first = work.next_assignment(people[0], project)
    assert work.next_assignment(people[0], project) == first
    work.submit(people[0], first.pk, content())
    assert work.next_assignment(people[0], project) != first


def test_overlap_bounds_how_many_people_hold_a_text(project, people):
    ItemFactory(project=project)
    assert work.next_assignment(people[0], project) is not None
    assert work.next_assignment(people[1], project) is not None
    assert work.next_assignment(people[2], project) is None


def test_the_database_refuses_one_annotator_too_many(project, people):
    item = ItemFactory(project=project)
    with pytest.raises(IntegrityError, match="item_taken_within_overlap"), transaction.atomic():
        for user in people:
            Assignment.objects.create(project=project, item=item, annotator=user, lease_until=timezone.now())


def test_the_database_refuses_a_second_annotation_by_one_person(project, people):
    item = ItemFactory(project=project)
    assignment = work.next_assignment(people[0], project)
    work.submit(people[0], assignment.pk, content())
    with pytest.raises(IntegrityError), transaction.atomic():
        Annotation.objects.create(project=project, item=item, annotator=people[0], assignment=assignment)


def test_a_submit_that_arrives_twice_counts_once(project, people):
    item = ItemFactory(project=project)
    assignment = work.next_assignment(people[0], project)
    first = work.submit(people[0], assignment.pk, content())
    second = work.submit(people[0], assignment.pk, content())
    item.refresh_from_db()
    assert (first, item.finished, second.rewrite) == (second, 1, "Some of them work less.")


def test_a_second_submit_with_other_words_is_refused_and_told_what_is_there(project, people):
    ItemFactory(project=project)
    assignment = work.next_assignment(people[0], project)
    first = work.submit(people[0], assignment.pk, content())
    with pytest.raises(drafts.Conflict) as refused:
        work.submit(people[0], assignment.pk, content(rewrite="Something else"))
    assert refused.value.facts["content"] == first.content()
    work.revise(people[0], first.pk, content(rewrite="Something else"), revision=1)
    assert work.submit(people[0], assignment.pk, content()) == first  # it was once, so nothing is lost


def test_an_expired_lease_gives_the_text_to_others_and_keeps_the_draft(project, people):
    project.overlap = 1
    ItemFactory(project=project, overlap=1)
    slow = work.next_assignment(people[0], project)
    work.save_draft(people[0], slow.pk, {"rewrite": "half a sentence"})
    let_lease_run_out(slow)
    fast = work.next_assignment(people[1], project)
    assert fast.item == slow.item
    slow.refresh_from_db()
    assert (slow.state, slow.draft["rewrite"]) == (AssignmentState.EXPIRED, "half a sentence")
    work.submit(people[1], fast.pk, content())
    with pytest.raises(work.NoLongerYours):
        work.submit(people[0], slow.pk, content())


def test_an_annotator_who_comes_back_gets_the_expired_text_with_its_draft_first(project, people):
    ItemFactory.create_batch(3, project=project)
    held = work.next_assignment(people[0], project)
    work.save_draft(people[0], held.pk, {"rewrite": "half a sentence"})
    let_lease_run_out(held)
    assert work.expire_leases() == 1
    again = work.next_assignment(people[0], project)
    assert (again.pk, again.state, again.draft["rewrite"]) == (held.pk, AssignmentState.HELD, "half a sentence")


def test_a_late_submit_counts_while_the_text_still_has_room(project, people):
    ItemFactory(project=project)
    held = work.next_assignment(people[0], project)
    let_lease_run_out(held)
    work.expire_leases()
    work.submit(people[0], held.pk, content())
    assert Item.objects.get().finished == 1


def test_a_skipped_text_goes_to_others_and_not_back_to_the_same_person(project, people):
    item = ItemFactory(project=project)
    work.skip(people[0], work.next_assignment(people[0], project).pk)
    assert work.next_assignment(people[0], project) is None
    assert work.next_assignment(people[1], project).item == item
    assert Item.objects.get().taken == 1


def test_texts_before_the_last_one_are_found_when_the_rest_is_done(project, people):
    early, late = ItemFactory.create_batch(2, project=project, overlap=1)
    held = work.next_assignment(people[0], project)
    done = work.next_assignment(people[1], project)
    assert (held.item, done.item) == (early, late)
    work.submit(people[1], done.pk, content())
    work.skip(people[0], held.pk)
    assert work.next_assignment(people[1], project).item == early


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"labels": {"bias": "high"}}, "labels", "Choose a level for toxicity, harm, sentiment"),
        ({"labels": LABELS | {"bias": "very"}}, "labels", "'very' is no level of bias"),
        ({"labels": LABELS | {"race": "high"}}, "labels", "no dimension 'race'"),
        ({"spans": [{"start": 0, "end": 1000}]}, "spans", "outside the text"),
        ({"spans": [{"start": 0, "end": 4}, {"start": 3, "end": 8}]}, "spans", "overlap at character 3"),
        ({"spans": [{"start": True, "end": 4}]}, "spans", "whole numbers"),
        ({"spans": "0-4"}, "spans", "must be a list"),
        ({"rewrite": "a\x00b"}, "rewrite", "null byte at character 2"),
        ({"rewrite": "\ud83d"}, "rewrite", "surrogate"),
        ({"rewrite": ["a"]}, "rewrite", "must be text"),
        ({"comment": "x" * 5001}, "comment", "5,001 characters"),
        ({"target_groups": [""]}, "target_groups", "at most 100 characters"),
    ],
)
def test_content_that_breaks_a_rule_is_refused_with_the_field_and_the_reason(project, people, changes, field, words):
    ItemFactory(project=project)
    assignment = work.next_assignment(people[0], project)
    with pytest.raises(ValidationError) as error:
        work.submit(people[0], assignment.pk, content(**changes))
    assert words in str(error.value.message_dict[field])
    assert not Annotation.objects.exists()


def test_spans_count_code_points(project, people):
    ItemFactory(project=project, text="👩‍👩‍👧 lazy 🙃")
    assignment = work.next_assignment(people[0], project)
    annotation = work.submit(people[0], assignment.pk, content(spans=[{"start": 6, "end": 10}]))
    span = annotation.spans[0]
    assert annotation.item.text[span["start"] : span["end"]] == "lazy"


def test_a_text_of_a_hundred_thousand_characters_can_be_annotated(project, people):
    text = "<script>alert(1)</script> كسول 🙃 " * 3_000
    ItemFactory(project=project, text=text)
    assignment = work.next_assignment(people[0], project)
    annotation = work.submit(people[0], assignment.pk, content(rewrite=text[:100_000]))
    assert annotation.rewrite == text[:100_000]


def test_somebody_elses_assignment_cannot_be_touched(project, people):
    ItemFactory(project=project)
    assignment = work.next_assignment(people[0], project)
    for action in (work.submit, work.save_draft):
        with pytest.raises(Assignment.DoesNotExist):
            action(people[1], assignment.pk, content())
    with pytest.raises(Assignment.DoesNotExist):
        work.skip(people[1], assignment.pk)


def test_a_revision_keeps_what_was_there_before(project, people):
    ItemFactory(project=project)
    annotation = work.submit(people[0], work.next_assignment(people[0], project).pk, content())
    changed = work.revise(people[0], annotation.pk, content(rewrite="Better."), revision=1)
    assert (changed.rewrite, changed.revision) == ("Better.", 2)
    assert changed.revisions.get().content["rewrite"] == "Some of them work less."


def test_the_same_content_makes_no_revision(project, people):
    ItemFactory(project=project)
    annotation = work.submit(people[0], work.next_assignment(people[0], project).pk, content())
    assert work.revise(people[0], annotation.pk, content(), revision=1).revision == 1


def test_a_change_based_on_an_older_revision_is_refused(project, people):
    ItemFactory(project=project)
    annotation = work.submit(people[0], work.next_assignment(people[0], project).pk, content())
    work.revise(people[0], annotation.pk, content(rewrite="In one tab."), revision=1)
    with pytest.raises(ValidationError, match="changed this annotation elsewhere"):
        work.revise(people[0], annotation.pk, content(rewrite="In another tab."), revision=1)


def test_a_complete_text_becomes_a_proposed_pair_from_its_annotations(project, people):
    item = ItemFactory(project=project)
    for user in people[:2]:
        work.submit(user, work.next_assignment(user, project).pk, content())
    assert set(item.pair.annotations.values_list("annotator", flat=True)) == {user.pk for user in people[:2]}
    assert (item.pair.status, item.pair.labels) == ("proposed", LABELS)


def test_a_settled_text_can_no_longer_be_revised(project, people):
    item = ItemFactory(project=project, overlap=1)
    annotation = work.submit(people[0], work.next_assignment(people[0], project).pk, content())
    item.pair.status = "approved"
    item.pair.save()
    assert pairs.settled(item)
    with pytest.raises(ValidationError, match="settled"):
        work.revise(people[0], annotation.pk, content(rewrite="Too late."), revision=1)


def test_taking_the_next_text_costs_the_same_however_many_are_behind(project, people, django_assert_max_num_queries):
    project.overlap = 3
    ItemFactory.create_batch(30, project=project, overlap=3)
    for _ in range(20):
        work.submit(people[0], work.next_assignment(people[0], project).pk, content())
    with django_assert_max_num_queries(10):  # savepoint included
        work.next_assignment(people[0], project)


def test_finished_today_counts_since_midnight(project, people):
    ItemFactory.create_batch(2, project=project)
    for _ in range(2):
        annotation = work.submit(people[0], work.next_assignment(people[0], project).pk, content())
    Annotation.objects.filter(pk=annotation.pk).update(created_at=timezone.now() - timedelta(days=1))
    assert wellbeing.finished_today(people[0], project) == 1


def test_going_back_walks_through_ones_own_work(project, people):
    ItemFactory.create_batch(2, project=project)
    first = work.submit(people[0], work.next_assignment(people[0], project).pk, content())
    second = work.submit(people[0], work.next_assignment(people[0], project).pk, content())
    assert work.previous_annotation(people[0], project) == second
    assert work.previous_annotation(people[0], project, before=second.pk) == first
    assert work.previous_annotation(UserFactory(), project) is None


def test_what_was_typed_into_a_text_that_others_finished_is_kept_as_its_draft(project, people):
    item = ItemFactory(project=project, overlap=1)
    slow = work.next_assignment(people[0], project)
    let_lease_run_out(slow)
    fast = work.next_assignment(people[1], project)
    assert fast.item == item
    work.submit(people[1], fast.pk, content())
    with pytest.raises(work.NoLongerYours):
        work.submit(people[0], slow.pk, content(rewrite="An hour of thought."))
    slow.refresh_from_db()
    assert slow.draft["rewrite"] == "An hour of thought."


def test_a_text_submitted_in_another_tab_meanwhile_is_not_taken_again(project, people, monkeypatch):
    ItemFactory.create_batch(2, project=project)
    held = work.next_assignment(people[0], project)
    Assignment.objects.filter(pk=held.pk).update(lease_until=timezone.now() + timedelta(minutes=1))
    real = work._lease

    def submitted_just_now(project):
        monkeypatch.setattr(work, "_lease", real)
        work.submit(people[0], held.pk, content())
        return real(project)

    monkeypatch.setattr(work, "_lease", submitted_just_now)
    following = work.next_assignment(people[0], project)
    held.refresh_from_db()
    assert (held.state, following.item_id != held.item_id) == (AssignmentState.FINISHED, True)


def test_a_settled_pair_leads_back_to_annotations_that_came_after_it_was_proposed(project, people):
    item = ItemFactory(project=project)
    first = work.submit(people[0], work.next_assignment(people[0], project).pk, content())
    pair = pairs.propose_early(item)
    second = work.submit(people[1], work.next_assignment(people[1], project).pk, content())
    pair.refresh_from_db()
    pairs.approve(pair, people[2], version=pair.version, rewrite="Kinder.", labels=LABELS, chosen=second.pk)
    assert set(pair.annotations.all()) == {first, second}
