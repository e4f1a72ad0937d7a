"""What stored parameters say about any grid: the `Predictor` port.

Owns: the forecast of every engine from a model's arrays and layout alone. Pure. The datasource imports it, so it must
not load prophet, pandas, holidays or any engine.

Every value is made by element-wise operations in a fixed order, or by products whose elements do not depend on their
place, and which of the two depends on its row and instant alone: a forecast of a bucket is the same to the last bit in
whatever block, and beside whatever other series, it is asked for.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from forewarn.detector import DAY
from forewarn.errors import ModelMismatch
from forewarn.forecast import Forecast, Model
from forewarn.forecasting.civil_time import civil_days
from forewarn.forecasting.design_matrix import instants, is_multiplicative, seasonal_columns, week_slots
from forewarn.forecasting.fixed_product import TILE, Columns, product
from forewarn.series import Float, TimeGrid

Arrays = Mapping[str, NDArray[Any]]

_CHUNK: Final = 1 << 17
"""Values computed at a time: a few planes of this size stay in the cache, and memory stays bounded."""

_FOLDED: Final = 450
"""Powers of two below which the square of a scale is far from the largest and smallest numbers, as are the variances."""
_EPOCH: Final = 18_262
"""2020-01-01, in days since 1970."""
_PARAMETERS: Final = (
    "k", "m", "changepoints", "delta", "beta", "sigma_obs", "y_floor", "y_scale", "t_start", "t_scale", "history_end",
)  # fmt: skip


def predict(model: Model, grid: TimeGrid) -> Forecast:
    """The forecast of all rows of `model` on `grid`, which may have any step and lie before, in or after the fit.

    `expected` and `sigma` are NaN for rows without a model. `sigma` is the standard deviation of the noise, for full
    models together with that of future changes of the trend, counted from the end of the row's history; it depends on
    the time alone, not on the grid. Raises ModelMismatch for a model of an unknown engine or without its parameters.
    """
    engine = _ENGINES.get(model.engine)
    if engine is None:
        raise ModelMismatch(f"models of the engine {model.engine!r} are unknown to this version")
    S, T = len(model.keys), grid.size
    expected, sigma = np.empty((S, T)), np.empty((S, T))
    if S and T:
        try:
            engine(model, instants(grid), expected, sigma)
        except KeyError as error:
            raise ModelMismatch(f"a model of the engine {model.engine!r} lacks {error}") from error
    return Forecast(model.keys, grid, expected, sigma, model.status, (model.engine,) * S)


def _prophet(model: Model, at: Float, expected: Float, sigma: Float) -> None:
    prepared = _PREPARED.get(model)
    if prepared is None:
        prepared = _PREPARED[model] = _Prepared(model)
    slots = None
    if "profile" in model.arrays:
        slots = week_slots(civil_days(at, model.layout["timezone"]), model.arrays["profile"].shape[1])
    X = seasonal_columns(at, model.layout)
    values = (_Products if is_multiplicative(model.layout) else _Sums)(prepared, X, at)
    rows = TILE * max(1, _CHUNK // at.size // TILE)
    for first in range(0, len(model.keys), rows):
        part = slice(first, first + rows)
        values.write(part, expected[part])
        if slots is not None:
            expected[part] += model.arrays["profile"][part, slots]
        prepared.spread.write(part, at, sigma[part])


class _Prepared:
    """What the forecasts of a model need of its parameters whatever the grid: a model is asked again at each tick."""

    def __init__(self, model: Model) -> None:
        self.arrays = {name: model.arrays[name] for name in _PARAMETERS}
        a, growth = self.arrays, model.layout["growth"]
        shifts = _Shifts(a)
        self.trend = _Trend(a, growth, shifts)
        self.spread = _Spread.of(a, growth, model.step, shifts)
        self.coefficients = np.empty((len(a["k"]), a["beta"].shape[1] + 2))
        """Of the columns X, days and 1: the forecasts [S] behind the last changepoint, where seasonality is additive."""
        self.coefficients[:, :-2] = a["beta"]
        self.coefficients[:, -2], self.coefficients[:, -1] = self.trend.slope, self.trend.offset
        self.coefficients *= a["y_scale"][:, None]
        self.coefficients[:, -1] += a["y_floor"]


_PREPARED: Final[WeakKeyDictionary[Model, _Prepared]] = WeakKeyDictionary()
"""Models never change, and are equal only to themselves."""


class _Sums:
    """trend + X beta in units of y. Behind a row's last changepoint, where most forecasts are, the trend is a line, and so
    the forecast one product; before it, and only there, trend and seasonal part are added up.
    """

    def __init__(self, prepared: _Prepared, X: Float, at: Float) -> None:
        self._trend, self._a, self._X, self._at = prepared.trend, prepared.arrays, X, at
        self._coefficients = prepared.coefficients
        columns = np.empty((at.size, X.shape[1] + 2))
        columns[:, :-2], columns[:, -2], columns[:, -1] = X, _days(at), 1.0
        self._columns = Columns(columns)

    def write(self, part: slice, out: Float) -> None:
        """Writes the values [n, T] of a part of the rows."""
        self._columns.times(self._coefficients[part], out)
        bent = np.flatnonzero(self._trend.last[part] > self._at[0])
        if len(bent):
            rows, a = bent + part.start, self._a
            y = self._trend.of(rows, self._at)
            y += product(a["beta"][rows], self._X)
            y *= a["y_scale"][rows, None]
            y += a["y_floor"][rows, None]
            out[bent] = np.where(self._at < self._trend.last[rows, None], y, out[bent])


class _Products:
    """trend * (1 + X beta) in units of y."""

    def __init__(self, prepared: _Prepared, X: Float, at: Float) -> None:
        self._trend, self._a, self._at, self._columns = prepared.trend, prepared.arrays, at, Columns(X)

    def write(self, part: slice, out: Float) -> None:
        """Writes the values [n, T] of a part of the rows."""
        a, lines = self._a, self._trend
        self._columns.times(a["beta"][part], out)
        out += 1.0
        trend = lines.slope[part, None] * _days(self._at)
        trend += lines.offset[part, None]
        bent = np.flatnonzero(lines.last[part] > self._at[0])
        if len(bent):
            rows = bent + part.start
            trend[bent] = np.where(self._at < lines.last[rows, None], lines.of(rows, self._at), trend[bent])
        out *= trend
        out *= a["y_scale"][part, None]
        out += a["y_floor"][part, None]


def _days(at: Float) -> Float:
    """The instants in days since a day of our time: their products with slopes lose nothing that matters."""
    days: Float = at / DAY - _EPOCH
    return days


class _Shifts:
    """The shifts of the slope of S rows, of which the most are 0: `delta` [n] at the instants `change` [n] of the rows `row`
    [n], in the order of rows and, in each, of changepoints. `count` [S] is how many changepoints a row has, 0 or not.

    What is added up over them is added one by one, in that order: the sum of a row has the same bits in any company.
    """

    def __init__(self, a: Arrays) -> None:
        changes, delta = a["changepoints"], a["delta"]
        S, D = changes.shape
        self.count = np.full(S, D)
        if D and np.isnan(changes[:, -1]).any():  # the padding is last
            self.count -= np.count_nonzero(np.isnan(changes), axis=1)
        at = np.flatnonzero(delta != 0)
        self.row = at // max(1, D)
        self.delta, self.change = delta.reshape(-1)[at], changes.reshape(-1)[at]
        self.last = np.full(S, -np.inf)
        """The instants [S] of the last changepoints; -inf: a row has none."""
        some = np.flatnonzero(self.count)
        self.last[some] = changes[some, self.count[some] - 1]


class _Trend:
    """The scaled trends of S rows. Behind the instant `last` [S] of its last changepoint (-inf: there is none) each is
    slope * days + offset, [S] each, with the days of `_days`.
    """

    def __init__(self, a: Arrays, growth: str, shifts: _Shifts) -> None:
        self._a = a
        start, scale = a["t_start"], a["t_scale"]
        slope, offset = np.array(a["k"] if growth != "flat" else np.zeros_like(a["m"])), np.array(a["m"])
        self.last = np.full(len(slope), -np.inf)
        if growth != "flat":
            self.last = shifts.last
            row = shifts.row
            np.add.at(slope, row, shifts.delta)
            np.subtract.at(offset, row, (shifts.change - start[row]) / scale[row] * shifts.delta)
        self.slope = slope * (DAY / scale)
        self.offset = offset + slope * ((_EPOCH * DAY - start) / scale)

    def of(self, rows: NDArray[np.int64], at: Float) -> Float:
        """The scaled trend [n, T] of some rows between their changepoints."""
        a = self._a
        start, scale = a["t_start"][rows, None], a["t_scale"][rows, None]
        changes, delta = a["changepoints"][rows], a["delta"][rows]
        slope = np.cumsum(np.hstack([a["k"][rows, None], delta]), axis=1)
        offset = np.cumsum(np.hstack([a["m"][rows, None], -_scaled(changes, start, scale) * delta]), axis=1)
        passed = _passed(changes, at)
        trend: Float = np.take_along_axis(slope, passed, axis=1)
        trend *= (at[None, :] - start) / scale
        trend += np.take_along_axis(offset, passed, axis=1)
        return trend


def _scaled(changes: Float, start: Float, scale: Float) -> Float:
    """Changepoints in scaled time; 0 where padded, as their deltas are."""
    s = (changes - start) / scale
    s[np.isnan(s)] = 0.0
    return s


def _passed(changes: Float, at: Float) -> NDArray[np.int64]:
    """How many of each row's changepoints [n, D] lie at or before each instant, int64 [n, T]."""
    n, T = changes.shape[0], at.size
    step = at[1] - at[0] if T > 1 else 1.0
    # Rows are sorted, the padding (never passed) last; the first instant at or after a changepoint counts it.
    first = np.nan_to_num(np.clip(np.ceil((changes - at[0]) / step), 0, T), nan=T).astype(np.int64)
    cells = first + (T + 1) * np.arange(n)[:, None]
    counts = np.bincount(cells.ravel(), minlength=n * (T + 1)).reshape(n, T + 1)
    return np.cumsum(counts[:, :T], axis=1)


