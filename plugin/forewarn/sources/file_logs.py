"""Log lines from files: the adapter of `LogSource` for NDJSON and plain text.

Owns: FileLogs, and the bounded cache of blocks that were read. The cache never decides what a read gives.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Final

from forewarn.errors import SourceRejected
from forewarn.pattern import LogPage, LogStream
from forewarn.ports import Problem
from forewarn.sources.file_conditions import QueryRefused, conditions_of
from forewarn.sources.file_log_index import Block, FileIndex
from forewarn.sources.file_log_lines import Record, text_document
from forewarn.sources.file_matching import Document, Match, first_value, matcher, values_of_field
from forewarn.sources.file_tables import files_of
from forewarn.sources.log_pages import CUT, PAGE, Row, pages_of, resume_at
from forewarn.sources.lucene import parse

_AT_ONCE: Final = 16 * 1024 * 1024
"""Bytes of files that are held parsed while a long range is put in order."""
_BLOCKS_KEPT: Final = 32
_INDEXES_KEPT: Final = 1_000
_LOOKED_AT: Final = 2_000
"""Lines that `check` looks at."""

_Key = tuple[str, int, str, Block]


class FileLogs:
    """Reads log lines from the files that a stream's `path` names; the glob is looked up at every read.

    Each line is a JSON object or text, whatever the name ends in; `.gz` is decompressed. Text has its time at its beginning,
    in one of the usual forms, and goes on over lines without a time. Its fields are `message`, `log.level` (as the line says)
    and `log.file.path`. Files may grow; they are indexed as they do. Queries are those of the metric files.
    """

    def __init__(self, *, page: int = PAGE) -> None:
        self._page = page
        self._indexes: dict[tuple[str, str], FileIndex] = {}
        self._rows: OrderedDict[_Key, list[Row]] = OrderedDict()

    def read(self, stream: LogStream, start: int, end: int, cursor: tuple[str | int, ...] | None = None) -> Iterator[LogPage]:
        """See `LogSource.read`. A line that is no JSON counts as text; one without any time before it cannot be placed."""
        match, form = _match_of(stream), repr(stream)
        start = resume_at(start, cursor)
        found = [
            (index, name, block)
            for index, name in self._files(stream)
            for block in index.blocks()
            if block.first < end and block.last >= start
        ]
        for low, high in _slices([block for _, _, block in found], start, end):
            rows: list[Row] = []
            for index, name, block in found:
                if block.first < high and block.last >= low:
                    rows += [row for row in self._block(index, name, block, stream, form, match) if low <= row[0] < high]
            yield from pages_of(rows, self._page)

    def check(self, stream: LogStream) -> list[Problem]:
        """See `LogSource.check`. Looks at the newest lines only."""
        path = stream.selection.path or ""
        try:
            match = _match_of(stream)
            files = list(self._files(stream))
            blocks = [(index, name, block) for index, name in files for block in index.blocks()]
        except SourceRejected as error:
            return [Problem("query" if "query: " in error.why else "path", error.why)]
        if not files:
            return [Problem("path", f"no file matches {path!r} at the moment")]
        if not blocks:
            return [
                Problem("time_field", f"no line has a time, neither in {stream.selection.time_field!r} nor at its beginning")
            ]
        index, name, block = max(blocks, key=lambda found: found[2].last)
        documents = [_document(record, name, stream) for record in index.read(block)[-_LOOKED_AT:]]
        wanted = [("message", stream.message), *(("split_by", field) for field in stream.split_by)]
        wanted += [("level", stream.level)] if stream.level else []
        found = [
            Problem(setting, f"none of the last {len(documents)} lines of {name} has a field {field!r}")
            for setting, field in wanted
            if not any(values_of_field(document, field) for document in documents)
        ]
        if match is not None and not any(map(match, documents, [record.time for record in index.read(block)[-_LOOKED_AT:]])):
            found.append(Problem("query", f"matches none of the last {len(documents)} lines of {name}"))
        return found

    def close(self) -> None:
        """Forgets what was indexed."""
        self._indexes.clear()
        self._rows.clear()

    def _files(self, stream: LogStream) -> Iterator[tuple[FileIndex, str]]:
        field = stream.selection.time_field
        names = files_of(stream.selection.path or "")
        if len(self._indexes) > _INDEXES_KEPT + 2 * len(names):  # files that were rotated away
            self._indexes.clear()
        for name in names:
            index = self._indexes.get((name, field))
            if index is None:
                index = self._indexes[name, field] = FileIndex(name, field)
            yield index, name

    def _block(self, index: FileIndex, name: str, block: Block, stream: LogStream, form: str, match: Match | None) -> list[Row]:
        """The rows of one block. A block that may still grow is another one when it has grown."""
        key = (name, index.generation, form, block)
        rows = self._rows.get(key)
        if rows is None:
            rows = [row for record in index.read(block) if (row := _row(record, name, stream, match)) is not None]
            self._rows[key] = rows
            if len(self._rows) > _BLOCKS_KEPT:
                self._rows.popitem(last=False)
        else:
            self._rows.move_to_end(key)
        return rows


def _match_of(stream: LogStream) -> Match | None:
    selection = stream.selection
    try:
        return matcher(conditions_of(selection.query, parse), selection.time_field)
    except QueryRefused as error:
        raise SourceRejected(selection.name, f"query: {error}") from error


def _document(record: Record, name: str, stream: LogStream) -> Document:
    if record.document is not None:
        return record.document
    return text_document(record.text, name, stream.message, stream.level)


def _row(record: Record, name: str, stream: LogStream, match: Match | None) -> Row | None:
    document = _document(record, name, stream)
    if match is not None and not match(document, record.time):
        return None
    entity = tuple([_first(document, field) for field in stream.split_by])
    level = _first(document, stream.level) if stream.level else ""
    return record.time, entity, level, _first(document, stream.message)[:CUT]


def _first(document: Document, field: str) -> str:
    value = first_value(document, field)
    return "" if value is None else str(value)


def _slices(blocks: Sequence[Block], start: int, end: int) -> Iterator[tuple[int, int]]:
    """The range in parts that begin with a block and hold a bounded number of bytes, as far as files are in order."""
    low, held = start, 0
    for block in sorted(blocks, key=lambda block: block.first):
        if held > _AT_ONCE and block.first > low:
            yield low, block.first
            low, held = block.first, 0
        held += block.end - block.start
    if low < end:
        yield low, end
