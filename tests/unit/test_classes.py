"""Kinds of stream: told from what values do, tested anew every day."""

import numpy as np
import pytest
from tests.generated import KINDS, batch

from forewarn.detector import DAY, MINUTE, Detector, Selection
from forewarn.scoring.classes import CLASSES, classify
from forewarn.scoring.silence import Silences
from forewarn.series import Float, SeriesBatch, SeriesKey, TimeGrid

MONDAY = 1_780_272_000_000
STEP = 15 * MINUTE
PER_DAY = DAY // STEP
KEYS = (SeriesKey("d", (("host", "a"),)), SeriesKey("d", (("host", "b"),)))


def names(values: Float) -> list[str]:
    return [CLASSES[one] for one in classify(values)]


@pytest.mark.parametrize("kind", KINDS)
def test_generated_series_are_what_they_were_made_as(kind: str) -> None:
    made = {"counts": "lively", "sparsecount": "sparse"}.get(kind, "gauge")
    assert set(names(batch(2, 7 * PER_DAY, STEP, kinds=(kind,), per_kind=5).values)) == {made}


def test_counters_rise_and_are_reset() -> None:
    rng = np.random.default_rng(1)
    steps = rng.poisson(40, (3, 2000)).astype(np.float64)
    steps[1, rng.random(2000) < 0.7] = 0.0  # idle most of the time
    total = np.cumsum(steps, axis=1)
    total[2, 700:] -= total[2, 699]
    total[2, 1500:] -= total[2, 1499]
    total[:, rng.random(2000) < 0.1] = np.nan
    assert names(total) == ["counter"] * 3


def test_what_rises_and_falls_back_all_day_is_no_counter() -> None:
    assert names(np.tile(np.arange(8.0), 100)[None]) == ["lively"]
    assert names(np.cumsum(np.full((1, 500), 0.5), axis=1)) == ["counter"]
    assert names(np.cumsum(np.random.default_rng(2).normal(0.5, 1, (1, 500)), axis=1)) == ["gauge"]


def test_what_hardly_ever_moves_is_constant() -> None:
    values = np.full((3, 1000), 7.0)
    values[1, 500:] = 9.0
    values[2] = 0.0
    assert names(values) == ["constant"] * 3


def test_a_setting_that_is_raised_now_and_then_is_no_counter() -> None:
    assert names(np.repeat(np.arange(30.0), 40)[None]) == ["lively"]


def test_too_little_is_new() -> None:
    values = np.full((2, 100), np.nan)
    values[1, :19] = 3.0
    assert names(values) == ["new", "new"]


def test_a_class_changes_with_the_series_and_one_that_stops_is_stopped() -> None:
    rng = np.random.default_rng(3)
    values = np.empty((2, 20 * PER_DAY))
    values[0] = rng.poisson(30, values.shape[1])
    values[1] = rng.poisson(30, values.shape[1])
    values[1, 5 * PER_DAY :] = 0.0
    values[1, 5 * PER_DAY :: 20] = 1.0
    values[0, 19 * PER_DAY :] = np.nan
    watch, seen = Silences(Detector("d", Selection(path="x"), "max", "v", step=STEP)), []
    carry = watch.start(MONDAY)
    for day in range(20):
        grid = TimeGrid(MONDAY + day * DAY, STEP, PER_DAY)
        part = np.ascontiguousarray(values[:, day * PER_DAY : (day + 1) * PER_DAY])
        carry = watch.learn(SeriesBatch(KEYS, grid, part), carry)
        seen.append([watch.kind(carry, row) for row in (0, 1, 2)])
    assert seen[0] == seen[4] == ["lively", "lively", "new"]
    assert seen[18] == ["lively", "sparse", "new"]
    assert seen[19] == ["stopped", "sparse", "new"]
