"""Crossed variance components by restricted maximum likelihood (REML), fast enough for every study.

    value = exog @ coefficients + item + output + reading + reviewer + taste + residual

Each part but the first is a normal random effect with a variance of its own: *item* of a text, *output* of a text and
system, *reading* of a text and reviewer, *reviewer*, *taste* of a reviewer and system. Outputs and readings lie within
texts, so but for reviewers and tastes the covariance matrix falls apart into small blocks, one a text; these two are
few and are added by the matrix inversion lemma. The general-purpose MixedLM of statsmodels fits the same model with
matrices of all ratings by all effects, which takes seconds for 60 texts and cannot be done for a thousand; tests
compare with it, and with published fits of lme4 and nlme.

Source: Patterson & Thompson, Biometrika 58 (1971); Bates, Maechler, Bolker & Walker, Journal of Statistical Software
67:1 (2015), section 3.4, for the profiled criterion.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import optimize, sparse

from evaluation.analysis.ratings import Floats, Ratings

ITEM, OUTPUT, READING, REVIEWER, TASTE = "item", "output", "reading", "reviewer", "taste"
NEGLIGIBLE = 1e-4  # of the residual variance: an estimate of zero
MAX_EFFECTS = 1_500  # of reviewers and tastes: their matrix is dense
MAX_CELLS = 50_000_000  # readings by effects of reviewers and tastes, as numbers in memory
MAX_RATIO = 1e4  # of a component's variance to the residual's


class TooLarge(Exception):
    """More effects than fit into memory and a minute."""


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted model.

    coefficients: shape (p,); covariance: theirs, shape (p, p). variances: of each component, by name, 0 where the
    estimate lies on the border. residual: its variance. criterion: minus twice the restricted log likelihood, with all
    constants. converged: whether the optimiser found the minimum. saturated: whether the effects leave next to nothing
    to the residual, so that no figure of this fit means anything.
    """

    coefficients: Floats
    covariance: Floats
    variances: dict[str, float]
    residual: float
    criterion: float
    converged: bool
    saturated: bool
    _model: "_Model"

    def df(self, contrast: Floats) -> float:
        """Satterthwaite's degrees of freedom of `contrast @ coefficients`, by derivatives of its variance.

        Source: Giesbrecht & Burns, Biometrics 41 (1985); Kuznetsova, Brockhoff & Christensen, Journal of Statistical
            Software 82:13 (2017), whose recipe this is.
        """
        gradient = np.array([contrast @ slope @ contrast for slope in self._slopes])
        spread = 2 * float(gradient @ self._inverse_curvature @ gradient)
        variance = float(contrast @ self.covariance @ contrast)
        return 2 * variance**2 / spread if spread > 0 else np.inf

    @cached_property
    def _point(self) -> tuple[list[str], Floats]:
        """The variances above zero, the residual's last: those on the border have no derivatives."""
        names = [name for name, value in self.variances.items() if value > 0]
        return names, np.array([*(self.variances[name] for name in names), self.residual])

    def _at(self, point: Floats) -> "_Solved":
        return self._model.solve(dict(zip(self._point[0], point[:-1], strict=True)), float(point[-1]))

    @cached_property
    def _slopes(self) -> list[Floats]:
        """Derivatives of the coefficients' covariance by each variance, each of shape (p, p)."""
        at = self._point[1]
        steps = np.diag(1e-3 * at)
        return [(self._at(at + step).covariance - self._at(at - step).covariance) / (2 * step.max()) for step in steps]

    @cached_property
    def _inverse_curvature(self) -> Floats:
        at = self._point[1]
        return np.linalg.pinv(_hessian(lambda point: self._at(point).criterion, at, 1e-3 * at), hermitian=True)


def fit(ratings: Ratings, exog: Floats, components: Sequence[str]) -> Fit:
    """Fit the model.

    Args:
        exog: fixed effects, shape (n, p), of full rank. components: which of ITEM, OUTPUT, READING,
            REVIEWER, TASTE to have.
    Raises:
        TooLarge: more than 1,500 effects of reviewers and tastes, or more than 50 million of them times readings.
    """
    model = _Model(ratings, exog, components)
    names = list(components)

    def criterion(ratios: Floats) -> float:
        return model.profile(dict(zip(names, ratios, strict=True)))

    start = np.full(len(names), 0.3)
    for slopes in ("2-point", "3-point"):  # quickly near, then exactly
        best = optimize.minimize(
            criterion,
            start,
            method="L-BFGS-B",
            jac=slopes,
            bounds=[(0, MAX_RATIO)] * len(names),
            options={"maxiter": 500, "ftol": 1e-13, "gtol": 1e-7 * model.df},
        )
        start = best.x
    ratios = {name: float(ratio) if ratio > NEGLIGIBLE else 0.0 for name, ratio in zip(names, best.x, strict=True)}
    residual = model.residual(ratios)
    variances = {name: ratio * residual for name, ratio in ratios.items()}
    saturated = residual < 1e-12 or max(best.x, default=0.0) > 0.5 * MAX_RATIO
    solved = model.solve(variances, max(residual, 1e-12))
    return Fit(
        coefficients=solved.coefficients,
        covariance=solved.covariance,
        variances=variances,
        residual=residual,
        criterion=solved.criterion + model.df * float(np.log(2 * np.pi)),
        converged=bool(best.success),
        saturated=saturated,
        _model=model,
    )


