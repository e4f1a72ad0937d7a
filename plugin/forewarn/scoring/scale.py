"""What size of residual is usual for a series: by time of day and over the last two weeks.

Owns: the scale arrays of the carry and `usual`. Robust throughout: points become medians of half-hour slots, slots become
medians of blocks and of days. All in logarithms, so that no unit under- or overflows. Must not see scores: a scale that
learnt only from what was not anomalous would shrink until everything is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from forewarn.scoring.rhythm import MEMORY_BLOCKS, MEMORY_DAYS, Rhythm
from forewarn.scoring.windows import ranked
from forewarn.series import Float, TimeGrid

Arrays = dict[str, NDArray[Any]]
KINDS: Final = 2
"""The residual itself, and the residual against the recent ones."""

_FLOOR: Final = np.log(0.1)
"""No scale is below a tenth of the spread of the past values: a median of 0 knows no size."""
_HABIT: Final = 0.5
"""Share of the scale of a time of day in the scale in force there."""
_ORDINARY: Final = 0.75
"""Share of the blocks that the spread is taken from: one heavy event of days must not blind a series for weeks."""
_RARE: Final = 0.03
"""Share of the whole standard deviation that counts in any case: rare spikes over a constant have a size, too."""
_ABSURD: Final = 3.0
"""But where values vary ordinarily, no more than so many times as much: one absurd value must not blind a series for weeks."""
_ROUNDING: Final = 1e-9
"""Share of the value below which a deviation is the arithmetic's, not the world's."""
_LEAST_SHARE: Final = 0.25
"""Share of a block's slots that need data for the block to say something."""
_FEW_LANES: Final = 8
_MANY: Final = 2048
"""Medians of so few values are taken by minima and maxima where there are so many of them, and by sorting elsewhere."""
_CHUNK: Final = 64
"""Rows whose days are worked on at a time, so that they stay in the cache."""


def fresh(rhythm: Rhythm, S: int) -> Arrays:
    """The scale arrays of S series that were never seen."""
    nan32, nan64 = np.float32(np.nan), np.nan
    days = {f"day_{d:02}": np.full((S, KINDS, rhythm.slots), nan32) for d in range(MEMORY_DAYS)}
    return days | {
        "slot": np.full((S, KINDS + 1, rhythm.in_slot), nan64),
        "moments": np.zeros((S, 3)),
        "origin": np.full(S, nan64),
        "habit": np.full((S, KINDS, rhythm.slots), nan32),
        "habit_days": np.zeros((S, rhythm.slots), np.int8),
        "block_scale": np.full((S, KINDS, MEMORY_BLOCKS), nan32),
        "block_mean": np.full((S, MEMORY_BLOCKS), nan64),
        "block_variance": np.full((S, MEMORY_BLOCKS), nan64),
        "scale": np.full((S, KINDS), nan64),
        "floor": np.full(S, -np.inf),
        "coverage": np.ones(S),
    }


NAMES: Final = (
    *(f"day_{day:02}" for day in range(MEMORY_DAYS)),
    "slot", "moments", "origin", "habit", "habit_days", "block_scale", "block_mean", "block_variance", "scale", "floor",
    "coverage",
)  # fmt: skip
"""The scale arrays of the carry."""


def masked_median(values: NDArray[Any]) -> NDArray[Any]:
    """The median along the last axis of what is not NaN; NaN where nothing is left."""
    size = values.shape[-1]
    if size <= _FEW_LANES and values.size >= _MANY * size and not np.isnan(values).any():
        lanes = np.moveaxis(values, -1, 0).reshape(size, -1)
        low, high = (lane.reshape(values.shape[:-1]) for lane in _middle(list(np.ascontiguousarray(lanes))))
    else:
        low, high = _middle_of_known(np.sort(values, axis=-1))  # NaN last
    return np.where(low == high, low, 0.5 * (low + high)).astype(values.dtype)  # equal infinities have no mean


