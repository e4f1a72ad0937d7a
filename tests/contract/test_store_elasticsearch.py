"""What the Elasticsearch store promises beyond the contract: documents for Grafana and Kibana, faults, several openers."""

import json
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from elasticsearch import Elasticsearch
from tests.contract.fault_proxy import FaultProxy, proxy_before
from tests.contract.store_data import DAY, HOUR, MARCH, STEP, anomaly, block, keys, publish, record
from tests.elasticsearch_server import free_port

from forewarn.connection import ElasticSettings
from forewarn.elastic import connect
from forewarn.errors import StoreRejected, StoreUnavailable
from forewarn.ports import Store
from forewarn.results import Publication, score_id
from forewarn.series import SeriesKey
from forewarn.stores.elasticsearch import ElasticsearchStore

pytestmark = pytest.mark.elasticsearch

HEAD = json.dumps({"now": 1, "nonce": "mine"}).encode()
EVER = (0, 2 * MARCH)
key = SeriesKey("latency", (("service.name", "web"), ("url.path", "/cart")))
OVERLOADED = (429, {"error": {"type": "es_rejected_execution_exception", "reason": "queue is full"}, "status": 429})


@pytest.fixture
def proxy(elasticsearch_url: str) -> Iterator[FaultProxy]:
    with proxy_before(elasticsearch_url) as proxy:
        yield proxy


@pytest.fixture
def naps() -> list[float]:
    return []


@pytest.fixture
def store(proxy: FaultProxy, es_prefix: str, naps: list[float]) -> Iterator[ElasticsearchStore]:
    """A store behind the proxy, whose waiting takes no time."""
    store = ElasticsearchStore(connect(ElasticSettings((proxy.url,)), "test"), es_prefix, sleep=naps.append)
    yield store
    store.close()


@pytest.fixture
def direct(elasticsearch_url: str, es_prefix: str) -> Iterator[Callable[..., ElasticsearchStore]]:
    opened: list[ElasticsearchStore] = []

    def open_store(**settings: str) -> ElasticsearchStore:
        client = connect(ElasticSettings((elasticsearch_url,)), "test")
        opened.append(ElasticsearchStore(client, es_prefix, **settings))  # type: ignore[arg-type]  # of the settings `sleep` alone is no text, and is not given here
        return opened[-1]

    yield open_store
    for store in opened:
        store.close()


def test_a_score_is_a_flat_document_with_ecs_fields(store: Store, es_client: Elasticsearch, es_prefix: str) -> None:
    made = block([key], MARCH, 1, actual=np.array([[51.0]]), score=np.array([[4.25]]))
    publish(store, scores=[made])
    (hit,) = es_client.search(index=f"{es_prefix}-scores", q="anomaly.score:>=1 AND labels.url.path:\\/cart", version=True)[
        "hits"
    ]["hits"]
    assert hit["_index"] == f"{es_prefix}-scores-2026.03"
    assert hit["_id"] == score_id(key.id, MARCH, STEP)
    assert hit["_version"] == MARCH + STEP + made.delay
    expected = made.expected[0, 0]
    document = hit["_source"]
    anomaly_fields = document.pop("anomaly")
    assert document == {
        "@timestamp": "2026-03-01T00:00:00.000Z",
        "message": f"latency{{service.name=web,url.path=/cart}}: 51, expected {expected:.5g}",
        "tags": ["anomalous"],
        "event": {
            "kind": "metric",
            "dataset": "forewarn.scores",
            "start": "2026-03-01T00:00:00.000Z",
            "end": "2026-03-01T00:05:00.000Z",
            "created": "2026-03-01T00:06:00.000Z",
        },
        "labels": {"service.name": "web", "url.path": "/cart"},
        "service": {"name": "web"},
        "rule": {"id": "latency", "name": "latency"},
        "ecs": {"version": "8.17.0"},
    }
    assert anomaly_fields == {
        "result_type": "model_plot",
        "detector": "latency",
        "series": "latency{service.name=web,url.path=/cart}",
        "series_id": key.id,
        "bucket_span": 300,
        "is_interim": False,
        "direction": {1: "above", -1: "below"}[int(made.scores.direction[0, 0])],
        "explanation_type": made.scores.reasons[int(made.scores.reason[0, 0])],
        "score": 4.25,
        "actual": 51.0,
        "expected": expected,
        "lower": expected - 5,
        "upper": expected + 5,
    }


def test_dashboards_aggregate_and_filter_what_is_stored(store: Store, es_client: Elasticsearch, es_prefix: str) -> None:
    publish(store, scores=[block([key], MARCH, 12)])
    store.publish(Publication(anomalies=((MARCH, anomaly(key)), (MARCH, anomaly(keys(1)[0], severity=20.0)))))
    store.refresh()
    per_hour = es_client.search(
        index=f"{es_prefix}-scores",
        size=0,
        query={"term": {"service.name": "web"}},
        aggs={
            "time": {
                "date_histogram": {"field": "@timestamp", "fixed_interval": "1h"},
                "aggs": {"band": {"max": {"field": "anomaly.upper"}}},
            }
        },
    )["aggregations"]["time"]["buckets"]
    assert [bucket["doc_count"] for bucket in per_hour] == [12]
    (hit,) = es_client.search(index=f"{es_prefix}-anomalies", q="anomaly.severity:>=50 AND tags:major")["hits"]["hits"]
    found = hit["_source"]
    assert (found["event"]["kind"], found["anomaly"]["severity_band"], found["event"]["risk_score"]) == (
        "alert",
        "major",
        61.25,
    )
    assert found["anomaly"]["explanation"] == anomaly(key).explanation


