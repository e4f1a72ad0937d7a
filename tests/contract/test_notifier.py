"""One suite over every adapter of the port `Notifier`; then what only a web service can do wrong."""

import json
import logging
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from forewarn.errors import NotificationFailed
from forewarn.notify.log import LogNotifier
from forewarn.notify.webhook import WebhookNotifier
from forewarn.ports import Notifier
from forewarn.results import Notification

PAYLOAD = {
    "series": "checkout{service=a b,zone=ü}",
    "entity": {"service": 'a "b"\nc=d'},
    "severity": 71.5,
    "expected": None,
}
LONG = 60.0
"""Seconds that a service takes, or goes on: so long that half of it is no question of how busy the machine is."""


def notification(number: int = 1, **changes: Any) -> Notification:
    values: dict[str, Any] = {
        "number": number, "subject": f"4f{number:02d}", "transition": 2, "at": 1_780_000_000_000, "event": "opened",
        "late": False, "payload": PAYLOAD,
    }  # fmt: skip
    return Notification(**(values | changes))


@dataclass
class Service:
    """A real web service on loopback that records what it is sent and answers as it is told."""

    answer: Callable[[BaseHTTPRequestHandler], None]
    requests: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""


def status(code: int, *headers: tuple[str, str]) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for header in (("Content-Length", "0"), *headers):
            handler.send_header(*header)
        handler.end_headers()

    return answer


@pytest.fixture
def service() -> Iterator[Service]:
    told = Service(status(204))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            told.requests.append({"path": self.path, "headers": dict(self.headers), "body": json.loads(body)})
            told.answer(self)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002, ARG002 - the base class's names
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    told.url = f"http://127.0.0.1:{server.server_port}"
    yield told
    server.shutdown()
    thread.join()
    server.server_close()


@dataclass
class Target:
    """A notifier, and what arrived at its other end: [(key, number, event, late, payload)]."""

    notifier: Notifier
    arrived: Callable[[], list[tuple[str, int, str, bool, dict[str, Any]]]]


def read_line(line: str) -> dict[str, Any]:
    """Reads a `key=value` line back as a log shipper would: bare words, or JSON after the equals sign."""
    pairs, rest = {}, line
    while rest:
        name, _, rest = rest.partition("=")
        if rest.startswith(('"', "{", "[")):
            value, end = json.JSONDecoder().raw_decode(rest)
        else:
            end = len(rest.split(" ", 1)[0])
            value = rest[:end]
            value = {"true": True, "false": False, "null": None}.get(value, value)
        pairs[name], rest = value, rest[end:].lstrip(" ")
    return pairs


@pytest.fixture(params=["log", "webhook"])
def target(request: pytest.FixtureRequest, service: Service, caplog: pytest.LogCaptureFixture) -> Target:
    if request.param == "webhook":

        def from_service() -> list[tuple[str, int, str, bool, dict[str, Any]]]:
            bodies = [got["body"] for got in service.requests]
            return [(b["key"], b["number"], b["event"], b["late"], b["payload"]) for b in bodies]

        return Target(WebhookNotifier("ops", service.url + "/hook"), from_service)

    caplog.set_level(logging.INFO, logger="forewarn.notify")

    def from_log() -> list[tuple[str, int, str, bool, dict[str, Any]]]:
        lines = [read_line(record.getMessage()) for record in caplog.records]
        return [
            (line["key"], int(line["number"]), line["what"], line["late"], {name: line[name] for name in PAYLOAD})
            for line in lines
        ]

    return Target(LogNotifier("ops"), from_log)


def test_a_notifier_has_the_name_of_its_target(target: Target) -> None:
    assert target.notifier.name == "ops"


def test_everything_that_is_delivered_arrives_in_order(target: Target) -> None:
    for number in (1, 2, 3):
        target.notifier.deliver(notification(number, late=number == 2, event="opened" if number < 3 else "resolved"))
    told = [(key, number, event, late) for key, number, event, late, _ in target.arrived()]
    assert told == [("4f01/2", 1, "opened", False), ("4f02/2", 2, "opened", True), ("4f03/2", 3, "resolved", False)]


def test_a_repeat_bears_the_same_key(target: Target) -> None:
    target.notifier.deliver(notification())
    target.notifier.deliver(notification())
    assert [key for key, *_ in target.arrived()] == ["4f01/2", "4f01/2"]


def test_the_payload_arrives_whole_whatever_its_text_holds(target: Target) -> None:
    target.notifier.deliver(notification())
    *_, payload = target.arrived()[0]
    assert {name: str(value) for name, value in payload.items()} == {name: str(value) for name, value in PAYLOAD.items()}


def test_a_number_that_is_none_does_not_stop_a_delivery(target: Target) -> None:
    target.notifier.deliver(notification(payload=PAYLOAD | {"severity": math.nan}))
    assert len(target.arrived()) == 1


def test_the_log_gets_exactly_one_line_that_nothing_can_forge(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="forewarn.notify")
    LogNotifier("ops").deliver(notification(payload={"series": "a\nevent=notification target=fake", "severity": 71.5}))
    assert [record.getMessage() for record in caplog.records] == [
        "event=notification target=ops what=opened key=4f01/2 number=1 at=1780000000000 late=false "
        'series="a\\nevent=notification target=fake" severity=71.5'
    ]


