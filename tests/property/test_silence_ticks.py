"""Silence through whole ticks: the same however time is cut or the process forgets; a source that fails is no silence."""

from functools import cache
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.world import START, make_parts, run, visible

from forewarn.detector import DAY, HOUR, MINUTE, Detector, Selection
from forewarn.nominal import due_ticks
from forewarn.series import Float, SeriesKey
from forewarn.stores.sqlite import SqliteStore

STEP = 30 * MINUTE
LOAD = Detector(
    "load", Selection(index="hosts"), "avg", "load", split_by=("host",), step=STEP, fit_every=DAY, retire_after=DAY, warm_up=DAY
)
LINES = Detector(
    "lines",
    Selection(index="hosts"),
    "count",
    split_by=("host",),
    step=STEP,
    fit_every=DAY,
    warm_up=DAY,
    incidents_per_week=2.0,
)
FIRST, LAST = START + 2 * DAY, START + 6 * DAY
DROP, BACK = START + 5 * DAY, START + 5 * DAY + 8 * HOUR
STUCK, MOVES = BACK + 4 * HOUR, BACK + 14 * HOUR


def hosts() -> dict[SeriesKey, Float]:
    """Twelve hosts: one stops for good on the fourth day, all of them for eight hours on the fifth; one is stuck after that."""
    rng, size = np.random.default_rng(4), 6 * DAY // STEP
    times = START + STEP * np.arange(size)
    series = {}
    for number in range(12):
        gone = (times >= DROP) & (times < BACK)
        if number == 2:
            gone |= times >= START + 4 * DAY
        entity = (("host", f"h{number:02d}"),)
        load = np.where(gone, np.nan, rng.normal(5, 0.5, size))
        if number == 7:
            stuck = (times >= STUCK) & (times < MOVES)
            load[stuck] = load[stuck][0]
        series[SeriesKey("load", entity)] = load
        series[SeriesKey("lines", entity)] = np.where(gone, np.nan, rng.poisson(400, size))
    return series


SERIES = hosts()
NOWS = due_ticks(FIRST, (LOAD, LINES), LAST + MINUTE)


def outcome(nows: list[int], forget: frozenset[int] = frozenset(), **more: Any) -> dict[str, Any]:
    store = SqliteStore(":memory:")
    try:
        run(make_parts(store, (LOAD, LINES), SERIES, origin=FIRST, **more), nows, forget)
        return visible(store)
    finally:
        store.close()


@cache
def one_by_one() -> dict[str, Any]:
    return outcome(NOWS)


def silences(seen: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for one in seen["anomalies"] if one["explanation"]["reason"] == "silent"]


def test_one_host_is_silent_until_it_is_retired_and_all_of_them_are_one_incident() -> None:
    seen = one_by_one()
    of_load = [one for one in silences(seen) if one["key"][0] == "load"]
    assert [(one["start"], one["explanation"].get("ended")) for one in of_load] == [
        (START + 4 * DAY, "retired"),
        (DROP, "data are back"),
    ]
    (whole,) = (one for one in seen["incidents"] if one["start"] == DROP)
    assert {one["key"]["detector"] for one in whole["anomalies"].values()} == {"load", "lines"}
    assert len(whole["anomalies"]) >= 13  # eleven counts that fell to nothing, and both detectors as a whole


def test_every_anomaly_says_what_kind_of_stream_it_is_about() -> None:
    said = {(one["key"][0], one["explanation"].get("class")) for one in one_by_one()["anomalies"] if one["key"][1]}
    assert said == {("load", "gauge"), ("lines", "lively"), ("load", "stopped"), ("lines", "stopped")}


def test_a_value_that_is_stuck_is_told_while_it_is_and_has_ended_when_it_moves() -> None:
    (one,) = (one for one in one_by_one()["anomalies"] if one["explanation"]["reason"] == "flatline")
    assert (one["start"], one["end"], one["state"]) == (STUCK, MOVES, "closed")
    assert dict(one["key"][1])["host"] == "h07"
    assert (one["explanation"]["class"], one["explanation"]["equal_values"] > 15) == ("gauge", True)


def test_nothing_begins_when_data_come_back() -> None:
    assert [one for one in one_by_one()["anomalies"] if BACK <= one["start"] < BACK + 3 * HOUR] == []


@settings(max_examples=8, deadline=None)
@given(st.data())
def test_any_cut_of_time_and_any_restart_gives_the_same_silences(data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.sampled_from(NOWS[:-1]), max_size=12)))
    nows = [*cuts, NOWS[-1]]
    forget = data.draw(st.sets(st.sampled_from(range(len(nows)))))
    assert outcome(nows, frozenset(forget)) == one_by_one()


def test_a_source_that_cannot_be_read_is_no_silence() -> None:
    broken = [True]
    edges = (START + 3 * DAY, START + 3 * DAY + 6 * HOUR)
    before, after = ([now for now in NOWS if low < now <= high] for low, high in ((0, edges[1]), (edges[1], START + 4 * DAY)))
    store = SqliteStore(":memory:")
    try:
        down = lambda end: broken[0] and end > edges[0]  # noqa: E731 - a name for what the world asks at every read
        parts = make_parts(store, (LOAD, LINES), SERIES, origin=FIRST, down=down)
        assert dict(run(parts, before).head.failing).keys() == {"load", "lines"}
        broken[0] = False
        run(parts, after)
        assert silences(visible(store)) == []
    finally:
        store.close()
