"""The documents of parts of files as tables in memory, for every detector that reads them.

Owns: Sheet, Sheets. Parsing a part costs a pass over its bytes; a table holds the fields that were asked for, and the numbers
that its documents were seen to have, because the next detector is likely to ask for those. What is kept here is worth nothing
but the time it saves.
"""

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final

import duckdb

from forewarn.sources.file_parts import Facts, Part, Parts, Unsettled
from forewarn.sources.file_shelf import Shelf
from forewarn.sources.file_statement import Describe, documents_of
from forewarn.sources.file_tables import Table, open_file

_GUESSED: Final = 24
"""Fields at most that are parsed without having been asked for."""
_SAMPLES: Final = 4
_SAMPLE: Final = 1 << 14
_CELL: Final = 48
"""Bytes of a value in a table, more or less."""
_LEAST: Final = 2 << 20
REJECTED_ROWS: Final = """SELECT file_path, error_message, line, line_byte_position
    FROM reject_errors JOIN reject_scans USING (scan_id, file_id) ORDER BY file_path, line"""


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """A table of `documents_of`."""

    name: str
    time_field: str
    columns: Mapping[str, str]
    """Field -> column."""
    numbers: Mapping[Part, int]
    """Part -> its number in the table."""


class Sheets:
    """Tables in a database in memory that take up `room` bytes, more or less."""

    def __init__(self, database: duckdb.DuckDBPyConnection, parts: Parts, room: int) -> None:
        self._database = database
        self._parts = parts
        self._names = map("documents_{}".format, count())
        self._shelf: Shelf[str, Sheet] = Shelf(room, self._drop)

    @property
    def used(self) -> int:
        """Bytes, more or less."""
        return self._shelf.used

    def find(self, part: Part, fields: Sequence[str]) -> Sheet | None:
        """A table with these fields of the part, the first of them its time."""
        for sheet in reversed(self._shelf.values()):
            if part in sheet.numbers and sheet.time_field == fields[0] and sheet.columns.keys() >= set(fields):
                return self._shelf.get(sheet.name)
        return None

    def load(self, parts: Sequence[Part], fields: Sequence[str], types: Describe) -> Sheet:
        """Parses the parts into a table and notes the facts about them; raises Unsettled if their files have changed."""
        name = next(self._names)
        with tempfile.TemporaryDirectory(prefix="forewarn-") as folder, self._database.cursor() as connection:
            numbers, tables = self._laid_out(parts, Path(folder))
            named = tuple(dict.fromkeys([*fields, *_guesses(tables)]))
            statement = documents_of(tables, named, numbers, types)
            connection.execute(f"CREATE TABLE {name} AS {statement.sql}", statement.parameters)
            facts, rows = _facts(connection, name, parts, numbers)
        columns = {field: f"f{number}" for number, field in enumerate(named)}
        sheet = Sheet(name, fields[0], columns, {part: number for number, part in enumerate(parts)})
        self._shelf.put(name, sheet, _LEAST + rows * len(named) * _CELL)
        if not self._parts.settled(parts):
            self._shelf.drop([name])
            raise Unsettled
        for part, found in zip(parts, facts, strict=True):
            part.facts[fields[0]] = found
        return sheet

    def _laid_out(self, parts: Sequence[Part], folder: Path) -> tuple[dict[str, int], list[Table]]:
        """Files that hold just the parts, with the number of each part; under their own names where they do so anyway."""
        numbers: dict[str, int] = {}
        layouts: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
        for number, part in enumerate(parts):
            table, names = part.table, part.table.files
            if not self._parts.covers(part):
                copy = folder / f"{number}.{table.kind}"
                copy.write_bytes(part.text())
                names = (str(copy),)
            layouts.setdefault((table.kind, table.delimiter, table.header), []).extend(names)
            numbers |= dict.fromkeys(names, number)
        return numbers, [Table(kind, tuple(names), mark, header) for (kind, mark, header), names in layouts.items()]

    def _drop(self, sheet: Sheet) -> None:
        self._database.execute(f"DROP TABLE {sheet.name}")


def _facts(
    connection: duckdb.DuckDBPyConnection, name: str, parts: Sequence[Part], numbers: Mapping[str, int]
) -> tuple[list[Facts], int]:
    facts = [Facts(0, -1, False)] * len(parts)
    found = connection.execute(f"SELECT part, min(t), max(t), count(fault), count(*) FROM {name} GROUP BY part")  # noqa: S608  ours
    rows = 0
    for number, first, last, faults, documents in found.fetchall():
        facts[number] = Facts(0 if first is None else first, -1 if first is None else last, faults > 0)
        rows += documents
    if any(part.table.kind == "csv" for part in parts):
        for file, *_ in connection.execute(REJECTED_ROWS).fetchall():
            number = numbers[file]
            if not parts[number].tail:  # a row that is still being written
                facts[number] = Facts(0, -1, True)
    return facts, rows


def _guesses(tables: Iterable[Table]) -> list[str]:
    """Fields that the next detector may ask for: columns of CSV, numbers in the first lines of some of the other files."""
    found: dict[str, None] = {}
    for table in tables:
        if table.kind == "csv":
            found |= dict.fromkeys(table.header)
        elif table.kind == "ndjson":
            for name in table.files[:: max(1, len(table.files) // _SAMPLES)]:
                found |= dict.fromkeys(_numbers_in(name))
    return list(found)[:_GUESSED]


def _numbers_in(name: str) -> Iterator[str]:
    with open_file(name) as file:
        lines = file.read(_SAMPLE).splitlines()
    for line in lines[:64]:
        try:
            yield from _numbers(json.loads(line), "")
        except (ValueError, RecursionError):
            continue


def _numbers(value: Any, field: str) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _numbers(inner, f"{field}.{name}" if field else name)
    elif isinstance(value, int | float):
        yield field
