"""Strata, near-duplicates and large datasets: what goes into which split."""

import itertools
import json
import random

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

from annotation import jobs
from annotation.jobs import JobStatus
from annotation.models import Pair, Role
from tests.factories import ItemFactory, MembershipFactory, PairFactory, ProjectFactory
from tests.training.factories import SHARES, make_dataset
from training import dataset_diff, dataset_files, datasets, near_duplicates
from training.models import Dataset, DatasetRow, Freezing

WORDS = [
    "people",
    "town",
    "say",
    "that",
    "the",
    "new",
    "rules",
    "are",
    "unfair",
    "lazy",
    "neighbours",
    "never",
    "work",
    "while",
    "families",
    "pay",
    "taxes",
]


def fill(project, texts, **items):
    for number, text in enumerate(texts):
        values = {name: value[number] if isinstance(value, list) else value for name, value in items.items()}
        PairFactory(project=project, item=ItemFactory(project=project, text=text, **values), rewrite=f"Kind: {text}")


def freeze(project, **values):
    return datasets.freeze(project=project, name="d", user=project.created_by, **{"shares": SHARES} | values)


def sentences(count, seed=0):
    """Different texts that have little in common."""
    chance = random.Random(seed)
    return [f"{number} " + " ".join(chance.sample(WORDS, 8)) for number in range(count)]


# Strata


@given(
    st.dictionaries(st.text("abcdef", min_size=1, max_size=2), st.integers(1, 400), min_size=1, max_size=12),
    st.integers(5, 90),
    st.integers(5, 90),
)
def test_shares_hold_within_each_stratum_and_in_all(totals, first, second):
    if first + second > 95 or sum(totals.values()) < 3:
        return
    shares = {"train": 1 - (first + second) / 100, "validation": first / 100, "test": second / 100}
    sizes = datasets.stratum_sizes(totals, shares)
    assert {name: sum(row.values()) for name, row in sizes.items()} == totals
    for name, row in sizes.items():
        assert all(row[split] >= 0 and abs(row[split] - shares[split] * totals[name]) < 3 for split in shares)
    whole = {split: sum(row[split] for row in sizes.values()) for split in shares}
    assert all(abs(whole[split] - shares[split] * sum(totals.values())) < 3 for split in shares)
    assert min(whole.values()) >= 1


def test_strata_worked_by_hand():
    shares = {"train": 0.5, "validation": 0.25, "test": 0.25}
    # a: 5, 2.5, 2.5: the odd one goes to validation. b: 2, 1 - 0.5, 1 + 0.5 with what was carried.
    assert datasets.stratum_sizes({"a": 10, "b": 4}, shares) == {
        "a": {"train": 5, "validation": 3, "test": 2},
        "b": {"train": 2, "validation": 0, "test": 2},
    } or datasets.stratum_sizes({"a": 10, "b": 4}, shares)["b"] == {"train": 2, "validation": 1, "test": 1}


@pytest.mark.django_db
def test_every_group_is_in_every_split_by_its_share():
    project = ProjectFactory()
    groups = ["women"] * 30 + ["men"] * 20 + [f"rare {number}" for number in range(10)]
    fill(project, sentences(60), target_group=groups)
    dataset = freeze(project, stratify_by="target_group")
    rows = dataset.rows.values_list("item__target_group", "split")
    counts = {}
    for group, split in rows:
        key = "rare" if group.startswith("rare") else group
        counts.setdefault(key, dict.fromkeys(SHARES, 0))[split] += 1
    for key, total in (("women", 30), ("men", 20), ("rare", 10)):  # the rare ones are one stratum together
        assert all(abs(counts[key][split] - SHARES[split] * total) <= 1 for split in SHARES), key
    assert dataset.counts == {"train": 36, "validation": 12, "test": 12}
    strata = dataset.figures["strata"]
    assert [(row["name"], row["pooled"]) for row in strata] == [("women", 0), ("men", 0), ("", 10)]
    assert strata[0]["train"] == counts["women"]["train"]


