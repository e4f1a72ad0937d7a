"""How much evidence a series shows when nothing is wrong: its own level, instead of one threshold for all.

Owns: the level arrays of the carry and `levels`. A level is what a normal series passes at the expected rate of false alarms,
extrapolated from the peaks of its blocks. Must not know residuals: it sees evidence only, channel by channel.

Events must not raise the level that finds them, and yet what happens all the time is normal. So peaks enter by quantiles:
blocks with short events count little until they are many. The slope of the tail is the flatter of two, so that a mixture of
quiet and spiky blocks is not taken for a heavy tail. Lasting evidence is not normal because it recurs: its level is that of the
tail alone, and has an upper bound. And where a block of time holds few points, so that a few events a day
would be in every block, blocks are shorter and the points of events (evidence that lasts, above the level of a single point)
are left out of their peaks. What recurs as single points, or fills every block of a day and a half, is normal.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from forewarn.detector import DAY, HOUR
from forewarn.scoring.rhythm import MEMORY_BLOCKS, Rhythm
from forewarn.series import Float, TimeGrid

Arrays = dict[str, NDArray[Any]]
CHANNELS: Final = 2
"""A single point's evidence, and the evidence that the last few points have in common."""

FALSE_ALARM_EVERY: Final = 2 * DAY
"""The expected time between false alarms of one normal series at medium sensitivity, most of them of the lowest severity."""
FALSE_ALARM_POINTS: Final = 720
"""And the points between them, at least: at an hour a bucket, two days are too few for a rate."""

_LEAST: Final = np.log(4.0)
"""No level is below four scales (2.7 standard deviations of Gaussian noise)."""
_SLOPE: Final = 0.2
"""Slope of the logarithms of peaks against Gumbel's reduced variate that a fresh series is thought to have: steeper than
Gaussian noise (0.12), since few series are that tame."""
_SLOPES: Final = (0.04, 0.4)
"""Bounds of the slope: below, peaks that recur with equal height still need a margin; above, tails have no mean."""
_PSEUDO: Final = 8
"""Blocks that a fresh series is thought to have seen, with peaks around the least level."""
_RECURRING: Final = 500.0
"""What single points pass every second time in so many points is recurring: once per 720 points on average."""
_COMMON: Final = 0.92
"""The highest quantile of peaks that counts as recurring: beyond lie the few blocks with events of their own kind."""
_MARGIN: Final = np.log(1.15)
"""What recurs with about the same height stays below 1."""
_NEW_NORMAL: Final = 36 * HOUR
"""When the peaks of all blocks of so long a time, at least six, lie above the level, they set it."""
_MOST_LASTING: Final = np.log(6.0)
"""The highest level of lasting evidence, at medium sensitivity: several points of one side that are all six times the usual
size are an event, not noise, in whatever series."""
_MOST_SPARED: Final = np.log(4.5)
"""The same where the points of events are left out of peaks: two in a row beyond three standard deviations of one side are
chance once in years."""
_SET_EVERY: Final = 6 * HOUR
"""How often levels are set anew, at most."""
_FAINT: Final = np.log(1e-3)
_GUMBEL: Final = tuple(-np.log(-np.log(p)) for p in (0.25, 0.5, 0.75))


NAMES: Final = ("peaks", "peak", "level", "pending", "confirmed")
"""The level arrays of the carry."""


def interval(rhythm: Rhythm, times: float = 1.0) -> float:
    """The expected ms between false alarms of one normal series, so many `times` longer than at medium sensitivity."""
    return times * max(FALSE_ALARM_EVERY, FALSE_ALARM_POINTS * rhythm.step)


def fresh(rhythm: Rhythm, S: int, times: float = 1.0) -> Arrays:
    """The level arrays of S series that were never seen."""
    level = _LEAST + _SLOPE * (_reduced(rhythm, times) - _GUMBEL[1])
    delay = rhythm.sustained - 1 if rhythm.spares else 0
    return {
        "peaks": np.full((S, CHANNELS, rhythm.peaks), np.float32(np.nan)),
        "peak": np.full((S, CHANNELS), -np.inf),
        "level": np.tile(np.array([level, np.minimum(level, _most_lasting(rhythm, times))], np.float64), (S, 1)),
        "pending": np.full((S, CHANNELS, delay), np.nan),
        "confirmed": np.zeros((S, delay), np.bool_),
    }


