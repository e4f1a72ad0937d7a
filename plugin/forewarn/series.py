"""Series, their keys, the time grid they lie on, and the ids made from them.

Owns: SeriesKey, TimeGrid, SeriesBatch, stable_id. NumPy and the standard library only; knows nobody.
Time is UTC epoch milliseconds (int) everywhere; a bucket is named by its start.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Entity = tuple[tuple[str, str], ...]

_ESCAPED = re.compile(r"([\\,={}])")


def stable_id(*parts: str | int) -> str:
    """The blake2b-128 hex digest of the parts; each is length-prefixed, so that ("ab", "c") differs from ("a", "bc")."""
    digest = blake2b(digest_size=16)
    for part in parts:
        text = str(part).encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % len(text))
        digest.update(text)
    return digest.hexdigest()


def _escape(text: str) -> str:
    return _ESCAPED.sub(r"\\\1", text)


@lru_cache(maxsize=200_000)
def _series_id(detector: str, entity: Entity) -> str:
    return stable_id("series", detector, *(text for pair in entity for text in pair))


@dataclass(frozen=True, slots=True, order=True)
class SeriesKey:
    """The identity of one series: its detector and the (field, value) pairs that split it off.

    Prints as `detector{field=value,...}`; `parse` reads that form back. A document without the field has value "".
    """

    detector: str
    entity: Entity = ()

    @property
    def id(self) -> str:
        """blake2b-128 hex, the only form in URLs and in stored documents' ids."""
        return _series_id(self.detector, self.entity)

    def __str__(self) -> str:
        pairs = ",".join(f"{_escape(f)}={_escape(v)}" for f, v in self.entity)
        return f"{_escape(self.detector)}{{{pairs}}}" if pairs else _escape(self.detector)

    @classmethod
    def parse(cls, text: str) -> "SeriesKey":
        """Reads the printed form back; raises ValueError for anything else."""
        tokens = re.findall(r"\\.|[^\\]", text, flags=re.DOTALL)
        if "".join(tokens) != text:
            raise ValueError(f"{text!r} is not a series key: it ends in a lone backslash")
        parts: list[list[str]] = [[""]]
        closed = False
        for mark in tokens:
            if closed or (mark in "{},=" and not _accepts(parts, mark)):
                raise ValueError(f"{text!r} is not a series key: unexpected {mark!r}")
            if mark in "{,":
                parts.append([""])
            elif mark == "=":
                parts[-1].append("")
            elif mark == "}":
                closed = True
            else:
                parts[-1][-1] += mark[-1]
        if (len(parts) > 1) != closed or any(len(pair) != 2 for pair in parts[1:]):
            raise ValueError(f"{text!r} is not a series key: expected detector{{field=value,...}}")
        return cls(parts[0][0], tuple((pair[0], pair[1]) for pair in parts[1:]))


def _accepts(parts: Sequence[Sequence[str]], mark: str) -> bool:
    if mark == "{":
        return len(parts) == 1
    return len(parts) > 1 and (mark != "=" or len(parts[-1]) == 1)


@dataclass(frozen=True, slots=True)
class TimeGrid:
    """`size` buckets of `step` ms from `start` (UTC ms), half-open; start is a multiple of step, as in Elasticsearch."""

    start: int
    step: int
    size: int

    def __post_init__(self) -> None:
        if self.step <= 0 or self.size < 0:
            raise ValueError(f"a grid needs a positive step and a size >= 0, got step={self.step} size={self.size}")
        if self.start % self.step:
            raise ValueError(f"a grid starts on a multiple of its step, got start={self.start} step={self.step}")

    @classmethod
    def between(cls, start: int, end: int, step: int) -> "TimeGrid":
        """The grid of all whole buckets in [start, end): start is rounded up, end down."""
        first = -(-start // step) * step
        return cls(first, step, max(0, (end - first) // step))

    @property
    def end(self) -> int:
        """The end of the last bucket (exclusive)."""
        return self.start + self.step * self.size

    def times(self) -> NDArray[np.int64]:
        """Starts of the buckets, int64 [T]."""
        return self.start + self.step * np.arange(self.size, dtype=np.int64)

    def index(self, time: int) -> int:
        """The number of the bucket that holds `time`; below 0 or >= size when it lies outside."""
        return (time - self.start) // self.step

    def slice(self, start: int, end: int) -> "TimeGrid":
        """The part of the grid in [start, end), clipped to it; both must lie on the step."""
        low, high = max(start, self.start), min(end, self.end)
        return TimeGrid(low if high > low else self.start, self.step, max(0, (high - low) // self.step))


def read_only(array: NDArray[np.generic]) -> None:
    """Freezes an array in place; value types share arrays rather than copy them."""
    array.flags.writeable = False


@dataclass(frozen=True, eq=False)
class SeriesBatch:
    """Values of S series on one grid: float64 [S, T], NaN = no data. A count of 0 is data."""

    keys: tuple[SeriesKey, ...]
    grid: TimeGrid
    values: Float

    def __post_init__(self) -> None:
        if self.values.shape != (len(self.keys), self.grid.size) or self.values.dtype != np.float64:
            raise ValueError(
                f"expected float64 [{len(self.keys)}, {self.grid.size}], got {self.values.dtype} {list(self.values.shape)}"
            )
        read_only(self.values)

    @cached_property
    def rows(self) -> dict[SeriesKey, int]:
        """The row of each key."""
        return {key: row for row, key in enumerate(self.keys)}

    def take(self, keys: Iterable[SeriesKey]) -> "SeriesBatch":
        """The same grid with exactly these keys, in this order; NaN for keys that the batch does not hold."""
        wanted = tuple(keys)
        rows = np.array([self.rows.get(key, -1) for key in wanted], dtype=np.int64)
        values = np.full((len(wanted), self.grid.size), np.nan)
        values[rows >= 0] = self.values[rows[rows >= 0]]
        return SeriesBatch(wanted, self.grid, values)

    def between(self, start: int, end: int) -> "SeriesBatch":
        """The part of the batch in [start, end), clipped to its grid."""
        grid = self.grid.slice(start, end)
        first = self.grid.index(grid.start)
        return SeriesBatch(self.keys, grid, self.values[:, first : first + grid.size])
