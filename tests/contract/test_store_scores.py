"""What every store promises about scores and series: what is published is read back, once, newest version."""

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

from forewarn.errors import RequestError
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


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
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
