"""What every store promises about anomalies and about retention: read back as published, once, newest version, in order."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.contract.store_data import (
    DAY,
    HOUR,
    MARCH,
    STEP,
    Opener,
    anomaly,
    block,
    keys,
    publish,
    publish_anomalies,
    record,
)  # fmt: skip

from forewarn.anomaly import Anomaly
from forewarn.errors import StoreRejected
from forewarn.ports import Store
from forewarn.results import Publication
from forewarn.series import SeriesKey

APRIL = MARCH + 31 * DAY
EVER = (0, 2 * APRIL)
one, two = keys(2)


def starts_of(store: Store, key: SeriesKey) -> list[int]:
    (found,) = store.scores([key.id], *EVER, 10_000)
    starts: list[int] = found.start.tolist()
    return starts


def test_an_anomaly_comes_back_as_the_same_value(opener: Opener) -> None:
    sent = anomaly(one)
    publish_anomalies(opener(), (MARCH, sent))
    assert opener().anomaly(sent.id) == sent
    assert opener().anomalies(*EVER) == [sent]
    assert opener().anomaly("0" * 32) is None
    assert opener().anomaly("é/..") is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


versions = itertools.count(1)  # each example is newer than the one before


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.dictionaries(st.text(), json_values, max_size=4), st.lists(st.floats(width=64), min_size=4, max_size=4))
def test_any_explanation_and_any_number_of_an_anomaly_come_back(
    store: Store, explanation: dict[str, object], numbers: list[float]
) -> None:
    actual, expected, lower, upper = numbers
    sent = anomaly(one, explanation=explanation, actual=actual, expected=expected, lower=lower, upper=upper)
    publish_anomalies(store, (next(versions), sent))
    found = store.anomaly(sent.id)
    assert found is not None
    assert found.explanation == explanation
    for name in ("actual", "expected", "lower", "upper"):
        number = getattr(sent, name)
        np.testing.assert_array_equal(getattr(found, name), number if math.isfinite(number) else math.nan)


def test_a_newer_state_of_an_anomaly_wins_and_an_older_is_ignored(store: Store) -> None:
    opened = anomaly(one)
    closed = dataclasses.replace(opened, state="closed", revision=3, end=opened.end + HOUR, severity=80.0)
    grown = dataclasses.replace(opened, revision=2, severity=70.0)
    publish_anomalies(store, (MARCH + 1, opened), (MARCH + 3, closed), (MARCH + 2, grown))
    assert store.anomalies(*EVER) == [closed]
    assert store.anomaly(opened.id) == closed


def test_several_states_of_one_anomaly_in_one_publication_leave_the_newest(store: Store) -> None:
    states = [(MARCH + n, anomaly(one, revision=n, score=float(n))) for n in range(1, 8)]
    publish_anomalies(store, *states)
    assert store.anomalies(*EVER) == [states[-1][1]]


def test_withdrawn_anomalies_are_left_out(store: Store) -> None:
    kept, gone = anomaly(one), anomaly(two)
    publish_anomalies(store, (1, kept), (1, gone))
    publish_anomalies(store, (2, dataclasses.replace(gone, state="withdrawn", revision=2)))
    publish_anomalies(store, (1, gone))  # a writer that comes late does not bring it back
    assert store.anomalies(*EVER) == [kept]
    assert store.anomaly(gone.id) is None
    publish_anomalies(store, (3, dataclasses.replace(gone, revision=3)))
    assert {item.id for item in store.anomalies(*EVER)} == {kept.id, gone.id}


def test_anomalies_are_those_that_overlap_the_range(store: Store) -> None:
    spans = [(MARCH, MARCH + HOUR), (MARCH + 2 * HOUR, MARCH + 3 * HOUR), (MARCH - DAY, MARCH + DAY)]
    sent = [anomaly(one, start, end=end) for start, end in spans]
    publish_anomalies(store, *((MARCH, item) for item in sent))

    def found(start: int, end: int) -> list[Anomaly]:
        return store.anomalies(start, end)

    assert found(MARCH + HOUR, MARCH + 2 * HOUR) == [sent[2]]  # both ends are exclusive
    assert found(MARCH + HOUR - 1, MARCH + 2 * HOUR + 1) == [sent[2], sent[0], sent[1]]
    assert found(MARCH + DAY, MARCH + 2 * DAY) == []
    assert found(MARCH - 2 * DAY, MARCH - DAY) == []


def test_the_most_severe_anomalies_are_returned_in_order_of_time(store: Store) -> None:
    sent = [anomaly(one, MARCH + n * HOUR, severity=float(severity)) for n, severity in enumerate((10, 80, 30, 99.5, 30))]
    publish_anomalies(store, *((MARCH, item) for item in reversed(sent)))
    assert store.anomalies(*EVER) == sent
    assert store.anomalies(*EVER, limit=2) == [sent[1], sent[3]]
    assert store.anomalies(*EVER, limit=3) == [sent[1], sent[2], sent[3]]  # of two equally severe the earlier
    assert store.anomalies(*EVER, min_severity=30) == sent[1:]
    assert store.anomalies(*EVER, min_severity=99.6) == store.anomalies(*EVER, limit=0) == []


def test_anomalies_are_chosen_by_series_and_detector(store: Store) -> None:
    other = SeriesKey("errors", one.entity)
    sent = [anomaly(one), anomaly(two), anomaly(other)]
    publish_anomalies(store, *((MARCH, item) for item in sent))
    assert store.anomalies(*EVER, series_ids=[two.id]) == [sent[1]]
    assert store.anomalies(*EVER, detector="errors") == [sent[2]]
    assert store.anomalies(*EVER, detector="errors", series_ids=[one.id]) == []
    assert store.anomalies(*EVER, series_ids=[]) == store.anomalies(*EVER, detector="error*") == []


def test_an_anomaly_whose_start_moves_over_the_edge_of_a_partition_stays_one(opener: Opener) -> None:
    store = opener()
    first = anomaly(one, APRIL)
    publish_anomalies(store, (1, first))
    earlier = dataclasses.replace(first, start=APRIL - HOUR, revision=2)
    publish_anomalies(opener(), (2, earlier))
    assert store.anomalies(*EVER) == [earlier]
    publish_anomalies(store, (1, first))
    assert opener().anomalies(*EVER) == [earlier]
    assert store.anomaly(first.id) == earlier


# -- retention -------------------------------------------------------------------------------------------------------


def test_whole_partitions_are_dropped_and_older_results_refused_from_then_on(opener: Opener) -> None:
    store, other = opener(partition="day"), opener()
    publish(store, series=[record(one)], scores=[block([one], MARCH + 6 * HOUR, 2 * 3 + 2, step=6 * HOUR)])
    days = [anomaly(one, MARCH + n * DAY) for n in range(3)]
    publish_anomalies(store, *((MARCH, item) for item in days))
    assert other.drop_before(MARCH) == 0
    assert other.drop_before(MARCH + 2 * DAY + HOUR) == 4  # two days of scores, two of anomalies
    assert other.drop_before(MARCH + 2 * DAY + HOUR) == 0
    store.refresh()
    assert starts_of(store, one)[0] == MARCH + 2 * DAY
    assert store.anomalies(*EVER) == [days[2]]
    assert store.anomaly(days[0].id) is None
    assert store.find(one.id) is not None
    with pytest.raises(StoreRejected, match="retention"):
        store.publish(Publication(scores=(block([one], MARCH + DAY, 300, seed=4),), anomalies=((9 * MARCH, days[1]),)))
    store.refresh()
    assert starts_of(store, one)[0] == MARCH + 2 * DAY
    assert store.anomalies(*EVER) == [days[2]]


def test_what_is_young_enough_is_written_beside_what_is_refused(opener: Opener) -> None:
    store = opener(partition="day")
    store.drop_before(MARCH + DAY)
    with pytest.raises(StoreRejected, match="retention"):
        store.publish(Publication(scores=(block([one], MARCH + DAY - 2 * STEP, 4),), series=(record(one),)))
    store.refresh()
    assert starts_of(store, one) == [MARCH + DAY, MARCH + DAY + STEP]


def test_the_retention_never_moves_back(opener: Opener) -> None:
    store = opener(partition="day")
    store.drop_before(MARCH + 5 * DAY)
    store.drop_before(MARCH)
    with pytest.raises(StoreRejected, match="retention"):
        publish(store, scores=[block([one], MARCH + 4 * DAY, 1)])
    publish(store, scores=[block([one], MARCH + 5 * DAY, 1)])
    assert len(starts_of(store, one)) == 1


def test_the_granularity_is_that_of_the_creation(opener: Opener) -> None:
    publish(opener(partition="day"), scores=[block([one], MARCH, 2 * 288)])
    reopened = opener(partition="month")
    assert reopened.drop_before(MARCH + DAY) == 1
    reopened.refresh()
    assert starts_of(reopened, one)[0] == MARCH + DAY


def test_an_unknown_granularity_is_refused(opener: Opener) -> None:
    with pytest.raises(StoreRejected, match="week"):
        opener(partition="week")


def test_a_new_store_answers_every_question(store: Store) -> None:
    store.refresh()
    assert store.series() == []
    assert store.find(one.id) is None
    assert store.scores([one.id], *EVER, 10) == []
    assert store.latest(None, 0) == []
    assert store.anomalies(*EVER) == []
    assert store.anomaly("0" * 32) is None
    assert store.drop_before(APRIL) == 0
    store.publish(Publication())
