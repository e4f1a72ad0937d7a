"""Windows of maintenance: nothing is learnt in them, nothing alarms in them, and what outlasts them is told."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.world import START, ArrayMetrics, make_parts, run, visible

from forewarn.anomaly import Anomaly
from forewarn.config import parse
from forewarn.detector import DAY, HOUR, MINUTE, Detector, Maintenance, Selection, Threshold
from forewarn.forecast import OK, Calibration, Forecast
from forewarn.history.memory import MemoryHistory
from forewarn.incident import HeadsUp
from forewarn.nominal import due_ticks
from forewarn.novelty import pattern_changes
from forewarn.pattern import PATTERN_FIELD, Mined, Pattern
from forewarn.registry import Registry
from forewarn.scoring.outlook import Foresight
from forewarn.scoring.scorer import MAINTENANCE, REASONS, ResidualScorer
from forewarn.scoring.silence import Silences
from forewarn.series import Float, SeriesBatch, SeriesKey, TimeGrid
from forewarn.stores.sqlite import SqliteStore
from forewarn.stream import advance, begin
from forewarn.wiring import build_forecaster, build_rooms

STEP = 15 * MINUTE
A_DAY = DAY // STEP
KEY = (SeriesKey("load"),)
LOAD = Detector("load", Selection(index="m"), "avg", "v", step=STEP, delay=MINUTE, fit_every=DAY, fit_window=14 * DAY)


def buckets(low: int, high: int) -> Maintenance:
    return Maintenance(START + low * STEP, START + high * STEP)


def calm(days: int = 8, seed: int = 3) -> Float:
    day = np.arange(days * A_DAY) / A_DAY
    return 100.0 + 20.0 * np.sin(2 * np.pi * day) + np.random.default_rng(seed).normal(0.0, 1.0, day.size)


# --- which buckets -----------------------------------------------------------------------------------------------------


def test_a_bucket_that_overlaps_a_window_is_in_it_and_one_that_touches_it_is_not() -> None:
    one = replace(LOAD, maintenance=(Maintenance(START + 4 * STEP + 1, START + 6 * STEP),))
    assert np.flatnonzero(one.in_maintenance(TimeGrid(START, STEP, 10).times(), STEP)).tolist() == [4, 5]
    assert np.flatnonzero(one.in_maintenance(TimeGrid(START, HOUR, 3).times(), HOUR)).tolist() == [1]


@settings(max_examples=100, deadline=None)
@given(st.integers(-50, 50), st.integers(1, 40), st.one_of(st.none(), st.integers(0, 60)), st.sampled_from([1, 4, 9]))
def test_a_window_comes_again_as_if_each_time_were_a_window_of_its_own(
    start: int, length: int, more: int | None, step: int
) -> None:
    every = None if more is None else length + more
    times = step * np.arange(-20, 60, dtype=np.int64)
    starts = [start] if every is None else range(start, 1000, every)
    written_out = tuple(Maintenance(one, one + length) for one in starts)
    short = replace(LOAD, maintenance=(Maintenance(start, start + length, every),))
    expected = [any(time < one.end and time + step > one.start for one in written_out) for time in times.tolist()]
    assert short.in_maintenance(times, step).tolist() == expected


def test_a_window_does_not_make_another_detector() -> None:
    assert replace(LOAD, maintenance=(buckets(0, 4),)).fingerprint == LOAD.fingerprint


def test_windows_of_maintenance_reach_the_detectors_and_logs_that_they_name() -> None:
    text = """
store: sqlite:///f.db
calendars:
  maintenance:
    - {start: 2026-11-20T02:00Z, end: 2026-11-20T05:30+01:00}
    - {start: "2026-11-22 01:00:00+00:00", end: 2026-11-22T02:00Z, every: 1w, detectors: [b, app]}
detectors:
  - {name: a, path: x.csv, function: count}
  - {name: b, path: x.csv, function: count}
logs:
  - {name: app, path: x.ndjson}
