"""What leads decide about texts in the queue, and what annotators are handed because of it."""

from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from annotation import controls, gold, handout, pairs, projects, queueing, wellbeing, work
from annotation.models import (
    Annotation,
    Assignment,
    AssignmentState,
    Event,
    Item,
    Pair,
    PairStatus,
    QueuePlace,
    Reservation,
    Rewrite,
    RewriteVote,
    Role,
)
from tests.factories import ItemFactory, MembershipFactory, PairFactory, ProjectFactory, UserFactory

pytestmark = pytest.mark.django_db

LABELS = {"bias": "high", "toxicity": "mild", "harm": "medium", "sentiment": "negative"}
CONTENT = {"labels": LABELS, "rewrite": "Some of them work less."}
KINDS = [{"name": "slurs", "warning": "names for groups"}, {"name": "violence", "warning": ""}]


@pytest.fixture
def lead():
    return UserFactory(username="lea")


@pytest.fixture
def project(lead):
    return ProjectFactory(lead=lead, overlap=2, content_kinds=KINDS)


@pytest.fixture
def people(project):
    names = ("ann", "ben", "cem")
    return [
        MembershipFactory(project=project, role=Role.ANNOTATOR, user=UserFactory(username=name)).user for name in names
    ]


def finish(user, project):
    return work.submit(user, work.next_assignment(user, project).pk, CONTENT)


def handed(user, project, how_many=20):
    """The texts that somebody is handed, one after the other."""
    found = []
    while len(found) < how_many and (assignment := work.next_assignment(user, project)):
        found.append(assignment.item)
        work.submit(user, assignment.pk, CONTENT)
    return found


def one(item):
    return Item.objects.filter(pk=item.pk)


def let_lease_run_out(assignment):
    Assignment.objects.filter(pk=assignment.pk).update(lease_until=timezone.now() - timedelta(seconds=1))


# The order


def test_a_higher_priority_comes_first_and_the_order_within_one_stays(project, people, lead):
    a, b, c, d, e = ItemFactory.create_batch(5, project=project)
    queueing.set_priority(project, lead, Item.objects.filter(pk__in=[d.pk, b.pk]), 5)
    queueing.set_priority(project, lead, one(a), -1)
    assert handed(people[0], project) == [b, d, c, e, a]


def test_a_text_raised_later_comes_next_to_somebody_who_is_far_behind_it(project, people, lead):
    items = ItemFactory.create_batch(5, project=project)
    for _ in range(3):
        finish(people[0], project)
    queueing.set_priority(project, lead, one(items[1]), 9)
    assert work.next_assignment(people[1], project).item == items[1]
    assert work.next_assignment(people[0], project).item == items[3]


def test_retired_texts_are_not_handed_out_until_they_are_brought_back(project, people, lead):
    first, second = ItemFactory.create_batch(2, project=project)
    queueing.retire(project, lead, one(first))
    assert handed(people[0], project) == [second]
    queueing.bring_back(project, lead, one(first))
    assert handed(people[0], project) == [first]


def test_a_held_text_may_be_finished_after_it_was_retired(project, people, lead):
    item = ItemFactory(project=project)
    held = work.next_assignment(people[0], project)
    queueing.retire(project, lead, one(item))
    assert work.next_assignment(people[0], project) == held
    work.submit(people[0], held.pk, CONTENT)
    assert work.next_assignment(people[1], project) is None


def test_an_expired_text_is_not_handed_out_again_once_it_is_retired(project, people, lead):
    item = ItemFactory(project=project)
    let_lease_run_out(work.next_assignment(people[0], project))
    work.expire_leases(project)
    queueing.retire(project, lead, one(item))
    assert work.next_assignment(people[0], project) is None


# For named people


def test_reserved_texts_go_to_their_people_alone_and_before_everything_else(project, people, lead):
    a, b, c = ItemFactory.create_batch(3, project=project, overlap=3)
    queueing.set_priority(project, lead, one(a), 50)
    queueing.reserve(project, lead, one(c), [people[0], "ben"])
    assert [handed(user, project) for user in people] == [[c, a, b], [c, a, b], [a, b]]


def test_a_text_freed_again_goes_to_somebody_who_was_past_it(project, people, lead):
    first, second = ItemFactory.create_batch(2, project=project)
    queueing.reserve(project, lead, one(first), [people[1]])
    assert handed(people[0], project) == [second]
    queueing.reserve(project, lead, one(first), [])
    assert handed(people[0], project) == [first]


