"""Contested pairs first, sent back, undone, approved in bulk under a rule in words, and taken back again."""

import contextlib
import random
from datetime import timedelta
from itertools import combinations

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from annotation import batches, jobs, pairs, projects, queueing, rules, votes, work
from annotation.models import (
    ApprovalRule,
    Batch,
    Event,
    Pair,
    PairStatus,
    Rewrite,
    SendBack,
    SentBackState,
)
from tests.annotation.test_handout_concurrency import in_threads
from tests.annotation.test_pairs import annotate
from tests.annotation.test_votes import NO, YES, cast, member
from tests.factories import ItemFactory, PairFactory, ProjectFactory, UserFactory


@pytest.fixture
def lead():
    return UserFactory(username="the-lead")


@pytest.fixture
def project(lead):
    return ProjectFactory(overlap=2, votes_per_rewrite=2, lead=lead)


def make(project, *rewrites, overlap=None, **different):
    """A proposed pair from as many annotations as rewrites; keyword arguments are labels of the last annotation."""
    item = ItemFactory(project=project, overlap=overlap or len(rewrites))
    for number, rewrite in enumerate(rewrites):
        annotate(item, rewrite, **(different if number == len(rewrites) - 1 else {}))
    return Pair.objects.get(item=item)


def state(pair):
    pair.refresh_from_db()
    return {name: getattr(pair, name) for name in pairs.STATE}


# How contested a pair is


def by_hand(pair):
    """The formula of annotation.contention, in Python."""
    annotations = list(pair.item.annotations.all())
    shares, distances = [], []
    for dimension in pair.project.dimensions.all():
        levels = [a.labels[dimension.key] for a in annotations if dimension.key in a.labels]
        if levels:
            shares.append(len(set(levels)) > 1)
        if len(levels) > 1:
            places = [dimension.levels.index(level) for level in levels]
            span = len(dimension.levels) - 1
            apart = [
                abs(a - b) / span if dimension.scale == "ordinal" else float(a != b) for a, b in combinations(places, 2)
            ]
            distances.append(sum(apart) / len(apart))
    words = [set(a.rewrite.lower().split()) for a in annotations if a.rewrite.strip()]
    jaccard = [1 - len(a & b) / len(a | b) for a, b in combinations(words, 2)]
    against = (pair.votes - pair.votes_accepted) / pair.votes if pair.votes else 0

    def mean(values):
        return sum(values) / len(values) if values else 0

    return 0.4 * mean(shares) + 0.2 * mean(distances) + 0.3 * against + 0.1 * mean(jaccard)


@pytest.mark.django_db
def test_contention_is_what_its_formula_says(project):
    chance = random.Random(5)
    project.dimensions.filter(key="sentiment").update(scale="nominal")
    words = ["They", "are", "not", "all", "lazy", "🙃", "كسول", "and", "some", "work"]
    dimensions = list(project.dimensions.all())
    for _ in range(12):
        item = ItemFactory(project=project, overlap=chance.randint(1, 4))
        for _ in range(item.overlap):
            labels = {dimension.key: chance.choice(dimension.levels) for dimension in dimensions}
            annotate(item, chance.choice(["", " ".join(chance.choices(words, k=5))]), **labels)
        if item.pair.rewrite:
            for answers in (YES, NO):
                cast(member(project), project, chance.choice([answers, YES]))
    checked = 0
    for pair in Pair.objects.all():
        assert pair.contested == pytest.approx(by_hand(pair), abs=1e-9)
        checked += pair.contested > 0
    assert checked > 5


@pytest.mark.django_db
def test_the_facts_of_a_pair_follow_annotations_and_votes(project):
    pair = make(project, "One way.", "One way.", "Another way.", bias="none")
    assert (pair.annotation_count, pair.written_alike, pair.has_comment) == (3, False, False)
    assert pair.agreement == {"bias": pytest.approx(2 / 3), "toxicity": 1, "harm": 1, "sentiment": 1}
    other = pair.item.annotations.get(rewrite="Another way.")
    content = other.content() | {"rewrite": "One way.", "comment": "Hm."}
    work.revise(other.annotator, other.pk, content, 1)
    cast(member(project), project, NO)
    pair.refresh_from_db()
    assert (pair.written_alike, pair.has_comment, pair.votes, pair.votes_safe, pair.votes_meaning) == (
        True,
        True,
        1,
        0,
        1,
    )
    before = pair.contested
    vote = pair.item.rewrites.get().cast.get()
    votes.give(vote.voter, vote.pk, YES, 1)
    pair.refresh_from_db()
    assert pair.contested == pytest.approx(before - 0.3)


@pytest.mark.django_db
def test_votes_of_another_rewrite_do_not_count_for_the_one_that_was_approved(project, lead):
    pair = make(project, "One way.")
    cast(member(project), project)
    pair.refresh_from_db()
    assert pair.votes == 1
    pairs.approve(pair, lead, version=pair.version, rewrite="The lead's way.", labels={})
    pair.refresh_from_db()
    assert pair.votes == 0


