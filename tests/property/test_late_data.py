"""What comes late is learnt from as if it had come in time, whenever the process forgets; what comes too late is left out."""

from functools import cache
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.late_world import (
    FIRST,
    LAST,
    LATE,
    PAUSE,
    STEP,
    WITHIN,
    LateMetrics,
    late_series,
    learnt_from,
    models,
    parts_over,
    watch,
)
from tests.world import START

from forewarn.detector import HOUR, MINUTE
from forewarn.series import SeriesKey
from forewarn.stores.sqlite import SqliteStore

SERIES = late_series()
KEYS = sorted(SERIES)
NOWS = list(range(FIRST + 31 * MINUTE, LAST + 1, 30 * MINUTE))
LATEST = LAST - WITHIN - 2 * HOUR
"""Buckets up to here are final at the end of a run."""
Arrivals = dict[SeriesKey, Any]

cells = st.tuples(
    st.sampled_from(KEYS),
    st.integers((FIRST - START) // STEP, (LATEST - START) // STEP - 1),
    st.integers(1, 40),
    st.integers(0, 100),
)
"""Series, first bucket, how many buckets, and how late they are in percent of what is allowed."""


def arrivals(late: list[tuple[SeriesKey, int, int, int]]) -> Arrivals:
    """When each value is there."""
    ends = {key: START + STEP * np.arange(1, len(values) + 1) for key, values in SERIES.items()}
    came = {key: end.copy() for key, end in ends.items()}
    for key, first, size, percent in late:
        span = slice(first, min(first + size, (LATEST - START) // STEP))
        came[key][span] = np.maximum(came[key][span], ends[key][span] + WITHIN * percent // 100)
    return came


def outcome(came: Arrivals, nows: list[int], forget: frozenset[int] = frozenset()) -> dict[str, Any]:
    """What a fit sees in the end, and the models of the latencies."""
    store = SqliteStore(":memory:")
    try:
        source = LateMetrics(SERIES, came)
        parts = parts_over(store, source)
        memory = watch(parts, source, nows, forget)
        seen = {name: learnt_from(parts, stream, LATEST) for name, stream in memory.streams.items()}
        return {"learnt from": seen, "models": models(memory.streams["latency"])}
    finally:
        store.close()


@cache
def in_time() -> dict[str, Any]:
    return outcome({}, NOWS)


@cache
def never(first: int, size: int) -> dict[str, Any]:
    """The run in which some buckets of every series never came."""
    came = {key: np.where(gap(key, first, size), LATE, 0) for key in KEYS}
    return outcome(came, NOWS)


def gap(key: SeriesKey, first: int, size: int) -> Any:
    number = np.arange(len(SERIES[key]))
    return (number >= first) & (number < first + size)


@settings(max_examples=8, deadline=None)
@given(late=st.lists(cells, min_size=1, max_size=12), data=st.data())
def test_what_comes_within_the_time_allowed_is_learnt_as_if_it_had_come_in_time(
    late: list[tuple[SeriesKey, int, int, int]], data: st.DataObject
) -> None:
    left_out = data.draw(st.sets(st.sampled_from(NOWS[1:-1]), max_size=40))
    nows = [now for now in NOWS if now not in left_out]
    forget = data.draw(st.sets(st.sampled_from(range(len(nows)))))
    assert outcome(arrivals(late), nows, frozenset(forget))["learnt from"] == in_time()["learnt from"]


def test_a_fit_after_late_data_gives_the_model_that_it_would_have_given_had_they_come_in_time() -> None:
    late = [(key, (FIRST - START) // STEP + 30 * number, 60, 15 * number) for number, key in enumerate(KEYS, start=1)]
    assert outcome(arrivals(late), NOWS)["models"] == in_time()["models"]


def test_a_retired_series_of_which_something_came_late_has_been_there_since() -> None:
    pausing = SeriesKey("hits", (("host", "pausing"),))
    for hours in (1, 5):
        came = {pausing: np.zeros(len(SERIES[pausing]), np.int64)}
        came[pausing][PAUSE + 100] = START + (PAUSE + 101) * STEP + hours * HOUR
        seen = outcome(came, NOWS)["learnt from"]["hits"][str(pausing)]
        assert seen == in_time()["learnt from"]["hits"][str(pausing)]
        assert seen[20 + 29 : 20 + 33] == [None] * 4  # it was retired
        assert seen[20 + 34 : 20 + 61] == [0.0] * 27  # and would have been again after seven hours


def test_what_comes_later_than_that_is_left_out() -> None:
    first, size = (FIRST - START) // STEP + 70, 50
    ends = START + STEP * np.arange(1, len(SERIES[KEYS[0]]) + 1)
    came = {key: np.where(gap(key, first, size), ends + WITHIN + 2 * HOUR, 0) for key in KEYS}
    assert outcome(came, NOWS) == never(first, size)
    assert outcome(came, NOWS)["learnt from"] != in_time()["learnt from"]


def test_where_time_is_cut_matters_no_more_than_it_did() -> None:
    assert outcome({}, [NOWS[-1]]) == in_time() == outcome({}, NOWS[::7] + NOWS[-1:], frozenset({2, 3, 5}))
