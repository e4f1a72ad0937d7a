"""What every store promises about incidents and patterns: read back as published, newest version, in order, while kept."""

import dataclasses
import itertools
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.contract.store_data import DAY, HOUR, MARCH, STEP, Opener, anomaly, keys

from forewarn.errors import StoreRejected
from forewarn.incident import Cause, Evidence, Fix, HeadsUp, Incident, PatternChange, Recommendation
from forewarn.pattern import Pattern
from forewarn.ports import Store
from forewarn.results import Publication
from forewarn.series import SeriesKey, stable_id

EVER = (0, 2 * MARCH)
one, two = keys(2)
counter = itertools.count(1)


def incident(number: int = 0, start: int = MARCH, **changes: Any) -> Incident:
    """An incident with a member of every kind."""
    peak = anomaly(one, start)
    mined = SeriesKey("app-logs", (("service.name", "web"), ("pattern", "p1")))
    change = PatternChange(
        "c1", mined, "p1", "error", "timeout after <*> ms", "timeout after 31 ms é☃", start, start + STEP, 7.0
    )
    ahead = HeadsUp(
        "h1", two, "open", 2, start, start + STEP, 2e6, "above", start + 6 * HOUR, start, start + DAY, 0.8, 1.5e6, "us"
    )
    evidence = (Evidence("anomaly", peak.id, start, "latency rose first"),)
    card = Recommendation(
        "timeouts",
        "Timeouts",
        2.5,
        ("signature",),
        "m",
        "i",
        ("check",),
        (Fix("restart", "high", False),),
        ("https://example.com",),
    )
    plain = Incident(
        id=stable_id("incident", number),
        state="open",
        revision=1,
        opened=start + STEP,
        updated=start + 2 * STEP,
        start=start,
        end=start + HOUR,
        severity=61.25,
        title="web is slow: 4 × expected",
        owner="team-checkout",
        entities=(("service.name", "web"), ("labels.x", "é")),
        causes=(Cause((("host.name", "web-1"),), 0.75, evidence), Cause((), 0.25, ())),
        recommendations=(card,),
        anomalies={peak.id: peak},
        pattern_changes={change.id: change},
        heads_ups={ahead.id: ahead},
        notes={"edges": [1, 2.5, None, {"a.b": "c"}]},
    )
    return dataclasses.replace(plain, **changes)


def pattern(id_: str, **changes: Any) -> Pattern:
    plain = Pattern(id_, ("app-logs", "web"), "error", "timeout after <*> ms", "timeout after 31 ms", MARCH, MARCH + 1, 12)
    return dataclasses.replace(plain, **changes)


def publish(store: Store, *versioned: tuple[int, Incident]) -> None:
    store.publish(Publication(incidents=versioned))
    store.refresh()


def test_an_incident_comes_back_as_the_same_value(opener: Opener) -> None:
    sent = incident()
    publish(opener(), (MARCH, sent))
    assert opener().incident(sent.id) == sent
    assert opener().incidents(*EVER) == [sent]
    assert opener().incident("0" * 32) is None
    bare = incident(1, causes=(), recommendations=(), anomalies={}, pattern_changes={}, heads_ups={}, entities=(), notes={})
    publish(opener(), (MARCH, bare))
    assert opener().incident(bare.id) == bare


def test_members_without_a_value_come_back_without_one(store: Store) -> None:
    blind = anomaly(one, actual=math.nan, lower=math.nan)
    sent = incident(anomalies={blind.id: blind})
    publish(store, (MARCH, sent))
    found = store.incident(sent.id)
    assert found is not None
    kept = found.anomalies[blind.id]
    assert math.isnan(kept.actual)
    assert math.isnan(kept.lower)
    assert dataclasses.replace(kept, actual=0.0, lower=0.0) == dataclasses.replace(blind, actual=0.0, lower=0.0)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(title=st.text(), owner=st.text(), value=st.text(), severity=st.floats(0, 100), confidence=st.floats(0, 1))
def test_any_text_and_number_of_an_incident_come_back(
    store: Store, title: str, owner: str, value: str, severity: float, confidence: float
) -> None:
    entities = (("service.name", value), ("host.name", owner))
    cause = Cause(entities, confidence, (Evidence("edge", value, MARCH, title),))
    sent = incident(title=title, owner=owner, severity=severity, entities=entities, causes=(cause,), notes={value: title})
    publish(store, (next(counter), sent))
    assert store.incident(sent.id) == sent


