"""Rewrites judged by others: what is put to the vote, who gets it, and that no vote is lost or one too many."""

import random
from collections import Counter
from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from annotation import jobs, mine, pairs, projects, queueing, vote_results, votes, work
from annotation.models import Assignment, ItemKind, Pair, PairRefresh, Rewrite, RewriteVote, Role, VoteState
from tests.annotation.test_handout_concurrency import in_threads
from tests.factories import ItemFactory, MembershipFactory, ProjectFactory, UserFactory

LABELS = {"bias": "high", "toxicity": "mild", "harm": "medium", "sentiment": "negative"}
YES = {"safe": True, "keeps_meaning": True}
NO = {"safe": False, "keeps_meaning": True}


def member(project):
    return MembershipFactory(project=project, role=Role.ANNOTATOR).user


def annotate(item, rewrite="Kinder.", user=None):
    user = user or member(item.project)
    assignment = Assignment.objects.create(
        project=item.project, item=item, annotator=user, lease_until=timezone.now() + timedelta(hours=1)
    )
    return work.submit(user, assignment.pk, {"labels": LABELS, "rewrite": rewrite})


def cast(user, project, answers=YES):
    """The person takes the next rewrite and votes on it; None when nothing is left for them."""
    vote = votes.next_vote(user, project)
    return votes.give(user, vote.pk, answers) if vote else None


@pytest.fixture
def project():
    return ProjectFactory(overlap=2, votes_per_rewrite=2, lead=UserFactory())


# What is put to the vote


@pytest.mark.django_db
def test_a_rewrite_is_put_to_the_vote_when_its_text_has_all_annotations(project):
    item = ItemFactory(project=project)
    first = annotate(item, "One way.")
    assert not Rewrite.objects.exists()
    second = annotate(item, "Another way.")
    rewrite = Rewrite.objects.get()
    assert (rewrite.text, rewrite.authors, rewrite.wanted, rewrite.open) == ("One way.", [first.annotator_id], 2, True)
    assert second.annotator_id not in rewrite.authors


@pytest.mark.django_db
def test_every_different_rewrite_is_voted_on_where_the_project_says_so(project):
    projects.change(project, voted_rewrites="every")
    item = ItemFactory(project=project, overlap=4)
    authors = [annotate(item, text).annotator_id for text in ("One way.", "Another way.", "One way.", " \n")]
    asked = {rewrite.text: sorted(rewrite.authors) for rewrite in Rewrite.objects.all()}
    assert asked == {"One way.": sorted([authors[0], authors[2]]), "Another way.": [authors[1]]}


@pytest.mark.django_db
def test_a_project_that_asks_for_no_votes_has_none(project):
    projects.change(project, votes_per_rewrite=0)
    item = ItemFactory(project=project, overlap=1)
    annotate(item)
    assert not Rewrite.objects.exists()


@pytest.mark.django_db
def test_a_changed_rewrite_needs_new_votes_and_the_old_ones_are_kept(project):
    item = ItemFactory(project=project, overlap=1)
    annotation = annotate(item, "One way.")
    vote = cast(member(project), project)
    work.revise(annotation.annotator, annotation.pk, {"labels": LABELS, "rewrite": "Better."}, 1)
    old, new = Rewrite.objects.order_by("pk")
    assert (old.text, old.open, old.votes, old.accepted) == ("One way.", False, 1, 1)
    assert (new.text, new.open, new.votes) == ("Better.", True, 0)
    assert votes.next_vote(vote.voter, project).rewrite == new  # the same person may judge the new one
    work.revise(annotation.annotator, annotation.pk, {"labels": LABELS, "rewrite": "One way."}, 2)
    old.refresh_from_db()
    assert (old.open, old.votes, Rewrite.objects.count()) == (True, 1, 2)


