"""Where in a log file which times are, so that five minutes are not looked for in five weeks.

Owns: FileIndex, Block, `read_block`. An index is a cache: it is built from the file, grows with it, and is built anew when
the file is no longer the one that it was built from.
"""

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Final

from forewarn.errors import SourceRejected, SourceUnavailable
from forewarn.sources.file_log_lines import Record, document_of, records
from forewarn.sources.file_tables import open_file

BLOCK: Final = 256 * 1024
_LONGEST: Final = 8 * 1024 * 1024
"""Bytes of one line; the rest of a longer one is taken for lines of its own, without an end to wait for."""


@dataclass(frozen=True, slots=True)
class Block:
    """A part of a file that begins with a record: bytes [start, end), and the times of its records."""

    start: int
    end: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class _Identity:
    inode: int
    size: int
    changed: int


class FileIndex:
    """The blocks of one file."""

    def __init__(self, name: str, time_field: str) -> None:
        self._name = name
        self._time_field = time_field
        self._identity: _Identity | None = None
        self._begins = b""
        self._blocks: list[Block] = []
        self.generation = 0
        """Counts how often the file turned out to be another one: then equal blocks need not have equal content."""

    def blocks(self) -> list[Block]:
        """The blocks of the file as it is now. SourceUnavailable if it has gone, SourceRejected if it may not be read."""
        try:
            found = os.stat(self._name)  # noqa: PTH116  called at every read, for every file
            identity = _Identity(found.st_ino, found.st_size, found.st_mtime_ns)
            if identity == self._identity:
                return self._blocks
            if not os.access(self._name, os.R_OK):
                raise SourceRejected(self._name, "no permission to read it")
            kept = self._still_good(identity)
            self.generation += not kept
            with open_file(self._name) as file:
                start = kept[-1].end if kept else 0
                file.seek(start)
                fresh = list(_blocks(_lines(file, start), self._time_field, identity.changed // 1_000_000))
                file.seek(0)
                self._begins = _digest(file.read(1024))
        except (OSError, EOFError) as error:
            raise SourceUnavailable(self._name, str(error)) from error
        self._blocks, self._identity = [*kept, *fresh], identity
        return self._blocks

    def read(self, block: Block) -> list[Record]:
        """The records of one block."""
        written = self._identity.changed // 1_000_000 if self._identity else 0
        try:
            with open_file(self._name) as file:
                file.seek(block.start)
                return list(records(_lines(file, block.start, block.end), self._time_field, written))
        except (OSError, EOFError) as error:
            raise SourceUnavailable(self._name, str(error)) from error

    def _still_good(self, now: _Identity) -> list[Block]:
        """The blocks that writing more to the same file did not change: all but the last, which may go on."""
        before = self._identity
        if before is None or self._name.endswith(".gz") or now.inode != before.inode or now.size <= before.size:
            return []
        with Path(self._name).open("rb") as file:
            same = before.size >= 1024 and _digest(file.read(1024)) == self._begins
        return self._blocks[:-1] if same else []


def _digest(content: bytes) -> bytes:
    return blake2b(content, digest_size=16).digest()


def _lines(file: io.BufferedIOBase, start: int, end: int | None = None) -> Iterator[tuple[int, bytes]]:
    """(offset, line) from `start` up to `end`; a last line without its end counts once it can be read."""
    offset = start
    while end is None or offset < end:
        line = file.readline(_LONGEST)
        if not line:
            return
        if line.endswith(b"\n") or len(line) >= _LONGEST or line[:1] != b"{" or document_of(line) is not None:
            yield offset, line
        offset += len(line)


def _blocks(lines: Iterator[tuple[int, bytes]], time_field: str, written: int) -> Iterator[Block]:
    end = -1

    def counted() -> Iterator[tuple[int, bytes]]:
        nonlocal end
        for offset, line in lines:
            end = offset + len(line)
            yield offset, line

    start = first = last = -1
    for record in records(counted(), time_field, written):
        if start >= 0 and record.own and record.offset - start >= BLOCK:
            yield Block(start, record.offset, first, last)
            start = -1
        if start < 0:
            start, first, last = record.offset, record.time, record.time
        first, last = min(first, record.time), max(last, record.time)
    if start >= 0:
        yield Block(start, end, first, last)
