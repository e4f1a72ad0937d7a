"""Reading results out of SQLite, for the datasource.

Owns the ResultReader part of the embedded store. Must not write.
"""

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

import numpy as np

from forewarn.anomaly import Anomaly
from forewarn.errors import RequestError
from forewarn.incident import Incident
from forewarn.pattern import Pattern
from forewarn.results import SeriesRecord, StoredScores
from forewarn.series import SeriesKey
from forewarn.stores.partitions import Partitions
from forewarn.stores.records import decode_calibration, decode_model, decode_noun
from forewarn.stores.sqlite_database import Database


class SqliteReader:
    """The ResultReader of one database."""

    def __init__(self, database: Database, partitions: Partitions) -> None:
        self._database = database
        self._partitions = partitions

    def refresh(self) -> None:
        """Nothing to do: what was committed is visible."""

    def series(self, *, detector: str | None = None, limit: int = 10_000) -> list[SeriesRecord]:
        """Known series by (detector, entity), without models."""
        with self._database.reading() as connection:
            rows = connection.execute(
                """SELECT detector, entity, version, step, unit, owner, timezone, status, engine, fitted_at, first_seen,
                last_seen, retired, NULL, NULL FROM series_named WHERE ?1 IS NULL OR detector = ?1""",
                (detector,),
            ).fetchall()
        return sorted((_record(row) for row in rows), key=lambda record: record.key)[:limit]

    def find(self, series_id: str) -> SeriesRecord | None:
        """One series with its model and calibration."""
        with self._database.reading() as connection:
            row = connection.execute(
                """SELECT detector, entity, version, step, unit, owner, timezone, status, engine, fitted_at, first_seen,
                last_seen, retired, model, calibration FROM series_named WHERE id = ?""",
                (series_id,),
            ).fetchone()
        return _record(row) if row else None

    def scores(self, series_ids: Sequence[str], start: int, end: int, limit: int) -> list[StoredScores]:
        """Scores in [start, end) by series, in the order given; RequestError beyond `limit`."""
        found: list[StoredScores] = []
        room = limit
        with self._database.reading() as connection:
            partitions = self._existing(connection, start, end)
            for series_id in dict.fromkeys(series_ids):
                name = connection.execute(
                    "SELECT names.number, detector, entity, step FROM names LEFT JOIN series USING (number) WHERE id = ?",
                    (series_id,),
                ).fetchone()
                if not name:
                    continue
                rows: list[tuple[Any, ...]] = []
                for partition in partitions:
                    rows += connection.execute(
                        "SELECT start, span, version, actual, expected, lower, upper, score FROM scores"
                        " WHERE partition = ? AND number = ? AND start >= ? AND start < ? LIMIT ?",
                        (partition, name[0], start, end, room - len(rows) + 1),
                    ).fetchall()
                    if len(rows) > room:
                        raise RequestError("range", f"holds more than {limit:,} buckets: ask for less time or fewer series")
                room -= len(rows)
                found.append(_stored(_key(name[1], name[2]), name[3], rows))
        return [scores for scores in found if scores.step]

    def latest(self, series_ids: Sequence[str] | None, since: int) -> list[tuple[SeriesKey, int, float]]:
        """The last (key, bucket start, score) of each series that has one at or after `since`."""
        wanted = json.dumps(list(series_ids)) if series_ids is not None else None
        found: dict[int, tuple[SeriesKey, int, float]] = {}
        with self._database.reading() as connection:
            for partition in reversed(self._existing(connection, since, 2**62)):
                # A seek for each series; of two spans at one start the one written later comes last and wins.
                rows = connection.execute(
                    """SELECT names.number, detector, entity, scores.start, scores.score FROM names JOIN scores
                    ON scores.partition = ?1 AND scores.number = names.number AND scores.start =
                      (SELECT max(start) FROM scores WHERE partition = ?1 AND number = names.number)
                    WHERE scores.start >= ?2 AND (?3 IS NULL OR names.id IN (SELECT value FROM json_each(?3)))
                    ORDER BY scores.version""",
                    (partition, since, wanted),
                ).fetchall()
                newer = {row[0]: (_key(row[1], row[2]), row[3], np.nan if row[4] is None else row[4]) for row in rows}
                found = newer | found
        return sorted(found.values(), key=lambda item: item[0])

    def anomalies(
        self,
        start: int,
        end: int,
        *,
        series_ids: Sequence[str] | None = None,
        detector: str | None = None,
        min_severity: float = 0.0,
        limit: int = 1000,
    ) -> list[Anomaly]:
        """The most severe anomalies that overlap [start, end), by (start, id)."""
        wanted = json.dumps(list(series_ids)) if series_ids is not None else None
        with self._database.reading() as connection:
            rows = connection.execute(
                """SELECT * FROM anomalies_named WHERE "end" > ?1 AND start < ?2
                AND (?3 IS NULL OR series_id IN (SELECT value FROM json_each(?3)))
                AND (?4 IS NULL OR detector = ?4) AND (?5 <= 0 OR severity >= ?5)
                ORDER BY severity DESC, start, id LIMIT ?6""",
                (start, end, wanted, detector, min_severity, limit),
            ).fetchall()
        return sorted((_anomaly(row) for row in rows), key=lambda anomaly: (anomaly.start, anomaly.id))

    def anomaly(self, anomaly_id: str) -> Anomaly | None:
        """One anomaly by id; None also for one that was withdrawn."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT * FROM anomalies_named WHERE id = ?", (anomaly_id,)).fetchone()
        return _anomaly(row) if row else None

    def incidents(
        self, start: int, end: int, *, state: str | None = None, min_severity: float = 0.0, limit: int = 1000
    ) -> list[Incident]:
        """The most severe incidents that overlap [start, end), by (start, id), without those that were merged away."""
        with self._database.reading() as connection:
            rows = connection.execute(
                """SELECT document FROM incidents WHERE ("end" > ?1 OR state = 'open') AND start < ?2 AND merged_into = ''
                AND (?3 IS NULL OR state = ?3) AND (?4 <= 0 OR severity >= ?4) ORDER BY severity DESC, start, id LIMIT ?5""",
                (start, end, state, min_severity, limit),
            ).fetchall()
        return sorted((decode_noun(row[0], Incident) for row in rows), key=lambda incident: (incident.start, incident.id))

    def incident(self, incident_id: str) -> Incident | None:
        """One incident by id, merged or not."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT document FROM incidents WHERE id = ?", (incident_id,)).fetchone()
        return decode_noun(row[0], Incident) if row else None

    def patterns(self, ids: Sequence[str]) -> list[Pattern]:
        """The known patterns among `ids`, in their order."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT id, document FROM patterns WHERE id IN (SELECT value FROM json_each(?))", (json.dumps(list(ids)),)
            ).fetchall()
        found = dict(rows)
        return [decode_noun(found[id_], Pattern) for id_ in dict.fromkeys(ids) if id_ in found]

    def _existing(self, connection: sqlite3.Connection, start: int, end: int) -> list[int]:
        """The partitions between the first and the last that hold scores, as far as they touch [start, end)."""
        first = connection.execute("SELECT min(partition) FROM scores").fetchone()[0]  # one seek each; together: a scan
        last = connection.execute("SELECT max(partition) FROM scores").fetchone()[0]
        if first is None:
            return []
        return self._partitions.touching(max(start, first), min(end, self._partitions.after(last)))


def _key(detector: str, entity: str) -> SeriesKey:
    return SeriesKey(detector, tuple((field, value) for field, value in json.loads(entity)))


def _record(row: tuple[Any, ...]) -> SeriesRecord:
    *plain, retired, model, calibration = row[2:]
    fitted = (decode_model(model) if model else None, decode_calibration(calibration) if calibration else None)
    fields: tuple[Any, ...] = (_key(row[0], row[1]), *plain, bool(retired), *fitted)
    return SeriesRecord(*fields)


def _stored(key: SeriesKey, step: int | None, rows: list[tuple[Any, ...]]) -> StoredScores:
    columns = list(zip(*rows, strict=True)) or [()] * 8
    start, version = (np.array(columns[which], dtype=np.int64) for which in (0, 2))
    # After a change of the bucket one start may have two spans: the one that was written later counts.
    order = np.lexsort((version, start))
    order = order[np.append(start[order][1:] != start[order][:-1], True)] if order.size else order
    values = [np.array(column, dtype=np.float64)[order] for column in columns[3:]]  # NULL becomes NaN
    span = int(columns[1][order[-1]]) if order.size else 0
    return StoredScores(key, step or span, start[order], *values)


def _anomaly(row: tuple[Any, ...]) -> Anomaly:
    id_, _, detector, entity, *plain, score, severity, direction, actual, expected, lower, upper, explanation = row
    numbers = (score, severity, actual, expected, lower, upper)
    score, severity, *values = (np.nan if number is None else number for number in numbers)
    fields: tuple[Any, ...] = (
        id_,
        _key(detector, entity),
        *plain,
        score,
        severity,
        direction,
        *values,
        json.loads(explanation),
    )
    return Anomaly(*fields)
