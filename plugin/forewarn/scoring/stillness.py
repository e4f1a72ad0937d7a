"""For how long each series has had one value, and how long that must be before it means something.

Owns: the arrays of the carry that tell of standing still, and `follow`. A run is how many values of a series in a row are
exactly equal. Holes and windows of maintenance pause a run: they neither lengthen nor end it. Zeros of what counts documents
are holes: silence watches those. A series that rests at the lowest or highest value that it ever has (idle, full) is not
stuck. What is usual changes at the ends of UTC days only, and all that is counted is exact, so that no cut of time changes
anything. Must not open anything, nor know what a value should be.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from forewarn.detector import DAY, MINUTE, Detector
from forewarn.series import Float, TimeGrid

Arrays = dict[str, NDArray[Any]]
Bool = NDArray[np.bool_]
Int = NDArray[np.int64]

NONE: Final = -(2**62)
"""The time of a value that never was."""
NEVER: Final = 2**62
"""Longer than any run: to stand still is usual for this series, or it is not known well enough."""

_FALSE: Final = 0.1
"""False flatlines that are expected of a series in a year, at most."""
_YEAR: Final = 365.0
_MARGIN: Final = 2.0
"""How much slower than exponentially runs may become rare beyond the longest one that was seen."""
_SHORTEST: Final = 4
"""Equal values, at least; and they must be equal"""
_BRIEFEST: Final = 30 * MINUTE
"""for so long."""
_MOSTLY: Final = 0.5
"""Share of values equal to the one before, up to which a series is one that moves."""
_FEWEST: Final = 30.0
"""Moves before anything is said, in"""
_FIRST_DAYS: Final = 2
"""so many days."""
_RESTS: Final = 3
"""Who stood still for more values than this rests at times, and must have been seen"""
_WEEK: Final = 8
"""for so many days, a weekend among them."""
_MEMORY: Final = 28
"""Days that counts are remembered; the longest runs for at least so long, and at most twice."""
_OFTEN: Final = 3
"""So many flatlines within the memory that ended by themselves are this series' way."""


@dataclass(frozen=True, slots=True, eq=False)
class Stood:
    """What a block shows, [R, B], after each bucket: how many values in a row are equal, since when, the start of the last
    bucket that counted (NONE: none yet); and whether its own counted, and whether it moved. As known at the last midnight: how
    long a run must be to mean something, the longest that meant nothing, and the share of values equal to the one before.
    """

    run: Int
    since: Int
    last: Int
    known: Bool
    moved: Bool
    least: Int
    longest: Int
    repeats: Float


def fresh(R: int) -> Arrays:
    """The arrays of R rows that were never seen."""
    return {
        "still_value": np.full(R, np.nan),
        "still_run": np.zeros(R, np.int64),
        "still_since": np.full(R, NONE, np.int64),
        "still_last": np.full(R, NONE, np.int64),
        "still_today": np.zeros((R, 2), np.int64),  # values that have one before them, and moves
        "still_counts": np.zeros((R, 2)),
        "still_days": np.zeros(R, np.int8),
        "still_longest": np.ones((R, 2), np.int64),  # in this memory, and in the one before
        "still_flat": np.zeros((R, 2), np.int64),  # flatlines that ended, in both memories
        "still_flattest": np.zeros((R, 2), np.int64),  # and the longest of them
        "still_low": np.full((R, 2), np.inf),  # the lowest value that it moved from, in both memories
        "still_high": np.full((R, 2), -np.inf),
        "still_least": np.full(R, NEVER, np.int64),
        "still_edges": np.full((R, 2), np.nan),
        "still_usual": np.ones(R, np.int64),
        "still_repeats": np.zeros(R),
    }


