"""What is expected: specification, fitted models, calibration and forecasts.

Owns: ModelSpec, Model, Calibration, Forecast and the statuses. Values only; fitting and predicting live in `forecasting/`.
Inside models the symbols are Stan's and Prophet's: T, S, K, X, tau, k, m, delta, beta, sigma_obs.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from forewarn.detector import DAY
from forewarn.series import Float, SeriesKey, TimeGrid, read_only

OK: Final = "ok"
TOO_SHORT: Final = "too_short"
CONSTANT: Final = "constant"
STALE: Final = "stale"
NO_DATA: Final = "no_data"
NOT_CONVERGED: Final = "not_converged"
STATUSES: Final = (OK, TOO_SHORT, CONSTANT, STALE, NO_DATA, NOT_CONVERGED)

SEASONALITY: Final = ("additive", "multiplicative")

FULL_ENGINES: Final = frozenset({"stan", "batch"})
"""Engines with a full model; any other is a fallback on the way there and is refitted every hour."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What a forecaster is asked to fit; everything else it decides from the data and writes into the model's `layout`."""

    growth: str = "linear"
    timezone: str = "UTC"
    holidays: tuple[str, ...] = ()
    n_changepoints: int = 25
    changepoint_prior_scale: float = 0.05
    seasonality_prior_scale: float = 10.0
    holidays_prior_scale: float = 10.0
    scaling: str = "minmax"
    seasonality: str = "additive"
    """One of SEASONALITY: seasonal part and holidays add to the trend, or are shares of it."""
    engine: str = "auto"


@dataclass(frozen=True, eq=False)
class Model:
    """Fitted parameters of the series `keys` by one engine, in one layout.

    `arrays` maps a name to an array whose first axis is the series. `layout` is plain JSON: what the rows share
    (seasonalities, holiday dates, time zone, why this engine). `window` is [start, end) of the history that was fitted;
    `status` says per series whether the row can be trusted. Stored as arrays + JSON, never pickled.
    """

    engine: str
    keys: tuple[SeriesKey, ...]
    window: tuple[int, int]
    step: int
    layout: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]]
    status: tuple[str, ...]

    def __post_init__(self) -> None:
        S = len(self.keys)
        if len(self.status) != S or any(a.shape[:1] != (S,) for a in self.arrays.values()):
            raise ValueError(f"every array and the status of a model need one row for each of its {S} series")
        for array in self.arrays.values():
            read_only(array)

    def take(self, rows: Sequence[int]) -> "Model":
        """The same model with only these rows."""
        index = np.asarray(rows, dtype=np.int64)
        return Model(
            self.engine,
            tuple(self.keys[row] for row in rows),
            self.window,
            self.step,
            self.layout,
            {name: array[index] for name, array in self.arrays.items()},
            tuple(self.status[row] for row in rows),
        )


@dataclass(frozen=True, eq=False)
class Calibration:
    """What scoring learnt from past residuals of the series `keys`; made by scoring, stored beside the model.

    `below` and `above` [S, K] are the half-widths of the band in units of the value, one for each of K equal parts of
    the UTC day (K = 1: the same all day). `sigma` [S] is the forecast's sigma that they were calibrated at (0: unknown),
    so that the band widens where the forecast does. `arrays` is the scorer's own, one row a series.
    """

    keys: tuple[SeriesKey, ...]
    at: int
    below: Float
    above: Float
    sigma: Float
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        S = len(self.keys)
        if any(a.shape[:1] != (S,) for a in (self.below, self.above, self.sigma, *self.arrays.values())):
            raise ValueError(f"every array of a calibration needs one row for each of its {S} series")
        for array in (self.below, self.above, self.sigma, *self.arrays.values()):
            read_only(array)

    @cached_property
    def rows(self) -> dict[SeriesKey, int]:
        """The row of each key."""
        return {key: row for row, key in enumerate(self.keys)}

    def take(self, rows: Sequence[int]) -> "Calibration":
        """The same calibration with only these rows."""
        index = np.asarray(rows, dtype=np.int64)
        return Calibration(
            tuple(self.keys[row] for row in rows),
            self.at,
            self.below[index],
            self.above[index],
            self.sigma[index],
            {name: array[index] for name, array in self.arrays.items()},
        )

    def band(self, expected: Float, sigma: Float, grid: TimeGrid) -> tuple[Float, Float]:
        """The edges (lower, upper) [S, T] of the normal band around `expected` [S, T] on `grid`."""
        K = self.below.shape[1]
        part = (grid.times() % DAY) * K // DAY
        with np.errstate(invalid="ignore", divide="ignore"):
            widening = np.where(self.sigma[:, None] > 0, np.fmax(sigma / self.sigma[:, None], 1.0), 1.0)
        below, above = (np.take(side, part, axis=1) for side in (self.below, self.above))
        return expected - below * widening, expected + above * widening


@dataclass(frozen=True, eq=False)
class Forecast:
    """What is expected: `expected` and its standard deviation `sigma`, float64 [S, T]; NaN where nothing can be said.

    `status` and `engine` [S] say per series what the forecast is worth and which engine made it.
    """

    keys: tuple[SeriesKey, ...]
    grid: TimeGrid
    expected: Float
    sigma: Float
    status: tuple[str, ...]
    engine: tuple[str, ...]

    def __post_init__(self) -> None:
        shape = (len(self.keys), self.grid.size)
        if self.expected.shape != shape or self.sigma.shape != shape:
            raise ValueError(f"expected [{shape[0]}, {shape[1]}], got {self.expected.shape} and {self.sigma.shape}")
        read_only(self.expected)
        read_only(self.sigma)


def assemble(keys: Sequence[SeriesKey], grid: TimeGrid, parts: Iterable[Forecast]) -> Forecast:
    """One forecast for `keys` in their order from parts that cover some of them; where no part does: NaN, `no_data`."""
    row_of = {key: row for row, key in enumerate(keys)}
    expected = np.full((len(keys), grid.size), np.nan)
    sigma = np.full((len(keys), grid.size), np.nan)
    status, engine = [NO_DATA] * len(keys), [""] * len(keys)
    for part in parts:
        rows = np.array([row_of[key] for key in part.keys], dtype=np.int64)
        expected[rows], sigma[rows] = part.expected, part.sigma
        for row, s, e in zip(rows.tolist(), part.status, part.engine, strict=True):
            status[row], engine[row] = s, e
    return Forecast(tuple(keys), grid, expected, sigma, tuple(status), tuple(engine))
