"""What a stream has scored since its history ends, at full resolution, with what came late laid over it.

Owns: Corrections, Tail. Values only; knows nouns. What was scored is never changed: corrections lie beside it, so that a
carry can be rebuilt from the one and a model from both.
"""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from forewarn.series import Float, SeriesBatch, TimeGrid, read_only

Int = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Corrections:
    """Values that differ from what was scored, all [N]: rows of the registry (int64), starts of buckets (int64 UTC ms) and
    values (float64). Of several for one bucket the last is right.
    """

    rows: Int
    times: Int
    values: Float

    def __post_init__(self) -> None:
        if not self.rows.shape == self.times.shape == self.values.shape == (self.rows.size,):
            raise ValueError(f"expected three [N], got {self.rows.shape}, {self.times.shape} and {self.values.shape}")
        for array in (self.rows, self.times, self.values):
            read_only(array)

    @classmethod
    def none(cls) -> "Corrections":
        """No corrections."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))

    def followed_by(self, later: "Corrections") -> "Corrections":
        """These, then `later`."""
        return Corrections(
            np.concatenate([self.rows, later.rows]),
            np.concatenate([self.times, later.times]),
            np.concatenate([self.values, later.values]),
        )

    def since(self, start: int) -> "Corrections":
        """Those of buckets from `start` on."""
        kept = self.times >= start
        return self if kept.all() else Corrections(self.rows[kept], self.times[kept], self.values[kept])


@dataclass(frozen=True, eq=False)
class Tail:
    """The buckets from `start`, where history ends, to the watermark: `parts` as they were scored, one after another, and
    what was found later. Row r of a part is row r of the registry; a part has as many rows as there were then.
    """

    start: int
    parts: tuple[SeriesBatch, ...] = ()
    corrections: Corrections = field(default_factory=Corrections.none)

    def with_part(self, part: SeriesBatch) -> "Tail":
        """The tail with one more part at its end."""
        return replace(self, parts=(*self.parts, part))

    def with_corrections(self, corrections: Corrections) -> "Tail":
        """The tail with newer corrections laid over it."""
        return replace(self, corrections=self.corrections.followed_by(corrections)) if corrections.rows.size else self

    def since(self, start: int) -> "Tail":
        """What of it lies from `start` on."""
        parts = tuple(part.between(start, part.grid.end) for part in self.parts if part.grid.end > start)
        return Tail(start, parts, self.corrections.since(start))

    def values(self, rows: Int, grid: TimeGrid) -> Float:
        """The corrected values of some rows of the registry, float64 [len(rows), T]; NaN where nothing is known."""
        found = np.full((len(rows), grid.size), np.nan)
        for part in self.parts:
            inside = part.between(grid.start, grid.end)
            if inside.grid.size:
                first = grid.index(inside.grid.start)
                there = np.flatnonzero(rows < len(inside.keys))
                found[there, first : first + inside.grid.size] = inside.values[rows[there]]
        late = self.corrections
        if late.rows.size and rows.size:
            place = np.full(max(rows.max(), late.rows.max()) + 1, -1, np.int64)
            place[rows] = np.arange(len(rows))
            column = (late.times - grid.start) // grid.step
            asked = (place[late.rows] >= 0) & (column >= 0) & (column < grid.size)
            found[place[late.rows[asked]], column[asked]] = late.values[asked]
        return found
