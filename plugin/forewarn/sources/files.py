"""Metrics from files, aggregated by DuckDB: the adapter of `MetricSource` for CSV, NDJSON and Parquet.

Owns: FileMetrics. The first read goes through the files; after that `file_rows` answers from memory, and only what is new in
them is parsed. Where it cannot be sure, each read goes through the files once. The same files always give the same values to
the last bit. Files may be appended to meanwhile: a last line that is not complete yet is left for the next read.
"""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import repeat
from pathlib import Path
from threading import Lock
from typing import Any, Final

import duckdb
import numpy as np

from forewarn.detector import Detector
from forewarn.errors import SourceRejected, SourceUnavailable
from forewarn.ports import Problem
from forewarn.series import SeriesBatch, TimeGrid
from forewarn.sources.assembly import Assembly
from forewarn.sources.demands import faults, refuse_faults
from forewarn.sources.file_rows import RowStore
from forewarn.sources.file_sheets import REJECTED_ROWS
from forewarn.sources.file_statement import SettingRefused, Statement, survey_of, values_of
from forewarn.sources.file_tables import Table, files_of, tables_of
from forewarn.sources.file_tails import Fault, settled

_ROWS: Final = 10_000
_THREADS: Final = 4
_ROOM: Final = 512 << 20


class FileMetrics:
    """Reads metrics from the files that a detector's `path` names; the glob is looked up at every read.

    Formats by ending: .csv and .tsv (with a header; comma, semicolon, tab or bar), .ndjson, .jsonl and .json (one object
    a line), .parquet; the text ones also with .gz. Times are ISO 8601 (UTC without a zone) or numbers since 1970 in s,
    ms, us or ns, told apart by their size. A dotted name is a nested field or one with dots in its name. In NDJSON and
    Parquet lists are several values. Percentiles and cardinality are exact.
    """

    def __init__(self, room: int = _ROOM) -> None:
        """`room`: the bytes of memory that may be spent on not reading files again; 0 for none."""
        self._database = _database()
        self._rows = RowStore(self._database, room) if room else None
        self._one_at_a_time = Lock()

    def read(self, detector: Detector, grid: TimeGrid) -> SeriesBatch:
        """See `MetricSource.read`. What `query` and `of` may hold is told by `lucene` and `file_conditions`."""
        refuse_faults(detector)
        path = detector.selection.path or ""
        assembly = Assembly(detector.name, detector.split_by, grid)
        files = files_of(path)
        if not files or not grid.size or self._recalled(detector, grid, files, assembly):
            return assembly.batch()
        tables = tables_of(files)
        if not tables:
            return assembly.batch()
        # A cursor is a connection of its own: reads may go on side by side, each with its table of rejected rows.
        with _errors_about(path), self._database.cursor() as connection:
            try:
                statement = values_of(detector, grid, tables, _Columns(connection))
            except SettingRefused as error:
                raise SourceRejected(path, f"{error.setting}: {error}") from error
            found = _read_into(assembly, connection, statement, len(detector.split_by))
            found += _rejected_rows(connection, tables)
        # Threads find faults in any order; the first by name is told, so that it is the same one each time.
        for file, why in settled(sorted(found, key=lambda fault: (fault.file, fault.line or 0, fault.kind)), tables):
            raise SourceRejected(file, why)
        return assembly.batch()

    def check(self, detector: Detector) -> list[Problem]:
        """See `MetricSource.check`. Goes through the files twice."""
        found = faults(detector)
        path = detector.selection.path or ""
        try:
            files = files_of(path)
            if not files:
                return [*found, Problem("path", f"no file matches {path!r} at the moment")]
            tables = tables_of(files)
            if found or not tables:
                return found
            with _errors_about(path), self._database.cursor() as connection:
                return list(_survey(connection, detector, tables))
        except SourceRejected as error:
            return [*found, Problem("path", str(error))]

    def _recalled(self, detector: Detector, grid: TimeGrid, files: Sequence[str], assembly: Assembly) -> bool:
        """Whether the values could be put without going through the files, apart from what is new in them."""
        if self._rows is None:
            return False
        with self._one_at_a_time, self._database.cursor() as connection:
            return self._rows.read(detector, grid, files, _Columns(connection), assembly)

    @property
    def held(self) -> int:
        """Bytes of memory that are spent on files that were seen, more or less."""
        return self._rows.used if self._rows is not None else 0

    def close(self) -> None:
        """Closes the database in memory."""
        self._database.close()