@pytest.mark.django_db
def test_settling_ends_the_vote_and_opening_again_goes_on_with_it(project):
    item = ItemFactory(project=project, overlap=1)
    annotate(item)
    lead = UserFactory()
    pairs.approve(item.pair, lead, version=item.pair.version, rewrite=item.pair.rewrite, labels={})
    assert votes.next_vote(member(project), project) is None
    item.pair.refresh_from_db()
    pairs.reopen(item.pair, lead, version=item.pair.version)
    assert votes.next_vote(member(project), project) is not None


@pytest.mark.django_db
def test_another_number_of_votes_holds_for_rewrites_that_are_there_already(project):
    item = ItemFactory(project=project, overlap=1)
    annotate(item)
    for answers in (YES, NO):
        cast(member(project), project, answers)
    assert cast(member(project), project) is None
    for wanted, expected in ((3, 3), (1, 2), (0, 2)):
        projects.change(project, votes_per_rewrite=wanted)
        jobs.execute(PairRefresh.objects, PairRefresh.objects.first().pk, pairs.refresh)
        rewrite = Rewrite.objects.get()
        assert (rewrite.open, rewrite.votes) == (wanted > 0, 2)
        if wanted:
            assert rewrite.wanted == expected


# Who gets what


@pytest.mark.django_db
def test_nobody_votes_on_their_own_rewrite_not_even_on_one_somebody_wrote_alike(project):
    item = ItemFactory(project=project, overlap=2)
    authors = [annotate(item, "The same.").annotator for _ in range(2)]
    for author in authors:
        assert votes.next_vote(author, project) is None
        with pytest.raises(IntegrityError), transaction.atomic():
            RewriteVote.objects.create(
                project=project, rewrite=Rewrite.objects.get(), voter=author, lease_until=timezone.now()
            )
    assert votes.next_vote(member(project), project) is not None


@pytest.mark.django_db
def test_a_text_that_is_open_again_is_not_voted_on(project):
    """Otherwise people would see others' work on a text that they may still annotate."""
    item = ItemFactory(project=project, overlap=1)
    annotate(item)
    holder, voter = member(project), member(project)
    held = votes.next_vote(holder, project)
    projects.change(project, overlap=5)
    assert votes.next_vote(voter, project) is None
    assert votes.next_vote(holder, project) is None
    held.refresh_from_db()
    assert held.state == VoteState.EXPIRED


@pytest.mark.django_db
@pytest.mark.parametrize("left", ["skipped", "expired"])
def test_a_text_that_is_open_again_does_not_return_to_somebody_who_voted_on_its_rewrite(project, left):
    item, person = ItemFactory(project=project), member(project)
    assignment = work.next_assignment(person, project)
    if left == "skipped":
        work.skip(person, assignment.pk)
    else:
        Assignment.objects.filter(pk=assignment.pk).update(lease_until=timezone.now() - timedelta(hours=1))
        work.expire_leases()
    annotate(item)
    annotate(item)
    cast(person, project)
    queueing.ask_for_more(project, project.created_by, queueing.chosen(project, [item.pk]), 1)
    assert work.next_assignment(person, project) is None
    with pytest.raises(ValidationError, match="shown a rewrite of this text"):
        mine.take_up(person, assignment.pk)
    with pytest.raises(work.NoLongerYours, match="shown a rewrite of this text"):
        work.submit(person, assignment.pk, {"labels": LABELS, "rewrite": "Late."})
    assignment.refresh_from_db()
    assert (assignment.state, assignment.draft["rewrite"]) == (left, "Late.")
    assert work.next_assignment(member(project), project).item == item


@pytest.mark.django_db
def test_texts_that_one_did_not_annotate_come_first(project):
    voter = member(project)
    items = ItemFactory.create_batch(12, project=project, overlap=1)
    projects.change(project, voted_rewrites="every")
    for item in items:
        annotate(item, f"By somebody else, {item.pk}.")
    mine = ItemFactory.create_batch(12, project=project, overlap=2)
    for item in mine:
        annotate(item, f"By somebody else, {item.pk}.")
        annotate(item, f"Mine, {item.pk}.", voter)
    seen = [cast(voter, project).rewrite.item for _ in range(24)]
    assert set(seen[:12]) == set(items) and set(seen[12:]) == set(mine)
    assert votes.next_vote(voter, project) is None


