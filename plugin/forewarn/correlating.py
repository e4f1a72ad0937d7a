"""The part of a tick that looks across detectors: what happened, in nominal order, into incidents, with advice and notices.

Knows nouns and ports only; computes, writes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from forewarn.incident import Happening, Incident, Recommendation
from forewarn.ports import Advisor, Correlator
from forewarn.progress import Moved
from forewarn.state import DetectorState

Told = tuple[int, str, Incident]


@dataclass(frozen=True, slots=True)
class NoAdvice:
    """An Advisor without cards: always silent."""

    def recommend(self, _incident: Incident) -> tuple[Recommendation, ...]:
        """Nothing."""
        return ()


@dataclass(frozen=True, eq=False)
class Correlated:
    """What a tick made of its happenings: the incidents that are open after it, the last of each that changed, and what
    somebody is told: (nominal time, event, incident).
    """

    opened: tuple[Incident, ...]
    changed: tuple[tuple[int, Incident], ...]
    told: tuple[Told, ...]


def correlate(
    correlator: Correlator, advisor: Advisor, opened: Sequence[Incident], moved: Sequence[Moved], now: int
) -> Correlated:
    """The incidents after this tick. Recommendations are a pure function of an incident, made for what is kept or told."""
    happenings = [happening for one in moved for happening in happenings_of(one)]
    after, changes = correlator.fold(opened, happenings, now)
    states = {one.detector.name: one.state for one in moved if one.state is not None}
    told = [item for item in transitions(opened, changes) if item[0] > _notify_from(item[2], states)]
    advised: dict[tuple[str, int], Incident] = {}

    def advise(incident: Incident) -> Incident:
        known = (incident.id, incident.revision)
        if known not in advised:
            advised[known] = replace(incident, recommendations=advisor.recommend(incident))
        return advised[known]

    last = {incident.id: (at, incident) for at, incident in changes}
    return Correlated(
        tuple(advise(incident) if incident.id in last else incident for incident in after),
        tuple((at, advise(incident)) for at, incident in last.values()),
        tuple((at, event, advise(incident)) for at, event, incident in told),
    )


def happenings_of(moved: Moved) -> list[Happening]:
    """Everything that one detector's chunks gave to correlate."""
    happenings: list[Happening] = []
    for step in (step for chunk in moved.chunks for step in chunk.steps):
        happenings.extend(Happening(at, anomaly) for at, anomaly in step.changes)
        happenings.extend(Happening(at, change) for at, change in step.novel)
        happenings.extend(Happening(at, heads_up) for at, heads_up in step.foreseen)
    return happenings


def transitions(opened: Sequence[Incident], changes: Sequence[tuple[int, Incident]]) -> list[Told]:
    """The changes that somebody is told about: opened, updated (another severity band or probable cause), resolved.

    `opened` are the incidents that were open before the changes.
    """
    told: list[Told] = []
    known = {incident.id: _gist(incident) for incident in opened}
    for at, incident in changes:
        gist = _gist(incident)
        if incident.state == "resolved":
            told.append((at, "resolved", incident))
        elif incident.id not in known:
            told.append((at, "opened", incident))
        elif known[incident.id] != gist:
            told.append((at, "updated", incident))
        known[incident.id] = gist
    return told


def _gist(incident: Incident) -> tuple[object, ...]:
    return incident.severity_band, incident.causes[0].entity if incident.causes else ()


def _notify_from(incident: Incident, states: Mapping[str, DetectorState]) -> int:
    """What began before a detector's first start was learnt from; only what its detectors saw later is told."""
    keys = [one.key for one in incident.anomalies.values()]
    keys += [one.key for one in incident.pattern_changes.values()]
    keys += [one.key for one in incident.heads_ups.values()]
    return max((states[key.detector].notify_from for key in keys if key.detector in states), default=-1)
