"""The bytes of a log file become records: a JSON object a line, or text whose lines may go on over several.

Owns: Record, `records`, `document_of`. Decides line by line, so a file may hold both. Nothing in a line is an error: what is no
JSON is text, bytes that are no UTF-8 are replaced, and what has no time of its own has that of the line before it.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from forewarn.sources.file_matching import first_value
from forewarn.sources.line_times import time_of_text, time_of_value
from forewarn.sources.log_pages import CUT

_CONTINUES: Final = re.compile(r"\s|Caused by: |at |\.\.\. \d|Traceback |[}\])]")
_LEVEL: Final = re.compile(r"\b(TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|ERR|SEVERE|CRIT|CRITICAL|FATAL|PANIC|EMERG|ALERT)\b")
_BRACKETED: Final = re.compile(r"\[(trace|debug|info|notice|warn|warning|error|err|crit|critical|fatal|emerg|alert)\]")
_LEVEL_WITHIN: Final = 120

_decode: Final = msgspec.json.Decoder().decode


@dataclass(slots=True)
class Record:
    """One line with what continues it. `own` = the time stands in it; a document, or the text."""

    time: int
    offset: int
    own: bool
    document: Mapping[str, Any] | None
    text: str = ""


def document_of(line: bytes) -> dict[str, Any] | None:
    """The JSON object in the line, None if it is none; bytes that are no UTF-8 are replaced."""
    try:
        found = _decode(line)
    except (ValueError, RecursionError):
        try:
            found = json.loads(line.decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            return None
    return found if isinstance(found, dict) else None


def records(lines: Iterable[tuple[int, bytes]], time_field: str, written: int) -> Iterator[Record]:
    """The records in (offset, line) pairs, in order; `written` is when the file was, in UTC ms.

    A line of text without a time continues the text before it, if that began with one; after JSON only if it looks like
    the rest of a stack trace. Text before the first time has the first time. A document without a time is left out, as an
    index would leave it out of every range.
    """
    early: list[Record] = []
    open_text: Record | None = None
    time: int | None = None
    for offset, line in lines:
        record = _begun(offset, line, time_field, written)
        if record is None:
            continue
        if not record.own:
            if open_text is not None and (open_text.own or _CONTINUES.match(record.text)):
                if len(open_text.text) < CUT:
                    open_text.text = f"{open_text.text}\n{record.text}"[:CUT]
                continue
            if time is None:
                early.append(record)
                continue
            record.time = time
        if open_text is not None:
            yield open_text
        time = record.time
        for first in early:
            first.time = time
            yield first
        early.clear()
        open_text = record if record.document is None else None
        if open_text is None:
            yield record
    if open_text is not None:
        yield open_text


def _begun(offset: int, line: bytes, time_field: str, written: int) -> Record | None:
    """The record that a line alone would be, its time 0 unless it is its own; None for blank lines and timeless documents."""
    document = document_of(line) if line[:1] == b"{" else None
    if document is not None:
        time = time_of_value(first_value(document, time_field))
        return None if time is None else Record(time, offset, True, document)
    text = line[: 4 * CUT].decode("utf-8", "replace").rstrip("\r\n")[:CUT]
    if not text.strip():
        return None
    time = time_of_text(text, written)
    return Record(time or 0, offset, time is not None, None, text)


def text_document(text: str, file: str, message: str, level: str | None) -> dict[str, Any]:
    """A line of text as the document that a shipper would make of it; the level is what the line itself says."""
    match = _LEVEL.search(text, 0, _LEVEL_WITHIN) or _BRACKETED.search(text, 0, _LEVEL_WITHIN)
    said = match.group(1) if match else ""
    return {"message": text, message: text, "log.level": said, level or "log.level": said, "log.file.path": file}
