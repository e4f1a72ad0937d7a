"""What changed in an episode: a spike, a dip, the level, the trend, the variance, or the period.

Owns: Shapes, the adapter of the port `naming.Namer`. Looks at a window that ends at the bucket of a change: what came before
the episode is what was normal. Pure and causal; every row depends on itself alone. Must not score: a name decides nothing.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from forewarn.anomaly import SHAPES
from forewarn.detector import DAY, HOUR
from forewarn.scoring.scale import masked_median
from forewarn.series import Float

Bool = NDArray[np.bool_]
Int = NDArray[np.int64]

_NAMES: Final = tuple(SHAPES)
_SPIKE, _DIP, _LEVEL, _TREND, _VARIANCE, _PERIOD = range(len(_NAMES))

_MOST: Final = 288
"""Buckets of a window, at most."""
_SIGMA: Final = 1.4826
_ENOUGH: Final = 6
"""Points that say anything, before the episode and in it."""
_LASTS: Final = HOUR
"""How long a level must have lasted to be one."""
_SAME_SIDE: Final = 0.75
"""Share of the points of a new level that lie on its side,"""
_AWAY: Final = 1.5
"""how far off it lies, in usual sizes, and what is no longer as usual for a single point,"""
_OF_PEAK: Final = 0.3
"""and how far off in parts of the episode's peak: a spike that is over leaves no level."""
_ROUGHER: Final = 1.6
"""How many times larger steps from point to point are where the variance changed; a level or a rhythm that moves has none."""
_BOTH_SIDES: Final = 0.8
"""Share of the points on one side, at most, where the variance changed."""
_LAGS: Final = 48
"""How many shifts in time are tried, up to a quarter of the window."""
_LIKE: Final = 0.45
"""What is left of the squared residual when the expectation is shifted in time to where the values are,"""
_BETTER: Final = 0.6
"""and in parts of what a new level or a new trend leaves."""
_FARTHEST: Final = 1e150
"""No residual is taken for larger, in usual sizes: so that the squares of a window have a sum."""


