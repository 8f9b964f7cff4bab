"""Agreement coefficients against published figures and reference implementations."""

import itertools
import json
from pathlib import Path

import krippendorff
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats import inter_rater

from annotation import agreement
from annotation.agreement import Estimate

EXACT = {"rel": 0, "abs": 1e-9}
REFERENCE = json.loads((Path(__file__).parent / "irrcac_reference.json").read_text())

# Fleiss (1971), table 1: 30 patients, 6 psychiatrists each; depression, personality disorder, schizophrenia, neurosis,
# other.
FLEISS_1971 = """
00060 03003 01401 00006 03030 20400 00402 20310 20040 00006
10050 11040 03300 10050 02031 00501 30012 51000 02040 10203
00006 01050 02013 20040 10041 05010 40002 02040 10500 00006
"""

# Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability", sections C and D: observers A to D, 12 units.
KRIPPENDORFF_2011 = """
123321412...
1233224125.3
.3332342251.
12332441251.
"""


def patterns_of(ratings: list[list[int | None]], levels: int) -> tuple[np.ndarray, np.ndarray]:
    """Patterns and multiplicity of raw ratings: one row an item, levels from 1, None where there is none."""
    rows = [[row.count(level) for level in range(1, levels + 1)] for row in ratings]
    return np.unique(np.array(rows), axis=0, return_counts=True)


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def alpha(patterns, multiplicity, ordinal=False, **more) -> Estimate:
    return agreement.krippendorff_alpha(patterns, multiplicity, ordinal=ordinal, rng=rng(), draws=199, **more)


def few(function, *arguments, **more) -> Estimate:
    """Without asking for ten items, as the references do not."""
    return function(*arguments, minimum=2, **more)


# Published figures


def test_fleiss_1971_psychiatric_diagnoses():
    rows = [[int(digit) for digit in row] for row in FLEISS_1971.split()]
    patterns, multiplicity = np.unique(rows, axis=0, return_counts=True)
    assert len(patterns) < len(rows) == multiplicity.sum() == 30
    found = agreement.fleiss_kappa(patterns, multiplicity)
    assert found.estimate == pytest.approx(0.430, abs=0.0005)  # as printed in the paper
    assert found.estimate == pytest.approx(inter_rater.fleiss_kappa(rows), **EXACT)
    assert (found.n_items, found.n_ratings, found.n_single) == (30, 180, 0)
    assert agreement.percent_agreement(patterns, multiplicity).estimate == pytest.approx(0.5556, abs=0.00005)


@pytest.fixture
def krippendorff_2011():
    columns = zip(*KRIPPENDORFF_2011.split(), strict=True)
    return patterns_of([[None if value == "." else int(value) for value in unit] for unit in columns], 5)


def test_krippendorff_2011_four_observers_with_missing_ratings(krippendorff_2011):
    nominal, ordinal = alpha(*krippendorff_2011), alpha(*krippendorff_2011, ordinal=True)
    assert nominal.estimate == pytest.approx(0.743, abs=0.0005)  # as printed
    assert ordinal.estimate == pytest.approx(0.815, abs=0.0005)  # as printed
    # unit 12 has one rating, so it is left out: 40 pairable values in 11 units
    assert (nominal.n_items, nominal.n_ratings, nominal.n_single) == (11, 40, 1)


@pytest.mark.parametrize("level", ["nominal", "ordinal"])
def test_krippendorff_2011_equals_the_library(krippendorff_2011, level):
    patterns, multiplicity = krippendorff_2011
    counts = np.repeat(patterns, multiplicity, axis=0)
    wanted = krippendorff.alpha(value_counts=counts, level_of_measurement=level)
    assert alpha(patterns, multiplicity, ordinal=level == "ordinal").estimate == pytest.approx(wanted, **EXACT)


def test_gwet_2014_four_raters_twelve_subjects():
    case = REFERENCE["published"]["raw_4raters"]
    table = patterns_of(case["ratings"], case["levels"])
    # Printed in the Handbook and in the documentation of irrCAC: coefficient and standard error.
    ac1, fleiss = agreement.gwet_ac(*table), agreement.fleiss_kappa(*table)
    assert (round(ac1.estimate, 5), round(ac1.se, 5), round(ac1.low, 5), ac1.high) == (0.77544, 0.14295, 0.46081, 1)
    assert (round(fleiss.estimate, 5), round(fleiss.se, 5), round(fleiss.low, 5)) == (0.76117, 0.15302, 0.42438)
    assert round(agreement.percent_agreement(*table).estimate, 5) == 0.81818


