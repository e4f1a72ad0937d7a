"""Head, blocks and cursors in SQLite.

Owns the StateStore part of the embedded store. Must not know what a head or a block says, except the head's `now`.
"""

import json
from collections.abc import Collection

from forewarn.errors import StoreConflict
from forewarn.stores.records import block_name, checked_block, head_now
from forewarn.stores.sqlite_database import Database


class SqliteState:
    """The StateStore of one database; every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def load_head(self) -> tuple[bytes, str] | None:
        """The head's document and its token."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT document, number FROM head").fetchone()
        return (bytes(row[0]), str(row[1])) if row else None

    def commit_head(self, document: bytes, token: str | None) -> str:
        """Replaces the head that `token` was loaded with; StoreConflict if anyone else committed since."""
        now = head_now(document)
        with self._database.writing() as connection:
            row = connection.execute("SELECT number FROM head").fetchone()
            found = str(row[0]) if row else None
            if found != token:
                raise StoreConflict(f"the head is at {found}, not at {token}: somebody else committed")
            number = int(found or 0) + 1
            connection.execute("INSERT OR REPLACE INTO head VALUES (1, ?, ?, ?)", (number, now, document))
        return str(number)

    def committed(self) -> int | None:
        """The `now` of the last commit."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT now FROM head").fetchone()
        return int(row[0]) if row else None

    def put_block(self, content: bytes, at: int) -> str:
        """Stores an immutable block under the hash of its content, or raises its `at`."""
        name = block_name(content)
        with self._database.writing() as connection:
            connection.execute(
                "INSERT INTO blocks VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET at = max(at, excluded.at)",
                (name, at, content),
            )
        return name

    def get_block(self, name: str) -> bytes:
        """The content of a block, checked against its name."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT content FROM blocks WHERE name = ?", (name,)).fetchone()
        return checked_block(name, bytes(row[0]) if row else None)

    def sweep(self, live: Collection[str], before: int) -> int:
        """Deletes blocks that are neither live nor young; returns how many."""
        with self._database.writing() as connection:
            deleted = connection.execute(
                "DELETE FROM blocks WHERE at < ? AND name NOT IN (SELECT value FROM json_each(?))",
                (before, json.dumps(list(live))),
            ).rowcount
        return int(deleted)

    def cursor(self, target: str) -> int:
        """The number of the last notification that `target` has taken."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT number FROM cursors WHERE target = ?", (target,)).fetchone()
        return int(row[0]) if row else 0

    def advance(self, target: str, expected: int, number: int) -> None:
        """Moves the cursor of `target`; StoreConflict if it was not at `expected`."""
        with self._database.writing() as connection:
            row = connection.execute("SELECT number FROM cursors WHERE target = ?", (target,)).fetchone()
            found = int(row[0]) if row else 0
            if found != expected:
                raise StoreConflict(f"the cursor of {target} is at {found}, not at {expected}")
            connection.execute("INSERT OR REPLACE INTO cursors VALUES (?, ?)", (target, number))
