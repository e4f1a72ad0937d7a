"""The datasource on a port, by waitress, so that it can be stopped.

Owns: Server. Knows nothing of what it serves.
"""

import socket
from contextlib import suppress
from threading import Lock
from typing import Any, Final

from flask import Flask
from waitress import create_server, wasyncore

from forewarn.errors import ConfigError
from forewarn_datasource.settings import Listen

THREADS: Final = 8


class Server:
    """A listening datasource: connections are accepted from construction on, answered while `run` runs."""

    def __init__(self, app: Flask, listen: Listen, *, threads: int = THREADS) -> None:
        """Binds the port; ConfigError if that cannot be done."""
        family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
        try:
            bound = socket.create_server((listen.host, listen.port), family=family)
        except OSError as error:
            raise ConfigError("datasource.listen", f"cannot listen on {listen}: {error.strerror or error}") from error
        self.listen = Listen(listen.host, bound.getsockname()[1])
        self._channels: dict[int, Any] = {}
        self._server = create_server(app, map=self._channels, sockets=[bound], threads=threads, ident="forewarn")
        self._state = Lock()
        self._running = False

    @property
    def url(self) -> str:
        """Where it can be reached."""
        return f"http://{self.listen}"

    def run(self) -> None:
        """Answers requests until `close` is called from another thread, or until SystemExit or KeyboardInterrupt is raised
        in this one, as a signal handler may.
        """
        with self._state:
            self._running = bool(self._channels)
        try:
            self._server.run()
        finally:
            with self._state:
                self._running = False
                self._drop()

    def close(self) -> None:
        """Ends `run`, or frees the port if it does not run: stops listening, lets requests that are being answered finish
        for a few seconds, then drops all connections. Not for signal handlers: it takes locks.
        """
        with self._state:
            if self._running:
                self._server.trigger.pull_trigger(self._drop)
            else:
                self._drop()

    def _drop(self) -> None:
        """Runs in the loop of `run`, which ends when no channel is left."""
        if not self._channels:
            return
        self._server.task_dispatcher.shutdown()
        for channel in list(self._server.active_channels.values()):
            with suppress(OSError):
                channel.handle_write()  # answers are sent by the loop, which will not come round again
        wasyncore.close_all(self._channels, ignore_all=True)
