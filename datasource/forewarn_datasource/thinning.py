"""Fewer points for a panel that has fewer pixels, without losing what a person looks for.

Owns: Rows, thin, width_for, common_step. Pure array operations; knows no request and no store.

Rows are gathered in slots of a width that is a multiple of the step, on multiples of it since 1970, so that points do not
jump when the range moves. Per slot the score is the maximum, `lower` the minimum, `upper` the maximum, `expected` the mean.
`actual` keeps its minimum and its maximum of every two slots: a spike of one bucket stays as high as it was, and a dip as
low. Where both lie in the same slot, the one nearer to the mean moves to the other slot: the spike stays beside its score.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forewarn.detector import DAY
from forewarn.errors import RequestError
from forewarn.series import Float

COLUMNS = ("actual", "expected", "lower", "upper", "score")


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Values of one series at ascending times: `start` int64 [N] UTC ms, the others float64 [N], NaN = no data."""

    start: NDArray[np.int64]
    actual: Float
    expected: Float
    lower: Float
    upper: Float
    score: Float

    @classmethod
    def empty(cls) -> "Rows":
        """No rows at all."""
        return cls(np.empty(0, dtype=np.int64), *(np.empty(0) for _ in COLUMNS))

    @classmethod
    def join(cls, parts: Sequence["Rows"]) -> "Rows":
        """One after the other; the parts are in order of time and do not overlap."""
        return cls(
            np.concatenate([part.start for part in parts]),
            *(np.concatenate([getattr(part, name) for part in parts]) for name in COLUMNS),
        )


def common_step(steps: Iterable[int]) -> int:
    """The shortest step (ms) that all of `steps` divide, so that several series lie on one time grid."""
    step = reduce(math.lcm, steps, 1)
    if step > DAY:
        raise RequestError(
            "series", "the buckets of these series have no step of up to a day in common; ask for them separately"
        )
    return step


def width_for(step: int, span: int, points: int | None, interval: int | None) -> int:
    """The slot width (ms), a multiple of `step`, that gives at most about `points` rows over `span` ms, and is at least
    `interval` where that is given.
    """
    wanted = max(span / points if points else 0, interval or 0)
    return step * max(1, math.ceil(wanted / step))


def thin(rows: Rows, step: int, width: int) -> Rows:
    """The rows in slots of `width` ms; the same rows if they are already one a slot (a series whose bucket was changed
    may hold rows of an older, shorter step).
    """
    if not rows.start.size or (width <= step and not (rows.start % width).any()):
        return rows
    slot = rows.start // width
    edges = _edges(slot)
    shown, actual = _envelope(rows.start, rows.actual, width)
    slots = np.union1d(slot[edges], shown)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        held = np.add.reduceat((~np.isnan(rows.expected)).astype(np.int64), edges)
        expected = np.add.reduceat(np.nan_to_num(rows.expected), edges) / held
    at = np.searchsorted(slots, slot[edges])
    return Rows(
        slots * width,
        _placed(actual, np.searchsorted(slots, shown), slots.size),
        _placed(expected, at, slots.size),
        _placed(np.fmin.reduceat(rows.lower, edges), at, slots.size),
        _placed(np.fmax.reduceat(rows.upper, edges), at, slots.size),
        _placed(np.fmax.reduceat(rows.score, edges), at, slots.size),
    )


def _edges(bins: NDArray[np.int64]) -> NDArray[np.intp]:
    """Where each run of equal bins begins; there is at least one bin."""
    return np.flatnonzero(np.concatenate([[True], bins[1:] != bins[:-1]]))


def _envelope(start: NDArray[np.int64], actual: Float, width: int) -> tuple[NDArray[np.int64], Float]:
    """(slots, values): of every two slots the minimum and the maximum, each in its own slot where they differ.

    Where both are the same value, it is shown in the slots that held it.
    """
    known = ~np.isnan(actual)
    start, actual = start[known], actual[known]
    if not start.size:
        return start, actual
    slot = start // width
    pair = slot // 2
    edges = _edges(pair)
    size = np.diff(edges, append=pair.size)
    member = np.repeat(np.arange(edges.size), size)
    low, high = np.minimum.reduceat(actual, edges), np.maximum.reduceat(actual, edges)
    place = np.arange(pair.size)
    at_low = slot[np.minimum.reduceat(np.where(actual == low[member], place, pair.size - 1), edges)]
    at_high = slot[np.minimum.reduceat(np.where(actual == high[member], place, pair.size - 1), edges)]
    with np.errstate(invalid="ignore", over="ignore"):  # infinite values have no mean
        high_stays = high - np.add.reduceat(actual, edges) / size > np.add.reduceat(actual, edges) / size - low
    crowded = at_low == at_high
    at_low, at_high = np.where(crowded & high_stays, at_low ^ 1, at_low), np.where(crowded & ~high_stays, at_high ^ 1, at_high)

    flat = low == high
    own = np.unique(slot[flat[member]])
    level = low[np.searchsorted(pair[edges], own // 2)]
    return np.concatenate([own, at_low[~flat], at_high[~flat]]), np.concatenate([level, low[~flat], high[~flat]])


def _placed(values: NDArray[Any], at: NDArray[np.intp], size: int) -> Float:
    placed = np.full(size, np.nan)
    placed[at] = values
    return placed
