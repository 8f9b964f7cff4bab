"""From annotations to proposed pairs, and from there to approved and rejected ones."""

import threading
from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from annotation import jobs, pairs, work
from annotation.comparison import compare
from annotation.models import Annotation, Assignment, Pair, PairRefresh, PairStatus, Role
from annotation.templatetags.compare import MAX_COMPARISONS, marked, word_diff
from tests.factories import ItemFactory, MembershipFactory, PairFactory, ProjectFactory, UserFactory

LABELS = {"bias": "high", "toxicity": "mild", "harm": "medium", "sentiment": "negative"}


def annotate(item, rewrite="Kinder.", **labels):
    """Somebody new annotates the item."""
    user = MembershipFactory(project=item.project, role=Role.ANNOTATOR).user
    assignment = Assignment.objects.create(
        project=item.project, item=item, annotator=user, lease_until=timezone.now() + timedelta(hours=1)
    )
    return work.submit(user, assignment.pk, {"labels": LABELS | labels, "rewrite": rewrite})


@pytest.fixture
def lead():
    return UserFactory()


@pytest.fixture
def project(lead):
    return ProjectFactory(overlap=3, lead=lead)


# Proposing


@pytest.mark.django_db
def test_nothing_is_proposed_before_the_last_annotation(project):
    item = ItemFactory(project=project)
    annotate(item)
    annotate(item)
    assert not Pair.objects.exists()
    annotate(item)
    assert item.pair.status == PairStatus.PROPOSED


@pytest.mark.django_db
def test_labels_are_those_of_the_majority_and_ties_stay_open(project):
    item = ItemFactory(project=project)
    annotate(item, bias="high", harm="low")
    annotate(item, bias="high", harm="medium")
    annotate(item, bias="none", harm="high")
    assert item.pair.labels == {"bias": "high", "toxicity": "mild", "sentiment": "negative"}
    assert item.pair.disagreement == 0.5  # bias and harm of four dimensions


@pytest.mark.django_db
def test_the_rewrite_that_two_wrote_alike_is_proposed(project):
    item = ItemFactory(project=project)
    annotate(item, "One way.")
    second = annotate(item, "Another way.")
    annotate(item, "Another way.")
    assert (item.pair.rewrite, item.pair.chosen) == ("Another way.", second)


@pytest.mark.django_db
def test_else_the_first_rewrite_that_is_not_empty(project):
    item = ItemFactory(project=project)
    annotate(item, "")
    second = annotate(item, "One way.")
    annotate(item, "Another way.")
    assert (item.pair.rewrite, item.pair.chosen) == ("One way.", second)
    assert item.pair.annotations.count() == 3


@pytest.mark.django_db
def test_a_revision_refreshes_the_proposal(project):
    item = ItemFactory(project=project, overlap=1)
    annotation = annotate(item, "One way.")
    version = item.pair.version
    work.revise(annotation.annotator, annotation.pk, {"labels": LABELS, "rewrite": "A better way."}, 1)
    item.pair.refresh_from_db()
    assert (item.pair.rewrite, item.pair.version) == ("A better way.", version + 1)


@pytest.mark.django_db
def test_a_rewrite_that_came_with_the_file_stays_until_annotators_wrote_one(project):
    item = ItemFactory(project=project, overlap=2)
    Pair.objects.create(project=project, item=item, rewrite="From the file.", imported_rewrite="From the file.")
    annotate(item, "")
    annotate(item, "")
    item.pair.refresh_from_db()
    assert (item.pair.rewrite, item.pair.labels, item.pair.annotations.count()) == (
        "From the file.",
        LABELS,
        2,
    )


@pytest.mark.django_db
def test_proposing_needs_few_queries(project, django_assert_max_num_queries):
    item = ItemFactory(project=project, overlap=5)
    for _ in range(4):
        annotate(item)
    with transaction.atomic(), django_assert_max_num_queries(8):
        pairs.propose(item)


@pytest.mark.django_db
def test_settling_early_needs_one_annotation_and_keeps_an_existing_pair(project):
    item = ItemFactory(project=project)
    with pytest.raises(ValidationError, match="Nobody has annotated"):
        pairs.propose_early(item)
    annotate(item)
    pair = pairs.propose_early(item)
    assert pairs.propose_early(item) == pair
    assert pair.version == 1


@pytest.mark.django_db
def test_complete_items_without_a_pair_are_found_and_proposed_once(project, lead, monkeypatch):
    items = [ItemFactory(project=project, overlap=2) for _ in range(5)]
    for item in items:
        annotate(item)
    project.items.update(overlap=1)
    monkeypatch.setattr(pairs, "BATCH", 2)
    for made in (5, 0):
        job = pairs.refresh_later(project, lead)
        jobs.execute(PairRefresh.objects, job.pk, pairs.refresh)
        job.refresh_from_db()
        assert (job.status, job.proposed, job.done, job.total) == ("finished", made, 5, 5)
    assert Pair.objects.count() == 5


