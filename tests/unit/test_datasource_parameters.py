"""What is read from a request, and that nothing a client can send makes the datasource fail on it."""

from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.golden.datasource_shop import DISK, MORNING, STEP, WEB_1, WEB_2, application, fill

from forewarn.detector import DAY, HOUR
from forewarn.errors import RequestError
from forewarn.stores.sqlite import SqliteStore
from forewarn_datasource import filters, parameters, queries

NOON = 1_795_348_800_000


@pytest.fixture(scope="module")
def client() -> FlaskClient:
    store = SqliteStore(":memory:")
    fill(store)
    return application(store).test_client()


@pytest.mark.parametrize(
    "given_time",
    [
        NOON, float(NOON), str(NOON), f" {NOON} ", "2026-11-22T12:00:00Z", "2026-11-22T12:00:00.000Z",
        "2026-11-22T13:00:00+01:00", "2026-11-22 12:00:00", "2026-11-22T12:00:00.000999Z",
    ],
)  # fmt: skip
def test_a_time_is_epoch_milliseconds_or_iso_with_or_without_milliseconds(given_time: object) -> None:
    assert parameters.moment(given_time, "from") == NOON


@pytest.mark.parametrize(
    ("given_time", "why"),
    [
        (None, "missing"), ("", "missing"), ("now-6h", "expected epoch milliseconds"), (True, "expected epoch milliseconds"),
        (float("nan"), "expected"), ([], "expected"), (NOON // 1000, "looks like seconds"), (-1, "outside"),
        (str(NOON // 1000), "looks like seconds"), (10**17, "outside"), ("1.79e12", "expected"), ("${__from}", "not expanded"),
        ("$__from", "not expanded"), ("%24%7B__from%7D", "not expanded"), ("[[from]]", "not expanded"),
        ("9999-99-99", "expected"), ("1" * 400, "outside"), ("20261122060000000000", "outside"), ("٣", "outside"),
    ],
)  # fmt: skip
def test_any_other_time_is_refused_by_the_name_of_its_parameter(given_time: object, why: str) -> None:
    with pytest.raises(RequestError, match=why) as refused:
        parameters.moment(given_time, "from")
    assert refused.value.field == "from"


def test_a_range_runs_forward_and_is_bounded() -> None:
    assert parameters.window(NOON, NOON, DAY) == parameters.Window(NOON, NOON)
    with pytest.raises(RequestError, match="from: lies after to"):
        parameters.window(NOON + 1, NOON, DAY)
    with pytest.raises(RequestError, match=r"the range is 2 d long; at most 1\.5 h are answered \(max_range\)"):
        parameters.window(NOON, NOON + 2 * DAY, int(1.5 * HOUR))


@pytest.mark.parametrize("value", ["a,b", "{a,b}", "a|b", "(a|b)", ["a", "b"], ["(a|b)", "a"], " a , b ", ["a,b"], "a,,b,a"])
def test_names_come_in_every_form_of_a_multi_value_variable(value: object) -> None:
    assert queries.names(value, "series") == ("a", "b")


def test_a_printed_key_is_one_name_although_it_holds_commas() -> None:
    printed = r"web{host=a\,b,zone=c}"
    assert queries.names(f"{printed},disk", "series") == (printed, "disk")
    assert queries.names(f"{{{printed},disk}}", "series") == (printed, "disk")


def test_no_parameter_an_empty_menu_and_an_empty_variable_are_told_apart() -> None:
    assert queries.names(None, "series") is None
    assert queries.names([], "series") is None
    assert queries.names("", "series") == ()
    assert queries.plain_names("", "detector") is None
    assert queries.plain_names("*", "detector") is None
    assert queries.plain_names(r"web\.errors", "detector") == ("web.errors",)
    assert queries.severities("Critical,major", "severity") == {"critical", "major"}


@pytest.mark.parametrize(
    ("operator", "value", "accepted"),
    [
        ("=", "web-1", True), ("=", "web", False), ("!=", "web", True), ("=~", "web.*", True), ("=~", "web", False),
        ("=~", "(db|web-1)", True), ("=~", r"web\-1", True), ("!~", "db.*", True), ("=~", ".*eb.*1", True),
        ("=~", "a.*1", False), ("=~", "web-1.*1", False), ("<", "5", False),
    ],
)  # fmt: skip
def test_a_filter_accepts_whole_values(operator: str, value: str, accepted: bool) -> None:
    (one,) = filters.parse([{"key": "host", "operator": operator, "value": value}])
    assert one.accepts("web-1") is accepted


def test_filters_take_lists_and_compare_numbers() -> None:
    either, neither, less = filters.parse(
        [
            {"key": "host", "operator": "=|", "value": "a", "values": ["a", "b"]},
            {"key": "host", "operator": "!=|", "value": "a", "values": ["a", "b"]},
            {"key": "code", "operator": "<", "value": "500"},
        ]
    )
    assert [either.accepts("b"), either.accepts("c"), neither.accepts("b"), neither.accepts("c")] == [True, False, False, True]
    assert [less.accepts("404"), less.accepts("503"), less.accepts("x")] == [True, False, False]


@pytest.mark.parametrize(
    ("item", "field"),
    [
        ("x", "filters[0]"), ({"key": 1}, "filters[0]"), ({"key": "a", "operator": "~", "value": "x"}, "filters[0].operator"),
        ({"key": "a", "operator": ["="], "value": "x"}, "filters[0].operator"), ({"key": "a", "value": 1}, "filters[0].value"),
        ({"key": "a", "value": "${host}"}, "filters[0].value"),
        ({"key": "a", "operator": "=~", "value": "(a+)+$"}, "filters[0].value"),
    ],
)  # fmt: skip
def test_a_filter_that_cannot_be_understood_is_refused(item: object, field: str) -> None:
    with pytest.raises(RequestError) as refused:
        filters.parse([item])
    assert refused.value.field == field


def test_series_are_found_by_id_and_by_printed_name(client: FlaskClient) -> None:
    span = {"from": MORNING, "to": MORNING + 4 * STEP}
    for given_series in (WEB_1.id, str(WEB_1), f"({WEB_1.id}|{WEB_1.id})", str(WEB_1).replace(".", r"\.").replace("-", r"\-")):
        rows = client.get("/infinity/scores", query_string=span | {"series": given_series}).get_json()
        assert {row["id"] for row in rows} == {WEB_1.id}, given_series
    rows = client.get("/infinity/scores", query_string=span | {"series": f"{WEB_2},{DISK}"}).get_json()
    assert {row["id"] for row in rows} == {WEB_2.id, DISK.id}


ODD = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        ["", "*", "${x}", "$__from", "{", "}", "({[", "\\", "a\\", "0", "-1", "1e400", "nan", "true", "\x00", "💥" * 50]
    ),
    st.integers().map(str),
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), ODD),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(ODD, inner, max_size=4)),
    max_leaves=8,
)
GOOD_RANGE = {"from": str(MORNING), "to": str(MORNING + 4 * STEP)}
PARAMETERS = ("from", "to", "series", "detector", "severity", "by", "target", "maxDataPoints", "intervalMs", "forecast", "x")


