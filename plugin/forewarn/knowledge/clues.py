"""What an incident offers to go by: lines with the weight they deserve, and metrics that left their range.

Owns Line, Metric and `clues_of`. Decides nothing about cards.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from forewarn.anomaly import FLATLINE, Anomaly
from forewarn.incident import HeadsUp, Incident, PatternChange
from forewarn.pattern import PATTERN_FIELD
from forewarn.series import SeriesKey

MOST_LINES: Final = 12
MOST_METRICS: Final = 40
_LONGEST: Final = 2_000
_TROUBLE: Final = re.compile(
    r"fail|error|exce(?:pt|ed)|refus|reject|denied|time[d -]{0,2}out|exhaust|\bfull\b|\bkill|crash|fatal|panic|abort|unable"
    r"|cannot|can't|could not|n[o']t (?:found|available|allowed|enough|set)|no such|\bno space|invalid|expired|\blost\b"
    r"|too many|out of|deadlock|\bdead\b|broken|reset|unreach|unavail|insufficient|missing|corrupt|stuck|back-?off|\boom"
    r"|throttl|unhealthy",
    re.IGNORECASE,
)
_CALM: Final = 0.5
"""For a line below warn, or without a level, that has no word of trouble: it is about the topic of a card, not its trouble."""
_LEVEL_WEIGHT: Final[Mapping[str, float]] = {
    "critical": 1.0, "error": 1.0, "warn": 0.9, "": 0.8, "notice": 0.5, "info": 0.5, "debug": 0.4, "trace": 0.4,
}  # fmt: skip
_PLACE_WEIGHT: Final = (1.0, 0.75, 0.6)
"""On the probable cause, on the second and the third candidate; elsewhere it is rather a consequence."""
_ELSEWHERE: Final = 0.5
_RATE: Final = 0.8
"""A pattern that is known and comes more often says less than one that was never seen."""
_FORESEEN, _SILENT, _DEVIATES = 0.8, 0.75, 0.6

_SAME: Final[Mapping[str, str]] = {
    "filesystem": "disk", "fs": "disk", "volume": "disk", "storage": "disk", "mem": "memory", "rss": "memory",
    "conn": "connection", "session": "connection", "client": "connection", "backlog": "queue", "fd": "descriptor",
    "fds": "descriptor", "garbage": "gc", "collection": "gc", "old": "heap", "generation": "heap",
}  # fmt: skip
_FILLING: Final = frozenset(
    re.findall(
        r"\w+",
        "used use usage utilisation utilization pct percent ratio total count number rate size depth length by per of and"
        " bytes mb gb avg max min mean jvm time",
    )
)
_QUALIFIERS: Final = frozenset(
    re.findall(
        r"\w+",
        "free available idle remaining io iops read write latency duration wait error failed failure reset below",
    )
)
"""Words that turn the meaning of a metric round: `disk free` is not `disk`."""
_NEVER_SILENT: Final = _QUALIFIERS | {"disk", "heap", "memory", "cpu", "pool", "connection", "queue", "lag", "gc", "restart"}
_TOKEN: Final = re.compile(r"[a-z]+|\d+xx|\d+")
_CAMEL: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Line:
    """A log pattern as evidence: its text, one example, where it stands, and weights (1 = the best there is)."""

    text: str
    example: str
    where: str
    what: str
    place: float
    level: float
    tags: frozenset[str]

    @property
    def whole(self) -> str:
        """What signatures are tried on."""
        return f"{self.text}\n{self.example}" if self.example != self.text else self.text


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric that left its range, or will: the words of its name, and which way. `silent`: it fell to nothing."""

    words: frozenset[str]
    direction: str
    silent: bool
    strength: float
    place: float
    text: str
    tags: frozenset[str]


def metric_words(text: str) -> frozenset[str]:
    """The words of a detector's name or of a card's metric, in one spelling: `diskUsage_pct` and `disk used` are `disk`."""
    words = (
        word[:-1] if len(word) > 3 and word.endswith("s") else word for word in _TOKEN.findall(_CAMEL.sub(" ", text).lower())
    )
    return frozenset(_SAME.get(word, word) for word in words if word not in _FILLING)


def level_weight(level: str, text: str) -> float:
    """How much a line says by its level: 1 for errors, less below, and half of that for a calm line below warn."""
    weight = _LEVEL_WEIGHT.get(level, _LEVEL_WEIGHT[""])
    return weight if weight >= _LEVEL_WEIGHT["warn"] or _TROUBLE.search(text) else _CALM * weight


def fits(wanted: frozenset[str], words: frozenset[str]) -> bool:
    """Whether a metric of these words is one that is `wanted`: all its words, and none that turns its meaning round."""
    return wanted <= words and not (words - wanted) & _QUALIFIERS


