"""Log lines from Elasticsearch when it is in the way: cut connections, partial answers, lost points in time, odd mappings."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from elasticsearch import Elasticsearch, helpers
from tests.contract.fault_proxy import Fault, FaultProxy, proxy_before
from tests.contract.log_source_places import ElasticsearchPlace, expected, lines_of

from forewarn.detector import Selection
from forewarn.errors import SourceUnavailable
from forewarn.pattern import LogStream
from forewarn.sources.elasticsearch_logs import ElasticsearchLogs

START = 1_767_225_600_000
END = START + 3_600_000
MADE = [{"@timestamp": START + number * 1000, "message": f"line {number}", "service.name": "web"} for number in range(90)]
LOST = {"error": {"type": "search_phase_execution_exception", "root_cause": [{"type": "search_context_missing_exception"}]}}


@pytest.fixture
def proxy(elasticsearch_url: str) -> Iterator[FaultProxy]:
    with proxy_before(elasticsearch_url) as one:
        yield one


@pytest.fixture
def stream(es_client: Elasticsearch, es_prefix: str) -> LogStream:
    return LogStream("app", ElasticsearchPlace(es_client, es_prefix).put("a", MADE), split_by=("service.name",))


def reader(proxy: FaultProxy, slept: list[float]) -> ElasticsearchLogs:
    return ElasticsearchLogs(Elasticsearch(proxy.url, request_timeout=20), page=20, sleep=slept.append)


def nth(number: int, fault: Fault, part: str = "_search") -> Any:
    seen = 0

    def decide(_method: str, path: str, _size: int) -> Fault:
        nonlocal seen
        seen += part in path
        return fault if part in path and seen == number else None

    return decide


@pytest.mark.parametrize("fault", ["cut before", "cut after", (404, LOST), (503, {"error": {"type": "x"}})])
def test_a_read_goes_on_where_it_was_when_one_request_failed(proxy: FaultProxy, stream: LogStream, fault: Fault) -> None:
    for number in (1, 3, 5):
        slept: list[float] = []
        proxy.fault = nth(number, fault)
        with closing(reader(proxy, slept)) as source:
            assert lines_of(source.read(stream, START, END)) == expected(MADE, stream, START, END)
        assert slept == [0.5]


def test_a_cluster_that_stays_away_is_unavailable(proxy: FaultProxy, stream: LogStream) -> None:
    slept: list[float] = []
    proxy.fault = lambda _method, path, _size: (503, {"error": {"type": "x"}}) if "_search" in path else None
    with closing(reader(proxy, slept)) as source, pytest.raises(SourceUnavailable):
        list(source.read(stream, START, END))
    assert slept == [0.5, 2.0]


@pytest.mark.parametrize(
    "answer",
    [
        {"timed_out": True, "_shards": {"failed": 0}, "hits": {"hits": []}},
        {"timed_out": False, "_shards": {"failed": 1}, "hits": {"hits": []}},
        {"timed_out": False, "terminated_early": True, "_shards": {"failed": 0}, "hits": {"hits": []}},
        {"hits": {"hits": []}},
    ],
)
def test_a_partial_answer_is_no_answer(proxy: FaultProxy, stream: LogStream, answer: dict[str, Any]) -> None:
    proxy.fault = lambda _method, path, _size: (200, answer) if "_search" in path else None
    with closing(reader(proxy, [])) as source, pytest.raises(SourceUnavailable, match="only a part"):
        list(source.read(stream, START, END))


def test_an_answer_that_is_too_large_is_asked_for_in_smaller_parts(proxy: FaultProxy, stream: LogStream) -> None:
    slept: list[float] = []
    proxy.fault = nth(1, (429, {"error": {"type": "circuit_breaking_exception", "reason": "Data too large"}}))
    with closing(reader(proxy, slept)) as source:
        pages = list(source.read(stream, START, END))
    assert lines_of(pages) == expected(MADE, stream, START, END)
    assert max(len(page.lines) for page in pages) <= 10
    assert slept == []


def test_the_point_in_time_is_closed_however_a_read_ends(
    proxy: FaultProxy, stream: LogStream, es_client: Elasticsearch
) -> None:
    def open_contexts() -> int:
        stats = es_client.indices.stats(index=stream.selection.index, metric="search")
        return int(stats["_all"]["primaries"]["search"]["open_contexts"])

    with closing(reader(proxy, [])) as source:
        list(source.read(stream, START, END))
        abandoned = source.read(stream, START, END)
        next(abandoned)
        assert open_contexts() > 0
        abandoned.close()  # type: ignore[attr-defined]  # every iterator here is a generator
        proxy.fault = nth(2, (400, {"error": {"type": "x"}}))
        with pytest.raises(Exception, match="x"):
            list(source.read(stream, START, END))
    assert open_contexts() == 0


def test_lines_that_were_merged_and_joined_by_others_meanwhile_are_not_read_twice(
    es_client: Elasticsearch, es_prefix: str
) -> None:
    place = ElasticsearchPlace(es_client, es_prefix)
    made = [{"@timestamp": START + number // 4, "message": f"line {number}"} for number in range(200)]
    stream = LogStream("app", place.put("a", made[::2]))
    helpers.bulk(es_client, [
        {"_index": stream.selection.index, "_source": {"@timestamp": one["@timestamp"], "message": one["message"]}}
        for one in made[1::2]
    ], refresh=True)  # fmt: skip
    first = next(iter(place.source(page=50).read(stream, START, END)))
    es_client.indices.forcemerge(index=stream.selection.index, max_num_segments=1)
    rest = lines_of(place.source(page=50).read(stream, START, END, first.cursor))
    assert [*first.lines, *rest] == expected(made, stream, START, END)


def test_messages_are_found_in_every_mapping(es_client: Elasticsearch, es_prefix: str) -> None:
    mappings: list[dict[str, Any]] = [
        {"type": "text"},
        {"type": "text", "store": True},
        {"type": "keyword", "ignore_above": 10},
        {"type": "keyword", "index": False, "doc_values": False},
        {"type": "object", "enabled": False},
    ]
    for number, mapping in enumerate(mappings):
        index = f"{es_prefix}-{number}"
        es_client.indices.create(
            index=index,
            mappings={
                "dynamic": False,
                "properties": {
                    "@timestamp": {"type": "date_nanos" if number % 2 else "date"},
                    "message": mapping,
                    "data": {"properties": {"kind": {"type": "constant_keyword", "value": "web"}}}
                    if False
                    else {"type": "object"},
                },
            },
        )
        es_client.index(
            index=index,
            document={"@timestamp": "2026-01-01T00:00:00.123Z", "message": "a line longer than ten", "unmapped": "web"},
            refresh=True,
        )
        stream = LogStream("app", Selection(index=index), split_by=("unmapped",))
        (line,) = lines_of(ElasticsearchLogs(es_client).read(stream, START, END))
        assert (line.time, line.message, line.entity) == (START + 123, "a line longer than ten", ("web",)), mapping


def test_times_of_both_kinds_are_read_in_one_order(es_client: Elasticsearch, es_prefix: str) -> None:
    for kind in ("date", "date_nanos"):
        es_client.indices.create(
            index=f"{es_prefix}-{kind}",
            mappings={"properties": {"@timestamp": {"type": kind}, "message": {"type": "text"}}},
        )
    made = [{"@timestamp": START + number * 7, "message": f"line {number}"} for number in range(40)]
    helpers.bulk(es_client, [
        {"_index": f"{es_prefix}-{'date' if number % 3 else 'date_nanos'}", "_source": one} for number, one in enumerate(made)
    ], refresh=True)  # fmt: skip
    stream = LogStream("app", Selection(index=f"{es_prefix}-*"))
    assert lines_of(ElasticsearchLogs(es_client, page=6).read(stream, START, END)) == expected(made, stream, START, END)


def test_a_message_that_is_an_object_is_a_problem(es_client: Elasticsearch, es_prefix: str) -> None:
    es_client.index(index=f"{es_prefix}-o", document={"@timestamp": START, "message": {"text": "x"}}, refresh=True)
    problems = ElasticsearchLogs(es_client).check(LogStream("app", Selection(index=f"{es_prefix}-o")))
    assert [problem.setting for problem in problems] == ["time_field", "message"]  # a bare number is mapped as long
    assert problems[1].why == "'message' is an object; name the field in it, such as message.text"
