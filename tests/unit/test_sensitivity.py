"""How easily a detector alarms: ordered by its sensitivity, and tuned to a budget within limits."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from tests.generated import batch

from forewarn.anomaly import Carry
from forewarn.detector import DAY, HOUR, MINUTE, Detector, Selection, Sensitivity
from forewarn.forecast import OK, Calibration, Forecast
from forewarn.scoring.scorer import ResidualScorer
from forewarn.series import Float, SeriesBatch, TimeGrid

STEP = 5 * MINUTE
SERIES = batch(8, 12 * DAY // STEP, STEP, kinds=("counts", "heavytail", "spiky", "sawtooth"), per_kind=3)
MEDIUM = Detector("generated", Selection(path="x"), "avg", "v", step=STEP)


def score(scorer: ResidualScorer, carry: Carry, low: int, high: int) -> tuple[Float, Carry]:
    """Scores of the buckets against the median of each series."""
    keys, S = SERIES.keys, len(SERIES.keys)
    grid = TimeGrid(SERIES.grid.start + low * STEP, STEP, high - low)
    values = np.ascontiguousarray(SERIES.values[:, low:high])
    median = np.repeat(np.median(SERIES.values, axis=1)[:, None], high - low, axis=1)
    forecast = Forecast(keys, grid, median, np.ones_like(median), (OK,) * S, ("x",) * S)
    calibration = Calibration(keys, 0, np.ones((S, 1)), np.ones((S, 1)), np.zeros(S))
    scores, carry = scorer.score(SeriesBatch(keys, grid, values), forecast, calibration, carry)
    return scores.score, carry


@cache
def scores(sensitivity: Sensitivity) -> Float:
    scorer = ResidualScorer(replace(MEDIUM, sensitivity=sensitivity))
    return score(scorer, scorer.start(SERIES.keys, SERIES.grid.start), 0, SERIES.grid.size)[0]


def test_the_less_sensitive_the_fewer_points_alarm() -> None:
    low, medium, high = (int((scores(name) >= 1).sum()) for name in ("low", "medium", "high"))
    assert low < medium < high


def test_the_less_sensitive_the_longer_between_false_alarms() -> None:
    low, medium, high = (
        ResidualScorer(replace(MEDIUM, sensitivity=name)).false_alarm_every for name in ("low", "medium", "high")
    )
    assert low == pytest.approx(3 * medium)
    assert high == pytest.approx(medium / 3)
    assert ResidualScorer(replace(MEDIUM, step=HOUR)).false_alarm_every >= medium


def test_a_tuned_carry_takes_effect_with_the_next_block_of_time_and_stays() -> None:
    scorer = ResidualScorer(replace(MEDIUM, incidents_per_week=1.0))
    half = SERIES.grid.size // 2 // 288 * 288
    start = scorer.start(SERIES.keys, SERIES.grid.start)
    first, carry = score(scorer, start, 0, half)
    np.testing.assert_array_equal(first, scores("medium")[:, :half])
    calmer, after = score(scorer, scorer.tune(carry, 10 * scorer.false_alarm_every), half, SERIES.grid.size)
    usual, _ = score(scorer, carry, half, SERIES.grid.size)
    np.testing.assert_array_equal(calmer[:, :72], usual[:, :72])  # levels are set every six hours
    assert (calmer >= 1).sum() < (usual >= 1).sum()
    assert set(after.arrays["times"]) == {10.0}
    extended = scorer.extend(after, tuple(replace(key, detector="more") for key in SERIES.keys[:2]))
    assert set(extended.arrays["times"]) == {10.0}


def test_no_budget_makes_a_detector_more_nervous_than_high_or_silent_for_ever() -> None:
    scorer = ResidualScorer(replace(MEDIUM, incidents_per_week=1.0))
    start = scorer.start(SERIES.keys, SERIES.grid.start)
    assert set(scorer.tune(start, 1.0).arrays["times"]) == {1 / 3}
    assert set(scorer.tune(start, 1e15).arrays["times"]) == {100.0}


def test_a_budget_that_was_given_up_is_forgotten() -> None:
    tuned = ResidualScorer(replace(MEDIUM, incidents_per_week=1.0))
    carry = tuned.tune(tuned.start(SERIES.keys, SERIES.grid.start), 1e15)
    np.testing.assert_array_equal(score(ResidualScorer(MEDIUM), carry, 0, SERIES.grid.size)[0], scores("medium"))
