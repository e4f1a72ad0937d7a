"""What of which files has been seen: files as parts that stay what they are while their file grows.

Owns: Part, Parts. Looks at files and reads bytes; parses nothing. A plain text file is cut behind ends of lines, so that what
is appended makes new parts and leaves the old ones; all others are one part, which is replaced when the file changes.
"""

import os
import tempfile
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from forewarn.sources.file_tables import Table, tables_of
from forewarn.sources.file_tails import is_document

_PIECE: Final = 16 << 20
"""Bytes of a part at most."""
_SMALL: Final = 32 << 10
"""Parts below this many bytes are taken together with what comes after them."""
_COMPARED: Final = 8 << 20
"""Of files above this only the first and the last part of their known bytes is compared when they grow."""
_EDGE: Final = 1 << 20
_YOUNG: Final = 100_000_000
"""A file that was written to less than 100 ms before it was read may change again without a new time stamp."""
_PACKED: Final = 6
_MOST_FILES: Final = 50_000

Stamp = tuple[int, int, int, int, int]


class Unsettled(Exception):
    """The files change while they are looked at, or are none that can be cut."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a part holds as one time field tells it."""

    first: int
    """The lowest and the highest time of a document, ms; none if `last` is lower."""
    last: int
    faulty: bool
    """Whether something in it cannot be read."""


@dataclass(eq=False, slots=True)
class Part:
    """Bytes [start, end) of a file, or all of one or more files."""

    table: Table
    stamps: tuple[Stamp, ...]
    start: int = 0
    end: int = 0
    whole: bool = True
    """Whether it is all there is of its files, in a form that cannot be cut."""
    tail: bool = False
    """Whether it is a last line without an end, which may be incomplete."""
    facts: dict[str, Facts] = field(default_factory=dict)
    """By time field, once it has been parsed."""

    @property
    def size(self) -> int:
        """Its bytes, of packed files about as many as there are in them."""
        return _PACKED * sum(stamp[2] for stamp in self.stamps) if self.whole else self.end - self.start

    def text(self) -> bytes:
        """Its bytes; of CSV with the header before them."""
        with Path(self.table.files[0]).open("rb") as file:
            header = file.readline() if self.table.kind == "csv" and self.start else b""
            file.seek(self.start)
            found = file.read(self.end - self.start)
        if len(found) < self.end - self.start:
            raise Unsettled
        return header + found


@dataclass(slots=True)
class _Known:
    """A file as it was last looked at."""

    stamp: Stamp
    young: bool
    table: Table | None
    end: int = 0
    """Up to here it consists of `parts`."""
    print: int = 0
    """A checksum of the bytes before `end`."""
    left: bytes = b""
    """The bytes after `end`."""
    parts: list[Part] = field(default_factory=list)
    tail: list[Part] = field(default_factory=list)


