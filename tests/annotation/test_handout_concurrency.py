"""Many annotators at once, in threads, against real PostgreSQL."""

import random
import threading
import time
from collections import Counter
from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.utils import timezone

from annotation import pairs, projects, queueing, wellbeing, work
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


def finish_until_nothing_is_left(project, chance_of_skip=0.0, seen=None):
    """What one annotator does: take, sometimes walk away or skip, submit; note what was handed to whom."""

    def act(user):
        chance = random.Random(user.pk)
        while assignment := work.next_assignment(user, project):
            if seen is not None:
                seen.append((user.pk, assignment.item))
            luck = chance.random()
            if luck < 0.05:  # walks away: the lease runs out, and the text comes back to somebody
                late = timezone.now() - timedelta(seconds=1)
                Assignment.objects.filter(pk=assignment.pk).update(lease_until=late)
                work.expire_leases(project)
            elif luck > 1 - chance_of_skip:
                work.skip(user, assignment.pk)
            else:
                work.submit(user, assignment.pk, {"labels": LABELS, "rewrite": "Kinder."})

    return act


def check_guarantees(project):
    """No item beyond its overlap, nobody twice, counters that count."""
    done = Annotation.objects.filter(project=project)
    pairs_of = list(done.values_list("item_id", "annotator_id"))
    assert len(pairs_of) == len(set(pairs_of))
    per_item = Counter(item for item, _ in pairs_of)
    for item in Item.objects.filter(project=project):
        assert item.finished == per_item[item.pk] <= item.overlap
        assert item.taken == item.finished
    assert not Assignment.objects.filter(project=project, state=AssignmentState.HELD).exists()


@pytest.mark.django_db(transaction=True)
def test_eight_annotators_finish_everything_with_priorities_reservations_and_opt_outs():
    kinds = [{"name": "slurs", "warning": ""}]
    project = ProjectFactory(overlap=OVERLAP, content_kinds=kinds)
    people = [MembershipFactory(project=project, role=Role.ANNOTATOR).user for _ in range(PEOPLE)]
    items = ItemFactory.create_batch(ITEMS, project=project)
    for number, item in enumerate(items):
        item.priority = number % 4
        item.content_kinds = ["slurs"] if number % 5 == 0 else []
    Item.objects.bulk_update(items, ["priority", "content_kinds"])
    lead = project.created_by
    reserved = items[1::10]
    named = people[:OVERLAP]
    queueing.reserve(project, lead, Item.objects.filter(pk__in=[item.pk for item in reserved]), named)
    declining = people[4:]
    for user in declining:
        wellbeing.choose(user, project, declined_kinds=["slurs"])
    seen = []
    in_threads(finish_until_nothing_is_left(project, seen=seen), people)

    check_guarantees(project)
    assert set(Annotation.objects.values_list("item_id", flat=True)) == {item.pk for item in items}
    assert {item.finished for item in Item.objects.all()} == {OVERLAP}
    refused = {user.pk for user in declining}
    assert not [item for user, item in seen if user in refused and item.content_kinds]
    mine = {item.pk for item in reserved}
    assert {user for user, item in seen if item.pk in mine} == {user.pk for user in named}


@pytest.mark.django_db(transaction=True)
def test_the_guarantee_holds_while_a_lead_changes_everything():
    project = ProjectFactory(overlap=OVERLAP)
    people = [MembershipFactory(project=project, role=Role.ANNOTATOR).user for _ in range(PEOPLE)]
    ItemFactory.create_batch(ITEMS, project=project)
    lead = project.created_by
    act = finish_until_nothing_is_left(project, chance_of_skip=0.03)

    def change_everything(user):
        chance = random.Random(0)
        for turn in range(25):
            some = Item.objects.filter(pk__in=chance.sample(list(Item.objects.values_list("pk", flat=True)), 5))
            match turn % 5:
                case 0:
                    projects.change(project, by=lead, overlap=chance.choice([1, 2, 3, 4]))
                case 1:
                    queueing.set_priority(project, lead, some, chance.randint(-5, 5))
                case 2:
                    queueing.retire(project, lead, some)
                case 3:
                    queueing.bring_back(project, lead, Item.objects.all())
                case 4:
                    queueing.reserve(project, lead, some, chance.sample(people, 4) if turn < 20 else [])
        queueing.bring_back(project, lead, Item.objects.all())
        queueing.reserve(project, lead, Item.objects.all(), [])
        projects.change(project, by=lead, overlap=2)

    in_threads(lambda who: change_everything(who) if who is lead else act(who), [*people, lead])
    for user in people:  # what came back after somebody had gone home
        act(user)
    check_guarantees(project)
    for item in Item.objects.all():
        skipped_by_all_others = 8 - Assignment.objects.filter(item=item).count() == 0
        assert item.finished >= 2 or skipped_by_all_others


@pytest.mark.django_db(transaction=True)
def test_more_annotators_asked_for_at_once_reach_every_text_and_no_more():
    project = ProjectFactory(overlap=2)
    people = [MembershipFactory(project=project, role=Role.ANNOTATOR).user for _ in range(PEOPLE)]
    ItemFactory.create_batch(20, project=project)
    act = finish_until_nothing_is_left(project)

    def ask(user):
        for item in Item.objects.order_by("pk")[::2]:
            queueing.ask_for_more(project, user, Item.objects.filter(pk=item.pk), 2)

    lead = project.created_by
    in_threads(lambda who: ask(who) if who is lead else act(who), [*people, lead])
    for user in people:
        act(user)
    check_guarantees(project)
    assert [item.finished for item in Item.objects.order_by("pk")] == [4, 2] * 10


@pytest.mark.django_db(transaction=True)
def test_settling_and_submitting_at_once_never_wait_for_each_other_for_ever():
    project = ProjectFactory(overlap=3)
    people = [MembershipFactory(project=project, role=Role.ANNOTATOR).user for _ in range(4)]
    ItemFactory.create_batch(15, project=project)
    lead = project.created_by

    def settle(user):
        for item in Item.objects.order_by("pk"):
            for _ in range(20):
                if Annotation.objects.filter(item=item).exists():
                    break
                time.sleep(0.05)
            try:
                pair = pairs.propose_early(item)
                pairs.reject(pair, user, version=pair.version, reason="A double.")
            except ValidationError:  # nobody has annotated it, or somebody just did
                continue

    in_threads(lambda who: settle(who) if who is lead else finish_until_nothing_is_left(project)(who), [*people, lead])
    check_guarantees(project)


@pytest.mark.django_db(transaction=True)
def test_one_person_in_six_tabs_stays_within_the_limit_of_a_day():
    project = ProjectFactory(overlap=3, daily_limit=4)
    user = MembershipFactory(project=project, role=Role.ANNOTATOR).user
    ItemFactory.create_batch(20, project=project)

    def work_in_a_tab(_):
        while True:
            try:
                assignment = work.next_assignment(user, project)
            except wellbeing.LimitReached:
                return
            if assignment is not None:
                work.submit(user, assignment.pk, {"labels": LABELS, "rewrite": "Kinder."})

    in_threads(work_in_a_tab, range(6))
    assert Annotation.objects.count() == 4
