"""Prophet's posterior mode for many series at once, from their statistics alone.

Owns: the outer loop on v = sigma^2 (closed form given the coefficients, secant steps on log v) around the lasso that
remains for the changepoints once the ridge variables are eliminated. Does not know times, keys or units: everything is
in scaled values. The mode is that of Stan's `optimize` without Jacobian, so an optimum here is never below Stan's.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from forewarn.forecasting.batch_lasso import Bool, Index, lasso
from forewarn.forecasting.batch_statistics import Basis, Statistics
from forewarn.series import Float

ROUNDS: Final = 60
"""Rounds on v; 8 is the most that was ever needed with secant steps, 39 without."""
TOLERANCE: Final = 1e-6
"""Relative change of v at which it is settled: the objective is flat there, 1e-6 costs about 1e-9 nats."""
LEAST_V: Final = 1e-18
"""sigma >= 1e-9, as in Prophet's constant series."""
_LEAST_SSE: Final = 1e-14
"""Share of y'y below which the residual sum of squares is round-off: the posterior of a noise-free series is unbounded."""
_REGULAR: Final = 1e-13
"""Least ridge of a Gram with gaps, as a share of its first entry (the number of values)."""
_ROUND_OFF: Final = 3e-12
"""Share of a hinge's own square that round-off may leave of it once the ridge variables have explained it whole."""
GROUP: Final = 1024
"""Series that move in lockstep: their matrices (5 kB each) stay in the outer cache."""


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """The posterior modes of S series: `theta` [S, P] (m, k, beta, delta; m includes the centre again), sigma^2 = `v` [S].

    `converged` is False where the series was not usable or the iteration did not settle; theta is finite either way.
    """

    theta: Float
    v: Float
    converged: Bool
    rounds: int

    def take(self, rows: Index) -> "Solution":
        """The solutions of these rows."""
        return Solution(self.theta[rows], self.v[rows], self.converged[rows], self.rounds)


def solve(basis: Basis, statistics: Statistics, warm: Solution | None = None) -> Solution:
    """The posterior modes of all series of `statistics`; `warm` starts from an earlier solution (the optimum is the same)."""
    S = len(statistics.n)
    theta = np.zeros((S, basis.R + basis.D))
    theta[:, 0] = statistics.centre
    v = np.full(S, LEAST_V)
    converged = np.zeros(S, dtype=np.bool_)
    rounds = 0
    usable = np.flatnonzero(statistics.usable)
    for first in range(0, len(usable), GROUP):
        rows = usable[first : first + GROUP]
        start = None if warm is None else (warm.theta[rows], warm.v[rows])
        group = _Group(basis, statistics if len(rows) == S else statistics.take(rows), start)
        rounds = max(rounds, group.run())
        theta[rows], v[rows], converged[rows] = group.theta, group.v, group.converged
        theta[rows, 0] += statistics.centre[rows]
    return Solution(theta, v, converged, rounds)


def profiled_v(sse: Float, n: Float) -> Float:
    """The sigma^2 that maximises the posterior given a residual sum of squares: root of 4 v^2 + n v - SSE = 0."""
    return np.maximum(2 * sse / (n + np.sqrt(n * n + 16 * sse)), LEAST_V)


class _Group:
    """Series in lockstep; rows leave the working set as they converge."""

    def __init__(self, basis: Basis, statistics: Statistics, start: tuple[Float, Float] | None) -> None:
        self.basis = basis
        self.statistics = statistics
        S = len(statistics.n)
        self.theta = np.zeros((S, basis.R + basis.D))
        self.converged = np.zeros(S, dtype=np.bool_)
        self._x = np.zeros((S, basis.D + 1))
        if start is None:
            # From v = y'y/n, not from 0: with aliased columns the ridge block is singular without its prior.
            ridge = _reduced(basis, statistics, np.maximum(statistics.yy / statistics.n, LEAST_V))
            self.v = _settled(basis, statistics, ridge.expand(self._x))
        else:
            self._x[:, : basis.D] = start[0][:, basis.R :]
            self.v = np.maximum(start[1], LEAST_V)

    def run(self) -> int:
        """Iterates until every series is settled or has failed; returns the number of rounds."""
        live, statistics = np.arange(len(self.v)), self.statistics
        x, log_v = self._x, np.log(self.v)
        sign = np.sign(x)
        before = np.full((2, len(live)), np.nan)  # log v and its image in the round before
        rounds = 0
        while len(live) and rounds < ROUNDS:
            rounds += 1
            v = np.exp(log_v)
            reduced = _reduced(self.basis, statistics, v)
            solved = lasso(reduced.Q, reduced.c, v / self.basis.tau, x, sign, reduced.gradient, reduced.least)
            theta = reduced.expand(x)
            image = _settled(self.basis, statistics, theta)
            finite = np.isfinite(image)
            settled = np.abs(image - v) <= TOLERANCE * image
            self.theta[live] = theta
            self.v[live] = np.where(finite, image, LEAST_V)
            self.converged[live] = settled & solved
            log_v, before = _secant(log_v, np.log(np.where(finite, image, 1.0)), before)
            going = np.flatnonzero(finite & solved & ~settled)
            if len(going) < len(live):
                live, statistics = live[going], statistics.take(going)
                x, sign, log_v, before = x[going], sign[going], log_v[going], before[:, going]
        self.theta[~np.isfinite(self.theta).all(axis=1)] = 0.0
        return rounds