def test_the_webhook_posts_the_documented_json(service: Service) -> None:
    WebhookNotifier("ops", service.url + "/a/b?c=d", {"X-Team": "shop"}).deliver(notification())
    (request,) = service.requests
    assert request["path"] == "/a/b?c=d"
    assert request["headers"]["Idempotency-Key"] == "4f01/2"
    assert request["headers"]["Content-Type"] == "application/json"
    assert request["headers"]["X-Team"] == "shop"
    assert request["body"] == {
        "key": "4f01/2", "number": 1, "subject": "4f01", "transition": 2, "event": "opened", "at": 1_780_000_000_000,
        "late": False, "payload": PAYLOAD,
    }  # fmt: skip


@pytest.mark.parametrize("code", [200, 201, 202, 204])
def test_any_2xx_means_taken(service: Service, code: int) -> None:
    service.answer = status(code)
    WebhookNotifier("ops", service.url).deliver(notification())
    assert len(service.requests) == 1


def refused(url: str, timeout: int = 5000) -> str:
    with pytest.raises(NotificationFailed) as caught:
        WebhookNotifier("ops", url + "/s3cr3t?k=s3cr3t", {"X-Key": "s3cr3t"}, timeout).deliver(notification())
    assert caught.value.target == "ops"
    assert "s3cr3t" not in str(caught.value) + repr(WebhookNotifier("ops", url + "/s3cr3t", {"X-Key": "s3cr3t"}))
    return caught.value.why


@pytest.mark.parametrize("code", [400, 401, 404, 410, 429, 500, 503])
def test_an_error_of_the_service_is_a_failed_delivery(service: Service, code: int) -> None:
    service.answer = status(code)
    assert refused(service.url) == f"127.0.0.1 answered {code}"


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(service: Service, code: int) -> None:
    service.answer = status(code, ("Location", service.url + "/elsewhere"))
    assert refused(service.url) == f"127.0.0.1 answered {code}; redirects are not followed"
    assert [request["path"] for request in service.requests] == ["/s3cr3t?k=s3cr3t"]


def test_a_service_that_does_not_answer_is_given_up_in_time(service: Service) -> None:
    given_up = threading.Event()
    service.answer = lambda _: given_up.wait(LONG) and None
    started = time.monotonic()
    assert refused(service.url, 200) == "127.0.0.1 did not answer within 0.2 s"
    assert time.monotonic() - started < LONG / 2
    given_up.set()


@pytest.mark.parametrize("drop", [b"H", b"HTTP/1.1 200 OK\r\nX-A: b\r\n"])
def test_a_service_that_answers_drop_by_drop_is_given_up_in_time(service: Service, drop: bytes) -> None:
    def drip(handler: BaseHTTPRequestHandler) -> None:
        try:
            for _ in range(int(LONG / 0.05)):
                handler.wfile.write(drop)
                time.sleep(0.05)
        except OSError:
            handler.close_connection = True

    service.answer = drip
    started = time.monotonic()
    assert refused(service.url, 200) == "127.0.0.1 did not answer within 0.2 s"
    assert time.monotonic() - started < LONG / 2


def test_a_service_that_hangs_up_is_a_failed_delivery(service: Service) -> None:
    def hang_up(handler: BaseHTTPRequestHandler) -> None:
        handler.connection.shutdown(socket.SHUT_RDWR)
        handler.close_connection = True

    service.answer = hang_up
    assert "cannot be reached or did not answer" in refused(service.url)


def test_a_service_that_talks_nonsense_is_a_failed_delivery(service: Service) -> None:
    service.answer = lambda handler: handler.wfile.write(b"nonsense\r\n\r\n") and None
    assert "did not answer: BadStatusLine" in refused(service.url)


def test_a_service_that_is_not_there_is_a_failed_delivery() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        assert "Connection refused" in refused(f"http://127.0.0.1:{unused.getsockname()[1]}")


def test_a_host_that_nobody_knows_is_a_failed_delivery() -> None:
    assert "cannot be reached" in refused("http://nowhere.invalid")


def test_a_service_without_tls_behind_https_is_a_failed_delivery(service: Service) -> None:
    assert "cannot be reached" in refused(service.url.replace("http:", "https:"))


def test_after_a_failure_the_same_notification_can_be_delivered(service: Service) -> None:
    notifier = WebhookNotifier("ops", service.url)
    service.answer = status(500)
    with pytest.raises(NotificationFailed):
        notifier.deliver(notification())
    service.answer = status(200)
    notifier.deliver(notification())
    assert [request["headers"]["Idempotency-Key"] for request in service.requests] == ["4f01/2", "4f01/2"]


def test_a_key_of_any_text_makes_a_header(service: Service) -> None:
    WebhookNotifier("ops", service.url + "/ü").deliver(notification(subject="a\r\nX-Evil: ü"))
    assert service.requests[0]["headers"]["Idempotency-Key"] == "a%0D%0AX-Evil: %C3%BC/2"
    assert service.requests[0]["path"] == "/%C3%BC"
    assert service.requests[0]["body"]["subject"] == "a\r\nX-Evil: ü"


@pytest.mark.parametrize("url", ["", "host/path", "ftp://host", "http://"])
def test_an_address_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="a webhook needs an address"):
        WebhookNotifier("ops", url)
