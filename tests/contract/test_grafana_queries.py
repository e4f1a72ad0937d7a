"""Every query that is shipped for Grafana, asked of the running data source over every store: its values are the store's.

The expected values are read from the store by its port, apart from anything that the data source does.
"""

import json
import math
import uuid
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from elasticsearch import Elasticsearch
from tests import incident_scene as scene
from tests.elasticsearch_server import remove_everything
from tests.golden.grafana_rules import annotation_events, infinity_frame, parsed
from tests.grafana_client import (
    ELASTIC,
    INFINITY,
    SIMPOD,
    Query,
    alert_rules,
    ask_infinity,
    ask_simpod,
    dashboard,
    elastic_search,
    queries_of,
    queries_of_rules,
)

from forewarn.anomaly import SEVERITY_BANDS
from forewarn.connection import ElasticSettings
from forewarn.elastic import connect
from forewarn.ports import Store
from forewarn.series import TimeGrid
from forewarn.stores.elasticsearch import ElasticsearchStore
from forewarn.stores.sqlite import SqliteStore
from forewarn_datasource.app import create_app
from forewarn_datasource.serving import Server
from forewarn_datasource.settings import DatasourceSettings, Listen
from forewarn_datasource.wiring import Serving

TOKEN = "a-token"
PUBLIC = "http://forewarn.example"
CHOSEN = scene.LATENCY
VARIABLES = {"detector": "*", "series": CHOSEN.id}
QUERIES = [*queries_of(dashboard("forewarn.json"), VARIABLES, scene.NOW), *queries_of_rules(scene.NOW)]
INFINITY_QUERIES = [query for query in QUERIES if query.source == INFINITY]
SIMPOD_QUERIES = [query for query in QUERIES if query.source == SIMPOD]
NOTES = {"time", "timeEnd", "title", "text", "tags", "id"}


@pytest.fixture(scope="module")
def prefix(es_client: Elasticsearch) -> Iterator[str]:
    name = f"t{uuid.uuid4().hex[:12]}"
    yield name
    remove_everything(es_client, name)


@pytest.fixture(scope="module", params=["sqlite", pytest.param("elasticsearch", marks=pytest.mark.elasticsearch)])
def filled(request: pytest.FixtureRequest) -> Iterator[Store]:
    """The scene in a store; the tests only read it."""
    store: Store = SqliteStore(":memory:")
    if request.param == "elasticsearch":
        cluster = ElasticSettings((request.getfixturevalue("elasticsearch_url"),))
        store = ElasticsearchStore(connect(cluster, "test"), request.getfixturevalue("prefix"))
    scene.fill(store)
    yield store
    store.close()


@pytest.fixture(scope="module")
def url(filled: Store) -> Iterator[str]:
    settings = DatasourceSettings(tokens=(TOKEN,), cache_for=0, public_url=PUBLIC)
    app = create_app(filled, settings, clock=lambda: scene.NOW, predict=scene.predict)
    serving = Serving(Server(app, Listen("127.0.0.1", 0)))
    yield serving.url
    serving.close()


def plain(value: float) -> float | None:
    return None if math.isnan(value) else value


def rows_in_store(store: Store, query: Query) -> list[dict[str, Any]]:
    """What the answer to an Infinity query must hold, read by the port; only fields that are worth comparing."""
    given = query.parameters
    leaf = query.path.removeprefix("/infinity/")
    if leaf == "incident-state":
        opened = Counter(incident.severity_band for incident in store.incidents(0, query.end, state="open"))
        return [{"severity": band, "open": opened[band]} for _, band in SEVERITY_BANDS]
    if leaf == "incidents":
        return [
            {
                "time": incident.start, "title": incident.title, "severity": incident.severity, "state": incident.state,
                "severity_band": incident.severity_band, "owner": incident.owner, "url": f"{PUBLIC}/incidents/{incident.id}",
                "cause": incident.causes[0].entity[0][1],
                "recommendation": incident.recommendations[0].title if incident.recommendations else "",
            }
            for incident in store.incidents(query.start, query.end)
        ]  # fmt: skip
    if leaf in ("anomalies", "annotations"):
        return anomalies_in_store(store, query)
    if leaf == "scores":
        return scores_in_store(store, query)
    assert leaf == "variables"
    keys = [record.key for record in store.series()]
    named = {name: name for name in sorted({key.detector for key in keys})} if given["target"] == "detectors" else {}
    return [{"__text": text, "__value": value} for text, value in (named or {str(key): key.id for key in keys}).items()]