# Undo


@pytest.mark.django_db
@pytest.mark.parametrize("decision", ["approve", "reject", "reopen", "send_back"])
def test_undo_restores_the_state_before(project, lead, decision):
    pair = make(project, "One way.", "Another way.", bias="none")
    if decision == "reopen":
        pairs.approve(pair, lead, version=pair.version, rewrite="The lead's.", labels={"bias": "high"})
    before = state(pair)
    match decision:
        case "approve":
            pairs.approve(pair, lead, version=pair.version, rewrite="The lead's.", labels={"bias": "high"})
        case "reject":
            pairs.reject(pair, lead, version=pair.version, reason="No.")
        case "reopen":
            pairs.reopen(pair, lead, version=pair.version)
        case "send_back":
            annotation = pair.item.annotations.first()
            pairs.send_back(pair, lead, version=pair.version, annotation=annotation.pk, reason="Look.")
    assert state(pair) != before
    pairs.undo(pair, lead, version=pair.version)
    assert state(pair) == before
    assert Rewrite.objects.filter(open=True).exists() == (before["status"] == PairStatus.PROPOSED)
    assert not pairs.waiting(pair.item.annotations.first().annotator).exists()
    assert Event.objects.first().action == "pair.undone"
    with pytest.raises(ValidationError, match="no decision"):
        pairs.undo(pair, lead, version=pair.version)


@pytest.mark.django_db
def test_undo_of_what_somebody_changed_since_is_refused(project, lead):
    pair = make(project, "One way.")
    pairs.approve(pair, lead, version=pair.version, rewrite="The lead's.", labels={})
    pair.refresh_from_db()
    seen = pair.version
    pairs.reopen(pair, UserFactory(), version=seen)
    with pytest.raises(pairs.ChangedMeanwhile):
        pairs.undo(pair, lead, version=seen)


@pytest.mark.django_db
def test_a_revision_leaves_nothing_to_undo(project, lead):
    pair = make(project, "One way.")
    annotation = pair.item.annotations.get()
    pairs.send_back(pair, lead, version=pair.version, annotation=annotation.pk, reason="Look.")
    work.revise(annotation.annotator, annotation.pk, annotation.content() | {"rewrite": "Better."}, 1)
    pair.refresh_from_db()
    with pytest.raises(ValidationError, match="no decision"):
        pairs.undo(pair, lead, version=pair.version)


@pytest.mark.django_db
def test_undoing_a_decision_asks_again_what_it_had_withdrawn(project, lead):
    pair = make(project, "One way.")
    annotation = pair.item.annotations.get()
    pairs.send_back(pair, lead, version=pair.version, annotation=annotation.pk, reason="Look.")
    pair.refresh_from_db()
    pairs.reject(pair, lead, version=pair.version, reason="Too late.")
    assert not pairs.waiting(annotation.annotator).exists()
    pair.refresh_from_db()
    pairs.undo(pair, lead, version=pair.version)
    assert pairs.waiting(annotation.annotator).get().reason == "Look."
    assert state(pair)["sent_back"] == SentBackState.WAITING


# Sending back


@pytest.mark.django_db
def test_a_revision_answers_what_was_sent_back(project, lead):
    pair = make(project, "One way.", "Another way.")
    annotation = pair.item.annotations.get(rewrite="One way.")
    pairs.send_back(pair, lead, version=pair.version, annotation=annotation.pk, reason="The tone is off.")
    pair.refresh_from_db()
    assert (pair.status, pair.sent_back) == (PairStatus.PROPOSED, SentBackState.WAITING)
    (sent,) = pairs.waiting(annotation.annotator)
    assert sent.reason == "The tone is off." and not pairs.waiting(
        pair.item.annotations.get(rewrite="Another way.").annotator
    )
    work.revise(annotation.annotator, annotation.pk, annotation.content() | {"rewrite": "Better."}, 1)
    pair.refresh_from_db()
    sent.refresh_from_db()
    assert (pair.sent_back, sent.changed, pair.rewrite) == (SentBackState.ANSWERED, True, "Better.")
    assert [event.action for event in Event.objects.filter(item=pair.item)] == ["pair.answered", "pair.sent_back"]


