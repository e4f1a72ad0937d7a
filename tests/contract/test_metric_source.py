"""Every adapter of `MetricSource` gives what its docstring says for the same documents in a real Elasticsearch and in files."""

import random
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from elasticsearch import Elasticsearch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.contract.metric_source_places import (
    Document,
    Place,
    detector,
    elasticsearch_place,
    expected,
    file_place,
    values_in,
)
from tests.elasticsearch_server import remove_everything

from forewarn.connection import ElasticSettings
from forewarn.detector import Detector, Selection
from forewarn.elastic import connect
from forewarn.errors import SourceRejected
from forewarn.series import SeriesBatch, SeriesKey, TimeGrid

MINUTE = 60_000
START = 1_767_225_600_000  # 2026-01-01T00:00Z
GRID = TimeGrid(START, 5 * MINUTE, 36)
SPLITS: tuple[tuple[str, ...], ...] = (
    (), ("service.name",), ("service.name", "host.name"), ("region", "service.name", "host.name"), ("code",),
)  # fmt: skip
FUNCTIONS = (
    ("count", None), ("rate", None), ("sum", "v"), ("avg", "v"), ("min", "v"), ("max", "v"), ("median", "v"), ("p95", "v"),
    ("p99.5", "v"), ("cardinality", "user"), ("avg", "code"),
)  # fmt: skip
PLACES = ("elasticsearch", "ndjson", "csv", "parquet")


def flat_documents() -> list[Document]:
    rng = random.Random(11)  # noqa: S311  made-up data
    documents = []
    for number in range(900):
        minute = rng.choice([rng.randrange(-20, 60), rng.randrange(110, 200)])  # nothing between: empty buckets
        document = {"id": str(number), "@timestamp": START + minute * MINUTE + rng.randrange(MINUTE)}
        document["service.name"] = rng.choice(["web", "db", "a,b={}", 'Ünïcode "quoted"', None])
        document["host.name"] = rng.choice([f"h{rng.randrange(4)}", None])
        document["region"] = rng.choice(["eu", "us"])
        document["user"] = f"u{rng.randrange(30)}"
        document["code"] = rng.choice([200, 404, 500])
        document["v"] = rng.gauss(100, 20)
        for field in ("host.name", "v", "user"):
            if rng.random() < 0.15:
                del document[field]
        documents.append({name: value for name, value in document.items() if value is not None})
    # A service whose documents have no value at all: 0 for sum and cardinality, no data for the rest.
    documents += [{"id": f"x{n}", "@timestamp": START + n * MINUTE, "service.name": "mute"} for n in range(12)]
    return documents


def listed_documents() -> list[Document]:
    rng = random.Random(12)  # noqa: S311  made-up data
    documents: list[Document] = []
    for number in range(400):
        document: dict[str, object] = {"id": f"l{number}", "@timestamp": START + rng.randrange(120) * MINUTE}
        document["service.name"] = rng.choice(["web", ["web", "db"], ["web", "web"], [], None, "", ["", "db"]])
        document["host.name"] = rng.choice(["h1", "h2", ["h1", "h3"], None, ""])
        document["region"] = rng.choice(["eu", ["us", "eu"]])
        document["user"] = [f"u{rng.randrange(9)}" for _ in range(rng.randrange(3))]
        document["v"] = [rng.gauss(0, 1) for _ in range(rng.randrange(4))]
        documents.append(document)
    return documents


@dataclass
class Arranged:
    """One place with the documents of this module in it."""

    place: Place
    flat: Callable[..., Selection]
    listed: Callable[..., Selection] | None


@pytest.fixture(scope="module", params=PLACES)
def arranged(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arranged]:
    if request.param != "elasticsearch":
        yield _fill(file_place(tmp_path_factory.mktemp(request.param), request.param))
        return
    client: Elasticsearch = request.getfixturevalue("es_client")
    settings = ElasticSettings(hosts=(request.getfixturevalue("elasticsearch_url"),))
    prefix = f"t{uuid.uuid4().hex[:12]}"
    place = elasticsearch_place(client, connect(settings, "contract"), prefix)
    yield _fill(place)
    place.source.close()
    remove_everything(client, prefix)


def _fill(place: Place) -> Arranged:
    return Arranged(place, place.put("flat", FLAT), place.put("listed", LISTED) if place.lists else None)


FLAT, LISTED = flat_documents(), listed_documents()


def assert_same(found: SeriesBatch, wanted: SeriesBatch, rtol: float = 1e-9) -> None:
    assert found.grid == wanted.grid
    assert found.keys == wanted.keys
    np.testing.assert_allclose(found.values, wanted.values, rtol=rtol, atol=1e-9)