@pytest.mark.django_db
def test_a_refresh_whose_worker_died_goes_on_where_it_was(project, lead, monkeypatch):
    items = [ItemFactory(project=project, overlap=2) for _ in range(4)]
    for item in items:
        annotate(item)
    project.items.update(overlap=1)
    monkeypatch.setattr(pairs, "BATCH", 2)
    job = pairs.refresh_later(project, lead)
    report = PairRefresh.report

    def die(self, *args):
        report(self, *args)
        raise SystemExit

    monkeypatch.setattr(PairRefresh, "report", die)
    with pytest.raises(SystemExit):
        jobs.execute(PairRefresh.objects, job.pk, pairs.refresh)
    assert Pair.objects.count() == 2
    monkeypatch.undo()
    PairRefresh.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    jobs.execute(PairRefresh.objects, job.pk, pairs.refresh)
    job.refresh_from_db()
    assert (job.status, job.proposed, job.last_item, Pair.objects.count()) == ("finished", 4, items[-1].pk, 4)


# Settling


@pytest.fixture
def pair(project):
    return PairFactory(project=project, status=PairStatus.PROPOSED, settled_by=None, settled_at=None)


@pytest.mark.django_db
def test_approving_keeps_who_when_and_from_which_annotation(project, lead):
    item = ItemFactory(project=project, overlap=1)
    annotation = annotate(item)
    pair = item.pair
    labels = {"bias": "none", "harm": "low"}
    pairs.approve(pair, lead, version=pair.version, rewrite="Edited.\r\nOn", labels=labels, chosen=annotation.pk)
    pair.refresh_from_db()
    assert (pair.status, pair.rewrite, pair.labels) == (PairStatus.APPROVED, "Edited.\nOn", labels)
    assert (pair.settled_by, pair.chosen) == (lead, annotation)
    assert pair.settled_at is not None and pairs.settled(item)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("values", "field", "words"),
    [
        ({"rewrite": " \n"}, "rewrite", "needs a rewrite"),
        ({"rewrite": "a\x00"}, "rewrite", "null byte"),
        ({"rewrite": "x" * 100_001}, "rewrite", "100,001 characters"),
        ({"labels": {"bias": "purple"}}, "labels", "'purple' is no level of bias"),
        ({"labels": {"race": "high"}}, "labels", "no dimension 'race'"),
        ({"labels": ["high"]}, "labels", "must map"),
    ],
)
def test_an_approval_that_breaks_a_rule_is_refused_by_field(pair, lead, values, field, words):
    with pytest.raises(ValidationError) as error:
        pairs.approve(pair, lead, version=1, **{"rewrite": "Fine.", "labels": {}} | values)
    assert words in str(error.value.message_dict[field])
    pair.refresh_from_db()
    assert pair.status == PairStatus.PROPOSED


@pytest.mark.django_db
def test_an_annotation_of_another_text_cannot_be_chosen(pair, lead, project):
    foreign = annotate(ItemFactory(project=project, overlap=1))
    with pytest.raises(ValidationError, match="not one of this text's annotations"):
        pairs.approve(pair, lead, version=1, rewrite="Fine.", labels={}, chosen=foreign.pk)


@pytest.mark.django_db
def test_rejecting_needs_a_reason(pair, lead):
    with pytest.raises(ValidationError, match="Say why"):
        pairs.reject(pair, lead, version=1, reason="  ")
    done = pairs.reject(pair, lead, version=1, reason="Not a sentence.")
    assert (done.status, done.reason, done.settled_by) == (PairStatus.REJECTED, "Not a sentence.", lead)


@pytest.mark.django_db
def test_the_second_of_two_leads_is_told_and_overwrites_nothing(pair, lead):
    first = UserFactory(username="early")
    pairs.approve(pair, first, version=1, rewrite="First.", labels={})
    with pytest.raises(pairs.ChangedMeanwhile, match="early has settled this pair meanwhile \\(approved\\)"):
        pairs.approve(pair, lead, version=1, rewrite="Second.", labels={})
    with pytest.raises(pairs.ChangedMeanwhile):
        pairs.reject(pair, lead, version=1, reason="No.")
    pair.refresh_from_db()
    assert (pair.rewrite, pair.settled_by) == ("First.", first)


@pytest.mark.django_db
def test_a_decision_about_annotations_that_were_revised_meanwhile_is_refused(project, lead):
    item = ItemFactory(project=project, overlap=1)
    annotation = annotate(item)
    seen = item.pair.version
    work.revise(annotation.annotator, annotation.pk, {"labels": LABELS, "rewrite": "Changed."}, 1)
    with pytest.raises(pairs.ChangedMeanwhile, match="changed since you opened it"):
        pairs.approve(item.pair, lead, version=seen, rewrite="Kinder.", labels={})


