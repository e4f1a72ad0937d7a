"""What is expected of series that are too short for a full model: medians of what they did, for all series at once.

Owns: the engines seasonal_median and rolling_median, and the rows without a model (too_short, none).
Must not do: deciding who gets which; that is `choose.py`.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from forewarn.detector import DAY
from forewarn.forecast import CONSTANT, NO_DATA, OK, TOO_SHORT, Model, ModelSpec
from forewarn.forecasting.civil_time import civil_days
from forewarn.forecasting.design_matrix import instants
from forewarn.forecasting.extent import Extent
from forewarn.series import Float, SeriesBatch

_WEEK_SPAN: Final = 13 * DAY
"""Two weeks less a day, as for weekly seasonality."""
_POOLED: Final = 5
"""Values that a slot's median should rest on; slots with fewer take in their neighbours."""
_NEIGHBOURHOOD: Final = DAY // 24
"""How far a neighbour may lie: an hour either side."""
_ROLLING_BUCKETS: Final = 8
_CHUNK: Final = 128
"""Rows worked on at a time, to bound memory."""

Rows = NDArray[np.int64]


class SeasonalMedian:
    """The median of each time of day (of each time of week from two weeks of data on) in civil time.

    A slot is one bucket of the day or week. With few cycles a slot's median takes in the slots up to an hour beside it;
    a slot that was never observed stays NaN. `sigma` is the robust scale of the residuals.
    """

    name: Final = "seasonal_median"

    @np.errstate(over="ignore")  # values near the largest float may differ by more than it
    def fit(self, history: SeriesBatch, spec: ModelSpec) -> tuple[Model, ...]:
        """One row for every key, in at most two models: of the day and of the week."""
        if not history.grid.size:
            return unmodelled(history, spec.timezone)
        extent = Extent.of(history.values)
        weekly = extent.covered(history.grid.step) >= _WEEK_SPAN
        return tuple(
            _seasonal(history, extent, rows, spec.timezone, period)
            for period, rows in ((1, np.flatnonzero(~weekly)), (7, np.flatnonzero(weekly)))
            if rows.size
        )


