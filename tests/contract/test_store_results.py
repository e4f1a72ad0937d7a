"""What every ResultStore and ResultReader promises: what is published is read back, once, newest version. Over both stores."""

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
    MINUTE,
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
from forewarn.errors import RequestError, StoreRejected
from forewarn.ports import Store
from forewarn.results import Publication, SeriesRecord, StoredScores
from forewarn.series import SeriesKey

APRIL = MARCH + 31 * DAY
EVER = (0, 2 * APRIL)
one, two = keys(2)
hostile = [
    SeriesKey("plain"),
    SeriesKey("d{e}=t,\\", (("a=b", "c,d}"), ("service.name", '"quoted" \\ and é☃\u0000\n'), ("x.y.z", ""))),
    SeriesKey("d'; DROP TABLE scores; --", (("host.name", "%_*?[]{}" * 3), ("labels", "../../../etc"))),
    SeriesKey("long", (("service.name", "ß" * 20_000), ("host.name", "y" * 40_000))),
    SeriesKey("emoji 🛒", (("🛒", "🧺"), ("_id", "_source"), ("@timestamp", "now"))),
]


def scores_of(store: Store, key: SeriesKey, start: int = 0, end: int = 2 * APRIL) -> StoredScores:
    (found,) = store.scores([key.id], start, end, 10_000)
    assert found.key == key
    return found


def assert_same_record(found: SeriesRecord | None, expected: SeriesRecord) -> None:
    assert found is not None
    for name in SeriesRecord.__slots__:
        if name not in {"model", "calibration"}:
            assert getattr(found, name) == getattr(expected, name), name


# -- scores ----------------------------------------------------------------------------------------------------------


def test_published_scores_are_read_back_by_every_handle_exactly(opener: Opener) -> None:
    published = block([one, two], size=6)
    publish(opener(), scores=[published])
    found = opener().scores([two.id, one.id], *EVER, 100)
    assert [item.key for item in found] == [two, one]
    for item, row in zip(found, (1, 0), strict=True):
        assert item.step == STEP
        np.testing.assert_array_equal(item.start, published.actual.grid.times())
        np.testing.assert_array_equal(item.actual, published.actual.values[row])
        np.testing.assert_array_equal(item.expected, published.expected[row])
        np.testing.assert_array_equal(item.lower, published.scores.lower[row])
        np.testing.assert_array_equal(item.upper, published.scores.upper[row])
        np.testing.assert_array_equal(item.score, published.scores.score[row])


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.floats(width=64), min_size=1, max_size=12), st.integers(0, 700))
def test_every_finite_number_comes_back_exactly_and_any_other_as_no_data(store: Store, numbers: list[float], slot: int) -> None:
    start = MARCH + slot * HOUR
    key = SeriesKey("numbers", (("slot", str(slot)), ("case", repr(numbers))))
    publish(store, scores=[block([key], start, len(numbers), actual=np.array([numbers]), score=np.ones((1, len(numbers))))])
    expected = np.array([number if math.isfinite(number) else math.nan for number in numbers])
    found = scores_of(store, key, start, start + DAY)
    np.testing.assert_array_equal(found.actual, expected)


def test_a_bucket_is_published_if_it_has_a_value_or_a_score(store: Store) -> None:
    nan = math.nan
    publish(store, scores=[block([one], actual=np.array([[1, nan, nan, 4]]), score=np.array([[nan, 2, nan, 4]]))])
    found = scores_of(store, one)
    assert found.start.tolist() == [MARCH, MARCH + STEP, MARCH + 3 * STEP]
    np.testing.assert_array_equal(found.actual, [1, nan, 4])
    np.testing.assert_array_equal(found.score, [nan, 2, 4])


def test_publishing_again_changes_nothing(store: Store) -> None:
    publication = Publication(
        scores=(block([one, two]),), anomalies=((MARCH, anomaly(one)),), series=(record(one), record(two))
    )
    for _ in range(3):
        store.publish(publication)
    store.refresh()
    assert [item.start.size for item in store.scores([one.id, two.id], *EVER, 100)] == [4, 4]
    assert store.anomalies(*EVER) == [anomaly(one)]
    assert [item.key for item in store.series()] == [one, two]


def test_a_newer_version_of_a_score_wins_and_an_older_is_ignored(store: Store) -> None:
    first, late, stale = (block([one], seed=seed, delay=delay) for seed, delay in ((1, MINUTE), (2, HOUR), (3, 2 * MINUTE)))
    for each in (first, late, stale):
        publish(store, scores=[each])
    found = scores_of(store, one)
    np.testing.assert_array_equal(found.actual, late.actual.values[0])
    assert found.start.size == 4


