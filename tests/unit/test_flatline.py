"""A value that is stuck is an anomaly of its own; what rests, repeats or never moves is not."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.generated import KINDS, START, batch

from forewarn.anomaly import Anomaly
from forewarn.codec import anomaly_from, anomaly_json
from forewarn.detector import DAY, HOUR, MINUTE, Detector, Maintenance, Selection
from forewarn.forecast import OK, Forecast
from forewarn.scoring.flatline import Flatlines
from forewarn.series import Float, SeriesBatch, SeriesKey, TimeGrid

STEP = 5 * MINUTE
PER_DAY = DAY // STEP
Change = tuple[int, Anomaly]


def detector(function: str = "avg", step: int = STEP, **more: object) -> Detector:
    return Detector("load", Selection(path="x"), function, "v", step=step, delay=MINUTE, **more)  # type: ignore[arg-type] - settings by name


def fold(
    one: Detector, values: Float, opened: Sequence[Anomaly] = (), expected: float = 10.0
) -> tuple[tuple[Anomaly, ...], list[Change]]:
    """Folds the values [S, T] in blocks of a day, and returns what is open at the end and every change."""
    keys = tuple(SeriesKey("load", (("host", f"h{number:03d}"),)) for number in range(len(values)))
    watch, size, changes = Flatlines(one), DAY // one.step, list[Change]()
    carry, still = watch.start(START), tuple(opened)
    for low in range(0, values.shape[1], size):
        block = np.ascontiguousarray(values[:, low : low + size])
        grid = TimeGrid(START + low * one.step, one.step, block.shape[1])
        flat = np.full(block.shape, expected)
        forecast = Forecast(keys, grid, flat, np.ones(block.shape), (OK,) * len(keys), ("x",) * len(keys))
        still, found, carry = watch.fold(still, SeriesBatch(keys, grid, block), forecast, carry, one.delay)
        changes += found
    return still, changes


def openings(changes: Sequence[Change]) -> list[Change]:
    return [(at, anomaly) for at, anomaly in changes if anomaly.revision == 1]


def lively(days: float = 10, step: int = STEP, S: int = 1) -> Float:
    return np.random.default_rng(3).normal(20, 2, (S, round(days * DAY / step)))


def stuck(values: Float, low: int, size: int) -> Float:
    values = values.copy()
    values[:, low : low + size] = values[:, low - 1 : low]
    return values


@pytest.mark.parametrize(("step", "within"), [(MINUTE, HOUR), (STEP, HOUR), (15 * MINUTE, HOUR), (HOUR, 3 * HOUR)])
def test_a_lively_gauge_that_is_stuck_is_told_within_an_hour_or_three_buckets_from_its_first_value_on(
    step: int, within: int
) -> None:
    values = lively(10, step)
    low = values.shape[1] - 12 * HOUR // step
    ((at, anomaly),) = openings(fold(detector(step=step), stuck(values, low, 12 * HOUR // step))[1])
    assert anomaly.start == START + (low - 1) * step
    assert anomaly.start < at <= START + low * step + within + MINUTE
    assert (anomaly.actual, anomaly.state) == (values[0, low - 1], "open")


def test_it_grows_once_an_hour_and_closes_when_the_value_moves() -> None:
    low, size = 9 * PER_DAY, 6 * 12
    values = stuck(lively(), low, size)
    still, changes = fold(detector(), values)
    states = [anomaly.state for _, anomaly in changes]
    assert (still, states) == ((), ["open"] * (len(states) - 1) + ["closed"])
    last = changes[-1][1]
    assert last.end == START + (low + size) * STEP
    assert changes[-1][0] == START + (low + size + 1) * STEP + MINUTE
    assert last.explanation["ended"] == "the value moves again"
    assert 6 <= len(changes) <= 8
    severities = [anomaly.severity for _, anomaly in changes]
    assert severities == sorted(severities)
    assert severities[0] >= 25.0
    assert severities[-1] > severities[0] + 10


def test_it_says_in_plain_data_what_is_stuck_since_when_and_what_was_usual() -> None:
    values = stuck(lively(), 9 * PER_DAY, 40)
    values[0, 1000:1003] = values[0, 1000]
    said = openings(fold(detector(), values)[1])[0][1].explanation
    assert json.loads(json.dumps(said)) == said
    assert (said["reason"], said["value"], said["expected"]) == ("flatline", values[0, 9 * PER_DAY], 10.0)
    assert (said["since"], said["longest_before"]) == (START + (9 * PER_DAY - 1) * STEP, 3)
    assert 0.0 < said["share_of_repeats"] < 0.01
    assert said["equal_values"] > said["normal_up_to"] >= 6
    assert said["times_normal"] >= 1.0


def test_it_is_told_alike_after_it_was_stored() -> None:
    values = stuck(lively(), 9 * PER_DAY, 40)
    before, _ = fold(detector(), values[:, : 9 * PER_DAY + 20])
    assert len(before) == 1
    read = anomaly_from(json.loads(json.dumps(anomaly_json(before[0]))))
    assert (read.id, read.explanation) == (before[0].id, before[0].explanation)


def test_nothing_is_told_in_the_first_two_days_nor_of_rests_in_the_first_week() -> None:
    assert fold(detector(), stuck(lively(2), PER_DAY, PER_DAY // 2))[1] == []
    at_rest = nightly(lively(8))
    at_rest[:, 5 * PER_DAY : 7 * PER_DAY] = 20.5  # the first weekend
    assert fold(detector(), at_rest)[1] == []


def nightly(values: Float, step: int = STEP) -> Float:
    """Stands still from midnight to six, as a counter does when nobody comes."""
    values, per_day = values.copy(), DAY // step
    for day in range(values.shape[1] // per_day):
        values[:, day * per_day : day * per_day + per_day // 4] = values[:, day * per_day : day * per_day + 1]
    return values


def rounded(values: Float, digits: float) -> Float:
    return np.asarray(np.round(values / digits) * digits)


def ways(values: Float, step: int) -> dict[str, Float]:
    """The same series as they come from elsewhere: rounded, held, cut off, standing still at night, as a counter."""
    spread = np.nanstd(values, axis=1, keepdims=True)
    low, high = np.nanpercentile(values, [25, 90], axis=1, keepdims=True)
    return {
        "as it is": values,
        "integers": np.round(values),
        "a fifth of the spread": rounded(values, 1.0) if not spread.all() else np.round(values / spread * 5),
        "every third": np.repeat(values[:, ::3], 3, axis=1)[:, : values.shape[1]],
        "idle": np.maximum(values - low, 0.0),
        "full": np.minimum(values, high),
        "nights": nightly(np.nan_to_num(values), step),
        "counter": np.cumsum(nightly(np.abs(np.nan_to_num(values, nan=1.0)), step), axis=1),
    }


@pytest.mark.parametrize("step", [STEP, HOUR])
def test_clean_series_of_all_kinds_in_all_ways_are_stuck_less_than_once_a_year(step: int) -> None:
    days, each = {STEP: 21, HOUR: 56}[step], 4
    values = batch(5, days * DAY // step, step, KINDS, each).values
    told, years = dict[str, int](), len(values) * days / 365
    for name, series in ways(values, step).items():
        told[name] = len(openings(fold(detector(step=step), series)[1]))
    told["count"] = len(openings(fold(detector("count", step=step), values)[1]))
    full = told.pop("full")  # who is at its limit for the first time may be thought to be stuck
    assert all(number <= 0.5 * years for number in told.values()), (told, years)
    assert sum(told.values()) <= 0.1 * years * len(told), (told, years)
    assert full <= 2 * years


@pytest.mark.parametrize("p", [0.1, 0.3, 0.45])
def test_values_that_repeat_by_chance_have_to_repeat_for_longer(p: float) -> None:
    rng = np.random.default_rng(9)
    values = lively(21)
    for column in range(1, values.shape[1]):
        if rng.random() < p:
            values[0, column] = values[0, column - 1]
    assert fold(detector(), values)[1] == []
    ((_, anomaly),) = openings(fold(detector(), stuck(values, 20 * PER_DAY, 200))[1])
    assert 7 < anomaly.explanation["equal_values"] < 60
    assert anomaly.explanation["share_of_repeats"] == pytest.approx(p, abs=0.03)


def test_a_constant_and_what_mostly_repeats_are_never_stuck() -> None:
    steps = np.repeat(lively(2), 12, axis=1)[:, : 21 * PER_DAY]
    assert fold(detector(), np.vstack([np.full((1, steps.shape[1]), 4.0), steps]))[1] == []


def test_to_rest_at_the_lowest_or_highest_value_is_not_to_be_stuck() -> None:
    values = np.clip(lively(15), 16.5, 23.5)
    for edge in (16.5, 23.5):
        idle = values.copy()
        idle[:, 14 * PER_DAY :] = edge
        assert fold(detector(), idle)[1] == []


def test_what_comes_again_and_again_becomes_usual() -> None:
    values = lively(20)
    for day in range(8, 20, 2):
        values = stuck(values, day * PER_DAY, 60)
    assert len(openings(fold(detector(), values)[1])) == 3


def test_a_hole_pauses_a_run_and_is_none() -> None:
    low = 9 * PER_DAY
    values = lively()
    values[0, low : low + 100] = np.nan
    assert fold(detector(), values)[1] == []
    held = stuck(lively(), low, 60)
    held[0, low + 3 : low + 43] = np.nan
    still, changes = fold(detector(), held[:, : low + 43])
    assert (still, changes) == ((), [])  # four equal values, and then nothing
    ((at, anomaly),) = openings(fold(detector(), held)[1])
    assert anomaly.start == START + (low - 1) * STEP
    assert START + (low + 43) * STEP < at <= START + (low + 48) * STEP


def test_what_is_stuck_and_then_sends_no_more_is_closed_when_it_is_retired() -> None:
    values = np.concatenate([lively(9), np.full((1, 3 * PER_DAY), np.nan)], axis=1)
    low = 8 * PER_DAY
    values = stuck(values, low, PER_DAY)
    last = fold(detector(retire_after=2 * DAY), values)[1][-1][1]
    assert (last.state, last.explanation["ended"], last.end) == ("closed", "retired", START + 9 * DAY)


def test_zeros_of_counts_are_no_values() -> None:
    rng = np.random.default_rng(2)
    counts = rng.poisson(900, (1, 12 * PER_DAY)).astype(np.float64)
    counts[0, 11 * PER_DAY :] = 0.0
    assert fold(detector("count"), counts)[1] == []
    assert len(openings(fold(detector("avg"), counts)[1])) == 1
    assert len(openings(fold(detector("count"), np.where(counts == 0.0, 7.0, counts))[1])) == 1


def test_nothing_begins_in_a_window_of_maintenance_and_what_outlasts_it_is_told() -> None:
    low = 9 * PER_DAY
    window = Maintenance(START + low * STEP, START + (low + 60) * STEP)
    one = detector(maintenance=(window,))
    assert len(openings(fold(detector(), stuck(lively(), low, 60))[1])) == 1
    assert fold(one, stuck(lively(), low, 60))[1] == []
    ((at, anomaly),) = openings(fold(one, stuck(lively(), low, 120))[1])
    assert window.end < at <= window.end + HOUR
    assert anomaly.start == START + (low - 1) * STEP


def test_never_means_never_and_withdraws_what_is_open() -> None:
    values = stuck(lively(), 9 * PER_DAY, PER_DAY)
    before, _ = fold(detector(), values)
    assert [one.state for one in before] == ["open"]
    still, changes = fold(detector(flatline="never"), values[:, :PER_DAY], before)
    assert still == ()
    assert [(one.id, one.state) for _, one in changes] == [(before[0].id, "withdrawn")]


def test_an_expectation_that_is_not_known_is_none() -> None:
    values = stuck(lively(), 9 * PER_DAY, 40)
    anomaly = openings(fold(detector(), values, expected=math.nan)[1])[0][1]
    assert anomaly.explanation["expected"] is None
    assert anomaly.direction == "below"
    assert replace(anomaly, revision=2).severity_band == "minor"


def test_a_scaled_or_shifted_gauge_is_stuck_alike() -> None:
    values = stuck(lively(S=3), 9 * PER_DAY, 40)

    def gist(values: NDArray[np.float64]) -> list[tuple[int, str, float]]:
        return [(at, one.id, one.severity) for at, one in fold(detector(), values)[1]]

    assert gist(values) == gist(values * 2.0**40) == gist(-values)