def _middle(lanes: list[NDArray[Any]]) -> tuple[NDArray[Any], NDArray[Any]]:
    """The values at the two middle ranks (or twice that at the one) at each place of the lanes, none of them NaN."""
    n = len(lanes)
    found = ranked(lanes, (n - 1) // 2, n // 2)
    return found[0], found[-1]


def _middle_of_known(ordered: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """The same along the last axis of what is in order, NaN last, for what is not NaN."""
    size = ordered.shape[-1]
    missing = np.isnan(ordered)
    rows = ordered.size // max(1, size)
    some = size - int(np.count_nonzero(missing.reshape(-1, size)[0])) if rows else 0
    # Mostly all rows know equally much: then the middle is a column.
    if some and np.count_nonzero(missing) == rows * (size - some) and not missing[..., some - 1].any():
        return ordered[..., (some - 1) // 2], ordered[..., some // 2]
    n = size - missing.sum(axis=-1, dtype=np.int64)
    row = np.arange(rows).reshape(n.shape) * size
    flat = ordered.reshape(-1)
    return flat[row + np.maximum(n - 1, 0) // 2], flat[row + np.minimum(n // 2, size - 1)]


def usual(
    arrays: Mapping[str, NDArray[Any]],
    rhythm: Rhythm,
    grid: TimeGrid,
    sizes: Float,
    values: Float,
    expected: Float,
    sigma: Float,
) -> tuple[Float, Float, Arrays]:
    """The logarithms of the scales [S, KINDS, B] in force at each bucket, the coverage [S, B] known there, and the scale
    arrays after the block.

    `sizes` [S, KINDS, B] are the absolute residuals, NaN = no data. A scale never knows the block it is used in.
    """
    S, B = values.shape
    after: Arrays = {name: arrays[name] for name in NAMES}
    origin = after["origin"]
    if np.isnan(origin).any():
        first = np.take_along_axis(values, np.argmax(np.isfinite(values), axis=1)[:, None], axis=1)[:, 0]
        after["origin"] = np.where(np.isnan(origin), first, origin)
    medians, sums, first_slot = _close_slots(after, rhythm, grid, sizes, values)
    logs, coverage = np.empty((S, KINDS, B)), np.empty((S, B))
    low, times = 0, grid.times()
    while low < B:  # cycle by cycle: the scales of several blocks are set at once, with the habits of one day
        parts: list[tuple[int, int]] = []
        ended: list[_Ended] = []
        name = f"day_{int(times[low]) // rhythm.slot // rhythm.slots % MEMORY_DAYS:02}"
        day, moments, cycle = after[name], after["moments"].copy(), False
        while low < B and not cycle:
            edge = (int(times[low]) // rhythm.block + 1) * rhythm.block
            high = min(B, max(low + 1, -(-(edge - grid.start) // grid.step)))
            end = grid.start + high * grid.step
            parts.append((low, high))
            for slot in range(max(first_slot, int(times[low]) // rhythm.slot), min(end, edge) // rhythm.slot):
                if day is after[name]:
                    day = day.copy()
                day[:, :, slot % rhythm.slots] = medians[:, :, slot - first_slot]
                moments += sums[:, slot - first_slot]  # one by one: the same order of additions however a block was cut
            if end >= edge:
                ended.append(_Ended(edge // rhythm.block - 1, moments))
                moments, cycle = np.zeros_like(moments), edge % rhythm.cycle == 0
            low = high
        after[name], after["moments"] = day, moments
        scales, floors, shares = _end_blocks(after, rhythm, ended, day)
        for number, (begin, until) in enumerate(parts):
            coverage[:, begin:until] = shares[number][:, None]
            part = {"scale": scales[:, :, number], "floor": floors[:, number]}
            _in_force(after, rhythm, part, times[begin:until], logs[:, :, begin:until])
        if ended:
            after["scale"], after["floor"] = scales[:, :, -1].copy(), floors[:, -1].copy()
        if cycle:
            after["habit"], after["habit_days"] = _habits([after[f"day_{d:02}"] for d in range(MEMORY_DAYS)])
            following = f"day_{(int(times[low - 1]) // rhythm.cycle + 1) % MEMORY_DAYS:02}"
            after[following] = np.full_like(after[following], np.nan)
    # Where a value is masked, what is expected of it has a size nevertheless.
    floor = np.log(np.maximum(_ROUNDING * np.fmax(np.abs(values), np.abs(expected)), 1e-300))
    unknown = np.isnan(logs)
    if unknown.any():
        with np.errstate(divide="ignore"):
            prior = np.log(sigma)
        logs = np.where(unknown, prior[:, None, :], logs)
    return np.fmax(logs, floor[:, None, :]), coverage, after


def _close_slots(after: Arrays, rhythm: Rhythm, grid: TimeGrid, sizes: Float, values: Float) -> tuple[Float, Float, int]:
    """Logarithms of the medians [S, KINDS, n] and the moments [S, n, 3] of the slots that end in the block, and the first.

    The points of the slot that is still open at the end stay in `after["slot"]`.
    """
    S, _ = values.shape
    times = grid.times()
    slot = times // rhythm.slot
    place = times // rhythm.step - -(-(slot * rhythm.slot) // rhythm.step)
    first, last = int(slot[0]), int((grid.end) // rhythm.slot)
    keep: NDArray[np.bool_] | slice = place % rhythm.thin == 0
    points = np.full((S, KINDS + 1, last - first + 1, rhythm.in_slot), np.nan)
    points[:, :, 0] = after["slot"]
    where = (slot[keep] - first) * rhythm.in_slot + place[keep] // rhythm.thin
    every: NDArray[np.int64] | slice = where
    if rhythm.thin == 1 and where[-1] - where[0] + 1 == len(where):
        every, keep = slice(int(where[0]), int(where[-1]) + 1), slice(None)
    flat = points.reshape(S, KINDS + 1, -1)
    flat[:, :KINDS, every] = sizes[:, :, keep]
    flat[:, KINDS, every] = (values - after["origin"][:, None])[:, keep]
    after["slot"] = points[:, :, -1].copy()
    closed = points[:, :, :-1]
    with np.errstate(divide="ignore"):
        medians = np.log(masked_median(closed[:, :KINDS]))
    y = closed[:, KINDS]
    known = np.isfinite(y)
    sums = np.empty((*y.shape[:2], 3))
    if known.all():
        sums[:, :, 0] = y.shape[2]
    else:
        sums[:, :, 0] = known.sum(axis=-1)
        y = np.where(known, y, 0.0)
    sums[:, :, 1], sums[:, :, 2] = y.sum(axis=-1), np.square(y).sum(axis=-1)
    return medians, sums, first


@dataclass(frozen=True, slots=True, eq=False)
class _Ended:
    """A block that has ended: its number since 1970, and its moments [S, 3]."""

    number: int
    moments: Float


def _end_blocks(
    after: Arrays, rhythm: Rhythm, ended: list[_Ended], day: NDArray[np.float32]
) -> tuple[Float, Float, list[Float]]:
    """Moves finished blocks of one day into the memory of blocks.

    The scales [S, KINDS, n + 1] and floors [S, n + 1] before the first of these n blocks ends, and after each of them; the
    coverages [S] likewise.
    """
    before, coverages = (after["scale"][:, :, None], after["floor"][:, None]), [after["coverage"]]
    if not ended:
        return *before, coverages
    numbers = [block.number for block in ended]
    places = [number % MEMORY_BLOCKS for number in numbers]
    in_block = rhythm.block // rhythm.slot
    at = numbers[0] * in_block % rhythm.slots
    slots = day[:, :, at : at + len(ended) * in_block].reshape(*day.shape[:2], len(ended), -1)
    enough = (~np.isnan(slots)).sum(axis=-1) >= max(1, round(_LEAST_SHARE * in_block))
    rings = _remembered(after["block_scale"], places, np.where(enough, masked_median(slots), np.float32(np.nan)))
    scales = masked_median(rings).astype(np.float64)
    after["block_scale"] = rings[:, :, -1].copy()

    n, total, squares = np.stack([block.moments for block in ended], axis=1).transpose(2, 0, 1)
    some = np.maximum(n, 1.0)
    means = _remembered(after["block_mean"], places, np.where(n > 0, total / some, np.nan))
    variance = np.where(n > 0, np.maximum(squares / some - np.square(total / some), 0.0), np.nan)
    variances = _remembered(after["block_variance"], places, variance)
    with np.errstate(divide="ignore"):
        floors = _FLOOR + np.log(_spread(means, variances))
    after["block_mean"], after["block_variance"] = means[:, -1].copy(), variances[:, -1].copy()
    share = np.minimum(1.0, n / rhythm.kept_in_block)
    unknown = np.isnan(means).all(axis=2)
    for number in range(len(ended)):
        coverages.append(np.where(unknown[:, number], 1.0, 0.75 * coverages[-1] + 0.25 * share[:, number]))
    after["coverage"] = coverages[-1]
    return np.concatenate([before[0], scales], axis=2), np.concatenate([before[1], floors], axis=1), coverages


def _remembered(ring: NDArray[Any], places: list[int], values: NDArray[Any]) -> NDArray[Any]:
    """The ring [..., MEMORY_BLOCKS] after each of the values [..., n] was written to its place, [..., n, MEMORY_BLOCKS]."""
    rings = np.repeat(ring[..., None, :], len(places), axis=-2)
    for number, place in enumerate(places):
        rings[..., number:, place] = values[..., number, None]
    return rings


def blended(arrays: Mapping[str, NDArray[Any]]) -> Float:
    """Logarithms of the scales in force for each slot of a cycle [S, KINDS, slots]; NaN before the first block ended.

    The scale of a time of day has its share beside that of all day, once it was seen on some days.
    """
    days = arrays["habit_days"][:, None, :].astype(np.float64)
    weight = _HABIT * np.minimum(1.0, days / 3.0)
    habit = np.where(np.isfinite(arrays["habit"]) & (days > 0), arrays["habit"], arrays["scale"][:, :, None])
    base = arrays["scale"][:, :, None]
    both = np.isfinite(base) & np.isfinite(habit)
    mixed = base + weight * (np.where(both, habit, 0.0) - np.where(both, base, 0.0))
    return np.asarray(np.where(np.isnan(base), np.nan, np.fmax(mixed, arrays["floor"][:, None, None])), np.float64)


def _in_force(after: Arrays, rhythm: Rhythm, part: Arrays, times: NDArray[np.int64], out: Float) -> None:
    """Writes the logarithms of the scales [S, KINDS, n] at buckets of one block, with the scale and floor of `part`."""
    at = times % rhythm.cycle // rhythm.slot
    first = int(at[0])
    few = slice(first, int(at[-1]) + 1)
    habits = {"habit": after["habit"][:, :, few], "habit_days": after["habit_days"][:, few]}
    out[...] = np.take(blended(part | habits), at - first, axis=2)


def _habits(days: list[NDArray[np.float32]]) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """The medians of the days [S, KINDS, slots] of each slot, and of how many days [S, slots]."""
    S, size = len(days[0]), days[0].size
    missing = [int(np.count_nonzero(np.isnan(day))) for day in days] if size >= _MANY else []
    seen = [day for day, gone in zip(days, missing, strict=False) if not gone]
    if not seen or len(seen) + missing.count(size) < len(days):
        whole = np.stack(days, axis=-1)
        return masked_median(whole), np.count_nonzero(~np.isnan(whole[:, 0]), axis=-1).astype(np.int8)
    habit = np.empty_like(seen[0])
    for row in range(0, S, _CHUNK):
        low, high = _middle([day[row : row + _CHUNK] for day in seen])
        habit[row : row + _CHUNK] = np.where(low == high, low, 0.5 * (low + high))
    return habit, np.full((S, habit.shape[2]), len(seen), np.int8)


def _spread(means: Float, variances: Float) -> Float:
    """The standard deviation of remembered blocks (the last axis) without the quarter that strays most, or a share of that
    of all.
    """
    centre = masked_median(means)[..., None]
    square = np.square(means - centre) + variances
    ordered = np.sort(square, axis=-1)  # NaN last
    missing = np.isnan(ordered)
    n = ordered.shape[-1] - missing.sum(axis=-1)
    kept = np.arange(ordered.shape[-1]) < np.ceil(_ORDINARY * n)[..., None]
    ordinary = np.where(kept, ordered, 0.0).sum(axis=-1) / np.maximum(kept.sum(axis=-1), 1)
    every = np.where(missing, 0.0, ordered).sum(axis=-1) / np.maximum(n, 1)
    usual, rare = np.sqrt(ordinary), _RARE * np.sqrt(every)
    rare = np.where(usual > 0.0, np.minimum(rare, _ABSURD * usual), rare)
    return np.asarray(np.maximum(usual, rare), np.float64)
