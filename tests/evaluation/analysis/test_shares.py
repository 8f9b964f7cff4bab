import pytest

from evaluation.analysis.shares import share


# Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 3 (score without continuity correction).
@pytest.mark.parametrize(
    ("count", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_interval_is_newcombes(count, n, low, high):
    result = share(count, n)
    assert result.estimate == pytest.approx(count / n)
    assert (result.low, result.high) == pytest.approx((low, high), abs=0.00005)


def test_a_share_of_nothing_says_so():
    result = share(0, 0)
    assert result.estimate is None
    assert result.reason == "No choices."
