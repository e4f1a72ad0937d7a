"""Heads-ups: what fills up is foreseen, what merely breathes is not, and a heads-up withdraws itself."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forewarn.detector import HOUR, MINUTE, Detector, Selection, Threshold
from forewarn.forecast import OK, Forecast
from forewarn.incident import HeadsUp
from forewarn.scoring.outlook import Foresight
from forewarn.series import Float, SeriesBatch, SeriesKey, TimeGrid

STEP = 5 * MINUTE
START = 1_780_272_000_000
DISK = Detector("disk", Selection(index="m"), "avg", "used", step=STEP, threshold=Threshold(above=90.0), unit="%")
KEYS = tuple(SeriesKey("disk", (("host.name", name),)) for name in ("a", "b"))


def folded(
    values: Float, detector: Detector = DISK, cuts: tuple[int, ...] = (), expected: float = 50.0
) -> tuple[tuple[HeadsUp, ...], list[tuple[int, HeadsUp]]]:
    """All changes over [S, T] values around a flat forecast; cut into blocks at `cuts`."""
    outlook = Foresight(detector)
    back, (S, T) = outlook.look_back, values.shape
    whole = np.hstack([np.full((S, back), np.nan), values])
    opened: tuple[HeadsUp, ...] = ()
    changes: list[tuple[int, HeadsUp]] = []
    for low, high in zip((0, *cuts), (*cuts, T), strict=True):
        grid = TimeGrid(START + (low - back) * STEP, STEP, back + high - low)
        ahead = TimeGrid(grid.start, STEP, grid.size + outlook.horizon)
        flat = np.full((S, ahead.size), expected)
        forecast = Forecast(KEYS[:S], ahead, flat, np.ones_like(flat), (OK,) * S, ("batch",) * S)
        block = SeriesBatch(KEYS[:S], grid, np.ascontiguousarray(whole[:, low : high + back]))
        opened, made = outlook.fold(opened, block, forecast, MINUTE)
        changes.extend(made)
    return opened, changes


def noise(seed: int, size: int, scale: float = 1.0) -> Float:
    return np.random.default_rng(seed).normal(0.0, scale, size)


def filling(seed: int = 1, size: int = 200, rate: float = 0.2, since: int = 60) -> Float:
    """A disk at 50 % that fills by `rate` a bucket from bucket `since` on."""
    return 50.0 + np.maximum(0, np.arange(size) - since) * rate + noise(seed, size)


def test_a_disk_that_fills_is_foreseen_hours_before_with_an_interval_that_holds_the_truth() -> None:
    opened, changes = folded(filling()[None, :])
    truth = START + (60 + round(40 / 0.2) + 1) * STEP
    first = changes[0][1]
    assert first.state == "open"
    assert truth - first.since >= 6 * HOUR
    (last,) = opened
    assert last.earliest <= truth <= last.latest
    assert abs(last.at - truth) <= HOUR


@pytest.mark.parametrize("seed", range(20))
def test_noise_around_the_forecast_gives_no_heads_up(seed: int) -> None:
    assert folded(50.0 + noise(seed, 600, 3.0)[None, :]) == ((), [])


def test_one_that_stops_filling_is_withdrawn() -> None:
    values = np.concatenate([filling(size=150), 50.0 + 90 * 0.2 + noise(2, 150)])
    opened, changes = folded(values[None, :])
    assert opened == ()
    assert [one.state for _, one in changes][-1] == "withdrawn"


def test_one_that_crosses_is_reached_and_told_so_once() -> None:
    opened, changes = folded(filling(size=290)[None, :])
    states = [one.state for _, one in changes]
    assert opened == ()
    assert states.count("reached") == 1
    assert states[-1] == "reached"


def test_below_is_the_mirror_of_above() -> None:
    above = folded(filling()[None, :])[1]
    mirrored = replace(DISK, threshold=Threshold(below=-90.0))
    below = folded(-filling()[None, :], mirrored, expected=-50.0)[1]
    assert [(at, one.at, one.probability) for at, one in above] == [(at, one.at, one.probability) for at, one in below]


def test_missing_values_neither_open_nor_withdraw() -> None:
    values = filling(size=220)
    whole = folded(values[None, :])[0]
    values[150:170] = np.nan
    assert [one.id for one in folded(values[None, :])[0]] == [one.id for one in whole]
    assert folded(np.full((1, 100), np.nan)) == ((), [])


@settings(max_examples=15, deadline=None)
@given(st.sets(st.integers(1, 249), max_size=6), st.integers(0, 5))
def test_any_split_of_a_block_and_any_company_gives_the_same_changes(cuts: set[int], seed: int) -> None:
    values = np.vstack([filling(seed, 250), 50.0 + noise(seed + 1, 250)])
    assert folded(values, cuts=tuple(sorted(cuts))) == folded(values)
    alone = folded(values[:1])[1]
    assert [one for one in folded(values)[1] if one[1].key == KEYS[0]] == alone
