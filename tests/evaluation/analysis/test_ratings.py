import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from evaluation import analysis
from evaluation.analysis.ratings import Ratings, from_table

NaN = float("nan")


def test_a_table_becomes_rows_and_missing_ratings_have_none():
    ratings = from_table([[[1, NaN], [2, 3]], [[NaN, NaN], [NaN, 4]]], levels=5)
    assert (ratings.n_items, ratings.n_systems, ratings.n_reviewers) == (2, 2, 2)
    rows = zip(ratings.item, ratings.system, ratings.reviewer, ratings.value, strict=True)
    assert [tuple(row) for row in rows] == [(0, 0, 0, 1), (0, 1, 0, 2), (0, 1, 1, 3), (1, 1, 1, 4)]
    assert ratings.counts == {"n_items": 2, "n_reviewers": 2, "n_ratings": 4}


def test_counts_are_of_what_is_there_while_codes_stay():
    first = from_table([[[1, NaN], [2, 3]], [[NaN, NaN], [NaN, 4]]], levels=5).of(0)
    assert first.counts == {"n_items": 1, "n_reviewers": 1, "n_ratings": 1}
    assert (first.n_items, first.n_systems, first.n_reviewers) == (2, 2, 2)


def test_no_ratings_are_ratings_too():
    assert len(from_table(np.full((0, 0, 0), NaN), levels=5)) == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"value": [1, 6]}, "1 to 5"),
        ({"value": [1, 0]}, "1 to 5"),
        ({"value": [1, 2.5]}, "whole numbers"),
        ({"value": [1, NaN]}, "whole numbers"),
        ({"value": [1]}, "equally long"),
        ({"item": [0, 2]}, "item must be codes from 0 to 1"),
        ({"system": [0, -1]}, "system must be codes"),
        ({"reviewer": [0, 0.5]}, "reviewer must be codes"),
        ({"item": [0, 0]}, "two ratings of the same output"),
    ],
)
def test_what_are_no_ratings_is_refused(change, words):
    good = {"item": [0, 1], "system": [0, 0], "reviewer": [0, 0], "value": [1, 2]}
    with pytest.raises(ValueError, match=words):
        Ratings(**good | change, levels=5, n_items=2, n_systems=1, n_reviewers=1)


def test_the_analysis_knows_nothing_of_django_or_torch():
    package = Path(analysis.__file__).parent
    names = [f"evaluation.analysis.{path.stem}" for path in package.glob("*.py") if path.stem != "__init__"]
    code = f"import sys, {', '.join(names)}; print([name for name in ('django', 'torch') if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=package.parent.parent
    )
    assert done.stdout.strip() == "[]"