class RollingMedian:
    """The median of the last day of data (of at least eight buckets) before a series' last value."""

    name: Final = "rolling_median"

    @np.errstate(over="ignore")  # values near the largest float may differ by more than it
    def fit(self, history: SeriesBatch, spec: ModelSpec) -> tuple[Model, ...]:
        """One row for every key, in one model."""
        if not history.grid.size:
            return unmodelled(history, spec.timezone)
        extent = Extent.of(history.values)
        buckets = max(DAY // history.grid.step, _ROLLING_BUCKETS)
        age = extent.last[:, None] - np.arange(history.grid.size)
        recent = np.where((age >= 0) & (age < buckets), history.values, np.nan)
        level = median(recent)
        residuals = recent - level[:, None]
        pooled = np.count_nonzero(~np.isnan(recent), axis=1)
        arrays = {"level": level, "sigma": _scale(residuals, extent, pooled)}
        rows = np.arange(len(history.keys))
        return (_model(self.name, history, rows, {"timezone": spec.timezone, "why": ""}, arrays, _status(extent)),)


def unmodelled(history: SeriesBatch, timezone: str) -> tuple[Model, ...]:
    """Rows without a model: engine `none` for series without any value, `too_short` for the others."""
    empty = np.isnan(history.values).all(axis=1)
    models = []
    for engine, status, rows in (("none", NO_DATA, np.flatnonzero(empty)), ("too_short", TOO_SHORT, np.flatnonzero(~empty))):
        if rows.size:
            layout = {"timezone": timezone, "why": ""}
            models.append(_model(engine, history, rows, layout, {}, (status,) * rows.size))
    return tuple(models)


def median(values: Float) -> Float:
    """The medians [S] of the finite values of each row of [S, n]; NaN for rows without any."""
    ordered = np.sort(values, axis=1)  # NaN last
    count = np.count_nonzero(~np.isnan(values), axis=1)[:, None]
    low = np.take_along_axis(ordered, np.maximum(count - 1, 0) // 2, axis=1)
    high = np.take_along_axis(ordered, np.minimum(count // 2, values.shape[1] - 1), axis=1)
    # Half of each, so that the sum of two huge values stays finite; NaN where nothing is left.
    middle: Float = np.where(count % 2 == 1, low, low / 2 + high / 2)[:, 0]
    return middle


def _seasonal(history: SeriesBatch, extent: Extent, rows: Rows, timezone: str, period: int) -> Model:
    grid = history.grid
    P = max(1, round(period * DAY / grid.step))
    position = civil_days(instants(grid), timezone) / period * P
    # Buckets need not lie on civil slots (hourly buckets in a zone of +5:45): slots are centred on the first bucket.
    phase = float(np.mod(position[0], 1.0))
    number = np.floor(position - phase + 0.5).astype(np.int64)
    slot, cycle = np.mod(number, P), number // P - number.min() // P
    C = int(cycle.max()) + 1

    profile = np.empty((rows.size, P))
    sigma = np.empty(rows.size)
    cycles = np.array([np.unique(cycle[~np.isnan(values)]).size for values in history.values[rows]])
    reach = _reach(cycles, grid.step)
    for neighbours in np.unique(reach).tolist():
        alike = np.flatnonzero(reach == neighbours)
        for first in range(0, alike.size, _CHUNK):
            part = alike[first : first + _CHUNK]
            values = history.values[rows[part]]
            n = part.size
            dense = np.full((n, C, P), np.nan)
            dense[:, cycle, slot] = values  # the hour that a clock repeats in autumn keeps its second pass
            pooled = np.concatenate([np.roll(dense, shift, axis=2) for shift in range(-neighbours, neighbours + 1)], axis=1)
            profile[part] = median(np.moveaxis(pooled, 1, 2).reshape(n * P, -1)).reshape(n, P)
            residuals = values - profile[part][:, slot]
            sigma[part] = _scale(residuals, extent.take(rows[part]), cycles[part] * (2 * neighbours + 1))
    layout = {"timezone": timezone, "slots": {"period": period, "phase": phase}, "why": ""}
    arrays = {"profile": profile, "sigma": sigma}
    return _model(SeasonalMedian.name, history, rows, layout, arrays, _status(extent.take(rows)))


def _reach(cycles: Rows, step: int) -> Rows:
    """How many neighbours on each side [S] a slot takes in so that its median rests on about `_POOLED` values."""
    wanted = np.ceil(np.maximum(0, _POOLED - cycles) / (2 * np.maximum(cycles, 1))).astype(np.int64)
    reach: Rows = np.minimum(wanted, _NEIGHBOURHOOD // step)
    return reach


def _scale(residuals: Float, extent: Extent, pooled: Rows) -> Float:
    """The robust standard deviation [S] of the residuals [S, n]: 1.4826 MAD, or their root mean square where more than
    half of them are 0 (sparse counts); enlarged for medians that rest on few values (`pooled` [S]), never 0.
    """
    spread = 1.4826 * median(np.abs(residuals))
    seen = np.isfinite(residuals)
    largest = np.where(seen, np.abs(residuals), 0.0).max(axis=1, initial=0.0)
    unit = np.where(largest > 0, largest, 1.0)
    # In units of the largest residual, so that squares neither overflow nor vanish.
    share = np.where(seen, residuals, 0.0) / unit[:, None]
    deviation = unit * np.sqrt(np.sum(np.square(share), axis=1) / np.maximum(np.count_nonzero(seen, axis=1), 1))
    spread = np.where(spread <= 1e-6 * deviation, deviation, spread)
    # The median of n values lies too close to them and is uncertain itself; 1 + 2.1/(n - 1.2) makes up for both
    # within 5 % for n >= 4 (simulated with Gaussian values).
    few = 1.0 + 2.1 / (np.maximum(pooled, 3) - 1.2)
    size = np.maximum(np.abs(extent.low), np.abs(extent.high))
    least = 1e-9 * np.where((size > 0) & np.isfinite(size), size, 1.0)
    scale: Float = np.fmax(spread * few, least)
    return scale


def _model(
    engine: str,
    history: SeriesBatch,
    rows: Rows,
    layout: dict[str, Any],
    arrays: dict[str, Float],
    status: tuple[str, ...],
) -> Model:
    grid = history.grid
    keys = tuple(history.keys[row] for row in rows.tolist())
    return Model(engine, keys, (grid.start, grid.end), grid.step, layout, arrays, status)


def _status(extent: Extent) -> tuple[str, ...]:
    return tuple(np.where(extent.count == 0, NO_DATA, np.where(extent.constant, CONSTANT, OK)).tolist())