@pytest.mark.django_db(transaction=True)
def test_of_ten_leads_at_once_one_settles():
    pair = PairFactory(status=PairStatus.PROPOSED, settled_by=None, settled_at=None)
    leads = UserFactory.create_batch(10)
    told, barrier = [], threading.Barrier(10)

    def settle(user):
        try:
            barrier.wait()
            pairs.approve(pair, user, version=1, rewrite=f"By {user}.", labels={})
        except pairs.ChangedMeanwhile:
            told.append(user)
        finally:
            connection.close()

    threads = [threading.Thread(target=settle, args=[user]) for user in leads]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    pair.refresh_from_db()
    assert len(told) == 9
    assert pair.rewrite == f"By {pair.settled_by}." and pair.version == 2


@pytest.mark.django_db
def test_a_settled_pair_can_be_opened_again_with_what_the_lead_had_written(project, lead):
    item = ItemFactory(project=project, overlap=1)
    annotation = annotate(item)
    pairs.approve(item.pair, lead, version=item.pair.version, rewrite="The lead's.", labels={"bias": "none"})
    item.pair.refresh_from_db()
    pairs.reopen(item.pair, lead, version=item.pair.version)
    work.revise(annotation.annotator, annotation.pk, {"labels": LABELS, "rewrite": "Changed."}, 1)
    item.pair.refresh_from_db()
    assert (item.pair.status, item.pair.rewrite) == (PairStatus.PROPOSED, "The lead's.")
    assert (item.pair.labels, item.pair.settled_at) == ({"bias": "none"}, None)


@pytest.mark.django_db
def test_only_a_settled_pair_can_be_opened_again(pair, lead):
    with pytest.raises(pairs.ChangedMeanwhile):
        pairs.reopen(pair, lead, version=pair.version)


@pytest.mark.django_db
def test_the_queue_has_the_most_contested_first_and_can_be_walked_both_ways(project):
    made = [
        PairFactory(project=project, status=PairStatus.PROPOSED, contested=share)
        for share in (0.25, 0.75, 0, 0.75, 1 / 3)
    ]
    rows = Pair.objects.filter(project=project)
    order = list(pairs.in_order(rows, PairStatus.PROPOSED))
    assert order == [made[1], made[3], made[4], made[0], made[2]]
    walked = [order[0]]
    while following := pairs.following(rows, walked[-1], PairStatus.PROPOSED).first():
        walked.append(following)
    assert walked == order
    back = [order[-1]]
    while previous := pairs.preceding(rows, back[-1], PairStatus.PROPOSED).first():
        back.append(previous)
    assert back == order[::-1]


# Comparing


@pytest.mark.django_db
def test_levels_that_are_not_the_majoritys_are_marked(project):
    item = ItemFactory(project=project)
    for level in ("high", "high", "none"):
        annotate(item, bias=level)
    annotations = list(Annotation.objects.order_by("pk"))
    bias, toxicity, *_ = compare(item, annotations, project.dimensions.all()).labels
    assert [cell["differs"] for cell in bias.cells] == [False, False, True]
    assert (bias.majority, bias.unanimous, toxicity.unanimous) == ("high", False, True)


words = st.lists(st.sampled_from(["they", "are", "all", "lazy", ",", "كسول", "🙃", "\n", "  "]), max_size=30)


@given(words, words)
def test_a_word_diff_joins_back_to_both_texts(before, after):
    before, after = " ".join(before), " ".join(after)
    parts = word_diff(before, after)
    new = "".join(text for what, text in parts if what != "delete")
    old = "".join(text for what, text in parts if what != "insert")
    assert new.split() == after.split()
    assert old.split() == before.split()


def test_a_word_diff_names_what_changed():
    parts = word_diff("They are all lazy.", "They are not lazy.")
    assert parts == [("equal", "They are "), ("delete", "all "), ("insert", "not "), ("equal", "lazy.")]


def test_a_word_diff_of_very_long_texts_is_given_up_in_the_middle():
    long = 2 * int(MAX_COMPARISONS**0.5)
    before = "same " + " ".join(f"a{number}" for number in range(long)) + " end"
    after = "same " + " ".join(f"b{number}" for number in range(long)) + " end"
    assert [what for what, _ in word_diff(before, after)] == ["equal", "delete", "insert", "equal"]


@given(st.text(max_size=40), st.lists(st.integers(0, 40), max_size=6))
def test_marks_cover_exactly_their_code_points(text, places):
    edges = sorted({place for place in places if place <= len(text)})
    spans = [{"start": a, "end": b} for a, b in zip(edges[::2], edges[1::2], strict=False)]
    parts = marked(text, spans)
    assert "".join(part for _, part in parts) == text
    assert [part for is_marked, part in parts if is_marked] == [text[s["start"] : s["end"]] for s in spans]