class _Columns:
    """The columns of Parquet files with their types, as DuckDB sees them together."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def __call__(self, files: Sequence[str]) -> dict[str, Any]:
        sql = "SELECT * FROM read_parquet($files, union_by_name=true) LIMIT 0"
        described = self._connection.execute(sql, {"files": list(files)}).description or []
        return {str(column[0]): column[1] for column in described}


def _database() -> duckdb.DuckDBPyConnection:
    """A database in memory that holds nothing and asks nobody for extensions."""
    options: dict[str, Any] = {
        "threads": min(_THREADS, os.cpu_count() or 1),
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        # Files grow between reads, by less than the resolution of their time stamps if need be.
        "enable_external_file_cache": False,
        "temp_directory": str(Path(tempfile.gettempdir()) / "forewarn-duckdb"),
    }
    database = duckdb.connect(":memory:", config=options)
    database.execute("SET GLOBAL TimeZone = 'UTC'")  # needs an extension that is there only now
    return database


@contextmanager
def _errors_about(path: str) -> Iterator[None]:
    """Turns DuckDB's errors into ours."""
    try:
        yield
    except (duckdb.IOException, duckdb.OutOfMemoryException) as error:  # a file that went away since it was listed
        raise SourceUnavailable(path, _first_line(error)) from error
    except duckdb.Error as error:
        raise SourceRejected(path, _first_line(error)) from error


def _read_into(assembly: Assembly, connection: duckdb.DuckDBPyConnection, statement: Statement, fields: int) -> list[Fault]:
    found: list[Fault] = []
    rows = connection.execute(statement.sql, statement.parameters)
    while page := rows.fetchmany(_ROWS):
        found += [Fault(row[1], row[0], row[2], row[3]) for row in page if row[0] is not None]
        good = [row for row in page if row[0] is None]
        if good:
            columns = list(zip(*good, strict=True))[4:]
            entities = zip(*columns[:fields], strict=True) if fields else repeat(())
            assembly.put(entities, columns[fields], np.array(columns[fields + 1], dtype=np.float64))
    return found


def _rejected_rows(connection: duckdb.DuckDBPyConnection, tables: Sequence[Table]) -> list[Fault]:
    if not any(table.kind == "csv" for table in tables):
        return []
    rows = connection.execute(REJECTED_ROWS).fetchall()
    return [Fault(file, "row", why, line=line, offset=position - 1) for file, why, line, position in rows]


def _survey(connection: duckdb.DuckDBPyConnection, detector: Detector, tables: Sequence[Table]) -> Iterator[Problem]:
    try:
        broken, present = survey_of(detector, tables, _Columns(connection))
    except SettingRefused as error:
        yield Problem(error.setting, str(error))
        return
    rows = connection.execute(broken.sql, broken.parameters).fetchall()
    found = [Fault(file, kind, sample, count) for kind, file, sample, count in rows]
    found += _rejected_rows(connection, tables)
    settings = {"line": "path", "row": "path", "time": "time_field", "number": "field"}
    wrong = [(settings[fault.kind], said) for fault in found for said in settled([fault], tables)]
    for setting in dict.fromkeys(setting for setting, _ in wrong):
        (file, why), *others = [said for named, said in wrong if named == setting]
        yield Problem(setting, f"{file}: {why}" + (f" (and {len(others)} more like it)" if others else ""))
    documents, *counts = connection.execute(present.sql, present.parameters).fetchone() or (0,)
    names = [("time_field", detector.selection.time_field)]
    names += [("field", detector.field)] if detector.field is not None else []
    names += [("split_by", name) for name in detector.split_by]
    for (setting, name), count in zip(names, counts, strict=True):
        if documents and not count:
            yield Problem(setting, f"none of the {documents} documents has a field {name!r}")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
