"""The shape of every error: a status that tells, and JSON with a `message`."""

import logging
import re
from typing import Any

import pytest
from flask import Flask
from tests.golden.datasource_shop import DISK, MORNING, NOW, STEP, WEB_1, application, fill

from forewarn.detector import DAY
from forewarn.errors import ModelMismatch, StoreRejected, StoreUnavailable
from forewarn.results import SeriesRecord
from forewarn.stores.sqlite import SqliteStore
from forewarn_datasource.settings import DatasourceSettings

SPAN = {"from": MORNING, "to": MORNING + 4 * STEP}
ISO = {"from": "2026-11-22T06:00:00.000Z", "to": "2026-11-22T06:20:00.000Z"}
BAND = {"range": ISO, "targets": [{"refId": "A", "target": "band", "payload": {"series": WEB_1.id}}]}


class Failing(SqliteStore):
    """A store whose reads raise what the test says, from the moment it says so."""

    def __init__(self) -> None:
        super().__init__(":memory:")
        self.fault: Exception | None = None

    def series(self, **asked: Any) -> list[SeriesRecord]:
        if self.fault:
            raise self.fault
        return super().series(**asked)

    def committed(self) -> int | None:
        if self.fault:
            raise self.fault
        return super().committed()


class BrokenModels(SqliteStore):
    """A store written by a newer version: it lists series, and cannot read their models."""

    def find(self, series_id: str) -> SeriesRecord | None:
        raise ModelMismatch(f"the model of {series_id} was written by a newer version")


def app_over(store: SqliteStore, **settings: Any) -> Flask:
    fill(store)
    return application(store, DatasourceSettings(cache_for=0, **settings))


@pytest.mark.parametrize(
    ("query", "status", "field", "words"),
    [
        ({"series": WEB_1.id}, 400, "from", "is missing"),
        ({"from": MORNING, "series": WEB_1.id}, 400, "to", "is missing"),
        (SPAN, 400, "series", "is missing; name series, a detector, or \\* for all"),
        (SPAN | {"series": "nobody"}, 404, "series", "no series 'nobody' is known"),
        (SPAN | {"series": "x" * 5000}, 404, "series", r"no series 'x{70,80}\.\.\. is known"),
        (SPAN | {"detector": "nobody"}, 404, "detector", "no series of a detector 'nobody'"),
        (SPAN | {"series": "${series:csv}"}, 400, "series", "was not expanded"),
        (SPAN | {"series": "%24%7Bseries%7D"}, 400, "series", "was not expanded"),
        (SPAN | {"series": "*", "maxDataPoints": "$__maxDataPoints"}, 400, "maxDataPoints", "was not expanded"),
        (SPAN | {"series": "*", "maxDataPoints": "0"}, 400, "maxDataPoints", "expected a number from 1"),
        (SPAN | {"serie": WEB_1.id}, 400, "serie", "is no parameter of /infinity/series; known are from, to, series"),
        ({"from": MORNING + 1, "to": MORNING, "series": "*"}, 400, "from", "lies after to"),
        ({"from": MORNING - 32 * DAY, "to": MORNING, "series": "*"}, 400, "from", "the range is 32 d long; at most 31 d"),
        ({"from": [MORNING, MORNING], "to": MORNING, "series": "*"}, 400, "from", "more than once"),
        (SPAN | {"series": "*", "forecast": "maybe"}, 400, "forecast", "expected one of true, false"),
    ],
)
def test_a_bad_parameter_is_named(query: dict[str, Any], status: int, field: str, words: str) -> None:
    response = app_over(SqliteStore(":memory:")).test_client().get("/infinity/series", query_string=query)
    assert response.status_code == status
    content = response.get_json()
    assert content["field"] == field
    assert content["message"].startswith(f"{field}: ")
    assert re.search(words, content["message"])


@pytest.mark.parametrize(
    ("leaf", "query", "field"),
    [
        ("annotations", SPAN | {"severity": "fatal"}, "severity"),
        ("annotations", SPAN | {"severity": "${severity}"}, "severity"),
        ("alert-state", SPAN | {"by": "magic"}, "by"),
        ("alert-state", {"from": MORNING}, "to"),
        ("variables", {"target": "secrets"}, "target"),
        ("variables", {"from": "${__from}"}, "from"),
        ("scores", SPAN | {"series": "*", "forecast": "true"}, "forecast"),
    ],
)
def test_every_infinity_route_refuses_what_it_does_not_know(leaf: str, query: dict[str, Any], field: str) -> None:
    response = app_over(SqliteStore(":memory:")).test_client().get(f"/infinity/{leaf}", query_string=query)
    assert response.status_code == 400
    assert response.get_json()["field"] == field


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"targets": []}, "range"),
        ({"range": ISO}, "targets"),
        ({"range": {"from": "now-6h", "to": "now"}, "targets": []}, "range.from"),
        ({"range": {"from": ISO["to"], "to": ISO["from"]}, "targets": []}, "range.from"),
        ({"range": {"from": "2025-01-01T00:00:00Z", "to": ISO["to"]}, "targets": []}, "range.from"),
        (BAND | {"targets": ["band"]}, "targets[0]"),
        (BAND | {"targets": [{"target": 1}]}, "targets[0].target"),
        (BAND | {"targets": [{"target": "magic"}]}, "targets[0].target"),
        (BAND | {"targets": [{"target": "$metric"}]}, "targets[0].target"),
        (BAND | {"targets": [{"target": "lower:nobody"}]}, "targets[0].target"),
        (BAND | {"targets": [{"target": "band", "payload": {}}]}, "targets[0].payload.series"),
        (BAND | {"targets": [{"target": "band", "payload": "{"}]}, "targets[0].payload"),
        (BAND | {"targets": [{"target": "band", "payload": {"series": ["${x}"]}}]}, "targets[0].payload.series"),
        (BAND | {"targets": [{"target": "band", "payload": {"series": {"id": 1}}}]}, "targets[0].payload.series"),
        (BAND | {"targets": [{"target": "anomalies", "payload": {"severity": "${s}"}}]}, "targets[0].payload.severity"),
        (BAND | {"maxDataPoints": "many"}, "maxDataPoints"),
        (BAND | {"intervalMs": -1}, "intervalMs"),
        (BAND | {"filters": [{"key": "host", "operator": "like", "value": "w"}]}, "filters[0].operator"),
        (BAND | {"adhocFilters": "host=web"}, "adhocFilters"),
    ],
)
def test_a_bad_query_body_is_refused_by_the_place_in_it(body: dict[str, Any], field: str) -> None:
    response = app_over(SqliteStore(":memory:")).test_client().post("/grafana/query", json=body)
    assert response.status_code in (400, 404)
    assert response.get_json()["field"] == field


