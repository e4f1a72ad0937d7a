"""What the batch solver needs to know of a design matrix and of each series: Grams, moments, scales.

Owns: Basis (once per grid, shared by every series on it) and Statistics (a few dozen numbers per series, from which a
fit needs no point of the series again). Does not solve anything and knows neither keys nor dates.
Source of the formulas: Prophet's model (Taylor and Letham, 2018) with sigma profiled out; T, S, P, R, D as below.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from forewarn.series import Float

Bool = NDArray[np.bool_]

_BLOCK: Final = 32
"""Rows of a block Gram: a gap costs one product per whole block and one row operation per point of a broken block."""

_TREND_SCALE: Final = 5.0
"""Prophet's prior k, m ~ Normal(0, 5)."""


@dataclass(frozen=True, eq=False)
class Basis:
    """A design matrix Z [T, P] = [ridge columns (R), hinges (D)] and everything that all series on it share.

    Ridge columns are m, then k (unless growth is flat), then the seasonal columns; `penalty` [R] holds 1/scale^2 of their
    normal priors and `tau` the scale of the Laplace prior of the hinges' deltas. `d`, `V` diagonalise the ridge block:
    (Grr + v L)^-1 = V diag(1/(d+v)) V' for every v at once. Arrays with an axis W = D + 1 carry one dummy variable that
    is uncoupled, has curvature 1 and gradient 0: ragged active sets are padded with it.
    """

    Z: Float
    R: int
    D: int
    K: int
    penalty: Float
    tau: float
    G: Float
    d: Float
    V: Float
    M: Float
    """[W, R]: hinges against the eigenvectors; the dummy's row is 0."""
    Gdd: Float
    """[W, W]."""
    products: Float
    """[R, W * W]: M[i, r] M[j, r], so that Q(v) = Gdd - sum_r products[r] / (d_r + v)."""

    @cached_property
    def blocks(self) -> Float:
        """Grams of blocks of 32 rows, [T // 32, P * P]; only series with gaps need them."""
        T, P = self.Z.shape
        whole = self.rows[: T // _BLOCK * _BLOCK].reshape(-1, _BLOCK, P)
        grams: Float = np.matmul(whole.transpose(0, 2, 1), whole)
        return grams.reshape(-1, P * P)

    @cached_property
    def rows(self) -> Float:
        """Z once more, with the columns of each bucket side by side: what single buckets are gathered from."""
        return np.ascontiguousarray(self.Z)

    @classmethod
    def of(cls, t: Float | None, X: Float, s: Float, scales: Float, tau: float) -> "Basis":
        """The basis of m, k, the seasonal columns `X` [T, K] (prior deviations `scales` [K]) and hinges at `s` [D].

        `t` [T] is the scaled time; None for flat growth, which has neither k nor hinges.
        """
        T, K = X.shape
        trend = 1 if t is None else 2
        R, D = trend + K, 0 if t is None else len(s)
        columns = np.empty((R + D, T))
        columns[0] = 1.0
        columns[trend:R] = X.T
        if t is not None:
            columns[1] = t
            np.subtract(t, s[:, None], out=columns[R:])
            np.maximum(columns[R:], 0.0, out=columns[R:])
        Z = columns.T
        penalty = 1.0 / np.square(np.concatenate([np.full(trend, _TREND_SCALE), scales]))
        return cls._prepared(Z, R, D, K, penalty, tau)

    def head(self, T: int) -> "Basis":
        """The basis of the first T rows alone."""
        if T not in self._heads:
            self._heads[T] = self._prepared(self.Z[:T], self.R, self.D, self.K, self.penalty, self.tau)
        return self._heads[T]

    @cached_property
    def _heads(self) -> "dict[int, Basis]":
        """By their lengths: all fits on a basis leave equally much of its end for later."""
        return {}

    @classmethod
    def _prepared(cls, Z: Float, R: int, D: int, K: int, penalty: Float, tau: float) -> "Basis":
        G: Float = Z.T @ Z
        root = 1.0 / np.sqrt(penalty)
        d, U = np.linalg.eigh(G[:R, :R] * root[:, None] * root)
        V = root[:, None] * U
        M = np.zeros((D + 1, R))
        M[:D] = G[R:, :R] @ V
        Gdd = np.eye(D + 1)
        Gdd[:D, :D] = G[R:, R:]
        products = (M.T[:, :, None] * M.T[:, None, :]).reshape(R, -1)
        # Round-off makes the smallest eigenvalues of a singular block slightly negative; v may be smaller than that.
        return cls(Z, R, D, K, penalty, tau, G, np.maximum(d, 0.0), V, M, Gdd, products)

    def grams(self, observed: Bool) -> Float:
        """Z'Z over the observed rows only, [S, P, P], for `observed` [S, T]; rows with equal masks are computed once."""
        number: dict[bytes, int] = {}
        # An outage of the source leaves the same gap in every series.
        which = [number.setdefault(mask.tobytes(), len(number)) for mask in np.packbits(observed, axis=1)]
        if len(number) == len(observed):
            return self._grams(observed)
        first = np.unique(which, return_index=True)[1]
        return self._grams(observed[first])[which]

    def _grams(self, observed: Bool) -> Float:
        S, T = observed.shape
        P = len(self.G)
        edge = T // _BLOCK * _BLOCK
        # A block that lost more than half of its rows is taken out whole and its remaining rows are put back.
        lost = observed[:, :edge].reshape(S, -1, _BLOCK).sum(axis=2) < _BLOCK // 2
        out = np.broadcast_to(self.G.reshape(-1), (S, P * P)).copy()
        holed = np.flatnonzero(lost.any(axis=1))
        if len(holed):
            out[holed] -= lost[holed].astype(np.float64) @ self.blocks
        out = out.reshape(S, P, P)
        taken = np.zeros((S, T), dtype=np.bool_)
        taken[:, :edge] = np.repeat(lost, _BLOCK, axis=1)
        for sign, rows in ((-1.0, ~taken & ~observed), (1.0, taken & observed)):
            for s in np.flatnonzero(rows.any(axis=1)).tolist():
                part = self.rows[rows[s]]
                out[s] += sign * (part.T @ part)
        return out


@dataclass(frozen=True, slots=True, eq=False)
class Statistics:
    """All that a fit needs to know of S series: counts, scales and moments of the centred, scaled values.

    Scaled values are (y - floor) / scale; `centre` is their mean, which was subtracted before `b` = Z'y [S, P] and
    `yy` = y'y were taken (that keeps the residual sum of squares accurate); missing points count as 0 there.
    `grams` [S, P, P] are the Grams over the observed rows, None when no value of any series is missing.
    `usable` is False where there is nothing to optimise: fewer than two values, all values equal (`constant`), or a range
    that float64 cannot hold.
    """

    n: Float
    floor: Float
    scale: Float
    centre: Float
    b: Float
    yy: Float
    grams: Float | None
    usable: Bool
    constant: Bool

    @classmethod
    def concat(cls, parts: Sequence["Statistics"]) -> "Statistics":
        """The statistics of all parts, which either all have gaps or all have none."""
        if len(parts) == 1:
            return parts[0]
        grams = None if parts[0].grams is None else np.concatenate([p.grams for p in parts if p.grams is not None])
        names = ("n", "floor", "scale", "centre", "b", "yy")
        whole = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
        flags = {name: np.concatenate([getattr(part, name) for part in parts]) for name in ("usable", "constant")}
        return cls(**whole, grams=grams, **flags)

    def take(self, rows: NDArray[np.int64]) -> "Statistics":
        """The statistics of these rows."""
        return Statistics(
            self.n[rows], self.floor[rows], self.scale[rows], self.centre[rows], self.b[rows], self.yy[rows],
            None if self.grams is None else self.grams[rows], self.usable[rows],
            self.constant[rows],
        )  # fmt: skip


def statistics(values: Float, basis: Basis, scaling: str) -> Statistics:
    """The statistics of `values` [S, T], NaN = missing; `scaling` is `minmax` or `absmax`, as in Prophet.

    Either all rows are complete, or all are treated as having gaps (their Grams are computed): the caller keeps the two
    kinds apart, since complete rows share their Gram.
    """
    S, T = values.shape
    n = np.full(S, float(T))
    observed = None
    with np.errstate(over="ignore", invalid="ignore"):
        total = values.sum(axis=1)
        filled = values
        if not np.isfinite(total).all():
            observed = ~np.isnan(values)
            n = observed.sum(axis=1).astype(np.float64)
            filled = np.where(observed, values, 0.0)
            total = filled.sum(axis=1)
            low = np.where(observed, values, np.inf).min(axis=1, initial=np.inf)
            high = np.where(observed, values, -np.inf).max(axis=1, initial=-np.inf)
        else:
            low, high = values.min(axis=1), values.max(axis=1)
        empty = n == 0
        low, high = np.where(empty, 0.0, low), np.where(empty, 0.0, high)
        mean = np.where(empty, 0.0, total / np.maximum(n, 1.0))
        floor = low if scaling == "minmax" else np.zeros(S)
        scale = high - low if scaling == "minmax" else np.maximum(np.abs(low), np.abs(high))
        usable = (n >= 2) & (high > low) & np.isfinite(scale) & np.isfinite(mean)
        scale = np.where((scale > 0) & np.isfinite(scale), scale, 1.0)
        mean = np.where(usable, mean, low)
        centre = (mean - floor) / scale
        y = filled - mean[:, None]
        y /= scale[:, None]
    if observed is not None:
        y[~observed] = 0.0
    y[~usable] = 0.0
    grams = None if observed is None else basis.grams(observed)
    return Statistics(n, floor, scale, centre, y @ basis.Z, np.einsum("st,st->s", y, y), grams, usable, low == high)
