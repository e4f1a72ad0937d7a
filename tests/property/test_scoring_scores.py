"""What must hold of scores whatever the data: units and origin do not matter, further is never better, the past decides."""

from dataclasses import replace

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.generated import KINDS, START, generate

from forewarn.detector import DAY, HOUR, MINUTE, Detector, MinDeviation, Selection
from forewarn.forecast import OK, Calibration, Forecast
from forewarn.scoring.runs import BELOW
from forewarn.scoring.scorer import CONTINUED, ONGOING, ResidualScorer
from forewarn.series import Float, SeriesBatch, SeriesKey, TimeGrid

KEY = (SeriesKey("d"),)
WARM = 3 * 288
"""Buckets after which five-minute series have learnt their scales and levels."""

kinds = st.sampled_from(KINDS)
gauges = st.sampled_from([kind for kind in KINDS if kind not in ("counts", "sparsecount")])
seeds = st.integers(0, 10_000)


def detector(step: int = 5 * MINUTE, **changes: object) -> Detector:
    return replace(Detector("d", Selection(path="x"), "avg", "v", step=step), **changes)


def score(values: Float, expected: Float, who: Detector | None = None, sigma: float = 1.0) -> tuple[Float, Float]:
    """Scores and reasons [T] of one series."""
    who = who or detector()
    grid = TimeGrid(START, who.step, len(values))
    scorer = ResidualScorer(who)
    calibration = Calibration(KEY, START, np.ones((1, 48)), np.ones((1, 48)), np.zeros(1))
    block = SeriesBatch(KEY, grid, values[None].astype(np.float64))
    forecast = Forecast(KEY, grid, expected[None].astype(np.float64), np.full((1, len(values)), sigma), (OK,), ("x",))
    scores, _ = scorer.score(block, forecast, calibration, scorer.start(KEY, START))
    return scores.score[0], scores.reason[0]


def series(kind: str, seed: int, n: int = WARM + 200) -> tuple[Float, Float]:
    """A generated series and a plausible expectation: the median so far, a day late."""
    values = generate(kind, np.random.default_rng(seed), n)
    expected = np.concatenate([np.full(288, np.nanmedian(values[:288])), values[:-288]])
    return values, np.where(np.isnan(expected), np.nanmedian(values), expected)


def share_close(left: Float, right: Float, tolerance: float) -> float:
    """The share of scores that agree. Not all: a rounded one may fall to the other side of the edge of a record."""
    return float(np.isclose(left, right, rtol=tolerance, atol=tolerance, equal_nan=True).mean())


@settings(max_examples=12, deadline=None)
@given(gauges, seeds, st.integers(-20, 20), st.floats(-1e4, 1e4))
def test_a_gauge_in_another_unit_or_from_another_origin_scores_the_same(kind: str, seed: int, power: int, shift: float) -> None:
    values, expected = series(kind, seed)
    plain, _ = score(values, expected)
    scale = 3.0**power
    scaled, _ = score(values * scale, expected * scale, sigma=scale)
    assert share_close(scaled, plain, 1e-5) > 0.99
    moved, _ = score(values + shift, expected + shift)
    assert share_close(moved, plain, 1e-3) > 0.99


@settings(max_examples=12, deadline=None)
@given(kinds, seeds)
def test_a_perfect_forecast_never_alarms(kind: str, seed: int) -> None:
    values, _ = series(kind, seed)
    got, _ = score(values, values.copy())
    assert not (got >= 1).any()


@settings(max_examples=12, deadline=None)
@given(kinds, seeds)
def test_a_value_that_is_as_expected_never_alarms_whatever_came_before(kind: str, seed: int) -> None:
    values, expected = series(kind, seed)
    values[-1] = expected[-1]
    assert score(values, expected)[0][-1] < 1


@settings(max_examples=15, deadline=None)
@given(kinds, seeds, st.booleans(), st.lists(st.floats(0, 1e3), min_size=2, max_size=6))
def test_further_from_expected_and_from_recent_never_scores_lower(kind: str, seed: int, up: bool, ways: list[float]) -> None:
    values, expected = series(kind, seed, n=WARM)
    recent = values[-26:-1] - expected[-26:-1]
    recent = recent[np.isfinite(recent)]
    spread = np.nanstd(values) + 1e-9
    edge = max(0.0, recent.max(initial=0.0)) if up else min(0.0, recent.min(initial=0.0))
    got = []
    for way in sorted(ways):
        values[-1] = expected[-1] + edge + (way if up else -way) * spread
        got.append(score(values, expected)[0][-1])
    assert got == sorted(got)


@settings(max_examples=12, deadline=None)
@given(kinds, seeds, st.integers(WARM, WARM + 199), st.floats(-1e6, 1e6))
def test_what_comes_after_does_not_matter(kind: str, seed: int, at: int, later: float) -> None:
    values, expected = series(kind, seed)
    changed = values.copy()
    changed[at:] = later
    np.testing.assert_array_equal(score(values, expected)[0][:at], score(changed, expected)[0][:at])


@settings(max_examples=12, deadline=None)
@given(kinds, seeds, st.integers(0, 400), st.sampled_from([MINUTE, 5 * MINUTE, HOUR]))
@example(kind="gappy", seed=968, late=358, step=MINUTE)  # a gap among the first points
def test_the_first_points_after_a_start_never_alarm_by_themselves(kind: str, seed: int, late: int, step: int) -> None:
    values, expected = series(kind, seed, n=800)
    values[:late] = np.nan
    values[late:] *= 100
    got, reason = score(values, expected, detector(step))
    first = int(np.argmax(~np.isnan(values)))
    points = np.flatnonzero(~np.isnan(values[first:]))[: 20 if step < HOUR else 6] + first
    assert not (got[points] >= 1).any()
    assert CONTINUED not in reason[points]


