"""What in a history is not normal, and what is the new normal: outliers, and lasting shifts of the level.

Owns: which points of a window a fit must not see, and by how much the past is moved so that a shift that has come to stay
is no longer a contradiction. Works on residuals and block medians, for all series at once; fits nothing.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from forewarn.detector import HOUR
from forewarn.forecasting.batch_excursions import nan_median
from forewarn.series import Float

Bool = NDArray[np.bool_]
Index = NDArray[np.int64]

_NORMAL: Final = 1.4826
"""Standard deviations per median absolute deviation of normal noise."""
SAMPLE: Final = 600
"""Points that a median absolute deviation is taken of: 5 % accurate, which a cut at 4 of them does not feel."""
_LEAST_SCALE: Final = 1e-6
"""Least robust scale, as a share of the range of the values."""
_MOST: Final = 0.15
"""More outliers than this are no outliers: the residuals have two regimes, and their median deviation sees only one."""

_BLOCK: Final = 3 * HOUR
"""Shifts are looked for in medians of three hours: no spike reaches them, and a day has eight."""
_SHORTEST: Final = 2
"""Blocks after a shift from which on it is seen; less is left to the cut on single points."""
_BEFORE: Final = 8
"""Blocks with values that must lie before a shift."""
_SHIFTS: Final = 3
"""Shifts that are looked for in one series."""


def spread(residuals: Float, values: Float, rest: Float, least: Float) -> Float:
    """The robust standard deviation [S] of the residuals [S, T] of `values` (NaN = missing), not less than `least` [S].

    Series that mostly lie at their `rest` [S] (NaN: they do not) have no use for a median of all residuals: there it is
    the root mean square of those residuals whose value does not lie there, the usual size of an event.
    """
    sample = np.abs(residuals[:, :: max(1, residuals.shape[1] // SAMPLE)])
    sample.sort(axis=1)  # NaN last
    row = np.arange(len(sample))
    last = np.maximum(np.count_nonzero(~np.isnan(sample), axis=1) - 1, 0)
    scale: Float = (sample[row, last // 2] + sample[row, (last + 1) // 2]) * (_NORMAL / 2)
    resting = np.flatnonzero(~np.isnan(rest))
    if len(resting):
        events = values[resting] != rest[resting, None]
        scale[resting] = deviation(np.where(events, residuals[resting], np.nan))
    return np.maximum(np.nan_to_num(scale), least)


def resting(values: Float) -> tuple[Float, Float]:
    """The lowest value [S] of the rows of values [S, T] that lie at it most of the time, as sparse counts do (NaN: the row
    does not), and the least robust scale [S] that makes sense for each row.
    """
    missing = np.isnan(values)
    low = np.where(missing, np.inf, values).min(axis=1, initial=np.inf)
    high = np.where(missing, -np.inf, values).max(axis=1, initial=-np.inf)
    n = values.shape[1] - np.count_nonzero(missing, axis=1)
    rests = 2 * np.count_nonzero(values == low[:, None], axis=1) > n
    return np.where(rests, low, np.nan), np.where(high > low, _LEAST_SCALE * (high - low), 0.0)


def deviation(residuals: Float) -> Float:
    """The root mean square [S] of the residuals [S, T] that are not NaN."""
    filled = np.nan_to_num(residuals)
    n = np.maximum(np.count_nonzero(~np.isnan(residuals), axis=1), 1)
    mean: Float = np.sqrt(np.einsum("st,st->s", filled, filled) / n)
    return mean


def outliers(residuals: Float, scale: Float, cut: float) -> Bool:
    """The residuals [S, T] that lie more than `cut` scales [S] off; NaN is none."""
    size = np.abs(residuals)
    found: Bool = size > (cut * scale)[:, None]
    n = np.count_nonzero(~np.isnan(residuals), axis=1)
    many = np.flatnonzero(np.count_nonzero(found, axis=1) > _MOST * n)
    found[many] = size[many] > (cut * deviation(residuals[many]))[:, None]
    return found


@dataclass(frozen=True, slots=True)
class Blocks:
    """A window of T buckets cut into blocks of `length` buckets that end with it: its last hours matter most.

    Blocks begin at bucket `offset`; there are `count` of them, and a shift may be adopted after `window`.
    """

    T: int
    length: int
    offset: int
    count: int
    window: int
    ms: int

    @classmethod
    def of(cls, T: int, step: int, adopt_after: int) -> "Blocks":
        """The blocks of a window of T buckets of `step` ms, if shifts are adopted after `adopt_after` ms."""
        length = max(1, _BLOCK // step)
        return cls(
            T, length, T % length, T // length, max(_SHORTEST, round(adopt_after / (length * step))), length * step
        )  # fmt: skip

    def medians(self, values: Float) -> Float:
        """The medians [S, count] of the blocks of values [S, T]; NaN where a block has none."""
        return nan_median(values[:, self.offset :].reshape(len(values), self.count, self.length))

    def bucket(self, block: Index) -> Index:
        """The first bucket of each block; T for the block after the last."""
        return self.offset + block * self.length

    def spans(self, chosen: Bool) -> list[tuple[int, int, int]]:
        """The runs of chosen blocks [S, count]: row, first bucket, the bucket after the last."""
        rows = np.flatnonzero(chosen.any(axis=1))
        edges = np.diff(np.pad(chosen[rows], ((0, 0), (1, 1))).astype(np.int8), axis=1)
        row, first = np.nonzero(edges > 0)
        last = np.nonzero(edges < 0)[1]
        return list(zip(rows[row].tolist(), self.bucket(first).tolist(), self.bucket(last).tolist(), strict=True))


@dataclass(frozen=True, slots=True, eq=False)
class Shifts:
    """How the level of S series moved.

    Values of row `rows[i]` before bucket `before[i]` lie on the newest level once `jump[i]` is added to them; a row may
    have several such shifts. From bucket `passing` [S] on values belong to a shift that is too young to be believed (T:
    there is none).
    """

    rows: Index
    before: Index
    jump: Float
    passing: Index


def shifts(free: Float, scale: Float, blocks: Blocks) -> Shifts:
    """The lasting shifts in the block medians `free` [S, B] of values without their seasonal part, NaN = nothing known.

    A shift is a jump between two levels that is sharp (a jump explains the blocks around it much better than a slope),
    large against the scatter of the blocks and against `scale` [S] (the deviation of single points), and lasting (nearly
    all later blocks lie on its side). It is adopted when enough blocks lie behind it and the last one agrees; else it is
    `passing`. Excursions must have been taken out of `free`: the way back from a fault is no shift.
    """
    S, B = free.shape
    passing = np.full(S, blocks.T, dtype=np.int64)
    adopted: list[tuple[Index, Index, Float]] = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))]
    if B >= _BEFORE + _SHORTEST:
        z = free.copy()
        rows, places = np.arange(S), np.arange(B)
        for _ in range(_SHIFTS):
            at, jump, agrees = _largest(z[rows], scale[rows], blocks.window)
            found = at < B
            if not found.any():
                break
            rows, at, jump = rows[found], at[found], jump[found]
            old = (B - at >= blocks.window) & agrees[found]
            young = rows[~old]
            passing[young] = np.minimum(passing[young], blocks.bucket(at[~old]))
            z[young] = np.where(places < at[~old, None], z[young], np.nan)
            z[rows[old]] += np.where(places < at[old, None], jump[old, None], 0.0)
            adopted.append((rows[old], blocks.bucket(at[old]), jump[old]))
    parts = [np.concatenate(part) for part in zip(*adopted, strict=True)]
    return Shifts(parts[0], parts[1], parts[2], passing)


def _largest(z: Float, scale: Float, window: int) -> tuple[Index, Float, Bool]:
    """The block [S] that begins the largest believable shift of each row of z [S, B] (B: there is none), its jump, and
    whether the last block with values lies on its side.
    """
    S, B = z.shape
    seen = ~np.isnan(z)
    origin = np.where(seen, z, 0.0).sum(axis=1) / np.maximum(np.count_nonzero(seen, axis=1), 1)
    y = np.where(seen, z - origin[:, None], 0.0)  # centred, so that the sums below cancel little
    place = np.arange(B, dtype=np.float64)
    sums = [_running(part) for part in (seen.astype(np.float64), y, y * y, seen * place, seen * place**2, y * place)]
    split = np.arange(1, B)
    first, last = np.maximum(split - window, 0), np.minimum(split + window, B)
    before = [c[:, split] - c[:, first] for c in sums]
    after = [c[:, last] - c[:, split] for c in sums]
    n0, n1 = before[0], after[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        jump = after[1] / n1 - before[1] / n0
        stepped = before[2] - before[1] ** 2 / n0 + after[2] - after[1] ** 2 / n1
        n, sy, syy, sx, sxx, sxy = (a + b for a, b in zip(before, after, strict=True))
        sloped = syy - sy**2 / n - (sxy - sx * sy / n) ** 2 / (sxx - sx**2 / n)
        scatter = np.sqrt(np.maximum(stepped, 0.0) / (n - 2))
    enough = (n0 >= min(_BEFORE, window)) & (n1 >= _SHORTEST)
    sharp = stepped < 0.5 * sloped
    large = (np.abs(jump) > 5.0 * scatter) & (np.abs(jump) > 3.0 * scale[:, None])
    size = np.where(enough & sharp & large, np.abs(jump), 0.0)
    best = size.argmax(axis=1)
    row = np.arange(S)
    at, moved = split[best], jump[row, best]
    # Lasting: hardly any later block lies nearer to the old level.
    middle = (before[1] / np.maximum(n0, 1))[row, best] + moved / 2
    later = seen & (np.arange(B) >= at[:, None])
    stayed = later & ((y - middle[:, None]) * moved[:, None] > 0)
    lasting = np.count_nonzero(stayed, axis=1) >= 0.9 * np.count_nonzero(later, axis=1)
    newest = B - 1 - seen[:, ::-1].argmax(axis=1)
    return np.where((size[row, best] > 0) & lasting, at, B), moved, stayed[row, newest]


def _running(part: Float) -> Float:
    """Sums [S, B + 1] of the first 0, 1, ... B columns."""
    return np.concatenate([np.zeros((len(part), 1)), np.cumsum(part, axis=1)], axis=1)