def test_a_second_named_person_gets_a_text_that_was_reserved_before(project, people, lead):
    item = ItemFactory(project=project)
    queueing.reserve(project, lead, one(item), [people[1]])
    assert work.next_assignment(people[0], project) is None
    queueing.reserve(project, lead, one(item), [people[0], people[1]])
    assert work.next_assignment(people[0], project).item == item


def test_an_expired_text_reserved_for_others_meanwhile_does_not_come_back(project, people, lead):
    item = ItemFactory(project=project)
    held = work.next_assignment(people[0], project)
    let_lease_run_out(held)
    work.expire_leases(project)
    queueing.reserve(project, lead, one(item), [people[1]])
    assert work.next_assignment(people[0], project) is None
    with pytest.raises(work.NoLongerYours, match="given to others"):
        work.submit(people[0], held.pk, CONTENT)


def test_reserved_texts_for_which_nobody_is_left_are_found(client, project, people, lead):
    done, skipped, lost, free, declined, voted, closed, full = (
        ItemFactory(project=project, external_id=name, overlap=2)
        for name in ("done", "skipped", "lost", "free", "declined", "voted", "closed", "full")
    )
    ann, ben, cem = people
    for item in (done, skipped, lost, free):
        queueing.reserve(project, lead, one(item), ["ann"])
    assert work.next_assignment(ann, project).item == done
    finish(ann, project)
    work.skip(ann, work.next_assignment(ann, project).pk)
    let_lease_run_out(work.next_assignment(ann, project))
    work.expire_leases()
    queueing.set_content_kinds(project, lead, one(declined), add=["slurs"])
    wellbeing.choose(ben, project, declined_kinds=["slurs", "violence"])
    queueing.reserve(project, lead, one(declined), ["ben"])
    queueing.reserve(project, lead, one(closed), ["cem"])
    queueing.reserve(project, lead, one(full), ["ann", "ben"])
    one(full).update(overlap=1)
    Assignment.objects.create(project=project, item=full, annotator=ann, lease_until=timezone.now())
    rewrite = Rewrite.objects.create(project=project, item=voted, text="Kinder.", wanted=1)
    RewriteVote.objects.create(project=project, rewrite=rewrite, voter=ben, lease_until=timezone.now())
    queueing.reserve(project, lead, one(voted), ["ben"])
    client.force_login(lead)
    page = reverse("annotation:items", args=[project.pk]) + "?reserved=stuck"
    api = f"/api/items/?project={project.pk}&reserved=stuck"

    def stuck():
        shown = client.get(page).content.decode()
        found = {row["external_id"] for row in client.get(api).json()["results"]}
        assert {name for name in Item.objects.values_list("external_id", flat=True) if f">{name}</a>" in shown} == found
        return found

    assert stuck() == {"done", "skipped", "declined", "voted"}
    cem.is_active = False
    cem.save()
    wellbeing.choose(ben, project, declined_kinds=["violence"])
    assert stuck() == {"done", "skipped", "closed", "voted"}
    queueing.reserve(project, lead, one(done), ["ann", "ben"])
    queueing.reserve(project, lead, one(skipped), [])
    assert stuck() == {"closed", "voted"}


def test_overlap_bounds_the_named_people_too(project, people, lead):
    item = ItemFactory(project=project, overlap=1)
    queueing.reserve(project, lead, one(item), people)
    assert [bool(handed(user, project)) for user in people] == [True, False, False]


def test_only_annotators_of_the_project_can_be_named(project, people, lead):
    item = ItemFactory(project=project)
    stranger = MembershipFactory().user
    with pytest.raises(ValidationError, match="is no annotator of this project"):
        queueing.reserve(project, lead, one(item), [people[0], stranger])
    assert not Reservation.objects.exists()


def test_naming_fewer_people_than_a_text_wants_is_said(project, people, lead):
    outcome = queueing.reserve(project, lead, one(ItemFactory(project=project)), [people[0]])
    assert "1 text wants more annotators than the 1 named" in outcome.sentence()


def test_texts_of_somebody_who_leaves_are_for_everybody_again(project, people, lead):
    item = ItemFactory(project=project)
    queueing.reserve(project, lead, one(item), [people[1]])
    projects.remove_member(project, people[1])
    assert handed(people[0], project) == [item]


# More annotators


