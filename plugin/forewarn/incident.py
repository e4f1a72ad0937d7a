"""What belongs together, why, and what to do: heads-ups, pattern changes, incidents, causes, cards, recommendations.

Owns those values. Correlating lives in `incidents/`, matching cards in `knowledge/`, foreseeing in `scoring/`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from forewarn.anomaly import Anomaly, severity_band
from forewarn.series import Entity, SeriesKey

IncidentState = Literal["open", "resolved"]
HeadsUpState = Literal["open", "withdrawn", "reached"]


@dataclass(frozen=True, slots=True)
class HeadsUp:
    """One series, what its forecast will cross, and when: `at` UTC ms with an 80 % interval [`earliest`, `latest`].

    `probability` that it crosses within the horizon. `id` is fixed by the bucket in which it opened (`since`).
    """

    id: str
    key: SeriesKey
    state: HeadsUpState
    revision: int
    since: int
    updated: int
    limit: float
    side: Literal["above", "below"]
    at: int
    earliest: int
    latest: int
    probability: float
    actual: float
    unit: str = ""


@dataclass(frozen=True, slots=True)
class PatternChange:
    """A pattern that was never seen before in its namespace: `at` is the bucket of its first line, `until` its end."""

    id: str
    key: SeriesKey
    """The series of the pattern where it was first seen; its entity holds the pattern's id last."""
    pattern: str
    level: str
    text: str
    example: str
    at: int
    until: int
    count: float


@dataclass(frozen=True, slots=True)
class Happening:
    """What the correlator folds: at nominal time `at`, an anomaly changed, a pattern was new, or a heads-up changed."""

    at: int
    what: Anomaly | PatternChange | HeadsUp


@dataclass(frozen=True, slots=True)
class Evidence:
    """One line of evidence, for people; `kind` and `ref` say which anomaly, pattern change, heads-up or edge it rests on."""

    kind: str
    ref: str
    at: int
    text: str


@dataclass(frozen=True, slots=True)
class Cause:
    """A probable cause: an entity, how sure (0-1, relative to the other candidates), and why."""

    entity: Entity
    confidence: float
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True)
class Fix:
    """One step of a resolution; text for people, never run."""

    step: str
    risk: str = "low"
    reversible: bool = True


@dataclass(frozen=True, slots=True)
class Card:
    """A resolution as data: what it looks like (signatures), what it means, and what to check and do about it."""

    id: str
    title: str
    applies_to: tuple[str, ...]
    signatures: tuple[str, ...]
    """Regular expressions over log lines and pattern texts."""
    phrases: tuple[str, ...]
    metrics: tuple[str, ...]
    """Words of detector names, fields and directions, such as `latency above`."""
    symptoms: tuple[str, ...]
    examples: tuple[str, ...]
    meaning: str
    impact: str
    checks: tuple[str, ...]
    fixes: tuple[Fix, ...]
    severity: str
    links: tuple[str, ...]
    source: str
    licence: str
    version: int = 1


@dataclass(frozen=True, slots=True)
class Recommendation:
    """A card for an incident: how well it fits (relative, > 0), and why, naming the signature or the shared words."""

    card: str
    title: str
    score: float
    why: tuple[str, ...]
    meaning: str
    impact: str
    checks: tuple[str, ...]
    fixes: tuple[Fix, ...]
    links: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Incident:
    """Anomalies, pattern changes and heads-ups that belong together; `id` is fixed by what opened it.

    `start` is the earliest bucket start among its members, `end` the latest end so far (UTC ms). `opened` and `updated`
    are nominal times. Members are kept by id, the latest value of each. `merged_into`: the older incident it was merged into.
    """

    id: str
    state: IncidentState
    revision: int
    opened: int
    updated: int
    start: int
    end: int
    severity: float
    title: str
    owner: str
    entities: Entity
    causes: tuple[Cause, ...] = ()
    recommendations: tuple[Recommendation, ...] = ()
    anomalies: Mapping[str, Anomaly] = field(default_factory=dict)
    pattern_changes: Mapping[str, PatternChange] = field(default_factory=dict)
    heads_ups: Mapping[str, HeadsUp] = field(default_factory=dict)
    merged_into: str = ""
    resolved: int | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def severity_band(self) -> str:
        """warning, minor, major or critical."""
        return severity_band(self.severity)


@dataclass(frozen=True, slots=True)
class IncidentSettings:
    """How things are correlated. `hold` in ms; `depends_on` as (caller, callee) values of `edge_field`.

    `same_as` maps a field to the canonical field of the same meaning, so that `service` and `service.name` are one.
    """

    hold: int = 15 * 60_000
    depends_on: tuple[tuple[str, str], ...] = ()
    same_as: tuple[tuple[str, str], ...] = ()
    edge_field: str = "service.name"
    edge_window: int = 30 * 60_000
    """Through an edge only what starts within this of something on the other end belongs together."""
