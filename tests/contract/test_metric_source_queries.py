"""Queries mean the same over files as in Elasticsearch, as far as files understand them; what they do not is refused."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import Elasticsearch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.contract.metric_source_places import Document, detector, elasticsearch_place, file_place
from tests.elasticsearch_server import remove_everything

from forewarn.detector import Query, Selection
from forewarn.errors import SourceRejected
from forewarn.ports import MetricSource
from forewarn.series import TimeGrid

START = 1_767_225_600_000
HOUR = 3_600_000
GRID = TimeGrid(START, HOUR, 72)
NAMES = ("web", "web-1", "db", "a b", "x:y", "é*", "w?b", 'say "hi"', "/var/log", "AND", "back\\slash")
DOCUMENTS: list[Document] = [
    {
        "id": str(number),
        "@timestamp": START + number % 72 * HOUR + number * 1001,
        **({} if number % 7 == 3 else {"service.name": NAMES[number % len(NAMES)]}),
        **({} if number % 5 == 1 else {"host.name": ["h1", f"h{number % 4}"] if number % 3 == 0 else f"h{number % 4}"}),
        **({} if number % 4 == 2 else {"code": (200, 404, 500, 503)[number % 4]}),
        **({} if number % 6 == 5 else {"v": number / 10 - 4}),
    }
    for number in range(120)
]

Reading = tuple[MetricSource, Callable[..., Selection]]


@pytest.fixture(scope="module")
def both(es_client: Elasticsearch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Reading, Reading]]:
    prefix = f"t{uuid.uuid4().hex[:12]}"
    server = elasticsearch_place(es_client, es_client, prefix)
    files = file_place(tmp_path_factory.mktemp("queries"), "ndjson")
    yield (server.source, server.put("q", DOCUMENTS)), (files.source, files.put("q", DOCUMENTS))
    remove_everything(es_client, prefix)


def ids(reading: Reading, query: Query) -> set[str]:
    source, selection = reading
    return {key.entity[0][1] for key in source.read(detector(selection(query=query), split_by=("id",), step=HOUR), GRID).keys}


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def escaped(text: str) -> str:
    return "".join(f"\\{sign}" if sign in '+-&|!(){}[]^"~*?:\\/ ' else sign for sign in text)


names = st.sampled_from(NAMES)
bounds = st.sampled_from(["200", "404", "499", "500", "*"])
numbers = st.sampled_from(["-2.5", "0", "3", "1e1", "*"])
leaves = st.one_of(
    names.map(lambda name: f"service.name:{quoted(name)}"),
    names.filter(lambda name: name != "AND").map(lambda name: f"service.name: {escaped(name)}"),
    st.sampled_from(["w*", "*b*", "?eb", "w\\?b", "web*", "*", "*\\:*", "\\*"]).map(lambda name: f"service.name:{name}"),
    st.sampled_from(["h1", "h2", "(h0 OR h3)", "(h1 AND h2)", "(+h1 -h2)", '("h1" h2)', "nobody"]).map("host.name:{}".format),
    st.builds("code:{}{} TO {}{}".format, st.sampled_from("[{"), bounds, bounds, st.sampled_from("]}")),
    st.builds("v:{}{} TO {}{}".format, st.sampled_from("[{"), numbers, numbers, st.sampled_from("]}")),
    st.builds("code:{}{}".format, st.sampled_from([">", ">=", "<", "<="]), bounds.filter(lambda bound: bound != "*")),
    st.sampled_from(["_exists_:service.name", "_exists_:v", "v:*", "*:*", "code:404", "v:-1.0".replace("-", "\\-"), 'v:"0.5"']),
    st.sampled_from(["[2026-01-02 TO 2026-01-02]", "{2026-01-01 TO *]", "[* TO 2026-01-02T12:00:00Z}"]).map(
        "@timestamp:{}".format
    ),
    st.sampled_from(["<=2026-01-01", ">2026-01-02", '"2026-01-03"']).map("@timestamp:{}".format),
)
queries = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds("{} {} {}".format, inner, st.sampled_from(["AND", "OR", "&&", "||", ""]), inner),
        st.builds("{} {}({})".format, inner, st.sampled_from(["AND NOT ", "NOT ", "OR NOT ", "AND !", "+", "-"]), inner),
        st.builds("({})".format, inner),
        st.builds("{}({})".format, st.sampled_from(["NOT ", "+", "-", "!"]), inner),
    ),
    max_leaves=5,
)


@settings(max_examples=80, deadline=None)
@given(query=queries)
@example(query="code:200 OR code:404 AND host.name:h1")
@example(query="NOT code:200")
@example(query="code:200 AND NOT (host.name:h1 OR NOT v:*)")
@example(query="(NOT host.name:h1) OR code:404")
@example(query="*")
def test_a_lucene_query_selects_the_same_documents_in_files_as_in_elasticsearch(
    both: tuple[Reading, Reading], query: str
) -> None:
    server, files = both
    assert ids(files, query) == ids(server, query)


terms: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({"match_all": {}}),
    names.map(lambda name: {"term": {"service.name": name}}),
    names.map(lambda name: {"term": {"service.name": {"value": name}}}),
    st.lists(st.sampled_from([200, 404, 503]), max_size=3).map(lambda codes: {"terms": {"code": codes}}),
    st.sampled_from(["v", "code", "service.name", "nowhere"]).map(lambda field: {"exists": {"field": field}}),
    st.dictionaries(st.sampled_from(["gte", "gt"]), st.sampled_from([-1, 0, 2.5, 300]), max_size=1).flatmap(
        lambda low: st.dictionaries(st.sampled_from(["lte", "lt"]), st.sampled_from([0, 3, 404]), max_size=1).flatmap(
            lambda high: st.sampled_from(["v", "code"]).map(lambda field: {"range": {field: low | high}})
        )
    ),
    st.sampled_from(["gte", "gt", "lte", "lt"]).flatmap(
        lambda side: st.sampled_from([START + HOUR, "2026-01-02", "2026-01-02T10:00:00Z", "2026-01-02T10:00:00+02:00"]).map(
            lambda time: {"range": {"@timestamp": {side: time}}}
        )
    ),
    st.just({"query_string": {"query": "host.name:h1 AND code:[300 TO 500}"}}),
)
bodies = st.recursive(
    terms,
    lambda inner: (
        st.fixed_dictionaries(
            {},
            optional={
                "must": st.lists(inner, min_size=1, max_size=2),
                "filter": inner,
                "should": st.lists(inner, min_size=1, max_size=3),
                "must_not": st.lists(inner, min_size=1, max_size=2),
            },
        )
        .flatmap(lambda body: st.sampled_from([body, body | ({"minimum_should_match": 1} if "should" in body else {})]))
        .map(lambda body: {"bool": body})
    ),
    max_leaves=5,
)


@settings(max_examples=40, deadline=None)
@given(query=bodies)
@example(query={"bool": {"should": [{"term": {"code": 200}}], "minimum_should_match": 0}})
@example(query={"bool": {"should": [{"term": {"code": 200}}], "must_not": [{"term": {"host.name": "h1"}}]}})
def test_query_dsl_selects_the_same_documents_in_files_as_in_elasticsearch(
    both: tuple[Reading, Reading], query: dict[str, Any]
) -> None:
    server, files = both
    assert ids(files, query) == ids(server, query)


def test_values_that_look_like_sql_are_only_values(both: tuple[Reading, Reading], tmp_path: Path) -> None:
    hostile = "x'); DROP TABLE docs; --"
    field = "a\"b'c;--"
    folder = file_place(tmp_path, "ndjson")
    selection = folder.put("sql'; --", [{"@timestamp": START, field: hostile}, {"@timestamp": START, field: "other"}])
    for query in (f"{escaped(field)}:{quoted(hostile)}", {"term": {field: hostile}}):
        found = folder.source.read(detector(selection(query=query), split_by=(field,), step=HOUR), GRID)
        assert [key.entity for key in found.keys] == [((field, hostile),)]
    assert folder.source.check(detector(selection(), split_by=(field,), step=HOUR)) == []
    with pytest.raises(SourceRejected):
        folder.source.read(detector(selection(query="'; --"), step=HOUR), GRID)