@pytest.mark.django_db
def test_an_annotator_may_leave_it_as_it_is_and_say_why(project, lead):
    pair = make(project, "One way.", "Another way.")
    one, two = pair.item.annotations.order_by("pk")
    pairs.send_back(pair, lead, version=pair.version, annotation=one.pk, reason="Look.")
    pair.refresh_from_db()
    pairs.send_back(pair, lead, version=pair.version, annotation=two.pk, reason="You too.")
    sent = pairs.waiting(one.annotator).get()
    with pytest.raises(SendBack.DoesNotExist):
        pairs.keep(two.annotator, sent.pk, "Not mine.")
    with pytest.raises(ValidationError) as error:
        pairs.keep(one.annotator, sent.pk, " ")
    assert "answer" in error.value.message_dict
    pairs.keep(one.annotator, sent.pk, "It is a quotation.")
    assert state(pair)["sent_back"] == SentBackState.WAITING  # the other one has not answered
    pairs.keep(two.annotator, pairs.waiting(two.annotator).get().pk, "Mine too.")
    assert state(pair)["sent_back"] == SentBackState.ANSWERED
    with pytest.raises(SendBack.DoesNotExist):
        pairs.keep(one.annotator, sent.pk, "Again.")


@pytest.mark.django_db
def test_what_cannot_be_sent_back_says_why(project, lead):
    pair = make(project, "One way.")
    annotation = pair.item.annotations.get()
    other = make(project, "Of another text.").item.annotations.get()

    def refused(annotation=annotation, reason="Look.", version=None):
        with pytest.raises(ValidationError) as error:
            pairs.send_back(
                pair, lead, version=version or (state(pair) and pair.version), annotation=annotation.pk, reason=reason
            )
        return str(error.value)

    assert "Say what" in refused(reason=" \n")
    assert "limit is 2,000" in refused(reason="x" * 2_001)
    assert "one of this text's annotations" in refused(other)
    assert "changed since you opened it" in refused(version=99)
    pairs.send_back(pair, lead, version=pair.version, annotation=annotation.pk, reason="Look.")
    assert "waits for an answer" in refused()
    project.memberships.filter(user=annotation.annotator).delete()
    assert "no annotator of this project any more" in refused()


# Rules


@pytest.fixture
def rule(project):
    return rules.save(project, project.created_by, {"min_annotations": 2, "rewrite": "votes", "min_votes": 2})


@pytest.mark.django_db
def test_a_rule_is_said_in_words(project, rule):
    assert rules.words(rule) == (
        "Approve a pair when at least 2 people annotated the text; all of them agree on Bias, Toxicity, Harm and "
        "Sentiment; everybody who was asked for has annotated it; at least 2 others voted on the rewrite, all say that "
        "it is safe and all say that it keeps the meaning; nobody left a comment to the lead; it was not sent back."
    )
    values = {"min_annotations": 1, "dimensions": ["harm"], "min_agreement": 66, "rewrite": "either", "min_votes": 1}
    values |= {"min_safe": 80, "no_comment": False, "not_sent_back": False}
    assert rules.words(rules.save(project, project.created_by, values)) == (
        "Approve a pair when at least 1 person annotated the text; at least 66 % of them agree on Harm; everybody "
        "who was asked for has annotated it; every annotator wrote exactly this rewrite, or at least 1 other "
        "voted on the rewrite, at least 80 % say that it is safe and all say that it keeps the meaning."
    )
    assert Event.objects.first().action == "rule.changed"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"min_annotations": 0}, "min_annotations"),
        ({"min_agreement": 50}, "min_agreement"),
        ({"min_agreement": "many"}, "min_agreement"),
        ({"min_safe": 101}, "min_safe"),
        ({"dimensions": ["race"]}, "dimensions"),
        ({"dimensions": "bias"}, "dimensions"),
        ({"rewrite": "nice"}, "rewrite"),
    ],
)
def test_an_impossible_rule_is_refused_by_field(project, lead, values, field):
    with pytest.raises(ValidationError) as error:
        rules.save(project, lead, values)
    assert list(error.value.message_dict) == [field]
    assert not ApprovalRule.objects.exists()


def voted(project, *answers, pair):
    """These answers on the pair's proposed rewrite."""
    rewrite = Rewrite.objects.get(item=pair.item, text=pair.rewrite)
    lease = timezone.now() + timedelta(hours=1)
    for one in answers:
        voter = member(project)
        vote = rewrite.cast.create(project=project, voter=voter, lease_until=lease)
        votes.give(voter, vote.pk, one)
    pair.refresh_from_db()
    return pair