def test_more_annotators_come_soon_and_refresh_the_proposed_pair(project, people, lead):
    contested, *_ = ItemFactory.create_batch(3, project=project)
    queueing.reserve(project, lead, one(contested), people[:2])
    for user in people[:2]:
        finish(user, project)
    queueing.reserve(project, lead, one(contested), [])
    pair = Pair.objects.get(item=contested)
    assert pair.annotations.count() == 2
    queueing.ask_for_more(project, lead, one(contested), 1)
    contested.refresh_from_db()
    assert (contested.overlap, contested.extra, contested.priority) == (3, 1, queueing.SOON)
    assert finish(people[2], project).item == contested
    pair.refresh_from_db()
    assert (pair.annotations.count(), pair.status, pair.version) == (3, PairStatus.PROPOSED, 2)


def test_a_settled_text_gets_no_more_annotators(project, people, lead):
    item = ItemFactory(project=project)
    finish(people[0], project)
    pair = pairs.propose_early(item)
    pairs.approve(pair, lead, version=pair.version, rewrite="Kinder.", labels=LABELS)
    with pytest.raises(ValidationError, match="settled: open the pair again first"):
        queueing.ask_for_more(project, lead, one(item), 1)
    item.refresh_from_db()
    assert (item.overlap, item.priority) == (2, 0)


def test_settled_and_retired_texts_among_many_are_left_alone_and_counted(project, lead):
    usual, retired = ItemFactory.create_batch(2, project=project)
    PairFactory(project=project)
    queueing.retire(project, lead, one(retired))
    outcome = queueing.ask_for_more(project, lead, queueing.work_items(project), 2)
    assert (outcome.changed, outcome.left) == (1, {queueing.SETTLED: 1, queueing.RETIRED: 1})
    usual.refresh_from_db()
    assert usual.overlap == 4


def test_fifty_annotators_are_the_most(project, lead):
    item = ItemFactory(project=project, overlap=45)
    queueing.ask_for_more(project, lead, one(item), 20)
    item.refresh_from_db()
    assert (item.overlap, item.extra) == (50, 5)
    with pytest.raises(ValidationError, match="wants 50 annotators already"):
        queueing.ask_for_more(project, lead, one(item), 1)


def test_what_was_asked_for_stays_beyond_a_changed_overlap(project, lead):
    _usual, contested = ItemFactory.create_batch(2, project=project)
    queueing.ask_for_more(project, lead, one(contested), 3)
    projects.change(project, by=lead, overlap=4)
    assert list(Item.objects.order_by("pk").values_list("overlap", flat=True)) == [4, 7]
    projects.change(project, by=lead, overlap=1)
    assert list(Item.objects.order_by("pk").values_list("overlap", flat=True)) == [1, 4]


# A lowered overlap


@pytest.mark.parametrize("how", ["skip", "expire", "leave"])
def test_a_lowered_overlap_holds_once_the_held_text_is_given_back(project, people, lead, how):
    item = ItemFactory(project=project)
    finish(people[0], project)
    held = work.next_assignment(people[1], project)
    projects.change(project, by=lead, overlap=1)
    item.refresh_from_db()
    assert (item.overlap, item.lowered_to) == (2, 1)
    if how == "skip":
        work.skip(people[1], held.pk)
    elif how == "expire":
        let_lease_run_out(held)
        work.expire_leases(project)
    else:
        projects.remove_member(project, people[1])
    item.refresh_from_db()
    assert (item.overlap, item.taken, item.finished) == (1, 1, 1)
    assert work.next_assignment(people[2], project) is None
    assert item.pair.status == PairStatus.PROPOSED


def test_a_held_text_may_be_finished_above_a_lowered_overlap(project, people, lead):
    item = ItemFactory(project=project)
    finish(people[0], project)
    held = work.next_assignment(people[1], project)
    projects.change(project, by=lead, overlap=1)
    work.submit(people[1], held.pk, CONTENT)
    item.refresh_from_db()
    assert (item.overlap, item.finished, item.pair.annotations.count()) == (2, 2, 2)


def test_a_raised_overlap_forgets_the_lowered_one(project, people, lead):
    item = ItemFactory(project=project)
    for user in people[:2]:
        work.next_assignment(user, project)
    projects.change(project, by=lead, overlap=1)
    projects.change(project, by=lead, overlap=3)
    work.skip(people[0], Assignment.objects.get(annotator=people[0]).pk)
    item.refresh_from_db()
    assert (item.overlap, item.lowered_to, item.taken) == (3, None, 1)


