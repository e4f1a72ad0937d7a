"""What changed in an episode is named by what the values did: on generated series, by kind and size."""

from collections import Counter
from collections.abc import Callable
from typing import Final

import numpy as np
import pytest
from numpy.typing import NDArray

from forewarn.anomaly import SHAPES
from forewarn.detector import DAY, HOUR, MINUTE
from forewarn.scoring.shape import Shapes
from forewarn.series import Float

STEP: Final = 5 * MINUTE
R: Final = 200
Changed = tuple[Float, Float]


def drawn(step: int, bears: Callable[[Float, Float], Float], start: int, daily: float = 8.0, seed: int = 1) -> Changed:
    """Values [R, W] of a day that end with the bucket of a change, and what was expected; `bears` gets hours since the start,
    and noise."""
    window = Shapes(step).window
    rng = np.random.default_rng(seed)
    hours = (np.arange(window) - start) * step / HOUR
    noise = bears(np.broadcast_to(hours, (R, window)), rng.normal(0, 1, (R, window)))
    phase = rng.random((R, 1)) * 24
    expected = 50 + daily * np.sin(2 * np.pi * (hours + phase) / 24)
    return expected + noise, expected


def names(step: int, changed: Changed, start: int, above: bool = True) -> Counter[str]:
    ups = np.full(R, above)
    return Counter(Shapes(step)(*changed, np.full(R, start), ups))


def share(found: Counter[str], name: str) -> float:
    return found[name] / found.total()


def during(hours: Float, length: float = 1e9) -> NDArray[np.bool_]:
    return np.asarray((hours >= 0) & (hours < length))


@pytest.mark.parametrize("size", [3.0, 5.0, 20.0])
@pytest.mark.parametrize("step", [STEP, HOUR])
def test_a_level_that_moved_and_stays_is_one(step: int, size: float) -> None:
    start = Shapes(step).window // 2
    found = names(step, drawn(step, lambda hours, noise: noise + size * during(hours), start), start)
    assert share(found, "level") >= 0.9, found
    fallen = names(step, drawn(step, lambda hours, noise: noise - size * during(hours), start), start, above=False)
    assert share(fallen, "level") >= 0.9, fallen


@pytest.mark.parametrize("size", [5.0, 12.0, 100.0])
@pytest.mark.parametrize("step", [STEP, HOUR])
def test_what_came_back_is_a_spike_or_a_dip(step: int, size: float) -> None:
    start = Shapes(step).window - 8 * (3 if step < HOUR else 1)
    length = 0.25 if step < HOUR else 1
    up = names(step, drawn(step, lambda hours, noise: noise + size * during(hours, length), start), start)
    assert share(up, "spike") >= 0.85, up
    down = names(step, drawn(step, lambda hours, noise: noise - size * during(hours, length), start), start, above=False)
    assert share(down, "dip") >= 0.85, down


@pytest.mark.parametrize("step", [STEP, HOUR])
def test_what_only_began_is_no_level_yet(step: int) -> None:
    start = Shapes(step).window - 3
    found = names(step, drawn(step, lambda hours, noise: noise + 8 * during(hours), start), start)
    assert set(found) == {"spike"}


@pytest.mark.parametrize(("step", "size", "least"), [(STEP, 3, 0.9), (STEP, 5, 0.95), (HOUR, 3, 0.5), (HOUR, 8, 0.85)])
def test_noise_that_grew_is_the_variance(step: int, size: float, least: float) -> None:
    start = Shapes(step).window // 2
    found = names(step, drawn(step, lambda hours, noise: np.where(during(hours), size * noise, noise), start), start)
    assert share(found, "variance") >= least, found


@pytest.mark.parametrize("step", [STEP, HOUR])
def test_what_moves_away_all_the_time_is_the_trend(step: int) -> None:
    start = Shapes(step).window * 5 // 8  # when it was found it had gone on for hours
    found = names(step, drawn(step, lambda hours, noise: noise + 0.6 * np.maximum(hours + 8, 0), start), start)
    assert share(found, "trend") >= 0.9, found


