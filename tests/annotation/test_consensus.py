"""Consensus by Dawid and Skene, against the example they published; and accuracy and consistency of people."""

import sys
from datetime import timedelta
from subprocess import run as run_process

import numpy as np
import pytest
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from statsmodels.stats.inter_rater import cohens_kappa

from annotation import consensus, gold, jobs, pairs, quality, work
from annotation.comparison import compare
from annotation.jobs import JobStatus
from annotation.models import (
    Annotation,
    AnnotatorConsensus,
    Assignment,
    ConsensusRun,
    Item,
    ItemConsensus,
    ItemKind,
    Pair,
    Role,
)
from tests.conftest import REPOSITORY
from tests.factories import ItemFactory, MembershipFactory, ProjectFactory, UserFactory

pytestmark = pytest.mark.django_db

LABELS = {"bias": "high", "toxicity": "mild", "harm": "medium", "sentiment": "negative"}

# Dawid and Skene, Maximum Likelihood Estimation of Observer Error-Rates Using the EM Algorithm, Applied Statistics 28
# (1979), table 1: the fitness of 45 patients for a general anaesthetic, 1 to 4, judged by five anaesthetists; the
# first one three times.
ANAESTHETISTS = """
111 1 1 1 1|333 4 3 3 4|112 2 1 2 2|222 3 1 2 1|222 3 2 2 2|222 3 3 2 2|122 2 1 1 1|333 3 4 3 3|222 2 2 2 3|
232 2 2 2 3|444 4 4 4 4|222 3 3 4 3|111 1 1 1 1|222 3 2 1 2|121 1 1 1 1|111 2 1 1 1|111 1 1 1 1|111 1 1 1 1|
222 2 2 2 1|222 1 3 2 2|222 2 2 2 2|222 2 2 2 1|222 3 2 2 2|221 2 2 2 2|111 1 1 1 1|111 1 1 1 1|232 2 2 2 2|
111 1 1 1 1|111 1 1 1 1|112 1 1 2 1|111 1 1 1 1|333 3 2 3 3|111 1 1 1 1|222 2 2 2 2|222 3 2 3 2|433 4 3 4 3|
221 2 2 3 2|232 3 2 3 3|333 3 4 3 2|111 1 1 1 1|111 1 1 1 1|121 2 1 1 1|232 2 2 2 2|121 1 1 1 1|222 2 2 2 2
"""


def anaesthetists():
    rows = [
        (patient, observer, int(judged) - 1)
        for patient, cells in enumerate("".join(ANAESTHETISTS.split("\n")).split("|"))
        for observer, cell in enumerate(cells.split())
        for judged in cell
    ]
    return (np.array(column) for column in zip(*rows, strict=True))


def test_the_anaesthetists_of_dawid_and_skene_come_out_as_published():
    patients, observers, judged = anaesthetists()
    found = consensus.dawid_skene(patients, observers, judged, n_items=45, n_annotators=5, n_levels=4)
    # The paper's estimates, to the two decimals that it prints.
    assert found.prior == pytest.approx([0.40, 0.42, 0.11, 0.07], abs=0.006)
    first = [[0.89, 0.11, 0.00, 0.00], [0.07, 0.88, 0.05, 0.00], [0.00, 0.34, 0.66, 0.00], [0.00, 0.00, 0.56, 0.44]]
    assert found.matrices[0] == pytest.approx(np.array(first), abs=0.006)
    # Patient 3 is nearly sure to be 2, though the first observer said 1 twice; patient 36 is 4 with 3s as the majority.
    assert (found.labels[[2, 35]] + 1).tolist() == [2, 4]
    assert found.confidence[10] == pytest.approx(1)


def em(items, annotators, levels, n_items, n_annotators, n_levels):
    """Equations 2.3 to 2.5 of the paper, word by word, until nothing moves."""
    shares = np.zeros((n_items, n_levels))
    np.add.at(shares, (items, levels), 1)
    shares /= shares.sum(axis=1, keepdims=True)
    for _ in range(2_000):
        prior, rates = shares.mean(axis=0), np.zeros((n_annotators, n_levels, n_levels))
        for true in range(n_levels):
            np.add.at(rates[:, true, :], (annotators, levels), shares[items, true])
        rates /= rates.sum(axis=2, keepdims=True)
        following = np.tile(np.log(prior), (n_items, 1))
        for true in range(n_levels):
            np.add.at(following[:, true], items, np.log(rates[annotators, true, levels]))
        following = np.exp(following - following.max(axis=1, keepdims=True))
        following /= following.sum(axis=1, keepdims=True)
        if np.abs(following - shares).max() < 1e-10:
            break
        shares = following
    return shares, prior, rates


