"""Who stops sending is an anomaly at the drop; who never had a rhythm is not; what stops together is one thing."""

import json
import math
from collections.abc import Sequence

import numpy as np
import pytest

from forewarn.anomaly import Anomaly, severity_band
from forewarn.codec import anomaly_json
from forewarn.detector import DAY, HOUR, MINUTE, Detector, MinDeviation, Selection
from forewarn.forecast import OK, Forecast
from forewarn.scoring.silence import Silences
from forewarn.series import Float, SeriesBatch, SeriesKey, TimeGrid

MONDAY = 1_780_272_000_000
STEP = 5 * MINUTE
PER_DAY = DAY // STEP
Change = tuple[int, Anomaly]


def detector(function: str = "avg", step: int = STEP, **more: object) -> Detector:
    return Detector("load", Selection(path="x"), function, "v", step=step, delay=MINUTE, **more)  # type: ignore[arg-type] - settings by name


def keys_of(S: int) -> tuple[SeriesKey, ...]:
    return tuple(SeriesKey("load", (("host", f"h{number:03d}"),)) for number in range(S))


def listen(
    one: Detector, values: Float, *, expected: float = 10.0, start: int = MONDAY, others: Sequence[Change] = ()
) -> tuple[tuple[Anomaly, ...], list[Change]]:
    """Folds the values [S, T] in blocks of a day, and returns who is silent at the end and every change."""
    keys, watch = keys_of(len(values)), Silences(one)
    carry, opened, changes = watch.start(start), (), []
    size = DAY // one.step
    for low in range(0, values.shape[1], size):
        block = np.ascontiguousarray(values[:, low : low + size])
        grid = TimeGrid(start + low * one.step, one.step, block.shape[1])
        forecast = Forecast(
            keys, grid, np.full(block.shape, expected), np.ones(block.shape), (OK,) * len(keys), ("x",) * len(keys)
        )
        opened, found, carry = watch.fold(opened, others, SeriesBatch(keys, grid, block), forecast, carry, one.delay)
        changes += found
    return opened, changes


def openings(changes: Sequence[Change]) -> list[Change]:
    return [(at, anomaly) for at, anomaly in changes if anomaly.revision == 1]


def steady(S: int, days: float, step: int = STEP) -> Float:
    return np.full((S, round(days * DAY / step)), 7.0)


@pytest.mark.parametrize("step", [MINUTE, STEP, 15 * MINUTE, HOUR])
def test_a_regular_series_that_stops_is_an_anomaly_within_five_arrivals_from_the_drop_on(step: int) -> None:
    values = steady(2, 4, step)
    drop = values.shape[1] - round(DAY / 2 / step)
    values[1, drop:] = np.nan
    _, changes = listen(detector(step=step), values)
    ((at, anomaly),) = openings(changes)
    assert at - MINUTE <= MONDAY + (drop + 5) * step
    assert anomaly.key == keys_of(2)[1]
    assert (anomaly.state, anomaly.direction, anomaly.start) == ("open", "below", MONDAY + drop * step)
    assert math.isnan(anomaly.actual)
    assert anomaly.score >= 1.0
    said = anomaly.explanation
    assert (said["reason"], said["since"], said["last_value"]) == ("silent", anomaly.start, 7.0)
    assert said["expected_every"] == step
    assert said["last_seen"] == anomaly.start - step
    json.dumps(anomaly_json(anomaly), allow_nan=False)


def test_a_metric_that_comes_every_fifth_bucket_has_five_times_as_long() -> None:
    values = steady(2, 5, MINUTE)
    values[1] = np.nan
    values[1, ::5] = 3.0
    drop = 4 * DAY // MINUTE + 600
    values[1, drop + 1 :] = np.nan
    _, changes = listen(detector(step=MINUTE), values)
    ((at, anomaly),) = openings(changes)
    assert 15 <= (at - MINUTE - MONDAY) // MINUTE - drop <= 26
    assert anomaly.explanation["expected_every"] == pytest.approx(5 * MINUTE, rel=0.1)


def test_the_return_closes_it_and_raises_nothing() -> None:
    values = steady(2, 4)
    drop, back = 3 * PER_DAY + 30, 3 * PER_DAY + 90
    values[1, drop:back] = np.nan
    opened, changes = listen(detector(), values)
    assert opened == ()
    assert len(openings(changes)) == 1
    at, closed = changes[-1]
    assert (closed.state, closed.end) == ("closed", MONDAY + back * STEP)
    assert at == MONDAY + (back + 1) * STEP + MINUTE
    assert closed.explanation["ended"] == "data are back"