def anomalies_in_store(store: Store, query: Query) -> list[dict[str, Any]]:
    given = query.parameters
    bands = given.get("severity", "critical,major,minor,warning").split(",")
    ids = [given["series"]] if "series" in given else None
    found = [a for a in store.anomalies(query.start, query.end, series_ids=ids) if a.severity_band in bands]
    both = [{"time": anomaly.start, "timeEnd": anomaly.end, "id": anomaly.id} for anomaly in found]
    if query.path == "/infinity/annotations":
        return both
    more = ("severity", "severity_band", "score", "actual", "expected", "direction", "state")
    return [one | {name: getattr(anomaly, name) for name in more} for one, anomaly in zip(both, found, strict=True)]


def scores_in_store(store: Store, query: Query) -> list[dict[str, Any]]:
    given = query.parameters
    wanted = [record.key for record in store.series() if given["series"] in ("*", record.key.id)]
    stored = store.scores([key.id for key in wanted], query.start, query.end, 100_000)
    times = np.unique(np.concatenate([one.start for one in stored]))
    value = {(int(t), one.key): plain(s) for one in stored for t, s in zip(one.start, one.score, strict=True)}
    return [{"time": int(t), "series": str(key), "score": value.get((int(t), key))} for t in times for key in wanted]


@pytest.mark.parametrize("query", INFINITY_QUERIES, ids=lambda query: query.where)
def test_an_infinity_query_gives_what_the_store_holds(url: str, filled: Store, query: Query) -> None:
    body = ask_infinity(url, TOKEN, query)
    rows, expected = json.loads(body), rows_in_store(filled, query)
    assert rows or query.where.startswith("annotation"), "the scene has something for every panel"
    assert [{name: row[name] for name in wanted} for row, wanted in zip(rows, expected, strict=True)] == expected
    declared = {column["selector"] for column in query.model["columns"]}
    assert all(declared <= set(row) for row in rows), "a declared column that is absent would be all null"
    frame, _ = infinity_frame(body, query.model["columns"], query.model["format"])
    for column in query.model["columns"] if rows else []:
        kind, values = frame[column["text"]]
        assert values == [row[column["selector"]] for row in rows], kind
    if query.annotation is not None:
        assert declared == NOTES
        assert [event["id"] for event in annotation_events(frame)] == [row["id"] for row in rows]


def test_some_annotations_of_the_scene_are_shown(url: str) -> None:
    asked = [query for query in INFINITY_QUERIES if query.annotation is not None]
    found = [row for query in asked for row in json.loads(ask_infinity(url, TOKEN, query))]
    assert [row["time"] for row in found] == [scene.ANOMALIES[2].start]
    assert f'href="{PUBLIC}/incidents/{scene.OPEN.id}"' in found[0]["text"]


@pytest.mark.parametrize("query", SIMPOD_QUERIES, ids=lambda query: query.where)
def test_a_simpod_query_gives_what_the_store_holds(url: str, filled: Store, query: Query) -> None:
    (frames,) = parsed([ask_simpod(url, TOKEN, query)])
    (frame,) = frames
    fields = {field["display"]: (field["type"], field["values"]) for field in frame["fields"]}
    if query.path == "incidents":
        events = annotation_events(fields)
        stored = filled.incidents(query.start, query.end)
        assert [(event["id"], event["time"], event["timeEnd"]) for event in events] == [(i.id, i.start, i.end) for i in stored]
        assert all(f'<a href="{PUBLIC}/incidents/{event["id"]}">' in event["title"] for event in events)
        return
    assert query.path == "band"
    (one,) = filled.scores([CHOSEN.id], query.start, query.end, 100_000)
    behind = one.start.size
    times = fields["time"][1] if "time" in fields else frame["fields"][0]["values"]
    assert times[:behind] == one.start.tolist()
    for name in ("actual", "expected", "lower", "upper", "score"):
        assert fields[name][1][:behind] == [plain(value) for value in getattr(one, name).tolist()]
    ahead = TimeGrid(times[behind], scene.STEP, len(times) - behind)
    record = filled.find(CHOSEN.id)
    assert record is not None
    assert record.model is not None
    assert ahead.end >= query.end
    assert fields["expected"][1][behind:] == scene.predict(record.model, ahead).expected[0].tolist()
    assert set(fields["actual"][1][behind:]) == {None}