CASES = [*REFERENCE["published"].items(), *((f"random {n}", case) for n, case in enumerate(REFERENCE["random"]))]


@pytest.mark.parametrize(("name", "case"), CASES, ids=[name for name, _ in CASES])
def test_coefficients_and_standard_errors_equal_irrcac(name, case):
    table = patterns_of(case["ratings"], case["levels"])
    found = {
        "fleiss": few(agreement.fleiss_kappa, *table),
        "ac1": few(agreement.gwet_ac, *table),
        "ac2": few(agreement.gwet_ac, *table, ordinal=True),
    }
    for key, estimate in found.items():
        value, se, low, high = case[key]
        assert (estimate.estimate, estimate.se) == pytest.approx((value, se), **EXACT), key
        assert (estimate.low, estimate.high) == pytest.approx((max(low, -1), high), **EXACT), key
    assert few(alpha, *table).estimate == pytest.approx(case["alpha"][0], **EXACT)


# Any table


@st.composite
def ratings(draw, missing: bool = True):
    """(ratings, levels): at least two items with two or more ratings, and two levels among those."""
    levels, raters = draw(st.integers(2, 6)), draw(st.integers(2, 5))
    level = st.integers(1, levels)
    value = st.one_of(st.none(), level, level) if missing else level
    rows = draw(st.lists(st.lists(value, min_size=raters, max_size=raters), min_size=2, max_size=25))
    compared = [row for row in rows if sum(rating is not None for rating in row) >= 2]
    assume(len(compared) >= 2)
    assume(len({rating for row in compared for rating in row if rating is not None}) >= 2)
    return rows, levels


@settings(deadline=None)
@given(ratings(), st.booleans())
def test_alpha_of_any_table_equals_the_krippendorff_package(drawn, ordinal):
    rows, levels = drawn
    patterns, multiplicity = patterns_of(rows, levels)
    wanted = krippendorff.alpha(
        value_counts=np.repeat(patterns, multiplicity, axis=0),
        value_domain=np.arange(levels),
        level_of_measurement="ordinal" if ordinal else "nominal",
    )
    assert few(alpha, patterns, multiplicity, ordinal=ordinal).estimate == pytest.approx(wanted, **EXACT)


@settings(deadline=None)
@given(ratings(missing=False))
def test_fleiss_kappa_of_any_complete_table_equals_statsmodels(drawn):
    rows, levels = drawn
    patterns, multiplicity = patterns_of(rows, levels)
    wanted = inter_rater.fleiss_kappa(np.repeat(patterns, multiplicity, axis=0))
    assert few(agreement.fleiss_kappa, patterns, multiplicity).estimate == pytest.approx(wanted, **EXACT)


def written_out(rows, levels, weights, chance_of) -> float:
    """(p_a - p_e) / (1 - p_e) as Gwet (2014) writes it, over raw ratings and pair by pair."""
    given_ratings = [[rating for rating in row if rating is not None] for row in rows]
    given_ratings = [row for row in given_ratings if row]
    shares = [sum(row.count(k) / len(row) for row in given_ratings) / len(given_ratings) for k in range(1, levels + 1)]
    agree = [
        sum(weights[a - 1][b - 1] for a, b in itertools.permutations(row, 2)) / (len(row) * (len(row) - 1))
        for row in given_ratings
        if len(row) >= 2
    ]
    observed, chance = sum(agree) / len(agree), chance_of(shares)
    return (observed - chance) / (1 - chance)


