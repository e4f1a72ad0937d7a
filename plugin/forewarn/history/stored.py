"""History in the blocks of a state store.

Owns StoreHistory: how series are cut into blocks, and the cache of the blocks that fits read again and again.
"""

from collections import OrderedDict
from collections.abc import Sequence

from forewarn.history.encoding import Part, assemble, decode, encode
from forewarn.ports import StateStore
from forewarn.series import SeriesBatch, SeriesKey, TimeGrid


class StoreHistory:
    """A `History` in the blocks of `store`: `chunk` series a block, at most `cache_blocks` of them decoded in memory.

    A day of 1,024 series at 15 minutes takes 0.4 MB in the cache; four weeks of 10,000 series are 280 blocks. For one
    thread at a time.
    """

    def __init__(self, store: StateStore, chunk: int = 1024, cache_blocks: int = 512) -> None:
        if chunk < 1 or cache_blocks < 0:
            raise ValueError(f"expected chunk >= 1 and cache_blocks >= 0, got {chunk} and {cache_blocks}")
        self._store = store
        self._chunk = chunk
        self._cache_blocks = cache_blocks
        self._cache: OrderedDict[str, Part] = OrderedDict()

    def write(self, day: SeriesBatch, at: int) -> tuple[str, ...]:
        """Stores one block for each `chunk` series, in their order; raises what the store raises."""
        return tuple(
            self._store.put_block(
                encode(SeriesBatch(day.keys[low : low + self._chunk], day.grid, day.values[low : low + self._chunk])), at
            )
            for low in range(0, len(day.keys), self._chunk)
        )

    def read(self, names: Sequence[str], keys: Sequence[SeriesKey], grid: TimeGrid) -> SeriesBatch:
        """The values of `keys` on `grid` from the named blocks; raises StoreRejected for a block that is not there."""
        return assemble([self._part(name) for name in names], keys, grid)

    def _part(self, name: str) -> Part:
        part = self._cache.pop(name, None) or decode(self._store.get_block(name))
        if self._cache_blocks:
            self._cache[name] = part  # the newest is last, the oldest goes first
            if len(self._cache) > self._cache_blocks:
                self._cache.popitem(last=False)
        return part
