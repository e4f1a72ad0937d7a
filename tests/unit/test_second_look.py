"""The second look at buckets that documents may still come for: what it costs, what it leaves alone, and how it fails."""

import json
import logging
import shutil
import tracemalloc
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.late_world import (
    FIRST,
    HITS,
    LAST,
    LATENCY,
    STEP,
    WITHIN,
    LateMetrics,
    late_series,
    learnt_from,
    models,
    parts_over,
    watch,
)
from tests.world import START, visible

from forewarn.config import parse
from forewarn.detector import DAY, HOUR, MINUTE, Detector, Selection
from forewarn.errors import ConfigError
from forewarn.history.memory import MemoryHistory
from forewarn.pattern import Mined
from forewarn.revising import look_again
from forewarn.series import Float, SeriesBatch, SeriesKey, TimeGrid
from forewarn.state import Head
from forewarn.stores.sqlite import SqliteStore
from forewarn.stream import NEVER_LATE, Stream, advance, begin
from forewarn.tail import Corrections, Tail
from forewarn.tick import load_memory, run_tick
from forewarn.wiring import build_forecaster, build_rooms

SERIES = late_series()
KEY = SeriesKey("latency", (("host", "a"),))
HITS_KEY = SeriesKey("hits", (("host", "a"),))
NOWS = list(range(FIRST + STEP + MINUTE, LAST + 1, 10 * MINUTE))
END = LAST - WITHIN - 2 * HOUR


def two_hours_late(key: SeriesKey = KEY, first: int = 0, size: int = 24) -> dict[SeriesKey, Any]:
    """A series of which some buckets from FIRST + `first` on come two hours after their end."""
    came = np.zeros(len(SERIES[key]), np.int64)
    low = (FIRST - START) // STEP + first
    came[low : low + size] = START + STEP * np.arange(low + 1, low + size + 1) + 2 * HOUR
    return {key: came}


def one_series(values: Float, function: str = "avg", **changes: Any) -> tuple[Detector, LateMetrics]:
    detector = Detector("d", Selection(index="i"), function, None if function == "count" else "v", step=STEP, **changes)
    return detector, LateMetrics({SeriesKey("d"): values})


def moved(detector: Detector, source: LateMetrics, buckets: int) -> tuple[Stream, Any]:
    """A stream that began at START and scored some buckets, and its rooms."""
    rooms = build_rooms(detector, source, MemoryHistory(), build_forecaster(0))
    stream, _ = begin(detector, rooms, START)
    return advance(stream, rooms, START + buckets * STEP)[0], rooms


# --- what it costs -----------------------------------------------------------------------------------------------------


