"""What belongs together: happenings into incidents, as a pure fold in nominal order.

Owns the lifecycle of an incident: opening, joining, merging, resolving after a hold time. All state is in the open incidents.
An example of why order and hold matter: checkout's latency rises at 10:05 and payments' errors, the cause, are noticed at
10:10; both overlap and are joined by an edge, so they are one incident with one id, that of 10:05. When both have closed
at 11:00, a relapse at 11:10 belongs to it still; one at 11:20 does not.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from forewarn.anomaly import Anomaly
from forewarn.detector import Detector
from forewarn.incident import Happening, HeadsUp, Incident, IncidentSettings, PatternChange
from forewarn.incidents.cause import rank, title_of
from forewarn.incidents.members import Member, member_of, members_of
from forewarn.series import stable_id

Changes = tuple[tuple[int, Incident], ...]


@dataclass(frozen=True, slots=True)
class Correlation:
    """The `Correlator` port. `detectors` tell who owns what."""

    settings: IncidentSettings
    detectors: tuple[Detector, ...]

    def fold(
        self, opened: Sequence[Incident], happenings: Sequence[Happening], now: int
    ) -> tuple[tuple[Incident, ...], Changes]:
        """The incidents that are open at `now`, and every change as (nominal time, incident), in order."""
        state = _Fold(self, {incident.id: incident for incident in opened})
        ordered = sorted(happenings, key=lambda one: (one.at, one.what.id, getattr(one.what, "revision", 0)))
        for at, together in groupby(ordered, key=lambda one: one.at):
            state.resolve_before(at)
            state.take(at, together)
        state.resolve_before(now + 1)
        return tuple(state.open.values()), tuple(state.changes)


class _Fold:
    """One run of the fold; its fields are local to it."""

    def __init__(self, correlation: Correlation, opened: dict[str, Incident]) -> None:
        settings = correlation.settings
        self.settings = settings
        self.same_as = dict(settings.same_as)
        self.edges = frozenset(settings.depends_on)
        self.owners = {detector.name: detector.owner for detector in correlation.detectors}
        self.places = {detector.name: detector.selection.name for detector in correlation.detectors}
        self.open = opened
        self.members = {name: {one.ref: one for one in members_of(incident, self.same_as)} for name, incident in opened.items()}
        self.changes: list[tuple[int, Incident]] = []

    def resolve_before(self, time: int) -> None:
        """Resolves what has been quiet for the hold time before `time`, in order of when."""
        ended = sorted(
            (self._quiet_since(incident) + self.settings.hold, name)
            for name, incident in self.open.items()
            if not any(member.is_open and member.weighty for member in self.members[name].values())
        )
        for at, name in ended:
            if at < time:
                incident = self.open.pop(name)
                self._changed(at, replace(incident, state="resolved", resolved=at), self.members.pop(name), settled=True)

    def take(self, at: int, together: Iterable[Happening]) -> None:
        """Everything that happened at one nominal time; each incident that it touches changes once."""
        touched: dict[str, bool] = {}
        for happening in together:
            member = member_of(happening.what, self.same_as)
            homes = self._homes(member)
            if not homes:
                if not member.weighty:
                    continue
                homes = [self._founded(at, member)]
            home, *others = homes
            for other in others:
                self._merge(at, home, other)
                touched.pop(other, None)
            self.members[home][member.ref] = member
            self.open[home] = _with(self.open[home], happening.what)
            touched[home] = touched.get(home, False) or member.weighty
        for name, weighty in touched.items():
            incident, members = self.open[name], self.members[name]
            notes = {**incident.notes, "quiet_since": at} if weighty else incident.notes
            self.open[name] = self._changed(at, replace(incident, notes=notes), members)

    def _homes(self, member: Member) -> list[str]:
        """The open incidents that it belongs to, the oldest first; the one that holds it already alone."""
        holding = [name for name, members in self.members.items() if member.ref in members]
        if holding:
            return holding
        found = [name for name in self.open if self._belongs(member, self.members[name].values())]
        return sorted(found, key=lambda name: (self.open[name].opened, name))

    def _belongs(self, member: Member, others: Iterable[Member]) -> bool:
        hold, window = self.settings.hold, self.settings.edge_window
        for other in (one for one in others if one.weighty):
            overlaps = other.is_open or member.start <= other.end + hold
            if not overlaps:
                continue
            if set(member.entity) & set(other.entity):
                return True
            close = abs(member.start - other.start) <= window
            if close and (self._edge(member, other) or self._stopped_together(member, other)):
                return True
        return False

    def _stopped_together(self, one: Member, other: Member) -> bool:
        """Whether two stopped that are read from the same place: then it is the place that stopped."""
        places = [self.places.get(member.key.detector) for member in (one, other)]
        return one.stopped and other.stopped and places[0] is not None and places[0] == places[1]

    def _edge(self, one: Member, other: Member) -> bool:
        field = self.settings.edge_field
        ours = [value for name, value in one.entity if name == field]
        theirs = [value for name, value in other.entity if name == field]
        return any((a, b) in self.edges or (b, a) in self.edges for a in ours for b in theirs)

    def _founded(self, at: int, member: Member) -> str:
        name = stable_id("incident", member.kind, member.ref)
        self.open[name] = Incident(
            name, "open", 0, at, at, member.start, member.end, 0.0, "", self.owners.get(member.key.detector, ""), ()
        )
        self.members[name] = {}
        return name

    def _merge(self, at: int, home: str, other: str) -> None:
        """The younger incident goes into the older one, and says so."""
        merged, members = self.open.pop(other), self.members.pop(other)
        into = self.open[home]
        self.open[home] = replace(
            into,
            anomalies={**into.anomalies, **merged.anomalies},
            pattern_changes={**into.pattern_changes, **merged.pattern_changes},
            heads_ups={**into.heads_ups, **merged.heads_ups},
        )
        self.members[home] |= members
        self._changed(at, replace(merged, state="resolved", resolved=at, merged_into=home), members, settled=True)

    def _quiet_since(self, incident: Incident) -> int:
        return int(incident.notes.get("quiet_since", incident.updated))

    def _changed(self, at: int, incident: Incident, members: dict[str, Member], *, settled: bool = False) -> Incident:
        """The incident with everything that follows from its members, as the change at `at`."""
        after = replace(incident, revision=incident.revision + 1, updated=max(at, incident.updated + (at <= incident.updated)))
        if incident.revision == 0:
            after = replace(after, updated=at)
        if not settled:
            everyone = list(members.values())
            causes = rank(everyone, self.edges, self.settings.edge_field)
            after = replace(
                after,
                start=min(member.start for member in everyone),
                end=max(member.end for member in everyone),
                severity=_severity(everyone),
                title=title_of(causes, everyone),
                entities=tuple(sorted({pair for member in everyone for pair in member.entity})),
                causes=causes,
                owner=self._owner(after, causes, everyone),
            )
        self.changes.append((after.updated, after))
        return after

    def _owner(self, incident: Incident, causes: Sequence[object], members: Sequence[Member]) -> str:
        """Who owns the detector of the earliest member that somebody owns."""
        if incident.owner or not causes:
            return incident.owner
        ordered = sorted(members, key=lambda member: (member.start, member.ref))
        return next((self.owners[one.key.detector] for one in ordered if self.owners.get(one.key.detector)), "")


def _with(incident: Incident, what: Anomaly | PatternChange | HeadsUp) -> Incident:
    if isinstance(what, Anomaly):
        return replace(incident, anomalies={**incident.anomalies, what.id: what})
    if isinstance(what, PatternChange):
        return replace(incident, pattern_changes={**incident.pattern_changes, what.id: what})
    return replace(incident, heads_ups={**incident.heads_ups, what.id: what})


def _severity(members: Sequence[Member]) -> float:
    """The worst member's severity, raised by 5 for each further entity, at most by 20: what spreads is worse."""
    by_entity: dict[object, float] = defaultdict(float)
    for member in members:
        for pair in member.entity:
            by_entity[pair] = max(by_entity[pair], member.severity)
    return min(100.0, max(by_entity.values(), default=0.0) + min(20.0, 5.0 * (len(by_entity) - 1)))
