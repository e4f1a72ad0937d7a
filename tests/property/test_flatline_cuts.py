"""Who is stuck depends on the values and on nothing else: not on cuts of time, on restarts, nor on the order of the series."""

from functools import cache
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from forewarn.anomaly import Anomaly, Carry
from forewarn.blocks import decode, encode
from forewarn.codec import anomaly_from, anomaly_json
from forewarn.detector import DAY, MINUTE, Detector, Maintenance, Selection
from forewarn.forecast import OK, Forecast
from forewarn.scoring.watches import Watches
from forewarn.series import Float, SeriesBatch, SeriesKey, TimeGrid

MONDAY = 1_780_272_000_000
STEP = 15 * MINUTE
DAYS = 12
T = DAYS * DAY // STEP
ROWS = 16
WINDOWS = (
    Maintenance(MONDAY + 1000 * STEP + 1, MONDAY + 1010 * STEP),
    Maintenance(MONDAY + 20 * STEP, MONDAY + 24 * STEP, DAY),
)


def detector(function: str) -> Detector:
    return Detector(
        "load",
        Selection(path="x"),
        function,
        "v",
        step=STEP,
        retire_after=DAY,
        maintenance=WINDOWS if function == "max" else (),
    )


@cache
def fleet() -> tuple[tuple[SeriesKey, ...], Float]:
    """Lively ones, integers, holes; runs of many lengths at many times, across midnights, holes and the end of a memory."""
    rng = np.random.default_rng(5)
    values = rng.normal(30, 3, (ROWS, T))
    values[4:8] = np.round(values[4:8])
    values[8:11][rng.random((3, T)) < 0.2] = np.nan
    values[2, : 4 * T // DAYS] = np.nan  # joins late
    for row in range(ROWS):
        for _ in range(5):
            low, size = int(rng.integers(1, T)), int(rng.integers(2, 60))
            values[row, low : low + size] = values[row, low - 1]
    values[11] = rng.normal(30, 3, T)
    values[11, T - 150 :] = np.nan
    values[11, T - 190 : T - 150] = 29.5  # stuck, and then nothing until it is retired
    values[12, 900:1100] = values[12, 899]
    return tuple(SeriesKey("load", (("host", f"h{row:02d}"),)) for row in range(ROWS)), values


Listened = tuple[tuple[Anomaly, ...], list[tuple[int, Anomaly]], Carry]


def listen(function: str, cuts: list[int], rows: list[int], restarts: frozenset[int] = frozenset()) -> Listened:
    everyone, all_values = fleet()
    keys, values = tuple(everyone[row] for row in rows), all_values[rows]
    watch = Watches(detector(function))
    carry, changes = watch.start(MONDAY), list[tuple[int, Anomaly]]()
    opened: tuple[Anomaly, ...] = ()
    for low, high in pairwise([0, *cuts, T]):
        if low in restarts:
            opened = tuple(anomaly_from(anomaly_json(one)) for one in opened)
            carry = Carry(carry.keys, carry.at, decode(encode({}, dict(carry.arrays)))[1])
        grid = TimeGrid(MONDAY + low * STEP, STEP, high - low)
        block = np.ascontiguousarray(values[:, low:high])
        forecast = Forecast(keys, grid, np.full(block.shape, 9.0), np.ones(block.shape), (OK,) * ROWS, ("x",) * ROWS)
        actual = SeriesBatch(keys, grid, block)
        learnt = watch.learn(actual, carry)
        opened, found, carry = watch.fold(opened, (), actual, forecast, carry, MINUTE)
        assert learnt.arrays.keys() == carry.arrays.keys()
        assert all(np.array_equal(learnt.arrays[name], carry.arrays[name], equal_nan=True) for name in carry.arrays)
        changes += found
    return opened, changes, carry


@cache
def at_once(function: str) -> Listened:
    return listen(function, [], list(range(ROWS)))


def plain(changes: list[tuple[int, Anomaly]]) -> list[tuple[int, object]]:
    return [(at, anomaly_json(anomaly)) for at, anomaly in changes]


def flatlines(changes: list[tuple[int, Anomaly]]) -> list[tuple[int, Anomaly]]:
    return [(at, anomaly) for at, anomaly in changes if anomaly.explanation["reason"] == "flatline"]


def test_the_fleet_shows_flatlines_of_every_end_beside_silences() -> None:
    for function in ("avg", "max"):
        _, changes, _ = at_once(function)
        found = flatlines(changes)
        assert len({one.id for _, one in found}) >= 6
        assert {one.explanation.get("ended") for _, one in found} == {None, "the value moves again", "retired"}
        assert len(found) < len(changes)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(["avg", "max"]), st.sets(st.integers(1, T - 1), max_size=30), st.data())
def test_any_cut_and_any_restart_give_the_same_changes_and_the_same_carry(
    function: str, cuts: set[int], data: st.DataObject
) -> None:
    restarts = data.draw(st.sets(st.sampled_from(sorted(cuts)))) if cuts else set()
    opened, changes, carry = listen(function, sorted(cuts), list(range(ROWS)), frozenset(restarts))
    expected = at_once(function)
    assert [anomaly_json(one) for one in opened] == [anomaly_json(one) for one in expected[0]]
    assert plain(changes) == plain(expected[1])
    for name, array in expected[2].arrays.items():
        np.testing.assert_array_equal(carry.arrays[name], array)


@settings(max_examples=10, deadline=None)
@given(st.permutations(range(ROWS)))
def test_the_order_of_the_series_does_not_matter(rows: list[int]) -> None:
    def gist(changes: list[tuple[int, Anomaly]]) -> list[tuple[int, object]]:
        return sorted((at, str(anomaly_json(anomaly))) for at, anomaly in flatlines(changes))

    assert gist(listen("avg", [], list(rows))[1]) == gist(at_once("avg")[1])


def test_a_carry_from_before_anybody_watched_for_it_starts_anew() -> None:
    _, _, carry = at_once("avg")
    old = Carry(carry.keys, carry.at, {name: array for name, array in carry.arrays.items() if not name.startswith("still_")})
    keys, values = fleet()
    grid = TimeGrid(carry.at, STEP, 4)
    after = Watches(detector("avg")).learn(SeriesBatch(keys, grid, values[:, :4]), old)
    assert after.arrays.keys() == carry.arrays.keys()