@pytest.mark.django_db
def test_the_order_is_random_and_another_one_for_everybody(project):
    for item in ItemFactory.create_batch(30, project=project, overlap=1):
        annotate(item)
    orders = []
    for _ in range(2):
        voter = member(project)
        orders.append([cast(voter, project).rewrite.item_id for _ in range(30)])
    assert sorted(orders[0]) == sorted(orders[1]) != orders[0]
    assert orders[0] != orders[1]


@pytest.mark.django_db
def test_a_person_holds_one_rewrite_until_they_have_voted(project):
    for item in ItemFactory.create_batch(3, project=project, overlap=1):
        annotate(item)
    voter = member(project)
    assert len({votes.next_vote(voter, project).pk for _ in range(5)}) == 1


@pytest.mark.django_db
def test_handing_out_costs_the_same_among_many(project):
    costs = []
    for number in (votes.SAMPLE + 5, 60):
        for item in ItemFactory.create_batch(number, project=project, overlap=1):
            annotate(item)
        user = member(project)
        with CaptureQueriesContext(connection) as queries:
            votes.next_vote(user, project)
        costs.append(len(queries))
    assert max(costs) <= 12  # one more where the random order is gone round


# Voting


@pytest.mark.django_db
def test_the_answers_are_counted_on_the_rewrite(project):
    projects.change(project, votes_per_rewrite=4)
    annotate(ItemFactory(project=project, overlap=1))
    for safe, meaning in ((True, True), (True, False), (False, True), (False, False)):
        cast(member(project), project, {"safe": safe, "keeps_meaning": meaning})
    rewrite = Rewrite.objects.get()
    assert (rewrite.taken, rewrite.votes, rewrite.safe, rewrite.meaning, rewrite.accepted) == (4, 4, 2, 2, 1)


@pytest.mark.django_db
def test_who_cannot_judge_leaves_the_place_to_somebody_else(project):
    annotate(ItemFactory(project=project, overlap=1))
    voter = member(project)
    vote = cast(voter, project, {"safe": True, "cannot_judge": True, "comment": "No Finnish."})
    assert (vote.safe, vote.keeps_meaning, vote.comment) == (None, None, "No Finnish.")
    assert votes.next_vote(voter, project) is None
    assert [cast(member(project), project) is not None for _ in range(3)] == [True, True, False]
    rewrite = Rewrite.objects.get()
    assert (rewrite.taken, rewrite.votes) == (2, 2)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("answers", "field", "words"),
    [
        ({}, "safe", "Say whether the rewrite is safe"),
        ({"safe": True}, "keeps_meaning", "Say whether it keeps the meaning"),
        (YES | {"safe": "yes"}, "safe", "true or false"),
        (YES | {"cannot_judge": "no"}, "cannot_judge", "true or false"),
        (YES | {"comment": "x" * 2_001}, "comment", "the limit is 2,000"),
        (YES | {"comment": "a\x00b"}, "comment", "null byte"),
        (YES | {"comment": 7}, "comment", "must be text"),
    ],
)
def test_an_incomplete_or_impossible_vote_is_refused_by_field(project, answers, field, words):
    annotate(ItemFactory(project=project, overlap=1))
    voter = member(project)
    vote = votes.next_vote(voter, project)
    with pytest.raises(ValidationError) as error:
        votes.give(voter, vote.pk, answers)
    assert words in str(error.value.message_dict[field])
    vote.refresh_from_db()
    assert vote.state == VoteState.HELD


