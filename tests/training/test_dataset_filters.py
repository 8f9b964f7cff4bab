"""Which pairs a filter leaves, in SQL, against the definition written out in Python."""

import pytest
from django.core.exceptions import ValidationError

from annotation.models import PairStatus
from tests.factories import ItemFactory, PairFactory, ProjectFactory
from training import datasets, selection

pytestmark = pytest.mark.django_db

BASE = {"bias": "high", "toxicity": "mild", "harm": "medium", "sentiment": "negative"}


@pytest.fixture
def project():
    return ProjectFactory()


def pair(project, labels=None, agreement=None, votes=0, **item):
    return PairFactory(
        project=project,
        item=ItemFactory(project=project, **item),
        labels=BASE | (labels or {}),
        agreement=agreement or {},
        votes=votes,
        votes_accepted=votes,
    )


def left(project, **filters):
    return set(selection.approved(project, selection.check_filters(project, filters)))


def test_levels_of_one_dimension_are_alternatives_and_dimensions_must_all_hold(project):
    none, slight = pair(project, {"bias": "none"}), pair(project, {"bias": "slight"})
    high, mean = pair(project), pair(project, {"toxicity": "severe"})
    assert left(project, labels={"bias": ["none", "slight"]}) == {none, slight}
    assert left(project, labels={"bias": ["high"], "toxicity": ["severe", "none"]}) == {mean}
    assert left(project, labels={"bias": []}) == {none, slight, high, mean}


def test_texts_are_chosen_by_group_source_and_language(project):
    women = pair(project, target_group="women", source="forum", language="en")
    pair(project, target_group="women", source="news", language="en")
    men = pair(project, target_group="men", source="forum", language="ar")
    assert left(project, target_groups=["women", "men"], sources=["forum"]) == {women, men}
    assert left(project, target_groups=["women"], sources=["forum"], languages=["en"]) == {women}


def test_agreement_is_asked_on_every_dimension_or_on_those_named(project):
    all_agree = pair(project, agreement=dict.fromkeys(BASE, 1.0))
    two_thirds = pair(project, agreement=dict.fromkeys(BASE, 1.0) | {"harm": 2 / 3})
    pair(project)  # nobody annotated it
    assert left(project, agreement=1.0) == {all_agree}
    assert left(project, agreement=0.66) == {all_agree, two_thirds}
    assert left(project, agreement=2 / 3) == {all_agree, two_thirds}
    assert left(project, agreement=1.0, agreement_on=["bias", "toxicity"]) == {all_agree, two_thirds}


def test_votes_count_those_who_found_the_rewrite_safe_and_true(project):
    voted = pair(project, votes=3)
    pair(project, votes=1)
    assert left(project, votes=2) == {voted}


def test_only_approved_pairs_are_left(project):
    PairFactory(project=project, status=PairStatus.PROPOSED)
    PairFactory()  # of another project
    assert left(project) == set()


@pytest.mark.parametrize(
    ("filters", "words"),
    [
        ({"label": "x"}, "There is no filter 'label'; there are agreement, agreement_on, labels"),
        ({"labels": {"bias": ["huge"]}}, "huge"),
        ({"labels": {"size": ["none"]}}, "size"),
        ({"labels": ["bias"]}, "labels must map a dimension to a list of its levels"),
        ({"labels": {"bias": "none"}}, "must be a list of texts"),
        ({"target_groups": "women"}, "target_groups must be a list of texts"),
        ({"agreement": 66}, "a share from 0 to 1, not 66"),
        ({"agreement": 0.5, "agreement_on": ["size"]}, "does not know 'size'; choose among bias"),
        ({"votes": -1}, "a whole number from 0 to 1,000"),
        ({"origins": ["study"]}, "There is no filter 'origins'"),
        ([], None),
        (["bias"], "Filters map names to values"),
    ],
)
def test_a_filter_that_makes_no_sense_is_named_with_what_it_may_be(project, filters, words):
    if words is None:
        assert datasets.check_settings(project, filters=filters)["filters"] == {}
        return
    with pytest.raises(ValidationError, match=words) as caught:
        datasets.check_settings(project, filters=filters)
    assert set(caught.value.message_dict) == {"filters"}


def test_filters_read_as_words(project):
    filters = selection.check_filters(
        project,
        {
            "labels": {"bias": ["high", "slight"]},
            "target_groups": ["women"],
            "agreement": 2 / 3,
            "agreement_on": ["bias"],
            "votes": 1,
        },
    )
    assert selection.words(project, filters) == [
        "with Bias slight or high",
        "about the target group women",
        "where at least 66.7 % of the annotators chose the same level on Bias",
        "where at least 1 person found the rewrite safe and true in meaning",
    ]