def test_a_range_of_scores_is_half_open(store: Store) -> None:
    publish(store, scores=[block([one], size=10)])
    found = scores_of(store, one, MARCH + 2 * STEP, MARCH + 5 * STEP)
    assert found.start.tolist() == [MARCH + n * STEP for n in (2, 3, 4)]
    assert scores_of(store, one, MARCH + 1, MARCH + STEP + 1).start.tolist() == [MARCH + STEP]
    assert store.scores([one.id], MARCH + STEP, MARCH + STEP, 10) == store.scores([one.id], APRIL, MARCH, 10) == []


def test_scores_lie_across_partitions_without_a_seam(opener: Opener) -> None:
    store = opener(partition="day")
    publish(store, scores=[block([one, two], MARCH - DAY - HOUR, 288 + 24)])
    found = scores_of(store, one, MARCH - DAY - STEP, MARCH + STEP)
    assert found.start.tolist() == list(range(MARCH - DAY - STEP, MARCH + STEP, STEP))


def test_a_known_series_without_scores_in_range_is_empty_and_an_unknown_one_absent(store: Store) -> None:
    publish(store, series=[record(one)])
    (found,) = store.scores([two.id, one.id, "0" * 32, "", "é'\"*"], *EVER, 10)
    assert (found.key, found.step, found.start.size, found.score.size) == (one, STEP, 0, 0)
    assert store.scores([], *EVER, 10) == []


def test_more_buckets_than_the_limit_are_refused(store: Store) -> None:
    publish(store, scores=[block([one, two], size=5)])
    assert sum(item.start.size for item in store.scores([one.id, two.id], *EVER, 10)) == 10
    with pytest.raises(RequestError, match="9"):
        store.scores([one.id, two.id], *EVER, 9)
    assert len(store.scores([one.id, one.id], *EVER, 5)) == 1  # asked twice, answered once


def test_after_a_change_of_the_bucket_each_start_is_answered_once(store: Store) -> None:
    publish(store, series=[record(one, step=2 * STEP)], scores=[block([one], size=4, delay=0)])
    longer = block([one], MARCH + 2 * STEP, 2, step=2 * STEP, seed=8)
    publish(store, scores=[longer])
    found = scores_of(store, one)
    assert found.start.tolist() == [MARCH + n * STEP for n in (0, 1, 2, 3, 4)]
    assert found.actual[2] == longer.actual.values[0, 0]
    assert found.step == 2 * STEP


def test_ten_thousand_scores_are_published_at_once_and_read_in_order(store: Store) -> None:
    many = keys(2_500)
    publish(store, scores=[block(many, size=4)])
    found = store.scores([key.id for key in reversed(many)], *EVER, 10_000)
    assert [item.key for item in found] == list(reversed(many))
    assert all(item.start.tolist() == [MARCH + n * STEP for n in range(4)] for item in found)
    assert len(store.latest(None, 0)) == 2_500


# -- latest ----------------------------------------------------------------------------------------------------------


def test_latest_is_the_last_published_score_of_each_series(store: Store) -> None:
    three = keys(3)[2]
    publish(store, scores=[block([one, two, three], score=np.array([[1, 2, 3, 4.5]] * 3))])
    publish(store, scores=[block([two], MARCH + 4 * STEP, 2, score=np.array([[7, math.nan]]))])
    publish(store, scores=[block([three], MARCH - DAY, 1)])
    last = MARCH + 3 * STEP
    assert store.latest([one.id], 0) == [(one, last, 4.5)]
    found = store.latest(None, last)
    assert [(key, start) for key, start, _ in found] == [(one, last), (two, last + 2 * STEP), (three, last)]
    assert math.isnan(found[1][2])
    assert [key for key, _, _ in store.latest(None, last + 1)] == [two]
    assert [key for key, _, _ in store.latest([two.id, one.id, "f" * 32], last)] == [one, two]
    assert store.latest([], 0) == store.latest(None, last + DAY) == []


def test_latest_looks_into_older_partitions_too(store: Store) -> None:
    publish(store, scores=[block([one], MARCH - HOUR, 1), block([two], APRIL, 1)])
    assert [key for key, _, _ in store.latest(None, MARCH - HOUR)] == [one, two]
    assert [key for key, _, _ in store.latest(None, MARCH)] == [two]


# -- series ----------------------------------------------------------------------------------------------------------


def test_a_series_is_found_with_its_model_and_calibration(opener: Opener) -> None:
    expected = record(one)
    publish(opener(), series=[expected])
    found = opener().find(one.id)
    assert_same_record(found, expected)
    assert found is not None
    for part in ("model", "calibration"):
        kept, sent = getattr(found, part), getattr(expected, part)
        assert kept.keys == (one,)
        assert set(kept.arrays) == set(sent.arrays)
        for name, array in sent.arrays.items():
            np.testing.assert_array_equal(kept.arrays[name], array)
            assert kept.arrays[name].dtype == array.dtype
    assert found.model is not None
    assert expected.model is not None
    assert (found.model.engine, found.model.window, found.model.step) == ("stan", expected.model.window, 15 * MINUTE)
    assert (found.model.layout, found.model.status) == (expected.model.layout, ("ok",))
    assert found.calibration is not None
    assert expected.calibration is not None
    for name in ("below", "above", "sigma"):
        np.testing.assert_array_equal(getattr(found.calibration, name), getattr(expected.calibration, name))
    assert found.calibration.at == MARCH


