"""The client factory and the translation of vendor errors, against a small server that answers what a test wants."""

import gzip
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from elasticsearch import ApiError, Elasticsearch, helpers
from tests.elasticsearch_server import free_port

from forewarn.connection import ElasticSettings
from forewarn.elastic import connect, explain, is_retryable, server_version, source_errors, store_errors
from forewarn.errors import (
    ConfigError,
    SourceRejected,
    SourceUnavailable,
    StoreConflict,
    StoreRejected,
    StoreUnavailable,
)

Answer = Callable[[str], tuple[int, Any]]


class Fake:
    """A loopback server; `answer` maps a path to (status, JSON body) and `requests` keeps what came in."""

    def __init__(self, answer: Answer, product: str | None = "Elasticsearch", delay: threading.Event | None = None) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                fake.requests.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                if delay:
                    delay.wait(10)
                status, content = answer(self.path)
                text = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                if product:
                    self.send_header("X-Elastic-Product", product)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_POST = do_PUT = do_GET  # noqa: N815 - names that the standard library looks up

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@contextmanager
def serving(answer: Answer, **options: Any) -> Iterator[Fake]:
    fake = Fake(answer, **options)
    thread = threading.Thread(target=fake.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield fake
    finally:
        fake.server.shutdown()
        fake.server.server_close()
        thread.join()


@contextmanager
def client_of(url: str, **settings: Any) -> Iterator[Elasticsearch]:
    with connect(ElasticSettings((url,), **settings), "test") as client:
        yield client


def error_body(kind: str, reason: str, **more: Any) -> dict[str, Any]:
    return {"error": {"type": kind, "reason": reason, **more}, "status": 0}


def test_requests_are_compressed_named_and_carry_the_key() -> None:
    with serving(lambda _: (200, {"hits": {}})) as fake, client_of(fake.url, api_key="c2VjcmV0") as client:
        client.search(index="logs", query={"match_all": {}})
    path, headers, body = fake.requests[0]
    assert path == "/logs/_search"
    assert headers["x-opaque-id"] == "forewarn:test"
    assert headers["authorization"] == "ApiKey c2VjcmV0"
    assert json.loads(gzip.decompress(body)) == {"query": {"match_all": {}}}


def test_nothing_is_sent_before_the_first_request() -> None:
    with serving(lambda _: (200, {})) as fake, client_of(fake.url):
        assert fake.requests == []


def test_username_and_password_become_basic_authentication() -> None:
    with serving(lambda _: (200, {})) as fake, client_of(fake.url, username="u", password="p") as client:
        client.search()
    assert fake.requests[0][1]["authorization"] == "Basic dTpw"


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({"hosts": ()}, "elasticsearch.hosts"),
        ({"api_key": "k", "username": "u", "password": "p"}, "elasticsearch.api_key"),
        ({"username": "u"}, "elasticsearch.password"),
        ({"password": "p"}, "elasticsearch.username"),
        ({"hosts": ("localhost",)}, "elasticsearch"),
        ({"hosts": ("http://localhost:9200",), "fingerprint": "00"}, "elasticsearch"),
        ({"ca_certs": "nowhere.pem"}, "elasticsearch.ca_certs"),
        ({"ca_certs": __file__}, "elasticsearch.ca_certs"),
    ],
)
def test_settings_that_no_client_can_be_made_of_are_refused_with_their_path(settings: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigError) as refused:
        connect(ElasticSettings(**({"hosts": ("https://localhost:9200",)} | settings)), "test")
    assert refused.value.path == path
    assert refused.value.why


def test_no_secret_shows_in_a_refusal() -> None:
    with pytest.raises(ConfigError) as refused:
        connect(ElasticSettings(("https://h:1",), api_key="hush", username="u", password="hush"), "test")
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize(
    ("status", "kind", "source", "store"),
    [
        (400, "too_many_buckets_exception", SourceRejected, StoreRejected),
        (400, "strict_dynamic_mapping_exception", SourceRejected, StoreRejected),
        (401, "security_exception", SourceRejected, StoreRejected),
        (403, "security_exception", SourceRejected, StoreRejected),
        (404, "index_not_found_exception", SourceRejected, StoreRejected),
        (404, "search_context_missing_exception", SourceUnavailable, StoreUnavailable),
        (408, "timeout", SourceUnavailable, StoreUnavailable),
        (409, "version_conflict_engine_exception", SourceRejected, StoreConflict),
        (413, "content_too_large", SourceRejected, StoreRejected),
        (429, "circuit_breaking_exception", SourceUnavailable, StoreUnavailable),
        (429, "es_rejected_execution_exception", SourceUnavailable, StoreUnavailable),
        (500, "null_pointer_exception", SourceUnavailable, StoreUnavailable),
        (502, "bad_gateway", SourceUnavailable, StoreUnavailable),
        (503, "search_phase_execution_exception", SourceUnavailable, StoreUnavailable),
        (504, "gateway_timeout", SourceUnavailable, StoreUnavailable),
    ],
)
def test_each_status_becomes_the_most_specific_error(status: int, kind: str, source: type, store: type) -> None:
    with serving(lambda _: (status, error_body(kind, "because"))) as fake, client_of(fake.url) as client:
        with pytest.raises(source, match="because") as read, source_errors("logs-*"):
            client.search()
        with pytest.raises(store, match="because") as written, store_errors():
            client.index(index="forewarn", document={})
    assert read.type is source
    assert read.value.source == "logs-*"
    assert written.type is store
    assert isinstance(read.value.__cause__, ApiError)


