"""Writing results into SQLite: scores, anomalies and series, each upserted under its id and version.

Owns the ResultStore part of the embedded store. Must not read results back for anyone.
"""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from itertools import repeat

import numpy as np

from forewarn.anomaly import Anomaly
from forewarn.errors import StoreRejected
from forewarn.incident import Incident
from forewarn.results import Publication, ScoreBlock, SeriesRecord
from forewarn.series import SeriesKey
from forewarn.stores.partitions import Partitions
from forewarn.stores.records import encode_calibration, encode_model, encode_noun, finite, published, to_json
from forewarn.stores.sqlite_database import Database

_SCORE = """
INSERT INTO scores VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
  version = excluded.version, actual = excluded.actual, expected = excluded.expected, lower = excluded.lower,
  upper = excluded.upper, score = excluded.score, direction = excluded.direction, reason = excluded.reason
WHERE excluded.version >= version"""

# The partition of an anomaly is that of its first writing: it stays where it is, whatever becomes of its start.
_ANOMALY = """
INSERT INTO anomalies VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET
  number = excluded.number, version = excluded.version, state = excluded.state, revision = excluded.revision,
  start = excluded.start, "end" = excluded."end", peak = excluded.peak, score = excluded.score,
  severity = excluded.severity, direction = excluded.direction, actual = excluded.actual, expected = excluded.expected,
  lower = excluded.lower, upper = excluded.upper, explanation = excluded.explanation
WHERE excluded.version >= version"""

_SERIES = """
INSERT INTO series VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
  version = excluded.version, step = excluded.step, unit = excluded.unit, owner = excluded.owner,
  timezone = excluded.timezone, status = excluded.status, engine = excluded.engine, fitted_at = excluded.fitted_at,
  first_seen = excluded.first_seen, last_seen = excluded.last_seen, retired = excluded.retired, model = excluded.model,
  calibration = excluded.calibration
WHERE excluded.version >= version"""


# An incident's partition is that of its opening, which never changes.
_INCIDENT = """
INSERT INTO incidents VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET
  version = excluded.version, state = excluded.state, start = excluded.start, "end" = excluded."end",
  severity = excluded.severity, merged_into = excluded.merged_into, document = excluded.document
WHERE excluded.version >= version"""

_PATTERN = """
INSERT INTO patterns VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET version = excluded.version, document = excluded.document
WHERE excluded.version >= version"""


class SqliteResults:
    """The ResultStore of one database; a publication is one transaction."""

    def __init__(self, database: Database, partitions: Partitions) -> None:
        self._database = database
        self._partitions = partitions

    def publish(self, publication: Publication) -> None:
        """Writes everything that is not older than the retention, then raises StoreRejected if something was."""
        with self._database.writing() as connection:
            kept_from = _kept_from(connection)
            numbers = _numbers(connection, publication)
            for record in publication.series:
                connection.execute(_SERIES, _series_row(record, numbers))
            refused = sum(self._write_scores(connection, block, numbers, kept_from) for block in publication.scores)
            refused += self._write_anomalies(connection, publication.anomalies, numbers, kept_from)
            refused += self._write_incidents(connection, publication.incidents, kept_from)
            connection.executemany(
                _PATTERN, [(pattern.id, version, encode_noun(pattern).decode()) for version, pattern in publication.patterns]
            )
        if refused:
            raise StoreRejected(f"{refused} results are older than the retention and were not written (kept from {kept_from})")

    def drop_before(self, time: int) -> int:
        """Deletes the partitions of dated results that end at or before `time`; returns how many there were."""
        edge = self._partitions.floor(time)
        dropped = 0
        with self._database.writing() as connection:
            for table in ("scores", "anomalies", "incidents"):
                # The next partition above the last one: a seek each, where DISTINCT would walk over every row.
                following = f"SELECT min(partition) FROM {table} WHERE partition > ? AND partition < ?"  # noqa: S608 - our own names
                partition = -(2**63)
                while (found := connection.execute(following, (partition, edge)).fetchone()[0]) is not None:
                    partition = found
                    connection.execute(f"DELETE FROM {table} WHERE partition = ?", (partition,))  # noqa: S608 - our own names
                    dropped += 1
            if edge > _kept_from(connection):
                connection.execute("INSERT OR REPLACE INTO facts VALUES ('kept_from', ?)", (edge,))
        return dropped

    def _write_scores(self, connection: sqlite3.Connection, block: ScoreBlock, numbers: dict[str, int], kept_from: int) -> int:
        rows, columns = published(block)
        grid, scores = block.actual.grid, block.scores
        starts = grid.times()
        partitions = self._partitions.floors(starts)
        young = partitions[columns] >= kept_from
        refused = int(rows.size - np.count_nonzero(young))
        rows, columns = rows[young], columns[young]
        number = np.array([numbers[key.id] for key in block.actual.keys], dtype=np.int64)
        reasons = np.array([*scores.reasons, ""], dtype=object)
        planes = (block.actual.values, block.expected, scores.lower, scores.upper, scores.score)
        connection.executemany(
            _SCORE,
            zip(
                partitions[columns].tolist(),
                number[rows].tolist(),
                starts[columns].tolist(),
                repeat(grid.step),
                (starts[columns] + (grid.step + block.delay)).tolist(),
                *(finite(plane[rows, columns]).tolist() for plane in planes),  # SQLite keeps NaN as NULL
                scores.direction[rows, columns].tolist(),
                (reasons[scores.reason[rows, columns]] if scores.reasons else reasons[np.zeros_like(rows)]).tolist(),
                strict=False,  # `repeat` has no end
            ),
        )
        return refused

    def _write_anomalies(
        self,
        connection: sqlite3.Connection,
        anomalies: Sequence[tuple[int, Anomaly]],
        numbers: dict[str, int],
        kept_from: int,
    ) -> int:
        ids = json.dumps([anomaly.id for _, anomaly in anomalies])
        known = {
            row[0]
            for row in connection.execute("SELECT id FROM anomalies WHERE id IN (SELECT value FROM json_each(?))", (ids,))
        }
        refused = 0
        for version, anomaly in anomalies:
            partition = self._partitions.floor(anomaly.start)
            if partition < kept_from and anomaly.id not in known:
                refused += 1
            else:
                connection.execute(_ANOMALY, _anomaly_row(version, anomaly, partition, numbers[anomaly.key.id]))
                known.add(anomaly.id)
        return refused

    def _write_incidents(
        self, connection: sqlite3.Connection, incidents: Sequence[tuple[int, Incident]], kept_from: int
    ) -> int:
        rows = [
            (
                incident.id,
                self._partitions.floor(incident.opened),
                version,
                incident.state,
                incident.start,
                incident.end,
                incident.severity,
                incident.merged_into,
                encode_noun(incident).decode(),
            )
            for version, incident in incidents
        ]
        young = [row for row in rows if row[1] >= kept_from]
        connection.executemany(_INCIDENT, young)
        return len(rows) - len(young)


