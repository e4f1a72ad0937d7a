"""Waves that are counted from the beginning of a window say the same as those of civil time."""

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.generated import START, batch

from forewarn.detector import DAY, HOUR, MINUTE
from forewarn.forecast import ModelSpec
from forewarn.forecasting import batch_frame
from forewarn.forecasting.batch import BatchEngine
from forewarn.forecasting.batch_frame import Frame
from forewarn.forecasting.batch_passes import PLAIN
from forewarn.forecasting.design_matrix import instants, layout_for, seasonal_columns
from forewarn.forecasting.predict import predict
from forewarn.forecasting.public_holidays import holiday_days
from forewarn.series import SeriesBatch, TimeGrid

STEP = 15 * MINUTE
T = 28 * DAY // STEP
SPEC = ModelSpec(timezone="Europe/Berlin")
SUMMER = int(datetime(2024, 6, 1, tzinfo=UTC).timestamp()) * 1000
CHANGE = int(datetime(2024, 3, 20, tzinfo=UTC).timestamp()) * 1000


def _frame(grid: TimeGrid, spec: ModelSpec = SPEC) -> tuple[Frame, dict]:
    holidays = holiday_days(spec.holidays, 2024, 2025) if spec.holidays else ()
    layout = layout_for(spec, grid.size * grid.step, grid, holidays, "test")
    return Frame.of(grid, layout, spec), layout


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(0, 90 * 24), st.sampled_from([5 * MINUTE, STEP, HOUR]))
def test_the_coefficients_of_a_window_are_those_of_civil_time_turned(seed: int, later: int, step: int) -> None:
    grid = TimeGrid(SUMMER + later * HOUR, step, 14 * DAY // step)
    frame, layout = _frame(grid)
    basis = frame.basis
    theta = np.random.default_rng(seed).normal(size=(3, basis.R + basis.D))
    waves = theta[:, basis.R - basis.K : basis.R] @ basis.Z[:, basis.R - basis.K : basis.R].T
    np.testing.assert_allclose(frame.beta(theta) @ seasonal_columns(instants(grid), layout).T, waves, rtol=0, atol=1e-8)


def test_a_window_that_has_moved_on_has_the_same_basis() -> None:
    first, _ = _frame(TimeGrid(SUMMER, STEP, T))
    later, _ = _frame(TimeGrid(SUMMER + 7 * HOUR, STEP, T))
    shorter, _ = _frame(TimeGrid(SUMMER, STEP, T - 1))
    assert later.basis is first.basis
    assert shorter.basis is not first.basis


@pytest.mark.parametrize(
    ("start", "spec"),
    [(CHANGE, SPEC), (SUMMER - 30 * DAY, ModelSpec(timezone="Europe/Berlin", holidays=("DE",)))],
    ids=["clocks change", "a holiday"],
)
def test_a_window_in_which_civil_time_is_uneven_has_columns_of_its_own(start: int, spec: ModelSpec) -> None:
    grid = TimeGrid(start, STEP, T)
    frame, layout = _frame(grid, spec)
    basis = frame.basis
    X = seasonal_columns(instants(grid), layout)
    assert X.shape[1] == basis.K
    np.testing.assert_array_equal(basis.Z[:, basis.R - basis.K : basis.R], X)
    theta = np.random.default_rng(1).normal(size=(2, basis.R + basis.D))
    np.testing.assert_array_equal(frame.beta(theta), theta[:, basis.R - basis.K : basis.R])


def test_what_is_kept_does_not_change_a_fit() -> None:
    history = batch(2, T, STEP)
    moved = SeriesBatch(history.keys, TimeGrid(START + 5 * HOUR, STEP, T), history.values)
    for engine in (BatchEngine(), BatchEngine(PLAIN)):
        batch_frame.forget()
        engine.fit(moved, ModelSpec())
        warm = engine.fit(history, ModelSpec())
        batch_frame.forget()
        for one, other in zip(warm, engine.fit(history, ModelSpec()), strict=True):
            for name, array in one.arrays.items():
                np.testing.assert_array_equal(array, other.arrays[name])


def test_a_plain_fit_of_a_window_that_has_moved_on_is_the_same_fit_moved() -> None:
    """By a week: seasonality is the same then, and nothing of the fit knows what time it is."""
    history = batch(3, T, STEP)
    week = 7 * DAY
    moved = SeriesBatch(history.keys, TimeGrid(START + week, STEP, T), history.values)
    engine = BatchEngine(PLAIN)
    for one, other in zip(engine.fit(history, ModelSpec()), engine.fit(moved, ModelSpec()), strict=True):
        here = predict(one, TimeGrid(START + T * STEP, STEP, 96)).expected
        there = predict(other, TimeGrid(START + week + T * STEP, STEP, 96)).expected
        np.testing.assert_allclose(there, here, rtol=1e-9, atol=1e-6 * float(np.abs(here).max()))
