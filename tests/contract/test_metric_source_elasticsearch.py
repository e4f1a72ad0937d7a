"""What only Elasticsearch can do to a reader of metrics: limits, partial answers, faults, mappings, privileges.

Faults are made by a transport that records what goes to the real server and changes what comes back.
"""

import json
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from elastic_transport import ConnectionError as ConnectionFailed
from elastic_transport import ConnectionTimeout, Urllib3HttpNode
from elastic_transport._node import NodeApiResponse
from elasticsearch import Elasticsearch, helpers
from tests.contract.metric_source_places import MAPPING, Document, detector, expected, nested
from tests.elasticsearch_server import remove_everything

from forewarn.detector import Detector, Selection
from forewarn.errors import SourceRejected, SourceUnavailable
from forewarn.series import TimeGrid
from forewarn.sources.elasticsearch import ElasticsearchMetrics

MINUTE = 60_000
START = 1_767_225_600_000
GRID = TimeGrid(START, MINUTE, 60)
DOCUMENTS: list[Document] = [
    {"@timestamp": START + minute * MINUTE, "service.name": f"s{series}", "host.name": "h", "v": float(minute * series)}
    for minute in range(60)
    for series in range(7)
    if (minute + series) % 5
]


@dataclass(frozen=True)
class Instead:
    """An answer of status 200 in place of the server's."""

    body: dict[str, Any]


@dataclass
class Wire:
    """The requests that went out, and what happens to them.

    `fault` meets the requests number `first` to `last` whose target holds `target`: it is an exception to raise, (status,
    error type) to answer with, keys to put into the server's answer, or Instead.
    """

    fault: object = None
    first: int = 1
    last: int = 1 << 30
    target: str = ""
    searches: list[dict[str, Any]] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)
    sent: int = 0

    def client(self, url: str) -> Elasticsearch:
        wire = self

        class Node(Urllib3HttpNode):
            def perform_request(self, method: str, target: str, body: Any = None, **rest: Any) -> Any:
                if "_search" in target:
                    wire.searches.append(json.loads(body))
                    wire.raw.append(target.encode() + b" " + body)
                wire.sent += 1
                happens = wire.fault if wire.first <= wire.sent <= wire.last and wire.target in target else None
                if isinstance(happens, Exception):
                    raise happens
                meta, answer = super().perform_request(method, target, body, **rest)
                if isinstance(happens, tuple):
                    status, kind = happens
                    meta = replace(meta, status=status)
                    answer = json.dumps(
                        {"error": {"type": kind, "reason": "made up", "root_cause": []}, "status": status}
                    ).encode()
                elif isinstance(happens, Instead):
                    meta, answer = replace(meta, status=200), json.dumps(happens.body).encode()
                elif isinstance(happens, dict):
                    answer = json.dumps(json.loads(answer) | happens).encode()
                return NodeApiResponse(meta, answer)

        return Elasticsearch(url, node_class=Node, max_retries=0, request_timeout=60)

    def source(self, url: str, page_size: int = 5000) -> ElasticsearchMetrics:
        return ElasticsearchMetrics(self.client(url), page_size=page_size, sleep=self.waited.append)


@pytest.fixture(scope="module")
def index(es_client: Elasticsearch) -> Iterator[str]:
    prefix = f"t{uuid.uuid4().hex[:12]}"
    yield indexed(es_client, f"{prefix}-m", DOCUMENTS)
    remove_everything(es_client, prefix)


def indexed(client: Elasticsearch, name: str, documents: Sequence[Document]) -> str:
    client.indices.create(index=name, mappings=MAPPING, settings={"number_of_shards": 2, "number_of_replicas": 0})
    helpers.bulk(client, [{"_index": name, "_source": nested(document)} for document in documents], refresh=True)
    return name


def split(index: str, function: str = "avg", value: str | None = "v") -> Detector:
    return detector(Selection(index=index), function, value, ("service.name", "host.name"), step=MINUTE)


def same(source: ElasticsearchMetrics, asked: Detector, grid: TimeGrid = GRID) -> bool:
    found, wanted = source.read(asked, grid), expected(DOCUMENTS, asked, grid)
    return found.keys == wanted.keys and np.allclose(found.values, wanted.values, equal_nan=True)