@dataclass(frozen=True, slots=True, eq=False)
class _Spread:
    """The standard deviations of S rows: of the noise, and of the sum of shifts of the slope since the history's end.

    Prophet draws at each step a shift with probability D dt and size Laplace(0, mean |delta|). The variance of their
    double sum is closed: p 2 b^2 dt^2 h (4 h^2 - 1) / 12 after h steps; h is in steps of the fit, whatever the grid.
    `noise` and `growing` (the factor of h (4 h^2 - 1) / 12; None where nothing grows) [S, 1] are variances in units of y
    divided by the squares of `last` [S, 1] (None: 1).
    """

    last: Float | None
    noise: Float
    growing: Float | None
    end: Float
    step: int

    @classmethod
    def of(cls, a: Arrays, growth: str, step: int, shifts: _Shifts) -> "_Spread":
        """The deviations of all rows of a model with these arrays."""
        scale, end = a["y_scale"], a["history_end"]
        # The power of two in the scale goes under the root, or is multiplied last where its square would be too large:
        # either way to the same bits.
        share, power = np.frexp(scale)
        share, power = 2 * share, power - 1
        noise = np.square(a["sigma_obs"] * share)
        fold = bool((np.abs(power) < _FOLDED).all())
        last = None if fold else np.ldexp(1.0, power)[:, None]
        under = 2 * power if fold else np.zeros_like(power)
        noise = np.ldexp(noise, under)[:, None]
        D = shifts.count
        if growth == "flat" or not D.any():
            return cls(last, noise, None, end, step)
        total = np.bincount(shifts.row, np.abs(shifts.delta), minlength=len(D))
        dt = step / a["t_scale"]
        b = (total / np.maximum(D, 1) + 1e-8) * dt * share
        growing = np.minimum(1.0, D * dt) * 2.0 * np.square(b)
        return cls(last, noise, np.ldexp(growing, under)[:, None], end, step)

    def write(self, part: slice, at: Float, out: Float) -> None:
        """Writes the deviations [n, T] of a part of the rows."""
        end, noise = self.end[part], self.noise[part]
        if self.growing is None or at[-1] <= end.min():
            out[:] = np.sqrt(noise)
            if self.last is not None:
                out *= self.last[part]
            return
        ends = end[:1] if (end == end[0]).all() else end  # series that ended together grow uncertain together
        h = np.maximum(0.0, (at[None, :] - ends[:, None]) / self.step)
        np.multiply(self.growing[part], np.maximum(0.0, h * (4.0 * h * h - 1.0) / 12.0), out=out)
        out += noise
        np.sqrt(out, out=out)
        if self.last is not None:
            out *= self.last[part]


