"""What size of residual is usual for a series: by time of day and over the last two weeks.

Owns: the scale arrays of the carry and `usual`. Robust throughout: points become medians of half-hour slots, slots become
medians of blocks and of days. All in logarithms, so that no unit under- or overflows. Must not see scores: a scale that
learnt only from what was not anomalous would shrink until everything is.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from forewarn.scoring.rhythm import MEMORY_BLOCKS, MEMORY_DAYS, Rhythm
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
_ROUNDING: Final = 1e-9
"""Share of the value below which a deviation is the arithmetic's, not the world's."""
_LEAST_SHARE: Final = 0.25
"""Share of a block's slots that need data for the block to say something."""


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


def masked_median(values: NDArray[Any]) -> NDArray[Any]:
    """The median along the last axis of what is not NaN; NaN where nothing is left."""
    ordered = np.sort(values, axis=-1)  # NaN last
    n = np.count_nonzero(~np.isnan(ordered), axis=-1)[..., None]
    low = np.take_along_axis(ordered, np.maximum(n - 1, 0) // 2, axis=-1)[..., 0]
    high = np.take_along_axis(ordered, np.minimum(n // 2, ordered.shape[-1] - 1), axis=-1)[..., 0]
    return np.where(low == high, low, 0.5 * (low + high)).astype(values.dtype)  # equal infinities have no mean


def usual(
    arrays: Mapping[str, NDArray[Any]],
    rhythm: Rhythm,
    grid: TimeGrid,
    sizes: Float,
    values: Float,
    expected: Float,
    sigma: Float,
) -> tuple[Float, Arrays]:
    """The logarithms of the scales [S, KINDS, B] in force at each bucket, and the scale arrays after the block.

    `sizes` [S, KINDS, B] are the absolute residuals, NaN = no data. A scale never knows the block it is used in.
    """
    S, B = values.shape
    after: Arrays = {name: arrays[name] for name in fresh(rhythm, 0)}
    origin = after["origin"]
    if np.isnan(origin).any():
        first = np.take_along_axis(values, np.argmax(np.isfinite(values), axis=1)[:, None], axis=1)[:, 0]
        after["origin"] = np.where(np.isnan(origin), first, origin)
    medians, sums, first_slot = _close_slots(after, rhythm, grid, sizes, values)
    logs = np.empty((S, KINDS, B))
    times = grid.times()
    low = 0
    while low < B:
        edge = (int(times[low]) // rhythm.block + 1) * rhythm.block
        high = min(B, max(low + 1, -(-(edge - grid.start) // grid.step)))
        logs[:, :, low:high] = _in_force(after, rhythm, times[low:high])
        end = grid.start + high * grid.step
        done = range(max(first_slot, int(times[low]) // rhythm.slot), min(end, edge) // rhythm.slot)
        if done:
            _remember_slots(after, rhythm, done, first_slot, medians, sums)
        if end >= edge:
            _end_block(after, rhythm, edge)
        low = high
    floor = np.log(np.maximum(_ROUNDING * np.maximum(np.abs(values), np.abs(expected)), 1e-300))
    with np.errstate(divide="ignore"):
        prior = np.log(sigma)
    logs = np.where(np.isnan(logs), prior[:, None, :], logs)
    return np.fmax(logs, floor[:, None, :]), after


def _close_slots(after: Arrays, rhythm: Rhythm, grid: TimeGrid, sizes: Float, values: Float) -> tuple[Float, Float, int]:
    """Logarithms of the medians [S, KINDS, n] and the moments [S, n, 3] of the slots that end in the block, and the first.

    The points of the slot that is still open at the end stay in `after["slot"]`.
    """
    S, _ = values.shape
    times = grid.times()
    slot = times // rhythm.slot
    place = times // rhythm.step - -(-(slot * rhythm.slot) // rhythm.step)
    first, last = int(slot[0]), int((grid.end) // rhythm.slot)
    keep = place % rhythm.thin == 0
    points = np.full((S, KINDS + 1, last - first + 1, rhythm.in_slot), np.nan)
    points[:, :, 0] = after["slot"]
    where = (slot[keep] - first, place[keep] // rhythm.thin)
    points[:, :KINDS, where[0], where[1]] = sizes[:, :, keep]
    points[:, KINDS, where[0], where[1]] = (values - after["origin"][:, None])[:, keep]
    after["slot"] = points[:, :, -1].copy()
    closed = points[:, :, :-1]
    with np.errstate(divide="ignore"):
        medians = np.log(masked_median(closed[:, :KINDS]))
    known = np.isfinite(closed[:, KINDS])
    y = np.where(known, closed[:, KINDS], 0.0)
    sums = np.stack([known.sum(axis=-1, dtype=np.float64), y.sum(axis=-1), np.square(y).sum(axis=-1)], axis=-1)
    return medians, sums, first


def _remember_slots(after: Arrays, rhythm: Rhythm, done: range, first: int, medians: Float, sums: Float) -> None:
    """Writes the slots `done` (all of one block) into their day and adds their moments to the block's."""
    name = f"day_{done.start // rhythm.slots % MEMORY_DAYS:02}"
    day = after[name].copy()
    at = done.start % rhythm.slots
    part = slice(done.start - first, done.stop - first)
    day[:, :, at : at + len(done)] = medians[:, :, part]
    after[name] = day
    moments = after["moments"].copy()
    for index in range(part.start, part.stop):  # one by one: the same order of additions however the block was cut
        moments += sums[:, index]
    after["moments"] = moments


def _end_block(after: Arrays, rhythm: Rhythm, edge: int) -> None:
    """Moves a finished block into the memory of blocks, a finished day into the habits, and sets the scales anew."""
    number = edge // rhythm.block - 1
    in_block = rhythm.block // rhythm.slot
    cycle = (edge - 1) // rhythm.cycle
    at = number * in_block % rhythm.slots
    slots = after[f"day_{cycle % MEMORY_DAYS:02}"][:, :, at : at + in_block]
    enough = np.count_nonzero(~np.isnan(slots), axis=-1) >= max(1, round(_LEAST_SHARE * in_block))
    ring = after["block_scale"].copy()
    ring[:, :, number % MEMORY_BLOCKS] = np.where(enough, masked_median(slots), np.float32(np.nan))
    after["block_scale"] = ring
    after["scale"] = masked_median(ring).astype(np.float64)

    n, total, squares = after["moments"].T
    some = np.maximum(n, 1.0)
    mean = np.where(n > 0, total / some, np.nan)
    variance = np.where(n > 0, np.maximum(squares / some - np.square(total / some), 0.0), np.nan)
    means, variances = after["block_mean"].copy(), after["block_variance"].copy()
    means[:, number % MEMORY_BLOCKS] = mean
    variances[:, number % MEMORY_BLOCKS] = variance
    after["block_mean"], after["block_variance"] = means, variances
    with np.errstate(divide="ignore"):
        after["floor"] = _FLOOR + np.log(_spread(means, variances))
    share = np.minimum(1.0, n / rhythm.kept_in_block)
    after["coverage"] = np.where(np.isnan(means).all(axis=1), 1.0, 0.75 * after["coverage"] + 0.25 * share)
    after["moments"] = np.zeros_like(after["moments"])

    if edge % rhythm.cycle == 0:
        days = np.stack([after[f"day_{d:02}"] for d in range(MEMORY_DAYS)], axis=-1)
        after["habit"] = masked_median(days)
        after["habit_days"] = np.count_nonzero(~np.isnan(days[:, 0]), axis=-1).astype(np.int8)
        name = f"day_{(cycle + 1) % MEMORY_DAYS:02}"
        after[name] = np.full_like(after[name], np.nan)


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


def _in_force(after: Arrays, rhythm: Rhythm, times: NDArray[np.int64]) -> Float:
    """Logarithms of the scales [S, KINDS, n] at buckets of one block."""
    at = times % rhythm.cycle // rhythm.slot
    first = int(at[0])
    few = slice(first, int(at[-1]) + 1)
    part = {name: after[name] for name in ("scale", "floor")}
    part |= {"habit": after["habit"][:, :, few], "habit_days": after["habit_days"][:, few]}
    return blended(part)[:, :, at - first]


def _spread(means: Float, variances: Float) -> Float:
    """The standard deviation [S] of the remembered blocks without the quarter that strays most, or a share of that of all."""
    centre = masked_median(means)[:, None]
    square = np.square(means - centre) + variances
    ordered = np.sort(square, axis=1)  # NaN last
    n = np.count_nonzero(~np.isnan(ordered), axis=1)
    kept = np.arange(ordered.shape[1]) < np.ceil(_ORDINARY * n)[:, None]
    ordinary = np.where(kept, ordered, 0.0).sum(axis=1) / np.maximum(kept.sum(axis=1), 1)
    every = np.where(np.isnan(ordered), 0.0, ordered).sum(axis=1) / np.maximum(n, 1)
    return np.asarray(np.maximum(np.sqrt(ordinary), _RARE * np.sqrt(every)), np.float64)