def test_a_newer_version_wins_and_an_older_is_ignored(store: Store) -> None:
    opened = incident()
    closed = dataclasses.replace(opened, state="resolved", revision=3, resolved=MARCH + 2 * HOUR, severity=80.0)
    publish(store, (MARCH + 1, opened), (MARCH + 3, closed), (MARCH + 2, dataclasses.replace(opened, revision=2)))
    publish(store, (MARCH + 1, opened))
    assert store.incidents(*EVER) == [closed]
    assert store.incident(opened.id) == closed


def test_an_open_incident_overlaps_everything_after_its_start(store: Store) -> None:
    still, over = incident(0), incident(1, state="resolved", resolved=MARCH + 2 * HOUR)
    publish(store, (1, still), (1, over))
    assert store.incidents(MARCH + HOUR, MARCH + DAY) == [still]  # the end is exclusive
    assert {item.id for item in store.incidents(MARCH + HOUR - 1, MARCH + DAY)} == {still.id, over.id}
    assert store.incidents(MARCH - DAY, MARCH) == []
    assert len(store.incidents(MARCH - DAY, MARCH + 1)) == 2
    assert store.incidents(*EVER, state="open") == [still]
    assert store.incidents(*EVER, state="resolved") == [over]
    assert store.incidents(*EVER, state="lost") == []


def test_the_most_severe_incidents_are_returned_in_order_of_time(store: Store) -> None:
    sent = [incident(n, MARCH + n * HOUR, severity=float(s)) for n, s in enumerate((10, 80, 30, 99.5))]
    publish(store, *((1, item) for item in reversed(sent)))
    assert store.incidents(*EVER) == sent
    assert store.incidents(*EVER, limit=2) == [sent[1], sent[3]]
    assert store.incidents(*EVER, min_severity=30) == sent[1:]
    assert store.incidents(*EVER, limit=0) == []


def test_an_incident_that_was_merged_away_is_found_by_id_alone(store: Store) -> None:
    kept, gone = incident(0), incident(1)
    publish(store, (1, kept), (1, gone))
    merged = dataclasses.replace(gone, state="resolved", merged_into=kept.id, revision=2, resolved=MARCH)
    publish(store, (2, merged))
    assert store.incidents(*EVER) == [kept]
    assert store.incident(gone.id) == merged


def test_an_incident_stays_where_it_opened_when_its_start_moves(opener: Opener) -> None:
    store = opener(partition="day")
    opened = incident(start=MARCH + DAY)
    publish(store, (1, opened))
    earlier = dataclasses.replace(opened, start=MARCH - DAY, revision=2)
    publish(opener(), (2, earlier))
    assert store.incidents(*EVER) == [earlier]


def test_incidents_are_dropped_with_their_partition_and_refused_from_then_on(opener: Opener) -> None:
    store = opener(partition="day")
    old, young = incident(0), incident(1, MARCH + DAY)
    publish(store, (1, old), (1, young))
    assert store.drop_before(MARCH + DAY) == 1
    store.refresh()
    assert store.incidents(*EVER) == [young]
    with pytest.raises(StoreRejected, match="retention"):
        publish(store, (2, old), (2, dataclasses.replace(young, revision=2)))
    store.refresh()
    assert [item.revision for item in store.incidents(*EVER)] == [2]


def test_patterns_are_read_back_in_the_order_asked(opener: Opener) -> None:
    sent = [pattern("p1"), pattern("p2", text="<*> é☃ \u0000 " + "x" * 9_000, example="", level="", total=0, merged_into="p1")]
    opener().publish(Publication(patterns=tuple((MARCH, item) for item in sent)))
    store = opener()
    store.refresh()
    assert store.patterns(["p2", "unknown", "p1", "p2", ""]) == [sent[1], sent[0]]
    assert store.patterns([]) == []


def test_a_newer_sighting_of_a_pattern_wins(store: Store) -> None:
    for version, total in ((5, 50), (9, 90), (7, 70)):
        store.publish(Publication(patterns=((version, pattern("p1", total=total)),)))
    store.refresh()
    assert store.patterns(["p1"]) == [pattern("p1", total=90)]


def test_a_new_store_knows_no_incident_and_no_pattern(store: Store) -> None:
    assert store.incidents(*EVER) == []
    assert store.incident("0" * 32) is None
    assert store.patterns(["p1"]) == []