@pytest.mark.django_db
def test_the_preview_counts_what_is_approved_and_why_not_the_rest(project, rule, lead):
    good = [voted(project, YES, YES, pair=make(project, "Same.", "Same.")) for _ in range(3)]
    voted(project, YES, NO, pair=make(project, "Same.", "Other."))
    voted(project, YES, YES, pair=make(project, "Same.", "Same.", bias="none"))
    voted(project, YES, YES, pair=make(project, "Alone."))
    waiting = voted(project, YES, YES, pair=make(project, "Same.", "Same."))
    annotation = waiting.item.annotations.first()
    pairs.send_back(waiting, lead, version=waiting.version, annotation=annotation.pk, reason="Look.")
    reopened = voted(project, YES, YES, pair=make(project, "Same.", "Same."))
    pairs.approve(reopened, lead, version=reopened.version, rewrite="Same.", labels={})
    pairs.reopen(reopened, lead, version=reopened.version + 1)
    empty = make(project, "", "")
    approved = voted(project, YES, YES, pair=make(project, "Same.", "Same."))
    pairs.approve(approved, lead, version=approved.version, rewrite="Same.", labels={})
    seen = rules.preview(rule)
    assert (seen.proposed, seen.matching) == (9, 3)
    assert set(seen.sample) == set(good) == set(rules.matching(rule))
    assert dict(seen.left_out) == {
        "no rewrite": 1,
        "opened again by a lead": 1,
        "fewer than 2 annotations": 1,
        "too little agreement on Bias": 1,
        "too few votes for the rewrite": 2,
        "sent back to an annotator": 1,
    }
    assert empty.status == PairStatus.PROPOSED


@pytest.mark.django_db
@pytest.mark.parametrize("how", ["more", "overlap"])
def test_a_rule_approves_no_text_that_is_open_for_more_annotators(project, rule, lead, how):
    done, opened = (voted(project, YES, YES, pair=make(project, "Same.", "Same.")) for _ in range(2))
    assert rules.preview(rule).matching == 2
    if how == "more":
        queueing.ask_for_more(project, lead, queueing.chosen(project, [opened.item_id]), 1)
    else:
        projects.change(project, by=lead, overlap=3)
        done.item.refresh_from_db()
        annotate(done.item, "Same.")
    seen = rules.preview(rule)
    assert (seen.matching, dict(seen.left_out)["still open for more annotators"]) == (1, 1)
    batch = run(batches.approve_by_rule(project, lead, rule))
    assert batch.changed == 1 and "everybody who was asked for has annotated it" in batch.words
    assert state(opened)["status"] == PairStatus.PROPOSED


@pytest.mark.django_db
def test_each_condition_can_be_loosened(project, lead):
    pair = make(project, "Same.", "Same.", "Same.", bias="none")
    item = make(project, "One.", "Two.", "Three.").item
    noted = item.annotations.first()
    work.revise(noted.annotator, noted.pk, noted.content() | {"comment": "Unsure."}, 1)

    def approved(**values):
        base = {"min_annotations": 3, "rewrite": "any", "min_votes": 1} | values
        return set(rules.matching(rules.check(project, base)).values_list("item_id", flat=True))

    assert approved() == set()
    assert approved(no_comment=False) == {item.pk}
    assert approved(min_agreement=66) == {pair.item_id}
    assert approved(min_agreement=67) == set()
    assert approved(dimensions=["harm"], no_comment=False) == {pair.item_id, item.pk}
    assert approved(dimensions=["harm"], no_comment=False, rewrite="alike") == {pair.item_id}
    assert approved(dimensions=["harm"], no_comment=False, rewrite="votes") == set()
    voted(project, YES, NO, pair=item.pair)
    assert approved(dimensions=["harm"], no_comment=False, rewrite="votes") == set()
    assert approved(dimensions=["harm"], no_comment=False, rewrite="votes", min_safe=50) == {item.pk}
    assert approved(dimensions=["harm"], no_comment=False, rewrite="either", min_safe=50) == {pair.item_id, item.pk}
    assert approved(dimensions=[], min_annotations=4) == set()


@pytest.mark.django_db
def test_preview_and_approval_cost_the_same_however_many_pairs(project, rule):
    costs = []
    for number in (3, 12):
        for _ in range(number):
            voted(project, YES, YES, pair=make(project, "Same.", "Same."))
        with CaptureQueriesContext(connection) as preview:
            rules.preview(rule)
        batch = batches.approve_by_rule(project, project.created_by, rule)
        with CaptureQueriesContext(connection) as approval:
            jobs.execute(Batch.objects, batch.pk, batches.run)
        costs.append((len(preview), len(approval)))
    assert costs[0] == costs[1]


# Batches


def run(batch):
    jobs.execute(Batch.objects, batch.pk, batches.run)
    batch.refresh_from_db()
    return batch


@pytest.mark.django_db
def test_a_batch_approves_under_the_rule_and_says_so_on_each_pair(project, rule, lead):
    good = [voted(project, YES, YES, pair=make(project, "Same.", "Same.")) for _ in range(3)]
    bad = make(project, "One.", "Two.")
    batch = run(batches.approve_by_rule(project, lead, rule))
    assert (batch.status, batch.changed, batch.message) == ("finished", 3, "3 pairs approved.")
    assert (batch.rule, batch.words) == (rules.values_of(rule), rules.words(rule))
    for pair in good:
        version = pair.version
        pair.refresh_from_db()
        assert (pair.status, pair.settled_by, pair.batch, pair.version) == ("approved", lead, batch, version + 1)
        assert pair.annotations.count() == 2 and not pair.item.rewrites.get().open
        event = pair.item.events.first()
        assert (event.action, event.actor, event.after) == (
            "pair.approved",
            lead,
            {"status": "approved", "batch": batch.pk},
        )
    assert state(bad)["status"] == PairStatus.PROPOSED
    assert run(batches.approve_by_rule(project, lead, rule)).changed == 0


