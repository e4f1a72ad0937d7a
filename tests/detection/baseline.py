"""The plain detector that the product has to beat: seasdiff + sticky.

Owns: `seasdiff`. Score = sqrt(seasonal z x local z), against the median of the same time of day +-2 points over the last seven
days and against the last 30 residuals; the first point after a hole inherits the highest score of the last 60 points. Strictly
online. It has no threshold of its own: one is chosen for all series. Must not import the product's scoring.
"""

from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from forewarn.detector import DAY, HOUR
from forewarn.series import Float

_DAYS: Final = 7
_BESIDE: Final = 2
_REFERENCE: Final = 30
_STICKY: Final = 60
_FLOOR: Final = 0.1
_MAD: Final = 1.4826


def seasdiff(values: Float, step: int) -> Float:
    """Scores [S, T] of `values` [S, T] in buckets of `step` ms; NaN where nothing can be said."""
    with np.errstate(invalid="ignore"):
        return np.stack([_one(row, step) for row in values])


def median(x: Float) -> Float:
    """The median along the last axis of what is not NaN; NaN where nothing is left."""
    ordered = np.sort(x, axis=-1)  # NaN last
    n = np.count_nonzero(~np.isnan(ordered), axis=-1)[..., None]
    low = np.take_along_axis(ordered, np.maximum(n - 1, 0) // 2, axis=-1)[..., 0]
    high = np.take_along_axis(ordered, np.minimum(n // 2, x.shape[-1] - 1), axis=-1)[..., 0]
    return np.asarray(0.5 * (low + high), np.float64)


def _one(y: Float, step: int) -> Float:
    T, day = y.size, DAY // step
    centre, spread = np.full(T, np.nan), np.full(T, np.nan)
    for low in range(0, T, 50_000):
        at = np.arange(low, min(T, low + 50_000))
        lags = np.array([d * day + b for d in range(1, _DAYS + 1) for b in range(-_BESIDE, _BESIDE + 1)])
        index = at[:, None] - lags
        window = np.where(index >= 0, y[np.maximum(index, 0)], np.nan)
        centre[at] = median(window)
        spread[at] = _MAD * median(np.abs(window - centre[at, None]))
    residual = y - centre
    local = residual - _preceding_median(residual, _REFERENCE)
    floor = _FLOOR * _past_deviation(y, step)
    recent = _last_day(np.abs(local), step)
    seasonal_z = np.abs(residual) / np.maximum(np.fmax(spread, floor), 1e-12)
    local_z = np.abs(local) / np.maximum(np.fmax(_MAD * recent, floor / 2), 1e-12)
    score = np.sqrt(seasonal_z * local_z)
    return _sticky(y, score)


def _preceding_median(x: Float, width: int) -> Float:
    """The median of the `width` points before each."""
    windows = sliding_window_view(np.concatenate([np.full(width, np.nan), x])[:-1], width)
    out = np.empty(x.size)
    for low in range(0, x.size, 50_000):
        out[low : low + 50_000] = median(windows[low : low + 50_000])
    return out


def _last_day(x: Float, step: int) -> Float:
    """The median of the last day before each hour."""
    hour, day = max(1, HOUR // step), DAY // step
    out = np.full(x.size, np.nan)
    for low in range(hour, x.size, hour):
        out[low : low + hour] = median(x[max(0, low - day) : low])
    return out


def _past_deviation(y: Float, step: int) -> Float:
    """The standard deviation of everything before each day."""
    day = DAY // step
    there = np.isfinite(y)
    n, total, squares = (np.cumsum(x) for x in (there, np.where(there, y, 0.0), np.where(there, y, 0.0) ** 2))
    deviation = np.sqrt(np.maximum(squares / np.maximum(n, 1) - (total / np.maximum(n, 1)) ** 2, 0.0))
    at = np.arange(y.size) // day * day - 1
    return np.where(at >= 0, deviation[np.maximum(at, 0)], np.nan)


def _sticky(y: Float, score: Float) -> Float:
    there = np.isfinite(y)
    after_hole = np.flatnonzero(there[1:] & ~there[:-1]) + 1
    for i in after_hole.tolist():
        before = score[max(0, i - _STICKY) : i]
        before = before[np.isfinite(before)]
        if before.size:
            score[i] = np.fmax(score[i], before.max())
    return score
