"""The datasource over every real store, with a model that was really fitted: what was published is what Grafana gets."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from tests.contract.store_data import DAY, HOUR, MARCH, MINUTE, STEP, anomaly, block, keys, record
from tests.golden.grafana_rules import annotation_events, infinity_frame

from forewarn.forecast import Calibration, ModelSpec
from forewarn.forecasting.fallback import SeasonalMedian
from forewarn.forecasting.predict import predict
from forewarn.ports import Store
from forewarn.results import Publication
from forewarn.series import SeriesBatch, TimeGrid
from forewarn_datasource.app import create_app
from forewarn_datasource.settings import DatasourceSettings

SERIES = keys(3)
SIZE = 24
NOW = MARCH + SIZE * STEP + MINUTE
RANGE = {"from": MARCH, "to": MARCH + 2 * HOUR}
COLUMNS = [
    {"selector": "time", "text": "time", "type": "timestamp_epoch"},
    {"selector": "series", "text": "series", "type": "string"},
    {"selector": "score", "text": "score", "type": "number"},
]
NOTES = [
    {"selector": name, "text": name, "type": "timestamp_epoch" if name.startswith("time") else "string"}
    for name in ("time", "timeEnd", "title", "text", "tags", "id")
]


@pytest.fixture
def client(store: Store) -> Iterator[FlaskClient]:
    history = TimeGrid(MARCH - 7 * DAY, 15 * MINUTE, 7 * 96)
    daily = 100 + 20 * np.sin(2 * np.pi * (history.times() % DAY) / DAY)
    (model,) = SeasonalMedian().fit(SeriesBatch(SERIES, history, np.tile(daily, (3, 1))), ModelSpec())
    records = []
    for row, key in enumerate(SERIES):
        one = Calibration((key,), MARCH, np.array([[5.0]]), np.array([[6.0]]), np.array([0.0]))
        records.append(record(key, model=model.take([row]), calibration=one, engine=model.engine))
    changes = (
        (MARCH + HOUR, anomaly(SERIES[0])),
        (MARCH + HOUR, anomaly(SERIES[1], MARCH + 6 * STEP, state="closed", severity=90.0)),
        (MARCH + HOUR, anomaly(SERIES[2], MARCH + 6 * STEP, state="withdrawn", severity=99.0)),
    )
    store.publish(Publication(scores=(block(SERIES, size=SIZE),), anomalies=changes, series=tuple(records)))
    store.commit_head(json.dumps({"now": NOW}).encode(), None)
    store.refresh()
    app = create_app(store, DatasourceSettings(cache_for=0), clock=lambda: NOW + MINUTE)
    with app.test_client() as client:
        yield client


def get(client: FlaskClient, leaf: str, **query: Any) -> tuple[str, list[dict[str, Any]]]:
    response = client.get(f"/infinity/{leaf}", query_string=query)
    assert response.status_code == 200, response.get_data(as_text=True)
    return response.get_data(as_text=True), response.get_json()


def test_series_in_both_dialects_are_what_was_published(client: FlaskClient, store: Store) -> None:
    ids = [key.id for key in SERIES]
    text, rows = get(client, "series", **RANGE, series=",".join(ids))
    assert infinity_frame(text, COLUMNS, "timeseries")[1] == "wide"
    body = {
        "range": {"from": "2026-03-01T00:00:00.000Z", "to": "2026-03-01T02:00:00.000Z"},
        "targets": [{"refId": "A", "target": "band", "payload": {"series": ids}}],
    }
    frames = client.post("/grafana/query", json=body).get_json()
    for stored, frame in zip(store.scores(ids, MARCH, MARCH + 2 * HOUR, 1000), frames, strict=True):
        assert frame["name"] == str(stored.key)
        mine = [row for row in rows if row["id"] == stored.key.id]
        for field in frame["fields"]:
            published = stored.start if field["name"] == "time" else getattr(stored, field["name"])
            assert field["values"] == published.tolist() == [row[field["name"]] for row in mine]


def test_the_band_beyond_now_is_the_fitted_models_own(client: FlaskClient, store: Store) -> None:
    _, rows = get(client, "series", **{"from": NOW, "to": NOW + 3 * HOUR}, series=SERIES[0].id)
    stored = store.find(SERIES[0].id)
    assert stored is not None
    assert stored.model is not None
    assert stored.calibration is not None
    grid = TimeGrid(rows[0]["time"], STEP, len(rows))
    forecast = predict(stored.model, grid)
    lower, upper = stored.calibration.band(forecast.expected, forecast.sigma, grid)
    assert [row["time"] for row in rows] == grid.times().tolist()
    assert grid.end - STEP < NOW + 3 * HOUR <= grid.end
    assert [row["expected"] for row in rows] == forecast.expected[0].tolist()
    assert [row["lower"] for row in rows] == lower[0].tolist()
    assert [row["upper"] for row in rows] == upper[0].tolist()
    assert all(row["actual"] is None and row["score"] is None for row in rows)


def test_the_forecast_follows_the_last_score_without_gap_or_overlap(client: FlaskClient) -> None:
    _, rows = get(client, "series", **{"from": MARCH, "to": MARCH + 4 * HOUR}, series=SERIES[1].id)
    times = [row["time"] for row in rows]
    assert times == list(range(MARCH, MARCH + 4 * HOUR, STEP))
    assert [row["actual"] is not None for row in rows] == [n < SIZE for n in range(len(rows))]
    _, without = get(client, "series", **{"from": MARCH, "to": MARCH + 4 * HOUR}, series=SERIES[1].id, forecast="false")
    assert without == rows[:SIZE]


def test_withdrawn_anomalies_are_annotated_in_no_dialect(client: FlaskClient) -> None:
    text, rows = get(client, "annotations", **RANGE)
    assert [row["time"] for row in rows] == [MARCH, MARCH + 6 * STEP]
    assert len(annotation_events(infinity_frame(text, NOTES, "table")[0])) == 2
    body = {"range": {"from": "2026-03-01T00:00:00.000Z", "to": "2026-03-01T02:00:00.000Z"}}
    frames = client.post("/grafana/query", json=body | {"targets": [{"refId": "Anno", "target": "anomalies"}]}).get_json()
    assert [field["values"] for field in frames[0]["fields"] if field["name"] == "id"] == [[row["id"] for row in rows]]
    assert [row["id"] for row in get(client, "annotations", **RANGE, severity="critical")[1]] == [rows[1]["id"]]
    assert get(client, "annotations", **RANGE, severity="minor,warning")[1] == []


def test_alert_states_follow_the_open_anomalies_and_the_last_scores(client: FlaskClient, store: Store) -> None:
    _, active = get(client, "alert-state", **{"from": NOW - 15 * MINUTE, "to": NOW + MINUTE})
    assert [(row["id"], row["value"]) for row in active] == [(SERIES[0].id, 1.0), (SERIES[1].id, 0.0), (SERIES[2].id, 0.0)]
    _, scores = get(client, "alert-state", by="score", series=SERIES[1].id)
    last = store.scores([SERIES[1].id], MARCH, NOW, 1000)[0].score[-1]
    assert [row["value"] for row in scores] == [last]


def test_variables_list_the_series_and_their_fields(client: FlaskClient) -> None:
    assert [row["__value"] for row in get(client, "variables")[1]] == [key.id for key in SERIES]
    assert [row["__text"] for row in get(client, "variables", target="entity:service.name")[1]] == [
        "service-00000", "service-00001", "service-00002",
    ]  # fmt: skip
    assert client.get("/-/ready").get_json() == {"status": "ready", "last_tick": NOW, "age_seconds": 60.0}
