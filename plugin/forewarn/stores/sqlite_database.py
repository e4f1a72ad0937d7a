"""Connections to one SQLite file and its schema.

Owns: WAL and busy timeout, one connection a thread, transactions, schema version, translation of SQLite's errors.
Must not know what the rows mean.
"""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from weakref import WeakSet

from forewarn.errors import StoreRejected, StoreUnavailable

SCHEMA_VERSION: Final = 1

_SCHEMA: Final = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE head (
  only INTEGER PRIMARY KEY CHECK (only = 1), number INTEGER NOT NULL, now INTEGER NOT NULL, document BLOB NOT NULL);
CREATE TABLE blocks (name TEXT PRIMARY KEY, at INTEGER NOT NULL, content BLOB NOT NULL);
CREATE INDEX blocks_at ON blocks (at);
CREATE TABLE cursors (target TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;

-- Every key that was ever published. Rows of results hold the short number in place of the 32 characters of the id.
CREATE TABLE names (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, detector TEXT NOT NULL, entity TEXT NOT NULL);
CREATE INDEX names_detector ON names (detector);
CREATE TABLE series (
  number INTEGER PRIMARY KEY REFERENCES names, version INTEGER NOT NULL, step INTEGER NOT NULL, unit TEXT NOT NULL,
  owner TEXT NOT NULL, timezone TEXT NOT NULL, status TEXT NOT NULL, engine TEXT NOT NULL, fitted_at INTEGER,
  first_seen INTEGER NOT NULL, last_seen INTEGER NOT NULL, retired INTEGER NOT NULL, model BLOB, calibration BLOB);

-- The partition leads the key: dropping one is a delete of neighbouring rows, and a tick writes at the end of the last one.
CREATE TABLE scores (
  partition INTEGER NOT NULL, number INTEGER NOT NULL REFERENCES names, start INTEGER NOT NULL, span INTEGER NOT NULL,
  version INTEGER NOT NULL, actual REAL, expected REAL, lower REAL, upper REAL, score REAL, direction INTEGER NOT NULL,
  reason TEXT NOT NULL, PRIMARY KEY (partition, number, start, span)) WITHOUT ROWID;
CREATE TABLE anomalies (
  id TEXT PRIMARY KEY, partition INTEGER NOT NULL, number INTEGER NOT NULL REFERENCES names, version INTEGER NOT NULL,
  state TEXT NOT NULL, revision INTEGER NOT NULL, start INTEGER NOT NULL, "end" INTEGER NOT NULL, peak INTEGER NOT NULL,
  score REAL, severity REAL, direction TEXT NOT NULL, actual REAL, expected REAL, lower REAL, upper REAL,
  explanation TEXT NOT NULL);
CREATE INDEX anomalies_partition ON anomalies (partition);
CREATE INDEX anomalies_end ON anomalies ("end", start);

CREATE TABLE incidents (
  id TEXT PRIMARY KEY, partition INTEGER NOT NULL, version INTEGER NOT NULL, state TEXT NOT NULL, start INTEGER NOT NULL,
  "end" INTEGER NOT NULL, severity REAL, merged_into TEXT NOT NULL, document TEXT NOT NULL);
CREATE INDEX incidents_partition ON incidents (partition);
CREATE INDEX incidents_end ON incidents ("end", start);
CREATE TABLE patterns (id TEXT PRIMARY KEY, version INTEGER NOT NULL, document TEXT NOT NULL);

CREATE VIEW series_named AS
  SELECT names.id AS id, detector, entity, version, step, unit, owner, timezone, status, engine, fitted_at, first_seen,
    last_seen, retired, model, calibration FROM series JOIN names USING (number);
CREATE VIEW anomalies_named AS
  SELECT anomalies.id AS id, names.id AS series_id, detector, entity, state, revision, start, "end", peak, score, severity,
    direction, actual, expected, lower, upper, explanation FROM anomalies JOIN names USING (number)
    WHERE state <> 'withdrawn';
"""


class _Held:
    """A connection that is closed with the thread that holds it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def __del__(self) -> None:
        self.connection.close()


class Database:
    """One SQLite file, used by several threads and processes at once. `:memory:` lives in one connection behind a lock."""

    def __init__(self, path: str | Path, *, timeout: float = 10.0) -> None:
        self.path = str(path)
        self._timeout = timeout
        self._shared = self.path == ":memory:"
        self._lock = threading.RLock()
        self._local = threading.local()
        self._all: WeakSet[_Held] = WeakSet()
        self._only: _Held | None = None
        self._closed = False

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection on which all reads see the same state."""
        with self._transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A connection that alone may write until the block ends; everything is undone if it raises."""
        with self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    def prepare(self, partition: str) -> str:
        """Creates the schema if there is none; returns the granularity that the store was created with.

        Raises StoreRejected for a file that is not ours or was written by a newer version.
        """
        with self.reading() as connection:  # most openings meet a finished store and need not wait for a writer
            if (found := self._partition(connection)) is not None:
                return found
        with self.writing() as connection:
            if (found := self._partition(connection)) is not None:
                return found
            if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                raise StoreRejected(f"{self.path} is a SQLite file of another program")
            for statement in _SCHEMA.split(";"):
                connection.execute(statement)
            connection.execute("INSERT INTO facts VALUES ('partition', ?)", (partition,))
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            return partition

    def _partition(self, connection: sqlite3.Connection) -> str | None:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if version > SCHEMA_VERSION:
            raise StoreRejected(
                f"{self.path} was written by a newer Forewarn (schema {version}, this one knows up to "
                f"{SCHEMA_VERSION}): upgrade this installation or use another file"
            )
        if version == 0:
            return None
        return str(connection.execute("SELECT value FROM facts WHERE name = 'partition'").fetchone()[0])

    def close(self) -> None:
        """Closes the connections of all threads."""
        with self._lock:
            self._closed = True
            for held in list(self._all):
                held.connection.close()
            self._only = None

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        try:
            if self._shared:
                with self._lock:
                    yield from _within(self._connection(), begin)
            else:
                yield from _within(self._connection(), begin)
        except sqlite3.OperationalError as error:  # locked for too long, disk full, not openable, I/O error
            raise StoreUnavailable(f"{self.path}: {error}") from error
        except (sqlite3.DatabaseError, OverflowError, UnicodeError) as error:
            raise StoreRejected(f"{self.path}: {error}") from error

    def _connection(self) -> sqlite3.Connection:
        held: _Held | None = self._only if self._shared else getattr(self._local, "held", None)
        if held is None or self._closed:
            held = self._open()
            if self._shared:
                self._only = held
            else:
                self._local.held = held
        return held.connection

    def _open(self) -> _Held:
        if self._closed:
            raise StoreUnavailable(f"{self.path}: the store was closed")
        # check_same_thread is off for `close` alone, and for the one connection of `:memory:`, which has a lock.
        held = _Held(sqlite3.connect(self.path, timeout=self._timeout, isolation_level=None, check_same_thread=False))
        self._all.add(held)
        # The busy handler is not asked while the journal mode changes, and two processes may open a new file at once.
        for patience in range(int(self._timeout / 0.02), -1, -1):
            try:
                held.connection.execute("PRAGMA journal_mode = WAL").fetchone()
                break
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or not patience:
                    raise
                time.sleep(0.02)
        # In WAL mode NORMAL keeps the file sound and the commits in order; a power cut may undo the last of them.
        held.connection.execute("PRAGMA synchronous = NORMAL")
        held.connection.execute("PRAGMA cache_size = -16000")
        return held


def _within(connection: sqlite3.Connection, begin: str) -> Iterator[sqlite3.Connection]:
    connection.execute(begin)
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