@pytest.mark.parametrize("hours", [-3, -1.5, 1.5, 3])
@pytest.mark.parametrize("step", [STEP, HOUR])
def test_a_shape_that_comes_early_or_late_is_the_period(step: int, hours: float) -> None:
    window = Shapes(step).window
    start, away = window // 2, round(hours * HOUR / step)
    rng = np.random.default_rng(3)
    times = (np.arange(window) + rng.integers(0, window, (R, 1))) * step / HOUR
    expected = 50 + 12 * np.sin(2 * np.pi * times / 24)
    moved = 50 + 12 * np.sin(2 * np.pi * (times + away * step / HOUR * (np.arange(window) >= start)) / 24)
    found = names(step, (moved + rng.normal(0, 1, moved.shape), expected), start)
    assert share(found, "period") >= {-3: 0.7, -1.5: 0.5}.get(hours, 0.4), found  # early: half of what moved is not looked at


@pytest.mark.parametrize("step", [STEP, HOUR])
def test_nothing_else_is_taken_for_the_period(step: int) -> None:
    window = Shapes(step).window
    cases: list[Callable[[Float, Float], Float]] = [
        lambda hours, noise: noise + 6 * during(hours),
        lambda hours, noise: noise + 15 * during(hours, 1),
        lambda hours, noise: np.where(during(hours), 4 * noise, noise),
        lambda hours, noise: noise + 0.6 * np.maximum(hours + 8, 0),
    ]
    found = [names(step, drawn(step, bears, start), start) for bears in cases for start in (window // 2, window * 3 // 4)]
    assert sum(one["period"] for one in found) <= 0.01 * R * len(found), found


def test_units_holes_and_other_rows_change_no_name() -> None:
    start = Shapes(STEP).window // 2
    actual, expected = drawn(STEP, lambda hours, noise: noise + 4 * during(hours), start)
    names_of = Shapes(STEP)
    first, above = np.full(R, start), np.ones(R, np.bool_)
    whole = names_of(actual, expected, first, above)
    assert names_of(actual * 2.0**30, expected * 2.0**30, first, above) == whole
    one_by_one = [names_of(actual[row : row + 1], expected[row : row + 1], first[:1], above[:1])[0] for row in range(0, R, 10)]
    assert one_by_one == list(whole[::10])
    holes = np.where(np.random.default_rng(2).random(actual.shape) < 0.2, np.nan, actual)
    assert share(Counter(names_of(holes, expected, first, above)), "level") >= 0.95


def test_no_name_is_given_where_too_little_came_before() -> None:
    namer = Shapes(STEP)
    actual, expected = drawn(STEP, lambda hours, noise: noise + 8 * during(hours), 10)
    assert set(namer(actual, expected, np.full(R, 10), np.ones(R, np.bool_))) == {""}
    unknown = np.full_like(actual, np.nan)
    assert set(namer(unknown, expected, np.full(R, namer.window // 2), np.ones(R, np.bool_))) == {""}
    assert namer(actual[:0], expected[:0], np.zeros(0, np.int64), np.zeros(0, np.bool_)) == ()


def test_a_series_that_never_varied_has_names_too() -> None:
    namer = Shapes(STEP)
    start, flat = namer.window // 2, np.full((2, namer.window), 5.0)
    moved = flat.copy()
    moved[0, start:], moved[1, start : start + 2] = 7.0, 9.0
    assert namer(moved, flat, np.full(2, start), np.ones(2, np.bool_)) == ("level", "spike")


def test_a_forecast_that_was_perfect_or_not_there_has_no_name_and_warns_of_nothing() -> None:
    namer = Shapes(STEP)
    start = namer.window // 2
    expected = np.tile(50 + 8 * np.sin(np.arange(namer.window) / 40), (2, 1))
    actual = expected.copy()
    expected[1, :start], actual[1, start:] = np.nan, np.nan
    assert namer(actual, expected, np.full(2, start), np.ones(2, np.bool_)) == ("spike", "")


@pytest.mark.parametrize("step", [MINUTE, STEP, 15 * MINUTE, HOUR, 6 * HOUR, DAY, 7 * DAY])
def test_any_step_has_a_window_and_only_known_names(step: int) -> None:
    namer = Shapes(step)
    rng = np.random.default_rng(4)
    actual = rng.normal(0, 1, (R, namer.window))
    found = namer(actual, np.zeros_like(actual), rng.integers(0, namer.window, R), rng.random(R) < 0.5)
    assert set(found) <= {"", *SHAPES}
    assert 1 <= namer.window <= 288
