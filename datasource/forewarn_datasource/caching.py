"""Answers that are asked for again within seconds: a dashboard sends the same request once per panel.

Owns: AnswerCache, and the headers that let a client keep its copy. Bounded in entries and bytes; nothing in it is older than
`keep` ms. Must not know what it holds.
"""

from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b
from threading import Lock
from typing import Final

from flask import Response, request

MOST_ENTRIES: Final = 128
MOST_BYTES: Final = 64_000_000


class AnswerCache:
    """The bodies of recent answers by request."""

    def __init__(self, keep: int, clock: Callable[[], int]) -> None:
        self._keep = keep
        self._clock = clock
        self._lock = Lock()
        self._bodies: OrderedDict[str, tuple[int, bytes]] = OrderedDict()
        self._size = 0

    def answer(self, make: Callable[[], Response]) -> Response:
        """The answer to the current GET request: a copy that is not too old, or what `make` gives.

        Carries an ETag; a client that has the same answer already gets 304 without a body. Only successes are kept.
        """
        now, key = self._clock(), request.full_path
        content = self._recall(key, now)
        if content is None:
            made = make()
            content = made.get_data()
            self._remember(key, now, content)
        response = Response(content, mimetype="application/json")
        response.set_etag(blake2b(content, digest_size=16).hexdigest())
        response.cache_control.private = True
        response.cache_control.max_age = self._keep // 1000
        response.vary.update(("Authorization", "Accept-Encoding"))
        response.make_conditional(request)
        return response

    def _recall(self, key: str, now: int) -> bytes | None:
        with self._lock:
            made, content = self._bodies.get(key, (0, b""))
            return content if content and made <= now < made + self._keep else None

    def _remember(self, key: str, now: int, content: bytes) -> None:
        if not self._keep or len(content) > MOST_BYTES // 4:
            return
        with self._lock:
            self._drop(key)
            self._bodies[key] = now, content
            self._size += len(content)
            while self._size > MOST_BYTES or len(self._bodies) > MOST_ENTRIES:
                self._drop(next(iter(self._bodies)))

    def _drop(self, key: str) -> None:
        self._size -= len(self._bodies.pop(key, (0, b""))[1])
