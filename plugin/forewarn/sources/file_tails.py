"""Files that somebody is still writing: whether what cannot be read is only the end that has not been written yet.

Owns: Fault, `settled` and `is_document`. Reads the ends of files, and a whole file only to name a line that is broken.
"""

import csv
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from forewarn.sources.file_tables import Table, open_file

_LONGEST_LINE: Final = 1 << 20
_SHOWN: Final = 80


@dataclass(frozen=True, slots=True)
class Fault:
    """Something in a file that is no document, no time or no number."""

    file: str
    kind: str
    """`line`, `time` or `number`, or `row` for a CSV line whose place in the file is known."""
    sample: str | None = None
    count: int = 1
    line: int | None = None
    offset: int = 0
    """Of a row: where it begins, in bytes."""


def settled(faults: Iterable[Fault], tables: Iterable[Table]) -> Iterator[tuple[str, str]]:
    """(file, what is wrong) for every fault that more writing will not mend."""
    table_of = {name: table for table in tables for name in table.files}
    for fault in faults:
        tail = _tail(fault.file)
        if fault.kind == "line":
            if fault.count == 1 and tail and not is_document(tail):
                continue
            if line := _broken_line(fault.file):
                yield fault.file, f"line {line} is not a JSON object"
        elif fault.kind == "row":
            if not _is_row(fault, table_of[fault.file], tail):
                yield fault.file, f"line {fault.line}: {fault.sample}"
        elif not (fault.count == 1 and (fault.sample or "").encode() in tail):
            what = "a time" if fault.kind == "time" else "a number"
            yield fault.file, f"{(fault.sample or '')[:_SHOWN]!r} is not {what}"


def _tail(name: str) -> bytes:
    """What follows the last end of a line; files that end with one, and compressed ones, have none."""
    if name.endswith(".gz"):
        return b""
    with Path(name).open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _LONGEST_LINE))
        return file.read().rpartition(b"\n")[2]


def is_document(line: bytes) -> bool:
    """Whether the line is a JSON object."""
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _broken_line(name: str) -> int | None:
    """The number of the first complete line that is no document; None if there is none any more."""
    with open_file(name) as file:
        for number, line in enumerate(file, start=1):
            if line.endswith(b"\n") and line.strip() and not is_document(line):
                return number
    return None


def _is_row(fault: Fault, table: Table, tail: bytes) -> bool:
    """Whether the row is the one that is being written, or has been completed since it was read."""
    if not fault.file.endswith(".gz") and tail and fault.offset >= Path(fault.file).stat().st_size - len(tail):
        return True
    with open_file(fault.file) as file:
        file.seek(fault.offset)
        line = file.readline(_LONGEST_LINE)
    try:
        return len(next(csv.reader([line.decode()], delimiter=table.delimiter, strict=True), [])) == len(table.header)
    except (UnicodeDecodeError, csv.Error):
        return False