@pytest.mark.parametrize(("function", "field"), FUNCTIONS)
def test_every_function_gives_its_value_over_the_documents_of_each_bucket(
    arranged: Arranged, function: str, field: str | None
) -> None:
    asked = detector(arranged.flat(), function, field, ("service.name",))
    assert_same(arranged.place.source.read(asked, GRID), expected(FLAT, asked, GRID))


@pytest.mark.parametrize("split_by", SPLITS)
@pytest.mark.parametrize(("function", "field"), [("count", None), ("avg", "v"), ("p95", "v")])
def test_split_fields_give_a_sorted_series_for_each_combination_with_empty_text_for_missing(
    arranged: Arranged, split_by: tuple[str, ...], function: str, field: str | None
) -> None:
    asked = detector(arranged.flat(), function, field, split_by)
    found = arranged.place.source.read(asked, GRID)
    assert_same(found, expected(FLAT, asked, GRID))
    assert list(found.keys) == sorted(found.keys)
    assert np.isnan(found.values).any()


@pytest.mark.parametrize("split_by", SPLITS[:4])
@pytest.mark.parametrize(("function", "field"), [*FUNCTIONS[:8], ("cardinality", "user")])
def test_lists_are_several_values_and_a_document_counts_once_for_each_different_split_value(
    arranged: Arranged, split_by: tuple[str, ...], function: str, field: str | None
) -> None:
    if arranged.listed is None:  # CSV has no lists; what it reads of a cell is covered by the flat documents
        assert not arranged.place.lists
        return
    asked = detector(arranged.listed(), function, field, split_by)
    assert_same(arranged.place.source.read(asked, GRID), expected(LISTED, asked, GRID))


@pytest.mark.parametrize("split_by", [(), ("service.name",)])
def test_ratio_is_the_share_of_the_documents_that_match_of(arranged: Arranged, split_by: tuple[str, ...]) -> None:
    for of in (
        "code:>=500",
        {"range": {"code": {"gte": 500}}},
        {"bool": {"must_not": [{"terms": {"code": [200, 404]}}], "filter": [{"exists": {"field": "code"}}]}},
    ):
        asked = detector(arranged.flat(), "ratio", None, split_by, of=of)
        wanted = expected(FLAT, asked, GRID, of=lambda document: document.get("code", 0) >= 500)
        assert_same(arranged.place.source.read(asked, GRID), wanted)


@pytest.mark.parametrize("min_count", [2, 4, 9])
@pytest.mark.parametrize(
    ("function", "field"),
    [("ratio", None), ("avg", "v"), ("min", "v"), ("max", "v"), ("median", "v"), ("p95", "v"), ("avg", "code")],
)
def test_a_bucket_with_fewer_values_or_documents_than_min_count_has_no_data(
    arranged: Arranged, function: str, field: str | None, min_count: int
) -> None:
    asked = detector(arranged.flat(), function, field, ("service.name",), of="code:200" if function == "ratio" else None)
    every = arranged.place.source.read(asked, GRID)
    found = arranged.place.source.read(replace(asked, min_count=min_count), GRID)
    of = lambda document: document.get("code") == 200  # noqa: E731 - a name for a condition
    assert_same(found, expected(FLAT, replace(asked, min_count=min_count), GRID, of=of))
    assert np.isnan(found.values).sum() > np.isnan(every.values).sum()
    whole = arranged.place.source.read(replace(asked, min_count=min_count, split_by=()), GRID)
    assert_same(whole, expected(FLAT, replace(asked, min_count=min_count, split_by=()), GRID, of=of))
    if arranged.listed is not None:
        listed = replace(asked, min_count=min_count, selection=arranged.listed())
        assert_same(arranged.place.source.read(listed, GRID), expected(LISTED, listed, GRID, of=of))


@pytest.mark.parametrize(
    "query",
    [
        "service.name: web AND v:[90 TO *]",
        "+service.name:web +v:>=90",
        {"bool": {"filter": [{"term": {"service.name": "web"}}, {"range": {"v": {"gte": 90}}}]}},
    ],
)
def test_the_query_selects_the_documents(arranged: Arranged, query: str | dict[str, object]) -> None:
    asked = detector(arranged.flat(query=query), "count", None, ("host.name",))
    matching = [d for d in FLAT if d.get("service.name") == "web" and d.get("v", 0) >= 90]
    assert_same(arranged.place.source.read(asked, GRID), expected(matching, asked, GRID))


