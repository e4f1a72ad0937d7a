"""How much there is of each series: what decides which engine can model it.

Owns: Extent, computed for a whole batch at once. Must not decide anything.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from forewarn.series import Float

_CELLS: Final = 1 << 20
"""Values looked at at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Extent:
    """Of each row [S] of a batch: the number of its values, the columns of the first and the last (0 and -1 if there is
    none), the smallest and the largest (inf and -inf).
    """

    count: NDArray[np.int64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    low: Float
    high: Float

    @classmethod
    def of(cls, values: Float) -> "Extent":
        """The extent of the rows of `values` [S, T]; NaN = no data."""
        S, T = values.shape
        size = max(1, _CELLS // max(1, T))
        if size < S:  # by parts: the planes that this needs are no smaller than the values
            parts = [cls.of(values[first : first + size]) for first in range(0, S, size)]
            whole = (np.concatenate([getattr(part, name) for part in parts]) for name in cls.__slots__)
            return cls(*whole)
        seen = ~np.isnan(values)
        count = np.count_nonzero(seen, axis=1)
        first = np.argmax(seen, axis=1) if T else np.zeros_like(count)
        last = np.where(count > 0, T - 1 - np.argmax(seen[:, ::-1], axis=1), -1) if T else count - 1
        low = np.where(seen, values, np.inf).min(axis=1, initial=np.inf)
        high = np.where(seen, values, -np.inf).max(axis=1, initial=-np.inf)
        return cls(count.astype(np.int64), first.astype(np.int64), last.astype(np.int64), low, high)

    def take(self, rows: NDArray[np.int64]) -> "Extent":
        """The extent of only these rows."""
        return Extent(self.count[rows], self.first[rows], self.last[rows], self.low[rows], self.high[rows])

    def covered(self, step: int) -> NDArray[np.int64]:
        """The time from the first to the last bucket with a value, both inside, in ms [S]; 0 without any."""
        return (self.last - self.first + 1) * step

    @property
    def constant(self) -> NDArray[np.bool_]:
        """Rows [S] whose values are all equal."""
        return np.equal(self.low, self.high)
