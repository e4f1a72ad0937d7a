"""Pages of (entity, bucket, value) become one dense batch, whatever order they come in.

Owns: Assembly. Holds one float64 plane that grows by doubling and one dictionary entry a series; nothing a bucket.
"""

from collections.abc import Iterable, Mapping
from itertools import repeat
from operator import sub

import numpy as np
from numpy.typing import NDArray

from forewarn.series import Entity, Float, SeriesBatch, SeriesKey, TimeGrid

Raw = tuple[object, ...]
"""The values of the split fields as the source gave them: text, number, boolean, None for missing."""

_FIRST_ROWS = 64


def text_of(value: object) -> str:
    """The form of a split field's value in a key: missing is "", booleans as in JSON, all else as printed."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


class _Numbering(dict[Raw, int]):
    """Gives every entity that is asked for the next row."""

    def __missing__(self, entity: Raw) -> int:
        row = self[entity] = len(self)
        return row


class Assembly:
    """The batch of one read while its pages come in."""

    def __init__(self, detector: str, fields: tuple[str, ...], grid: TimeGrid) -> None:
        self._detector = detector
        self._fields = fields
        self._grid = grid
        self._rows = _Numbering()
        self._values: Float = np.full((_FIRST_ROWS, grid.size), np.nan)

    def put(self, entities: Iterable[Raw], starts: Iterable[int], values: Float) -> None:
        """Adds buckets: `entities` and `starts` (UTC ms, or one start repeated) go along with `values` [n]."""
        n = len(values)
        rows: NDArray[np.int64] = np.fromiter(map(self._rows.__getitem__, entities), np.int64, n)
        step, first = self._grid.step, self._grid.start
        columns = np.fromiter(map(sub, starts, repeat(first)), np.int64, n) // step
        if len(self._rows) > len(self._values):
            grown = np.full((max(len(self._rows), 2 * len(self._values)), self._grid.size), np.nan)
            grown[: len(self._values)] = self._values
            self._values = grown
        self._values[rows, columns] = values

    def ambiguous(self) -> Mapping[tuple[str, ...], list[Raw]]:
        """Keys that the source gave in more than one form: missing and "" are the same entity."""
        forms: dict[tuple[str, ...], list[Raw]] = {}
        for raw in self._rows:
            if None in raw or "" in raw:
                forms.setdefault(tuple(map(text_of, raw)), []).append(raw)
        return {text: raws for text, raws in forms.items() if len(raws) > 1}

    def replace(self, forms: Iterable[Raw], values: Float) -> None:
        """Puts `values` [T] in place of everything that came in for the given forms of one key."""
        first, *others = forms
        self._values[self._rows[first]] = values
        for other in others:
            self._values[self._rows[other]] = np.nan
            self._rows[other] = -1

    def batch(self) -> SeriesBatch:
        """The series that came in, sorted by key."""
        keyed = sorted((self._entity(raw), row) for raw, row in self._rows.items() if row >= 0)
        order = np.array([row for _, row in keyed], dtype=np.int64)
        keys = tuple(SeriesKey(self._detector, entity) for entity, _ in keyed)
        return SeriesBatch(keys, self._grid, self._values[order])

    def _entity(self, raw: Raw) -> Entity:
        return tuple(zip(self._fields, map(text_of, raw), strict=True))