@pytest.fixture
def few_buckets(es_client: Elasticsearch) -> Iterator[int]:
    before = es_client.cluster.get_settings(flat_settings=True)["persistent"].get("search.max_buckets")
    es_client.cluster.put_settings(persistent={"search.max_buckets": 20})
    yield 20
    es_client.cluster.put_settings(persistent={"search.max_buckets": before})


def test_pages_and_slices_shrink_until_the_server_accepts_them(elasticsearch_url: str, index: str, few_buckets: int) -> None:
    wire = Wire()
    assert same(wire.source(elasticsearch_url), split(index))
    sizes = [search["aggs"]["b"]["composite"]["size"] for search in wire.searches]
    assert sizes[0] == 5000
    assert sizes[-1] <= few_buckets
    assert sizes == sorted(sizes, reverse=True)
    whole = detector(Selection(index=index), "count", step=MINUTE)
    assert same(wire.source(elasticsearch_url), whole)


def test_it_is_unavailable_when_the_server_accepts_not_even_one_bucket(elasticsearch_url: str, index: str) -> None:
    for asked in (split(index), detector(Selection(index=index))):
        for kind, status in (("too_many_buckets_exception", 400), ("circuit_breaking_exception", 429)):
            wire = Wire((status, kind))
            with pytest.raises(SourceUnavailable):
                wire.source(elasticsearch_url, page_size=16).read(asked, GRID)
            assert len(wire.searches) == 5  # 16, 8, 4, 2, 1
            assert wire.waited == []


@pytest.mark.parametrize("page_size", [1, 3, 7, 5000])
def test_every_page_size_reads_the_same(elasticsearch_url: str, index: str, page_size: int) -> None:
    for asked in (split(index), split(index, "p95"), detector(Selection(index=index), "max", "v", step=MINUTE)):
        assert same(Wire().source(elasticsearch_url, page_size), asked, TimeGrid(START, MINUTE, 12))


def test_a_long_grid_is_read_in_slices_of_about_a_page(elasticsearch_url: str, index: str) -> None:
    wire = Wire()
    assert same(wire.source(elasticsearch_url, page_size=100), split(index))
    assert len(wire.searches) <= 2 * 10
    spans = [next(iter(search["query"]["bool"]["filter"][0]["range"].values())) for search in wire.searches]
    assert all(span["format"] == "epoch_millis" for span in spans)
    assert all(span[side] % MINUTE == 0 for span in spans for side in ("gte", "lt"))


def test_one_live_bin_is_read_without_time_among_the_sources(elasticsearch_url: str, index: str) -> None:
    wire = Wire()
    wire.source(elasticsearch_url).read(split(index), TimeGrid(START, MINUTE, 1))
    names = [next(iter(source)) for source in wire.searches[0]["aggs"]["b"]["composite"]["sources"]]
    assert names == ["0", "1"]


def test_the_same_read_sends_the_same_bytes_for_the_cache_of_the_shards(elasticsearch_url: str, index: str) -> None:
    wire = Wire()
    source = wire.source(elasticsearch_url, page_size=50)
    for _ in range(2):
        source.read(split(index), GRID)
    half = len(wire.raw) // 2
    assert wire.raw[:half] == wire.raw[half:]


PARTIAL = [
    {"timed_out": True},
    {"_shards": {"failed": 1, "total": 2}},
    {"terminated_early": True},
    {"_clusters": {"total": 2, "successful": 1, "skipped": 1}},
    {"_clusters": {"total": 2, "successful": 1, "skipped": 0, "partial": 1}},
    {"_shards": None},
]


@pytest.mark.parametrize("part", PARTIAL)
@pytest.mark.parametrize("at", [1, 3])
def test_a_part_of_an_answer_is_never_a_value(elasticsearch_url: str, index: str, part: dict[str, Any], at: int) -> None:
    wire = Wire(part, first=at)
    with pytest.raises(SourceUnavailable, match="part of the answer"):
        wire.source(elasticsearch_url, page_size=20).read(split(index), GRID)
    assert len(wire.waited) == 2  # it was asked for again, twice


