"""The buckets that names of episodes look back at, and the names in what an episode's changes say.

Owns: the port Namer, Lookback, `named`. What an episode is called depends on the day that ends with the bucket of each change
and on nothing else, so that no cut of time and no restart changes it: the day is carried, and after a restart it is read from
the journal. Must not know how a name is found.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from forewarn.anomaly import Anomaly
from forewarn.series import Float, SeriesBatch

Change = tuple[int, Anomaly]

_AT_ONCE: Final = 512
"""Changes that are named at once: their windows stay in the second-level cache."""


class Namer(Protocol):
    """What changed in an episode. Made for one detector; array operations; causal."""

    @property
    def window(self) -> int:
        """How many buckets it looks at."""
        ...

    def __call__(self, actual: Float, expected: Float, first: NDArray[np.int64], above: NDArray[np.bool_]) -> tuple[str, ...]:
        """A name of `anomaly.SHAPES` for each of R episodes, "" where it cannot be told.

        `actual` and `expected` are [R, window] (NaN = not known) and end at the bucket that is being processed; an episode
        began in column `first` [R], with values `above` or below what was expected.
        """
        ...


@dataclass(frozen=True, eq=False)
class Lookback:
    """What was seen and what was expected in buckets that end where the stream is, both float64 [S, W], NaN = not known."""

    actual: Float
    expected: Float

    @classmethod
    def fresh(cls, size: int) -> "Lookback":
        """Of no series."""
        return cls(np.zeros((0, size)), np.zeros((0, size)))

    @classmethod
    def of(cls, parts: Iterable[tuple[int, Mapping[str, Float]]], series: int, end: int, step: int, size: int) -> "Lookback":
        """From parts of a journal: the start of each, with its arrays [rows, buckets]; rows are a prefix of the series."""
        start = end - size * step
        found = {name: np.full((series, size), np.nan) for name in ("actual", "expected")}
        for at, arrays in parts:
            first = (at - start) // step
            for name, array in found.items():
                part = arrays[name][:, max(0, -first) :]
                low = max(first, 0)
                array[: part.shape[0], low : low + part.shape[1]] = part[:, : max(0, size - low)]
        return cls(**found)

    def followed_by(self, actual: Float, expected: Float) -> "Lookback":
        """With the block's buckets behind its own; series that joined have none before."""
        return Lookback(_beside(self.actual, actual), _beside(self.expected, expected))

    def last(self, size: int) -> "Lookback":
        """Its last buckets."""
        return Lookback(self.actual[:, -size:].copy(), self.expected[:, -size:].copy())


def _beside(old: Float, new: Float) -> Float:
    """`old` [R, W] and behind it `new` [S, B]: one copy of what is the largest that a tick moves."""
    rows, width = old.shape
    both = np.empty((len(new), width + new.shape[1]))
    both[:rows, :width], both[rows:, :width], both[:, width:] = old, np.nan, new
    return both


def named(
    namer: Namer,
    seen: Lookback,
    before: Sequence[Anomaly],
    changes: Sequence[Change],
    after: Sequence[Anomaly],
    actual: SeriesBatch,
    delay: int,
) -> tuple[tuple[Change, ...], tuple[Anomaly, ...]]:
    """The changes of a block, and the episodes that are open after it, with the shape of each in its explanation.

    `seen` ends with the block `actual`, `before` were open before it. A name that can no longer be found stays what it was.
    """
    names = {one.id: str(one.explanation["shape"]) for one in before if "shape" in one.explanation}
    told: list[Change] = []
    for low in range(0, len(changes), _AT_ONCE):
        part = changes[low : low + _AT_ONCE]
        for (at, one), name in zip(part, _names(namer, seen, part, actual, delay), strict=True):
            if name:
                names[one.id] = name
            told.append((at, _with_shape(one, names)))
    return tuple(told), tuple(_with_shape(one, names) for one in after)


def _names(namer: Namer, seen: Lookback, changes: Sequence[Change], actual: SeriesBatch, delay: int) -> tuple[str, ...]:
    start, step = actual.grid.start, actual.grid.step
    rows = np.array([actual.rows[one.key] for _, one in changes], np.int64)
    column = np.array([(at - delay - start) // step - 1 for at, _ in changes], np.int64)
    begun = np.array([(one.start - start) // step for _, one in changes], np.int64)
    above = np.array([one.direction == "above" for _, one in changes], np.bool_)
    window = (rows[:, None], column[:, None] + 1 + np.arange(namer.window))
    first = np.maximum(namer.window - 1 - (column - begun), 0)
    return namer(seen.actual[window], seen.expected[window], first, above)


def _with_shape(one: Anomaly, names: Mapping[str, str]) -> Anomaly:
    if one.id not in names:
        return one
    said = {name: value for name, value in one.explanation.items() if name != "shape"}
    return replace(one, explanation={**said, "shape": names[one.id]})