@pytest.mark.django_db
def test_undoing_a_batch_leaves_alone_what_was_changed_since(project, rule, lead):
    made = [voted(project, YES, YES, pair=make(project, "Same.", "Same.")) for _ in range(4)]
    before = [state(pair) for pair in made]
    batch = run(batches.approve_by_rule(project, lead, rule))
    made[0].refresh_from_db()
    pairs.reopen(made[0], lead, version=made[0].version)
    made[0].refresh_from_db()
    pairs.approve(made[0], lead, version=made[0].version, rewrite="By hand.", labels={})
    undone = run(batches.undo(batch, lead))
    assert (undone.changed, undone.left_out) == (3, {"changed since": 1})
    assert undone.message == "3 pairs brought back, 1 left alone."
    assert [state(pair) for pair in made[1:]] == before[1:]
    assert state(made[0])["rewrite"] == "By hand."
    assert Rewrite.objects.filter(open=True).count() == 3
    assert made[1].item.events.first().action == "pair.undone"
    with pytest.raises(ValidationError, match="undone already"):
        batches.undo(batch, lead)
    with pytest.raises(ValidationError, match="undid another"):
        batches.undo(undone, lead)
    assert rules.preview(rule).matching == 3  # and could be approved again


@pytest.mark.django_db
def test_undoing_a_batch_leaves_alone_a_pair_whose_reopening_was_undone(project, lead):
    first, second = (make(project, "Same.", "Same.") for _ in range(2))
    chosen = [[pair.pk, pair.version] for pair in (first, second)]
    batch = batches.decide(project, lead, action="approve", chosen=chosen)
    first.refresh_from_db()
    reopened = pairs.reopen(first, lead, version=first.version)
    pairs.undo(reopened, lead, version=reopened.version)
    assert batches.decided_now(batch) == 1
    undone = run(batches.undo(batch, lead))
    assert (undone.status, undone.changed, undone.left_out) == ("finished", 1, {"changed since": 1})
    assert (state(first)["status"], state(second)["status"]) == (PairStatus.APPROVED, PairStatus.PROPOSED)


@pytest.mark.django_db
def test_one_pair_of_a_batch_can_be_undone_alone(project, rule, lead):
    made = [voted(project, YES, YES, pair=make(project, "Same.", "Same.")) for _ in range(2)]
    before = state(made[0])
    batch = run(batches.approve_by_rule(project, lead, rule))
    made[0].refresh_from_db()
    pairs.undo(made[0], lead, version=made[0].version)
    assert state(made[0]) == before and batches.decided_now(batch) == 1


@pytest.mark.django_db
def test_chosen_pairs_are_approved_or_rejected_as_they_were_seen(project, lead):
    made = [make(project, "Same.") for _ in range(3)]
    empty, foreign = make(project, ""), PairFactory(status=PairStatus.PROPOSED)
    chosen = [[pair.pk, pair.version] for pair in (*made, empty, foreign)]
    annotation = made[0].item.annotations.get()
    work.revise(annotation.annotator, annotation.pk, annotation.content() | {"rewrite": "Changed."}, 1)
    batch = batches.decide(project, lead, action="approve", chosen=chosen)
    assert (batch.status, batch.changed) == ("finished", 2)
    assert batch.left_out == {"changed meanwhile": 1, "no rewrite": 1, "not in this project": 1}
    assert state(foreign)["status"] == PairStatus.PROPOSED
    rejected = batches.decide(project, lead, action="reject", chosen=[[empty.pk, empty.version]], reason="No text.")
    assert rejected.changed == 1 and state(empty)["reason"] == "No text."
    assert run(batches.undo(rejected, lead)).changed == 1
    assert (state(empty)["status"], empty.reason) == (PairStatus.PROPOSED, "")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"chosen": []}, "pairs"),
        ({"chosen": [1]}, "pairs"),
        ({"chosen": [["1", 2]]}, "pairs"),
        ({"chosen": [[1, True]]}, "pairs"),
        ({"chosen": [[n, 1] for n in range(1, 10_002)]}, "pairs"),
        ({"action": "delete"}, "action"),
        ({"action": "reject", "reason": " "}, "reason"),
    ],
)
def test_an_impossible_choice_is_refused_by_field(project, lead, values, field):
    with pytest.raises(ValidationError) as error:
        batches.decide(project, lead, **({"action": "approve", "chosen": [[1, 1]]} | values))
    assert list(error.value.message_dict) == [field]
    assert not Batch.objects.exists()