def check(response: Any) -> None:
    assert response.status_code in (200, 400, 404), (response.status_code, response.get_data(as_text=True))
    content = response.get_json()
    assert isinstance(content, list) if response.status_code == 200 else set(content) <= {"message", "field"}


@given(
    st.sampled_from(["series", "scores", "anomalies", "annotations", "alert-state", "variables"]),
    st.dictionaries(st.sampled_from(PARAMETERS), ODD, max_size=4),
    st.booleans(),
)
@settings(deadline=None, max_examples=150)
def test_no_parameter_makes_infinity_routes_fail(client: FlaskClient, leaf: str, odd: dict[str, str], ranged: bool) -> None:
    check(client.get(f"/infinity/{leaf}", query_string=(GOOD_RANGE if ranged else {}) | odd))


METRICS = ["band", "score", "anomalies", "anomalies_table", "series_table", "lower:disk"]
TARGETS = st.lists(
    st.one_of(
        JSON,
        st.fixed_dictionaries(
            {"target": st.one_of(st.sampled_from(METRICS), JSON)},
            optional={
                "refId": JSON,
                "payload": st.one_of(JSON, st.dictionaries(st.sampled_from(["series", "detector", "severity"]), JSON)),
                "data": JSON,
                "type": JSON,
            },
        ),
    ),
    max_size=3,
)


@given(
    st.fixed_dictionaries(
        {"targets": st.one_of(TARGETS, JSON)},
        optional={"range": st.one_of(st.just(GOOD_RANGE), JSON), "maxDataPoints": JSON, "intervalMs": JSON, "filters": JSON,
                  "adhocFilters": JSON, "scopedVars": JSON},
    )
)  # fmt: skip
@settings(deadline=None, max_examples=150)
def test_no_body_makes_a_query_fail(client: FlaskClient, body: dict[str, Any]) -> None:
    check(client.post("/grafana/query", json={"range": GOOD_RANGE} | body))


@given(
    st.sampled_from(["metrics", "metric-payload-options", "variable", "tag-keys", "tag-values", "search", "annotations"]),
    st.one_of(JSON, st.dictionaries(st.sampled_from(["payload", "key", "name", "target", "range", "annotation"]), JSON)),
)
@settings(deadline=None, max_examples=150)
def test_no_body_makes_the_other_routes_fail(client: FlaskClient, leaf: str, body: Any) -> None:
    check(client.post(f"/grafana/{leaf}", json=body))


@given(st.binary(max_size=60))
@settings(deadline=None, max_examples=60)
def test_no_bytes_make_a_query_fail(client: FlaskClient, body: bytes) -> None:
    assert client.post("/grafana/query", data=body, content_type="application/json").status_code == 400
