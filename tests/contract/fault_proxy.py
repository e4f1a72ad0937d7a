"""A proxy before the real Elasticsearch that fails on demand: refuses, answers something else, or cuts the connection.

Owns FaultProxy. A test's `fault` sees each request as (method, path, size of the body) and says what becomes of it.
"""

import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import urlsplit

Fault = Literal["cut before", "cut after"] | tuple[int, Any] | None
"""Cut before or after the server has seen the request, answer this (status, JSON) in its place, or pass it on."""


class FaultProxy:
    """A loopback server before `target`; `requests` keeps (method, path, size) of what came in."""

    def __init__(self, target: str) -> None:
        self.fault: Callable[[str, str, int], Fault] = lambda _method, _path, _size: None
        self.requests: list[tuple[str, str, int]] = []
        proxy, server = self, urlsplit(target)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                request = (self.command, self.path, len(body))
                proxy.requests.append(request)
                fault = proxy.fault(*request)
                if fault == "cut before":
                    self._cut()
                elif isinstance(fault, tuple):
                    headers = {"X-Elastic-Product": "Elasticsearch", "Content-Type": "application/json"}
                    self._answer(fault[0], headers, json.dumps(fault[1]).encode())
                else:
                    assert server.hostname is not None
                    onward = http.client.HTTPConnection(server.hostname, server.port, timeout=60)
                    onward.request(self.command, self.path, body, dict(self.headers))
                    answer = onward.getresponse()
                    content = answer.read()
                    onward.close()
                    if fault == "cut after":
                        self._cut()
                    else:
                        self._answer(answer.status, dict(answer.getheaders()), content)

            def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    if name.lower() not in {"content-length", "transfer-encoding"}:
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            def _cut(self) -> None:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)

            do_POST = do_PUT = do_DELETE = do_HEAD = do_GET  # noqa: N815 - names that the standard library looks up

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True  # connections that the client keeps open end with the test
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def of(self, method: str, part: str) -> list[tuple[str, str, int]]:
        """The requests so far of one method whose path holds `part`."""
        return [request for request in self.requests if request[0] == method and part in request[1]]


@contextmanager
def proxy_before(target: str) -> Iterator[FaultProxy]:
    proxy = FaultProxy(target)
    thread = threading.Thread(target=proxy.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield proxy
    finally:
        proxy.server.shutdown()
        proxy.server.server_close()
        thread.join()