@pytest.mark.django_db
def test_a_batch_whose_worker_died_goes_on_and_decides_nothing_twice(project, rule, lead, monkeypatch):
    for _ in range(5):
        voted(project, YES, YES, pair=make(project, "Same.", "Same."))
    monkeypatch.setattr(batches, "CHUNK", 2)
    batch = batches.approve_by_rule(project, lead, rule)
    report = Batch.report

    def die(self, *args):
        report(self, *args)
        raise SystemExit

    monkeypatch.setattr(Batch, "report", die)
    with pytest.raises(SystemExit):
        jobs.execute(Batch.objects, batch.pk, batches.run)
    assert Pair.objects.filter(status="approved").count() == 2
    monkeypatch.setattr(Batch, "report", report)
    Batch.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert run(batch).changed == 5
    assert Event.objects.filter(action="pair.approved").count() == 5
    assert set(Pair.objects.values_list("version", flat=True)) == {2}


@pytest.mark.django_db
def test_a_stopped_batch_can_be_undone(project, rule, lead, monkeypatch):
    for _ in range(4):
        voted(project, YES, YES, pair=make(project, "Same.", "Same."))
    monkeypatch.setattr(batches, "CHUNK", 2)
    batch = batches.approve_by_rule(project, lead, rule)
    with pytest.raises(ValidationError, match="still runs"):
        batches.undo(batch, lead)
    report = Batch.report

    def stop(self, *args):
        Batch.objects.filter(pk=self.pk).update(cancel_requested=True)
        report(self, *args)

    monkeypatch.setattr(Batch, "report", stop)
    run(batch)
    monkeypatch.setattr(Batch, "report", report)
    assert (batch.status, batch.changed) == ("cancelled", 2)
    assert run(batches.undo(batch, lead)).changed == 2


@pytest.mark.django_db(transaction=True)
def test_a_batch_beside_leads_annotators_and_voters_decides_each_pair_once(worker):
    lead = UserFactory()
    project = ProjectFactory(overlap=1, votes_per_rewrite=3, lead=lead)
    made = [make(project, "Same.") for _ in range(16)]
    annotations = [pair.item.annotations.get() for pair in made]
    rule = rules.save(project, lead, {"min_annotations": 1, "rewrite": "any", "no_comment": True})
    voters = [member(project) for _ in range(2)]

    def vote(user):
        while cast(user, project):
            pass

    def settle(_):
        for pair in made[:8]:
            with contextlib.suppress(pairs.ChangedMeanwhile):
                pairs.reject(pair, lead, version=pair.version, reason="By hand.")

    def revise(_):
        for annotation in reversed(annotations):
            with contextlib.suppress(ValidationError):
                work.revise(annotation.annotator, annotation.pk, annotation.content() | {"comment": "Wait."}, 1)

    def send_back(_):
        for pair in made[8:]:
            try:
                annotation = pair.item.annotations.get()
                pairs.send_back(pair, lead, version=pair.version, annotation=annotation.pk, reason="Look.")
            except ValidationError:
                pass

    def approve(_):
        batch = batches.approve_by_rule(project, lead, rule)
        jobs.execute(Batch.objects, batch.pk, batches.run)
        batch.refresh_from_db()
        assert batch.status == "finished"

    tasks = [(vote, user) for user in voters] + [(do, None) for do in (settle, revise, send_back, approve)]
    in_threads(lambda task: task[0](task[1]), tasks)
    batch = Batch.objects.get()
    assert Pair.objects.filter(batch=batch).count() == batch.changed
    for pair in made:
        decided = [e.action for e in pair.item.events.filter(action__in=["pair.approved", "pair.rejected"])]
        pair.refresh_from_db()
        assert len(decided) == (pair.status != PairStatus.PROPOSED)
        if pair.status == PairStatus.APPROVED:  # nothing was approved that had a comment in that moment
            approved = pair.item.events.get(action="pair.approved").at
            assert not pair.item.annotations.filter(comment="Wait.", updated_at__lt=approved - timedelta(seconds=5))


# Pages and API


@pytest.fixture
def client(lead):
    client = Client()
    client.force_login(lead)
    return client


def url(name, *args):
    return reverse(f"annotation:{name}", args=args)