@settings(max_examples=12, deadline=None)
@given(seeds, st.integers(30, 300), st.floats(10, 1e4))
def test_the_first_points_after_a_gap_alarm_only_to_go_on_with_a_run(seed: int, missing: int, jump: float) -> None:
    values, expected = np.random.default_rng(seed).normal(size=WARM + 400), np.zeros(WARM + 400)
    values[WARM - 300 : WARM] *= 0.2  # no run is open
    calm, busy = values.copy(), values.copy()
    calm[WARM : WARM + missing] = np.nan
    calm[WARM + missing :] += jump
    got, _ = score(calm, expected)
    assert not (got[WARM + missing : WARM + missing + 10] >= 1).any()

    busy[WARM - 3 :] += 1000.0
    back = WARM + min(missing, 40)
    busy[WARM:back] = np.nan
    got, reason = score(busy, expected)
    assert (got[WARM - 3 : WARM] >= 1).any()
    assert got[back] >= 1
    assert reason[back] == CONTINUED


@settings(max_examples=12, deadline=None)
@given(seeds, st.sampled_from(["above", "below"]), st.floats(0.1, 100))
def test_direction_and_minimum_deviation_hold_a_score_below_one(seed: int, direction: str, least: float) -> None:
    values, expected = np.random.default_rng(seed).standard_t(2, WARM + 200), np.zeros(WARM + 200)
    got, _ = score(values, expected, detector(direction=direction, min_deviation=MinDeviation(absolute=least)))
    wrong = values < 0 if direction == "above" else values > 0
    assert not (got[wrong | (np.abs(values) < least)] >= 1).any()


def test_a_lasting_offset_alarms_at_its_start_and_not_for_days() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=20 * 288)
    values[10 * 288 :] += 15
    got, reason = score(values, np.zeros(20 * 288))
    assert (got[10 * 288 : 10 * 288 + 3] >= 1).any()
    alarms = np.flatnonzero(got[10 * 288 :] >= 1)
    assert (alarms < 40).sum() >= 1
    assert (alarms > 60).sum() <= 10  # in ten days
    assert (got[reason == ONGOING] <= BELOW + 1e-12).all()


def test_a_normal_series_alarms_no_more_than_the_level_promises() -> None:
    rng = np.random.default_rng(2)
    keys = tuple(SeriesKey("d", (("n", f"{n:02}"),)) for n in range(40))
    n = 40 * 288
    grid = TimeGrid(START, 5 * MINUTE, n)
    scorer = ResidualScorer(detector())
    calibration = Calibration(keys, START, np.ones((40, 48)), np.ones((40, 48)), np.zeros(40))
    for values in (rng.normal(size=(40, n)), rng.poisson(4.0, size=(40, n)) - 4.0):
        forecast = Forecast(keys, grid, np.zeros((40, n)), np.ones((40, n)), (OK,) * 40, ("x",) * 40)
        block = SeriesBatch(keys, grid, values.astype(np.float64))
        scores, _ = scorer.score(block, forecast, calibration, scorer.start(keys, START))
        a_day = (scores.score[:, 10 * 288 :] >= 1).sum() / (40 * 30)
        assert 0 < a_day < 2 / 3  # once in three days, within a factor of two


def test_frequent_and_heavy_events_do_not_raise_their_own_threshold() -> None:
    rng = np.random.default_rng(3)
    n = 42 * 288
    values = rng.normal(size=n)
    starts = [day * 288 + int(hour * 12) for day in range(42) for hour in (rng.uniform(1, 9), rng.uniform(13, 21))]
    for start in starts:
        values[start : start + 8] += rng.choice([-1, 1]) * rng.uniform(8, 15)
    values[16 * 288 : 19 * 288] += 300.0
    got, _ = score(values, np.zeros(n))
    late = [start for start in starts if start >= 28 * 288]
    found = [bool((got[start : start + 8] >= 1).any()) for start in late]
    assert np.mean(found) > 0.8


def test_a_score_does_not_depend_on_the_day_it_is_computed_on() -> None:
    values, expected = series("smooth", 5)
    one, _ = score(values, expected)
    who = detector()
    scorer = ResidualScorer(who)
    start = START + 140 * DAY
    grid = TimeGrid(start, who.step, len(values))
    calibration = Calibration(KEY, start, np.ones((1, 48)), np.ones((1, 48)), np.zeros(1))
    forecast = Forecast(KEY, grid, expected[None].copy(), np.ones((1, len(values))), (OK,), ("x",))
    scores, _ = scorer.score(SeriesBatch(KEY, grid, values[None].copy()), forecast, calibration, scorer.start(KEY, start))
    np.testing.assert_allclose(scores.score[0], one, rtol=1e-6)


@settings(max_examples=8, deadline=None)
@given(seeds, st.sampled_from([1e2, 1e5, 1e9]), st.integers(250, 600))
def test_one_absurd_value_hides_no_event_after_it(seed: int, absurd: float, ago: int) -> None:
    values = np.random.default_rng(seed).normal(0.0, 1.0, WARM + 200)
    expected = np.zeros_like(values)
    values[-1] = 30.0
    plain, _ = score(values, expected)
    values[-1 - ago] = absurd
    after, _ = score(values, expected)
    assert after[-1] >= 0.8 * plain[-1] > 1.0