@settings(deadline=None)
@given(ratings())
def test_kappa_ac1_and_ac2_of_any_table_equal_the_formulas_written_out_over_pairs(drawn):
    rows, levels = drawn
    table = patterns_of(rows, levels)
    identity = np.eye(levels)
    pairs_in = [[(abs(k - m) + 1) * abs(k - m) / 2 for m in range(levels)] for k in range(levels)]
    ordinal = [[1 - gap / (levels * (levels - 1) / 2) for gap in row] for row in pairs_in]

    def fleiss(shares):
        return sum(share**2 for share in shares)

    def gwet(weights):
        factor = sum(map(sum, weights)) / (levels * (levels - 1))
        return lambda shares: factor * sum(share * (1 - share) for share in shares)

    for found, weights, chance in (
        (few(agreement.fleiss_kappa, *table), identity, fleiss),
        (few(agreement.gwet_ac, *table), identity, gwet(identity)),
        (few(agreement.gwet_ac, *table, ordinal=True), ordinal, gwet(ordinal)),
    ):
        assert found.estimate == pytest.approx(written_out(rows, levels, weights, chance), **EXACT)


@settings(deadline=None)
@given(ratings())
def test_figures_are_numbers_within_their_range_or_missing_with_a_reason(drawn):
    rows, levels = drawn
    for estimate in agreement.coefficients(*patterns_of(rows, levels), ordinal=True, seed=[1], draws=99).values():
        if estimate.estimate is None:
            assert estimate.reason and estimate.low is None and estimate.high is None
        elif estimate.low is None:
            assert estimate.reason and -1 <= estimate.estimate <= 1
        else:
            assert -1 <= estimate.low <= estimate.high <= 1
            assert not estimate.reason and np.isfinite([estimate.low, estimate.high]).all()


@settings(deadline=None)
@given(ratings(), st.randoms(use_true_random=False))
def test_neither_the_order_of_items_nor_how_they_are_grouped_matters(drawn, random):
    rows, levels = drawn
    one_by_one = [[row.count(level) for level in range(1, levels + 1)] for row in rows]
    random.shuffle(one_by_one)
    grouped = few(agreement.gwet_ac, *patterns_of(rows, levels))
    single = few(agreement.gwet_ac, one_by_one, np.ones(len(rows)))
    assert single.estimate == pytest.approx(grouped.estimate, **EXACT)
    assert (single.n_items, single.n_ratings, single.n_single) == (
        *(grouped.n_items, grouped.n_ratings, grouped.n_single),
    )


# Intervals


