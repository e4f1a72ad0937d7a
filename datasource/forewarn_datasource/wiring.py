"""From the configuration to a datasource that listens: the one place here that knows adapters, and imports each when chosen.

Owns: build_app, serve_in_thread, serve_until, and LateReader, which lets the service start before its store can be reached.
"""

import time
from collections.abc import Callable
from dataclasses import fields
from threading import Event, Lock, Thread
from typing import Any, cast

from flask import Flask

from forewarn.config import Config, DatasourceConfig
from forewarn.errors import ConfigError
from forewarn.ports import ResultReader
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
    from forewarn.elastic import connect
    from forewarn.stores.elasticsearch import ElasticsearchStore

    client = connect(config.elasticsearch, job="datasource")
    return ElasticsearchStore(client, prefix=config.store.prefix, partition=config.store.partition)


class LateReader:
    """The methods of the reader that `open_reader` gives, opened at the first call that needs it and, after a failure, at the
    next: a store that is not there yet is a 503 for those who ask, not a reason not to start.
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

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._there(), name)


def late(open_reader: Callable[[], ResultReader]) -> ResultReader:
    """A ResultReader that is opened when it is first asked."""
    return cast("ResultReader", LateReader(open_reader))


def settings_of(config: DatasourceConfig) -> DatasourceSettings:
    """The settings of the configuration; ConfigError if it would let strangers in."""
    settings = DatasourceSettings(**{field.name: getattr(config, field.name) for field in fields(DatasourceSettings)})
    require_protection(Listen(config.host, config.port), settings)
    return settings


def build_app(config: Config, reader: ResultReader | None = None, clock: Callable[[], int] = wall_clock) -> Flask:
    """The application of the configuration, over its store or the `reader` of a process that has it open already."""
    return create_app(reader or late(lambda: open_store(config)), settings_of(config.datasource), clock=clock)


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