# Settled texts


def test_a_text_settled_early_is_not_handed_out_until_it_is_opened_again(project, people, lead):
    item = ItemFactory(project=project)
    finish(people[0], project)
    pair = pairs.propose_early(item)
    assert work.next_assignment(people[1], project).item == item  # proposed only: still wanted
    work.skip(people[1], Assignment.objects.get(annotator=people[1]).pk)
    pair = pairs.reject(pair, lead, version=pair.version, reason="A double.")
    assert work.next_assignment(people[2], project) is None
    pairs.reopen(pair, lead, version=pair.version)
    assert work.next_assignment(people[2], project).item == item


def test_late_work_on_a_settled_text_is_kept_as_a_draft(project, people, lead):
    item = ItemFactory(project=project)
    finish(people[0], project)
    late = work.next_assignment(people[1], project)
    let_lease_run_out(late)
    work.expire_leases(project)
    pair = pairs.propose_early(item)
    pairs.approve(pair, lead, version=pair.version, rewrite="Kinder.", labels=LABELS)
    with pytest.raises(work.NoLongerYours, match="the lead has settled this text"):
        work.submit(people[1], late.pk, CONTENT)
    late.refresh_from_db()
    assert late.draft["rewrite"] == CONTENT["rewrite"]


# Places in the queue


@pytest.mark.django_db(transaction=True)
def test_what_becomes_free_again_is_found_by_everybody_whose_place_is_behind_it(project, people):
    first, second = ItemFactory.create_batch(2, project=project, overlap=1)
    held = work.next_assignment(people[0], project)
    assert handed(people[1], project) == [second]
    assert work.next_assignment(people[1], project) is None
    assert QueuePlace.objects.filter(annotator=people[1]).exists()
    work.skip(people[0], held.pk)
    assert handed(people[1], project) == [first]


@pytest.mark.django_db(transaction=True)
def test_a_search_does_not_read_again_what_somebody_has_done(project, people):
    ItemFactory.create_batch(40, project=project, overlap=3)
    handed(people[0], project, 30)
    place = QueuePlace.objects.get(annotator=people[0])
    last = Annotation.objects.filter(annotator=people[0]).latest("pk").item
    assert (place.queued_in, place.item_id) == (Item.objects.get(pk=last.pk).queued_in, last.pk)
    with CaptureQueriesContext(connection) as few:
        work.next_assignment(people[1], project)
    with CaptureQueriesContext(connection) as many:
        work.next_assignment(people[0], project)
    assert len(many) == len(few)


@pytest.mark.django_db(transaction=True)
def test_a_place_that_cannot_be_right_is_not_used_and_every_place_ends_after_an_hour(project, people):
    item, other = ItemFactory.create_batch(2, project=project)
    level = {"project": project, "annotator": people[0], "reserved": False, "priority": 0}
    QueuePlace.objects.create(**level, queued_in=2**60, item_id=0)  # from a server that counted further
    assert work.next_assignment(people[0], project).item == item
    work.submit(people[0], Assignment.objects.get().pk, CONTENT)
    QueuePlace.objects.filter(annotator=people[0]).update(item_id=other.pk, queued_in=other.queued_in + 10**6)
    other.refresh_from_db()
    QueuePlace.objects.filter(annotator=people[0]).update(queued_in=other.queued_in)
    assert work.next_assignment(people[0], project) is None
    QueuePlace.objects.update(since=timezone.now() - handout.BEGIN_AGAIN - timedelta(seconds=1))
    assert work.next_assignment(people[0], project).item == other


# Many at once, and the log


def test_every_decision_is_logged_text_by_text_with_what_was_before(project, people, lead):
    a, b = ItemFactory.create_batch(2, project=project)
    both = Item.objects.filter(pk__in=[a.pk, b.pk])
    queueing.set_priority(project, lead, one(a), 3)
    queueing.set_priority(project, lead, both, 5)
    queueing.ask_for_more(project, lead, one(b), 1)
    queueing.reserve(project, lead, one(b), ["ann"])
    queueing.set_content_kinds(project, lead, one(b), add=["slurs"])
    queueing.retire(project, lead, both)
    queueing.bring_back(project, lead, one(a))
    log = Event.objects.order_by("pk")
    assert [(e.action, e.subject, e.before, e.after) for e in log if e.action == "item.priority"] == [
        ("item.priority", a.external_id, {"priority": 0}, {"priority": 3}),
        ("item.priority", a.external_id, {"priority": 3}, {"priority": 5}),
        ("item.priority", b.external_id, {"priority": 0}, {"priority": 5}),
    ]
    by_action = {event.action: event for event in log if event.item_id == b.pk}
    assert by_action["item.more_annotators"].after == {"overlap": 3, "extra": 1, "priority": 10}
    assert by_action["item.reserved"].after == {"people": ["ann"]}
    assert by_action["item.content_kinds"].before == {"content_kinds": []}
    assert by_action["item.retired"].before == {"retired_at": None}
    assert {event.actor for event in log} == {lead}


