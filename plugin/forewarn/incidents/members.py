"""What an incident is made of, seen alike: when, where, how bad, and in words.

Owns Member, the common view of an anomaly, a pattern change and a heads-up. Decides nothing about belonging together.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from forewarn.anomaly import FLATLINE, SILENT, Anomaly
from forewarn.incident import HeadsUp, Incident, PatternChange
from forewarn.pattern import PATTERN_FIELD
from forewarn.series import Entity, SeriesKey

PATTERN_SEVERITY: Mapping[str, float] = {"warn": 30.0, "error": 45.0, "critical": 60.0}
"""How bad a pattern is that was never seen before, by its level; other levels tell of a change, not of a fault."""


@dataclass(frozen=True, slots=True)
class Member:
    """One thing that happened: `start` and `end` UTC ms (bucket edges), `entity` without the pattern, canonical fields."""

    kind: str
    ref: str
    key: SeriesKey
    entity: Entity
    start: int
    end: int
    is_open: bool
    severity: float
    text: str
    stopped: bool = False
    """Whether nothing comes any more, or a count fell to nothing."""
    breadth: int = 1
    """Of how many series it speaks."""

    @property
    def weighty(self) -> bool:
        """Whether it is reason enough for an incident, and to keep one open. Mere warnings and new harmless patterns are
        evidence in an incident that others opened: a fleet always has a warning somewhere, and whatever may keep an incident
        open for hours would draw the next fault into it.
        """
        return self.severity >= WEIGHTY


WEIGHTY: Final = 25.0
"""Where the band `minor` begins."""


def member_of(what: Anomaly | PatternChange | HeadsUp, same_as: Mapping[str, str]) -> Member:
    """The common view. A series without entity stands for its detector."""
    entity = tuple((same_as.get(name, name), value) for name, value in what.key.entity if name != PATTERN_FIELD)
    entity = entity or (("detector", what.key.detector),)
    if isinstance(what, Anomaly):
        is_open = what.state == "open"
        severity = what.severity if what.state != "withdrawn" else 0.0
        text, stopped = _anomaly(what), _stopped(what)
        breadth = int(what.explanation.get("silent_series", 1))
        return Member("anomaly", what.id, what.key, entity, what.start, what.end, is_open, severity, text, stopped, breadth)
    if isinstance(what, PatternChange):
        severity = PATTERN_SEVERITY.get(what.level, 0.0)
        return Member("pattern", what.id, what.key, entity, what.at, what.until, False, severity, _pattern(what))
    is_open = what.state == "open"
    severity = 25.0 + 50.0 * what.probability if is_open else 25.0
    return Member("heads-up", what.id, what.key, entity, what.since, what.updated, is_open, severity, _heads_up(what))


def members_of(incident: Incident, same_as: Mapping[str, str]) -> Iterator[Member]:
    """Everything that the incident is made of."""
    yield from (member_of(what, same_as) for what in incident.anomalies.values())
    yield from (member_of(what, same_as) for what in incident.pattern_changes.values())
    yield from (member_of(what, same_as) for what in incident.heads_ups.values())


def name_of(key: SeriesKey) -> str:
    """A series in few words: its detector, unless it counts a pattern."""
    return f"lines of {key.detector}" if any(name == PATTERN_FIELD for name, _ in key.entity) else key.detector


def _stopped(anomaly: Anomaly) -> bool:
    return anomaly.direction == "below" and (math.isnan(anomaly.actual) or anomaly.actual == 0.0)


def _silent(anomaly: Anomaly) -> str:
    said = anomaly.explanation
    if "of_series" in said:
        silent, of = said["silent_series"], said["of_series"]
        return (
            f"all {of} series of {anomaly.key.detector} are silent"
            if silent == of
            else (f"{silent} of {of} series of {anomaly.key.detector} are silent")
        )
    if "pattern" in said:
        return f"no more lines: {str(said['pattern'])[:120]}"
    last = said.get("last_value")
    return f"{name_of(anomaly.key)} is silent" + (f", last {_number(last)}" if isinstance(last, float) else "")


def _anomaly(anomaly: Anomaly) -> str:
    if anomaly.explanation.get("reason") == SILENT:
        return _silent(anomaly)
    if anomaly.explanation.get("reason") == FLATLINE:
        return f"{name_of(anomaly.key)} is stuck at {_number(anomaly.actual)}"
    if "pattern" in anomaly.explanation:
        much = "more" if anomaly.direction == "above" else "fewer"
        numbers = f"{_number(anomaly.actual)}, expected {_number(anomaly.expected)}"
        return f"{much} lines than normal ({numbers}): {str(anomaly.explanation['pattern'])[:120]}"
    return f"{name_of(anomaly.key)} {anomaly.direction} normal: {_number(anomaly.actual)}, expected {_number(anomaly.expected)}"


def _pattern(change: PatternChange) -> str:
    level = f"{change.level} " if change.level else ""
    return f"new {level}line: {change.text[:120]}"


def _heads_up(heads_up: HeadsUp) -> str:
    when = datetime.fromtimestamp(heads_up.at / 1000, UTC).strftime("%Y-%m-%d %H:%M")
    limit = f"{_number(heads_up.limit)} {heads_up.unit}".strip()
    if heads_up.state == "reached":
        return f"{name_of(heads_up.key)} has crossed {limit}"
    return f"{name_of(heads_up.key)} will cross {limit} at about {when} UTC ({heads_up.probability:.0%} likely)"


def _number(value: float) -> str:
    return f"{value:.4g}"