def test_it_grows_worse_with_time_and_ends_when_the_series_is_retired() -> None:
    values = steady(2, 12)
    drop = 3 * PER_DAY
    values[1, drop:] = np.nan
    opened, changes = listen(detector(), values)
    assert opened == ()
    severities = [anomaly.severity for _, anomaly in changes]
    assert severities == sorted(severities)
    assert severity_band(severities[0]) == "minor"
    assert severity_band(severities[-1]) == "critical"
    assert [anomaly.revision for _, anomaly in changes] == list(range(1, len(changes) + 1))
    assert len(changes) <= 24 * 7 + 2
    last = changes[-1][1]
    assert (last.state, last.explanation["ended"]) == ("closed", "retired")
    assert last.end - (last.start - STEP) > 7 * DAY


@pytest.mark.parametrize("share", [0.05, 0.2, 0.4])
def test_what_comes_at_random_has_no_rhythm_that_could_be_broken(share: float) -> None:
    rng = np.random.default_rng(5)
    values = np.where(rng.random((30, 8 * PER_DAY)) < share, 1.0, np.nan)
    values[:10] = 1.0
    values[10:, 6 * PER_DAY + 40 :] = np.nan
    assert listen(detector(), values) == ((), [])


def test_buckets_that_miss_now_and_then_are_no_silence() -> None:
    rng = np.random.default_rng(6)
    values = np.where(rng.random((40, 14 * PER_DAY)) < 0.9, 1.0, np.nan)
    values[0] = 1.0
    assert len(openings(listen(detector(), values)[1])) <= 2


def working_hours(days: int) -> Float:
    """From 8 to 18 o'clock UTC on working days, beside one that never rests."""
    values = steady(2, days)
    hour = np.arange(values.shape[1]) % PER_DAY / (PER_DAY / 24)
    weekend = np.arange(values.shape[1]) // PER_DAY % 7 >= 5
    values[1, (hour < 8) | (hour >= 18) | weekend] = np.nan
    return values