def test_what_a_text_contains_is_said_of_its_repeats_and_copies_too_and_of_known_answers(client, project, people, lead):
    item, other = ItemFactory.create_batch(2, project=project)
    finish(people[0], project)
    copy = gold.create(project, lead, kind="gold", item=item, labels={"bias": ["high"]}).item
    typed = gold.create(project, lead, kind="practice", text="Typed.", labels={"bias": ["high"]}).item
    repeat = controls._repeat(item, people[0])

    def kinds():
        return [Item.objects.get(pk=each.pk).content_kinds for each in (item, repeat, copy, typed, other)]

    outcome = queueing.set_content_kinds(project, lead, one(item), add=["violence", "slurs"])
    assert (outcome.changed, kinds()) == (1, [["slurs", "violence"]] * 3 + [[], []])
    found = queueing.work_items(project).filter(content_kinds__contains=["violence"])
    queueing.set_content_kinds(project, lead, found, remove=["violence"])
    assert kinds() == [["slurs"]] * 3 + [[], []]
    client.force_login(lead)
    sent = {"decision": "add_kinds", "content_kinds": ["slurs"]}
    assert client.post(f"/api/items/{typed.pk}/decide/", sent, content_type="application/json").status_code == 200
    assert kinds()[3] == ["slurs"]
    refused = client.post(f"/api/items/{typed.pk}/decide/", {"decision": "retire"}, content_type="application/json")
    assert (refused.status_code, "Not a text of this project" in refused.content.decode()) == (400, True)


def test_a_kind_of_content_can_go_once_no_text_of_the_work_has_it(project, people, lead):
    item = ItemFactory(project=project, content_kinds=["slurs", "violence"])
    finish(people[0], project)
    copy = gold.create(project, lead, kind="gold", item=item, labels={"bias": ["high"]}).item
    repeat = controls._repeat(item, people[0])
    with pytest.raises(ValidationError, match="slurs is said of 1 text:"):
        projects.change(project, by=lead, content_kinds=KINDS[1:])
    one(item).update(content_kinds=["violence"])  # as before copies were unmarked together with their text
    projects.change(project, by=lead, content_kinds=KINDS[1:])
    assert {tuple(each.content_kinds) for each in Item.objects.filter(project=project)} == {("violence",)}
    assert Item.objects.filter(pk__in=[copy.pk, repeat.pk]).count() == 2


def test_a_decision_that_changes_nothing_is_not_logged(project, lead):
    outcome = queueing.set_priority(project, lead, one(ItemFactory(project=project)), 0)
    assert outcome.sentence() == "0 texts changed. 1 text left alone (is so already)."
    assert not Event.objects.exists()


@pytest.mark.parametrize(
    ("decision", "values", "field", "words"),
    [
        ("priority", {"priority": 101}, "priority", "from -100 to 100"),
        ("priority", {"priority": True}, "priority", "from -100 to 100"),
        ("priority", {}, "priority", "Give a priority"),
        ("more", {"more": 0}, "more", "from 1 to 49"),
        ("more", {}, "more", "how many more"),
        ("reserve", {"people": []}, "people", "at least one person"),
        ("reserve", {"people": ["nobody"]}, "people", "no annotator of this project"),
        ("add_kinds", {"content_kinds": ["gore"]}, "content_kinds", "no kind of content of this project"),
        ("explode", {}, "decision", "Choose one of"),
    ],
)
def test_a_bad_value_is_refused_by_its_field_and_nothing_changes(project, people, lead, decision, values, field, words):
    item = ItemFactory(project=project)
    with pytest.raises(ValidationError) as error:
        queueing.decide(project, lead, one(item), decision, values)
    assert words in str(error.value.message_dict[field])
    assert not Event.objects.exists()


