"""Counting: lines that were told apart become counts per bucket and, for each pattern, its first line.

Owns: Tally, pattern_id. Array operations over batches; a Python step for each pattern of a batch, none for each line of it.
What comes out depends on the set of lines alone.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

import numpy as np
from numpy.typing import NDArray

from forewarn.pattern import OTHER, PATTERN_FIELD, LogStream, Pattern, level_of
from forewarn.patterns.redaction import Redaction
from forewarn.series import SeriesBatch, SeriesKey, TimeGrid

BUDGET: Final = 2_000
"""Patterns of one namespace that a block tells apart; the others are counted together."""
_SERVICE: Final = "service.name"
_NOT_LOG_LIKE_FROM: Final = 100

_LEVEL: Final = re.compile(
    r"\b(TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|ERR|SEVERE|CRIT|CRITICAL|FATAL|PANIC|EMERG|ALERT)\b", re.ASCII
)
_LEVEL_WITHIN: Final = 120

Namespace = tuple[str, ...]
Words = tuple[tuple[str, ...], str, str]
"""What a line is counted under: (entity, level, shape); shape "" = not told apart."""


def pattern_id(namespace: Sequence[str], level: str, shape: str) -> str:
    """16 hex digits, a pure function of the arguments; the same in every process and after any restart."""
    digest = blake2b(digest_size=8)
    for part in (*namespace, level, shape):
        text = part.encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % len(text))
        digest.update(text)
    return digest.hexdigest()


@dataclass(slots=True)
class _Row:
    """One entity and pattern: how many lines, when, and the first of them, the smallest text where several are first."""

    entity: tuple[str, ...]
    pattern: str
    first: int
    last: int
    message: str
    count: int


class Tally:
    """The counts of one block of one stream while its lines come in."""

    def __init__(self, stream: LogStream, grid: TimeGrid) -> None:
        self._stream = stream
        self._grid = grid
        service = stream.split_by.index(_SERVICE) if _SERVICE in stream.split_by else 0
        self._service = slice(service, service + 1)
        self._row_of: dict[Words, int] = {}
        self._other: dict[tuple[str, ...], int] = {}
        self._rows: list[_Row] = []
        self._texts: dict[str, tuple[Namespace, str, str]] = {}
        """Pattern id -> (namespace, level, shape)."""
        self._patterns: Counter[Namespace] = Counter()
        """Namespace -> patterns told apart."""
        self._left_out: set[Namespace] = set()
        self._cells: dict[int, int] = {}
        """row * buckets + bucket -> lines."""

    def add(self, times: Sequence[int], words: Sequence[Words], messages: Sequence[str]) -> None:
        """Counts a batch of lines, in any order; it must not share a millisecond with another batch."""
        at = np.array(times, dtype=np.int64)
        inside = (at >= self._grid.start) & (at < self._grid.end)
        if not inside.all():
            keep = np.flatnonzero(inside).tolist()
            at, words, messages = at[inside], [words[i] for i in keep], [messages[i] for i in keep]
        if not words:
            return
        known = {each: self._row_of.get(each, -1) for each in set(words)}
        fresh = [each for each, row in known.items() if row < 0]
        if fresh:
            known.update(self._admit(fresh, at.tolist(), words))
        rows = np.fromiter(map(known.__getitem__, words), np.int64, len(words))
        cells, counts = np.unique(rows * self._grid.size + (at - self._grid.start) // self._grid.step, return_counts=True)
        for cell, count in zip(cells.tolist(), counts.tolist(), strict=True):
            self._cells[cell] = self._cells.get(cell, 0) + count
        self._first_lines(rows, at, messages)

    def _admit(self, fresh: Sequence[Words], at: Sequence[int], words: Sequence[Words]) -> dict[Words, int]:
        """Rows for what was not seen before, the earliest first: which patterns a budget takes depends on time alone."""
        new = set(fresh)
        first: dict[Words, int] = {}
        for time, each in zip(at, words, strict=True):
            if each in new and time < first.get(each, self._grid.end):
                first[each] = time
        rows = {}
        for each in sorted(fresh, key=lambda one: (first[one], one)):
            entity, level, shape = each
            name = self._name((self._stream.name, *entity[self._service]), level, shape) if shape else OTHER
            if name == OTHER:
                if entity not in self._other:
                    self._other[entity] = self._put(entity, OTHER)
                rows[each] = self._other[entity]
            else:
                rows[each] = self._row_of[each] = self._put(entity, name)
        return rows

    def _name(self, namespace: Namespace, level: str, shape: str) -> str:
        name = pattern_id(namespace, level, shape)
        if name not in self._texts:
            if self._patterns[namespace] >= BUDGET:
                self._left_out.add(namespace)
                return OTHER
            self._patterns[namespace] += 1
            self._texts[name] = (namespace, level, shape)
        return name

    def _put(self, entity: tuple[str, ...], pattern: str) -> int:
        self._rows.append(_Row(entity, pattern, self._grid.end, self._grid.start, "", 0))
        return len(self._rows) - 1

    def _first_lines(self, rows: NDArray[np.int64], at: NDArray[np.int64], messages: Sequence[str]) -> None:
        order = np.lexsort((at, rows))
        rows, at = rows[order], at[order]
        starts = np.flatnonzero(np.diff(rows, prepend=-1))
        ends = np.append(starts[1:], len(rows))
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            row = self._rows[rows[start]]
            first = int(at[start])
            row.count += end - start
            row.last = max(row.last, int(at[end - 1]))
            if first < row.first:
                ties = order[start : start + int(np.searchsorted(at[start:end], first, side="right"))]
                row.first, row.message = first, min(messages[i] for i in ties.tolist())

    def counts(self, detector: str) -> SeriesBatch:
        """Lines per bucket of every (entity, pattern) that was seen, sorted by key; NaN where a bucket has none."""
        fields = (*self._stream.split_by, PATTERN_FIELD)
        keys = [SeriesKey(detector, tuple(zip(fields, (*row.entity, row.pattern), strict=True))) for row in self._rows]
        order = sorted(range(len(keys)), key=keys.__getitem__)
        values = np.full((len(keys), self._grid.size), np.nan)
        if self._cells:
            values.reshape(-1)[np.fromiter(self._cells, np.int64, len(self._cells))] = list(self._cells.values())
        return SeriesBatch(tuple(keys[row] for row in order), self._grid, values[order])

    def patterns(self, redaction: Redaction) -> dict[str, Pattern]:
        """Every pattern that was told apart, by id: over all entities of its namespace."""
        found: dict[str, Pattern] = {}
        first: dict[str, _Row] = {}
        for row in self._rows:
            if row.pattern != OTHER:
                before = first.get(row.pattern)
                first[row.pattern] = row if before is None else _joined(before, row)
        for name, row in sorted(first.items()):
            namespace, level, shape = self._texts[name]
            text, example = redaction(shape), redaction.example(row.message)
            said = level or level_in(example)
            found[name] = Pattern(name, namespace, said, text, example, row.first, row.last, row.count)
        return found

    def warnings(self) -> Iterator[str]:
        """What was not told apart, and which namespaces do not look like logs; sorted."""
        lines: Counter[Namespace] = Counter()
        other: Counter[Namespace] = Counter()
        for row in self._rows:
            namespace = (self._stream.name, *row.entity[self._service])
            lines[namespace] += row.count
            other[namespace] += row.count if row.pattern == OTHER else 0
        for namespace in sorted(lines):
            name, total = "/".join(filter(None, namespace)), lines[namespace]
            if namespace in self._left_out:
                yield f"{name}: more than {BUDGET} patterns; the lines of the others are counted together as `{OTHER}`"
            if total >= _NOT_LOG_LIKE_FROM and other[namespace] > 0.9 * total and namespace not in self._left_out:
                yield f"{name}: {other[namespace]} of {total} lines have no words; is {self._stream.message!r} the right field?"
            elif total >= _NOT_LOG_LIKE_FROM and self._patterns[namespace] > total / 2:
                yield (
                    f"{name}: {self._patterns[namespace]} patterns in {total} lines: {self._stream.message!r} does not look "
                    "like log lines; name the field that holds their text"
                )


def _joined(one: _Row, other: _Row) -> _Row:
    first = min(one, other, key=lambda row: (row.first, row.message))
    return _Row(first.entity, one.pattern, first.first, max(one.last, other.last), first.message, one.count + other.count)


def level_in(line: str) -> str:
    """The level that a line of text names near its beginning, in capitals as loggers write it; "" if it names none."""
    match = _LEVEL.search(line, 0, _LEVEL_WITHIN)
    return level_of(match.group(1)) if match else ""
