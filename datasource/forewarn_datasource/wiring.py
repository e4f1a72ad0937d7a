"""From the configuration to a datasource that listens: the one place here that knows adapters, and imports each when chosen.

Owns: build_app, serve_in_thread, serve_until, and LateReader, which lets the service start before its store can be reached.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import fields
from threading import Event, Lock, Thread

from flask import Flask

from forewarn.anomaly import Anomaly
from forewarn.config import Config, DatasourceConfig
from forewarn.errors import ConfigError
from forewarn.ports import ResultReader
from forewarn.results import SeriesRecord, StoredScores
from forewarn.series import SeriesKey
from forewarn_datasource.app import create_app
from forewarn_datasource.serving import Server
from forewarn_datasource.settings import DatasourceSettings, Listen, require_protection


def wall_clock() -> int:
    """UTC ms."""
    return time.time_ns() // 1_000_000


def open_store(config: Config) -> ResultReader:
    """The store of the configuration; StoreUnavailable if it cannot be reached."""
    if config.store.kind == "sqlite":
        from forewarn.stores.sqlite import SqliteStore

        return SqliteStore(config.store.path or ":memory:", partition=config.store.partition)
    if config.elasticsearch is None:
        raise ConfigError("store", "elasticsearch needs the section `elasticsearch`")
    from forewarn.stores.elasticsearch import ElasticsearchStore

    from forewarn.elastic import connect

    client = connect(config.elasticsearch, job="datasource")
    return ElasticsearchStore(client, prefix=config.store.prefix, partition=config.store.partition)


class LateReader:
    """The ResultReader that `open_reader` gives, opened at the first request that needs it and again after a failure: a store
    that is not there yet is a 503 for those who ask, not a reason not to start.
    """

    def __init__(self, open_reader: Callable[[], ResultReader]) -> None:
        self._open = open_reader
        self._lock = Lock()
        self._reader: ResultReader | None = None

    def _there(self) -> ResultReader:
        with self._lock:
            if self._reader is None:
                self._reader = self._open()
            return self._reader

    def refresh(self) -> None:
        """As the store does it."""
        self._there().refresh()

    def series(self, *, detector: str | None = None, limit: int = 10_000) -> list[SeriesRecord]:
        """As the store does it."""
        return self._there().series(detector=detector, limit=limit)

    def find(self, series_id: str) -> SeriesRecord | None:
        """As the store does it."""
        return self._there().find(series_id)

    def scores(self, series_ids: Sequence[str], start: int, end: int, limit: int) -> list[StoredScores]:
        """As the store does it."""
        return self._there().scores(series_ids, start, end, limit)

    def latest(self, series_ids: Sequence[str] | None, since: int) -> list[tuple[SeriesKey, int, float]]:
        """As the store does it."""
        return self._there().latest(series_ids, since)

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
        """As the store does it."""
        return self._there().anomalies(
            start, end, series_ids=series_ids, detector=detector, min_severity=min_severity, limit=limit
        )

    def anomaly(self, anomaly_id: str) -> Anomaly | None:
        """As the store does it."""
        return self._there().anomaly(anomaly_id)

    def committed(self) -> int | None:
        """As the store does it."""
        return self._there().committed()


def settings_of(config: DatasourceConfig) -> DatasourceSettings:
    """The settings of the configuration; ConfigError if it would let strangers in."""
    settings = DatasourceSettings(**{field.name: getattr(config, field.name) for field in fields(DatasourceSettings)})
    require_protection(Listen(config.host, config.port), settings)
    return settings


def build_app(config: Config, reader: ResultReader | None = None, clock: Callable[[], int] = wall_clock) -> Flask:
    """The application of the configuration, over its store or the `reader` of a process that has it open already."""
    return create_app(reader or LateReader(lambda: open_store(config)), settings_of(config.datasource), clock=clock)


class Serving:
    """A datasource that answers in a thread of its own until it is closed."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._thread = Thread(target=server.run, name="datasource", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it can be reached."""
        return self._server.url

    def close(self) -> None:
        """Stops answering and waits for the thread."""
        self._server.close()
        self._thread.join(timeout=30)


def serve_in_thread(config: Config, reader: ResultReader | None = None) -> Serving:
    """Listens where the configuration says; ConfigError if it cannot."""
    return Serving(Server(build_app(config, reader), Listen(config.datasource.host, config.datasource.port)))


def serve_until(config: Config, stop: Event, announce: Callable[[str], None]) -> None:
    """Serves until `stop` is set; `announce` is told the URL once it listens."""
    serving = serve_in_thread(config)
    try:
        announce(serving.url)
        stop.wait()
    finally:
        serving.close()
