"""What the passes over a chunk know of the levels of its rows: faults that have ended, shifts that were adopted or pass by.

Owns: Levels, from the medians of blocks to what is lifted and what is forgotten in a plane of values. Fits nothing.
"""

import numpy as np

from forewarn.forecasting.batch_excursions import excursions, nan_median
from forewarn.forecasting.batch_robust import Blocks, Bool, Index, shifts
from forewarn.series import Float


class Levels:
    """The levels of S rows of T buckets. `relative`: their seasonal part is a share of a level that counts from 0, so that a
    shift of the level is a ratio; a row that is not above 0 throughout has differences all the same.
    """

    def __init__(self, S: int, blocks: Blocks, *, relative: bool) -> None:
        self.blocks = blocks
        self.passing = np.full(S, blocks.T, dtype=np.int64)
        """The bucket [S] from which on a row may not be on its level any more (T: there is none)."""
        self._jumps: list[list[tuple[int, float]]] = [[] for _ in range(S)]
        self.faults: list[list[tuple[int, int]]] = [[] for _ in range(S)]
        """For each row the buckets [first, last) of faults that have ended."""
        self._relative = relative
        self._medians = np.full((S, blocks.count), np.nan)
        self._faulty = np.zeros((S, blocks.count), dtype=np.bool_)
        self._shares = np.zeros(S, dtype=np.bool_)  # rows whose jumps are logarithms of a ratio

    def note(self, rows: Index, values: Float) -> None:
        """Takes the medians of the blocks of values [rows, T]."""
        self._medians[rows] = self.blocks.medians(values)

    def scale(self, origin: Float, unit: Float) -> None:
        """From here on values are (value - origin) / unit, [S] each."""
        with np.errstate(over="ignore", invalid="ignore"):  # rows that float64 cannot hold have no fit either
            self._medians -= origin[:, None]
            self._medians /= unit[:, None]

    def find_faults(self, rows: Index, scale: Float) -> Index:
        """Looks for faults by the deviation of single points [rows]; returns the numbers of the rows in which it finds others
        than before. There `passing` is where a fault may go on.
        """
        medians, size, _ = self._by_shares(self._medians[rows], scale, 1.0)
        faulty, begun = excursions(medians, size, self.blocks.ms, self.blocks.window)
        changed = np.flatnonzero(np.any(faulty != self._faulty[rows], axis=1) & faulty.any(axis=1))
        rows = rows[changed]
        self._faulty[rows] = faulty[changed]
        for row in rows.tolist():
            self.faults[row] = []
        for i, first, last in self.blocks.spans(faulty[changed]):
            self.faults[rows[i]].append((first, last))
        self.passing[rows] = self.blocks.bucket(begun[changed])
        return changed

    def find_shifts(self, rows: Index, scale: Float, trend: Float, seasonal: Float) -> Bool:
        """Looks for shifts by the deviation of single points [rows], the trend and the seasonal part of a fit [rows, B];
        returns the rows that have left their level once, for a shift or a fault.
        """
        free, size, self._shares[rows] = self._free(rows, scale, trend, seasonal)
        moved = shifts(free, size, self.blocks)
        self.passing[rows] = moved.passing
        for row, before, jump in zip(rows[moved.rows].tolist(), moved.before.tolist(), moved.jump.tolist(), strict=True):
            self._jumps[row].append((before, jump))
        touched: Bool = self.jumped(rows) | (moved.passing < self.blocks.T) | self._faulty[rows].any(axis=1)
        return touched

    def measure_again(self, rows: Index, scale: Float, trend: Float, seasonal: Float) -> None:
        """Takes the jumps anew by the waves of a fit that knew of them: a step bends the waves of one that does not."""
        free, size, shares = self._free(rows, scale, trend, seasonal)
        moved = shifts(free, size, self.blocks)
        for i, row in enumerate(rows.tolist()):
            mine = moved.rows == i
            if mine.any() and shares[i] == self._shares[row]:
                self._jumps[row] = list(zip(moved.before[mine].tolist(), moved.jump[mine].tolist(), strict=True))

    def jumped(self, rows: Index) -> Bool:
        """The rows with adopted shifts."""
        return np.array([bool(self._jumps[row]) for row in rows.tolist()], dtype=np.bool_)

    def move(self, rows: Index, given: Float, residuals: Float) -> None:
        """Lifts what lies before adopted shifts to the newest level; forgets faults, and what lies behind passing shifts."""
        for i, row in enumerate(rows.tolist()):
            for before, jump in self._jumps[row]:
                rise = given[i, :before] * np.expm1(jump) if self._shares[row] else jump
                given[i, :before] += rise
                residuals[i, :before] += rise
        self.forget(rows, given)
        self.forget(rows, residuals)

    def lower(self, rows: Index, plane: Float) -> None:
        """Takes a plane [rows, T] on the newest levels back to those that were in force at each bucket."""
        for i, row in enumerate(rows.tolist()):
            for before, jump in self._jumps[row]:
                plane[i, :before] = plane[i, :before] / np.exp(jump) if self._shares[row] else plane[i, :before] - jump

    def forget(self, rows: Index, plane: Float) -> None:
        """Makes NaN of what a plane [rows, T] holds of faults and behind passing shifts."""
        for i, row in enumerate(rows.tolist()):
            for first, last in (*self.faults[row], (self.passing[row], None)):
                plane[i, first:last] = np.nan

    def record(self, values: Float, unit: Float) -> list[list[tuple[int, float]]]:
        """For each row the buckets with which a new level was adopted, and its jump in units of the `values` [S, T]."""
        return [
            [
                (at, float(-np.expm1(-jump) * np.nanmedian(values[row, at:])) if self._shares[row] else float(jump * unit[row]))
                for at, jump in jumps
            ]
            for row, jumps in enumerate(self._jumps)
        ]

    def _free(self, rows: Index, scale: Float, trend: Float, seasonal: Float) -> tuple[Float, Float, Bool]:
        """The medians [rows, B] of the blocks without the seasonal part and without faults; `scale` [rows] in their units; and
        which of the rows are logarithms.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            waves = 1.0 + seasonal / trend
        free, scale, shares = self._by_shares(self._medians[rows], scale, waves)
        free -= np.where(shares[:, None], 0.0, seasonal)
        free[self._faulty[rows]] = np.nan
        return free, scale, shares

    def _by_shares(self, level: Float, scale: Float, waves: Float | float) -> tuple[Float, Float, Bool]:
        """Logarithms of levels [n, B] / waves where values are shares of a level above 0, with the scale [n] of single points
        in that unit, and the rows that are; the others stay as they are.
        """
        if not self._relative:
            return level, scale, np.zeros(len(level), dtype=np.bool_)
        with np.errstate(divide="ignore", invalid="ignore"):
            base = level / waves
        known = ~np.isnan(base)
        above = (base > 0.0) & np.isfinite(base)
        shares = np.asarray((above | ~known).all(axis=1) & known.any(axis=1), dtype=np.bool_)
        level, scale = level.copy(), scale.copy()
        level[shares] = np.log(base[shares])
        scale[shares] /= np.exp(nan_median(level[shares]))
        return level, scale, shares
