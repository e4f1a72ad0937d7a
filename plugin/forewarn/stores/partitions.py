"""The calendar of dated results: which partition a time belongs to, what it is called, where it ends.

Owns the granularity (month or day, in UTC) that is fixed when a store is created. Knows no database.
"""

from dataclasses import dataclass
from typing import Final, Literal, cast

import numpy as np
from numpy.typing import NDArray

from forewarn.errors import StoreRejected

Granularity = Literal["month", "day"]

_UNITS: Final[dict[str, Literal["M", "D"]]] = {"month": "M", "day": "D"}


@dataclass(frozen=True, slots=True)
class Partitions:
    """Partitions of one granularity; a partition is named by its start (UTC ms)."""

    granularity: Granularity

    @classmethod
    def of(cls, text: str) -> "Partitions":
        """The calendar for "month" or "day"; raises StoreRejected for any other word."""
        if text not in _UNITS:
            raise StoreRejected(f"results are partitioned by month or by day, not by {text!r}")
        return cls(cast("Granularity", text))

    def floors(self, times: NDArray[np.int64]) -> NDArray[np.int64]:
        """The start of the partition that holds each time, int64 of the same shape."""
        unit = _UNITS[self.granularity]
        return times.astype("datetime64[ms]").astype(f"datetime64[{unit}]").astype("datetime64[ms]").astype(np.int64)

    def floor(self, time: int) -> int:
        """The start of the partition that holds `time`."""
        return int(self.floors(np.array([time], dtype=np.int64))[0])

    def after(self, start: int, count: int = 1) -> int:
        """The start of the partition `count` partitions after the one that holds `start` (before it, if negative)."""
        unit = _UNITS[self.granularity]
        moved = np.datetime64(start, "ms").astype(f"datetime64[{unit}]") + count
        return int(moved.astype("datetime64[ms]").astype(np.int64))

    def touching(self, start: int, end: int) -> list[int]:
        """The starts of all partitions that overlap [start, end), ascending."""
        if end <= start:
            return []
        found = [self.floor(start)]
        while (following := self.after(found[-1])) < end:
            found.append(following)
        return found

    def name(self, start: int) -> str:
        """The suffix of an index: `2026.08` or `2026.08.31`."""
        return str(np.datetime64(start, "ms").astype(f"datetime64[{_UNITS[self.granularity]}]")).replace("-", ".")

    def parse(self, name: str) -> int | None:
        """The start of the partition of that name; None for anything that `name` does not give."""
        try:
            start = int(np.datetime64(name.replace(".", "-"), "ms").astype(np.int64))
        except ValueError:
            return None
        return start if self.name(start) == name else None