def test_a_document_with_a_field_that_the_mapping_lacks_is_refused_by_name(
    store: Store, es_client: Elasticsearch, es_prefix: str
) -> None:
    narrow = {"mappings": {"dynamic": "strict", "properties": {"@timestamp": {"type": "date"}}}}
    patterns = [f"{es_prefix}-scores-2026.03"]
    es_client.indices.put_index_template(name=f"{es_prefix}-narrow", index_patterns=patterns, priority=900, template=narrow)
    with pytest.raises(StoreRejected, match=r"introduction of \[\w+\]"):
        store.publish(Publication(scores=(block([key], MARCH, 1), block([key], MARCH + 40 * DAY, 3))))
    store.refresh()
    assert store.scores([key.id], *EVER, 10)[0].start.size == 3  # the others were written


def test_several_openers_at_once_agree(
    direct: Callable[..., ElasticsearchStore], es_client: Elasticsearch, es_prefix: str
) -> None:
    failed: list[Exception] = []
    stores: list[ElasticsearchStore] = []

    def work(partition: str) -> None:
        try:
            stores.append(direct(partition=partition))
        except Exception as error:  # noqa: BLE001 - reported by the assertion below, in the main thread
            failed.append(error)

    threads = [threading.Thread(target=work, args=(partition,)) for partition in ("day", "month") * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    for number, store in enumerate(stores):
        store.publish(Publication(scores=(block([key], MARCH + number * STEP, 1),)))
    assert len(es_client.indices.get(index=f"{es_prefix}-scores-*")) == 1


def test_opening_what_is_there_takes_one_read(store: Store, proxy: FaultProxy, es_prefix: str) -> None:
    store.committed()
    proxy.requests.clear()
    ElasticsearchStore(connect(ElasticSettings((proxy.url,)), "test"), es_prefix).close()
    assert [(method, path) for method, path, _ in proxy.requests] == [("GET", f"/{es_prefix}-state/_doc/store")]


def test_a_newer_schema_is_refused(direct: Callable[..., ElasticsearchStore], es_client: Elasticsearch, es_prefix: str) -> None:
    direct()
    es_client.update(index=f"{es_prefix}-state", id="store", doc={"schema": 99})
    with pytest.raises(StoreRejected, match=r"newer Forewarn \(schema 99"):
        direct()


def test_a_state_that_was_deleted_is_not_taken_for_a_new_one(store: Store, es_client: Elasticsearch, es_prefix: str) -> None:
    store.commit_head(HEAD, None)
    es_client.indices.delete(index=f"{es_prefix}-state")
    with pytest.raises(StoreRejected, match="missing"):
        store.load_head()


def test_an_unreachable_server_is_unavailable_to_every_method(store: ElasticsearchStore, proxy: FaultProxy) -> None:
    name = store.put_block(b"content", 1)
    token = store.commit_head(HEAD, None)
    proxy.fault = lambda *_: "cut before"
    calls: list[Callable[[], object]] = [
        store.load_head,
        lambda: store.commit_head(HEAD, token),
        store.committed,
        lambda: store.put_block(b"more", 1),
        lambda: store.get_block(name),
        lambda: store.sweep((), 5),
        lambda: store.cursor("mail"),
        lambda: store.advance("mail", 0, 1),
        lambda: store.publish(Publication(scores=(block([key]),))),
        lambda: store.drop_before(MARCH),
        store.refresh,
        store.series,
        lambda: store.find(key.id),
        lambda: store.scores([key.id], 0, 1, 1),
        lambda: store.latest(None, 0),
        lambda: store.anomalies(0, 1),
        lambda: store.anomaly("0" * 32),
        lambda: store.incidents(0, 1),
        lambda: store.incident("0" * 32),
        lambda: store.patterns(["p"]),
    ]
    for call in calls:
        with pytest.raises(StoreUnavailable):
            call()


def test_a_server_that_is_not_there_is_unavailable(es_prefix: str) -> None:
    with pytest.raises(StoreUnavailable):
        ElasticsearchStore(connect(ElasticSettings((f"http://127.0.0.1:{free_port()}",)), "test"), es_prefix)


def test_an_overloaded_server_is_asked_again_after_a_pause(store: Store, proxy: FaultProxy, naps: list[float]) -> None:
    left = [3]

    def fault(_method: str, path: str, _size: int) -> tuple[int, object] | None:
        if not path.startswith("/_bulk") or not left[0]:
            return None
        left[0] -= 1
        return OVERLOADED

    proxy.fault = fault
    publish(store, scores=[block([key])])
    assert naps == [0.5, 1.0, 2.0]
    assert store.scores([key.id], *EVER, 10)[0].start.size == 4


def test_documents_that_were_refused_for_now_are_sent_again_alone(store: Store, proxy: FaultProxy, naps: list[float]) -> None:
    publish(store, scores=[block([key], MARCH - HOUR, 1)])
    sizes: list[int] = []

    def fault(_method: str, path: str, size: int) -> tuple[int, object] | None:
        if not path.startswith("/_bulk"):
            return None
        sizes.append(size)
        full = {"index": {"status": 429, "error": OVERLOADED[1]["error"]}}
        return (
            (200, {"items": [full, {"index": {"status": 409}}, full, {"index": {"status": 200}}]}) if len(sizes) == 1 else None
        )

    proxy.fault = fault
    publish(store, scores=[block([key])])
    assert naps == [0.5]
    # The second and the fourth were taken for written: the server has the other two alone.
    assert store.scores([key.id], MARCH, MARCH + DAY, 10)[0].start.tolist() == [MARCH, MARCH + 2 * STEP]


def test_a_server_that_stays_overloaded_is_unavailable_after_a_bounded_time(
    store: Store, proxy: FaultProxy, naps: list[float]
) -> None:
    proxy.fault = lambda _method, path, _size: OVERLOADED if path.startswith("/_bulk") else None
    with pytest.raises(StoreUnavailable, match="4 of 4 documents were not written"):
        store.publish(Publication(scores=(block([key]),)))
    assert len(naps) == 4
    assert sum(naps) < 10
    proxy.fault = lambda *_: None
    publish(store, scores=[block([key])])
    assert store.scores([key.id], *EVER, 10)[0].start.size == 4


def test_a_publication_that_was_cut_off_is_completed_by_publishing_it_again(store: Store, proxy: FaultProxy) -> None:
    publication = Publication(
        scores=(block(keys(1_500), size=2),), anomalies=((1, anomaly(key)),), series=(record(key, fitted=False),)
    )
    proxy.fault = lambda _method, path, _size: (
        "cut after" if path.startswith("/_bulk") and len(proxy.of("PUT", "/_bulk")) > 1 else None
    )
    with pytest.raises(StoreUnavailable):
        store.publish(publication)
    proxy.fault = lambda *_: None
    store.publish(publication)
    store.refresh()
    assert len(store.latest(None, 0)) == 1_500
    assert store.anomalies(*EVER) == [anomaly(key)]


def test_many_documents_go_in_bounded_requests_and_smaller_ones_where_a_proxy_asks(store: Store, proxy: FaultProxy) -> None:
    many = keys(5_000)
    store.publish(Publication(series=tuple(record(each, fitted=False) for each in many)))
    assert len(proxy.of("PUT", "/_bulk")) == 3
    proxy.fault = lambda _method, path, size: (
        (413, {"error": "too large"}) if path.startswith("/_bulk") and size > 40_000 else None
    )
    publish(store, scores=[block(many[:2_000], size=1)])
    assert len(store.latest(None, 0)) == 2_000


def test_a_commit_whose_answer_was_lost_is_sent_once_and_says_that_it_is_uncertain(store: Store, proxy: FaultProxy) -> None:
    token = store.commit_head(HEAD, None)
    following = json.dumps({"now": 2, "nonce": "mine"}).encode()
    sent = len(proxy.of("PUT", "_doc/head"))
    proxy.fault = lambda method, path, _size: "cut after" if method == "PUT" and "_doc/head" in path else None
    with pytest.raises(StoreUnavailable):
        store.commit_head(following, token)
    assert len(proxy.of("PUT", "_doc/head")) == sent + 1
    loaded = store.load_head()
    assert loaded is not None
    assert loaded[0] == following  # the nonce tells the writer that it has committed


def test_a_block_whose_answer_was_lost_is_there(store: Store, proxy: FaultProxy) -> None:
    left = [1]

    def fault(method: str, path: str, _size: int) -> str | None:
        if method != "PUT" or "block-" not in path or not left[0]:
            return None
        left[0] -= 1
        return "cut after"

    proxy.fault = fault  # type: ignore[assignment]  # a literal that mypy takes for any text
    assert store.get_block(store.put_block(b"content", 7)) == b"content"
    assert store.sweep((), 7) == 0


def test_only_indices_of_ours_are_dropped(store: Store, es_client: Elasticsearch, es_prefix: str) -> None:
    publish(store, scores=[block([key], MARCH - 40 * DAY, 1), block([key], MARCH, 1)])
    es_client.indices.create(index=f"{es_prefix}-scores-backup")
    es_client.indices.create(index=f"{es_prefix}-other-2020.01")
    assert store.drop_before(MARCH) == 1
    left = set(es_client.indices.get(index=f"{es_prefix}-*", filter_path="*.aliases"))
    assert left == {f"{es_prefix}-{rest}" for rest in ("scores-2026.03", "scores-backup", "other-2020.01", "state")}
