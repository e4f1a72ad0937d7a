"""Multiplicative seasonality: the posterior mode of trend * (1 + seasonal part), by Gauss-Newton around the batch solver.

Owns: the linearised problem of each step (a Gram of its own for every series) and the search along it, on the true objective.
The problem is not convex: the mode found is the one that lies below the additive fit. Does not know times, keys or units.
"""

from typing import Final

import numpy as np

from forewarn.forecasting.batch_lasso import Bool, Index
from forewarn.forecasting.batch_solver import Solution, profiled_v, solve
from forewarn.forecasting.batch_statistics import Basis, Statistics
from forewarn.series import Float

_STEPS: Final = 100
"""Steps; 4 or 5 are usual, 51 is the most that was ever seen."""
_GAIN: Final = 1e-10
"""A step that gains less than this, relative to the objective, is the last one."""
_SHARES: Final = (1.0, 0.5, 2.0, *(0.5**n for n in range(2, 13)))
_ALWAYS: Final = 3
"""Shares of a step that are tried: the first ones always (full steps may go to and fro across a valley, or creep along it),
the others while the objective does not fall.
"""
_CELLS: Final = 1 << 21
"""Cells of the Jacobians that are in memory at once (16 MB)."""
_LEAST_TREND: Final = 0.05
"""Least mean of the scaled trend that the waves of the additive fit are divided by."""
_LEAST_SSE: Final = 1e-14


def expected(basis: Basis, theta: Float, columns: Float) -> Float:
    """The scaled values [S, T] that `theta` [S, P] gives on `columns` [T, P], rows of the design matrix."""
    trend, seasonal = _parts(basis, theta, columns)
    trend *= 1.0 + seasonal
    return trend


def rescaled(basis: Basis, theta: Float, ratio: Float) -> Float:
    """`theta` [S, P] for values of which one unit is `ratio` [S] units: seasonality is a share and stays as it is."""
    scaled = theta * ratio[:, None]
    scaled[:, basis.R - basis.K : basis.R] = theta[:, basis.R - basis.K : basis.R]
    return scaled


def solve_products(basis: Basis, y: Float, statistics: Statistics, warm: Solution | None) -> Solution:
    """The posterior modes for scaled values `y` [S, T] (NaN = missing) with these statistics, from `warm` or cold."""
    start = warm
    if start is None:
        additive = solve(basis, statistics)
        start = Solution(_as_shares(basis, additive.theta), additive.v, additive.converged, additive.rounds)
    rows = np.flatnonzero(statistics.usable & start.converged)
    descent = _Descent(basis, y[rows], statistics.n[rows], start.theta[rows])
    steps = descent.run()
    theta, v, converged = start.theta.copy(), start.v.copy(), np.zeros(len(y), dtype=np.bool_)
    theta[rows], v[rows], converged[rows] = descent.theta, descent.v, descent.converged
    return Solution(theta, v, converged, steps)


def _parts(basis: Basis, theta: Float, columns: Float) -> tuple[Float, Float]:
    """The trend and the seasonal part, [S, T] each."""
    first, R = basis.R - basis.K, basis.R
    trend = theta[:, :first] @ columns[:, :first].T
    if basis.D:
        trend += theta[:, R:] @ columns[:, R:].T
    return trend, theta[:, first:R] @ columns[:, first:R].T


def _as_shares(basis: Basis, theta: Float) -> Float:
    """An additive fit with its waves as shares of its mean trend."""
    first, R = basis.R - basis.K, basis.R
    mean = theta[:, :first] @ basis.Z[:, :first].mean(axis=0) + theta[:, R:] @ basis.Z[:, R:].mean(axis=0)
    size = np.maximum(np.abs(mean), _LEAST_TREND)
    shares = theta.copy()
    shares[:, first:R] /= np.where(mean < 0, -size, size)[:, None]
    return shares