def test_the_bootstrap_of_patterns_is_the_bootstrap_of_items():
    """scipy draws whole items one by one; ours draws how many items show each pattern."""
    generator = np.random.default_rng(2)
    truth = generator.choice(3, 150, p=[0.7, 0.2, 0.1])
    said = np.where(generator.random((150, 3)) < 0.75, truth[:, None], generator.integers(0, 3, (150, 3)))
    counts = np.stack([(said == level).sum(axis=1) for level in range(3)], axis=1)
    found = agreement.krippendorff_alpha(
        *np.unique(counts, axis=0, return_counts=True), ordinal=True, rng=rng(), draws=4_999
    )
    drawn = stats.bootstrap(
        (np.arange(150),),
        lambda items: krippendorff.alpha(value_counts=counts[items], level_of_measurement="ordinal"),
        vectorized=False,
        n_resamples=1_999,
        method="percentile",
        rng=rng(),
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((drawn.low, drawn.high), abs=0.012)


def test_the_same_seed_gives_the_same_interval():
    table = patterns_of(REFERENCE["random"][0]["ratings"], REFERENCE["random"][0]["levels"])
    first, second = (agreement.coefficients(*table, ordinal=True, seed=[3, 1], draws=199) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("coefficient", ["percent", "fleiss", "alpha", "ac1", "ac2"])
def test_intervals_cover_the_truth_about_as_often_as_they_say(coefficient):
    """400 samples of 80 items out of one population of patterns, whose coefficient is known."""
    generator = np.random.default_rng(8)
    patterns = np.array([c for c in itertools.product(range(4), repeat=3) if sum(c) == 3])
    shares = generator.dirichlet(np.where(patterns.max(axis=1) == 3, 3.0, 0.4))
    population = agreement.coefficients(
        patterns, np.round(shares * 10_000_000).astype(int), ordinal=True, seed=[0], draws=9
    )[coefficient].estimate
    covered = 0
    for number in range(400):
        sample = generator.multinomial(80, shares)
        found = agreement.coefficients(patterns, sample, ordinal=True, seed=[number], draws=199)[coefficient]
        covered += found.low <= population <= found.high
    assert 0.90 <= covered / 400 <= 0.98


# What cannot be said


def reasons(patterns, multiplicity) -> dict[str, str]:
    found = agreement.coefficients(patterns, multiplicity, ordinal=True, seed=[0], draws=99)
    return {key: estimate.reason for key, estimate in found.items() if estimate.estimate is None}


ALL = {"percent", "fleiss", "alpha", "ac1", "ac2"}


def test_no_annotations():
    assert set(reasons(np.zeros((0, 3)), [])) == ALL
    assert set(reasons([[0, 0, 0]], [40])) == ALL
    assert set(reasons([[2, 1, 0]], [0]).values()) == {"There are no annotations here."}


def test_one_annotator_leaves_nothing_to_compare():
    found = agreement.coefficients([[1, 0, 0], [0, 1, 0]], [30, 5], ordinal=True, seed=[0])
    for estimate in found.values():
        assert estimate.estimate is None and estimate.n_items == 0 and estimate.n_single == 35
        assert "No text has annotations by two people" in estimate.reason


def test_too_few_items():
    assert "Only 1 text has" in reasons([[2, 1, 0]], [1])["alpha"]
    few_items = reasons([[3, 0, 0], [2, 1, 0], [1, 0, 0]], [5, 4, 90])
    assert set(few_items) == ALL and "Only 9 texts have" in few_items["fleiss"] and "10" in few_items["fleiss"]
    assert reasons([[3, 0, 0], [2, 1, 0]], [5, 5]) == {}


def test_one_level_for_everything_has_no_agreement_beyond_chance():
    found = agreement.coefficients([[3, 0, 0], [2, 0, 0]], [500, 20], ordinal=True, seed=[0])
    percent = found.pop("percent")
    assert (percent.estimate, percent.low, percent.high, percent.reason) == (1.0, None, None, agreement.ALL_AGREE)
    for estimate in found.values():
        assert estimate.estimate is None and "same level for every text" in estimate.reason


def test_one_level_where_it_can_be_compared_is_one_level():
    """The other level occurs only where a single person annotated."""
    assert set(reasons([[2, 0], [0, 1]], [50, 50])) == {"fleiss", "alpha", "ac1", "ac2"}


def test_perfect_agreement_is_one_without_an_interval():
    found = agreement.coefficients([[3, 0, 0], [0, 3, 0]], [50, 20], ordinal=True, seed=[0])
    for estimate in found.values():
        assert (estimate.estimate, estimate.low, estimate.reason) == (1.0, None, agreement.ALL_AGREE)


def test_alpha_with_a_single_differing_item_has_no_interval():
    """In a third of the draws that item is missing, and with it all variation."""
    found = agreement.coefficients([[2, 0], [1, 1]], [99, 1], ordinal=False, seed=[0])
    assert found["alpha"].estimate is not None
    assert (found["alpha"].low, found["alpha"].reason) == (None, agreement.FEW_DIFFER)


def test_high_agreement_with_a_skewed_level_the_paradox_for_which_ac1_is_offered():
    """Two people agree on 95 of 100 texts, nearly all of them "none": kappa and alpha are about 0, AC1 is 0.95."""
    found = agreement.coefficients([[2, 0, 0], [1, 1, 0]], [95, 5], ordinal=False, seed=[0])
    assert found["percent"].estimate == pytest.approx(0.95)
    assert found["fleiss"].estimate == pytest.approx(-0.0256, abs=0.0001)  # (0.95 - 0.95125) / (1 - 0.95125)
    assert found["alpha"].estimate < 0.001
    assert found["ac1"].estimate == pytest.approx(0.9488, abs=0.0001)  # (0.95 - 0.024375) / (1 - 0.024375)


@pytest.mark.parametrize(
    ("patterns", "multiplicity"),
    [([[1, 2]], [1, 2]), ([1, 2], [1, 2]), ([[1, -1]], [3]), ([[0.5, 1]], [2]), ([[float("nan"), 1]], [2])],
)
def test_what_is_no_table_of_counts_is_refused(patterns, multiplicity):
    with pytest.raises(ValueError, match="patterns and multiplicity"):
        agreement.fleiss_kappa(patterns, multiplicity)


def test_a_million_annotations_take_no_longer_than_their_patterns():
    found = agreement.fleiss_kappa([[3, 0, 0], [2, 1, 0], [0, 1, 2]], [250_000, 60_000, 23_334])
    assert found.n_ratings == 1_000_002
    assert found.high - found.low < 0.01


# Two annotators


def test_cohens_kappa_by_hand_and_by_statsmodels():
    by_hand = agreement.cohen_kappa([[20, 5], [10, 15]])
    assert by_hand.estimate == pytest.approx((0.7 - 0.5) / (1 - 0.5))  # 35 of 50 agree; 0.5 * 0.6 + 0.5 * 0.4 by chance
    table = [[40, 4, 4, 17], [6, 25, 2, 13], [4, 1, 21, 12], [15, 5, 9, 45]]  # diagnoses of 223 patients, Gwet (2014)
    found, wanted = agreement.cohen_kappa(table), inter_rater.cohens_kappa(np.array(table))
    assert (found.estimate, found.low, found.high) == (wanted.kappa, wanted.kappa_low, wanted.kappa_upp)
    assert found.n_items == 223
    linear = agreement.cohen_kappa(table, linear=True)
    assert linear.estimate == inter_rater.cohens_kappa(np.array(table), wt="linear").kappa != found.estimate


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (np.zeros((3, 3)), "no text in common"),
        ([[1, 1], [0, 1]], "3 texts in common; at least 10"),
        ([[40, 0], [0, 0]], "same level for every text"),
    ],
)
def test_two_annotators_without_enough_to_compare(table, words):
    found = agreement.cohen_kappa(table)
    assert found.estimate is None and words in found.reason