@pytest.mark.django_db
def test_a_vote_that_arrives_twice_counts_once(project):
    annotate(ItemFactory(project=project, overlap=1))
    voter = member(project)
    vote = votes.next_vote(voter, project)
    votes.give(voter, vote.pk, YES)
    assert votes.give(voter, vote.pk, NO).safe is True
    assert Rewrite.objects.get().votes == 1


@pytest.mark.django_db
def test_a_vote_can_be_changed_and_what_was_said_before_is_kept(project):
    annotate(ItemFactory(project=project, overlap=1))
    voter = member(project)
    vote = cast(voter, project)
    changed = votes.give(voter, vote.pk, NO | {"comment": "On second thought."}, revision=1)
    assert changed.earlier == [YES | {"cannot_judge": False, "comment": ""}]
    rewrite = Rewrite.objects.get()
    assert (changed.revision, rewrite.votes, rewrite.safe, rewrite.meaning, rewrite.accepted) == (2, 1, 0, 1, 0)
    with pytest.raises(ValidationError, match="changed this vote elsewhere"):
        votes.give(voter, vote.pk, YES, revision=1)
    assert votes.give(voter, vote.pk, NO | {"comment": "On second thought."}, revision=1).revision == 2  # nothing new


@pytest.mark.django_db
def test_a_vote_on_a_settled_text_can_no_longer_change(project):
    item = ItemFactory(project=project, overlap=1)
    annotate(item)
    voter = member(project)
    vote = cast(voter, project)
    pairs.approve(item.pair, UserFactory(), version=item.pair.version, rewrite=item.pair.rewrite, labels={})
    with pytest.raises(ValidationError, match="The lead has settled this text"):
        votes.give(voter, vote.pk, NO, revision=1)


def revised_by(annotation, rewrite="Changed.", revision=1):
    return work.revise(annotation.annotator, annotation.pk, {"labels": LABELS, "rewrite": rewrite}, revision)


@pytest.mark.django_db
def test_who_voted_on_a_rewrite_of_a_text_changes_their_own_annotation_only_when_it_is_sent_back(project):
    item = ItemFactory(project=project)
    annotate(item, "One way.")
    mine = annotate(item, "Another way.")
    vote = votes.next_vote(mine.annotator, project)
    assert votes.annotated(vote)
    mine = revised_by(mine, "A third way.")  # they have looked at it, and have not voted yet
    votes.give(mine.annotator, vote.pk, YES)
    with pytest.raises(ValidationError, match="You have voted on a rewrite of this text"):
        revised_by(mine, revision=2)
    assert revised_by(mine, "A third way.", revision=2).revision == 2  # sent twice, as a browser may
    pair = Pair.objects.get(item=item)
    pairs.send_back(pair, project.created_by, version=pair.version, annotation=mine.pk, reason="Look again.")
    assert revised_by(mine, revision=2).revision == 3
    with pytest.raises(ValidationError, match="You have voted"):
        revised_by(mine, "Once more.", revision=3)


@pytest.mark.django_db
def test_a_repeat_closes_with_the_text_that_one_voted_on(project):
    item = ItemFactory(project=project)
    annotate(item, "One way.")
    mine = annotate(item, "Another way.")
    again = ItemFactory(project=project, kind=ItemKind.REPEAT, repeat_of=item, repeat_for=mine.annotator, overlap=1)
    repeated = revised_by(annotate(again, "Other words.", user=mine.annotator))
    cast(mine.annotator, project)
    with pytest.raises(ValidationError, match="You have voted"):
        revised_by(repeated, "Once more.", revision=2)


