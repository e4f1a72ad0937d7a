"""Silence depends on when data came and on nothing else: not on how time was cut, nor on the order of the series."""

from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from forewarn.anomaly import Anomaly, Carry
from forewarn.codec import anomaly_json
from forewarn.detector import DAY, MINUTE, Detector, Maintenance, Selection
from forewarn.forecast import OK, Forecast
from forewarn.scoring.silence import Silences
from forewarn.series import Float, SeriesBatch, SeriesKey, TimeGrid

MONDAY = 1_780_272_000_000
STEP = 15 * MINUTE
DAYS = 9
T = DAYS * DAY // STEP


def detector(function: str) -> Detector:
    return Detector("load", Selection(path="x"), function, "v", step=STEP, timezone="America/New_York", retire_after=2 * DAY)


@cache
def fleet(nothing: float) -> tuple[tuple[SeriesKey, ...], Float]:
    """Steady ones, gappy ones, random ones, one that joins late; some stop alone, twelve together, and once all of them."""
    rng = np.random.default_rng(11)
    share = np.concatenate([np.ones(20), np.full(6, 0.9), np.full(4, 0.3)])
    came = rng.random((30, T)) < share[:, None]
    came[2, : 3 * T // DAYS] = False
    came[3, 500:560] = came[22, 600:] = False
    came[5:17, 700:780] = False
    came[:, 640:660] = False
    values = np.where(came, rng.integers(1, 50, came.shape).astype(np.float64), nothing)
    if nothing == 0.0:
        values[2, : 3 * T // DAYS] = np.nan
    return tuple(SeriesKey("load", (("host", f"h{row:02d}"),)) for row in range(30)), values


def listen(
    function: str, cuts: list[int], rows: list[int], windows: tuple[Maintenance, ...] = ()
) -> tuple[tuple[Anomaly, ...], list[tuple[int, Anomaly]], Carry]:
    everyone, all_values = fleet(0.0 if function == "count" else np.nan)
    keys, values = tuple(everyone[row] for row in rows), all_values[rows]
    watch = Silences(replace(detector(function), maintenance=windows))
    carry, opened, changes = watch.start(MONDAY), (), []
    edges = [0, *cuts, T]
    for low, high in pairwise(edges):
        grid = TimeGrid(MONDAY + low * STEP, STEP, high - low)
        block = np.ascontiguousarray(values[:, low:high])
        forecast = Forecast(keys, grid, np.full(block.shape, 9.0), np.ones(block.shape), (OK,) * 30, ("x",) * 30)
        batch = SeriesBatch(keys, grid, block)
        learnt = watch.learn(batch, carry)
        opened, found, carry = watch.fold(opened, (), batch, forecast, carry, MINUTE)
        assert all(np.array_equal(learnt.arrays[name], carry.arrays[name], equal_nan=True) for name in carry.arrays)
        changes += found
    return opened, changes, carry


@cache
def at_once(function: str) -> tuple[tuple[Anomaly, ...], list[tuple[int, Anomaly]], Carry]:
    return listen(function, [], list(range(30)))


def plain(changes: list[tuple[int, Anomaly]]) -> list[tuple[int, object]]:
    return [(at, anomaly_json(anomaly)) for at, anomaly in changes]


def test_the_fleet_shows_every_kind_of_silence() -> None:
    for function in ("avg", "count"):
        _, changes, _ = at_once(function)
        kinds = {anomaly.explanation["state"]["what"] for _, anomaly in changes}
        assert kinds == {"series", "many", "whole"}
        assert {anomaly.explanation.get("ended") for _, anomaly in changes} >= {"data are back", "retired"}


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(["avg", "count"]), st.sets(st.integers(1, T - 1), max_size=30))
def test_any_cut_gives_the_same_changes_and_the_same_carry(function: str, cuts: set[int]) -> None:
    opened, changes, carry = listen(function, sorted(cuts), list(range(30)))
    expected = at_once(function)
    assert [anomaly_json(one) for one in opened] == [anomaly_json(one) for one in expected[0]]
    assert plain(changes) == plain(expected[1])
    for name, array in expected[2].arrays.items():
        np.testing.assert_array_equal(carry.arrays[name], array)


WINDOWS = (Maintenance(MONDAY + 638 * STEP + 1, MONDAY + 665 * STEP), Maintenance(MONDAY + 20 * STEP, MONDAY + 30 * STEP, DAY))


@cache
def maintained(function: str) -> tuple[tuple[Anomaly, ...], list[tuple[int, Anomaly]], Carry]:
    return listen(function, [], list(range(30)), WINDOWS)


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(["avg", "count"]), st.sets(st.integers(1, T - 1), max_size=30))
def test_windows_of_maintenance_may_be_cut_anywhere(function: str, cuts: set[int]) -> None:
    _, changes, carry = listen(function, sorted(cuts), list(range(30)), WINDOWS)
    assert plain(changes) == plain(maintained(function)[1])
    for name, array in maintained(function)[2].arrays.items():
        np.testing.assert_array_equal(carry.arrays[name], array)
    assert len(changes) < len(at_once(function)[1])


@settings(max_examples=10, deadline=None)
@given(st.permutations(range(30)))
def test_the_order_of_the_series_does_not_matter(rows: list[int]) -> None:
    def gist(changes: list[tuple[int, Anomaly]]) -> list[tuple[int, str, str, float]]:
        return [(at, anomaly.id, anomaly.state, anomaly.score) for at, anomaly in changes]

    assert gist(listen("avg", [], list(rows))[1]) == gist(at_once("avg")[1])