def test_unclear_labels_come_out_as_by_the_papers_own_equations():
    chance = np.random.default_rng(1)
    items = np.repeat(np.arange(3_000), 3)
    annotators = np.concatenate([chance.permutation(10)[:3] for _ in range(3_000)])
    true = chance.integers(0, 3, 3_000)
    right = chance.random(9_000) < np.linspace(0.4, 0.8, 10)[annotators]
    levels = np.where(right, true[items], chance.integers(0, 3, 9_000))
    found = consensus.dawid_skene(items, annotators, levels, n_items=3_000, n_annotators=10, n_levels=3)
    shares, prior, rates = em(items, annotators, levels, 3_000, 10, 3)
    assert found.converged
    assert found.prior == pytest.approx(prior, abs=1e-3)
    assert found.matrices == pytest.approx(rates, abs=1e-3)
    assert (found.labels == shares.argmax(axis=1)).mean() > 0.999
    assert found.confidence == pytest.approx(shares.max(axis=1), abs=5e-3)
    # What it is for: more right labels than the majority, whose ties are broken for the better even.
    votes = np.zeros((3_000, 3))
    np.add.at(votes, (items, levels), 1)
    assert (found.labels == true).mean() > (votes.argmax(axis=1) == true).mean()


def test_items_and_annotators_without_a_label_are_left_open():
    found = consensus.dawid_skene(
        np.array([0, 0, 2]), np.array([0, 1, 0]), np.array([1, 1, 0]), n_items=4, n_annotators=3, n_levels=3
    )
    assert found.labels.tolist() == [1, -1, 0, -1] and np.isnan(found.confidence[[1, 3]]).all()
    assert found.used.tolist() == [2, 1, 0] and np.isnan(found.matrices[2]).all()
    nothing = np.array([], dtype=int)
    empty = consensus.dawid_skene(nothing, nothing, nothing, n_items=2, n_annotators=1, n_levels=3)
    assert empty.labels.tolist() == [-1, -1] and empty.iterations == 0


# The job


def annotate(project, per_item):
    """Annotations of new texts: per text a list of (annotator, labels)."""
    items = []
    for votes in per_item:
        item = ItemFactory(project=project, overlap=max(1, len(votes)))
        for user, labels in votes:
            held = Assignment.objects.create(
                project=project, item=item, annotator=user, state="finished", lease_until=timezone.now()
            )
            Annotation.objects.create(project=project, item=item, annotator=user, assignment=held, labels=labels)
        items.append(item)
    return items


@pytest.fixture
def lead():
    return UserFactory(username="the-lead")


@pytest.fixture
def project(lead):
    return ProjectFactory(lead=lead, overlap=3)


@pytest.fixture
def people(project):
    return [
        MembershipFactory(project=project, role=Role.ANNOTATOR, user__username=name).user
        for name in ("ada", "Bo", "cy")
    ]


def estimate(project, lead):
    run = consensus.start(project, lead)
    jobs.execute(ConsensusRun.objects, run.pk, consensus.run)
    run.refresh_from_db()
    assert run.status == JobStatus.FINISHED, run.error
    return run


def test_where_all_agree_the_consensus_is_the_majority(project, lead, people):
    levels = ["none", "slight", "high"]
    items = annotate(project, [[(user, LABELS | {"bias": levels[n % 3]}) for user in people] for n in range(30)])
    run = estimate(project, lead)
    assert (run.annotations, run.items) == (90, 30)
    found = consensus.labels_for(item.pk for item in items)
    for item in items:
        majority = pairs.summarise(list(item.annotations.all()))["labels"]
        assert found[item.pk]["labels"] == majority
        assert all(sure > 0.999 for sure in found[item.pk]["confidence"].values())
    rows = AnnotatorConsensus.objects.filter(run=run, dimension="bias")
    assert [(row.annotator.username, row.annotations) for row in rows.order_by("annotator")] == [
        ("ada", 30),
        ("Bo", 30),
        ("cy", 30),
    ]
    assert all(row.accuracy == pytest.approx(1, abs=1e-6) for row in rows)
    assert rows[0].levels == levels and rows[0].matrix[0] == pytest.approx([1, 0, 0], abs=1e-6)


