"""Freezing approved pairs: determinism, splits, immutability."""

import hashlib
import importlib
import json

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from annotation.models import Pair, PairStatus
from tests.factories import ItemFactory, PairFactory, ProjectFactory
from tests.training.factories import SHARES, make_dataset, make_run
from training import dataset_diff, dataset_files, datasets
from training.models import DatasetRow


def content(dataset):
    return list(dataset.rows.order_by("position").values_list("split", "text", "rewrite"))


@pytest.mark.django_db
def test_the_same_pairs_give_the_same_hash_and_splits_whatever_their_ids_and_order():
    texts = [f"Sentence {number}, أهلا 🙃" for number in range(20)]
    frozen = []
    for order in (texts, texts[::-1]):
        project = ProjectFactory()
        for text in order:
            PairFactory(project=project, item=ItemFactory(project=project, text=text), rewrite=text.upper())
        frozen.append(datasets.freeze(project=project, name="d", user=project.created_by, shares=SHARES, seed=3))
    first, second = frozen
    assert first.content_hash == second.content_hash
    assert content(first) == content(second)
    assert first.counts == {"train": 12, "validation": 4, "test": 4}
    assert list(dataset_files.lines(first, "alpaca")) == list(dataset_files.lines(second, "alpaca"))


@pytest.mark.django_db
def test_another_seed_another_rewrite_or_other_shares_give_another_hash():
    project = ProjectFactory()
    pairs = PairFactory.create_batch(10, project=project)
    freeze = {"project": project, "name": "d", "user": project.created_by, "shares": SHARES}
    hashes = {datasets.freeze(**freeze).content_hash, datasets.freeze(**freeze, seed=1).content_hash}
    hashes.add(datasets.freeze(**freeze | {"shares": {"train": 0.8, "validation": 0.1, "test": 0.1}}).content_hash)
    Pair.objects.filter(pk=pairs[0].pk).update(rewrite="Another rewrite")
    hashes.add(datasets.freeze(**freeze).content_hash)
    assert len(hashes) == 4


@pytest.mark.django_db
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.text("aAbß \t🙃", min_size=1, max_size=3), min_size=3, max_size=12),
    st.integers(0, 5),
    st.randoms(use_true_random=False),
)
def test_a_text_is_never_in_two_splits_and_order_of_arrival_does_not_matter(texts, seed, chance):
    assume(len({datasets.order_key(text, seed) for text in texts}) >= 3)
    first = frozen(texts, seed)
    chance.shuffle(texts)
    second = frozen(texts, seed)
    assert first.content_hash == second.content_hash
    assert content(first) == content(second)
    splits = {}
    for split, text, _ in content(first):
        splits.setdefault(" ".join(text.casefold().split()), set()).add(split)
    assert all(len(found) == 1 for found in splits.values())
    assert first.counts == {split: sum(row[0] == split for row in content(first)) for split in first.counts}
    assert min(first.counts.values()) >= 1


def frozen(texts, seed):
    project = ProjectFactory()
    for text in texts:
        PairFactory(project=project, item=ItemFactory(project=project, text=text), rewrite=f"{text}-")
    return datasets.freeze(project=project, name="d", user=project.created_by, shares=SHARES, seed=seed)


@pytest.mark.django_db
def test_the_content_hash_can_be_worked_out_from_the_rows_alone():
    dataset = make_dataset(7, seed=4)
    digest = hashlib.sha256(
        b'{"kind": "pairs", "near_duplicates": null, "seed": 4, '
        b'"shares": {"test": 0.2, "train": 0.6, "validation": 0.2}, "stratify_by": ""}'
    )
    for row in dataset.rows.order_by("position"):
        line = {"labels": row.labels, "rewrite": row.rewrite, "text": row.text}
        line = json.dumps(line, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        digest.update(f"\n{row.split} {hashlib.sha256(line.encode()).hexdigest()}".encode())
    assert dataset.content_hash == digest.hexdigest()


@given(st.integers(3, 5000), st.integers(1, 98), st.integers(1, 98))
def test_split_sizes_add_up_and_leave_no_wanted_split_empty(total, first, second):
    if first + second >= 100:
        return
    shares = {"train": first / 100, "validation": second / 100, "test": 1 - (first + second) / 100}
    sizes = datasets.split_sizes(total, shares)
    assert sum(sizes.values()) == total
    assert min(sizes.values()) >= 1
    assert all(abs(sizes[split] - shares[split] * total) <= 2 for split in shares)


def test_split_sizes_worked_by_hand():
    assert datasets.split_sizes(10, {"train": 0.7, "validation": 0.1, "test": 0.2}) == {
        "train": 7,
        "validation": 1,
        "test": 2,
    }
    # 3.5, 0.5 and 1.0 of five: the remainders tie at one half, the first split in order takes the odd one
    assert datasets.split_sizes(5, {"train": 0.7, "validation": 0.1, "test": 0.2}) == {
        "train": 3,
        "validation": 1,
        "test": 1,
    }
    assert datasets.split_sizes(4, {"train": 1.0, "validation": 0.0, "test": 0.0})["train"] == 4


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("shares", "words"),
    [
        ({"train": 0.5, "validation": 0.1, "test": 0.1}, "add up to 0.7"),
        ({"train": 0.0, "validation": 0.5, "test": 0.5}, "train split needs a share"),
        ({"train": 1.5, "validation": -0.5, "test": 0.0}, "between 0 and 1"),
        ({"train": 1.0}, "Give a share for each of train, validation, test"),
        ({"train": "x", "validation": 0.5, "test": 0.5}, "must be a number"),
        ({"train": float("nan"), "validation": 0.5, "test": 0.5}, "must be a number"),
    ],
)
def test_shares_that_make_no_sense_are_refused_with_the_reason(shares, words):
    project = ProjectFactory()
    PairFactory.create_batch(5, project=project)
    with pytest.raises(ValidationError, match=words):
        datasets.freeze(project=project, name="d", user=project.created_by, shares=shares)


