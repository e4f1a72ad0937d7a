"""Health, metrics, and the copies that answers may be repeated from."""

from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from tests.golden.datasource_shop import DISK, MORNING, NOW, STEP, WEB_1, application, fill

from forewarn.anomaly import Anomaly
from forewarn.detector import HOUR
from forewarn.errors import StoreUnavailable
from forewarn.results import Publication, SeriesRecord
from forewarn.stores.sqlite import SqliteStore
from forewarn_datasource.settings import DatasourceSettings

SPAN = {"from": MORNING, "to": MORNING + 4 * STEP}


class Counting(SqliteStore):
    """A store that counts its reads."""

    def __init__(self) -> None:
        super().__init__(":memory:")
        self.reads: list[str] = []
        self.away = False

    def series(self, **asked: Any) -> list[SeriesRecord]:
        self.reads.append("series")
        return super().series(**asked)

    def anomalies(self, start: int, end: int, **asked: Any) -> list[Anomaly]:
        self.reads.append("anomalies")
        return super().anomalies(start, end, **asked)

    def committed(self) -> int | None:
        if self.away:
            raise StoreUnavailable("gone")
        return NOW - 90_000


@pytest.fixture
def store() -> Counting:
    store = Counting()
    fill(store)
    return store


def samples(text: str) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_count_routes_and_statuses_and_tell_the_last_tick(store: Counting) -> None:
    client = application(store).test_client()
    client.get("/infinity/variables")
    client.get("/infinity/variables?target=x")
    client.get("/secret-scan/1")
    client.get("/secret-scan/2")
    openmetrics = {"Accept": "application/openmetrics-text; version=1.0.0"}
    response = client.get("/-/metrics", headers=openmetrics)
    assert response.mimetype == "application/openmetrics-text"
    found = samples(response.get_data(as_text=True))
    assert found["forewarn_http_requests_total", "/infinity/variables", "200"] == 1
    assert found["forewarn_http_requests_total", "/infinity/variables", "400"] == 1
    assert found["forewarn_http_requests_total", "unknown", "404"] == 2
    assert found["forewarn_http_request_seconds_count", "/infinity/variables"] == 2
    assert found[("forewarn_store_up",)] == 1
    assert found[("forewarn_last_tick_timestamp_seconds",)] == (NOW - 90_000) / 1000
    assert found[("forewarn_last_tick_age_seconds",)] == 90
    store.away = True
    away = samples(client.get("/-/metrics", headers=openmetrics).get_data(as_text=True))
    assert away[("forewarn_store_up",)] == 0
    assert ("forewarn_last_tick_age_seconds",) not in away


def test_two_apps_in_one_process_count_for_themselves(store: Counting) -> None:
    one, other = application(store).test_client(), application(store).test_client()
    one.get("/grafana")
    assert "/grafana" in one.get("/-/metrics").get_data(as_text=True)
    assert "/grafana" not in other.get("/-/metrics").get_data(as_text=True)


def test_an_answer_is_repeated_for_a_short_time_only(store: Counting) -> None:
    now = [NOW]
    client = application(store, DatasourceSettings(cache_for=5_000), clock=lambda: now[0]).test_client()
    first = client.get("/infinity/annotations", query_string=SPAN)
    assert first.headers["Cache-Control"] == "private, max-age=5"
    again = client.get("/infinity/annotations", query_string=SPAN)
    assert again.data == first.data
    assert store.reads == ["series", "anomalies"]
    client.get("/infinity/annotations", query_string=SPAN | {"severity": "critical"})
    assert store.reads == ["series", "anomalies", "anomalies"]
    now[0] += 5_000
    client.get("/infinity/annotations", query_string=SPAN)
    assert store.reads == ["series", "anomalies", "anomalies", "series", "anomalies"]


def test_a_client_that_has_the_answer_gets_304_and_a_new_one_when_it_changed(store: Counting) -> None:
    client = application(store).test_client()
    first = client.get("/infinity/anomalies", query_string=SPAN)
    same = client.get("/infinity/anomalies", query_string=SPAN, headers={"If-None-Match": first.headers["ETag"]})
    assert (same.status_code, same.data) == (304, b"")
    (worst,) = (anomaly for anomaly in store.anomalies(MORNING, NOW) if anomaly.key == WEB_1)
    withdrawn = Anomaly(**{name: getattr(worst, name) for name in worst.__slots__} | {"state": "withdrawn", "revision": 3})
    store.publish(Publication(anomalies=((NOW, withdrawn),)))
    store.refresh()
    changed = client.get("/infinity/anomalies", query_string=SPAN, headers={"If-None-Match": first.headers["ETag"]})
    assert changed.status_code == 200
    assert len(changed.get_json()) == 2


def test_errors_are_never_repeated(store: Counting) -> None:
    client = application(store, DatasourceSettings(cache_for=5_000)).test_client()
    store.away = True
    assert client.get("/infinity/alert-state", query_string=SPAN).status_code == 503
    store.away = False
    assert client.get("/infinity/alert-state", query_string=SPAN).status_code == 200


def test_a_forecast_ends_at_the_horizon_and_a_silent_series_keeps_its_gap(store: Counting) -> None:
    client = application(store, DatasourceSettings(max_ahead=HOUR, cache_for=0)).test_client()
    query = {"series": WEB_1.id, "from": MORNING, "to": MORNING + 10 * HOUR}
    rows = client.get("/infinity/series", query_string=query).get_json()
    assert rows[-1]["time"] < NOW - 90_000 + HOUR <= rows[-1]["time"] + STEP
    store.committed = lambda: MORNING + 8 * HOUR + 1  # type: ignore[method-assign]  # seven hours without a value
    rows = client.get("/infinity/series", query_string=query).get_json()
    ahead = [row["time"] for row in rows if row["actual"] is None]
    assert ahead == list(range(MORNING + 8 * HOUR, MORNING + 9 * HOUR + 1, STEP))


def test_what_was_retired_is_neither_monitored_nor_forecast(store: Counting) -> None:
    disk = store.find(DISK.id)
    assert disk is not None
    retired = SeriesRecord(**{name: getattr(disk, name) for name in disk.__slots__} | {"retired": True, "version": NOW})
    store.publish(Publication(series=(retired,)))
    client = application(store).test_client()
    assert DISK.id not in {row["id"] for row in client.get("/infinity/alert-state").get_json()}
    query = {"series": DISK.id, "from": MORNING, "to": NOW + HOUR}
    assert len(client.get("/infinity/series", query_string=query).get_json()) == 2
