"""History in memory, for tests, backtests and demos.

Owns MemoryHistory. Keeps what the other adapter's bytes hold, so that the same values come back, without writing them.
"""

from collections.abc import Sequence
from hashlib import blake2b

from forewarn.errors import StoreRejected
from forewarn.history.encoding import Part, assemble, compact
from forewarn.series import SeriesBatch, SeriesKey, TimeGrid


class MemoryHistory:
    """A `History` that lasts as long as the process; one block a write."""

    def __init__(self) -> None:
        self._parts: dict[str, Part] = {}

    def write(self, day: SeriesBatch, at: int) -> tuple[str, ...]:  # noqa: ARG002 - nothing is ever swept here
        """Keeps the values; returns the name of their block, none for a batch without series."""
        if not day.keys:
            return ()
        part = compact(day)
        content = blake2b(f"{part.names} {day.grid}".encode(), digest_size=16)
        for array in (part.offsets, part.scale, part.reference):
            content.update(array.tobytes())
        name = content.hexdigest()
        self._parts[name] = part
        return (name,)

    def read(self, names: Sequence[str], keys: Sequence[SeriesKey], grid: TimeGrid) -> SeriesBatch:
        """The values of `keys` on `grid` from the named blocks; raises StoreRejected for a name that was never written."""
        if missing := [name for name in names if name not in self._parts]:
            raise StoreRejected(f"there is no block {missing[0]}")
        return assemble([self._parts[name] for name in names], keys, grid)
