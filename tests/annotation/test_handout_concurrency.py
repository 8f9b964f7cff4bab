"""Many annotators at once, in threads, against real PostgreSQL."""

import random
import threading
from collections import Counter
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from annotation import work
from annotation.models import Annotation, Assignment, AssignmentState, Item, Role
from tests.factories import ItemFactory, MembershipFactory, ProjectFactory

LABELS = {"bias": "high", "toxicity": "mild", "harm": "medium", "sentiment": "negative"}
PEOPLE, ITEMS, OVERLAP = 8, 40, 3


def in_threads(function, arguments):
    """Run the function once for each argument, all at the same time; raise the first error."""
    errors = []
    barrier = threading.Barrier(len(arguments))

    def call(argument):
        try:
            barrier.wait()
            function(argument)
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=call, args=[argument]) for argument in arguments]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive(), "a thread is stuck"
    if errors:
        raise errors[0]


@pytest.mark.django_db(transaction=True)
def test_eight_annotators_finish_every_text_exactly_overlap_times():
    project = ProjectFactory(overlap=OVERLAP)
    people = [MembershipFactory(project=project, role=Role.ANNOTATOR).user for _ in range(PEOPLE)]
    ItemFactory.create_batch(ITEMS, project=project)

    def work_until_nothing_is_left(user):
        chance = random.Random(user.pk)
        while assignment := work.next_assignment(user, project):
            luck = chance.random()
            if luck < 0.05:  # walks away: the lease runs out, and the text comes back to somebody
                late = timezone.now() - timedelta(seconds=1)
                Assignment.objects.filter(pk=assignment.pk).update(lease_until=late)
                work.expire_leases(project)
                continue
            work.submit(user, assignment.pk, {"labels": LABELS, "rewrite": "Kinder."})
            if luck > 0.9:  # an impatient second click
                work.submit(user, assignment.pk, {"labels": LABELS, "rewrite": "Kinder."})

    in_threads(work_until_nothing_is_left, people)

    per_item = Counter(Annotation.objects.values_list("item_id", flat=True))
    assert set(per_item.values()) == {OVERLAP} and len(per_item) == ITEMS
    pairs = Annotation.objects.values_list("item_id", "annotator_id")
    assert len(pairs) == len(set(pairs)) == ITEMS * OVERLAP
    assert not Assignment.objects.filter(state=AssignmentState.HELD).exists()
    for item in Item.objects.all():
        assert (item.taken, item.finished) == (OVERLAP, OVERLAP)


@pytest.mark.django_db(transaction=True)
def test_ten_requests_for_the_last_place_give_it_to_one_person():
    project = ProjectFactory(overlap=1)
    people = [MembershipFactory(project=project, role=Role.ANNOTATOR).user for _ in range(10)]
    ItemFactory(project=project)
    got = []
    in_threads(lambda user: got.append(work.next_assignment(user, project)), people)
    assert len([assignment for assignment in got if assignment]) == 1


@pytest.mark.django_db(transaction=True)
def test_one_person_in_six_tabs_holds_one_text():
    project = ProjectFactory(overlap=3)
    user = MembershipFactory(project=project, role=Role.ANNOTATOR).user
    ItemFactory.create_batch(6, project=project)
    got = []
    in_threads(lambda _: got.append(work.next_assignment(user, project).pk), range(6))
    assert len(set(got)) == 1
    assert Assignment.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_six_identical_submits_at_once_make_one_annotation():
    project = ProjectFactory(overlap=2)
    user = MembershipFactory(project=project, role=Role.ANNOTATOR).user
    item = ItemFactory(project=project)
    assignment = work.next_assignment(user, project)
    body = {"labels": LABELS, "rewrite": "Kinder."}
    in_threads(lambda _: work.submit(user, assignment.pk, body), range(6))
    item.refresh_from_db()
    assert (Annotation.objects.count(), item.finished) == (1, 1)
