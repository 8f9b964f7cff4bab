"""The rows that measurements are made on are rows as the product itself would write them."""

import pytest

from annotation import validators, work
from annotation.models import Annotation, Assignment, Item, Pair, Project
from benchmarks import synthetic
from tests.factories import MembershipFactory, ProjectFactory, UserFactory

pytestmark = pytest.mark.django_db


def test_counters_labels_spans_and_pairs_are_as_the_product_keeps_them():
    filled = synthetic.fill(items=60, per_item=3, missing=0.3)
    items = Item.objects.filter(project=filled.project)
    levels = {d.key: d.levels for d in Project.objects.get(pk=filled.project).dimensions.all()}
    assert items.count() == filled.items == 60
    for item in items:
        annotations = list(item.annotations.all())
        assert item.finished == item.taken == len(annotations) == len({a.annotator_id for a in annotations})
        for annotation in annotations:
            validators.check_labels(annotation.labels, levels, complete=True)
            validators.check_spans(annotation.spans, item.text)
            assert annotation.assignment.item_id == item.pk
        pair = Pair.objects.filter(item=item).first()
        assert (pair is not None) == (len(annotations) == item.overlap)
        if pair:
            assert set(pair.annotations.all()) == set(annotations)
            assert pair.disagreement == sum(len({a.labels[key] for a in annotations}) > 1 for key in levels) / 4
    assert Annotation.objects.count() == Assignment.objects.count() == filled.annotations < 180


def test_the_same_seed_draws_the_same_labels():
    first, second = synthetic.fill(items=20, seed=3), synthetic.fill(items=20, seed=3)
    drawn = [
        list(Annotation.objects.filter(project=filled.project).order_by("pk").values_list("labels", "spans"))
        for filled in (first, second)
    ]
    assert drawn[0] == drawn[1]
    assert len({str(labels) for labels, _ in drawn[0]}) > 5


def test_work_goes_on_after_filling_with_triggers_counting_again():
    annotator = UserFactory()
    project = ProjectFactory(annotator=annotator, overlap=2)
    synthetic.fill(project, items=5, per_item=1, overlap=2, annotators=2)
    other = UserFactory()
    MembershipFactory(project=project, user=other)
    assignment = work.next_assignment(other, project)
    labels = {d.key: d.levels[0] for d in project.dimensions.all()}
    annotation = work.submit(other, assignment.pk, {"labels": labels, "rewrite": "", "spans": []})
    assert Item.objects.get(pk=annotation.item_id).finished == 2