@dataclass(frozen=True, eq=False)
class _Solved:
    coefficients: Floats
    covariance: Floats
    criterion: float


class _Model:
    """Cross products of the data, from which every evaluation starts."""

    def __init__(self, ratings: Ratings, exog: Floats, components: Sequence[str]) -> None:
        outputs, output = np.unique(ratings.output, return_inverse=True)
        items, item_of = np.unique(outputs // ratings.n_systems, return_inverse=True)
        n = len(ratings)
        columns = [sparse.csr_array(exog)]
        self.widths: dict[str, int] = {}
        for name, code in (
            (REVIEWER, ratings.reviewer),
            (TASTE, ratings.reviewer * ratings.n_systems + ratings.system),
        ):
            if name in components:
                codes, place = np.unique(code, return_inverse=True)
                self.widths[name] = codes.size
                columns.append(sparse.csr_array((np.ones(n), (np.arange(n), place)), shape=(n, codes.size)))
        readings, reading = np.unique(ratings.item * ratings.n_reviewers + ratings.reviewer, return_inverse=True)
        effects = sum(self.widths.values())
        if effects > MAX_EFFECTS or readings.size * (effects + exog.shape[1] + 1) > MAX_CELLS:
            raise TooLarge
        # A shift of all values changes no variance, and small numbers keep more digits.
        self.shift = float(ratings.value.mean()) if n else 0.0
        columns.append(sparse.csr_array((ratings.value - self.shift)[:, None]))
        data = sparse.hstack(columns, format="csr")
        self.exog_shift = np.linalg.lstsq(exog, np.ones(n), rcond=None)[0] * self.shift
        self.p = exog.shape[1]
        self.df = n - self.p
        self.whole = (data.T @ data).toarray()
        by_output = sparse.csr_array((np.ones(n), (output, np.arange(n))), shape=(outputs.size, n))
        sums = sparse.csr_array(by_output @ data)
        dense = sums.shape[0] * sums.shape[1] < 100_000
        self.sums: Any = sums.toarray() if dense else sums
        self.n_in = np.bincount(output).astype(float)
        self.item_of = item_of
        self.n_items = items.size
        if READING in components:
            by_reading = sparse.csr_array((np.ones(n), (reading, np.arange(n))), shape=(readings.size, n))
            self.reading_sums = (by_reading @ data).toarray()
            self.n_read = np.bincount(reading).astype(float)
            # Which outputs a reading saw; and its text, and its place among the readings of that text.
            self.saw = sparse.csr_array((np.ones(n), (reading, output)), shape=(readings.size, outputs.size))
            self.saw_by = sparse.csr_array(self.saw.T)
            codes, self.read_of = np.unique(readings // ratings.n_reviewers, return_inverse=True)
            first = np.searchsorted(self.read_of, np.arange(codes.size))
            self.read_place = np.arange(readings.size) - first[self.read_of]
        self.nest: Any = sparse.csr_array(
            (np.ones(outputs.size), (item_of, np.arange(outputs.size))), shape=(items.size, outputs.size)
        )

    def _products(self, ratios: dict[str, float]) -> tuple[Floats, float] | None:
        """data' V^-1 data and log |V|, V in units of the residual variance; None where V is no covariance matrix."""
        of_output, of_item = ratios.get(OUTPUT, 0.0), ratios.get(ITEM, 0.0)
        grown = 1 + of_output * self.n_in
        weight = np.bincount(self.item_of, weights=self.n_in / grown, minlength=self.n_items)
        grown_item = 1 + of_item * weight
        if grown.min() <= 0 or grown_item.min() <= 0:
            return None
        product = self.whole
        if of_output:
            product = product - _weighted(self.sums, of_output / grown)
        item_sums = self.nest @ _scaled(1 / grown, self.sums)
        if of_item:
            product = product - _weighted(item_sums, of_item / grown_item)
        log_det = float(np.log(grown).sum() + np.log(grown_item).sum())
        if of_reading := ratios.get(READING, 0.0):
            less, det = self._readings(of_reading, of_output / grown, of_item / grown_item, 1 / grown, item_sums)
            product = product - less
            log_det += det
        if not self.widths:
            return product, log_det
        ratio = np.concatenate([np.full(width, ratios.get(name, 0.0)) for name, width in self.widths.items()])
        u = slice(self.p, self.p + ratio.size)
        inner = np.eye(ratio.size) + ratio[:, None] * product[u, u]
        sign, inner_det = np.linalg.slogdet(inner)
        if sign <= 0:
            return None
        fixed = np.r_[0 : self.p, self.p + ratio.size]
        cross = product[u][:, fixed]
        rest = product[np.ix_(fixed, fixed)] - cross.T @ np.linalg.solve(inner, ratio[:, None] * cross)
        return rest, log_det + float(inner_det)

    def _readings(
        self, ratio: float, by_output: Floats, by_item: Floats, share: Floats, item_sums: Any
    ) -> tuple[Floats, float]:
        """What readings take from the cross products and add to the determinant, by the lemma within each text."""
        weight = self.saw @ share  # indicator of the reading times inverse times ones
        cross = self.reading_sums - _dense(self.saw @ _scaled(by_output, self.sums))
        cross = cross - (by_item[self.read_of] * weight)[:, None] * _dense(item_sums)[self.read_of]
        size = int(self.read_place.max()) + 1
        inner = np.zeros((self.n_items, size, size))
        both = (self.saw @ _scaled(by_output, self.saw_by)).tocoo()
        inner[self.read_of[both.row], self.read_place[both.row], self.read_place[both.col]] = -both.data
        inner[self.read_of, self.read_place, self.read_place] += self.n_read
        weights = np.zeros((self.n_items, size))
        weights[self.read_of, self.read_place] = weight
        inner -= by_item[:, None, None] * weights[:, :, None] * weights[:, None, :]
        inner = np.eye(size) + ratio * inner
        padded = np.zeros((self.n_items, size, cross.shape[1]))
        padded[self.read_of, self.read_place] = cross
        solved = np.linalg.solve(inner, padded)
        width = cross.shape[1]
        less = ratio * (padded.reshape(-1, width).T @ solved.reshape(-1, width))
        return less, float(np.linalg.slogdet(inner)[1].sum())

    def _solution(self, ratios: dict[str, float]) -> tuple[Floats, Floats, float, float] | None:
        """Coefficients, inverse of X' V^-1 X, residual sum of squares and log |V| + log |X' V^-1 X|."""
        found = self._products(ratios)
        if found is None:
            return None
        product, log_det = found
        gram, right, square = product[:-1, :-1], product[:-1, -1], float(product[-1, -1])
        sign, gram_det = np.linalg.slogdet(gram)
        if sign <= 0:
            return None
        inverse = np.linalg.inv(gram)
        coefficients = inverse @ right
        rss = max(square - float(right @ coefficients), 0.0)
        return coefficients, inverse, rss, log_det + float(gram_det)

    def profile(self, ratios: dict[str, float]) -> float:
        """The criterion at the best residual variance for these ratios, less its constants."""
        found = self._solution(ratios)
        if found is None or found[2] <= 0:
            return 1e30
        return found[3] + self.df * float(np.log(found[2]))

    def residual(self, ratios: dict[str, float]) -> float:
        found = self._solution(ratios)
        return found[2] / self.df if found else 0.0

    def solve(self, variances: dict[str, float], residual: float) -> _Solved:
        found = self._solution({name: value / residual for name, value in variances.items()})
        if found is None:
            raise ValueError("these are no variances")
        coefficients, inverse, rss, log_det = found
        criterion = log_det + self.df * float(np.log(residual)) + rss / residual
        return _Solved(coefficients + self.exog_shift, inverse * residual, criterion)


def _weighted(sums: Any, weights: Floats) -> Floats:
    return _dense(sums.T @ _scaled(weights, sums))


def _scaled(weights: Floats, rows: Any) -> Any:
    """Each row times its weight; much quicker than a product with a diagonal matrix, which has to be made."""
    if isinstance(rows, np.ndarray):
        return weights[:, None] * rows
    data = rows.data * np.repeat(weights, np.diff(rows.indptr))
    return sparse.csr_array((data, rows.indices, rows.indptr), shape=rows.shape)


def _dense(matrix: Any) -> Floats:
    return matrix if isinstance(matrix, np.ndarray) else matrix.toarray()


def _hessian(function: Any, at: Floats, step: Floats) -> Floats:
    size = at.size
    found = np.empty((size, size))
    steps = np.diag(step)
    middle = function(at)
    for i in range(size):
        found[i, i] = (function(at + steps[i]) - 2 * middle + function(at - steps[i])) / step[i] ** 2
        for j in range(i):
            corners = sum(
                one * other * function(at + one * steps[i] + other * steps[j]) for one in (1, -1) for other in (1, -1)
            )
            found[i, j] = found[j, i] = corners / (4 * step[i] * step[j])
    return found
