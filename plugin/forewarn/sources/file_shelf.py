"""Things that are kept as long as there is room. Owns: Shelf. Knows nothing of what it keeps."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Shelf(Generic[K, V]):
    """Keeps what was used last, of `room` bytes in all; whatever goes is handed to `gone`."""

    def __init__(self, room: int, gone: Callable[[V], None] = lambda _: None) -> None:
        self._room = room
        self._gone = gone
        self._kept: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self.used = 0

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: K) -> V | None:
        """What is kept under the key, which counts as a use."""
        found = self._kept.get(key)
        if found is None:
            return None
        self._kept.move_to_end(key)
        return found[0]

    def put(self, key: K, value: V, size: int) -> None:
        """Keeps the value; if need be, others go, the one that was used longest ago first, but never the new one."""
        self.drop([key])
        self._kept[key] = (value, size)
        self.used += size
        while self.used > self._room and len(self._kept) > 1:
            self.drop([next(iter(self._kept))])

    def drop(self, keys: Iterable[K]) -> None:
        """Lets go of what is kept under the keys."""
        for key in keys:
            found = self._kept.pop(key, None)
            if found is not None:
                self.used -= found[1]
                self._gone(found[0])

    def keys(self) -> list[K]:
        """All keys, the one used longest ago first."""
        return list(self._kept)

    def values(self) -> list[V]:
        """All values, the one used longest ago first; counts as no use."""
        return [value for value, _ in self._kept.values()]