def test_a_series_without_a_model_is_known(store: Store) -> None:
    bare = record(one, fitted=False, status="too_short", fitted_at=None, engine="", retired=True, unit="", owner="")
    publish(store, series=[bare])
    found = store.find(one.id)
    assert_same_record(found, bare)
    assert found is not None
    assert found.model is None
    assert found.calibration is None
    assert store.find(two.id) is None
    assert store.find("no/such?id") is None


def test_a_newer_record_wins_and_an_older_is_ignored(store: Store) -> None:
    for version, unit in ((5, "first"), (9, "newest"), (7, "stale")):
        publish(store, series=[record(one, version, unit=unit)])
    (found,) = store.series()
    assert (found.version, found.unit, found.model, found.calibration) == (9, "newest", None, None)
    publish(store, series=[record(one, 9, unit="equal")])
    assert store.series()[0].unit == "equal"


def test_series_are_listed_by_detector_and_entity_up_to_the_limit(store: Store) -> None:
    listed = [
        SeriesKey("a"), SeriesKey("a", (("f", ""),)), SeriesKey("a", (("f", "v"),)), SeriesKey("a", (("f", "v"), ("g", "w"))),
        SeriesKey("a", (("f", "é"),)), SeriesKey("a b"), SeriesKey("b", (("f", "v"),)), SeriesKey("é"), SeriesKey("☃"),
    ]  # fmt: skip
    publish(store, series=[record(key, fitted=False) for key in reversed(listed)])
    assert [item.key for item in store.series()] == sorted(listed) == listed
    assert [item.key for item in store.series(limit=3)] == listed[:3]
    assert [item.key for item in store.series(detector="a")] == listed[:5]
    assert [item.key for item in store.series(detector="a", limit=2)] == listed[:2]
    assert store.series(detector="") == store.series(detector="*") == []


def test_five_thousand_series_are_listed(store: Store) -> None:
    many = keys(5_000)
    publish(store, series=[record(key, fitted=False) for key in many])
    assert [item.key for item in store.series()] == list(many)
    assert len(store.series(limit=4_321)) == 4_321


@pytest.mark.parametrize("key", hostile, ids=lambda key: key.detector[:8])
def test_any_text_may_be_in_a_key(store: Store, key: SeriesKey) -> None:
    publish(store, series=[record(key)], scores=[block([key])])
    publish_anomalies(store, (MARCH, anomaly(key)))
    assert [item.key for item in store.series()] == [key]
    found = store.find(key.id)
    assert found is not None
    assert found.key == key
    assert scores_of(store, key).start.size == 4
    assert store.latest(None, 0)[0][0] == key
    assert store.anomalies(*EVER, detector=key.detector, series_ids=[key.id]) == [anomaly(key)]


# -- anomalies -------------------------------------------------------------------------------------------------------


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


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
    assert scores_of(store, one).start[0] == MARCH + 2 * DAY
    assert store.anomalies(*EVER) == [days[2]]
    assert store.anomaly(days[0].id) is None
    assert store.find(one.id) is not None
    with pytest.raises(StoreRejected, match="retention"):
        store.publish(Publication(scores=(block([one], MARCH + DAY, 300, seed=4),), anomalies=((9 * MARCH, days[1]),)))
    store.refresh()
    assert scores_of(store, one).start[0] == MARCH + 2 * DAY
    assert store.anomalies(*EVER) == [days[2]]


def test_what_is_young_enough_is_written_beside_what_is_refused(opener: Opener) -> None:
    store = opener(partition="day")
    store.drop_before(MARCH + DAY)
    with pytest.raises(StoreRejected, match="retention"):
        store.publish(Publication(scores=(block([one], MARCH + DAY - 2 * STEP, 4),), series=(record(one),)))
    store.refresh()
    assert scores_of(store, one).start.tolist() == [MARCH + DAY, MARCH + DAY + STEP]


def test_the_retention_never_moves_back(opener: Opener) -> None:
    store = opener(partition="day")
    store.drop_before(MARCH + 5 * DAY)
    store.drop_before(MARCH)
    with pytest.raises(StoreRejected, match="retention"):
        publish(store, scores=[block([one], MARCH + 4 * DAY, 1)])
    publish(store, scores=[block([one], MARCH + 5 * DAY, 1)])
    assert scores_of(store, one).start.size == 1


def test_the_granularity_is_that_of_the_creation(opener: Opener) -> None:
    publish(opener(partition="day"), scores=[block([one], MARCH, 2 * 288)])
    reopened = opener(partition="month")
    assert reopened.drop_before(MARCH + DAY) == 1
    reopened.refresh()
    assert scores_of(reopened, one).start[0] == MARCH + DAY


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