def test_one_careful_person_outweighs_two_careless_ones(project, lead, people):
    """Two people answer at random; where they outvote the careful one by chance, the majority is wrong."""
    ada, bo, cy = people
    dee, eli = (MembershipFactory(project=project, role=Role.ANNOTATOR).user for _ in range(2))
    chance = np.random.default_rng(5)
    levels = ["none", "slight", "high"]
    truth, votes = [], []
    for _ in range(200):
        true = levels[chance.integers(3)]
        near = lambda share, true=true: true if chance.random() < share else levels[chance.integers(3)]  # noqa: E731
        truth.append(true)
        votes.append(
            [(user, {"bias": near(share)}) for user, share in ((ada, 0.97), (dee, 0.9), (eli, 0.9), (bo, 0), (cy, 0))]
        )
    items = annotate(project, votes)
    run = estimate(project, lead)
    found = consensus.labels_for(item.pk for item in items)
    by_consensus = sum(found[item.pk]["labels"]["bias"] == true for item, true in zip(items, truth, strict=True))
    by_majority = sum(
        pairs.majority([labels["bias"] for _, labels in row]) == true for row, true in zip(votes, truth, strict=True)
    )
    assert by_consensus > by_majority
    accuracy = {row.annotator_id: row.accuracy for row in run.annotators.all()}
    assert accuracy[ada.pk] > 0.9 and accuracy[bo.pk] < 0.6 and accuracy[cy.pk] < 0.6


def test_hidden_texts_are_no_part_of_it_and_missing_labels_do_no_harm(project, lead, people):
    items = annotate(project, [[(people[0], {"bias": "high"}), (people[1], {})], [(people[1], LABELS)], []])
    hidden = gold.create(project, lead, kind="gold", text="Hidden.", labels={"bias": ["high"]}).item
    held = Assignment.objects.create(
        project=project, item=hidden, annotator=people[0], state="finished", lease_until=timezone.now()
    )
    Annotation.objects.create(
        project=project, item=hidden, annotator=people[0], assignment=held, labels=LABELS, kind=ItemKind.GOLD
    )
    run = estimate(project, lead)
    assert (run.annotations, run.items) == (3, 2)
    found = consensus.labels_for([item.pk for item in items] + [hidden.pk])
    assert set(found) == {items[0].pk, items[1].pk}
    assert set(found[items[0].pk]["labels"]) == {"bias"}


def test_a_new_estimation_replaces_the_earlier_one(project, lead, people):
    annotate(project, [[(user, LABELS) for user in people] for _ in range(3)])
    first = estimate(project, lead)
    annotate(project, [[(user, LABELS) for user in people]])
    assert consensus.annotations_since(first) == 3
    second = estimate(project, lead)
    assert set(ItemConsensus.objects.values_list("run", flat=True)) == {second.pk}
    assert consensus.latest(project.pk) == second
    jobs.execute(ConsensusRun.objects, second.pk, consensus.run)  # a message that arrives twice
    assert ItemConsensus.objects.count() == 4


def test_it_cannot_be_started_twice_or_over_nothing(project, lead, people):
    with pytest.raises(ValidationError, match="Nobody has annotated"):
        consensus.start(project, lead)
    annotate(project, [[(people[0], LABELS)]])
    run = consensus.start(project, lead)
    with pytest.raises(ValidationError, match="already"):
        consensus.start(project, lead)
    run.request_cancel()
    assert estimate(project, lead).items == 1


@pytest.mark.django_db(transaction=True)
def test_a_real_worker_estimates_it(worker, client):
    lead = UserFactory()
    project = ProjectFactory(lead=lead, overlap=2)
    two = [MembershipFactory(project=project, role=Role.ANNOTATOR).user for _ in range(2)]
    annotate(project, [[(user, LABELS) for user in two] for _ in range(5)])
    worker("default")
    client.force_login(lead)
    client.post(reverse("annotation:consensus", args=[project.pk]))
    from config.processes import wait_until

    assert wait_until(lambda: ConsensusRun.objects.get().status == JobStatus.FINISHED, 90), (
        ConsensusRun.objects.get().error
    )
    page = client.get(reverse("annotation:consensus", args=[project.pk])).content.decode()
    assert "5 texts, from 10 annotations." in page and "right 100 % of the time" in page


def test_where_two_levels_are_equally_probable_it_decides_nothing():
    found = consensus.dawid_skene(
        np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), np.array([0, 1, 2, 2]), n_items=2, n_annotators=2, n_levels=3
    )
    assert found.labels.tolist() == [-1, 2] and found.confidence[0] == pytest.approx(0.5, abs=1e-3)