def levels(
    arrays: Mapping[str, NDArray[Any]], rhythm: Rhythm, grid: TimeGrid, evidence: Float, times: float | Float = 1.0
) -> tuple[Float, Arrays]:
    """Logarithms of the levels [S, CHANNELS, B] in force at each bucket, and the level arrays after the block.

    `evidence` [S, CHANNELS, B] in logarithms, NaN = no data. A level is set when a block of time ends.
    `times`: how many times longer than at medium sensitivity it should be between false alarms, for all or for each [S].
    """
    after: Arrays = {name: arrays[name] for name in NAMES}
    logs = np.empty_like(evidence)
    parts: list[tuple[int, int]] = []
    ended: list[tuple[int, Float]] = []
    low, B = 0, grid.size
    while low < B:
        time = grid.start + low * grid.step
        edge = (time // rhythm.peak + 1) * rhythm.peak
        high = min(B, max(low + 1, -(-(edge - grid.start) // grid.step)))
        parts.append((low, high))
        _raise_peak(after, evidence[:, :, low:high], rhythm.spares)
        if grid.start + high * grid.step >= edge:
            ended.append((edge // rhythm.peak - 1, after["peak"]))
            after["peak"] = np.full_like(after["peak"], -np.inf)
        low = high
        # The level of a block says which points of the next one are events; elsewhere several are set at once.
        if low == B or (rhythm.spares and ended):
            for (first, last), level in zip(parts, _end_blocks(after, rhythm, ended, times), strict=False):
                logs[:, :, first:last] = level[:, :, None]
            parts, ended = [], []
    return logs, after


def _raise_peak(after: Arrays, evidence: Float, spares: bool) -> None:
    """Takes points into the peak of their block; where events are spared, when it is known that they are part of none."""
    taken = evidence
    if spares:
        delay, n = after["pending"].shape[2], evidence.shape[2]
        points = np.concatenate([after["pending"], evidence], axis=2)
        confirmed = np.concatenate([after["confirmed"], evidence[:, 1] >= after["level"][:, :1]], axis=1)
        event = confirmed[:, :n].copy()
        for shift in range(1, delay + 1):
            event |= confirmed[:, shift : shift + n]
        taken = np.where(event[:, None], np.nan, points[:, :, :n])
        after["pending"], after["confirmed"] = points[:, :, n:], confirmed[:, n:]
    taken = np.where(np.isnan(taken), -np.inf, np.maximum(taken, _FAINT))
    after["peak"] = np.maximum(after["peak"], _highest(taken))


def _highest(values: Float) -> Float:
    """The maximum along the last axis [S, CHANNELS, n]; column by column where rows are many and short."""
    if len(values) < 4 * values.shape[2]:
        return np.asarray(np.maximum.reduce(values, axis=2), np.float64)
    highest = values[:, :, 0].copy()
    for column in range(1, values.shape[2]):
        np.maximum(highest, values[:, :, column], out=highest)
    return highest


def _end_blocks(
    after: Arrays, rhythm: Rhythm, ended: list[tuple[int, Float]], times: float | Float
) -> list[NDArray[np.float64]]:
    """Remembers the peaks [S, CHANNELS] of numbered blocks that have ended; the levels before the first and after each."""
    levels = [after["level"]]
    if not ended:
        return levels
    peaks = np.repeat(after["peaks"][:, :, None], len(ended), axis=2)
    for place, (number, peak) in enumerate(ended):
        peaks[:, :, place:, number % rhythm.peaks] = np.where(np.isfinite(peak), peak, np.nan)[:, :, None]
    after["peaks"] = peaks[:, :, -1].copy()
    numbers = np.array([number for number, _ in ended])
    chosen = np.flatnonzero((numbers + 1) * rhythm.peak % max(rhythm.peak, _SET_EVERY) == 0)
    known, own = _own(peaks[:, :, chosen], rhythm, numbers[chosen], times) if len(chosen) else (None, None)
    for place in range(len(ended)):
        level = levels[-1]
        if known is not None and own is not None and place in chosen:
            at = int(np.searchsorted(chosen, place))
            level = np.where(known[:, :, at] > 0, np.fmax(_LEAST, own[:, :, at]), level)
        levels.append(level)
    after["level"] = levels[-1]
    return levels


def _own(
    peaks: NDArray[np.float32], rhythm: Rhythm, numbers: NDArray[np.int64], times: float | Float
) -> tuple[NDArray[np.int64], Float]:
    """How many peaks [S, CHANNELS, n, peaks] are known after each of n blocks, and the levels that they make."""
    known = (~np.isnan(peaks)).sum(axis=3)
    doubt = _PSEUDO * rhythm.peaks // MEMORY_BLOCKS
    pseudo = np.where(np.arange(doubt) < (doubt - known // 7)[..., None], np.float32(_LEAST), np.float32(np.nan))
    often = np.minimum(_COMMON, np.power(0.5, rhythm.peak / rhythm.step / _RECURRING / np.reshape(times, (-1, 1, 1, 1))))
    low, middle, high, recurring = _quantiles(np.concatenate([peaks, pseudo], axis=3), (0.25, 0.5, 0.75, often))
    slope = np.minimum((middle - low) / (_GUMBEL[1] - _GUMBEL[0]), (high - middle) / (_GUMBEL[2] - _GUMBEL[1]))
    slope = np.minimum(np.maximum((known * slope + doubt * _SLOPE) / (known + doubt), _SLOPES[0]), _SLOPES[1])
    rare = middle + slope * (np.reshape(_reduced(rhythm, times), (-1, 1, 1)) - _GUMBEL[1])
    latest = max(6, round(_NEW_NORMAL / rhythm.peak))
    places = (numbers[:, None] - np.arange(latest)) % rhythm.peaks
    recent = np.take_along_axis(peaks, places[None, None], axis=3)
    lasting = np.where(np.isnan(recent).any(axis=3), -np.inf, recent.min(axis=3))
    recurring[:, 1] = -np.inf
    own = np.maximum(np.maximum(rare, recurring + _MARGIN), lasting)
    own[:, 1] = np.minimum(own[:, 1], np.reshape(_most_lasting(rhythm, times), (-1, 1)))
    return known, own


def _most_lasting(rhythm: Rhythm, times: float | Float) -> Float:
    """The bound of the level of lasting evidence: higher where false alarms are to be rarer."""
    most = _MOST_SPARED if rhythm.spares else _MOST_LASTING
    return np.asarray(most + _SLOPE * np.log(np.maximum(times, 1.0)), np.float64)


def _reduced(rhythm: Rhythm, times: float | Float) -> Float:
    """Gumbel's reduced variate of the peak that one block passes in the time between two false alarms."""
    return np.asarray(-np.log(rhythm.peak / (interval(rhythm) * np.asarray(times))), np.float64)


def _quantiles(values: NDArray[np.float32], shares: Sequence[float | Float]) -> tuple[Float, ...]:
    """Quantiles along the last axis of what is not NaN; a share may be one for each row [S, 1, 1, 1]."""
    ordered = np.sort(values, axis=-1).astype(np.float64)
    size = ordered.shape[-1]
    n = np.maximum(size - np.isnan(ordered).sum(axis=-1, dtype=np.int64)[..., None] - 1, 0)
    places = np.concatenate([share * n for share in shares], axis=-1)
    low = np.floor(places).astype(np.int64)
    row = np.arange(n.size).reshape(n.shape) * size
    flat = ordered.reshape(-1)
    a, b = flat[row + low], flat[row + np.minimum(low + 1, n)]
    found = a + (places - low) * (b - a)
    return tuple(found[..., number] for number in range(len(shares)))