def _seasonal_median(model: Model, at: Float, expected: Float, sigma: Float) -> None:
    profile, slots = model.arrays["profile"], model.layout["slots"]
    P = profile.shape[1]
    # Between the centres of two slots the value goes over linearly: 5-minute buckets of a 15-minute profile.
    position = civil_days(at, model.layout["timezone"]) / slots["period"] * P - slots["phase"]
    below = np.floor(position + 1e-6)
    weight = np.clip(position - below, 0.0, 1.0)
    left = np.mod(below, P).astype(np.int64)
    right = np.mod(left + 1, P)
    whole = weight < 1e-6  # a neighbour without a value must not void a slot that is hit exactly
    rows = max(1, _CHUNK // at.size)
    for first in range(0, len(model.keys), rows):
        part = slice(first, first + rows)
        p = profile[part]
        expected[part] = np.where(whole, p[:, left], (1.0 - weight) * p[:, left] + weight * p[:, right])
    sigma[:] = model.arrays["sigma"][:, None]


def _rolling_median(model: Model, at: Float, expected: Float, sigma: Float) -> None:  # noqa: ARG001 - one signature for all engines
    expected[:] = model.arrays["level"][:, None]
    sigma[:] = model.arrays["sigma"][:, None]


def _nothing(model: Model, at: Float, expected: Float, sigma: Float) -> None:  # noqa: ARG001 - one signature for all engines
    """NaN: there is no model."""
    expected[:] = sigma[:] = np.nan


_ENGINES: Final[Mapping[str, Callable[[Model, Float, Float, Float], None]]] = {
    "stan": _prophet,
    "batch": _prophet,
    "seasonal_median": _seasonal_median,
    "rolling_median": _rolling_median,
    "too_short": _nothing,
    "none": _nothing,
}