@pytest.mark.django_db
def test_the_queue_shows_what_is_asked_for(client, project, lead):
    calm = make(project, "Same.", "Same.")
    split = make(project, "Same.", "Same.", bias="none")
    failed = voted(project, YES, NO, pair=make(project, "Same.", "Same."))
    sent = make(project, "Same.", "Same.")
    annotation = sent.item.annotations.first()
    pairs.send_back(sent, lead, version=sent.version, annotation=annotation.pk, reason="Look.")

    def shown(**query):
        text = client.get(url("pairs", project.pk), query).content.decode()
        return {pair for pair in (calm, split, failed, sent) if f">{pair.item.external_id}</a>" in text}

    assert shown() == {calm, split, failed, sent}
    assert shown(state="contested") == {split, failed}
    assert shown(state="unanimous") == {calm, sent}
    assert shown(state="votes-failed") == {failed}
    assert shown(state="no-votes") == {calm, split, sent}
    assert shown(state="sent-back") == {sent}
    assert shown(state="answered") == set()
    assert shown(differs="bias") == {split}
    assert shown(differs="harm") == set() == shown(differs="__class__") == shown(differs="bias' OR 1=1")
    api = client.get("/api/pairs/", {"project": project.pk, "state": "votes-failed"}).json()["results"]
    assert [(row["id"], row["votes"], row["votes_accepted"]) for row in api] == [(failed.pk, 2, 1)]


@pytest.mark.django_db
def test_the_pages_cost_the_same_with_many_pairs(client, project):
    costs = []
    for number in (2, 10):
        for _ in range(number):
            pair = voted(project, YES, NO, pair=make(project, "One.", "Two.", "Three."))
        found = []
        for address in (url("pairs", project.pk), url("rules", project.pk), pair.get_absolute_url()):
            with CaptureQueriesContext(connection) as queries:
                assert client.get(address).status_code == 200
            found.append(len(queries))
        costs.append(found)
    assert costs[0] == costs[1]


@pytest.mark.django_db
def test_the_pair_page_shows_votes_marks_what_was_sent_back_and_the_history(client, project, lead):
    pair = make(project, "One <way>.", "Another way.", bias="none")
    voted(project, YES, {"cannot_judge": True, "comment": "No idea, sorry."}, pair=pair)
    one, two = pair.item.annotations.order_by("pk")
    for annotation, end in ((one, 4), (two, 8)):
        work.revise(
            annotation.annotator, annotation.pk, annotation.content() | {"spans": [{"start": 0, "end": end}]}, 1
        )
    pair.refresh_from_db()
    pairs.send_back(pair, lead, version=pair.version, annotation=two.pk, reason="Look again, <please>.")
    text = client.get(pair.get_absolute_url()).content.decode()
    assert "safe: 1 of 1" in text and "cannot judge" in text and "No idea, sorry." in text
    assert "<mark>They</mark>" in text and '<mark class="some"> are<sup>2</sup></mark>' in text
    assert "Look again, &lt;please&gt;." in text and "waits for an answer" in text
    assert "sent a pair back to an annotator" in text
    assert "Against the proposed rewrite" in text


@pytest.mark.django_db
def test_what_was_typed_comes_back_when_sending_back_is_refused(client, project):
    pair = make(project, "One way.", "Another way.")
    annotation = pair.item.annotations.first()
    form = {"version": pair.version, "action": "send_back", "annotation": annotation.pk, "rewrite": "Half typed"}
    answer = client.post(pair.get_absolute_url(), form)
    assert answer.status_code == 422
    text = answer.content.decode()
    assert "Say what the annotator should look at again" in text and "Half typed" in text
    answer = client.post(pair.get_absolute_url(), form | {"sent_reason": "Look.", "annotation": "9" * 30})
    assert answer.status_code == 422
    answer = client.post(pair.get_absolute_url(), form | {"sent_reason": "Look."})
    assert answer.status_code == 302 and f"settled={pair.pk}" in answer.url
    assert "sent back" in client.get(answer.url).content.decode()


@pytest.mark.django_db
def test_more_annotators_are_asked_for_from_the_pair(client, project):
    pair = make(project, "One way.", "Another way.")
    form = {"version": pair.version, "action": "more", "more": "2"}
    assert client.post(pair.get_absolute_url(), form).status_code == 302
    pair.item.refresh_from_db()
    assert pair.item.overlap == 4
    voter = member(project)
    assert votes.next_vote(voter, project) is None  # open again: nobody sees the others' rewrites
    annotate(pair.item, "A third way.")
    annotate(pair.item, "A third way.")
    pair.refresh_from_db()
    assert (pair.annotation_count, pair.rewrite) == (4, "A third way.")
    assert votes.next_vote(voter, project).rewrite.text == "A third way."


@pytest.mark.django_db
def test_who_voted_on_a_rewrite_is_not_handed_its_text_to_annotate(client, project):
    pair = make(project, "One way.", "Another way.")
    voter, other = member(project), member(project)
    assert cast(voter, project).rewrite.item == pair.item
    client.post(pair.get_absolute_url(), {"version": pair.version, "action": "more", "more": "1"})
    assert work.next_assignment(voter, project) is None
    assert work.next_assignment(other, project).item == pair.item