def follow(arrays: Mapping[str, NDArray[Any]], detector: Detector, grid: TimeGrid, values: Float) -> tuple[Stood, Arrays]:
    """What the block of values [R, B] shows, and the arrays [R] after it."""
    times = grid.times()
    counts = ~np.isnan(values) & ~detector.in_maintenance(times, grid.step)
    if detector.zero_when_empty:
        counts &= values != 0.0
    after: Arrays = dict(arrays)
    parts: list[tuple[NDArray[Any], ...]] = []
    low = 0
    while low < grid.size:
        edge = (int(times[low]) // DAY + 1) * DAY
        high = min(grid.size, max(low + 1, -(-(edge - grid.start) // grid.step)))
        parts.append(_within_day(after, detector, times[low:high], values[:, low:high], counts[:, low:high]))
        if grid.start + high * grid.step >= edge:
            _end_day(after, detector, edge)
        low = high
    return Stood(*(np.concatenate(many, axis=1) for many in zip(*parts, strict=True))), after


def _within_day(after: Arrays, detector: Detector, times: Int, values: Float, known: Bool) -> tuple[NDArray[Any], ...]:
    """Follows buckets of one UTC day; what Stood holds of them."""
    place = np.maximum.accumulate(np.where(known, np.arange(1, len(times) + 1), 0), axis=1)
    earlier = np.concatenate([np.zeros((len(values), 1), np.int64), place[:, :-1]], axis=1)
    held = np.concatenate([after["still_value"][:, None], values], axis=1)
    seen = np.concatenate([after["still_last"][:, None], np.broadcast_to(times, values.shape)], axis=1)
    before, last = np.take_along_axis(held, earlier, axis=1), np.take_along_axis(seen, place, axis=1)
    pair = known & (times - np.take_along_axis(seen, earlier, axis=1) <= detector.retire_after)
    moved = known & ~(pair & (values == before))

    count = known.cumsum(axis=1)
    turn = np.maximum.accumulate(np.where(moved, np.arange(len(times)), -1), axis=1)
    turned, at = turn >= 0, np.maximum(turn, 0)
    run = np.where(turned, count - np.take_along_axis(count, at, axis=1) + 1, after["still_run"][:, None] + count)
    since = np.where(turned, times[at], after["still_since"][:, None])
    told = ("still_least", "still_usual", "still_repeats")
    least, longest, repeats = (np.broadcast_to(after[name][:, None], values.shape) for name in told)
    asked = np.where(_at_an_edge(after, before), NEVER, least)
    least = np.where(_at_an_edge(after, values), NEVER, least)

    left = moved & pair
    over = np.where(left, np.concatenate([after["still_run"][:, None], run[:, :-1]], axis=1), 0)
    flat = over >= asked
    ordinary = left & ~flat
    _grow(after, "still_longest", np.maximum, np.where(flat, 0, over).max(axis=1))
    _grow(after, "still_flattest", np.maximum, np.where(flat, over, 0).max(axis=1))
    _grow(after, "still_flat", np.add, flat.sum(axis=1))
    _grow(after, "still_low", np.minimum, np.where(ordinary, before, np.inf).min(axis=1))
    _grow(after, "still_high", np.maximum, np.where(ordinary, before, -np.inf).max(axis=1))
    after["still_today"] = after["still_today"] + np.stack([pair.sum(axis=1), left.sum(axis=1)], axis=1)
    after["still_value"] = np.take_along_axis(held, place[:, -1:], axis=1)[:, 0]
    after["still_last"], after["still_run"], after["still_since"] = (one[:, -1].copy() for one in (last, run, since))
    return run, since, last, known, moved, least, longest, repeats


def _at_an_edge(arrays: Arrays, values: Float) -> Bool:
    """Which values [R, n] are the lowest or the highest; in the first week also those beyond, as no limit may be known yet."""
    low, high = arrays["still_edges"][:, :1], arrays["still_edges"][:, 1:]
    young = (arrays["still_days"] < _WEEK)[:, None]
    return np.asarray((values == low) | (values == high) | (young & ((values < low) | (values > high))), np.bool_)


def _grow(after: Arrays, name: str, by: np.ufunc, array: NDArray[Any]) -> None:
    """Adds to what is remembered in the present memory; the one before stays."""
    after[name] = np.stack([by(after[name][:, 0], array), after[name][:, 1]], axis=1)


def _end_day(after: Arrays, detector: Detector, edge: int) -> None:
    """Ends the UTC day before `edge`: what must be passed is set anew."""
    today = after["still_today"]
    counts = after["still_counts"] = after["still_counts"] * (1.0 - 1.0 / _MEMORY) + today
    after["still_days"] = np.minimum(after["still_days"] + (today[:, 0] > 0), _MEMORY).astype(np.int8)
    after["still_today"] = np.zeros_like(today)
    longest = after["still_longest"].max(axis=1)
    often = after["still_flat"].sum(axis=1) >= _OFTEN
    longest = np.where(often, np.maximum(longest, after["still_flattest"].max(axis=1)), longest)
    after["still_least"] = _least(counts, longest, after["still_days"].astype(np.float64), detector.step)
    after["still_usual"] = longest
    after["still_repeats"] = 1.0 - counts[:, 1] / np.maximum(counts[:, 0], 1.0)
    after["still_edges"] = np.stack([after["still_low"].min(axis=1), after["still_high"].max(axis=1)], axis=1)
    if edge // DAY % _MEMORY == 0:
        blank = fresh(len(counts))
        for name in ("still_longest", "still_flat", "still_flattest", "still_low", "still_high"):
            after[name] = np.stack([blank[name][:, 0], after[name][:, 0]], axis=1)


def _least(counts: Float, longest: Int, days: Float, step: int) -> Int:
    """[R]: how many equal values in a row are a flatline.

    Two thoughts, of which the one that asks for more counts. If a value is equal to the one before by chance, runs become rare
    by that chance with every value. If some states last, the longest of n runs tells how fast runs become rare among long ones:
    by n over its length; beyond it they are thought to become rare more slowly, by _MARGIN.
    """
    values, moves = counts.T
    some = np.maximum(days, 1.0)
    chance = (values - moves + 1.0) / (values + 2.0)
    by_chance = 1.0 + np.log(np.maximum(values / some * _YEAR / _FALSE, 1.0)) / -np.log(chance)
    beyond = np.log(_YEAR / (some * _FALSE)) / np.log(np.maximum(moves, _FEWEST))
    by_length = longest * (1.0 + _MARGIN * beyond)
    shortest = max(_SHORTEST, 1 + -(-_BRIEFEST // step))
    known = (moves >= _FEWEST) & (days >= np.where(longest > _RESTS, _WEEK, _FIRST_DAYS)) & (chance <= _MOSTLY)
    least = np.ceil(np.maximum(np.maximum(by_chance, by_length), shortest)).astype(np.int64)
    return np.where(known, least, NEVER)