def test_nights_are_expected_and_weekends_once_they_were_seen() -> None:
    _, changes = listen(detector(), working_hours(21))
    days = [(anomaly.start - MONDAY) // DAY for _, anomaly in openings(changes)]
    assert set(days) <= {4, 5}  # the first weekend, since Friday evening


def test_who_does_not_come_back_in_the_morning_is_found_in_the_morning() -> None:
    values = working_hours(9)
    morning = 8 * PER_DAY + 8 * PER_DAY // 24
    values[1, morning:] = np.nan
    at = [at for at, anomaly in openings(listen(detector(), values)[1]) if at > MONDAY + 7 * DAY]
    assert len(at) == 1
    assert MONDAY + morning * STEP < at[0] - MINUTE <= MONDAY + (morning + 5) * STEP


def test_working_hours_are_those_of_the_clock_on_the_wall() -> None:
    start = 1_791_763_200_000  # Monday 2026-10-12; clocks in Berlin go back on the 25th
    values = steady(2, 28)
    times = start + STEP * np.arange(values.shape[1])
    berlin = times + np.where(times < 1_792_890_000_000, 2, 1) * HOUR
    values[1, (berlin % DAY < 8 * HOUR) | (berlin % DAY >= 18 * HOUR)] = np.nan
    assert listen(detector(timezone="Europe/Berlin"), values, start=start) == ((), [])


def test_when_nothing_comes_any_more_that_is_one_anomaly_of_the_whole() -> None:
    values = steady(40, 4)
    drop = 3 * PER_DAY + 17
    values[:, drop:] = np.nan
    opened, changes = listen(detector(), values)
    ((at, anomaly),) = openings(changes)
    assert anomaly.key == SeriesKey("load")
    assert (anomaly.explanation["silent_series"], anomaly.explanation["of_series"]) == (40, 40)
    assert anomaly.start == MONDAY + drop * STEP
    assert at - MINUTE <= MONDAY + (drop + 5) * STEP
    assert severity_band(anomaly.severity) == "major"
    assert [one.id for one in opened] == [anomaly.id]


def test_after_the_whole_came_back_who_stays_away_is_found_by_itself() -> None:
    values = steady(40, 5)
    drop, back = 3 * PER_DAY, 3 * PER_DAY + 50
    values[:, drop:back] = np.nan
    values[3, back:] = np.nan
    opened, changes = listen(detector(), values)
    assert [anomaly.key for _, anomaly in openings(changes)] == [SeriesKey("load"), keys_of(40)[3]]
    assert [anomaly.key for anomaly in opened] == [keys_of(40)[3]]
    assert opened[0].start == MONDAY + drop * STEP


def test_a_series_that_rarely_says_anything_does_not_keep_the_whole_awake() -> None:
    values = steady(20, 6)
    rng = np.random.default_rng(3)
    values[0] = np.where(rng.random(values.shape[1]) < 0.03, 1.0, np.nan)
    values[1:, 5 * PER_DAY :] = np.nan
    _, changes = listen(detector(), values)
    ((_, anomaly),) = openings(changes)
    assert anomaly.key == SeriesKey("load")


def test_the_only_series_of_a_detector_that_stops_bears_its_own_name() -> None:
    values = steady(1, 4)
    values[:, 3 * PER_DAY :] = np.nan
    ((_, anomaly),) = openings(listen(detector(), values)[1])
    assert anomaly.key == keys_of(1)[0]
    assert anomaly.explanation["last_value"] == 7.0
    assert severity_band(anomaly.severity) == "minor"


@pytest.mark.parametrize(("stopped", "anomalies"), [(3, 3), (9, 9), (10, 1), (30, 1)])
def test_many_that_stop_together_are_one(stopped: int, anomalies: int) -> None:
    values = steady(40, 4)
    values[:stopped, 3 * PER_DAY :] = np.nan
    opened, changes = listen(detector(), values)
    assert len(openings(changes)) == len(opened) == anomalies
    if anomalies == 1:
        assert (opened[0].explanation["silent_series"], opened[0].explanation["of_series"]) == (stopped, 40)
        assert len(opened[0].explanation["series"]) == 10


def test_of_many_the_last_few_become_anomalies_of_their_own() -> None:
    values = steady(40, 6)
    drop = 3 * PER_DAY
    values[:12, drop:] = np.nan
    values[4:12, drop + 100 :] = 7.0
    opened, changes = listen(detector(), values)
    assert [anomaly.key for anomaly in sorted(opened, key=lambda one: one.key)] == list(keys_of(40)[:4])
    assert all(anomaly.start == MONDAY + drop * STEP for anomaly in opened)
    (closed,) = (anomaly for _, anomaly in changes if anomaly.state == "closed")
    assert closed.explanation["silent_series"] >= 4


def test_a_count_that_stops_is_found_although_its_absence_is_a_zero() -> None:
    values = steady(2, 4)
    drop = 3 * PER_DAY
    values[1, drop:] = 0.0
    opened, _ = listen(detector("count"), values)
    assert [anomaly.key for anomaly in opened] == [keys_of(2)[1]]
    assert opened[0].actual == 0.0
    assert opened[0].start == MONDAY + drop * STEP


def test_a_sparse_count_is_silent_once_so_many_zeros_are_unlikely() -> None:
    rng = np.random.default_rng(9)
    rate, days = 0.1, 30
    values = rng.poisson(rate, (60, days * PER_DAY)).astype(np.float64)
    values[0] = 5.0
    quiet = openings(listen(detector("count"), values)[1])
    assert len(quiet) <= 60 * 0.7
    drop = 25 * PER_DAY
    values[1:9, drop:] = 0.0
    opened, changes = listen(detector("count"), values)
    assert [anomaly.key for anomaly in sorted(opened, key=lambda one: one.key)][:8] == list(keys_of(60)[1:9])
    found = [at - MINUTE - MONDAY - drop * STEP for at, one in openings(changes) if one.key in keys_of(60)[1:9]]
    assert max(found) <= 10 / (1 - np.exp(-rate)) * STEP


def test_a_count_whose_episode_says_so_already_is_not_told_twice() -> None:
    values = steady(2, 4)
    drop = 3 * PER_DAY
    values[1, drop:] = 0.0
    alone, _ = listen(detector("count"), values)
    told = MONDAY + (drop + 1) * STEP + MINUTE
    low = Anomaly("a", keys_of(2)[1], "open", 1, MONDAY + drop * STEP, told, told, 2.0, 9.0, "below", 0.0, 10.0, 8.0, 12.0)
    assert len(alone) == 1
    assert listen(detector("count"), values, others=[(told, low)]) == ((), [])


def test_a_count_of_which_only_more_is_of_interest_may_stop() -> None:
    assert not detector("count", direction="above").watches_silence
    assert detector("avg", direction="above").watches_silence
    assert not detector(silence="never").watches_silence
    assert not detector(min_count=2).watches_silence  # few documents are not none


def test_zeros_must_be_as_far_from_expected_as_the_detector_asks() -> None:
    values = steady(2, 4)
    values[1, 3 * PER_DAY :] = 0.0
    one = detector("count", min_deviation=MinDeviation(absolute=5.0))
    assert len(listen(one, values, expected=6.0)[0]) == 1
    assert listen(one, values, expected=4.0) == ((), [])


def test_a_series_that_paused_often_and_came_back_is_that_way() -> None:
    values = steady(2, 12)
    for day in range(2, 12):
        first = day * PER_DAY + (day * 37) % 200
        values[1, first : first + 20] = np.nan
    assert len(openings(listen(detector(), values)[1])) <= 4


def test_a_carry_of_other_series_is_refused() -> None:
    watch, grid = Silences(detector()), TimeGrid(MONDAY, STEP, 1)
    carry = watch.learn(SeriesBatch(keys_of(2), grid, np.ones((2, 1))), watch.start(MONDAY))
    with pytest.raises(ValueError, match="the carry is at"):
        watch.learn(SeriesBatch(keys_of(2), grid, np.ones((2, 1))), carry)
