"""What a series does every week is neither a fault nor a shift to the batch engine, nor forgotten when clocks change."""

import numpy as np
import pytest
from tests.generated import START

from forewarn.detector import DAY, HOUR, MINUTE
from forewarn.forecast import ModelSpec
from forewarn.forecasting.batch import BatchEngine
from forewarn.forecasting.batch_passes import Robustness
from forewarn.forecasting.civil_time import offsets
from forewarn.forecasting.predict import predict
from forewarn.series import Float, SeriesBatch, SeriesKey, TimeGrid


def _many(values: Float) -> SeriesBatch:
    keys = tuple(SeriesKey("d", (("n", str(n)),)) for n in range(len(values)))
    return SeriesBatch(keys, TimeGrid(START, 15 * MINUTE, values.shape[1]), values.copy())


@pytest.mark.parametrize("days", range(15, 29))
def test_working_days_are_no_fault_however_long_the_window(days: int) -> None:
    # From a Saturday on, three weekends may lie around two working weeks: those were taken for faults and forgotten.
    size = days * 96
    t = np.arange(size + 96)
    rng = np.random.default_rng(days)
    wave = rng.uniform(0, 2, (8, 1)) * np.sin(2 * np.pi * t / 96 + rng.uniform(0, 6, (8, 1)))
    working = rng.uniform(1, 30, (8, 1)) * rng.choice([-1, 1], (8, 1)) * (t // 96 % 7 >= 2)
    y = 50 + wave + working + rng.normal(0, 0.3, (8, t.size))
    history = _many(y[:, :size])
    errors = []
    for robust in (Robustness(), Robustness(adopt_after=0)):
        (model,) = BatchEngine(robust).fit(history, ModelSpec())
        expected = predict(model, TimeGrid(history.grid.end, 15 * MINUTE, 96)).expected
        errors.append(np.abs(y[:, size:] - expected).mean(axis=1))
    assert (errors[0] <= 2 * errors[1] + 0.1).all()


@pytest.mark.parametrize("days", [8, 10, 12, 14, 16, 17, 18, 21, 25, 28])
def test_no_fault_or_shift_is_believed_that_leaves_more_of_the_values(days: int) -> None:
    # Some days of the week, weeks, and hours have levels of their own; few of them repeat often enough to be known.
    size = days * 96
    t = np.arange(size)
    rng = np.random.default_rng(days)
    y = rng.normal(0, 0.3, (48, size))
    for row in range(48):
        y[row] += rng.uniform(0, 20) * np.isin((t // 96) % 7, rng.choice(7, rng.integers(1, 6), replace=False))
        y[row] += rng.uniform(0, 20) * np.isin(t // 96, rng.choice(days, rng.integers(0, days // 2), replace=False))
    left = {}
    for name, robust in (("with", Robustness()), ("without", Robustness(adopt_after=0))):
        (model,) = BatchEngine(robust).fit(_many(y), ModelSpec())
        known = predict(model, TimeGrid(START, 15 * MINUTE, size)).expected.copy()
        for row, at in zip(*np.nonzero(~np.isnan(model.arrays.get("shift_at", np.zeros((48, 0))))), strict=True):
            known[row, START + t * 15 * MINUTE < model.arrays["shift_at"][row, at]] -= model.arrays["shift_by"][row, at]
        latest = size - 36 * 4  # what may be a fault that goes on is another matter
        left[name] = np.median(np.abs(y - known)[:, :latest], axis=1)
        if name == "with":
            places = [model.arrays[place] for place in ("shift_at", "fault_start") if place in model.arrays]
            believed = np.any([~np.isnan(place).all(axis=1) for place in places], axis=0) & np.ones(48, np.bool_)
    assert (left["with"] <= 2.2 * left["without"] + 0.05)[believed].all()
    assert np.count_nonzero(left["with"] > 2.2 * left["without"] + 0.05) <= 1  # whether a pattern is clear can depend on a day


def test_what_takes_more_than_half_of_a_window_is_no_fault() -> None:
    t = np.arange(8 * 96)
    y = 10 + np.random.default_rng(2).normal(0, 0.1, (1, t.size)) + 4.0 * ((t // 96 >= 2) & (t // 96 < 7))
    (model,) = BatchEngine().fit(_many(y), ModelSpec())
    assert "fault_start" not in model.arrays


@pytest.mark.parametrize(("zone", "change"), [("Europe/Paris", 85), ("America/New_York", 92), ("Australia/Sydney", 64)])
def test_business_hours_are_expected_as_well_after_the_clocks_changed(zone: str, change: int) -> None:
    # The clocks go back in Paris on 2026-10-25 and in New York on 11-01; in Sydney they go on on 2026-10-04.
    first = START + (change - 31) * DAY
    grid = TimeGrid(first, 15 * MINUTE, 60 * 96)
    local = grid.times() + offsets(grid.times(), zone)
    assert len(set((local - grid.times()).tolist())) == 2
    hour, busy_day = local % DAY / HOUR, (local // DAY - START // DAY) % 7 >= 2
    rng = np.random.default_rng(7)
    begin, end = rng.uniform(7.5, 9, (12, 1)), rng.uniform(16.5, 18.5, (12, 1))
    y = 100 * (0.2 + np.clip(np.minimum(hour - begin, end - hour), 0, 1) * busy_day) + rng.normal(0, 2, (12, grid.size))
    keys = tuple(SeriesKey("d", (("n", str(n)),)) for n in range(12))
    history = SeriesBatch(keys, grid, y)

    def error(day: int) -> float:
        """The 90th percentile over the days until three later, with a fit of four weeks."""
        end = first + day * DAY
        (model,) = BatchEngine().fit(history.between(end - 28 * DAY, end), ModelSpec(timezone=zone))
        ahead = history.between(end, end + 3 * DAY)
        return float(np.quantile(np.abs(ahead.values - predict(model, ahead.grid).expected), 0.9))

    before = max(error(28), error(29))
    for after in (2, 4, 8, 11, 15, 22):
        assert error(31 + after) <= 1.3 * before


def _office(days: int) -> Float:
    """Eight noisy series [8, days and the next one] that are busy in office hours."""
    t = np.arange((days + 1) * 96)
    rng = np.random.default_rng(days)
    working = (t // 96 % 7 >= 2) & (t % 96 >= 32) & (t % 96 < 72)  # START is a Saturday
    y: Float = 20 + rng.uniform(5, 50, (8, 1)) * working + rng.normal(0, 0.3, (8, t.size))
    return y


@pytest.mark.parametrize("days", range(10, 29))
def test_office_hours_are_expected_on_working_days_and_on_no_others(days: int) -> None:
    # All seven days of the week come up as the next one, with two, three and four of each known.
    y = _office(days)
    errors = []
    for robust in (Robustness(), Robustness(profile=False)):
        (model,) = BatchEngine(robust).fit(_many(y[:, :-96]), ModelSpec())
        expected = predict(model, TimeGrid(START + days * DAY, 15 * MINUTE, 96)).expected
        errors.append(np.abs(y[:, -96:] - expected).mean(axis=1))
    assert (errors[0] <= 0.5 * errors[1]).all()


@pytest.mark.parametrize("days", range(9, 15))
def test_a_second_weekend_like_the_first_is_no_fault(days: int) -> None:
    (model,) = BatchEngine().fit(_many(_office(days)[:, :-96]), ModelSpec())
    assert "fault_start" not in model.arrays
