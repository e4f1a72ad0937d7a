"""The embedded store: results and state in one SQLite file.

Owns the adapter of the port `Store` for SQLite; its parts lie in the modules beside this one. Needs no server: `serve`,
`tick` and `explain` work on the file beside a running scheduler.
"""

from pathlib import Path

from forewarn.stores.partitions import Partitions
from forewarn.stores.sqlite_database import Database
from forewarn.stores.sqlite_reader import SqliteReader
from forewarn.stores.sqlite_results import SqliteResults
from forewarn.stores.sqlite_state import SqliteState


class SqliteStore(SqliteState, SqliteResults, SqliteReader):
    """A `Store` in the SQLite file at `path` (`:memory:` for tests), made there if there is none.

    May be used by several threads and several processes at once. `partition` ("month" or "day") counts when the file is
    made; a file that is there keeps its own. Raises StoreUnavailable if the file cannot be opened, StoreRejected if it
    is not ours or was written by a newer version.
    """

    def __init__(self, path: str | Path, *, partition: str = "month", timeout: float = 10.0) -> None:
        database = Database(path, timeout=timeout)
        try:
            partitions = Partitions.of(database.prepare(Partitions.of(partition).granularity))
        except BaseException:
            database.close()
            raise
        SqliteState.__init__(self, database)
        SqliteResults.__init__(self, database, partitions)
        SqliteReader.__init__(self, database, partitions)

    def close(self) -> None:
        """Closes the connections of all threads; the store is not used afterwards."""
        self._database.close()