class Parts:
    """The parts of files, looked at again and again."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._sets: OrderedDict[tuple[str, ...], Part] = OrderedDict()

    def of(self, files: Sequence[str]) -> list[Part]:
        """The parts that the files consist of now; raises OSError, SourceError and Unsettled."""
        found: list[Part] = []
        columnar: list[str] = []
        for name in files:
            known = self._known.get(name)
            if known is None or known.young or known.stamp != _stamp(os.stat(name)):  # noqa: PTH116  os.stat takes half the time
                known = self._known[name] = _look(name, known)
            self._known.move_to_end(name)
            if known.table is not None and known.table.kind == "parquet":
                columnar.append(name)
            found += known.parts
            found += known.tail
        while len(self._known) > max(_MOST_FILES, len(files)):
            self._known.popitem(last=False)
        return [*found, self._together(tuple(columnar))] if columnar else found

    def settled(self, parts: Iterable[Part]) -> bool:
        """Whether the files of the parts still are as they were when they were looked at last."""
        names = {name for part in parts for name in part.table.files}
        return all(_stamp(os.stat(name)) == self._known[name].stamp for name in names)  # noqa: PTH116  as above

    def covers(self, part: Part) -> bool:
        """Whether the part is all of its files, so that it may be read under their names."""
        known = self._known.get(part.table.files[0])
        return part.whole or (known is not None and known.parts == [part] and not known.left)

    def _together(self, names: tuple[str, ...]) -> Part:
        """Parquet files are one part: the type of a column depends on all of them."""
        stamps = tuple(self._known[name].stamp for name in names)
        part = self._sets.get(names)
        if part is None or part.stamps != stamps or any(self._known[name].young for name in names):
            part = self._sets[names] = Part(Table("parquet", names), stamps)
        self._sets.move_to_end(names)
        while len(self._sets) > _MOST_FILES // 1000:
            self._sets.popitem(last=False)
        return part


def _stamp(stat: os.stat_result) -> Stamp:
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _look(name: str, before: _Known | None) -> _Known:
    tables = tables_of((name,))
    with Path(name).open("rb") as file:
        stat = os.fstat(file.fileno())
        stamp = _stamp(stat)
        found = _Known(stamp, False, tables[0] if tables else None)
        if found.table is not None and found.table.kind != "parquet":
            same = before is not None and before.stamp[:2] == stamp[:2] and before.table == found.table
            old = before if same and before is not None and before.end <= stat.st_size else None
            if old is not None and _print(file, old.end) != old.print:
                old = None
            _cut(file, found, old, name.endswith(".gz"))
        # The clock of the file system: what was written just now may be written again at the same time.
        with tempfile.TemporaryFile() as mark:
            found.young = stat.st_ctime_ns >= os.fstat(mark.fileno()).st_ctime_ns - _YOUNG
    return found


def _cut(file: BinaryIO, found: _Known, old: _Known | None, packed: bool) -> None:
    """Fills in the parts of a text file, the old ones as far as they still hold."""
    table, size = found.table, found.stamp[2]
    if table is None:
        return
    begin = 0
    if table.kind == "csv" and not packed:
        file.seek(0)
        header = file.readline()
        begin, packed = file.tell(), not header.endswith(b"\n") or header.count(b'"') % 2 > 0
    if old is not None and old.parts:
        packed = packed or old.parts[0].whole
    cuts, left = ([], b"") if packed else _lines(file, max(begin, old.end if old else 0), size, table.kind == "csv")
    if packed or cuts is None:
        _keep_whole(file, found, old)
        return
    found.parts = list(old.parts) if old else []
    start = old.end if old else begin
    if cuts and found.parts and found.parts[-1].end - found.parts[-1].start < _SMALL:
        start = found.parts.pop().start
    for end in cuts:
        found.parts.append(Part(table, (found.stamp,), start, end, whole=False))
        start = end
    found.end = found.parts[-1].end if found.parts else begin
    found.print, found.left = _print(file, found.end), left
    if old is not None and old.left == left and old.end == found.end:
        found.tail = old.tail
    elif left and (table.kind == "csv" or is_document(left)):
        found.tail = [Part(table, (found.stamp,), found.end, size, whole=False, tail=True)]


def _keep_whole(file: BinaryIO, found: _Known, old: _Known | None) -> None:
    found.end = found.stamp[2]
    found.print = _print(file, found.end)
    same = old is not None and old.end == found.end and old.parts and old.parts[0].whole
    table = found.table
    if old is not None and same:
        found.parts = old.parts
        found.parts[0].stamps = (found.stamp,)
    elif table is not None and found.end:
        found.parts = [Part(table, (found.stamp,), 0, found.end)]


def _lines(file: BinaryIO, start: int, size: int, quotes: bool) -> tuple[list[int] | None, bytes]:
    """Where parts end in [start, size), and what follows the last end of a line; None where lines cannot be told apart."""
    ends: list[int] = []
    while start < size:
        file.seek(start)
        text = file.read(min(_PIECE, size - start))
        if quotes and b'"' in text:
            return None, b""
        last = text.rfind(b"\n") + 1
        if not last:
            return (ends, text) if start + len(text) == size else (None, b"")
        start += last
        ends.append(start)
    return ends, b""


def _print(file: BinaryIO, end: int) -> int:
    """A checksum of the bytes before `end`, of large files of their edges."""
    found = 0
    for start, stop in [(0, end)] if end <= _COMPARED else [(0, _EDGE), (end - _EDGE, end)]:
        file.seek(start)
        found = zlib.crc32(file.read(stop - start), found)
    return found
