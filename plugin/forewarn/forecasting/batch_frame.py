"""The basis of a window of buckets, kept for the next windows of the same shape.

Owns: counting the waves of a window from its own beginning, so that a window that has moved on (the next refit, the other
slots of a fleet) has the same columns, Gram and eigenvectors, and turning their coefficients to civil time. Fits nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from forewarn.detector import DAY
from forewarn.forecast import ModelSpec
from forewarn.forecasting.batch_statistics import Basis
from forewarn.forecasting.civil_time import civil_days, offsets
from forewarn.forecasting.design_matrix import changepoint_rows, fourier_columns, instants, prior_scales, seasonal_columns
from forewarn.series import Float, TimeGrid

_KEPT: Final = 4
"""Bases that are kept: one for most detectors of a service, whose windows have equal lengths."""
_LARGEST: Final = 1 << 19
"""Values of the largest design matrix that is kept (4 MB)."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """The design matrix of the buckets of `grid`; its hinges begin at the buckets `places` [D]."""

    basis: Basis
    places: NDArray[np.int64]
    _turn: NDArray[np.complex128] | None
    """For each wave e^(i phase) at the first bucket; None: the columns are those of civil time already."""

    @classmethod
    def of(cls, grid: TimeGrid, layout: Mapping[str, Any], spec: ModelSpec) -> "Frame":
        """The frame of a window for the seasonalities and holidays of `layout`.

        Where clocks change in it, or holidays lie in it, its columns are its own. Otherwise the waves of another origin span
        the same columns, and their priors are the same in every direction: the optimum is the same one, turned.
        """
        at = instants(grid)
        linear = spec.growth == "linear"
        shift = offsets(at, layout["timezone"])
        if layout["holidays"]["names"] or (shift != shift[0]).any():
            X, scales = seasonal_columns(at, layout), prior_scales(layout, spec)
            return cls(*_basis(X, scales, spec.n_changepoints if linear else None, spec.changepoint_prior_scale), None)
        waves = tuple((float(s["period"]), int(s["order"])) for s in layout["seasonalities"])
        shape = (
            grid.size, grid.step, waves, spec.n_changepoints if linear else None,
            spec.changepoint_prior_scale, spec.seasonality_prior_scale,
        )  # fmt: skip
        columns = 2 + 2 * sum(order for _, order in waves) + spec.n_changepoints
        found = _from_its_beginning if grid.size * columns <= _LARGEST else _from_its_beginning.__wrapped__
        first = fourier_columns(civil_days(at[:1], layout["timezone"]), layout["seasonalities"])[0]
        return cls(*found(*shape), first[1::2] + 1j * first[::2])

    def beta(self, theta: Float) -> Float:
        """The coefficients [S, K] of the seasonal columns of civil time, of `theta` [S, P]."""
        basis = self.basis
        beta = theta[:, basis.R - basis.K : basis.R].copy()
        if self._turn is not None and beta.size:
            sine, cosine = beta[:, ::2].copy(), beta[:, 1::2].copy()
            beta[:, ::2] = sine * self._turn.real + cosine * self._turn.imag
            beta[:, 1::2] = cosine * self._turn.real - sine * self._turn.imag
        return beta


@lru_cache(maxsize=_KEPT)
def _from_its_beginning(
    size: int, step: int, waves: tuple[tuple[float, int], ...], changes: int | None, tau: float, scale: float
) -> tuple[Basis, NDArray[np.int64]]:
    """The basis of `size` buckets of `step` ms whose waves (period in days, order) begin with the first of them."""
    days = np.arange(size, dtype=np.float64) * step / DAY
    X = fourier_columns(days, [{"period": period, "order": order} for period, order in waves])
    return _basis(X, np.full(X.shape[1], scale), changes, tau)


def forget() -> None:
    """Keeps no basis any more."""
    _from_its_beginning.cache_clear()


def _basis(X: Float, scales: Float, changes: int | None, tau: float) -> tuple[Basis, NDArray[np.int64]]:
    """The basis of the columns X [T, K] and at most `changes` changepoints (None: flat growth), and the buckets of those."""
    T = len(X)
    t = np.arange(T) / float(max(1, T - 1))
    places = changepoint_rows(T, changes) if changes is not None else np.zeros(0, dtype=np.int64)
    return Basis.of(t if changes is not None else None, X, t[places], scales, tau), places