class _Descent:
    """S series, each on its way down."""

    def __init__(self, basis: Basis, y: Float, n: Float, theta: Float) -> None:
        self._basis = basis
        self._columns = np.ascontiguousarray(basis.Z.T)
        self._seen = ~np.isnan(y)
        self._y = np.where(self._seen, y, 0.0)
        self._n = n
        self._least = _LEAST_SSE * np.einsum("st,st->s", self._y, self._y)
        self.theta = theta.copy()
        self.converged = np.zeros(len(y), dtype=np.bool_)
        self.v, self._value = self._objective(np.arange(len(y)), self.theta)

    def run(self) -> int:
        """Steps until no series gains any more; returns the number of steps."""
        live = np.arange(len(self.theta))
        for step in range(_STEPS):
            if not len(live):
                return step
            ahead, solved = self._step(live)
            gain = self._search(live, ahead)
            settled = gain <= _GAIN * np.maximum(1.0, np.abs(self._value[live]))
            self.converged[live[settled & solved]] = True
            live = live[~settled & solved]
        return _STEPS

    def _objective(self, rows: Index, theta: Float) -> tuple[Float, Float]:
        """sigma^2 and the negative log posterior of `theta` [n, P] at it, [n] each."""
        basis = self._basis
        left = expected(basis, theta, basis.Z)
        left -= self._y[rows]
        left[~self._seen[rows]] = 0.0
        sse = np.maximum(np.einsum("nt,nt->n", left, left), self._least[rows])
        v = profiled_v(sse, self._n[rows])
        priors = np.square(theta[:, : basis.R]) @ basis.penalty / 2 + np.abs(theta[:, basis.R :]).sum(axis=1) / basis.tau
        value: Float = self._n[rows] * np.log(v) / 2 + sse / (2 * v) + 2 * v + priors
        return v, np.where(np.isfinite(value), value, np.inf)

    def _step(self, rows: Index) -> tuple[Float, Bool]:
        """Where the modes of the problems lie that are linear at the present coefficients, [n, P]."""
        basis, P = self._basis, self._basis.R + self._basis.D
        grams, b, yy = np.empty((len(rows), P, P)), np.empty((len(rows), P)), np.empty(len(rows))
        size = max(1, _CELLS // (P * len(basis.Z)))
        for first in range(0, len(rows), size):
            part = slice(first, first + size)
            grams[part], b[part], yy[part] = self._linear(rows[part])
        n = self._n[rows]
        ones, yes = np.ones(len(rows)), np.ones(len(rows), dtype=np.bool_)
        found = Statistics(n, 0 * ones, ones, self.theta[rows, 0], b, yy, grams, yes, ~yes)
        solution = solve(basis, found, Solution(self.theta[rows], self.v[rows], yes, 0))
        return solution.theta, solution.converged

    def _linear(self, rows: Index) -> tuple[Float, Float, Float]:
        """J'J, J'w and w'w for the Jacobian J and w = residuals + J theta, over the observed values; m is left out of w, as
        the mean is elsewhere, since squares of a level would swallow the residuals.
        """
        basis, theta = self._basis, self.theta[rows]
        first, R = basis.R - basis.K, basis.R
        trend, seasonal = _parts(basis, theta, basis.Z)
        factor = 1.0 + seasonal
        seen = self._seen[rows]
        left = np.where(seen, self._y[rows] - trend * factor, 0.0)
        factor[~seen] = 0.0
        J = np.empty((len(rows), *self._columns.shape))
        np.multiply(factor[:, None], self._columns[:first], out=J[:, :first])
        np.multiply(factor[:, None], self._columns[R:], out=J[:, R:])
        np.multiply(np.where(seen, trend, 0.0)[:, None], self._columns[first:R], out=J[:, first:R])
        without_m = theta.copy()
        without_m[:, 0] = 0.0
        w = left + np.matmul(without_m[:, None], J)[:, 0]
        return np.matmul(J, J.transpose(0, 2, 1)), np.matmul(J, w[:, :, None])[:, :, 0], np.einsum("nt,nt->n", w, w)

    def _search(self, rows: Index, ahead: Float) -> Float:
        """Moves the rows to the best point on the way to `ahead` and beyond; returns what each gained."""
        before = self._value[rows]
        going, theta = np.arange(len(rows)), self.theta[rows]
        way = ahead - theta
        for number, share in enumerate(_SHARES):
            here = rows[going]
            tried = theta[going] + share * way[going]
            v, value = self._objective(here, tried)
            lower = value < self._value[here]
            down = here[lower]
            self.theta[down], self.v[down], self._value[down] = tried[lower], v[lower], value[lower]
            if number >= _ALWAYS - 1:
                going = going[self._value[rows[going]] >= before[going]]
                if not len(going):
                    break
        gained: Float = before - self._value[rows]
        return gained