FAULTS: list[object] = [
    (503, "no_shard_available_action_exception"), (429, "es_rejected_execution_exception"), (502, "bad_gateway"),
    ConnectionFailed("refused"), PARTIAL[1],
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_what_may_pass_is_tried_again_after_growing_pauses(elasticsearch_url: str, index: str, fault: object) -> None:
    wire = Wire(fault, last=2)
    assert same(wire.source(elasticsearch_url), split(index))
    assert wire.waited == sorted(wire.waited)
    assert len(wire.waited) == 2
    wire = Wire(fault)
    with pytest.raises(SourceUnavailable):
        wire.source(elasticsearch_url).read(split(index), GRID)
    assert wire.sent == 3


@pytest.mark.parametrize("fault", [ConnectionTimeout("too long"), (504, "search_timeout_exception")])
def test_what_took_too_long_is_left_for_the_next_tick(elasticsearch_url: str, index: str, fault: object) -> None:
    wire = Wire(fault)
    with pytest.raises(SourceUnavailable):
        wire.source(elasticsearch_url).read(split(index), GRID)
    assert wire.sent == 1


def test_nobody_there_is_unavailable() -> None:
    source = ElasticsearchMetrics(Elasticsearch("http://127.0.0.1:9", max_retries=0), sleep=lambda _: None)
    with pytest.raises(SourceUnavailable):
        source.read(split("any"), GRID)
    with pytest.raises(SourceUnavailable):
        source.check(split("any"))
    source.close()


def test_a_text_field_is_rejected_with_the_name_of_the_field_to_take(elasticsearch_url: str, index: str) -> None:
    source = Wire().source(elasticsearch_url)
    with pytest.raises(SourceRejected, match=r"'message' is of type text.*use message\.keyword"):
        source.read(detector(Selection(index=index), split_by=("message",)), GRID)
    with pytest.raises(SourceRejected, match=r"'note' is of type text and cannot be aggregated$"):
        source.read(detector(Selection(index=index), split_by=("note",)), GRID)
    problems = source.check(detector(Selection(index=index), "cardinality", "message", ("message",)))
    assert [(problem.setting, "message.keyword" in problem.why) for problem in problems] == [
        ("field", True),
        ("split_by", True),
    ]


def test_a_missing_index_among_several_is_named(elasticsearch_url: str, index: str) -> None:
    source = Wire().source(elasticsearch_url)
    with pytest.raises(SourceRejected, match="gone-index"):
        source.read(split(f"{index},gone-index"), GRID)
    assert same(source, split(f"{index},gone-*"))


def test_check_reports_types_that_differ_between_indices(elasticsearch_url: str, es_client: Elasticsearch, index: str) -> None:
    other = f"{index}-2"
    es_client.indices.create(
        index=other,
        mappings={"properties": {"@timestamp": {"type": "date"}, "v": {"type": "keyword"}, "region": {"type": "long"}}},
    )
    asked = detector(Selection(index=f"{index}*"), "avg", "v", ("region",))
    problems = {problem.setting: problem.why for problem in Wire().source(elasticsearch_url).check(asked)}
    assert problems.keys() == {"field", "split_by"}
    assert "double" in problems["field"]
    assert f"keyword (in {other})" in problems["field"]


def test_check_reports_values_that_the_mapping_leaves_out(
    elasticsearch_url: str, es_client: Elasticsearch, es_prefix: str
) -> None:
    index = indexed(es_client, f"{es_prefix}-cut", [{"@timestamp": START, "short": "much too long"}])
    problems = Wire().source(elasticsearch_url).check(detector(Selection(index=index), split_by=("short",)))
    assert [(problem.setting, problem.why[:12]) for problem in problems] == [("split_by", "1 documents ")]


def test_check_reports_a_missing_privilege_where_the_server_has_security(elasticsearch_url: str, index: str) -> None:
    def answering(granted: bool) -> Wire:
        answer = {"username": "job", "has_all_requested": granted, "index": {index: {"read": granted}}}
        return Wire(Instead(answer), target="has_privileges")

    source = answering(granted=False).source(elasticsearch_url)
    assert [(p.setting, p.why) for p in source.check(split(index))] == [("index", f"job lacks the privilege read on {index}")]
    assert answering(granted=True).source(elasticsearch_url).check(split(index)) == []
    elsewhere = answering(granted=False).source(elasticsearch_url).check(split("far:metrics"))
    assert [problem.setting for problem in elsewhere] == ["index"]
    assert "far" in elsewhere[0].why
    assert "privilege" not in elsewhere[0].why