@pytest.mark.django_db
def test_levels_of_a_dimension_and_sources_can_be_strata():
    project = ProjectFactory()
    fill(project, sentences(40), source=["forum", "news"] * 20)
    Pair.objects.filter(item__source="news").update(labels={"bias": "none"})
    by_level = freeze(project, stratify_by="label:bias")
    by_source = freeze(project, stratify_by="source")
    assert {row["name"] for row in by_level.figures["strata"]} == {"none", "high"}
    assert {row["name"] for row in by_source.figures["strata"]} == {"forum", "news"}
    assert by_level.content_hash != by_source.content_hash
    with pytest.raises(ValidationError, match="target_group, source, label:bias"):
        freeze(project, stratify_by="label:size")


# Near-duplicates


@pytest.mark.django_db
def test_no_near_duplicate_of_a_test_or_validation_text_is_in_train():
    project = ProjectFactory()
    chance = random.Random(4)
    texts = sentences(60, 4)
    for text in chance.sample(texts, 25):
        texts += [f"{text}!", f"{text} indeed"][: chance.randrange(1, 3)]
    fill(project, texts)
    plain, apart = freeze(project), freeze(project, near_duplicates=0.7)

    def across(dataset):
        rows = list(dataset.rows.values_list("split", "text"))
        sets = [near_duplicates.shingles(text) for _, text in rows]
        return sum(
            rows[i][0] != rows[j][0] and near_duplicates.jaccard(sets[i], sets[j]) >= 0.7
            for i, j in itertools.combinations(range(len(rows)), 2)
        )

    assert across(plain) > 5
    assert across(apart) == 0
    assert apart.counts == plain.counts  # and the shares hold all the same
    found = apart.figures["near_duplicates"]
    assert (found["threshold"], found["groups"] >= 20, found["largest"] >= 2) == (0.7, True, True)
    assert apart.content_hash != plain.content_hash


@pytest.mark.django_db
def test_a_group_too_large_for_its_share_leaves_something_for_every_split():
    project = ProjectFactory()
    base = " ".join(WORDS * 2)
    fill(project, [f"{base} {number}" for number in range(40)] + sentences(10))
    dataset = freeze(project, near_duplicates=0.7)
    assert dataset.counts["train"] >= 40
    assert min(dataset.counts.values()) >= 1
    assert dataset.figures["near_duplicates"]["largest"] == 40


@pytest.mark.django_db
def test_texts_that_are_all_near_duplicates_cannot_be_split_and_the_message_says_what_to_change():
    project = ProjectFactory()
    base = " ".join(WORDS * 2)
    fill(project, [f"{base} {number}" for number in range(6)])
    with pytest.raises(ValidationError, match="form 1 group of near-duplicates") as caught:
        freeze(project, near_duplicates=0.7)
    assert "near_duplicates" in caught.value.message_dict
    with pytest.raises(ValidationError, match=r"from 0.6 to 1"):
        freeze(project, near_duplicates=0.2)
    assert not project.datasets.exists()


@pytest.mark.django_db
def test_frozen_again_elsewhere_every_file_has_the_same_bytes():
    """Other ids, other order, another project: the same hash, the same splits, the same bytes of every format."""
    texts = [*sentences(40, 9), "Same text", "same  TEXT", "أهلا وسهلا 🙃 بالجميع", "<b>& \\n</b> \u2028 x"]
    texts += [f"{text}." for text in texts[:8]]
    groups = [f"group {number % 3}" for number in range(len(texts))]
    order = list(range(len(texts)))
    random.Random(1).shuffle(order)
    made = []
    for numbers in (range(len(texts)), order):
        project = ProjectFactory()
        fill(project, [texts[n] for n in numbers], target_group=[groups[n] for n in numbers])
        made.append(freeze(project, stratify_by="target_group", near_duplicates=0.7, seed=11))
    first, second = made
    assert first.content_hash == second.content_hash
    assert first.figures == second.figures
    for name in dataset_files.formats_of(first):
        assert "".join(dataset_files.lines(first, name)).encode() == "".join(dataset_files.lines(second, name)).encode()


# What cannot be frozen


