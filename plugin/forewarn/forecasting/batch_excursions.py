"""Faults that are over: stretches in which the level left its old place and came back to it.

Owns: finding them in the blocks of a window, for all series at once. A fit must neither follow them nor take their end for
a lasting shift. Does not know values, units or fits.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from forewarn.detector import DAY
from forewarn.series import Float

Bool = NDArray[np.bool_]
Index = NDArray[np.int64]

_KNOWN: Final = 16
"""Blocks that the present level is the median of: two days of them, so that it follows a drift but no fault."""
_FIRST: Final = 8
"""Blocks with values from which on there is a level to leave."""
_RETURNED: Final = 2
"""Blocks in a row back at the level that end an excursion; less may be a blip in it."""
_SHORTEST: Final = 2
"""Blocks that make an excursion; a shorter one is left to the cut on single points."""
_LONGEST: Final = 7 * DAY
"""What lasted longer was a level of its own, whatever came after it."""
_LARGE: Final = 3.0
_CLEAR: Final = 5.0
"""An excursion is this large against the deviation of single points, and against that of the blocks before it."""
_NORMAL: Final = 1.4826
"""Standard deviations per median absolute deviation of normal noise."""
_CYCLES: Final = 3
"""Days or weeks whose median knows a pattern even if there was a fault in one of them."""
_LIKE: Final = 0.5
"""Share of an excursion that blocks a day or a week away must be off, and share of such blocks, to be its like."""


def excursions(medians: Float, scale: Float, length: int, window: int) -> tuple[Bool, Index]:
    """The blocks [S, B] of the `medians` of values [S, B] (NaN = no values) that belong to excursions which have ended;
    and the block [S] from which on a row may be in one that goes on (B: it is in none).

    `scale` [S] is the deviation of single points, `length` the ms of a block. An excursion leaves the level for two blocks
    or more, and comes back to it for at least two. One that has lasted for `window` blocks may be a new level and is taken
    for one from then on; if the old one comes back within a week of its begin, it was an excursion after all. What happens
    at the same time of the other days or weeks too is a habit of the series and none.
    """
    S, B = medians.shape
    found: Bool = np.zeros((S, B), dtype=np.bool_)
    now = np.full(S, B)
    if B < _FIRST + _SHORTEST + _RETURNED:
        return found, now
    # Not by the fit's own waves: with two weeks of data a fault makes up half of what they know of its weekday.
    z = _without_pattern(_without_pattern(medians, DAY // length), 7 * DAY // length)
    missing = np.isnan(z)
    span = np.where(missing, -np.inf, z).max(axis=1) - np.where(missing, np.inf, z).min(axis=1)
    rows = np.flatnonzero(span > _LARGE * scale)
    if len(rows):
        tracked = _Tracked(z[rows], scale[rows], _LONGEST // length, window)
        for row, first, last, level in tracked.run():
            if not _is_habit(z[rows[row]], tracked.levels[row], first, last, level, DAY // length):
                found[rows[row], first:last] = True
        newer = np.where(tracked.left >= 0, max(0, B - window), B)  # of a new level as much as any fit would wait for
        now[rows] = np.where(tracked.since >= 0, tracked.since, newer)
    return found, now


def _without_pattern(z: Float, cycle: int) -> Float:
    """Blocks z [S, B] without what they do in most cycles of `cycle` blocks; as they are where fewer than three are known."""
    S, B = z.shape
    cycles = B // cycle
    if cycles < _CYCLES:
        return z
    whole = z[:, B - cycles * cycle :].reshape(S, cycles, cycle)
    away = whole - nan_median(whole)[:, :, None]
    pattern = np.nan_to_num(nan_median(away.transpose(0, 2, 1)))
    less: Float = z - pattern[:, (np.arange(B) - B) % cycle]
    return less


def nan_median(values: Float) -> Float:
    """The medians [...] of the values [..., n] that are not NaN; NaN where there are none."""
    ordered = np.sort(values, axis=-1)  # NaN last
    middle = np.maximum(np.count_nonzero(~np.isnan(ordered), axis=-1) - 1, 0)[..., None]
    low = np.take_along_axis(ordered, middle // 2, axis=-1)
    high = np.take_along_axis(ordered, (middle + 1) // 2, axis=-1)
    found: Float = (low / 2 + high / 2)[..., 0]
    return found


class _Tracked:
    """The level of n series, followed block by block."""

    def __init__(self, z: Float, scale: Float, longest: int, window: int) -> None:
        self._z, self._longest, self._window = z, longest, window
        self._least = _LARGE * scale
        n, B = z.shape
        self._rows = np.arange(n)
        self._recent = np.full((n, _KNOWN), np.nan)  # a ring of the blocks that the level is made of
        self._count = np.zeros(n, dtype=np.int64)
        self._level, self._limit = np.full(n, np.nan), np.full(n, np.inf)
        self.since = np.full(n, -1)
        """The block that began the excursion that a row is in; -1: it is in none."""
        self._back = np.zeros(n, dtype=np.int64)  # its blocks that lie at the level again, in a row
        self._old, self._old_limit = np.full(n, np.nan), np.full(n, np.nan)  # the level before the present one
        self.left = np.full(n, -1)
        """The block that left the level before the present one, -1 if that is long ago."""
        self._returned = np.zeros(n, dtype=np.int64)
        self.levels = np.full((n, B), np.nan)
        """The level that was known before each block."""
        self._found: list[tuple[int, int, int, float]] = []

    def run(self) -> list[tuple[int, int, int, float]]:
        """All excursions that ended: row, first block, the block after the last, the level that they left."""
        for b in range(self._z.shape[1]):
            self._advance(b)
        return self._found

    def _advance(self, b: int) -> None:
        z = self._z[:, b]
        seen = ~np.isnan(z)
        self._return_to_old(b, z, seen)
        self.levels[:, b] = self._level
        out = np.abs(np.where(seen, z - self._level, 0.0)) > self._limit
        inside = self.since >= 0
        self.since = np.where(out & ~inside, b, self.since)
        self._back = np.where(out, 0, np.where(inside & seen, self._back + 1, self._back))
        ended = np.flatnonzero(inside & (self._back >= _RETURNED))
        for row in ended.tolist():
            self._mark(row, int(self.since[row]), b - _RETURNED + 1, float(self._level[row]))
        self.since[ended], self._back[ended] = -1, 0
        self._accept(z, seen & (self.since < 0))
        self._adopt(np.flatnonzero((self.since >= 0) & (b - self.since + 1 >= self._window)), b)

    def _return_to_old(self, b: int, z: Float, seen: Bool) -> None:
        """What was taken for a new level is over: the one before it is back."""
        there = (self.left >= 0) & seen & (np.abs(z - self._old) <= self._old_limit)
        self._returned = np.where(there, self._returned + 1, np.where(seen, 0, self._returned))
        for row in np.flatnonzero(there & (self._returned >= _RETURNED)).tolist():
            old, limit, last = float(self._old[row]), float(self._old_limit[row]), b - _RETURNED + 1
            if abs(self._level[row] - old) > limit:
                self._mark(row, int(self.left[row]), last, old)
                self._restart(row, self._z[row, last : b + 1], old, limit)
            self.left[row] = -1
        self.left[(self.left >= 0) & (b - self.left > self._longest)] = -1

    def _mark(self, row: int, first: int, last: int, level: float) -> None:
        if _SHORTEST <= last - first <= self._longest:
            self._found.append((row, first, last, level))

    def _adopt(self, rows: Index, b: int) -> None:
        """Takes excursions that go on for long for a new level, and remembers the old one."""
        for row in rows.tolist():
            first = int(self.since[row])
            blocks = self._z[row, first : b + 1]
            blocks = blocks[~np.isnan(blocks)][-_FIRST:]
            if self.left[row] < 0:
                self._old[row], self._old_limit[row], self.left[row] = self._level[row], self._limit[row], first
            self._returned[row] = 0
            self._restart(row, blocks, float(np.median(blocks)), float(self._limit[row]))

    def _restart(self, row: int, blocks: Float, level: float, limit: float) -> None:
        """Begins anew from the blocks, at most _FIRST, filled up with their level."""
        self._recent[row] = np.nan
        self._recent[row, :_FIRST] = level
        self._recent[row, : len(blocks)] = blocks
        self._count[row] = _FIRST
        self._level[row], self._limit[row] = level, limit
        self.since[row], self._back[row] = -1, 0

    def _accept(self, z: Float, taken: Bool) -> None:
        """Lets the levels follow the blocks that belong to them."""
        rows = self._rows[taken]
        self._recent[rows, self._count[rows] % _KNOWN] = z[rows]
        self._count[rows] += 1
        rows = rows[self._count[rows] >= _FIRST]
        if len(rows):
            known = np.minimum(self._count[rows], _KNOWN)
            level = _medians(self._recent[rows], known)
            spread = _medians(np.abs(self._recent[rows] - level[:, None]), known)
            self._level[rows] = level
            self._limit[rows] = np.maximum(self._least[rows], _CLEAR * _NORMAL * spread)


def _medians(part: Float, known: Index) -> Float:
    """The medians [n] of the first `known` [n] of each row in order; NaN is last."""
    ordered = np.sort(part, axis=1)
    row = np.arange(len(part))
    middle: Float = (ordered[row, (known - 1) // 2] + ordered[row, known // 2]) / 2
    return middle


def _is_habit(z: Float, levels: Float, first: int, last: int, level: float, per_day: int) -> bool:
    """Whether the like of an excursion happened at its time of the day before and after, or of the week."""
    B = len(z)
    deviation = float(np.nanmedian(z[first:last])) - level
    if not deviation:
        return False
    # What was once taken for a new level hides there that its like came again: off the level that this one left will do.
    share = np.fmax((z - levels) / deviation, (z - level) / deviation)  # no level was known before the first blocks
    for apart in (per_day, 7 * per_day):
        alike = []
        for shift in (-apart, apart):
            blocks = np.arange(first, last) + shift
            blocks = blocks[(blocks >= 0) & (blocks < B) & ((blocks < first) | (blocks >= last))]
            there = share[blocks]
            there = there[~np.isnan(there)]
            if len(there):
                alike.append(bool(np.mean(there > _LIKE) >= _LIKE))
        if alike and all(alike):
            return True
    return False