@pytest.mark.parametrize("times", [2, 3, 12])
@pytest.mark.parametrize(("function", "field"), [("count", None), ("rate", None), ("avg", "v"), ("p95", "v")])
def test_a_coarse_grid_applies_the_function_to_its_own_buckets(
    arranged: Arranged, times: int, function: str, field: str | None
) -> None:
    asked = detector(arranged.flat(), function, field, ("service.name",))
    grid = TimeGrid(START, times * asked.step, GRID.size // times)
    assert_same(arranged.place.source.read(asked, grid), expected(FLAT, asked, grid))


def test_a_single_bucket_is_read_like_any_other(arranged: Arranged) -> None:
    for column in (0, 5, 23, 30):
        grid = TimeGrid(GRID.start + column * GRID.step, GRID.step, 1)
        for split_by in SPLITS:
            asked = detector(arranged.flat(), "avg", "v", split_by)
            assert_same(arranged.place.source.read(asked, grid), expected(FLAT, asked, grid))


def test_a_bucket_holds_its_start_and_not_its_end(arranged: Arranged) -> None:
    edge = START + 100 * 5 * MINUTE
    times = (edge - 1, edge, edge + 5 * MINUTE - 1, edge + 5 * MINUTE)
    selection = arranged.place.put("edges", [{"id": str(n), "@timestamp": time} for n, time in enumerate(times)])
    found = arranged.place.source.read(detector(selection()), TimeGrid(edge, 5 * MINUTE, 1))
    assert found.values.tolist() == [[2.0]]
    found = arranged.place.source.read(detector(selection()), TimeGrid(edge - 5 * MINUTE, 5 * MINUTE, 3))
    assert found.values.tolist() == [[1.0, 2.0, 1.0]]


def test_only_keys_with_documents_on_the_grid_are_given(arranged: Arranged) -> None:
    asked = detector(arranged.flat(), "count", None, ("service.name",))
    quiet = TimeGrid(START + 65 * MINUTE, 5 * MINUTE, 8)
    found = arranged.place.source.read(asked, quiet)
    assert found.keys == ()
    assert found.values.shape == (0, 8)
    assert arranged.place.source.read(asked, TimeGrid(START, 5 * MINUTE, 0)).values.shape == (0, 0)


def test_fields_that_no_document_has_leave_no_value(arranged: Arranged) -> None:
    asked = detector(arranged.flat(), "avg", "nowhere", ("region", "absent"))
    found = arranged.place.source.read(asked, GRID)
    assert {key.entity[1] for key in found.keys} == {("absent", "")}
    assert np.isnan(found.values).all()
    summed = arranged.place.source.read(replace(asked, function="sum"), GRID)
    counted = arranged.place.source.read(replace(asked, function="count", field=None), GRID)
    np.testing.assert_array_equal(summed.values, np.where(np.isnan(counted.values), np.nan, 0))


@settings(max_examples=15, deadline=None)
@given(
    start=st.integers(-3, 30),
    sizes=st.lists(st.integers(1, 12), min_size=1, max_size=4),
    chosen=st.sampled_from([*FUNCTIONS, ("ratio", None)]),
    split_by=st.sampled_from(SPLITS),
)
@example(start=12, sizes=[1, 1, 9, 4], chosen=("avg", "v"), split_by=("service.name", "host.name"))
def test_any_slicing_of_a_grid_reads_the_same_values(
    arranged: Arranged, start: int, sizes: list[int], chosen: tuple[str, str | None], split_by: tuple[str, ...]
) -> None:
    of = "code:200" if chosen[0] == "ratio" else None
    asked = detector(arranged.flat(), *chosen, split_by, of)
    whole = arranged.place.source.read(asked, TimeGrid(START + start * GRID.step, GRID.step, sum(sizes)))
    parts, seen = [], set[SeriesKey]()
    for size in sizes:
        part = arranged.place.source.read(asked, TimeGrid(START + start * GRID.step, GRID.step, size))
        parts.append(part.take(whole.keys).values)
        seen |= set(part.keys)
        start += size
    assert seen == set(whole.keys)
    np.testing.assert_array_equal(np.hstack(parts), whole.values)


@settings(max_examples=15, deadline=None)
@given(column=st.integers(-3, 30), times=st.integers(2, 12), split_by=st.sampled_from(SPLITS))
def test_the_count_of_a_bucket_is_the_sum_of_the_counts_of_its_parts(
    arranged: Arranged, column: int, times: int, split_by: tuple[str, ...]
) -> None:
    asked = detector(arranged.flat(), split_by=split_by)
    coarse = TimeGrid((START + column * GRID.step) // (times * GRID.step) * (times * GRID.step), times * GRID.step, 3)
    fine = TimeGrid(coarse.start, GRID.step, 3 * times)
    whole = arranged.place.source.read(asked, coarse)
    parts = arranged.place.source.read(asked, fine)
    assert whole.keys == parts.keys
    summed = np.nan_to_num(parts.values).reshape(len(parts.keys), 3, times).sum(axis=2)
    np.testing.assert_array_equal(np.nan_to_num(whole.values), summed)


def test_percentiles_and_cardinality_of_many_values_are_right_within_the_stated_tolerance(arranged: Arranged) -> None:
    """Rank errors of percentiles stay below 1 %, cardinality below 5 %; files are exact."""
    rng = np.random.default_rng(5)
    values = rng.lognormal(3, 1, 4000)
    documents: list[Document] = [
        {"id": str(n), "@timestamp": START + n % 5 * MINUTE, "v": float(value), "user": f"user {n % 3700}"}
        for n, value in enumerate(values)
    ]
    selection = arranged.place.put("many", documents)
    for function, share in (("median", 0.5), ("p10", 0.1), ("p99", 0.99)):
        found = arranged.place.source.read(detector(selection(), function, "v"), TimeGrid(START, 5 * MINUTE, 1))
        assert abs(np.mean(values <= found.values[0, 0]) - share) < 0.01
    found = arranged.place.source.read(detector(selection(), "cardinality", "user"), TimeGrid(START, 5 * MINUTE, 1))
    assert found.values[0, 0] == pytest.approx(3700, rel=0.05)


def test_reading_again_gives_the_same_values_to_the_last_bit(arranged: Arranged) -> None:
    for chosen in FUNCTIONS:
        asked = detector(arranged.flat(), *chosen, ("service.name", "host.name"))
        first, second = (arranged.place.source.read(asked, GRID) for _ in range(2))
        assert first.keys == second.keys
        assert first.values.tobytes() == second.values.tobytes()


def test_a_pattern_that_matches_nothing_gives_no_series_and_a_plain_name_is_rejected(
    arranged: Arranged, tmp_path: Path
) -> None:
    def at(name: str) -> Detector:
        index = arranged.flat().index is not None
        return detector(
            Selection(index=name) if index else Selection(path=str(tmp_path / f"{name}.ndjson")), "avg", "v", ("region",)
        )

    assert arranged.place.source.read(at("absent-*"), GRID).keys == ()
    assert [problem.setting for problem in arranged.place.source.check(at("absent-*"))] in (["index"], ["path"])
    with pytest.raises(SourceRejected, match="absent") as raised:
        arranged.place.source.read(at("absent"), GRID)
    assert "absent" in raised.value.source
    assert [problem.setting for problem in arranged.place.source.check(at("absent"))] in (["index"], ["path"])


def test_check_finds_nothing_wrong_with_what_can_be_read(arranged: Arranged) -> None:
    asked = detector(
        arranged.flat(query="service.name:web OR code:[1 TO 5}"), "avg", "v", ("region", "service.name", "host.name")
    )
    assert arranged.place.source.check(asked) == []


def test_check_names_every_setting_that_stands_in_the_way(arranged: Arranged) -> None:
    good = detector(arranged.flat(), "avg", "v", ("region",))
    wrong = {
        "field": replace(good, field="nowhere"),
        "split_by": replace(good, split_by=("region", "nowhere")),
        "time_field": replace(good, selection=replace(good.selection, time_field="nowhen")),
        "query": replace(good, selection=replace(good.selection, query="service.name:(web")),
        "of": replace(good, function="ratio", field=None, of="v:["),
        "function": replace(good, function="mode"),
    }
    for setting, asked in wrong.items():
        problems = arranged.place.source.check(asked)
        assert setting in [problem.setting for problem in problems]
        assert all(problem.why for problem in problems)
    assert [p.setting for p in arranged.place.source.check(replace(good, field="user"))] == ["field"]


@pytest.mark.parametrize(
    "change",
    [
        {"function": "mode"}, {"field": None}, {"function": "count"}, {"function": "ratio", "field": None},
        {"of": "v:1"}, {"split_by": ("region", "region")}, {"field": "user"}, {"function": "sum", "min_count": 2},
    ],
)  # fmt: skip
def test_a_detector_that_makes_no_sense_is_rejected(arranged: Arranged, change: dict[str, object]) -> None:
    asked = replace(detector(arranged.flat(), "avg", "v", ("region",)), **change)  # type: ignore[arg-type]  # fields by name
    with pytest.raises(SourceRejected):
        arranged.place.source.read(asked, GRID)
    assert arranged.place.source.check(asked)


@pytest.mark.parametrize("query", ["service.name:(web", "v:[1", 'service.name:"web', {"frobnicate": {"v": 1}}])
def test_a_query_that_does_not_parse_is_rejected(arranged: Arranged, query: str | dict[str, object]) -> None:
    with pytest.raises(SourceRejected):
        arranged.place.source.read(detector(arranged.flat(query=query)), GRID)
    assert [problem.setting for problem in arranged.place.source.check(detector(arranged.flat(query=query)))] == ["query"]


def test_the_generated_documents_hold_what_the_tests_are_about() -> None:
    times = [document["@timestamp"] for document in FLAT]
    assert min(times) < GRID.start
    assert max(times) >= GRID.end
    assert any(values_in(d, "service.name") == [""] for d in LISTED)
    assert any(not values_in(d, "service.name") for d in LISTED)