class Shapes:
    """Names for the episodes of one detector."""

    def __init__(self, step: int) -> None:
        self._step = step
        self._lasts = max(_ENOUGH, -(-_LASTS // step))

    @property
    def window(self) -> int:
        """Buckets of a window: a day, but not more than `_MOST`."""
        return max(1, min(_MOST, DAY // self._step))

    def __call__(self, actual: Float, expected: Float, first: Int, above: Bool) -> tuple[str, ...]:
        """The shape of each of R episodes that begin in column `first` [R] of windows [R, W] (NaN = no data); "" where less
        than a quarter of the window came before it.
        """
        if not len(first):
            return ()
        residual = actual - expected
        column = np.arange(self.window)
        before = column < first[:, None]
        usual, z = _standard(residual, column < (first // 2)[:, None], above)
        after = np.where(before, np.nan, z)
        n = np.count_nonzero(~np.isnan(after), axis=1)
        some = np.maximum(n, 1)
        on_side = np.count_nonzero(after > 0, axis=1) / some
        middle, peak = masked_median(after), np.nan_to_num(np.abs(after)).max(axis=1)
        lasting = (n >= self._lasts) & (on_side >= _SAME_SIDE) & (middle >= np.maximum(_AWAY, _OF_PEAK * peak))

        near = ~np.isnan(z) & (column >= (first - self.window // 2)[:, None])
        left_by_level, left_by_trend, rises = _level_and_trend(np.nan_to_num(z), near, before)
        shifted, like = _shifted(actual, expected, usual)
        best = np.minimum(left_by_level, left_by_trend) / np.maximum(near.sum(axis=1), 1)
        period = (n >= _ENOUGH) & (like <= _LIKE) & (shifted <= _BETTER * best)

        code = np.where(above, _SPIKE, _DIP)
        code = np.where(lasting, np.where(rises & (left_by_trend < left_by_level), _TREND, _LEVEL), code)
        code = np.where(_rougher(z, after, before, n, on_side), _VARIANCE, code)
        code = np.where(period, _PERIOD, code)
        known = (first * 4 >= self.window) & (np.count_nonzero(before & ~np.isnan(z), axis=1) >= _ENOUGH)
        return tuple(_NAMES[name] if sure else "" for name, sure in zip(code.tolist(), known.tolist(), strict=True))


def _standard(residual: Float, early: Bool, above: Bool) -> tuple[Float, Float]:
    """The usual size of residuals [R] before anything happened, and residuals [R, W] in such sizes, up = away."""
    past = np.where(early, residual, np.nan)
    middle = np.nan_to_num(masked_median(past))
    size = _SIGMA * masked_median(np.abs(past - middle[:, None]))
    largest = np.nan_to_num(np.abs(residual)).max(axis=1)
    usual = np.maximum(np.nan_to_num(size), np.maximum(1e-9 * largest, 1e-300))
    return usual, (residual - middle[:, None]) / np.where(above, usual, -usual)[:, None]


def _rougher(z: Float, after: Float, before: Bool, n: Int, on_side: Float) -> Bool:
    """Whether values jump more from point to point, to both sides, and few are as usual. Few points must say so clearly."""
    jumps = np.concatenate([np.full((len(z), 1), np.nan), np.abs(np.diff(z, axis=1))], axis=1)
    first = ~before & np.concatenate([np.zeros((len(z), 1), np.bool_), ~before[:, :-1]], axis=1)
    now, was = (masked_median(np.where(where, jumps, np.nan)) for where in (first, before))
    calm = np.count_nonzero(np.abs(after) < _AWAY, axis=1) / np.maximum(n, 1)
    sides = np.maximum(on_side, 1.0 - on_side) <= _BOTH_SIDES
    few = calm <= 0.7 - 1.6 / np.maximum(n, 1)
    return np.asarray((n >= _ENOUGH) & (now >= _ROUGHER * was) & sides & few, np.bool_)


def _level_and_trend(z: Float, near: Bool, before: Bool) -> tuple[Float, Float, Bool]:
    """The squares that a step at the start and a straight line leave [R], and whether the line leads away."""

    def mean(values: Float, where: Bool) -> Float:
        total = np.where(where, values, 0.0).sum(axis=1)
        return np.asarray(total / np.maximum(where.sum(axis=1), 1), np.float64)

    left = np.zeros(len(z))
    for part in (near & before, near & ~before):
        left = left + np.where(part, np.square(z - mean(z, part)[:, None]), 0.0).sum(axis=1)
    column = np.broadcast_to(np.arange(z.shape[1], dtype=np.float64), z.shape)
    x = np.where(near, column - mean(column, near)[:, None], 0.0)
    y = np.where(near, z - mean(z, near)[:, None], 0.0)
    slope = (x * y).sum(axis=1) / np.maximum((x * x).sum(axis=1), 1e-12)
    return left, np.square(y - slope[:, None] * x).sum(axis=1), slope > 0


def _shifted(actual: Float, expected: Float, usual: Float) -> tuple[Float, Float]:
    """What the best shift of the expectation in time leaves, squared and in usual sizes, and as a share of what there was.

    Infinite where residuals are no larger than usual. Half of the window is looked at; where the values are early, a half
    that ended as much earlier as they are early: what is expected later is not asked for.
    """
    R, W = actual.shape
    half = W // 2
    best, share = np.full(R, np.inf), np.full(R, np.inf)
    for lag in np.unique(np.linspace(-(W // 4), W // 4, _LAGS + 1).astype(np.int64)).tolist():
        end = W - max(lag, 0)
        there, other = slice(end - half, end), slice(end - half + lag, end + lag)
        if not lag or end - half + min(lag, 0) < 0:
            continue
        known = ~np.isnan(actual[:, there] - expected[:, there] - expected[:, other])
        count = np.count_nonzero(known, axis=1)
        was, now = (_squares(actual[:, there], expected[:, where], usual, known) for where in (there, other))
        counts = (2 * count >= half) & (was >= count * _AWAY**2)
        best = np.where(counts, np.minimum(best, now / np.maximum(count, 1)), best)
        share = np.where(counts, np.minimum(share, now / np.where(counts & (was > 0.0), was, 1.0)), share)
    return best, share


def _squares(actual: Float, expected: Float, usual: Float, known: Bool) -> Float:
    """The sums [R] of the squared residuals that are known, in usual sizes, which are next to nothing where nothing varied."""
    with np.errstate(over="ignore"):
        sizes = np.where(known, actual - expected, 0.0) / usual[:, None]
    return np.asarray(np.square(np.clip(sizes, -_FARTHEST, _FARTHEST)).sum(axis=1), np.float64)