@pytest.mark.django_db
def test_without_enough_approved_pairs_nothing_is_frozen():
    project = ProjectFactory()
    PairFactory(project=project, status=PairStatus.PROPOSED)
    with pytest.raises(ValidationError, match="no approved pair yet"):
        datasets.freeze(project=project, name="d", user=project.created_by)
    PairFactory.create_batch(2, project=project)
    with pytest.raises(ValidationError, match="2 different texts cannot fill 3 splits"):
        datasets.freeze(project=project, name="d", user=project.created_by)
    with pytest.raises(ValidationError, match="no approved pair that meets these filters"):
        datasets.freeze(project=project, name="d", user=project.created_by, filters={"labels": {"bias": ["none"]}})
    assert not project.datasets.exists()


@pytest.mark.django_db
def test_the_database_refuses_to_change_a_frozen_dataset():
    dataset = make_dataset()
    for change in (
        lambda: DatasetRow.objects.filter(dataset=dataset).update(rewrite="Changed"),
        lambda: type(dataset).objects.filter(pk=dataset.pk).update(content_hash="0" * 64),
        lambda: type(dataset).objects.filter(pk=dataset.pk).update(seed=99),
    ):
        with pytest.raises(IntegrityError, match="cannot be changed"), transaction.atomic():
            change()
    dataset.name = "A better name"
    dataset.save()


@pytest.mark.django_db(transaction=True)
def test_the_database_refuses_to_add_rows_to_a_frozen_dataset_or_to_remove_some():
    dataset = make_dataset()
    row = dataset.rows.first()
    with pytest.raises(IntegrityError, match="cannot be changed"):
        row.delete()
    assert dataset.rows.count() == 5
    row.pk, row.position = None, 99
    row.pair = PairFactory(project=dataset.project)
    with pytest.raises(IntegrityError, match="cannot be changed"):
        row.save()
    datasets.delete(dataset)
    assert not DatasetRow.objects.exists()


@pytest.mark.django_db
def test_a_later_change_of_a_pair_does_not_reach_the_dataset():
    dataset = make_dataset()
    row = dataset.rows.first()
    Pair.objects.filter(pk=row.pair_id).update(rewrite="Changed later")
    assert dataset.rows.first().rewrite == row.rewrite


@pytest.mark.django_db
def test_a_dataset_with_runs_cannot_be_deleted():
    run = make_run()
    with pytest.raises(ValidationError, match="1 run of this dataset"):
        datasets.delete(run.dataset)
    run.delete()
    datasets.delete(run.dataset)
    assert not DatasetRow.objects.exists()


@pytest.mark.django_db
def test_training_files_hold_every_row_with_its_split():
    dataset = make_dataset()
    rows = {
        name: [json.loads(line) for line in dataset_files.lines(dataset, name)]
        for name in dataset_files.formats_of(dataset)
    }
    assert [len(found) for found in rows.values()] == [5, 5, 5]
    first = dataset.rows.first()
    assert rows["alpaca"][0]["input"] == first.text
    assert rows["alpaca"][0]["output"] == rows["prompt-completion"][0]["completion"] == first.rewrite
    assert rows["chat"][0]["messages"][1] == {"role": "assistant", "content": first.rewrite}
    assert {row["split"] for row in rows["chat"]} == {"train", "validation", "test"}


@pytest.mark.django_db
def test_rows_from_before_there_were_keys_get_those_that_freezing_gives(monkeypatch):
    migration = importlib.import_module("training.migrations.0008_keys_of_old_rows")
    monkeypatch.setattr(migration, "BATCH", 3)
    project = ProjectFactory()
    for number, text in enumerate(["Same  TEXT", "same text", "Straße", "STRASSE", "Same text", "other", "last"]):
        PairFactory(project=project, item=ItemFactory(project=project, text=text), rewrite=f"Kind {number}.")
    frozen = [
        datasets.freeze(project=project, name=f"d{seed}", user=project.created_by, shares=SHARES, seed=seed)
        for seed in (1, 2, 3)
    ]
    columns = ("pk", "text_key", "copy")
    made = list(DatasetRow.objects.order_by("pk").values_list(*columns))
    assert {copy for _, _, copy in made} == {0, 1, 2}
    old = DatasetRow.objects.filter(dataset__in=frozen[:2])
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # in production other transactions froze them
        cursor.execute("ALTER TABLE training_datasetrow DISABLE TRIGGER training_datasetrow_frozen")
        old.update(text_key="", copy=0)
        cursor.execute("ALTER TABLE training_datasetrow ENABLE TRIGGER training_datasetrow_frozen")
    for _ in range(2):  # once more changes nothing
        with connection.schema_editor() as editor:
            migration.fill(None, editor)
        assert list(DatasetRow.objects.order_by("pk").values_list(*columns)) == made
    assert dataset_diff.counts(*frozen[:2])["left"] == 0
    with pytest.raises(IntegrityError, match="cannot be changed"), transaction.atomic():
        old.update(copy=0)