@pytest.mark.django_db
def test_one_pair_cannot_fill_three_splits_and_the_message_says_which_and_what_to_do():
    project = ProjectFactory()
    fill(project, ["Only one"])
    with pytest.raises(ValidationError) as caught:
        freeze(project)
    assert caught.value.messages == [
        "1 different text cannot fill 3 splits (train, validation, test), one at least each. Approve 2 more, or set "
        "the share of validation and test to 0."
    ]
    alone = freeze(project, shares={"train": 1.0, "validation": 0.0, "test": 0.0})
    assert alone.counts == {"train": 1, "validation": 0, "test": 0}


@pytest.mark.django_db
def test_an_approved_pair_without_a_rewrite_is_refused_by_name():
    project = ProjectFactory()
    PairFactory.create_batch(5, project=project)
    empty = project.pairs.first()
    Pair.objects.filter(pk=empty.pk).update(rewrite=" \n")
    with pytest.raises(
        ValidationError, match=f"The rewrite is empty: {empty.item.external_id}. Reopen and complete it"
    ):
        freeze(project)
    assert not Dataset.objects.exists() and not DatasetRow.objects.exists()


# Figures


@pytest.mark.django_db
def test_figures_are_those_counted_by_hand():
    project = ProjectFactory()
    texts = ["one two three", "four five six seven", "eight", "nine ten", "eleven twelve"]
    fill(project, texts, target_group=["women", "women", "men", "", "men"], source="forum")
    Pair.objects.filter(item__text="eight").update(labels={"bias": "none"}, rewrite="eight")
    dataset = freeze(project)
    figures = dataset.figures
    assert sum(figures["labels"]["bias"]["high"].values()) == 4
    assert sum(figures["labels"]["bias"]["none"].values()) == 1
    assert {name: sum(row.values()) for name, row in figures["target_groups"]["named"]} == {"men": 2, "women": 2, "": 1}
    words = figures["lengths"]["text"]["words"]
    assert (words["quartiles"], words["longest"], sum(words["counts"])) == ([2, 2, 3], 4, 5)
    assert words["counts"][:5] == [0, 1, 2, 1, 1]
    assert figures["lengths"]["text"]["characters"]["longest"] == len(texts[1])
    assert (figures["unchanged"], figures["short"], figures["texts"]) == (1, 1, 5)
    assert "rejected" not in figures["lengths"]


# Large ones


@pytest.mark.django_db(transaction=True)
def test_a_large_dataset_is_frozen_by_a_worker_and_the_page_leads_to_it(client, monkeypatch, worker):
    monkeypatch.setattr(datasets, "INLINE", 5)
    project = ProjectFactory()
    trainer = MembershipFactory(project=project, role=Role.TRAINER).user
    fill(project, sentences(12))
    client.force_login(trainer)
    form = {"name": "Large", "train": "0.6", "validation": "0.2", "test": "0.2", "seed": "4", "near_duplicates": "0.7"}
    answer = client.post(reverse("training:freeze", args=[project.pk]), form)
    job = Freezing.objects.get()
    assert answer.url == job.get_absolute_url()
    assert client.get(answer.url).status_code == 200
    worker("default")
    from config.processes import wait_until

    assert wait_until(lambda: Freezing.objects.get().status not in jobs.ACTIVE, 60)
    job.refresh_from_db()
    assert (job.status, job.error) == (JobStatus.FINISHED, "")
    assert client.get(job.get_absolute_url()).url == job.dataset.get_absolute_url()
    same = datasets.freeze(
        project=project, name="x", user=trainer, seed=4, near_duplicates=0.7,
        shares={"train": 0.6, "validation": 0.2, "test": 0.2},
    )  # fmt: skip
    assert job.dataset.content_hash == same.content_hash


