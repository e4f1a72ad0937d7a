"""Counters are read as what they gained a second, resets and all, wherever time is cut."""

from itertools import pairwise
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.world import START, ArrayMetrics

from forewarn.config import parse
from forewarn.detector import HOUR, MINUTE, Detector, Selection
from forewarn.series import SeriesKey, TimeGrid
from forewarn.sources.counter_rates import CounterRates, rates, reach
from forewarn.wiring import Sources

STEP = 5 * MINUTE
NAN = float("nan")
DETECTOR = Detector("bytes", Selection(index="x"), "max", "sent", step=STEP, counter=True)


def test_a_rate_is_the_gain_since_the_value_before_over_the_time_between() -> None:
    found = rates(np.array([[100.0, 160.0, NAN, 280.0, 280.0]]), MINUTE, 3)
    np.testing.assert_allclose(found, [[NAN, 1.0, NAN, 1.0, 0.0]])


def test_a_counter_that_falls_was_reset_and_has_gained_what_it_shows() -> None:
    found = rates(np.array([[1000.0, 1060.0, 30.0, 90.0, 0.0, 60.0]]), MINUTE, 3)
    np.testing.assert_allclose(found, [[NAN, 1.0, 0.5, 1.0, 0.0, 1.0]])


def test_after_a_long_pause_nobody_knows_when_it_was_gained() -> None:
    found = rates(np.array([[0.0, NAN, NAN, 180.0, NAN, NAN, NAN, 400.0, 460.0]]), MINUTE, 3)
    np.testing.assert_allclose(found, [[NAN, NAN, NAN, 1.0, NAN, NAN, NAN, NAN, 1.0]])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.sets(st.integers(1, 99), max_size=6))
def test_any_cut_of_time_reads_the_same_rates(seed: int, cuts: set[int]) -> None:
    rng = np.random.default_rng(seed)
    series = {}
    for name in "abc":
        total = np.cumsum(rng.poisson(50, 140).astype(np.float64))
        total[rng.integers(20, 130) :] -= total[rng.integers(0, 20)]
        total[rng.random(140) < rng.choice([0.05, 0.6, 0.95])] = np.nan
        series[SeriesKey("bytes", (("host", name),))] = total
    source = CounterRates(ArrayMetrics(STEP, START - 40 * STEP, series))
    keys = tuple(sorted(series))
    whole = source.read(DETECTOR, TimeGrid(START, STEP, 100)).take(keys).values
    edges = [0, *sorted(cuts), 100]
    parts = [
        source.read(DETECTOR, TimeGrid(START + low * STEP, STEP, high - low)).take(keys).values for low, high in pairwise(edges)
    ]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)


def test_only_series_with_a_rate_are_there_and_a_source_is_asked_as_far_back_as_it_reaches() -> None:
    lonely, steady = (SeriesKey("bytes", (("host", name),)) for name in "ab")
    values = np.full(40, NAN)
    values[30] = 7.0
    source = CounterRates(ArrayMetrics(STEP, START - 20 * STEP, {lonely: values, steady: np.arange(40.0)}))
    read = source.read(DETECTOR, TimeGrid(START, STEP, 20))
    assert read.keys == (steady,)
    np.testing.assert_allclose(read.values, 1.0 / (STEP / 1000))
    assert (reach(MINUTE), reach(STEP), reach(HOUR)) == (60, 12, 3)


def test_a_configured_counter_is_read_from_a_file_as_a_rate(tmp_path: Path) -> None:
    rows = [f"{START // 1000 + 60 * minute},{1000 + 120 * minute}" for minute in range(60)]
    (tmp_path / "sent.csv").write_text("@timestamp,sent\n" + "\n".join(rows) + "\n")
    text = "store: sqlite:///f.db\ndetectors:\n  - {name: sent, path: sent.csv, function: max, field: sent, counter: true}"
    (detector,) = parse(text, {}, tmp_path).detectors
    sources = Sources(None)
    try:
        read = sources.of(detector).read(detector, TimeGrid(START + 2 * STEP, STEP, 6))
    finally:
        sources.close()
    np.testing.assert_allclose(read.values, 2.0)


def test_a_counter_is_another_series_than_its_values() -> None:
    plain = Detector("bytes", Selection(index="x"), "max", "sent", step=STEP)
    assert plain.fingerprint != DETECTOR.fingerprint
