"""Evidence against counts: how unlikely a number is where things are counted, instead of how many scales it is away.

Owns: which series are counts (`counted`, tested anew with every point, from all before it) and what their residuals are worth
(`likelihood`). A count of 0 where 8 are usual is rarer than its distance says, a burst of 20 less rare: counts are skewed.
Must not know levels: evidence is in the same unit as that of `evidence.deviation`, a median-sized residual of Gaussian noise.

The likelihood is negative binomial (Poisson where the scale says no more): the signed root of its deviance, with the correction
for whole numbers, which is the normal quantile of the exact tail (`count_tail`) within a few tenths (McCullagh and Nelder,
Generalized Linear Models, 2.4; the tests hold both together). It takes three logarithms a point, the tail itself hundreds.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from forewarn.scoring.rhythm import Rhythm
from forewarn.series import Float, TimeGrid

Arrays = dict[str, NDArray[Any]]
Bool = NDArray[np.bool_]

_LARGEST: Final = 1000.0
"""From this average on, chance in counting is below 3 %: what varies is something else, and a scale knows it as well."""
_LEAST_RATE: Final = 0.1
"""No rate below is believed: how rare the rarest is nobody can know from two weeks."""
_WHOLE: Final = 0.99
"""Share of values that must be whole and not negative."""
_FADING: Final = 13.0 / 14.0
"""What a cycle's sums keep of their weight with every further one."""
_CALM: Final = 0.5
"""A series whose variance from one point to the next is below this share of its mean is not counted but measured in whole
numbers, such as degrees: chance alone would move a count more."""
_NORMAL: Final = 1.4826
"""Standard deviation of Gaussian noise whose absolute median is 1."""
_MOST: Final = 1e6
"""What is larger enters the sums as this, whichever side of a cut it lies on: whole numbers then stay whole as squares."""
_PLAIN: Final = 1e-9
"""A dispersion below this is none: Poisson."""
_WILDEST: Final = 1e6
"""And one above this is no count's."""
_LOWEST: Final = -1.0 + 2.0**-53
"""The nearest to -1 that has a logarithm of 1 + it."""


def fresh(S: int) -> Arrays:
    """The count arrays of S series that were never seen."""
    return {"counts_today": np.zeros((S, 4), np.int64), "counts": np.zeros((S, 4)), "counts_last": np.full(S, np.nan)}


def counted(arrays: Mapping[str, NDArray[Any]], rhythm: Rhythm, grid: TimeGrid, values: Float) -> tuple[Bool, Arrays]:
    """Which series are small counts [S, B] at each bucket, and the count arrays after the block; `values` NaN = no data.

    Sums are of whole numbers, so that no cut of time changes them.
    """
    last, today, sums = (arrays[name] for name in ("counts_last", "counts_today", "counts"))
    nearest = np.rint(values)
    whole = (nearest == values) & (nearest >= 0.0)
    known = ~np.isnan(values)
    found = np.zeros(values.shape, np.bool_)
    # A row without a whole number, before or in the block, is none: its points are counted, and that is all.
    row = np.flatnonzero(whole.any(axis=1) | ~np.isnan(last) | (today[:, 1] > 0) | (sums[:, 1] > 0.0))
    seen = _seen(np.where(whole[row], nearest[row], np.nan), known[row], last[row])
    today, sums = today.copy(), sums.copy()
    low, B = 0, grid.size
    while low < B:
        edge = ((grid.start + low * grid.step) // rhythm.cycle + 1) * rhythm.cycle
        high = min(B, max(low + 1, -(-(edge - grid.start) // grid.step)))
        part = np.cumsum(seen[:, :, low:high], axis=2)
        before = today[row].T[:, :, None] + np.concatenate([np.zeros_like(part[:, :, :1]), part[:, :, :-1]], axis=2)
        points, sound, total, squares = sums[row].T[:, :, None] + before
        lively = 0.5 * squares >= _CALM * total
        found[row, low:high] = (points > 0) & (sound >= _WHOLE * points) & (total <= _LARGEST * points) & lively
        today[:, 0] += np.count_nonzero(known[:, low:high], axis=1)
        today[row, 1:] += part[1:, :, -1].T.astype(np.int64)
        if grid.start + high * grid.step >= edge:
            sums, today = sums * _FADING + today, np.zeros_like(today)
        low = high
    latest = np.full(len(values), np.nan)
    latest[row] = np.where(whole[row, -1], nearest[row, -1], np.nan)
    return found, {"counts_today": today, "counts": sums, "counts_last": latest}


def _seen(numbers: Float, known: Bool, last: Float) -> Float:
    """By point [4, R, B], all whole: is it known, is it a whole number, that number, its move from the one before squared."""
    seen = np.empty((4, *numbers.shape))
    extended = np.minimum(np.concatenate([last[:, None], numbers], axis=1), _MOST)
    whole = ~np.isnan(extended)
    seen[0], seen[1] = known, whole[:, 1:]
    extended = np.where(whole, extended, 0.0)
    seen[2] = extended[:, 1:]
    seen[3] = np.square(np.diff(extended, axis=1)) * (whole[:, 1:] & whole[:, :-1])
    return seen


def likelihood(values: Float, residual: Float, usual: Float) -> Float:
    """Logarithms of the evidence [R, B] of residuals of counts; `usual`: the logarithm of their usual size."""
    rate = np.maximum(values - residual, _LEAST_RATE)
    variance = np.square(_NORMAL * np.exp(usual))
    dispersion = np.minimum(np.maximum(variance - rate, 0.0) / np.square(rate), _WILDEST)
    nearer = np.maximum(values - 0.5 * np.sign(residual), 0.0)
    distance = np.where(np.sign(nearer - rate) == np.sign(residual), _deviance(nearer, rate, dispersion), 0.0)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(_NORMAL) + 0.5 * np.log(distance), np.float64)


def _deviance(count: Float, rate: Float, dispersion: Float) -> Float:
    """Twice the log likelihood that a negative binomial distribution of this mean loses against that whose mean is `count`."""
    size = 1.0 / np.maximum(dispersion, _PLAIN)
    with np.errstate(divide="ignore", invalid="ignore"):
        own = np.where(count > 0.0, count * np.log(count / rate), 0.0)
    lower = np.maximum((count - rate) / (rate + size), _LOWEST)
    return np.asarray(np.maximum(2.0 * (own - (count + size) * np.log1p(lower)), 0.0), np.float64)