@pytest.mark.parametrize("content", [b"{", b"[1]", b"\xff", b"[" * 50_000, b"NaN", b'"text"'])
def test_malformed_json_is_refused(content: bytes) -> None:
    response = app_over(SqliteStore(":memory:")).test_client().post("/grafana/query", data=content)
    assert response.status_code == 400
    assert response.get_json()["field"] == "body"


def test_unknown_paths_wrong_methods_and_large_bodies_have_messages_too() -> None:
    client = app_over(SqliteStore(":memory:")).test_client()
    unknown = client.post("/grafana/querry", json={})
    assert unknown.status_code == 404
    assert "/infinity/series" in unknown.get_json()["message"]
    method = client.get("/grafana/query")
    assert method.status_code == 405
    assert method.get_json() == {"message": "/grafana/query is asked by POST, not by GET"}
    assert "POST" in method.headers["Allow"]
    large = client.post("/grafana/query", data=b" " * 1_000_001)
    assert large.status_code == 413
    assert "1,000,000" in large.get_json()["message"]


def test_no_path_redirects() -> None:
    client = app_over(SqliteStore(":memory:")).test_client()
    body = BAND | {"targets": []}
    for path in ("/grafana/query", "/grafana/query/", "/grafana//query", "/x/../grafana"):
        assert client.post(path, json=body).status_code in (200, 404), path
    for path in ("/grafana", "/grafana/", "/infinity/variables/", "/-/healthy/"):
        assert client.get(path, headers={"Content-Type": "application/json"}).status_code == 200, path


def test_sizes_beyond_the_limits_are_refused_never_cut() -> None:
    query = SPAN | {"series": "*"}
    few = app_over(SqliteStore(":memory:"), max_points=5).test_client().get("/infinity/series", query_string=query)
    assert few.status_code == 400
    assert "more than 5 rows (max_points)" in few.get_json()["message"]
    read = app_over(SqliteStore(":memory:"), max_buckets=3).test_client().get("/infinity/series", query_string=query)
    assert read.status_code == 400
    ahead = SPAN | {"series": WEB_1.id, "to": NOW + 6 * DAY}
    band = app_over(SqliteStore(":memory:"), max_buckets=100).test_client().get("/infinity/series", query_string=ahead)
    assert band.status_code == 400
    assert "max_buckets" in band.get_json()["message"]


@pytest.mark.parametrize("path", ["/infinity/variables", "/-/ready", "/grafana/variable"])
def test_a_store_that_is_away_is_a_503_that_says_when_to_try_again(path: str) -> None:
    store = Failing()
    client = app_over(store).test_client()
    store.fault = StoreUnavailable("connection refused")
    response = client.post(path, json={}) if path.startswith("/grafana/") else client.get(path)
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "5"
    assert response.get_json() == {"message": "the store is not available: connection refused"}
    assert client.get("/-/healthy").status_code == 200
    store.fault = None
    assert client.get("/-/ready").status_code == 200


@pytest.mark.parametrize("fault", [ZeroDivisionError("secret detail"), StoreRejected("secret detail")])
def test_what_was_not_foreseen_is_logged_and_not_told(fault: Exception, caplog: pytest.LogCaptureFixture) -> None:
    store = Failing()
    client = app_over(store).test_client()
    store.fault = fault
    with caplog.at_level(logging.ERROR):
        response = client.get("/infinity/variables")
    assert response.status_code == 500
    assert "secret" not in response.get_data(as_text=True)
    assert set(response.get_json()) == {"message"}
    assert "secret detail" in caplog.text


def test_a_model_that_cannot_be_read_costs_the_forecast_not_the_panel() -> None:
    client = app_over(BrokenModels(":memory:")).test_client()
    body = BAND | {"range": {"from": ISO["from"], "to": "2026-11-22T07:00:00.000Z"}}
    response = client.post("/grafana/query", json=body)
    assert response.status_code == 200
    (frame,) = response.get_json()
    assert len(frame["fields"][0]["values"]) == 3
    assert "its stored model cannot be used" in frame["meta"]["notices"][0]["text"]


def test_the_state_is_refused_once_the_last_tick_lies_too_far_behind() -> None:
    client = app_over(SqliteStore(":memory:"), stale_after=60 * 60_000).test_client()
    late = {"from": NOW, "to": NOW + 2 * 60 * 60_000}
    response = client.get("/infinity/alert-state", query_string=late)
    assert response.status_code == 503
    assert response.get_json()["message"].startswith("the last tick was 2 h before")
    assert client.get("/infinity/alert-state", query_string={"series": DISK.id}).status_code == 200
