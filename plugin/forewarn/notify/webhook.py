"""Telling a web service: one POST of JSON a notification.

Owns: WebhookNotifier and the form of its JSON. Must not decide who hears of what. Neither the address (chat services put a
secret into its path) nor a header is ever part of a message.
"""

import json
import math
import socket
import ssl
import threading
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, Final
from urllib.parse import quote, urlsplit

from forewarn import __version__
from forewarn.errors import NotificationFailed
from forewarn.results import Notification

_KEPT: Final = "/:;,.@!$&'()*+=~-_ "
_KEPT_IN_PATHS: Final = "/:;,.@!$&'()*+=~-_%?"


class WebhookNotifier:
    """POSTs each notification as JSON (UTF-8) to `url`, with the given headers; `timeout` is in ms, for the whole exchange.

    The body:

        {"key": "<subject>/<transition>", "number": 17, "subject": "...", "transition": 2,
         "event": "opened" | "updated" | "resolved", "at": <UTC ms>, "late": false, "payload": {...}}

    The payload tells of an incident: incident (id), title, state, merged_into, start and end (UTC ms), severity (0-100) and
    severity_band, owner, entities and causes (entity, confidence, evidence lines), recommendations (card, title, why, fixes),
    pattern_changes (texts), and the numbers of anomalies and heads_ups; `delivery.payload` makes it.

    The header `Idempotency-Key` is the `key`, the same whenever the notification is sent again: a service drops repeats by
    it. Any 2xx means taken. Everything else, a redirect too (it could carry the headers elsewhere), is NotificationFailed.
    Connects directly, not through a proxy.
    """

    def __init__(self, name: str, url: str, headers: Mapping[str, str] | None = None, timeout: int = 10_000) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("a webhook needs an address that starts with http:// or https:// and a host")
        self.name = name
        self._host, self._port = parts.hostname, parts.port
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._path = quote((parts.path or "/") + (f"?{parts.query}" if parts.query else ""), safe=_KEPT_IN_PATHS)
        self._headers = dict(headers or {})
        self._timeout = timeout / 1000

    def __repr__(self) -> str:
        return f"WebhookNotifier({self.name!r}, host={self._host!r})"

    def deliver(self, notification: Notification) -> None:
        """Posts the notification; NotificationFailed unless the service answers 2xx in time."""
        try:
            status = self._post(_body(notification), quote(notification.key, safe=_KEPT))
        except TimeoutError:
            raise NotificationFailed(self.name, f"{self._host} did not answer within {self._timeout:g} s") from None
        except (OSError, HTTPException) as error:
            why = (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
            raise NotificationFailed(self.name, f"{self._host} cannot be reached or did not answer: {why}") from None
        if 300 <= status < 400:
            raise NotificationFailed(self.name, f"{self._host} answered {status}; redirects are not followed")
        if not 200 <= status < 300:
            raise NotificationFailed(self.name, f"{self._host} answered {status}")

    def _post(self, body: bytes, key: str) -> int:
        connection = self._connection()
        expired = threading.Event()
        try:
            connection.connect()
            # The socket's own timeout is for each read: a service that sends a byte now and then would hold up the tick.
            deadline = threading.Timer(self._timeout, _cut, (connection.sock, expired))
            deadline.daemon = True
            deadline.start()
            try:
                connection.request("POST", self._path, body, self._with_own_headers(key))
                status = connection.getresponse().status
            except (OSError, HTTPException):
                if not expired.is_set():
                    raise
            finally:
                deadline.cancel()
            if expired.is_set():
                raise TimeoutError
            return status
        finally:
            connection.close()

    def _connection(self) -> HTTPConnection:
        if self._tls is not None:
            return HTTPSConnection(self._host, self._port, timeout=self._timeout, context=self._tls)
        return HTTPConnection(self._host, self._port, timeout=self._timeout)

    def _with_own_headers(self, key: str) -> dict[str, str]:
        own = {"Content-Type": "application/json", "Idempotency-Key": key, "User-Agent": f"forewarn/{__version__}"}
        return own | self._headers


def _cut(open_socket: socket.socket, expired: threading.Event) -> None:
    expired.set()
    try:
        open_socket.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # it was closed meanwhile: there is nothing to cut


def _body(notification: Notification) -> bytes:
    document = {
        "key": notification.key,
        "number": notification.number,
        "subject": notification.subject,
        "transition": notification.transition,
        "event": notification.event,
        "at": notification.at,
        "late": notification.late,
        "payload": _plain(notification.payload),
    }
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8", "replace")


def _plain(value: Any) -> Any:
    """JSON has no NaN: a number that is none becomes null."""
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