def clues_of(incident: Incident) -> tuple[tuple[Line, ...], tuple[Metric, ...]]:
    """The lines and metrics of an incident, the weightiest first, in an order that does not depend on how they are kept."""
    places = _places(incident)
    lines = [*_new(incident, places), *_more(incident, places)]
    metrics = [*_deviating(incident, places), *_foreseen(incident, places)]
    lines.sort(key=lambda one: (-one.place * one.level, one.text, one.example, one.where, one.what))
    metrics.sort(key=lambda one: (-one.place * one.strength, one.text))
    return tuple(lines[:MOST_LINES]), tuple(metrics[:MOST_METRICS])


def _places(incident: Incident) -> dict[str, float]:
    """The weight of each value of a probable cause; fields may go by several names, so values decide."""
    places: dict[str, float] = {}
    for cause, weight in zip(incident.causes, _PLACE_WEIGHT, strict=False):
        for _, value in cause.entity:
            places.setdefault(value, weight)
    return places


def _place(key: SeriesKey, places: Mapping[str, float]) -> float:
    if not places:
        return 1.0
    values = [value for name, value in key.entity if name != PATTERN_FIELD] or [key.detector]
    return max(places.get(value, _ELSEWHERE) for value in values)


def _where(key: SeriesKey) -> str:
    values = [value for name, value in key.entity if name != PATTERN_FIELD and value]
    return ", ".join(values) or key.detector


def _tags(key: SeriesKey) -> frozenset[str]:
    """The words in which an entity may name its technology: `service.type=mysql`, `kubernetes.pod.name`, `mysql-latency`."""
    parts = [key.detector, *(part for pair in key.entity if pair[0] != PATTERN_FIELD for part in pair)]
    return frozenset(word for part in parts for word in re.findall(r"[a-z][a-z0-9]+", part.lower()))


def _new(incident: Incident, places: Mapping[str, float]) -> Iterator[Line]:
    for change in incident.pattern_changes.values():
        yield _line(change, places)


def _line(change: PatternChange, places: Mapping[str, float]) -> Line:
    text, example = change.text[:_LONGEST], change.example[:_LONGEST]
    level = level_weight(change.level, f"{text}\n{example}")
    return Line(text, example, _where(change.key), "the new pattern", _place(change.key, places), level, _tags(change.key))


def _more(incident: Incident, places: Mapping[str, float]) -> Iterator[Line]:
    """Known patterns that come more often than expected, where the anomaly carries their text."""
    for anomaly in incident.anomalies.values():
        text = anomaly.explanation.get("pattern")
        if not isinstance(text, str) or not text or anomaly.direction != "above" or anomaly.state == "withdrawn":
            continue
        if _is_stuck(anomaly):
            continue
        example = str(anomaly.explanation.get("example") or text)[:_LONGEST]
        level = _RATE * level_weight(str(anomaly.explanation.get("level", "")), f"{text[:_LONGEST]}\n{example}")
        place = _place(anomaly.key, places)
        yield Line(text[:_LONGEST], example, _where(anomaly.key), "more lines of", place, level, _tags(anomaly.key))


def _deviating(incident: Incident, places: Mapping[str, float]) -> Iterator[Metric]:
    for anomaly in incident.anomalies.values():
        if anomaly.state == "withdrawn" or any(name == PATTERN_FIELD for name, _ in anomaly.key.entity):
            continue
        if _is_stuck(anomaly):
            continue
        words = metric_words(anomaly.key.detector)
        silent = _is_silent(anomaly, words)
        says = "fell to nothing" if silent else f"is {anomaly.direction} what is expected"
        text = f"{anomaly.key.detector} of {_where(anomaly.key)} {says}"
        strength = _SILENT if silent else _DEVIATES
        yield Metric(words, anomaly.direction, silent, strength, _place(anomaly.key, places), text, _tags(anomaly.key))


def _is_stuck(anomaly: Anomaly) -> bool:
    """Whether a value is stuck: on which side of the expectation it is tells nothing then."""
    return anomaly.explanation.get("reason") == FLATLINE


def _is_silent(anomaly: Anomaly, words: frozenset[str]) -> bool:
    if anomaly.direction != "below" or words & _NEVER_SILENT:
        return False
    nothing = not math.isfinite(anomaly.actual) or abs(anomaly.actual) <= 0.02 * abs(anomaly.expected)
    return nothing and anomaly.expected > 0


def _foreseen(incident: Incident, places: Mapping[str, float]) -> Iterator[Metric]:
    for heads_up in incident.heads_ups.values():
        if heads_up.state != "withdrawn":
            yield _heads_up(heads_up, places)


def _heads_up(heads_up: HeadsUp, places: Mapping[str, float]) -> Metric:
    says = "has passed" if heads_up.state == "reached" else "is forecast to pass"
    name = f"{heads_up.key.detector} of {_where(heads_up.key)}"
    text = f"{name} {says} its limit of {heads_up.limit:g}{heads_up.unit and ' '}{heads_up.unit} ({heads_up.side})"
    words = metric_words(heads_up.key.detector)
    return Metric(words, heads_up.side, False, _FORESEEN, _place(heads_up.key, places), text, _tags(heads_up.key))
