"""Whatever the ratings are, every figure is given or says why not, and nothing fails or warns."""

import dataclasses
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from evaluation.analysis import groups, means, mixed, noninferiority, ordinal, ranks, reliability
from evaluation.analysis.ratings import Difference, Estimate, TestResult, from_table

DRAWS = 49


def everything(ratings, *, draws=DRAWS):
    """Every analysis of one criterion, the first system being the reference."""
    random = np.random.default_rng(1)
    yield means.summaries(ratings, rng=random, draws=draws)
    yield reliability.alpha(ratings, rng=random, draws=draws)
    yield reliability.intraclass(ratings)
    if not ratings.n_systems:
        return
    yield ranks.friedman(ratings)
    yield mixed.fit(ratings, 0)
    yield ordinal.fit(ratings, 0)
    codes = np.arange(ratings.n_items) % 3 - 1
    for system in range(1, ratings.n_systems):
        found = means.difference(ratings, system, 0, rng=random, draws=draws)
        yield found
        yield noninferiority.noninferiority(found, 0.5)
        yield ranks.wilcoxon(ratings, system, 0)
        yield ranks.sign_test(ratings, system, 0)
        yield ranks.cliffs_delta(ratings, system, 0, rng=random, draws=draws)
        yield groups.means_by_group(ratings, codes, system, rng=random, draws=draws)
        yield groups.differences_by_group(ratings, codes, system, 0, rng=random, draws=draws)


def figures(found):
    """All estimates, differences and tests inside a result."""
    if isinstance(found, list | tuple):
        for part in found:
            yield from figures(part)
    elif dataclasses.is_dataclass(found):
        if isinstance(found, Estimate | Difference | TestResult):
            yield found
        for field in dataclasses.fields(found):
            yield from figures(getattr(found, field.name))


def check(figure):
    if isinstance(figure, Estimate):
        assert figure.estimate is not None or figure.reason
        assert figure.low is not None or figure.reason
        assert (figure.low is None) == (figure.high is None)
        if figure.estimate is not None:
            assert np.isfinite(figure.estimate)
        if figure.low is not None:
            assert figure.low - 1e-9 <= figure.estimate <= figure.high + 1e-9
    elif isinstance(figure, TestResult):
        assert (figure.p is None) == bool(figure.reason)
        assert figure.p is None or 0 <= figure.p <= 1
    else:
        assert (figure.p is None) == (figure.se is None) == (figure.difference.low is None)
        assert figure.p is None or 0 <= figure.p <= 1


tables = st.tuples(st.integers(0, 6), st.integers(0, 3), st.integers(0, 4)).flatmap(
    lambda shape: st.lists(
        st.sampled_from([float("nan"), 1, 2, 3, 4, 5]),
        min_size=int(np.prod(shape)),
        max_size=int(np.prod(shape)),
    ).map(lambda values: np.array(values, dtype=float).reshape(shape))
)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(tables)
def test_every_figure_is_given_or_says_why_not(table):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for found in everything(from_table(table, levels=5)):
            for figure in figures(found):
                check(figure)


def test_one_rating_has_a_mean_and_nothing_else():
    ratings = from_table([[[4]]], levels=5)
    (summary,) = means.summaries(ratings, rng=np.random.default_rng(1))
    assert (summary.mean.estimate, summary.mean.low) == (4, None)
    for found in everything(ratings):
        for figure in figures(found):
            check(figure)


@pytest.mark.slow
def test_ten_thousand_ratings_are_analysed():
    random = np.random.default_rng(2)
    texts, reviewers = random.normal(0, 0.7, (250, 1, 1)), random.normal(0, 0.4, (1, 1, 10))
    systems = np.array([0, 0.2, 0.4, 0.8])[None, :, None]
    values = 3 + systems + texts + reviewers + random.normal(0, 0.7, (250, 4, 10))
    ratings = from_table(np.clip(np.round(values), 1, 5), levels=5)
    assert len(ratings) == 10_000
    with threadpool_limits(1):  # as the report's job has it
        found = list(everything(ratings, draws=199))
    for figure in figures(found):
        check(figure)
        assert not isinstance(figure, Estimate) or figure.low is not None
