"""What stored parameters say about any grid: the `Predictor` port.

Owns: the forecast of every engine from a model's arrays and layout alone. Pure. The datasource imports it, so it must
not load prophet, pandas, holidays or any engine.

Every value is made by element-wise operations in a fixed order, or by products whose elements do not depend on their
place: a forecast of a bucket is the same to the last bit in whatever block, and beside whatever other series, it is asked
for.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from forewarn.errors import ModelMismatch
from forewarn.forecast import Forecast, Model
from forewarn.forecasting.civil_time import civil_days
from forewarn.forecasting.design_matrix import instants, is_multiplicative, seasonal_columns, week_slots
from forewarn.forecasting.fixed_product import TILE, product
from forewarn.series import Float, TimeGrid

_CHUNK: Final = 1 << 16
"""Values computed at a time: a few planes of this size stay in the cache, and memory stays bounded."""

Rows = tuple[Float, Float]


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
    expected, sigma = np.full((S, T), np.nan), np.full((S, T), np.nan)
    if S and T:
        try:
            engine(model, instants(grid), expected, sigma)
        except KeyError as error:
            raise ModelMismatch(f"a model of the engine {model.engine!r} lacks {error}") from error
    return Forecast(model.keys, grid, expected, sigma, model.status, (model.engine,) * S)


def _prophet(model: Model, at: Float, expected: Float, sigma: Float) -> None:
    X = seasonal_columns(at, model.layout)
    slots = None
    if "profile" in model.arrays:
        slots = week_slots(civil_days(at, model.layout["timezone"]), model.arrays["profile"].shape[1])
    multiplicative = is_multiplicative(model.layout)
    rows = TILE * max(1, _CHUNK // at.size // TILE)
    for first in range(0, len(model.keys), rows):
        part = slice(first, first + rows)
        a = {name: array[part] for name, array in model.arrays.items()}
        y = _trend(a, at, model.layout["growth"])
        seasonal = product(a["beta"], X)
        if multiplicative:
            seasonal += 1.0
            y *= seasonal
        else:
            y += seasonal
        y *= a["y_scale"][:, None]
        np.add(y, a["y_floor"][:, None], out=expected[part])
        if slots is not None:
            expected[part] += a["profile"][:, slots]
        _sigma(a, at, model.layout["growth"], model.step, sigma[part])


def _trend(a: Mapping[str, NDArray[Any]], at: Float, growth: str) -> Float:
    """The scaled trend [n, T]: slope(t) * t + offset(t), both constant between changepoints."""
    if growth == "flat":
        return np.repeat(a["m"][:, None], at.size, axis=1)
    start, scale = a["t_start"][:, None], a["t_scale"][:, None]
    alike = (start == start[0]).all() and (scale == scale[0]).all()  # series of one window share their time
    t = (at[None, :] - start[:1]) / scale[:1] if alike else (at[None, :] - start) / scale
    changes, delta = a["changepoints"], a["delta"]
    if not changes.shape[1]:
        line: Float = a["k"][:, None] * t + a["m"][:, None]
        return line
    s = np.nan_to_num((changes - start) / scale)  # padded changepoints have a delta of 0
    slope = np.cumsum(np.hstack([a["k"][:, None], delta]), axis=1)
    offset = np.cumsum(np.hstack([a["m"][:, None], -s * delta]), axis=1)
    if at[0] >= np.nanmax(changes, initial=-np.inf):  # beyond all of them, as most forecasts are
        ahead: Float = slope[:, -1:] * t
        ahead += offset[:, -1:]
        return ahead
    passed = _passed(changes, at)
    trend: Float = np.take_along_axis(slope, passed, axis=1)
    trend *= t
    trend += np.take_along_axis(offset, passed, axis=1)
    return trend


def _passed(changes: Float, at: Float) -> NDArray[np.int64]:
    """How many of each row's changepoints [n, D] lie at or before each instant, int64 [n, T]."""
    n, T = changes.shape[0], at.size
    step = at[1] - at[0] if T > 1 else 1.0
    # Rows are sorted, the padding (never passed) last; the first instant at or after a changepoint counts it.
    first = np.nan_to_num(np.clip(np.ceil((changes - at[0]) / step), 0, T), nan=T).astype(np.int64)
    cells = first + (T + 1) * np.arange(n)[:, None]
    counts = np.bincount(cells.ravel(), minlength=n * (T + 1)).reshape(n, T + 1)
    return np.cumsum(counts[:, :T], axis=1)


def _sigma(a: Mapping[str, NDArray[Any]], at: Float, growth: str, step: int, out: Float) -> None:
    """Writes the standard deviation [n, T] in units of y: noise, and the sum of shifts of the slope since the history's end.

    Prophet draws at each step a shift with probability D dt and size Laplace(0, mean |delta|). The variance of their
    double sum is closed: p 2 b^2 dt^2 h (4 h^2 - 1) / 12 after h steps; h is in steps of the fit, whatever the grid.
    """
    n = len(a["k"])
    noise = np.square(a["sigma_obs"])[:, None]
    D = np.count_nonzero(np.isfinite(a["changepoints"]), axis=1)
    end = a["history_end"]
    if growth == "flat" or not D.any() or at[-1] <= end.min():
        out[:] = a["y_scale"][:, None] * np.sqrt(noise)
        return
    b = np.cumsum(np.abs(a["delta"]), axis=1)[:, -1] / np.maximum(D, 1) + 1e-8
    dt = step / a["t_scale"]
    per_step = np.minimum(1.0, D * dt) * 2.0 * np.square(b * dt)
    ends = end[:1] if (end == end[0]).all() else end  # series that ended together grow uncertain together
    h = np.maximum(0.0, (at[None, :] - ends[:, None]) / step)
    np.multiply(per_step.reshape(n, 1), np.maximum(0.0, h * (4.0 * h * h - 1.0) / 12.0), out=out)
    out += noise
    np.sqrt(out, out=out)
    out *= a["y_scale"][:, None]


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


def _nothing(model: Model, at: Float, expected: Float, sigma: Float) -> None:
    """Leaves NaN: there is no model."""


_ENGINES: Final[Mapping[str, Callable[[Model, Float, Float, Float], None]]] = {
    "stan": _prophet,
    "batch": _prophet,
    "seasonal_median": _seasonal_median,
    "rolling_median": _rolling_median,
    "too_short": _nothing,
    "none": _nothing,
}