@pytest.mark.django_db
def test_page_and_api_say_that_a_vote_closed_the_annotation_and_keep_what_was_typed(project):
    item = ItemFactory(project=project)
    annotate(item, "One way.")
    mine = annotate(item, "Another way.")
    client = Client()
    client.force_login(mine.annotator)
    assert "Once you vote, your own annotation can change only" in (
        client.get(reverse("annotation:votes", args=[project.pk])).content.decode()
    )
    typed = {"labels": LABELS, "rewrite": "Typed before the vote.", "revision": 1}
    work.save_draft(mine.annotator, mine.assignment_id, typed)
    cast(mine.annotator, project)
    address = reverse("annotation:revise", args=[mine.pk])
    page = client.get(address).content.decode()
    assert "You have voted on a rewrite of this text" in page and "data-locked" in page and 'id="submit"' not in page
    assert "What you typed and could not save" in page and "Typed before the vote." in page
    form = {f"label-{key}": level for key, level in LABELS.items()} | {"rewrite": "Sent anyway.", "revision": "1"}
    refused = client.post(address, form)
    assert refused.status_code == 422 and "Sent anyway." in refused.content.decode()
    url = f"/api/assignments/{mine.assignment_id}/revise/"
    refused = client.post(url, typed, content_type="application/json")
    assert refused.status_code == 400 and "You have voted on a rewrite" in str(refused.json())
    mine.refresh_from_db()
    assert (mine.rewrite, mine.revision) == ("Another way.", 1)


@pytest.mark.django_db
def test_a_vote_held_while_the_lead_settles_is_still_taken(project):
    item = ItemFactory(project=project, overlap=1)
    annotate(item)
    voter = member(project)
    vote = votes.next_vote(voter, project)
    pairs.approve(item.pair, UserFactory(), version=item.pair.version, rewrite=item.pair.rewrite, labels={})
    votes.give(voter, vote.pk, YES)
    assert Rewrite.objects.get().votes == 1


@pytest.mark.django_db
def test_a_late_vote_is_taken_while_there_is_room_and_else_kept_as_a_draft(project):
    annotate(ItemFactory(project=project, overlap=1))
    slow, lost = member(project), member(project)
    held = [votes.next_vote(user, project) for user in (slow, lost)]
    assert votes.next_vote(member(project), project) is None
    RewriteVote.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert cast(member(project), project) is not None
    assert votes.give(slow, held[0].pk, YES).state == VoteState.GIVEN
    with pytest.raises(votes.NoLongerWanted):
        votes.give(lost, held[1].pk, NO | {"comment": "Still mine."})
    held[1].refresh_from_db()
    assert (held[1].state, held[1].draft["comment"]) == (VoteState.EXPIRED, "Still mine.")
    assert Rewrite.objects.get().votes == 2


@pytest.mark.django_db
def test_an_expired_vote_comes_back_first_with_its_draft(project):
    for item in ItemFactory.create_batch(5, project=project, overlap=1):
        annotate(item)
    voter = member(project)
    vote = votes.next_vote(voter, project)
    votes.save_draft(voter, vote.pk, {"safe": False, "comment": "Half"})
    RewriteVote.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    votes.expire_leases()
    again = votes.next_vote(voter, project)
    assert (again.pk, again.state, again.draft["safe"]) == (vote.pk, VoteState.HELD, False)


@pytest.mark.django_db
def test_going_back_walks_through_ones_own_votes_only(project):
    for item in ItemFactory.create_batch(3, project=project, overlap=1):
        annotate(item)
    voter, other = member(project), member(project)
    cast(other, project)
    mine = [cast(voter, project) for _ in range(3)]
    walked, before = [], None
    while vote := votes.previous_vote(voter, project, before):
        walked.append(vote)
        before = vote.pk
    assert walked == mine[::-1]
    assert (votes.given_today(voter, project), votes.given_today(other, project)) == (3, 1)


@pytest.mark.django_db
def test_votes_of_others_are_out_of_reach(project):
    annotate(ItemFactory(project=project, overlap=1))
    vote = votes.next_vote(member(project), project)
    for call in (votes.give, votes.save_draft):
        with pytest.raises(RewriteVote.DoesNotExist):
            call(member(project), vote.pk, YES)


# Many at once


