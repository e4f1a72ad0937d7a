"""What Fourier terms cannot follow: the median of the residuals by time of the civil week.

Owns: where such a profile predicts better than none, decided per series by predicting each value from the others of its
time. A profile is constant over each slot of the week; a pattern of the day is repeated on all days.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from forewarn.detector import DAY
from forewarn.forecasting.design_matrix import week_slots
from forewarn.series import Float

Index = NDArray[np.int64]

_SHORTEST_SLOT: Final = DAY // 96
_GAIN: Final = 0.92
"""Share of the error without a profile that must remain at most for a profile to be taken."""
_WEEKDAYS: Final = (0, 0, 1, 1, 0, 0, 0)
"""The kind of each day: 1 on weekends. Weeks are counted from 1970-01-01, a Thursday."""


@dataclass(frozen=True, slots=True, eq=False)
class _Cycle:
    """One way of cutting the week: `cells` [slots] is the cell of each slot, `starts` and `order` gather the slots of each
    cell, `table` [cells, n] its buckets (padded with T). Cells are numbered by (kind of day, time of day). Those whose
    mean lies within `significant` of its standard errors stay 0: the fewer values a cell has, the more would be noise; and
    those with fewer than `least` values.
    """

    cells: Index
    order: Index
    starts: Index
    table: Index
    significant: float
    least: int


@dataclass(frozen=True, slots=True, eq=False)
class Slots:
    """The civil week in equal slots, and the ways of pooling them that a window is long enough for.

    `of` [T] is the slot of each bucket, `count` their number; `late` is the bucket with which the last quarter begins.
    """

    of: Index
    count: int
    late: int
    cycles: tuple[_Cycle, ...]
    _orders: tuple[tuple[Index, Index, Index], ...]
    """For the first three quarters and the last one: buckets by slot, the slots that have any, where each begins."""

    @classmethod
    def of_days(cls, days: Float, step: int) -> "Slots | None":
        """The slots of civil `days` [T] (since 1970-01-01) in buckets of `step` ms; None for less than four days.

        Days of the week are told apart once each was there twice: what two have in common can be told from chance then.
        """
        length = max(step, _SHORTEST_SLOT)
        # As the sun counts, not the wall clock: two weeks in which clocks went forward are two weeks still.
        span = len(days) * step / DAY
        if DAY % length or span < 4 - 1e-6:
            return None
        per_day = DAY // length
        count = 7 * per_day
        of = week_slots(days, count)
        slot = np.arange(count)
        ways = [(slot % per_day, 2.0, 3)]
        if span > 7 - 1e-6:  # the two days of one weekend bear each other out
            ways.append((slot % per_day + per_day * np.array(_WEEKDAYS)[slot // per_day], 2.5, 2))
        if span > 14 - 1e-6:
            ways.append((slot, 3.5, 2))
        late = len(days) - len(days) // 4
        orders = []
        for buckets in (np.arange(late), np.arange(late, len(days))):
            order = buckets[np.argsort(of[buckets], kind="stable")]
            orders.append((order, *np.unique(of[order], return_index=True)))
        cycles = tuple(_cycle(of, *way) for way in ways)
        return cls(of, count, late, cycles, tuple(orders))

    def counts(self, part: int, seen: NDArray[np.bool_]) -> Float:
        """How many of the buckets of each slot were seen [S, T] in the earlier (0) or later (1) part, [S, count]."""
        full = self.sums(part, np.ones((1, seen.shape[1])))
        whole = np.repeat(full, len(seen), axis=0)
        holed = np.flatnonzero(~seen.all(axis=1))
        if len(holed):
            whole[holed] = self.sums(part, seen[holed].astype(np.float64))
        return whole

    def sums(self, part: int, values: Float) -> Float:
        """The sums [S, count] of values [S, T] over the buckets of each slot, in the earlier (0) or later (1) part."""
        order, filled, starts = self._orders[part]
        total = np.zeros((len(values), self.count))
        total[:, filled] = np.add.reduceat(values[:, order], starts, axis=1)
        return total


def _cycle(of: Index, cells: Index, significant: float, least: int) -> _Cycle:
    order = np.argsort(cells, kind="stable")
    return _Cycle(
        cells, order, np.unique(cells[order], return_index=True)[1], _table(cells[of], int(cells.max()) + 1), significant, least
    )


def _table(cell: Index, cells: int) -> Index:
    """The buckets of each cell, [cells, n], padded with T."""
    T = len(cell)
    buckets = np.argsort(cell, kind="stable")
    counts = np.bincount(cell, minlength=cells)
    table = np.full((cells, int(counts.max(initial=1))), T, dtype=np.int64)
    first = np.cumsum(counts) - counts
    table[cell[buckets], np.arange(T) - np.repeat(first, counts)] = buckets
    return table


def profiles(residuals: Float, scale: Float, slots: Slots) -> Float:
    """The profiles [S, slots] of residuals [S, T], NaN = missing; `scale` [S] is their robust deviation. A row is 0 where no
    cycle predicts the residuals better than no profile.

    Whether one does is decided twice: every value is predicted from the others of its cell (leave one out, in closed form
    for means), and the last quarter from the earlier ones, which must bring at least half of that gain: a pattern that
    drifts explains the past alone. Spikes count no more than four deviations there. The profile itself is made of medians.
    """
    S = len(residuals)
    limit = 4.0 * scale[:, None]
    seen = ~np.isnan(residuals)
    clipped = np.where(seen, np.clip(residuals, -limit, limit), 0.0)
    squares = clipped * clipped
    early, late = (
        np.array([slots.counts(part, seen), slots.sums(part, clipped), slots.sums(part, squares)]) for part in (0, 1)
    )
    before, before_late = (early + late)[2].sum(axis=1), late[2].sum(axis=1)
    best, choice = np.full(S, _GAIN), np.full(S, -1)
    noise: list[Float] = []
    for number, cycle in enumerate(slots.cycles):
        first, last = (np.add.reduceat(part[:, :, cycle.order], cycle.starts, axis=2) for part in (early, late))
        n, y, yy = first + last
        explained = y * y / np.maximum(n, 1.0)
        noise.append(_noise(n, yy - explained, slots.count // 7))
        kept = (n >= cycle.least) & (explained > cycle.significant**2 * noise[number])
        left = np.where(kept, (yy - explained) * (n / np.maximum(n - 1, 1.0)) ** 2, yy).sum(axis=1)
        known = np.where(kept, first[1] / np.maximum(first[0], 1.0), 0.0)
        ahead = (last[2] - 2 * known * last[1] + last[0] * known * known).sum(axis=1)
        share = left / np.where(before > 0, before, 1.0)
        better = (share < best) & (before > 0) & (ahead <= (1 + share) / 2 * before_late)
        best[better], choice[better] = share[better], number
    found = np.zeros((S, slots.count))
    for number, cycle in enumerate(slots.cycles):
        rows = np.flatnonzero(choice == number)
        if len(rows):
            padded = np.concatenate([residuals[rows], np.full((len(rows), 1), np.nan)], axis=1)
            found[rows] = _medians(padded, cycle, noise[number][rows])[:, cycle.cells]
    return found


def _noise(n: Float, within: Float, per_day: int) -> Float:
    """The variance [S, cells] of single values around the mean of their cell: that of their time of day, over all kinds of
    day, but at least half of the average over all times.

    Where the noise is larger at some hours, a mean must be larger there to mean something; and a few values that happen to
    agree do not make a time of day exact.
    """
    S, cells = n.shape
    free = np.maximum(n - 1, 0.0).reshape(S, -1, per_day).sum(axis=1)
    squares = within.reshape(S, -1, per_day).sum(axis=1)
    overall = squares.sum(axis=1) / np.maximum(free.sum(axis=1), 1.0)
    return np.tile(np.maximum(squares / np.maximum(free, 1.0), overall[:, None] / 2), (1, cells // per_day))


def _medians(padded: Float, cycle: _Cycle, noise: Float) -> Float:
    """The medians [S, cells] of the buckets of each cell; 0 where they are few or hardly different from 0."""
    gathered = padded[:, cycle.table]
    gathered.sort(axis=2)  # NaN last
    count = np.count_nonzero(~np.isnan(gathered), axis=2)
    last = np.maximum(count - 1, 0)[:, :, None]
    low = np.take_along_axis(gathered, last // 2, axis=2)
    high = np.take_along_axis(gathered, (last + 1) // 2, axis=2)
    nearer = np.where(np.abs(low) < np.abs(high), low, high)
    # Of two values the one nearer to 0, if they agree about the side: a fault in one of them is no pattern.
    found = np.where(last == 1, np.where(low * high > 0, nearer, 0.0), (low + high) / 2)[:, :, 0]
    return np.where((count >= cycle.least) & (found * found * count > cycle.significant**2 * noise), found, 0.0)