@pytest.mark.django_db
def test_a_rule_that_is_none_says_what_is_wrong_and_keeps_what_was_typed(client, project):
    form = {"min_annotations": "0", "min_agreement": "77", "rewrite": "votes", "min_votes": "2", "min_safe": "100"}
    answer = client.post(url("rules", project.pk), form | {"min_meaning": "x", "action": "approve"})
    assert answer.status_code == 422
    text = answer.content.decode()
    assert "whole number" in text and 'value="77"' in text
    answer = client.post(url("rules", project.pk), form | {"min_meaning": "100", "action": "approve"})
    assert answer.status_code == 422 and "greater than or equal to 1" in answer.content.decode()
    assert not Batch.objects.exists() and not ApprovalRule.objects.exists()
    good = form | {"min_annotations": "2", "min_meaning": "100", "dimensions": ["bias"]}
    seen = client.post(url("rules", project.pk), good | {"action": "preview"}, headers={"HX-Request": "true"})
    assert "at least 77 % of them agree on Bias" in seen.content.decode() and not ApprovalRule.objects.exists()
    assert client.post(url("rules", project.pk), good | {"action": "save"}).status_code == 302
    assert ApprovalRule.objects.get().min_agreement == 77


@pytest.mark.django_db
def test_the_api_decides_by_the_same_rules(client, project, django_capture_on_commit_callbacks):
    made = [voted(project, YES, YES, pair=make(project, "Same.", "Same.")) for _ in range(3)]
    split = make(project, "Same.", "Same.", bias="none")

    def post(path, **body):
        return client.post(path, body, content_type="application/json")

    rule = client.get(f"/api/approval-rules/{project.pk}/").json()
    assert rule["min_votes"] == 2 and rule["words"].startswith("Approve a pair when")
    changed = client.put(
        f"/api/approval-rules/{project.pk}/", {"min_votes": 1, "dimensions": ["bias"]}, content_type="application/json"
    ).json()
    assert (changed["min_votes"], changed["dimensions"]) == (1, ["bias"])
    refused = post(f"/api/approval-rules/{project.pk}/preview/", dimensions=["race"])
    assert refused.status_code == 400 and "no dimension 'race'" in str(refused.json()["dimensions"])
    seen = post(f"/api/approval-rules/{project.pk}/preview/").json()
    assert (seen["proposed"], seen["matching"], len(seen["sample"])) == (4, 3, 3)
    batch = post("/api/batches/", project=project.pk, action="rule").json()
    assert batch["status"] == "queued"
    run(Batch.objects.get(pk=batch["id"]))
    ended = client.get(f"/api/batches/{batch['id']}/").json()
    assert (ended["status"], ended["changed"], ended["rule"]["min_votes"]) == ("finished", 3, 1)
    assert {row["id"] for row in client.get("/api/pairs/", {"batch": batch["id"]}).json()["results"]} == {
        pair.pk for pair in made
    }
    undone = post(f"/api/batches/{batch['id']}/undo/").json()
    assert run(Batch.objects.get(pk=undone["id"])).changed == 3
    chosen = post("/api/batches/", project=project.pk, action="reject", pairs=[[split.pk, split.version]])
    assert chosen.status_code == 400 and "Say why" in str(chosen.json()["reason"])
    body = {"project": project.pk, "action": "reject", "pairs": [[split.pk, split.version]], "reason": "No."}
    assert post("/api/batches/", **body).json()["changed"] == 1
    split.refresh_from_db()
    assert post(f"/api/pairs/{split.pk}/undo/", version=split.version).json()["status"] == "proposed"
    split.refresh_from_db()
    annotation = split.item.annotations.first()
    body = {"version": split.version, "annotation": annotation.pk, "reason": "Look."}
    assert post(f"/api/pairs/{split.pk}/send-back/", **body).json()["sent_back"] == "waiting"
    theirs = Client()
    theirs.force_login(annotation.annotator)
    (sent,) = theirs.get("/api/sent-back/").json()["results"]
    assert (sent["reason"], sent["assignment"]) == ("Look.", annotation.assignment_id)
    keep = f"/api/sent-back/{sent['id']}/keep/"
    assert theirs.post(keep, {"answer": " "}, content_type="application/json").status_code == 400
    assert theirs.post(keep, {"answer": "A quotation."}, content_type="application/json").status_code == 204
    assert theirs.post(keep, {"answer": "A quotation."}, content_type="application/json").status_code == 404
    assert state(split)["sent_back"] == SentBackState.ANSWERED


@pytest.mark.django_db
def test_a_rule_that_wants_more_votes_than_are_asked_for_says_so(client, project, lead):
    client.force_login(lead)
    projects.change(project, votes_per_rewrite=1)
    address = reverse("annotation:rules", args=[project.pk])
    assert "can never meet it" in client.get(address).content.decode()
    projects.change(project, votes_per_rewrite=5)
    assert "can never meet it" not in client.get(address).content.decode()