def test_more_texts_than_one_request_can_change_are_refused(project, lead, monkeypatch):
    monkeypatch.setattr(queueing, "MAX_AT_ONCE", 2)
    ItemFactory.create_batch(3, project=project)
    with pytest.raises(ValidationError, match="Narrow the filter"):
        queueing.retire(project, lead, queueing.work_items(project))
    assert not Item.objects.exclude(retired_at=None).exists()


def test_a_decision_costs_the_same_queries_for_few_and_many_texts(project, people, lead):
    counts = []
    for priority, number in ((1, 2), (2, 20)):
        ItemFactory.create_batch(number, project=project)
        with CaptureQueriesContext(connection) as queries:
            queueing.set_priority(project, lead, queueing.work_items(project), priority)
            queueing.reserve(project, lead, queueing.work_items(project), people[:priority])
        counts.append(len(queries))
    assert counts[0] >= counts[1] - 1  # the first time there was nothing to delete


# Pages


def test_the_lead_decides_about_chosen_texts_on_the_texts_page(client, project, lead):
    a, _b, c = ItemFactory.create_batch(3, project=project)
    client.force_login(lead)
    url = reverse("annotation:items", args=[project.pk])
    body = {"which": "chosen", "items": [a.pk, c.pk], "decision": "priority", "priority": "7"}
    page = client.post(url, body, follow=True)
    assert "2 texts changed." in page.content.decode()
    assert list(Item.objects.order_by("pk").values_list("priority", flat=True)) == [7, 0, 7]
    assert "priority 7" in page.content.decode()


def test_the_lead_decides_about_everything_that_the_filter_shows(client, project, lead):
    ItemFactory.create_batch(2, project=project, language="fr")
    other = ItemFactory(project=project, language="en")
    elsewhere = ItemFactory(language="fr")
    client.force_login(lead)
    url = reverse("annotation:items", args=[project.pk]) + "?language=fr"
    assert "All 2 texts that the filter shows" in " ".join(client.get(url).content.decode().split())
    answer = client.post(url, {"which": "filter", "decision": "retire"})
    assert answer.url == url
    assert set(Item.objects.filter(retired_at=None)) == {other, elsewhere}


def test_a_filter_with_an_error_decides_nothing(client, project, lead):
    ItemFactory.create_batch(2, project=project)
    client.force_login(lead)
    url = reverse("annotation:items", args=[project.pk]) + "?min_priority=high"
    answer = client.post(url, {"which": "filter", "decision": "retire"})
    assert answer.status_code == 422
    assert "The filter has an error; nothing was changed." in answer.content.decode()
    assert not Item.objects.exclude(retired_at=None).exists()


def test_a_refused_decision_keeps_what_was_chosen_and_typed(client, project, lead):
    a, _ = ItemFactory.create_batch(2, project=project)
    client.force_login(lead)
    url = reverse("annotation:items", args=[project.pk])
    answer = client.post(url, {"which": "chosen", "items": [a.pk], "decision": "priority", "priority": "1000"})
    text = answer.content.decode()
    assert answer.status_code == 422
    assert "Give a whole number from -100 to 100." in text
    assert f'value="{a.pk}" aria-label="Choose {a.external_id}" checked' in text
    assert 'value="1000"' in text
    answer = client.post(url, {"which": "chosen", "decision": "retire"})
    assert "Choose at least one text." in answer.content.decode()


def test_texts_of_another_project_cannot_be_chosen(client, project, lead):
    ItemFactory(project=project)
    foreign = ItemFactory()
    client.force_login(lead)
    url = reverse("annotation:items", args=[project.pk])
    answer = client.post(url, {"which": "chosen", "items": [foreign.pk], "decision": "retire"})
    assert "Not a text of this project" in answer.content.decode()
    foreign.refresh_from_db()
    assert foreign.retired_at is None


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("retired=yes", {"a"}),
        ("retired=no", {"b", "c", "d"}),
        ("reserved=yes", {"b"}),
        ("min_priority=5", {"c"}),
        ("content=slurs", {"d"}),
        ("language=fr", {"d"}),
        ("target_group=women", {"c"}),
        ("language=fr&content=slurs", {"d"}),
        ("state=complete", set()),
    ],
)
def test_the_texts_page_filters_by_every_fact_it_shows(client, project, people, lead, query, expected):
    ItemFactory(project=project, external_id="text-a", retired_at=timezone.now())
    b = ItemFactory(project=project, external_id="text-b")
    ItemFactory(project=project, external_id="text-c", priority=5, target_group="women")
    ItemFactory(project=project, external_id="text-d", content_kinds=["slurs"], language="fr")
    queueing.reserve(project, lead, one(b), ["ann"])
    client.force_login(lead)
    text = client.get(reverse("annotation:items", args=[project.pk]) + f"?{query}").content.decode()
    assert {name for name in "abcd" if f">text-{name}<" in text} == expected


