"""History in memory, for tests, backtests and demos.

Owns MemoryHistory. Keeps the same bytes as the other adapter, so that the same values come back.
"""

from collections.abc import Sequence
from hashlib import blake2b

from forewarn.errors import StoreRejected
from forewarn.history.encoding import Part, assemble, decode, encode
from forewarn.series import SeriesBatch, SeriesKey, TimeGrid


class MemoryHistory:
    """A `History` that lasts as long as the process; one block a write."""

    def __init__(self) -> None:
        self._parts: dict[str, Part] = {}

    def write(self, day: SeriesBatch, at: int) -> tuple[str, ...]:  # noqa: ARG002 - nothing is ever swept here
        """Keeps the values; returns the name of their block, none for a batch without series."""
        if not day.keys:
            return ()
        content = encode(day)
        name = blake2b(content, digest_size=16).hexdigest()
        self._parts[name] = decode(content)
        return (name,)

    def read(self, names: Sequence[str], keys: Sequence[SeriesKey], grid: TimeGrid) -> SeriesBatch:
        """The values of `keys` on `grid` from the named blocks; raises StoreRejected for a name that was never written."""
        if missing := [name for name in names if name not in self._parts]:
            raise StoreRejected(f"there is no block {missing[0]}")
        return assemble([self._parts[name] for name in names], keys, grid)