@pytest.mark.django_db(transaction=True)
def test_eight_voters_at_once_give_every_rewrite_exactly_the_votes_asked_for():
    project = ProjectFactory(overlap=1, votes_per_rewrite=3)
    people = [member(project) for _ in range(8)]
    for number, item in enumerate(ItemFactory.create_batch(20, project=project)):
        annotate(item, user=people[number % 8])

    def work_until_nothing_is_left(user):
        chance = random.Random(user.pk)
        while vote := votes.next_vote(user, project):
            luck = chance.random()
            if luck < 0.05:  # walks away: somebody else gets the rewrite, and perhaps they get it back
                RewriteVote.objects.filter(pk=vote.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
                votes.expire_leases(project)
                continue
            answers = {"safe": luck > 0.3, "keeps_meaning": luck > 0.5, "cannot_judge": luck > 0.97}
            try:
                votes.give(user, vote.pk, answers)
                if luck > 0.8:  # an impatient second click
                    votes.give(user, vote.pk, answers)
            except votes.NoLongerWanted:
                continue

    in_threads(work_until_nothing_is_left, people)
    given = RewriteVote.objects.filter(state=VoteState.GIVEN, cannot_judge=False)
    per_rewrite = Counter(given.values_list("rewrite_id", flat=True))
    assert set(per_rewrite.values()) == {3} and len(per_rewrite) == 20
    for rewrite in Rewrite.objects.prefetch_related(votes.GIVEN):
        counted = [vote for vote in rewrite.given if not vote.cannot_judge]
        assert (rewrite.taken, rewrite.votes) == (3, 3)
        assert rewrite.safe == sum(vote.safe for vote in counted)
        assert rewrite.meaning == sum(vote.keeps_meaning for vote in counted)
        assert rewrite.accepted == sum(vote.safe and vote.keeps_meaning for vote in counted)
        assert not {vote.voter_id for vote in rewrite.given} & set(rewrite.authors)


@pytest.mark.django_db(transaction=True)
def test_ten_requests_for_the_last_vote_give_it_to_one_person():
    project = ProjectFactory(overlap=1, votes_per_rewrite=1)
    annotate(ItemFactory(project=project))
    people = [member(project) for _ in range(10)]
    got = []
    in_threads(lambda user: got.append(votes.next_vote(user, project)), people)
    assert len([vote for vote in got if vote]) == 1


@pytest.mark.django_db(transaction=True)
def test_one_person_in_six_tabs_holds_one_rewrite():
    project = ProjectFactory(overlap=1, votes_per_rewrite=3)
    for item in ItemFactory.create_batch(6, project=project):
        annotate(item)
    user = member(project)
    got = []
    in_threads(lambda _: got.append(votes.next_vote(user, project).pk), range(6))
    assert len(set(got)) == 1 and RewriteVote.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_voting_while_leads_settle_and_annotators_revise_never_waits_in_a_circle():
    project = ProjectFactory(overlap=1, votes_per_rewrite=3)
    annotations = [annotate(item) for item in ItemFactory.create_batch(12, project=project)]
    lead = UserFactory()
    voters = [member(project) for _ in range(4)]

    def vote(user):
        while cast(user, project):
            pass

    def settle(numbers):
        for number in numbers:
            pair = Pair.objects.get(item=annotations[number].item)
            try:
                pairs.approve(pair, lead, version=pair.version, rewrite="The lead's.", labels={})
                pairs.reopen(pair, lead, version=pair.version + 1)
            except pairs.ChangedMeanwhile:
                pass

    def revise(numbers):
        for number in numbers:
            annotation = annotations[number]
            try:
                content = {"labels": LABELS, "rewrite": f"Number {number}."}
                work.revise(annotation.annotator, annotation.pk, content, 1)
            except ValidationError:
                pass

    tasks = [(vote, user) for user in voters] + [(settle, range(12)), (revise, range(11, -1, -1))]
    in_threads(lambda task: task[0](task[1]), tasks)
    for rewrite in Rewrite.objects.all():
        assert rewrite.taken <= rewrite.wanted


# The page and the API


@pytest.fixture
def voter(project):
    for item in ItemFactory.create_batch(3, project=project, overlap=1, text="كلهم كسالى <b>!</b>"):
        annotate(item, "بعضهم يعمل أقل 🙃")
    return member(project)


@pytest.fixture
def client(voter):
    client = Client()
    client.force_login(voter)
    return client


@pytest.mark.django_db
def test_the_page_shows_text_and_rewrite_but_not_who_wrote_it(client, project):
    page = client.get(reverse("annotation:votes", args=[project.pk])).content.decode()
    assert "كلهم كسالى &lt;b&gt;!&lt;/b&gt;" in page and "بعضهم يعمل أقل 🙃" in page
    authors = project.memberships.exclude(user__rewrite_votes__isnull=False).values_list("user__username", flat=True)
    for name in authors:
        assert name not in page
    for item in project.items.all():
        assert item.external_id not in page


@pytest.mark.django_db
def test_a_vote_on_the_page_leads_to_the_next_one(client, project, voter):
    held = votes.next_vote(voter, project)
    url = reverse("annotation:vote", args=[held.pk])
    answer = client.post(url, {"safe": "yes", "comment": "Hm."}, headers={"HX-Request": "true"})
    assert answer.status_code == 422
    assert "Say whether it keeps the meaning" in answer.content.decode() and "Hm." in answer.content.decode()
    answer = client.post(url, {"safe": "yes", "keeps_meaning": "no"}, headers={"HX-Request": "true"})
    assert answer.status_code == 200 and "1 vote today" in answer.content.decode()
    held.refresh_from_db()
    assert (held.state, held.safe, held.keeps_meaning) == (VoteState.GIVEN, True, False)
    back = client.get(reverse("annotation:vote-back", args=[project.pk])).content.decode()
    assert f'action="{url}"' in back and "You gave this vote" in back
    client.post(url, {"cannot_judge": "yes", "revision": "1"})
    held.refresh_from_db()
    assert held.cannot_judge


@pytest.mark.django_db
def test_a_draft_of_the_page_is_there_again(client, project, voter):
    held = votes.next_vote(voter, project)
    url = reverse("annotation:vote-draft", args=[held.pk])
    draft = {"safe": False, "comment": "Half a <thought>"}
    assert client.post(url, draft, content_type="application/json").status_code == 204
    assert client.post(url, "[]", content_type="application/json").status_code == 400
    assert client.post(url, {"comment": 7}, content_type="application/json").status_code == 400
    page = client.get(reverse("annotation:votes", args=[project.pk])).content.decode()
    assert "Half a &lt;thought&gt;" in page and 'value="no" checked' in page


@pytest.mark.django_db
def test_the_page_costs_the_same_with_many_rewrites(client, project, django_assert_max_num_queries):
    for item in ItemFactory.create_batch(20, project=project, overlap=1):
        annotate(item)
    with django_assert_max_num_queries(20):
        client.get(reverse("annotation:votes", args=[project.pk]))


@pytest.mark.django_db
def test_the_api_votes_by_the_same_rules(client, project, voter):
    vote = client.post("/api/votes/next/", {"project": project.pk}).json()
    assert set(vote) & {"item", "authors", "external_id"} == set()
    url = f"/api/votes/{vote['id']}/"
    refused = client.post(f"{url}give/", {"safe": True}, content_type="application/json")
    assert refused.status_code == 400 and "keeps_meaning" in refused.json()
    client.put(f"{url}draft/", {"comment": "Half"}, content_type="application/json")
    assert client.get(url).json()["draft"]["comment"] == "Half"
    assert client.post(f"{url}give/", YES, content_type="application/json").json()["state"] == "given"
    changed = client.post(f"{url}give/", NO | {"revision": 1}, content_type="application/json").json()
    assert (changed["safe"], changed["revision"]) == (False, 2)
    assert [row["id"] for row in client.get("/api/votes/", {"state": "given"}).json()["results"]] == [vote["id"]]
    for _ in range(2):
        votes.give(voter, client.post("/api/votes/next/", {"project": project.pk}).json()["id"], YES)
    assert client.post("/api/votes/next/", {"project": project.pk}).status_code == 204


@pytest.mark.django_db
def test_leads_read_every_vote_through_the_api(project, voter):
    cast(voter, project, NO)
    client = Client()
    client.force_login(project.memberships.get(role=Role.LEAD).user)
    (row,) = client.get("/api/rewrites/", {"project": project.pk, "failed": "true"}).json()["results"]
    assert (row["votes"], row["safe"], row["cast"][0]["voter"]) == (1, 0, voter.username)


# What the votes say


def tally(project, votes_given, **yes):
    """A rewrite with these counts; keyword arguments are columns of Rewrite."""
    counts = {"taken": votes_given, "votes": votes_given, "wanted": votes_given}
    return Rewrite.objects.create(project=project, item=ItemFactory(project=project), text="x", **counts, **yes)


@pytest.mark.django_db
def test_kappa_of_the_votes_is_that_of_statsmodels_on_the_same_votes(project):
    from statsmodels.stats.inter_rater import fleiss_kappa

    chance = random.Random(3)
    table = []
    for _ in range(40):
        answers = [(chance.random() < 0.7, chance.random() < 0.5) for _ in range(3)]
        safe, meaning = sum(s for s, _ in answers), sum(m for _, m in answers)
        table.append((safe, meaning, sum(s and m for s, m in answers)))
        tally(project, 3, safe=safe, meaning=meaning, accepted=table[-1][2])
    for column, result in enumerate(vote_results.results(project)):
        yes = [row[column] for row in table]
        assert result.kappa.estimate == pytest.approx(fleiss_kappa([[y, 3 - y] for y in yes]), abs=1e-9)
        assert result.kappa.low < result.kappa.estimate < result.kappa.high and result.kappa.n_items == 40
        assert (result.votes, result.yes) == (120, sum(yes))
        assert (result.majority.n, result.majority.hits) == (40, sum(y >= 2 for y in yes))
        assert result.majority.low < result.majority.percent < result.majority.high


@pytest.mark.django_db
def test_what_cannot_be_computed_says_why(project):
    safe, *_ = vote_results.results(project)
    assert (safe.votes, safe.percent, safe.kappa.estimate) == (0, None, None)
    assert "0 rewrites with two or more votes" in safe.kappa.reason
    for _ in range(12):
        tally(project, 2, safe=2, meaning=1, accepted=1)
    safe, meaning, _ = vote_results.results(project)
    assert safe.kappa.estimate is None and "same level" in safe.kappa.reason
    assert meaning.kappa.estimate == pytest.approx(-1)


@pytest.mark.django_db
def test_results_are_counted_in_one_query_however_many_rewrites(project, django_assert_num_queries):
    for _ in range(15):
        tally(project, 2, safe=1, meaning=2, accepted=1)
    with django_assert_num_queries(1):
        vote_results.results(project)


@pytest.mark.django_db
def test_the_results_are_on_the_leads_page_and_in_the_api(project):
    for number in range(15):
        tally(project, 2, safe=number % 3, meaning=2, accepted=number % 3)
    client = Client()
    client.force_login(project.memberships.get(role=Role.LEAD).user)
    page = client.get(reverse("annotation:rules", args=[project.pk])).content.decode()
    assert "50.0 %" in page and "15 of 30" in page
    safe, *_ = client.get("/api/rewrites/results/", {"project": project.pk}).json()
    assert (safe["question"], safe["votes"], safe["yes"], safe["majority_yes"]) == ("safe", 30, 15, 5)
    assert client.get("/api/rewrites/results/").status_code == 400
    stranger = Client()
    stranger.force_login(UserFactory())
    assert stranger.get("/api/rewrites/results/", {"project": project.pk}).status_code == 404