def contested(project, people, number=12):
    """Texts on which two people err now and then, and a first one where they stand against two careful ones."""
    wrong, careful = LABELS | {"bias": "slight"}, LABELS
    rows = [[(people[0], wrong), (people[1], wrong), (people[2], careful), (people[3], careful)]]
    for place in range(1, number):
        labels = [wrong if place % 4 == who else careful for who in (0, 1)] + [careful, careful]
        rows.append(list(zip(people, labels, strict=True)))
    items = annotate(project, rows)
    with transaction.atomic():
        for item in items:
            pairs.propose(item)
    return items


def test_the_pair_page_shows_it_beside_the_majority(client, project, lead, people):
    people.append(MembershipFactory(project=project, role=Role.ANNOTATOR).user)
    items = contested(project, people)
    client.force_login(lead)
    address = items[0].pair.get_absolute_url()
    assert "Consensus" not in client.get(address).content.decode()
    estimate(project, lead)
    page = client.get(address).content.decode()
    assert '<th scope="col">Consensus</th>' in page and 'id="use-consensus"' in page and "tied" in page
    row = compare(items[0], list(items[0].annotations.all()), project.dimensions.all()).labels[0]
    assert (row.majority, row.consensus) == (None, "high") and row.confidence > 60


def test_its_labels_and_annotators_by_script(client, project, lead, people):
    items = annotate(project, [[(user, LABELS) for user in people] for _ in range(3)])
    client.force_login(lead)
    started = client.post("/api/consensus/", {"project": project.pk}, content_type="application/json")
    assert started.status_code == 201
    jobs.execute(ConsensusRun.objects, started.json()["id"], consensus.run)
    url = f"/api/consensus/{started.json()['id']}/"
    assert client.get(url).json()["status"] == "finished"
    labels = client.get(f"{url}labels/").json()["results"]
    assert [(row["item"], row["labels"]) for row in labels] == [(item.pk, LABELS) for item in items]
    assert len(client.get(f"{url}annotators/").json()) == 3 * 4