@pytest.mark.django_db
def test_a_freezing_done_twice_makes_one_dataset_and_what_goes_wrong_is_said(client, monkeypatch):
    monkeypatch.setattr(datasets, "INLINE", 2)
    project = ProjectFactory()
    fill(project, sentences(6))
    client.force_login(MembershipFactory(project=project, role=Role.TRAINER).user)
    body = {"project": project.pk, "name": "Large", "near_duplicates": None}
    answer = client.post("/api/datasets/", body, content_type="application/json")
    assert answer.status_code == 202
    pk = answer.json()["id"]
    jobs.execute(Freezing.objects, pk, datasets.run)
    found = client.get(f"/api/freezings/{pk}/").json()
    assert (found["status"], found["dataset"]) == ("finished", Dataset.objects.get().pk)
    Freezing.objects.filter(pk=pk).update(status=JobStatus.QUEUED)
    jobs.execute(Freezing.objects, pk, datasets.run)
    assert Dataset.objects.count() == 1
    Pair.objects.filter(project=project).update(rewrite=" ")
    job = Freezing.objects.get(pk=client.post("/api/datasets/", body, content_type="application/json").json()["id"])
    jobs.execute(Freezing.objects, job.pk, datasets.run)
    job.refresh_from_db()
    assert job.status == JobStatus.FAILED and "The rewrite is empty" in job.error
    assert Dataset.objects.count() == 1


@pytest.mark.django_db
def test_a_cancelled_freezing_writes_nothing(monkeypatch):
    project = ProjectFactory()
    fill(project, sentences(6))
    settings = datasets.check_settings(project, shares=SHARES)
    job = Freezing.objects.create(project=project, name="x", settings=settings, created_by=project.created_by)
    counted = datasets.dataset_figures.count

    def cancel_then_count(cursor):
        Freezing.objects.filter(pk=job.pk).update(cancel_requested=True)
        return counted(cursor)

    monkeypatch.setattr(datasets.dataset_figures, "count", cancel_then_count)
    jobs.execute(Freezing.objects, job.pk, datasets.run)
    job.refresh_from_db()
    assert job.status == JobStatus.CANCELLED
    assert not Dataset.objects.exists()


# Differences


@pytest.fixture
def two():
    """Two datasets: a row only in each, one moved, one rewritten, one with another label."""
    project = ProjectFactory()
    texts = sentences(30)
    fill(project, texts)
    first = freeze(project)
    rows = {row.text: row for row in first.rows.all()}
    gone, rewritten, relabelled = texts[:3]
    Pair.objects.filter(item__text=gone).update(status="rejected")
    Pair.objects.filter(item__text=rewritten).update(rewrite="Kind: something else")
    Pair.objects.filter(item__text=relabelled).update(labels={"bias": "none"})
    fill(project, ["A new text"])
    second = freeze(project, seed=5)
    moved = {row.text for row in second.rows.all() if row.text in rows and rows[row.text].split != row.split}
    return first, second, gone, rewritten, relabelled, moved


@pytest.mark.django_db
def test_a_diff_names_what_is_alone_moved_and_changed(two):
    first, second, gone, rewritten, relabelled, moved = two
    counts = dataset_diff.counts(first, second)
    assert (counts["left"], counts["right"], counts["moved"], counts["changed"]) == (1, 1, len(moved), 2)
    assert counts["same"] == 29 - len(moved | {rewritten, relabelled})
    assert [row["text"] for row in dataset_diff.rows(first, second, "left")] == [gone]
    assert [row["text"] for row in dataset_diff.rows(first, second, "right")] == ["A new text"]
    assert {row["text"] for row in dataset_diff.rows(first, second, "moved")} == moved
    changed = {row["text"]: row for row in dataset_diff.rows(first, second, "changed")}
    assert changed[rewritten]["right"]["rewrite"] == "Kind: something else"
    assert changed[relabelled]["label_changes"]["bias"] == ("high", "none")
    assert dataset_diff.counts(first, first)["same"] == 30