def _reduced(basis: Basis, statistics: Statistics, v: Float) -> "_Shared | _Masked":
    if statistics.grams is None:
        return _Shared(basis, statistics, v)
    return _Masked(basis, statistics, v, statistics.grams)


def _settled(basis: Basis, statistics: Statistics, theta: Float) -> Float:
    """The profiled v of `theta` [n, P]."""
    grams = statistics.grams
    image: Float = theta @ basis.G if grams is None else np.matmul(grams, theta[:, :, None])[:, :, 0]
    sse = statistics.yy - np.einsum("np,np->n", 2 * statistics.b - image, theta)
    return profiled_v(np.maximum(sse, _LEAST_SSE * statistics.yy), statistics.n)


def _secant(log_v: Float, image: Float, before: Float) -> tuple[Float, Float]:
    """The next log v, and what the next call needs: the map v -> v(SSE) is nearly linear in log v and contracts slowly."""
    with np.errstate(divide="ignore", invalid="ignore"):
        rho = (image - before[1]) / (log_v - before[0])
        ahead = log_v + (image - log_v) / (1 - rho)
    following = np.where((rho > 0) & (rho < 0.97), ahead, image)
    return np.maximum(following, np.log(LEAST_V)), np.stack([log_v, image])


def _ridge_rhs(basis: Basis, statistics: Statistics, v: Float) -> Float:
    """The right-hand side of the ridge variables; the prior holds the whole of m, of which the centre has been taken out."""
    rhs = statistics.b[:, : basis.R].copy()
    rhs[:, 0] -= v * basis.penalty[0] * statistics.centre
    return rhs


class _Shared:
    """The lasso that remains at `v` for complete series: one eigen-decomposition serves all of them and every v."""

    def __init__(self, basis: Basis, statistics: Statistics, v: Float) -> None:
        self._basis = basis
        D, W = basis.D, basis.D + 1
        self.least = _ROUND_OFF * basis.Gdd.diagonal()
        self._w = 1.0 / (basis.d + v[:, None])
        self._u = _ridge_rhs(basis, statistics, v) @ basis.V
        self.Q = (basis.Gdd.reshape(-1) - self._w @ basis.products).reshape(-1, W, W)
        self.c = -(self._w * self._u) @ basis.M.T
        self.c[:, :D] += statistics.b[:, basis.R :]

    def gradient(self, rows: Index, x: Float) -> Float:
        """The gradient c - Qx, [n, W]."""
        basis = self._basis
        return self.c[rows] - x @ basis.Gdd + ((x @ basis.M) * self._w[rows]) @ basis.M.T

    def expand(self, x: Float) -> Float:
        """All coefficients theta [n, P] for deltas `x` [n, W]."""
        basis = self._basis
        ridge = (self._w * (self._u - x @ basis.M)) @ basis.V.T
        return np.hstack([ridge, x[:, : basis.D]])


class _Masked:
    """The lasso that remains at `v` for series with gaps: each has its own Gram, which is factored at each v."""

    def __init__(self, basis: Basis, statistics: Statistics, v: Float, grams: Float) -> None:
        R, D, W = basis.R, basis.D, basis.D + 1
        n = len(v)
        block = grams[:, :R, :R].copy()
        # With fewer values than columns only the prior keeps the block regular; far below float64 it cannot.
        block[:, np.arange(R), np.arange(R)] += np.maximum(v[:, None] * basis.penalty, _REGULAR * grams[:, :1, 0])
        both = np.empty((n, R, W))
        both[:, :, :D] = grams[:, :R, R:]
        both[:, :, D] = _ridge_rhs(basis, statistics, v)
        self._solved = np.asarray(np.linalg.solve(block, both), dtype=np.float64)
        coupling = np.ascontiguousarray(grams[:, R:, :R])
        away = np.matmul(coupling, self._solved)
        self.Q = np.zeros((n, W, W))
        self.Q[:, :D, :D] = grams[:, R:, R:] - away[:, :, :D]
        self.Q[:, D, D] = 1.0
        self.least = np.full((n, W), _ROUND_OFF)
        self.least[:, :D] *= np.einsum("nii->ni", grams)[:, R:]
        self.c = np.zeros((n, W))
        self.c[:, :D] = statistics.b[:, R:] - away[:, :, D]
        self._D = D

    def gradient(self, rows: Index, x: Float) -> Float:
        """The gradient c - Qx, [n, W]."""
        Q = self.Q if len(rows) == len(self.Q) else self.Q[rows]
        image: Float = np.matmul(Q, x[:, :, None])[:, :, 0]
        return self.c[rows] - image

    def expand(self, x: Float) -> Float:
        """All coefficients theta [n, P] for deltas `x` [n, W]."""
        deltas = x[:, : self._D]
        ridge = self._solved[:, :, self._D] - np.matmul(self._solved[:, :, : self._D], deltas[:, :, None])[:, :, 0]
        return np.hstack([ridge, deltas])