def test_the_web_process_does_not_load_what_only_statistics_need():
    code = (
        "import django, sys; django.setup(); import config.urls, config.celery; from django.urls import get_resolver;"
        "get_resolver().url_patterns;"
        "print({'crowdkit', 'sklearn', 'pandas', 'statsmodels', 'scipy', 'torch', 'transformers'} & set(sys.modules))"
    )
    done = run_process([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, check=True)
    assert done.stdout.strip() == "set()"


# Accuracy on gold, consistency on repeats


def answer(item, user, labels, days_ago=0):
    at = timezone.now() - timedelta(days=days_ago)
    held = Assignment.objects.create(project=item.project, item=item, annotator=user, state="finished", lease_until=at)
    return Annotation.objects.create(
        project=item.project, item=item, annotator=user, assignment=held, labels=labels, kind=item.kind, created_at=at
    )


def test_accuracy_on_gold_is_right_by_hand_with_wilsons_interval(project, lead, people):
    known = {"bias": ["high", "slight"], "toxicity": ["none"]}
    for number in range(10):
        item = gold.create(project, lead, kind="gold", text=f"G {number}", labels=known).item
        answer(item, people[0], LABELS | {"bias": "none" if number < 2 else "high", "toxicity": "none"})
    (ada, bo, cy) = quality.per_annotator(project)
    assert [row["user"].username for row in (ada, bo, cy)] == ["ada", "Bo", "cy"]
    cells = {cell["dimension"].key: cell["share"] for cell in ada["gold"]}
    assert (cells["bias"].hits, cells["bias"].n, cells["bias"].percent) == (8, 10, 80)
    # Wilson (1927) for 8 of 10: 0.490 to 0.943.
    assert (round(cells["bias"].low, 1), round(cells["bias"].high, 1)) == (49.0, 94.3)
    assert cells["toxicity"].percent == 100 and cells["harm"].percent is None
    assert (ada["overall"].hits, ada["overall"].n, ada["gold_texts"]) == (18, 20, 10)
    assert bo["overall"].percent is None and bo["overall"].n == 0


def test_a_later_change_of_mind_does_not_change_accuracy(project, lead, people):
    item = gold.create(project, lead, kind="gold", text="G", labels={"bias": ["high"]}).item
    made = answer(item, people[0], LABELS | {"bias": "none"})
    work.revise(people[0], made.pk, {"labels": LABELS}, 1)
    made.refresh_from_db()
    assert made.labels["bias"] == "high"
    assert quality.per_annotator(project)[0]["overall"].percent == 0


def test_consistency_is_percent_and_kappa_of_the_two_times(project, lead, people):
    levels = ["none", "slight", "high"]
    first = [0, 0, 1, 1, 2, 2, 2, 0, 1, 2]
    second = [0, 1, 1, 1, 2, 2, 1, 0, 1, 0]
    for before, after in zip(first, second, strict=True):
        (original,) = annotate(project, [[(people[0], LABELS | {"bias": levels[before]})]])
        copy = gold.copy_of(
            original,
            kind="repeat",
            overlap=1,
            repeat_of=original,
            repeat_for=people[0],
            external_id=f"r{original.pk}",
        )
        answer(copy, people[0], LABELS | {"bias": levels[after]})
    ada = quality.per_annotator(project)[0]
    cells = {cell["dimension"].key: cell["consistency"] for cell in ada["repeats"]}
    table = np.zeros((3, 3))
    np.add.at(table, (first, second), 1)
    assert (cells["bias"].same.hits, cells["bias"].same.n, ada["repeated_texts"]) == (7, 10, 10)
    assert cells["bias"].kappa == pytest.approx(cohens_kappa(table, wt="quadratic", return_results=True).kappa)
    assert cells["bias"].weighted
    assert (cells["harm"].same.percent, cells["harm"].kappa) == (100, None)
    assert "always the same level" in cells["harm"].why


@pytest.mark.parametrize(
    ("counts", "why"),
    [({}, "no repeats yet"), ({("a", "b"): 1}, "too few"), ({("a", "a"): 9}, "always the same level")],
)
def test_degenerate_consistency_says_so(counts, why):
    found = quality.consistency(counts, ["a", "b", "c"], ordinal=True)
    assert found.kappa is None and why in found.why


def test_cohens_kappa_of_the_published_example():
    """Cohen, EPM 20 (1960), table 1: proportions over 200 of two judges and three categories, kappa .492 by hand."""
    table = {("a", "a"): 88, ("a", "b"): 14, ("a", "c"): 18, ("b", "a"): 10, ("b", "b"): 40, ("b", "c"): 10}
    table |= {("c", "a"): 2, ("c", "b"): 6, ("c", "c"): 12}
    found = quality.consistency(table, ["a", "b", "c"], ordinal=False)
    assert round(found.kappa, 3) == 0.492 and not found.weighted


def test_own_figures_come_late_in_steps_and_never_move_during_the_day(client, project, lead, people):
    ada = people[0]
    client.force_login(ada)
    url = f"/api/projects/{project.pk}/own-quality/"
    items = [gold.create(project, lead, kind="gold", text=f"G {n}", labels={"bias": ["high"]}).item for n in range(32)]
    for item in items[:19]:
        answer(item, ada, LABELS, days_ago=2)
    assert client.get(url).status_code == 204
    answer(items[19], ada, LABELS)  # the twentieth, but today
    assert client.get(url).status_code == 204
    assert "Not enough yet" in client.get(reverse("annotation:own-quality", args=[project.pk])).content.decode()
    for item in items[20:29]:
        answer(item, ada, LABELS | {"bias": "none"}, days_ago=1)
    Annotation.objects.filter(item=items[19]).update(created_at=timezone.now() - timedelta(days=1))
    found = client.get(url).json()
    assert (found["gold_texts"], found["overall"]["n"], found["overall"]["percent"]) == (20, 20, 100)
    for item in items[29:]:
        answer(item, ada, LABELS | {"bias": "none"}, days_ago=1)
    found = client.get(url).json()
    assert (found["gold_texts"], found["overall"]["n"], found["overall"]["hits"]) == (30, 30, 20)
    work.revise(ada, Annotation.objects.get(item=items[0]).pk, {"labels": LABELS | {"bias": "none"}}, 1)
    assert client.get(url).json() == found, "trying out an answer tells nothing"


def test_figures_take_the_same_few_queries_for_many_people(project, lead, people):
    def queries():
        with CaptureQueriesContext(connection) as found:
            quality.per_annotator(project)
        return len(found)

    item = gold.create(project, lead, kind="gold", text="G", labels={"bias": ["high"]}).item
    answer(item, people[0], LABELS)
    few = queries()
    for _ in range(5):
        answer(item, MembershipFactory(project=project, role=Role.ANNOTATOR).user, LABELS)
    assert queries() == few
    assert Item.objects.get(pk=item.pk).finished == 6 and not Pair.objects.exists()