def test_the_texts_page_needs_the_same_queries_for_few_and_many_texts(client, project, people, lead):
    client.force_login(lead)
    counts = []
    for _ in range(2):
        PairFactory.create_batch(8, project=project)
        ItemFactory.create_batch(8, project=project)
        queueing.reserve(project, lead, queueing.work_items(project), people)
        with CaptureQueriesContext(connection) as queries:
            assert "for <bdi>cem</bdi>" in client.get(reverse("annotation:items", args=[project.pk])).content.decode()
        counts.append(len(queries))
    assert counts[0] == counts[1]


def test_the_lead_decides_about_one_text_on_its_page_and_sees_what_was_decided(client, project, people, lead):
    item = ItemFactory(project=project)
    client.force_login(lead)
    url = reverse("annotation:change-item", args=[item.pk])
    page = client.post(url, {"decision": "reserve", "people": ["ann", "cem"]}, follow=True).content.decode()
    assert "<bdi>ann</bdi>, <bdi>cem</bdi>" in page
    assert "named the people for a text" in page
    answer = client.post(url, {"decision": "more", "more": ""})
    assert (answer.status_code, "Say how many more." in answer.content.decode()) == (422, True)


# The API


def test_the_api_decides_about_chosen_texts_and_by_filter(client, project, people, lead):
    a, b = ItemFactory.create_batch(2, project=project)
    client.force_login(lead)
    url = reverse("api:item-decide-many")
    body = {"project": project.pk, "items": [a.pk], "decision": "more", "more": 2}
    answer = client.post(url, body, content_type="application/json")
    assert answer.json() == {"changed": 1, "left": {}, "notes": []}
    body = {"project": project.pk, "filter": {"min_priority": 1}, "decision": "reserve", "people": ["ben"]}
    assert client.post(url, body, content_type="application/json").json()["changed"] == 1
    shown = client.get(reverse("api:item-detail", args=[a.pk])).json()
    assert (shown["overlap"], shown["priority"], shown["reserved_for"]) == (4, 10, ["ben"])
    answer = client.post(
        reverse("api:item-decide", args=[b.pk]), {"decision": "retire"}, content_type="application/json"
    )
    assert answer.json()["retired_at"] is not None


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"decision": "retire"}, "items"),
        ({"decision": "retire", "filter": {"retired": "maybe"}}, "retired"),
        ({"decision": "retire", "filter": {"colour": "red"}}, "colour"),
        ({"decision": "retire", "items": [1], "filter": {}}, "items"),
        ({"decision": "priority", "items": "own", "priority": 1000}, "priority"),
        ({"decision": "reserve", "items": "own", "people": ["x"]}, "people"),
    ],
)
def test_the_api_names_the_field_that_is_wrong_and_changes_nothing(client, project, lead, body, words):
    item = ItemFactory(project=project)
    client.force_login(lead)
    body = {"project": project.pk} | body | ({"items": [item.pk]} if body.get("items") == "own" else {})
    answer = client.post(reverse("api:item-decide-many"), body, content_type="application/json")
    assert answer.status_code == 400
    assert words in answer.content.decode()
    assert not Event.objects.exists()


def test_the_api_filters_texts_by_the_queues_facts(client, project, lead):
    ItemFactory(project=project)
    ItemFactory(project=project, priority=5, content_kinds=["slurs"])
    client.force_login(lead)
    rows = client.get(reverse("api:item-list"), {"project": project.pk, "content": "slurs"}).json()["results"]
    assert [(row["priority"], row["content_kinds"], row["reserved_for"]) for row in rows] == [(5, ["slurs"], [])]


def test_a_skipped_assignment_state_is_untouched_by_a_second_skip(project, people):
    ItemFactory(project=project)
    held = work.next_assignment(people[0], project)
    work.skip(people[0], held.pk)
    work.skip(people[0], held.pk)
    held.refresh_from_db()
    assert (held.state, held.item.__class__.objects.get().taken) == (AssignmentState.SKIPPED, 0)
