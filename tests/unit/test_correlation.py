"""Incidents: what overlaps and shares an entity or an edge belongs together; who was first and upstream is the cause."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forewarn.anomaly import Anomaly, Side, State
from forewarn.detector import MINUTE, Detector, Selection
from forewarn.incident import Happening, HeadsUp, Incident, IncidentSettings, PatternChange
from forewarn.incidents.correlation import Correlation
from forewarn.series import SeriesKey, stable_id

STEP = 5 * MINUTE
T0 = 1_780_272_000_000
HOLD = 15 * MINUTE
EDGES = (("gateway", "checkout"), ("checkout", "payments"), ("payments", "db"), ("search", "catalogue"))
DETECTORS = tuple(
    Detector(name, Selection(index="m"), "avg", "v", owner=owner) for name, owner in (("latency", "team-a"), ("errors", ""))
)
CORRELATION = Correlation(IncidentSettings(HOLD, EDGES, (("service", "service.name"),)), DETECTORS)


def key(service: str, detector: str = "latency", field: str = "service.name") -> SeriesKey:
    return SeriesKey(detector, ((field, service),))


def anomaly(
    of: SeriesKey,
    start: int,
    end: int,
    *,
    state: State = "open",
    severity: float = 40.0,
    revision: int = 1,
    side: Side = "above",
) -> Anomaly:
    """An episode in buckets from T0."""
    first = T0 + start * STEP
    return Anomaly(
        stable_id("a", of.id, start),
        of,
        state,
        revision,
        first,
        T0 + end * STEP,
        first,
        2.0,
        severity,
        side,
        9.0,
        1.0,
        0.5,
        1.5,
    )


def at(bucket: int, what: Anomaly | PatternChange | HeadsUp) -> Happening:
    """Noticed at the end of a bucket."""
    return Happening(T0 + bucket * STEP + MINUTE, what)


def episode(of: SeriesKey, start: int, end: int, **more: float) -> list[Happening]:
    """Opened at `start`, closed at `end`."""
    opened = anomaly(of, start, start + 1, **more)  # type: ignore[arg-type] # severity alone is passed on
    return [at(start + 1, opened), at(end, replace(opened, state="closed", end=T0 + end * STEP, revision=2))]


def run(happenings: list[Happening], until: int = 1000) -> tuple[tuple[Incident, ...], list[tuple[int, Incident]]]:
    opened, changes = CORRELATION.fold((), happenings, T0 + until * STEP)
    return opened, list(changes)


def last(changes: list[tuple[int, Incident]]) -> dict[str, Incident]:
    return {incident.id: incident for _, incident in changes}


def test_two_series_of_one_entity_at_one_time_are_one_incident_and_another_entity_is_another() -> None:
    happenings = [*episode(key("cart"), 10, 20), *episode(key("cart", "errors"), 12, 18), *episode(key("search"), 11, 15)]
    found = last(run(happenings)[1])
    assert sorted(len(incident.anomalies) for incident in found.values()) == [1, 2]


def test_fields_of_the_same_meaning_are_one_entity() -> None:
    happenings = [*episode(key("cart"), 10, 20), *episode(key("cart", "errors", "service"), 12, 18)]
    (incident,) = last(run(happenings)[1]).values()
    assert incident.entities == (("service.name", "cart"),)


def test_neighbours_along_an_edge_are_one_incident_and_the_dependency_is_the_cause() -> None:
    happenings = [*episode(key("gateway"), 10, 20), *episode(key("checkout"), 10, 20), *episode(key("payments"), 11, 20)]
    (incident,) = last(run(happenings)[1]).values()
    assert len(incident.anomalies) == 3
    assert incident.causes[0].entity == (("service.name", "payments"),)
    assert "checkout, gateway depend on it" in [line.text for line in incident.causes[0].evidence]
    assert sum(cause.confidence for cause in incident.causes) == pytest.approx(1.0)
    assert incident.title.startswith("payments: latency above normal")
    assert incident.owner == "team-a"


def test_an_edge_does_not_join_what_began_long_after() -> None:
    happenings = [*episode(key("checkout"), 10, 60), *episode(key("payments"), 40, 60)]
    assert len(last(run(happenings)[1])) == 2


def test_it_is_resolved_after_the_hold_time_and_a_relapse_within_it_belongs_to_it() -> None:
    once = run(episode(key("cart"), 10, 20))[1]
    assert [incident.state for _, incident in once] == ["open", "open", "resolved"]
    assert once[-1][0] == T0 + 20 * STEP + MINUTE + HOLD
    assert once[-1][1].resolved == once[-1][0]
    within = last(run([*episode(key("cart"), 10, 20), *episode(key("cart", "errors"), 21, 25)])[1])
    after = last(run([*episode(key("cart"), 10, 20), *episode(key("cart", "errors"), 30, 35)])[1])
    assert (len(within), len(after)) == (1, 2)


def test_the_id_is_fixed_by_what_opened_it_and_a_bridge_merges_the_younger_into_the_older() -> None:
    happenings = [
        *episode(key("gateway"), 10, 30),
        *episode(key("payments"), 11, 30),
        *episode(key("checkout"), 12, 30),
    ]
    opened, changes = run(happenings)
    assert opened == ()
    ids = list(dict.fromkeys(incident.id for _, incident in changes))
    merged = last(changes)[ids[1]]
    assert ids[0] == stable_id("incident", "anomaly", happenings[0].what.id)
    assert (merged.state, merged.merged_into) == ("resolved", ids[0])
    assert len(last(changes)[ids[0]].anomalies) == 3


def change(service: str, bucket: int, level: str) -> PatternChange:
    of = SeriesKey("logs", (("service.name", service), ("pattern", f"p{bucket}")))
    first = T0 + bucket * STEP
    return PatternChange(
        stable_id("c", of.id), of, f"p{bucket}", level, "disk <*> is full", "disk sda is full", first, first + STEP, 3.0
    )


def test_a_new_error_line_opens_an_incident_and_a_new_harmless_line_only_joins_one() -> None:
    assert last(run([at(11, change("cart", 10, "info"))])[1]) == {}
    (incident,) = last(run([at(11, change("cart", 10, "error"))])[1]).values()
    assert incident.title == "cart: new error line: disk <*> is full"
    (joined,) = last(run([*episode(key("cart"), 9, 20), at(11, change("cart", 10, "info"))])[1]).values()
    assert len(joined.pattern_changes) == 1


def test_a_heads_up_opens_an_incident_that_lasts_until_it_is_withdrawn() -> None:
    of = key("cart", "disk")
    heads_up = HeadsUp("h", of, "open", 1, T0, T0, 90.0, "above", T0 + 99 * STEP, T0, T0, 0.9, 80.0, "%")
    opened, changes = run([at(1, heads_up)], until=80)
    assert [incident.state for incident in opened] == ["open"]
    assert "will cross 90 %" in changes[-1][1].title
    withdrawn = replace(heads_up, state="withdrawn", revision=2, updated=T0 + 5 * STEP)
    assert [incident.state for _, incident in run([at(1, heads_up), at(5, withdrawn)])[1]] == ["open", "open", "resolved"]


def test_severity_grows_with_what_it_spreads_to_and_stays_within_100() -> None:
    alone = last(run(episode(key("payments"), 10, 20, severity=90.0))[1])
    spread = last(run([*episode(key("payments"), 10, 20, severity=90.0), *episode(key("checkout"), 10, 20)])[1])
    assert [incident.severity for incident in alone.values()] == [90.0]
    assert [incident.severity for incident in spread.values()] == [95.0]


services = st.sampled_from(["gateway", "checkout", "payments", "db", "search", "catalogue", "cart"])
episodes = st.tuples(services, st.sampled_from(["latency", "errors"]), st.integers(0, 80), st.integers(1, 30))


@settings(max_examples=60, deadline=None)
@given(st.lists(episodes, max_size=12, unique_by=lambda one: one[:3]), st.sets(st.integers(1, 150), max_size=6))
def test_the_same_happenings_in_smaller_portions_give_the_same_incidents(
    drawn: list[tuple[str, str, int, int]], cuts: set[int]
) -> None:
    happenings = [one for name, detector, start, length in drawn for one in episode(key(name, detector), start, start + length)]
    whole = CORRELATION.fold((), happenings, T0 + 200 * STEP)
    opened: tuple[Incident, ...] = ()
    changes: list[tuple[int, Incident]] = []
    edges = [0, *sorted(cuts), 200]
    for low, high in pairwise(edges):
        part = [one for one in happenings if T0 + low * STEP < one.at <= T0 + high * STEP]
        opened, made = CORRELATION.fold(opened, part, T0 + high * STEP)
        changes.extend(made)
    assert (opened, tuple(changes)) == whole
    assert len({incident.id for incident in opened}) == len(opened)


def silent(detector: str, host: str, start: int, *, of: int = 0, severity: float = 40.0) -> Anomaly:
    """Somebody who stopped sending; `of`: all so many series of the detector."""
    whole = {"silent_series": of, "of_series": of} if of else {}
    one = anomaly(SeriesKey(detector, () if of else (("host", host),)), start, start + 4, severity=severity, side="below")
    return replace(one, actual=float("nan"), explanation={"reason": "silent", "last_value": 3.0, **whole})


def test_what_stops_together_in_one_place_is_one_incident_that_says_so() -> None:
    changes = [at(4, silent("latency", f"h{number}", 0)) for number in range(6)]
    changes += [at(5, silent("errors", "", 0, of=40, severity=50.0)), at(30, silent("latency", "late", 26))]
    opened, _ = CORRELATION.fold((), changes, T0 + 31 * STEP)
    first, later = sorted(opened, key=lambda one: one.start)
    assert len(first.anomalies) == 7
    assert len(later.anomalies) == 1
    assert first.title == "all 40 series of errors are silent"
    assert first.causes[0].entity == (("detector", "errors"),)
    assert later.title == "late: latency is silent, last 3"


def test_what_rises_together_in_one_place_without_an_entity_in_common_is_not() -> None:
    changes = [at(1, anomaly(key(f"s{number}"), 0, 1)) for number in range(6)]
    assert len(CORRELATION.fold((), changes, T0 + 2 * STEP)[0]) == 6