@pytest.mark.django_db
def test_the_diff_page_and_the_api_say_the_same(client, two):
    first, second, *_ = two
    client.force_login(MembershipFactory(project=first.project, role=Role.LEAD).user)
    page = client.get(reverse("training:dataset-diff", args=[first.pk]), {"other": second.pk, "show": "changed"})
    html = page.content.decode()
    assert page.status_code == 200 and "<ins>something else</ins>" in html.replace("</ins><ins>", "")
    answer = client.get(f"/api/datasets/{first.pk}/diff/", {"other": second.pk, "show": "changed"}).json()
    assert answer["counts"] == dataset_diff.counts(first, second)
    assert len(answer["rows"]) == 2 and answer["next_after"] is None
    foreign = make_dataset()
    for other in (foreign.pk, first.pk, "x", ""):
        assert client.get(f"/api/datasets/{first.pk}/diff/", {"other": other}).status_code == 400
    assert client.get(reverse("training:dataset-diff", args=[first.pk]), {"other": foreign.pk}).status_code == 422


# Pages


@pytest.mark.django_db
def test_the_form_says_how_many_pairs_the_filters_leave(client):
    project = ProjectFactory()
    fill(project, sentences(6), target_group=["women", "women", "men", "men", "men", ""])
    client.force_login(MembershipFactory(project=project, role=Role.TRAINER).user)
    url = reverse("training:freeze", args=[project.pk])
    html = client.get(url, {"target_groups": ["women"], "label_bias": ["high"]}, headers={"HX-Request": "true"})
    assert "<strong>2</strong> approved pairs: only" in html.content.decode()
    assert "with Bias high; about the target group women" in html.content.decode()
    form = {"name": "W", "train": "1", "validation": "0", "test": "0", "seed": "0", "target_groups": ["men"]}
    client.post(url, form)
    dataset = Dataset.objects.get()
    assert (dataset.size, dataset.filters) == (3, {"target_groups": ["men"]})
    page = client.get(dataset.get_absolute_url()).content.decode()
    assert "only approved pairs about the target group men" in page
    assert "Near-duplicates were not looked for" in page


@pytest.mark.django_db
def test_pages_ask_as_much_of_the_database_for_many_as_for_few(client):
    def queries(rows, others):
        project = ProjectFactory()
        user = MembershipFactory(project=project, role=Role.TRAINER).user
        fill(project, sentences(rows), target_group=[f"g{number % 3}" for number in range(rows)])
        made = [freeze(project, seed=number) for number in range(others)]
        client.force_login(user)
        counts = []
        for url in (
            made[0].get_absolute_url(),
            reverse("training:datasets", args=[project.pk]),
            reverse("training:freeze", args=[project.pk]),
            reverse("training:dataset-diff", args=[made[0].pk]) + f"?other={made[1].pk}",
        ):
            client.get(url)
            with CaptureQueriesContext(
                connection,
            ) as caught:
                assert client.get(url).status_code == 200
            counts.append(len(caught))
        return counts

    assert queries(6, 2) == queries(40, 6)


@pytest.mark.django_db
def test_charts_can_be_downloaded_and_keep_to_known_colours(client):
    dataset = make_dataset(12)
    client.force_login(MembershipFactory(project=dataset.project, role=Role.LEAD).user)
    page = client.get(dataset.get_absolute_url()).content.decode()
    for name in ("label-bias", "length-characters", "length-words"):
        answer = client.get(reverse("training:dataset-figure", args=[dataset.pk, name]))
        assert answer.content.startswith(b"<?xml") and f"figures/{name}.svg" in page
    assert client.get(reverse("training:dataset-figure", args=[dataset.pk, "label-none"])).status_code == 404
    assert "var(--accent)" in page and "#1f5f5b" not in page


@pytest.mark.django_db
def test_a_list_of_many_datasets_is_paged(client):
    project = ProjectFactory()
    PairFactory.create_batch(3, project=project)
    for number in range(55):
        freeze(project, seed=number, shares={"train": 1.0, "validation": 0.0, "test": 0.0})
    client.force_login(MembershipFactory(project=project, role=Role.LEAD).user)
    page = client.get(reverse("training:datasets", args=[project.pk]))
    assert len(page.context["page"]) == 50 and "Older datasets" in page.content.decode()
    listed = client.get("/api/datasets/", {"project": project.pk, "page_size": 10}).json()
    assert len(listed["results"]) == 10 and "figures" not in json.dumps(listed["results"])