def test_a_circuit_breaker_inside_another_error_is_retryable() -> None:
    body = error_body("search_phase_execution_exception", "all shards failed", caused_by={"type": "circuit_breaking_exception"})
    with (
        serving(lambda _: (400, body)) as fake,
        client_of(fake.url) as client,
        pytest.raises(SourceUnavailable),
        source_errors("logs-*"),
    ):
        client.search()


def test_an_overloaded_server_is_not_asked_again_at_once_but_a_missing_one_is() -> None:
    for status, attempts in ((429, 1), (503, 3)):
        with (
            serving(lambda _, status=status: (status, {})) as fake,
            client_of(fake.url) as client,
            pytest.raises(StoreUnavailable),
            store_errors(),
        ):
            client.search()
        assert len(fake.requests) == attempts


def test_a_refused_connection_is_unavailable_and_names_the_address() -> None:
    port = free_port()
    with (
        client_of(f"http://127.0.0.1:{port}") as client,
        pytest.raises(SourceUnavailable, match=f"{port}|refused"),
        source_errors("logs-*"),
    ):
        client.search()


def test_a_timeout_is_unavailable() -> None:
    hold = threading.Event()
    with serving(lambda _: (200, {}), delay=hold) as fake, client_of(fake.url, request_timeout=100) as client:
        with pytest.raises(StoreUnavailable, match="timed out"), store_errors():
            client.search()
        deadline = time.monotonic() + 60
        while not fake.requests and time.monotonic() < deadline:  # it may hear of it only after it was given up
            time.sleep(0.01)
        hold.set()
    assert len(fake.requests) == 1


def test_a_server_that_hangs_up_is_unavailable() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def hang_up() -> None:
            for _ in range(3):
                listener.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with (
            client_of(f"http://127.0.0.1:{listener.getsockname()[1]}") as client,
            pytest.raises(SourceUnavailable),
            source_errors("logs-*"),
        ):
            client.search()
        thread.join()


def test_an_answer_that_cannot_be_read_is_unavailable() -> None:
    with (
        serving(lambda _: (200, b"<html>")) as fake,
        client_of(fake.url) as client,
        pytest.raises(SourceUnavailable, match="cannot be read"),
        source_errors("logs-*"),
    ):
        client.search()


def test_another_product_is_rejected() -> None:
    with (
        serving(lambda _: (200, {}), product=None) as fake,
        client_of(fake.url) as client,
        pytest.raises(StoreRejected, match="not Elasticsearch"),
        store_errors(),
    ):
        client.search()


def test_a_mistake_of_ours_is_not_translated() -> None:
    with pytest.raises(KeyError), source_errors("logs-*"):
        raise KeyError("ours")


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [((409,), StoreConflict), ((409, 429), StoreUnavailable), ((429, 400), StoreRejected), ((409, 400), StoreRejected)],
)
def test_a_bulk_gets_the_worst_of_its_items(statuses: tuple[int, ...], expected: type) -> None:
    errors = [{"index": {"status": s, "error": {"type": "t", "reason": f"because of {s}"}}} for s in statuses]
    with pytest.raises(expected, match=f"{len(statuses)} of the documents.*because of") as caught, store_errors():
        raise helpers.BulkIndexError("some failed", errors)
    assert caught.type is expected


def test_the_version_is_that_of_the_oldest_node() -> None:
    nodes = {"nodes": {"a": {"version": "8.19.16"}, "b": {"version": "8.9.2"}}}
    with serving(lambda _: (200, nodes)) as fake, client_of(fake.url) as client:
        assert server_version(client) == "8.9.2"


def test_without_the_privilege_to_see_nodes_the_version_comes_from_the_root() -> None:
    def answer(path: str) -> tuple[int, Any]:
        return (200, {"version": {"number": "9.1.0"}}) if path == "/" else (403, error_body("security_exception", "no"))

    with serving(answer) as fake, client_of(fake.url) as client:
        assert server_version(client) == "9.1.0"


def test_an_explanation_gives_each_reason_once_outermost_first() -> None:
    error = {
        "type": "search_phase_execution_exception",
        "reason": "all shards failed",
        "root_cause": [{"type": "query_shard_exception", "reason": "Failed to parse query [a:]"}],
        "failed_shards": [{"shard": 0, "reason": {"type": "x", "reason": "Failed to parse query [a:]",
                                                  "caused_by": {"type": "parse_exception", "reason": "Encountered <EOF>"}}}],
    }  # fmt: skip
    assert explain(error) == "all shards failed; Failed to parse query [a:]; Encountered <EOF>"
    assert explain("plain") == "plain"
    assert len(explain({"reason": "x" * 5000})) == 1000


def test_items_of_a_bulk_are_retryable_by_status_or_by_type() -> None:
    assert is_retryable(429, None)
    assert is_retryable(400, {"type": "circuit_breaking_exception"})
    assert not is_retryable(400, {"type": "mapper_parsing_exception"})
    assert not is_retryable(409, {"type": "version_conflict_engine_exception"})