def test_it_is_one_query_an_hour_for_the_buckets_that_are_not_final() -> None:
    store, source = SqliteStore(":memory:"), LateMetrics(SERIES)
    watch(parts_over(store, source, (LATENCY,)), source, NOWS)
    store.close()
    forward = max(now for now, _ in source.asked)
    looks, reached = [], FIRST
    for now, grid in source.asked:
        if grid.start >= FIRST and grid.start < reached:
            looks.append((now, grid))
        reached = max(reached, grid.end)
    hours = (forward - FIRST) // HOUR
    assert hours - 1 <= len(looks) <= hours + 1
    assert len({now // HOUR for now, _ in looks}) == len(looks)
    assert max(grid.size for _, grid in looks) <= (WITHIN + HOUR) // STEP
    assert min(now - grid.end for now, grid in looks) >= 0


def test_nothing_is_read_twice_where_it_is_off_nor_where_it_was_read_late() -> None:
    for detector, nows in ((replace(LATENCY, revise_within=0), NOWS), (LATENCY, [NOWS[0], NOWS[0] + DAY])):
        store, source = SqliteStore(":memory:"), LateMetrics(SERIES)
        watch(parts_over(store, source, (detector,)), source, nows[:1])
        first = len(source.asked)
        watch(parts_over(store, source, (detector,)), source, nows[1:2])
        asked = [grid for _, grid in source.asked[first:]]
        assert sum(grid.size for grid in asked) <= (nows[1] - nows[0]) // STEP + (12 if detector.revise_within else 0)
        store.close()


def test_a_replay_of_the_past_reads_nothing_twice() -> None:
    store, source = SqliteStore(":memory:"), LateMetrics(SERIES, now=LAST + 30 * DAY)
    parts, memory = parts_over(store, source, (LATENCY,)), None
    for number, now in enumerate(NOWS[::6]):
        memory = run_tick(parts, memory, now, LAST + 30 * DAY, f"nonce-{number}")
    store.close()
    grids = [grid for _, grid in source.asked if grid.start >= FIRST]
    assert all(one.end == two.start for one, two in pairwise(grids))


def test_lines_of_logs_are_read_once() -> None:
    detector, source = one_series(np.full(400, 7.0), "count")

    class Lines(LateMetrics):
        def mine(self, detector: Detector, grid: TimeGrid) -> Mined:
            return Mined(super().read(detector, grid), {})

        def read(self, detector: Detector, grid: TimeGrid) -> SeriesBatch:
            assert grid.end <= START, "the lines were read again"
            return super().read(detector, grid)

    lines = Lines(source.series)
    rooms = replace(build_rooms(detector, lines, MemoryHistory(), build_forecaster(0)), mined=lines)
    stream, _ = advance(begin(detector, rooms, START)[0], rooms, START + 12 * STEP)
    again, found = look_again(stream, rooms, START + 24 * STEP, START + 24 * STEP + MINUTE)
    assert found.rows.size == 0
    assert again.settled > again.watermark


# --- what it leaves alone ----------------------------------------------------------------------------------------------


def test_what_was_published_stays_what_it_was() -> None:
    store, source = SqliteStore(":memory:"), LateMetrics(SERIES, two_hours_late(first=20))
    parts = parts_over(store, source, (LATENCY,))
    watch(parts, source, NOWS[:20])
    before = visible(store)["scores"]
    memory = watch(parts, source, NOWS[20:60])
    after = visible(store)["scores"]
    assert memory.streams["latency"].tail.corrections.rows.size == 24
    for key, columns in before.items():
        assert [column[: len(columns[0])] for column in after[key]] == columns
    store.close()


def test_a_bucket_that_is_empty_now_keeps_its_value_and_another_value_is_taken() -> None:
    for function in ("avg", "count"):
        detector, source = one_series(np.full(200, 7.0), function)
        stream, rooms = moved(detector, source, 12)
        changed = np.full(200, 7.0)
        changed[3], changed[4] = np.nan, 8.0
        source.series = {SeriesKey("d"): changed}
        again, found = look_again(stream, rooms, START + 24 * STEP, START + 24 * STEP + MINUTE)
        assert (found.times.tolist(), found.values.tolist()) == ([START + 4 * STEP], [8.0])
        values = again.tail.values(np.array([0]), TimeGrid(START, STEP, 6))
        assert values.tolist() == [[7.0, 7.0, 7.0, 7.0, 8.0, 7.0]]


def test_what_differs_by_the_order_of_adding_or_by_the_estimate_of_a_percentile_is_the_same() -> None:
    for function, share in (("avg", 1e-12), ("p95", 5e-4)):
        detector, source = one_series(np.full(200, 7.0), function)
        stream, rooms = moved(detector, source, 12)
        source.series = {SeriesKey("d"): np.full(200, 7.0 * (1 + share))}
        assert look_again(stream, rooms, START + 24 * STEP, START + 24 * STEP + MINUTE)[1].rows.size == 0
        source.series = {SeriesKey("d"): np.full(200, 7.0 * (1 + 3e-3))}
        assert look_again(stream, rooms, START + 24 * STEP, START + 24 * STEP + MINUTE)[1].rows.size == 12


def test_a_series_of_which_only_late_documents_came_waits_until_it_is_seen_in_time() -> None:
    detector, source = one_series(np.full(200, 7.0), split_by=("host",))
    stream, rooms = moved(detector, source, 12)
    source.series = {**source.series, SeriesKey("d", (("host", "new"),)): np.full(200, 5.0)}
    again, found = look_again(stream, rooms, START + 24 * STEP, START + 24 * STEP + MINUTE)
    assert found.rows.size == 0
    assert again.registry.keys == stream.registry.keys


# --- how it fails ------------------------------------------------------------------------------------------------------


def test_a_look_that_fails_is_said_and_tried_again_the_next_hour_and_the_tick_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen = []
    for hours in (0, 6):  # around midnight, where history is written
        store, source = SqliteStore(":memory:"), LateMetrics(SERIES, two_hours_late(first=18 * 12))
        source.refuses = (range(FIRST + 20 * HOUR, FIRST + (20 + hours) * HOUR)).__contains__
        parts = parts_over(store, source, (LATENCY,))
        with caplog.at_level(logging.WARNING):
            memory = watch(parts, source, NOWS[::2])
        assert memory.head.failing == ()
        seen.append(learnt_from(parts, memory.streams["latency"], END))
        assert sum("second_look_failed" in record.message for record in caplog.records) == hours
        store.close()
    for key, values in seen[0].items():  # nearly: a block of history is as exact as what it holds lets it be
        np.testing.assert_allclose(seen[1][key], values, rtol=1e-6)


def test_history_does_not_wait_for_looks_that_fail_for_days() -> None:
    store, source = SqliteStore(":memory:"), LateMetrics(SERIES, refuses=lambda _now: True)
    nows = range(FIRST + 31 * MINUTE, START + 4 * DAY + HOUR, 30 * MINUTE)
    state = watch(parts_over(store, source, (LATENCY,)), source, nows).head.detectors[0]
    assert state.watermark >= START + 4 * DAY
    assert state.mark == START + 3 * DAY
    assert all(span.end > state.mark for span in state.journal)
    store.close()


class Killed(Exception):
    """Ends a tick where it is."""


def test_killed_at_any_point_of_a_tick_that_looks_it_learns_the_same(tmp_path: Path) -> None:
    nows = NOWS[::3]
    at = next(number for number, now in enumerate(nows) if now > FIRST + 3 * HOUR)  # finds what came two hours late

    def world(path: Path) -> tuple[SqliteStore, LateMetrics]:
        return SqliteStore(path), LateMetrics(SERIES, two_hours_late() | two_hours_late(HITS_KEY))

    store, source = world(tmp_path / "before.db")
    watch(parts_over(store, source), source, nows[:at])
    store.close()
    outcomes, killed = [], True
    while killed:
        shutil.copy(tmp_path / "before.db", tmp_path / f"{len(outcomes)}.db")
        store, source = world(tmp_path / f"{len(outcomes)}.db")
        parts, passed = parts_over(store, source), list[str]()

        def dies(point: str, passed: list[str] = passed, at: int = len(outcomes)) -> None:
            passed.append(point)
            if len(passed) > at:
                raise Killed

        source.now = nows[at]
        try:
            run_tick(replace(parts, passed=dies), None, nows[at], nows[at], "killed")
            killed = False
        except Killed:
            killed = True
        rest = [now for now in nows[at : at + 6] if now > (store.committed() or 0)]
        memory = watch(parts, source, rest)
        assert all(state.corrections for state in memory.head.detectors)
        outcomes.append({name: learnt_from(parts, one, nows[at + 5]) for name, one in memory.streams.items()})
        store.close()
    assert len(outcomes) > 10
    assert all(outcome == outcomes[-1] for outcome in outcomes)


def test_a_restart_between_the_look_and_the_fit_gives_the_same_models() -> None:
    made = []
    nows = NOWS[:60:3]
    for forget in (frozenset[int](), frozenset(range(len(nows)))):
        store, source = SqliteStore(":memory:"), LateMetrics(SERIES, two_hours_late() | two_hours_late(HITS_KEY))
        memory = watch(parts_over(store, source), source, nows, forget)
        made.append({name: models(one) for name, one in memory.streams.items()})
        loaded = load_memory(parts_over(store, source)).streams
        for name, stream in memory.streams.items():
            rows = np.arange(len(stream.registry.keys))
            grid = TimeGrid.between(stream.tail.start, stream.watermark, STEP)
            np.testing.assert_array_equal(loaded[name].tail.values(rows, grid), stream.tail.values(rows, grid))
            assert (loaded[name].settled, loaded[name].looked) == (stream.settled, stream.looked)
        store.close()
    assert made[0] == made[1]


def test_a_state_of_an_earlier_version_goes_on() -> None:
    store, source = SqliteStore(":memory:"), LateMetrics(SERIES, two_hours_late(first=18))
    parts = parts_over(store, source, (LATENCY,))
    memory = watch(parts, source, NOWS[:20])
    document = json.loads(memory.head.document())
    for state in document["detectors"]:
        for name in ("corrections", "settled", "looked"):
            del state[name]
    assert Head.read(json.dumps(document).encode()).detectors[0].settled == 0
    store.commit_head(json.dumps(document).encode(), memory.token)
    after = watch(parts, source, NOWS[20:60])
    stream = after.streams["latency"]
    low = FIRST + 18 * STEP
    found = stream.tail.values(np.array([stream.registry.rows[KEY]]), TimeGrid(low, STEP, 24))
    np.testing.assert_array_equal(found[0], SERIES[KEY][(low - START) // STEP :][:24])
    store.close()


# --- the setting -------------------------------------------------------------------------------------------------------


def configured(text: str) -> Detector:
    return parse(f"store: sqlite:///f.db\ndetectors: [{{name: d, path: x, function: count{text}}}]", {}, Path()).detectors[0]


def test_how_long_documents_are_waited_for_is_a_setting_and_no_other_detector() -> None:
    assert configured("").revise_within == WITHIN
    assert configured(", revise_within: 90m").revise_within == 90 * MINUTE
    assert configured(", revise_within: 0s").revise_within == 0
    assert configured(", revise_within: 0s").fingerprint == configured("").fingerprint


@pytest.mark.parametrize(("value", "why"), [("-1h", "a duration"), ("25h", "at most 1d"), ("3600", "write its unit")])
def test_a_wait_that_cannot_be_is_refused(value: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as refused:
        configured(f", revise_within: {value}")
    assert refused.value.path == "detectors[0].revise_within"


def test_lines_of_logs_have_no_such_setting() -> None:
    with pytest.raises(ConfigError, match="unknown setting"):
        parse("store: sqlite:///f.db\nlogs: [{name: l, path: x, message: m, revise_within: 1h}]", {}, Path())


def test_a_look_at_a_fleet_takes_little_more_than_what_it_reads_and_finds_what_came_late_for_the_last() -> None:
    keys = tuple(SeriesKey("d", (("host", f"{row:04d}"),)) for row in range(5000))
    grid = TimeGrid(START, MINUTE, 360)
    values = np.random.default_rng(1).normal(50, 5, (len(keys), grid.size))
    detector = Detector("d", Selection(index="i"), "avg", "v", step=MINUTE, split_by=("host",))
    source = LateMetrics({})
    rooms = build_rooms(detector, source, MemoryHistory(), build_forecaster(0))
    known = values.copy()
    known[[0, -1], 7] = np.nan
    source.read = lambda _detector, _grid: SeriesBatch(keys, grid, values)  # type: ignore[method-assign] # a fleet at hand
    stream, _ = begin(detector, replace(rooms, fill=lambda *_: iter(())), START)
    stream = replace(
        stream,
        watermark=grid.end,
        registry=stream.registry.observe(SeriesBatch(keys, grid, known)),
        tail=Tail(START, (SeriesBatch(keys, grid, known),)),
    )
    tracemalloc.start()
    try:
        after, found = look_again(stream, rooms, grid.end + HOUR, grid.end + MINUTE)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.rows.tolist() == [0, 4999]
    assert found.values.tolist() == values[[0, -1], 7].tolist()
    np.testing.assert_array_equal(after.tail.values(np.array([4999, 0]), grid), values[[-1, 0]])
    assert peak < 5 * values.nbytes


# --- the tail ----------------------------------------------------------------------------------------------------------


def test_of_several_corrections_the_last_is_right_and_rows_may_be_asked_for_in_any_order() -> None:
    keys = tuple(SeriesKey("d", (("host", name),)) for name in "abc")
    tail = Tail(0, (SeriesBatch(keys[:2], TimeGrid(0, 10, 3), np.array([[1.0, 2, 3], [4, 5, 6]])),))
    tail = tail.with_part(SeriesBatch(keys, TimeGrid(30, 10, 2), np.arange(6.0).reshape(3, 2)))
    for value in (70.0, 80.0):
        tail = tail.with_corrections(Corrections(np.array([2, 0]), np.array([10, 30]), np.array([value, value + 1])))
    found = tail.values(np.array([2, 0]), TimeGrid(0, 10, 6))
    np.testing.assert_array_equal(found, [[np.nan, 80, np.nan, 4, 5, np.nan], [1, 2, 3, 81, 1, np.nan]])
    later = tail.since(20)
    assert later.start == 20
    assert later.corrections.times.tolist() == [30, 30]
    np.testing.assert_array_equal(later.values(np.array([0]), TimeGrid(20, 10, 2)), [[3, 81]])
    assert tail.values(np.zeros(0, np.int64), TimeGrid(0, 10, 6)).shape == (0, 6)


def test_corrections_of_unequal_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="expected three"):
        Corrections(np.zeros(2, np.int64), np.zeros(1, np.int64), np.zeros(2))


def test_a_stream_that_is_not_looked_at_again_keeps_no_more_than_it_must() -> None:
    detector, source = one_series(np.full(700, 7.0))
    stream, rooms = moved(detector, source, 100)
    stream = replace(stream, settled=NEVER_LATE)
    while stream.watermark < START + DAY:
        stream, _ = advance(stream, rooms, START + DAY)
    assert stream.tail.start == START + DAY - detector.revise_within


def test_looks_are_for_detectors_of_hits_too() -> None:
    store, source = SqliteStore(":memory:"), LateMetrics(SERIES, two_hours_late(HITS_KEY))
    parts = parts_over(store, source, (HITS,))
    memory = watch(parts, source, NOWS[:40])
    stream = memory.streams["hits"]
    found = stream.tail.values(np.array([stream.registry.rows[HITS_KEY]]), TimeGrid(FIRST, STEP, 24))
    np.testing.assert_array_equal(found[0], SERIES[HITS_KEY][(FIRST - START) // STEP :][:24])
    store.close()
