"""Series that run together: one detector, one grid, values and labels; and where their randomness comes from.

Owns: Group, `keys`, `rng_of`. Must not make values: that is `series.py`, `injected.py`, `clean.py` and `special_days.py`.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import blake2b
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from forewarn.detector import Detector, Selection
from forewarn.registry import SLOT_GROUPS
from forewarn.series import Float, SeriesBatch, SeriesKey, TimeGrid


@dataclass(frozen=True, eq=False)
class Group:
    """S series on one grid: `values` float64 [S, T] (NaN = missing), `label` bool [S, T], judged from bucket `judged_from`."""

    part: str
    family: str
    grid: TimeGrid
    values: Float
    label: NDArray[np.bool_]
    judged_from: int = 0
    timezone: str = "UTC"
    holidays: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Unique among groups."""
        return f"{self.part}-{self.family}-{self.grid.step // 60_000}m"

    @property
    def detector(self) -> Detector:
        """As `forewarn backtest` makes it: everything by default."""
        selection = Selection(path="generated")
        where = {"timezone": self.timezone, "holidays": self.holidays}
        return Detector("judged", selection, "avg", "value", step=self.grid.step, **where)  # type: ignore[arg-type]  # mixed

    @cached_property
    def batch(self) -> SeriesBatch:
        """The values with their keys."""
        return SeriesBatch(keys(len(self.values)), self.grid, self.values)

    @cached_property
    def digest(self) -> str:
        """Changes with the values: cached forecasts of others must not be taken for ours."""
        whole = blake2b(np.ascontiguousarray(self.values).tobytes(), digest_size=6)
        whole.update(repr((self.grid, self.timezone, self.holidays)).encode())
        return whole.hexdigest()


@lru_cache(maxsize=64)
def keys(count: int) -> tuple[SeriesKey, ...]:
    """Keys of one refit slot: all series of a group are fitted together at midnight, in one batch."""
    found: list[SeriesKey] = []
    number = 0
    while len(found) < count:
        key = SeriesKey("judged", (("n", f"{number:06d}"),))
        if int(key.id[:8], 16) % SLOT_GROUPS == 0:
            found.append(key)
        number += 1
    return tuple(found)


def rng_of(seed: int, *names: str | int) -> np.random.Generator:
    """Randomness that depends on the seed and these names alone, so that a new family changes no other."""
    return np.random.default_rng([seed, *(crc32(str(name).encode()) for name in names)])
