"""What names look back at is the same however time was cut, and after it was read from a journal; names stay once given."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forewarn.anomaly import SHAPES, Anomaly
from forewarn.cli.explaining import anomaly_lines
from forewarn.detector import HOUR
from forewarn.incident import Happening, IncidentSettings
from forewarn.incidents.correlation import Correlation
from forewarn.naming import Lookback, named
from forewarn.scoring.shape import Shapes
from forewarn.series import Float, SeriesBatch, SeriesKey, TimeGrid
from forewarn_datasource.annotations import annotation_of
from forewarn_datasource.pages.members import events_of

STEP, DELAY, START = 3_600_000, 60_000, 1_780_272_000_000
KEYS = tuple(SeriesKey("load", (("host", f"h{row}"),)) for row in range(3))
T, JOINS = 60, 25


@pytest.fixture(scope="module", name="values")
def drawn_values() -> Float:
    values = np.random.default_rng(1).normal(0, 1, (3, T))
    values[2, :JOINS] = np.nan
    values[1, 40:] += 9
    return values


def rows_until(end: int) -> int:
    return 2 if end <= JOINS else 3


def anomaly(revision: int, end: int, state: str = "open", **said: object) -> Anomaly:
    return Anomaly(
        "a", KEYS[1], state, revision, START + 40 * STEP, START + end * STEP, START + 40 * STEP, 3.0, 50.0, "above",  # type: ignore[arg-type] - given by name
        9.0, 0.0, -1.0, 1.0, said,
    )  # fmt: skip


@settings(max_examples=50, deadline=None)
@given(st.sets(st.integers(1, T - 1), max_size=8), st.integers(1, 50))
def test_the_same_is_looked_back_at_after_any_cut_and_from_the_journal(cuts: set[int], size: int) -> None:
    values = np.random.default_rng(2).normal(0, 1, (3, T))
    values[2, :JOINS] = np.nan
    seen, journal = Lookback.fresh(size), list[tuple[int, dict[str, Float]]]()
    for low, high in pairwise(sorted({0, JOINS, T} | cuts)):
        block = values[: rows_until(high), low:high]
        seen = seen.followed_by(block, 2 * block).last(size)
        journal.append((START + low * STEP, {"actual": block, "expected": 2 * block}))
    read = Lookback.of(journal, 3, START + T * STEP, STEP, size)
    for one in (seen, read):
        np.testing.assert_array_equal(one.actual[:, -min(size, T) :], values[:, -min(size, T) :])
        np.testing.assert_array_equal(one.actual, seen.actual)
        np.testing.assert_array_equal(one.expected, seen.expected)
    assert np.isnan(seen.actual[:, : max(0, size - T)]).all()


def test_an_episode_is_named_at_each_change_and_keeps_its_last_name(values: Float) -> None:
    namer = Shapes(STEP)
    grid = TimeGrid(START + 40 * STEP, STEP, T - 40)
    actual = SeriesBatch(KEYS, grid, values[:, 40:].copy())
    seen = Lookback.fresh(namer.window).followed_by(values[:, :40], 0 * values[:, :40]).last(namer.window)
    seen = seen.followed_by(actual.values, 0 * actual.values)
    changes = [(START + (40 + n) * STEP + DELAY, anomaly(n, 40 + n, reason="deviation")) for n in range(1, T - 40 + 1)]
    told, after = named(namer, seen, (), changes, (changes[-1][1],), actual, DELAY)
    shapes = [one.explanation.get("shape") for _, one in told]
    assert shapes[0] == "spike"
    assert shapes[-1] == "level"  # too long ago to be told again
    assert all(one.explanation["reason"] == "deviation" for _, one in told)
    assert after[0].explanation == told[-1][1].explanation
    again, _ = named(namer, seen, after, [(changes[-1][0], anomaly(21, 60, reason="deviation"))], (), actual, DELAY)
    assert again[0][1].explanation["shape"] == "level"


@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_a_name_is_said_in_words(shape: str) -> None:
    one = anomaly(1, 50, reason="deviation", shape=shape)
    assert f"what changed: {SHAPES[shape]}" in "\n".join(anomaly_lines(one))
    assert (SHAPES[shape] in annotation_of(one, {}).text) == (shape not in ("spike", "dip"))


def test_an_explanation_repeats_nothing_and_has_no_more_digits_than_are_read() -> None:
    known = {"since": START, "actual": 1.0, "expected": 2.0, "deviation": 0.123456789, "anomalous_buckets": 3, "class": "gauge"}
    said = "\n".join(anomaly_lines(replace(anomaly(1, 50, shape="level", **known), lower=np.nan, upper=np.nan)))
    for words in ("deviation: 0.1235", "anomalous buckets: 3", "class: gauge"):
        assert words in said
    for words in (str(START), "actual:", "expected:", "shape:", "nan"):
        assert words not in said


def test_the_page_of_an_incident_says_what_changed_and_what_is_stuck() -> None:
    lasting = anomaly(1, 50, reason="deviation", shape="level")
    stuck = replace(anomaly(1, 50, reason="flatline", value=9.0), id="b")
    opened, _ = Correlation(IncidentSettings(), ()).fold((), [Happening(START, lasting), Happening(START, stuck)], START)
    texts = [event.text for event in events_of(opened[0], lasting.end)]
    assert texts == ["above expected, the level moved and stays (still going on)", "stuck at 9 (still going on)"]


def test_the_page_of_an_incident_says_until_when_a_value_was_unusual_that_is_back() -> None:
    deviated = anomaly(1, 50, reason="deviation", shape="level")
    stuck = replace(anomaly(1, 50, reason="flatline", value=9.0), id="b")
    opened, _ = Correlation(IncidentSettings(), ()).fold((), [Happening(START, deviated), Happening(START, stuck)], START)
    first, second = (event.text for event in events_of(opened[0], deviated.end + HOUR))
    assert "unusual until 02:00 so far" in first
    assert "still going on" in second
