"""One block of buckets gives what as many ticks give, wherever time is cut and whenever the process forgets."""

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.world import START, counts_detector, latency_detector, make_parts, run, visible, world_series

from forewarn.detector import DAY, HOUR
from forewarn.nominal import due_ticks
from forewarn.stores.sqlite import SqliteStore

DETECTORS = (counts_detector(), latency_detector())
SERIES = world_series()
FIRST = START + 12 * DAY + 3 * HOUR
LAST = START + 14 * DAY - HOUR
NOWS = due_ticks(FIRST, DETECTORS, LAST)


def outcome(nows: list[int], forget: frozenset[int] = frozenset()) -> dict[str, object]:
    store = SqliteStore(":memory:")
    try:
        run(make_parts(store, DETECTORS, SERIES, origin=FIRST), nows, forget)
        return visible(store)
    finally:
        store.close()


def one_by_one() -> dict[str, object]:
    if not _cache:
        _cache.append(outcome(NOWS))
    return _cache[0]


_cache: list[dict[str, object]] = []


def test_the_world_has_anomalies_a_late_series_a_retired_one_and_put_off_fits() -> None:
    seen = one_by_one()
    assert len(seen["anomalies"]) >= 2
    assert len(seen["incidents"]) >= 2
    assert any(incident["heads_ups"] for incident in seen["incidents"])
    assert len(seen["records"]) == 5
    assert {record[1] for record in seen["records"].values()} >= {"batch"}


def test_one_block_over_two_days_equals_a_tick_for_every_bucket() -> None:
    assert outcome([NOWS[-1]]) == one_by_one()


@settings(max_examples=12, deadline=None)
@given(st.data())
def test_any_cut_of_time_and_any_restart_gives_the_same_results(data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.sampled_from(NOWS[:-1]), max_size=12)))
    nows = [*cuts, NOWS[-1]]
    forget = data.draw(st.sets(st.sampled_from(range(len(nows)))))
    assert outcome(nows, frozenset(forget)) == one_by_one()