"""
    config = parse(text, {}, Path())
    start = 1_795_140_000_000  # 2026-11-20T02:00Z
    once = Maintenance(start, start + 150 * MINUTE)
    weekly = Maintenance(start + 47 * HOUR, start + 48 * HOUR, 7 * DAY)
    assert [one.maintenance for one in config.detectors] == [(once,), (once, weekly)]
    assert [log.detector.maintenance for log in config.logs] == [(once, weekly)]


# --- what is learnt ----------------------------------------------------------------------------------------------------


def forecast_after(values: Float, *windows: Maintenance) -> Float:
    """What is expected of the day after the values, by a fit at their end."""
    one = replace(LOAD, maintenance=windows)
    source = ArrayMetrics(STEP, START, {KEY[0]: np.concatenate([values, np.full(A_DAY, 100.0)])})
    history = MemoryHistory()
    forecaster = build_forecaster(0)
    rooms = build_rooms(one, source, history, forecaster)
    origin = START + len(values) * STEP
    stream, slices = begin(one, rooms, origin)
    names = tuple(name for part in reversed(slices) for name in history.write(part, origin))
    after, chunk = advance(replace(stream, history=names), rooms, origin + A_DAY * STEP)
    assert chunk.fits
    assert after.watermark == origin + A_DAY * STEP
    return np.concatenate([step.forecast.expected for step in chunk.steps], axis=1)[0]


def test_what_happens_in_a_window_does_not_move_the_forecast_even_if_the_window_is_known_only_afterwards() -> None:
    low, high = 6 * A_DAY, 8 * A_DAY
    usual, faulty, absent = calm(), calm(), calm()
    faulty[low:high] *= 4.0
    absent[low:high] = np.nan
    plain, masked = forecast_after(faulty), forecast_after(faulty, buckets(low, high))
    np.testing.assert_array_equal(masked, forecast_after(absent))
    assert np.abs(masked - forecast_after(usual)).max() < 5.0
    assert np.abs(plain - masked).max() > 10.0


# --- scores ------------------------------------------------------------------------------------------------------------


def scored(values: Float, *windows: Maintenance) -> tuple[Float, list[str], dict[str, object]]:
    one = replace(LOAD, maintenance=windows)
    scorer, grid = ResidualScorer(one), TimeGrid(START, STEP, len(values))
    calibration = Calibration(KEY, START, np.ones((1, 48)), np.ones((1, 48)), np.zeros(1))
    expected = np.tile(calm(1, seed=1), len(values) // A_DAY + 1)[: len(values)]
    forecast = Forecast(KEY, grid, expected[None], np.full((1, grid.size), 2.0), (OK,), ("x",))
    scores, carry = scorer.score(SeriesBatch(KEY, grid, values[None]), forecast, calibration, scorer.start(KEY, START))
    return scores.score[0], [REASONS[reason] for reason in scores.reason[0]], dict(carry.arrays)


def test_points_in_a_window_are_scored_below_one_and_say_why() -> None:
    values, low, high = calm(), 6 * A_DAY, 6 * A_DAY + 8
    values[low:high] += 200.0
    score, reason, _ = scored(values)
    assert score[low] > 1.0
    score, reason, _ = scored(values, buckets(low, high))
    assert (score[low:high] < 1.0).all()
    assert (score[low:high] > 0.9).all()
    assert set(reason[low:high]) == {REASONS[MAINTENANCE]}
    assert REASONS[MAINTENANCE] not in reason[:low] + reason[high:]
    assert not (score[high:] >= 1.0).any()


def test_a_fault_that_outlasts_its_window_is_told_at_once() -> None:
    values, low, high = calm(), 6 * A_DAY, 7 * A_DAY
    values[low:] += 200.0
    score, _, _ = scored(values, buckets(low, high))
    assert not (score[:high] >= 1.0).any()
    assert score[high] >= 1.0


def test_scales_and_levels_are_those_of_a_series_without_the_points_of_the_window() -> None:
    values, low, high = calm(), 6 * A_DAY, 6 * A_DAY + 30
    absent = values.copy()
    values[low:high] *= 9.0
    absent[low:high] = np.nan
    runs = {"seen", "last", "resumed", "record", "alarm", "alarm_bucket", "alarm_residual", "busy", "closed"}
    _, _, masked = scored(values, buckets(low, high))
    _, _, missing = scored(absent)
    assert masked.keys() > runs
    for name in masked.keys() - runs:
        np.testing.assert_array_equal(masked[name], missing[name], err_msg=name)


@pytest.mark.parametrize("level", [0.0, 7.0])
def test_a_series_that_was_always_as_expected_is_scored_in_a_window_too(level: float) -> None:
    values = np.full(8 * A_DAY, level)
    grid, low, high = TimeGrid(START, STEP, len(values)), 6 * A_DAY, 6 * A_DAY + 8
    values[low + 4 : low + 6] += 3.0
    scorer = ResidualScorer(replace(LOAD, maintenance=(buckets(low, high),)))
    calibration = Calibration(KEY, START, np.ones((1, 48)), np.ones((1, 48)), np.zeros(1))
    forecast = Forecast(KEY, grid, np.full((1, grid.size), level), np.full((1, grid.size), 1e-9), (OK,), ("x",))
    scores, _ = scorer.score(SeriesBatch(KEY, grid, values[None]), forecast, calibration, scorer.start(KEY, START))
    assert not np.isnan(scores.score[:, 1:]).any()
    assert (scores.score[0, low : low + 4] == 0.0).all()
    assert (scores.score[0, low + 4 : low + 6] > 0.9).all()
    assert not (scores.score >= 1.0).any()


def test_a_series_that_begins_in_a_window_settles_after_it() -> None:
    values = calm(2)
    values[40:44] += 500.0
    score, _, _ = scored(values, buckets(0, 40))
    assert np.isnan(score[:40]).all()
    assert not (score[40:44] >= 1.0).any()


# --- silence and heads-ups ---------------------------------------------------------------------------------------------


def listened(values: Float, *windows: Maintenance) -> list[tuple[int, Anomaly]]:
    one = replace(LOAD, maintenance=windows)
    keys = tuple(SeriesKey("load", (("host", str(row)),)) for row in range(len(values)))
    grid, watch = TimeGrid(START, STEP, values.shape[1]), Silences(one)
    flat = np.full(values.shape, 7.0)
    forecast = Forecast(keys, grid, flat, flat, (OK,) * len(keys), ("x",) * len(keys))
    return list(watch.fold((), (), SeriesBatch(keys, grid, values), forecast, watch.start(START), MINUTE)[1])


@pytest.mark.parametrize("stopped", [slice(0, 1), slice(0, 3)])
def test_who_is_silent_in_a_window_only_is_no_anomaly(stopped: slice) -> None:
    low = 6 * A_DAY
    values = np.full((3, 8 * A_DAY), 7.0)
    values[stopped, low : low + 40] = np.nan
    assert listened(values)
    assert listened(values, buckets(low, low + 40)) == []
    assert listened(values, buckets(low, low + 39)) == []


def test_who_does_not_come_back_after_a_window_is_told_as_soon_as_anybody_who_stops() -> None:
    low = 6 * A_DAY
    values = np.full((3, 8 * A_DAY), 7.0)
    values[0, low:] = np.nan
    at = listened(values)[0][0]
    late, anomaly = listened(values, buckets(low, low + 40))[0]
    assert late - at == 40 * STEP
    assert anomaly.start == START + low * STEP


def foreseen(*windows: Maintenance) -> list[tuple[int, HeadsUp]]:
    one = replace(LOAD, threshold=Threshold(above=90.0), maintenance=windows)
    outlook = Foresight(one)
    back, T = outlook.look_back, 3 * A_DAY
    filling = 50.0 + np.maximum(0, np.arange(T) - A_DAY) * 0.4 + np.random.default_rng(1).normal(0.0, 1.0, T)
    grid = TimeGrid(START - back * STEP, STEP, back + T)
    flat = np.full((1, grid.size + outlook.horizon), 50.0)
    ahead = Forecast(KEY, TimeGrid(grid.start, STEP, flat.shape[1]), flat, np.ones_like(flat), (OK,), ("x",))
    values = np.concatenate([np.full(back, np.nan), filling])[None]
    return list(outlook.fold((), SeriesBatch(KEY, grid, values), ahead, MINUTE)[1])


def test_no_heads_up_opens_in_a_window() -> None:
    (first, _), *_ = foreseen()
    begun = (first - START) // STEP
    window = buckets(begun - 10, begun + 20)
    assert all(at > window.end for at, _ in foreseen(window))
    assert foreseen(window)


def test_a_pattern_that_is_first_seen_in_a_window_is_no_news() -> None:
    old, new = (SeriesKey("app", ((PATTERN_FIELD, name),)) for name in ("old", "new"))
    grid = TimeGrid(START, STEP, 2 * A_DAY)
    values = np.ones((2, grid.size))
    known = Registry.empty().observe(SeriesBatch((old,), grid, values[:1].copy()))
    at = START + grid.size * STEP
    later = TimeGrid(at, STEP, 1)
    mined = Mined(SeriesBatch((new,), later, np.ones((1, 1))), {"new": Pattern("new", ("app",), "", "text", "text", at, at, 1)})
    one = replace(LOAD, name="app")
    assert pattern_changes(known, mined, (new,), at, np.ones((2, 1)), one)
    masked = replace(one, maintenance=(Maintenance(at, at + STEP),))
    assert pattern_changes(known, mined, (new,), at, np.ones((2, 1)), masked) == ()


# --- whole ticks -------------------------------------------------------------------------------------------------------

FIRST, LAST = START + 6 * DAY, START + 8 * DAY - HOUR
WEEKLY = Maintenance(START + 2 * HOUR, START + 6 * HOUR, 7 * DAY)


def outcome(values: Float, cuts: list[int], forget: frozenset[int], *windows: Maintenance) -> dict[str, object]:
    store = SqliteStore(":memory:")
    one = replace(LOAD, fit_every=8 * HOUR, warm_up=6 * HOUR, maintenance=windows)
    nows = due_ticks(FIRST, [one], LAST)
    try:
        run(make_parts(store, [one], {KEY[0]: values}, origin=FIRST), [*(nows[cut] for cut in cuts), nows[-1]], forget)
        return visible(store)
    finally:
        store.close()


def test_a_fault_in_a_weekly_window_is_no_anomaly_however_time_is_cut_and_whenever_the_process_forgets() -> None:
    values, low = calm(), 7 * A_DAY + 2 * 4
    values[low : low + 12] += 300.0
    values[low + 4 : low + 8] = np.nan
    assert outcome(values, [], frozenset())["anomalies"]
    whole = outcome(values, [], frozenset(), WEEKLY)
    assert whole["anomalies"] == []
    assert whole["incidents"] == []
    for cuts, forget in (([9, 108, 140], frozenset({1, 3})), (list(range(100, 130)), frozenset(range(0, 30, 7)))):
        assert outcome(values, cuts, forget, WEEKLY) == whole


def test_an_episode_that_was_open_goes_on_in_a_window_and_ends_as_ever() -> None:
    values, low = calm(), 7 * A_DAY + 2 * 4
    values[low - 3 : low + 5] += 300.0
    (anomaly,) = outcome(values, [], frozenset(), WEEKLY)["anomalies"]
    assert anomaly["state"] == "closed"
    assert (anomaly["start"] - START) // STEP == low - 3
    assert (anomaly["end"] - START) // STEP == low + 5


def test_a_window_that_is_added_later_masks_the_fits_from_then_on() -> None:
    values, low = calm(), 7 * A_DAY + 2 * 4
    values[low : low + 12] += 300.0
    one = replace(LOAD, fit_every=8 * HOUR, warm_up=6 * HOUR)
    nows = due_ticks(FIRST, [one], LAST)
    told = START + 7 * DAY + 6 * HOUR
    store = SqliteStore(":memory:")
    try:
        for windows, ticks in (((), [now for now in nows if now < told]), ((WEEKLY,), [now for now in nows if now >= told])):
            run(make_parts(store, [replace(one, maintenance=windows)], {KEY[0]: values}, origin=FIRST), [ticks[-1]])
        added = visible(store)
    finally:
        store.close()
    without, always = outcome(values, [], frozenset()), outcome(values, [], frozenset(), WEEKLY)
    assert added["records"]["load"][:3] == always["records"]["load"][:3]
    assert added["records"]["load"][5] == always["records"]["load"][5]
    assert added["records"]["load"][5] != without["records"]["load"][5]
    assert added["anomalies"]