def test_two_annotators_who_always_agree_have_no_interval():
    found = agreement.cohen_kappa([[30, 0], [0, 12]])
    assert (found.estimate, found.low, found.reason) == (1.0, None, agreement.ALL_AGREE)


# Marks


def test_character_f1():
    assert agreement.character_f1([(0, 10)], [(5, 15)]) == pytest.approx(0.5)  # 2 * 5 / 20
    assert agreement.character_f1([(0, 4), (6, 10)], [(0, 10)]) == pytest.approx(16 / 18)
    assert agreement.character_f1([(0, 4)], []) == 0
    assert agreement.character_f1([], []) is None


spans = st.lists(st.integers(0, 40), max_size=8, unique=True).map(
    lambda ends: list(zip(sorted(ends)[::2], sorted(ends)[1::2], strict=False))
)


@given(spans, spans)
def test_character_f1_is_dices_coefficient_of_the_marked_characters(first, second):
    a = {place for start, end in first for place in range(start, end)}
    b = {place for start, end in second for place in range(start, end)}
    wanted = 2 * len(a & b) / (len(a) + len(b)) if a or b else None
    assert agreement.character_f1(first, second) == pytest.approx(wanted)


def test_span_f1_averages_pairs_within_a_text_and_then_texts():
    alike, half, none = [(0, 10)], [(5, 15)], []
    items = [[alike, alike, half]] * 6 + [[alike, none]] * 6 + [[none, none]] * 50 + [[alike]] * 3
    found = agreement.span_f1(items, rng=rng(), draws=199)
    assert found.estimate == pytest.approx((6 * (1 + 0.5 + 0.5) / 3 + 6 * 0) / 12)
    assert (found.n_items, found.n_ratings, found.n_single) == (12, 30, 3)
    assert 0 < found.low < found.estimate < found.high < 1


def test_marks_that_cannot_be_compared():
    assert "Nobody marked" in agreement.span_f1([[[], []]] * 30, rng=rng()).reason
    few_marks = agreement.span_f1([[[(0, 3)], []]] * 4, rng=rng())
    assert few_marks.estimate is None and "Only 4 texts" in few_marks.reason
    same = agreement.span_f1([[[(0, 3)], [(0, 3)]]] * 20, rng=rng())
    assert (same.estimate, same.low, same.reason) == (1.0, None, agreement.ALL_AGREE)