def test_the_rule_on_incidents_fires_for_the_severities_that_are_open(url: str) -> None:
    (query,) = [query for query in QUERIES if query.where == "rule forewarn-incident-open"]
    frame, shape = infinity_frame(ask_infinity(url, TOKEN, query), query.model["columns"], query.model["format"])
    assert shape == "numeric-long"
    assert sorted(kind for kind, _ in frame.values()) == ["number", "string"]
    labels, values = frame["severity"][1], frame["open"][1]
    assert labels == [band for _, band in SEVERITY_BANDS]
    limit = limit_of("forewarn-incident-open")
    assert [label for label, value in zip(labels, values, strict=True) if value > limit] == ["critical"]


def test_the_rule_on_scores_fires_for_the_series_that_are_far_out(url: str, filled: Store) -> None:
    (query,) = [query for query in QUERIES if query.where == "rule forewarn-score-high"]
    frame, shape = infinity_frame(ask_infinity(url, TOKEN, query), query.model["columns"], query.model["format"])
    assert shape == "wide"  # long would be an error of the rule
    assert [kind for kind, _ in frame.values()].count("number") == 1
    (rule,) = [rule for rule in alert_rules() if rule["uid"] == "forewarn-score-high"]
    # What lasts is scored high in its first bucket only: a rule on the last score, or one that waits, would never fire.
    assert [step["model"]["reducer"] for step in rule["data"] if step["refId"] == "B"] == ["max"]
    assert rule["for"] == "0s"
    highest: dict[str, float] = {}
    for name, value in zip(frame["series"][1], frame["score"][1], strict=True):
        if value is not None:  # reduce: max, dropNN
            highest[name] = max(highest.get(name, 0.0), value)
    keys = {key.id: str(key) for key in scene.SERIES}
    stored = filled.scores(list(keys), query.start, query.end, 10_000)
    assert highest == {keys[one.key.id]: np.nanmax(one.score) for one in stored if np.isfinite(one.score).any()}
    limit = limit_of("forewarn-score-high")
    assert {name for name, score in highest.items() if score > limit} == {str(key) for key in scene.SERIES if key != scene.DISK}


def limit_of(uid: str) -> float:
    (rule,) = [rule for rule in alert_rules() if rule["uid"] == uid]
    (condition,) = [step["model"] for step in rule["data"] if step["refId"] == rule["condition"]]
    assert condition["type"] == "threshold"
    evaluator = condition["conditions"][0]["evaluator"]
    assert evaluator["type"] == "gt"
    return float(evaluator["params"][0])


@pytest.mark.parametrize("filled", ["elasticsearch"], indirect=True)
@pytest.mark.elasticsearch
def test_the_queries_of_the_elasticsearch_dashboard_give_what_the_store_holds(
    filled: Store, es_client: Elasticsearch, prefix: str
) -> None:
    index = f"{prefix}-anomalies"
    asked = list(queries_of(dashboard("forewarn-elasticsearch.json"), {}, scene.NOW))
    assert {query.source for query in asked} == {ELASTIC}
    stored = filled.anomalies(asked[0].start, asked[0].end)
    assert len(stored) == len(scene.ANOMALIES)
    for query in asked:
        if query.annotation is not None:
            found = es_client.search(index=index, size=100, q=query.model["query"])["hits"]["hits"]
            assert {hit["_source"]["event"]["id"] for hit in found} == {a.id for a in stored if a.severity_band == "critical"}
            for name in (query.annotation[key] for key in ("timeField", "timeEndField", "textField", "tagsField")):
                assert all(_at(hit["_source"], name) for hit in found)
            continue
        answer = es_client.search(index=index, **elastic_search(query))["aggregations"]["3"]["buckets"]
        got = {
            (bucket["key"], hour["key"]): hour["1"]["value"] if "1" in hour else hour["doc_count"]
            for bucket in answer
            for hour in bucket["2"]["buckets"]
            if hour["doc_count"]
        }
        by_band = query.model["bucketAggs"][0]["field"] == "anomaly.severity_band"
        expected: dict[tuple[str, int], float] = {}
        for anomaly in stored:
            place = (anomaly.severity_band if by_band else anomaly.key.detector), anomaly.start // 3_600_000 * 3_600_000
            expected[place] = expected.get(place, 0) + 1 if by_band else max(expected.get(place, 0), anomaly.severity)
        assert got == expected


def _at(document: Any, dotted: str) -> Any:
    for name in [dotted] if dotted == "@timestamp" else dotted.split("."):
        document = document[name]
    return document