def _kept_from(connection: sqlite3.Connection) -> int:
    row = connection.execute("SELECT value FROM facts WHERE name = 'kept_from'").fetchone()
    return int(row[0]) if row else -(2**62)


def _numbers(connection: sqlite3.Connection, publication: Publication) -> dict[str, int]:
    """The number of every key of the publication, by its id; keys that are met for the first time get one."""
    keys = {key.id: key for key in _keys(publication)}
    find = "SELECT id, number FROM names WHERE id IN (SELECT value FROM json_each(?))"
    numbers = dict(connection.execute(find, (json.dumps(list(keys)),)).fetchall())
    if new := {id_: key for id_, key in keys.items() if id_ not in numbers}:
        connection.executemany(
            "INSERT INTO names (id, detector, entity) VALUES (?, ?, ?)",
            [(id_, key.detector, json.dumps(key.entity)) for id_, key in new.items()],
        )
        numbers |= dict(connection.execute(find, (json.dumps(list(new)),)).fetchall())
    return numbers


def _keys(publication: Publication) -> Iterable[SeriesKey]:
    for block in publication.scores:
        yield from block.actual.keys
    for _, anomaly in publication.anomalies:
        yield anomaly.key
    for record in publication.series:
        yield record.key


def _series_row(record: SeriesRecord, numbers: dict[str, int]) -> tuple[object, ...]:
    return (
        numbers[record.key.id],
        record.version,
        record.step,
        record.unit,
        record.owner,
        record.timezone,
        record.status,
        record.engine,
        record.fitted_at,
        record.first_seen,
        record.last_seen,
        record.retired,
        encode_model(record.model) if record.model else None,
        encode_calibration(record.calibration) if record.calibration else None,
    )


def _anomaly_row(version: int, anomaly: Anomaly, partition: int, number: int) -> tuple[object, ...]:
    numbers = np.array(
        [anomaly.score, anomaly.severity, anomaly.actual, anomaly.expected, anomaly.lower, anomaly.upper], dtype=np.float64
    )
    score, severity, actual, expected, lower, upper = finite(numbers).tolist()
    return (
        anomaly.id,
        partition,
        number,
        version,
        anomaly.state,
        anomaly.revision,
        anomaly.start,
        anomaly.end,
        anomaly.peak,
        score,
        severity,
        anomaly.direction,
        actual,
        expected,
        lower,
        upper,
        to_json(anomaly.explanation).decode(),
    )
