"""What an incident is made of, in words: its causes, heads-ups, log patterns, and everything in order of time.

Owns: CauseView, HeadsUpView, PatternView, Event and how they are made from the nouns. Pure; every text is cut and without
invisible characters, and is escaped by the template.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from forewarn.anomaly import FLATLINE, SILENT, Anomaly, severity_band
from forewarn.detector import MINUTE
from forewarn.incident import Cause, HeadsUp, Incident, PatternChange
from forewarn.pattern import PATTERN_FIELD, Pattern
from forewarn.series import SeriesKey
from forewarn_datasource.annotations import headline, shape_of
from forewarn_datasource.pages.wording import (
    Piece,
    ago,
    amount,
    clock_time,
    entity_text,
    iso,
    length,
    line,
    moment,
    near,
    pattern_pieces,
    plain,
)

MOST_EVIDENCE: Final = 8
TEXT: Final = 300
EXAMPLE: Final = 1_000
_A_WHILE: Final = 15 * MINUTE
"""An open episode whose last unusual value is older is not said to go on."""


@dataclass(frozen=True, slots=True)
class Event:
    """One line of what happened, in order of time."""

    time: str
    iso: str
    kind: str
    band: str
    series: str
    text: str


@dataclass(frozen=True, slots=True)
class CauseView:
    """A probable cause: who, how sure in percent, and why."""

    fields: str
    name: str
    percent: int
    evidence: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class PatternView:
    """A log pattern that is new, or is written more or less often than it should."""

    change: str
    level: str
    pieces: tuple[Piece, ...]
    example: str
    where: str
    since: str
    known: str


@dataclass(frozen=True, slots=True)
class HeadsUpView:
    """What will be crossed, when, and how sure that is."""

    name: str
    sentence: str
    detail: str
    state: str


def pattern_of(key: SeriesKey) -> str:
    """The id of the pattern that a series counts, "" for a series of something else."""
    return next((value for field, value in key.entity if field == PATTERN_FIELD), "")


def where_of(key: SeriesKey) -> str:
    """The entity of a series without the pattern; "" for a series of everything."""
    entity = tuple(pair for pair in key.entity if pair[0] != PATTERN_FIELD)
    return entity_text(entity) if entity else ""


def cause_of(cause: Cause) -> CauseView:
    """A cause with its first lines of evidence."""
    evidence = tuple((clock_time(item.at), line(item.text, TEXT)) for item in cause.evidence[:MOST_EVIDENCE])
    fields = ", ".join(line(field, 60) for field, _ in cause.entity)
    return CauseView(fields, entity_text(cause.entity), round(100 * cause.confidence), evidence)


def heads_ups_in_order(incident: Incident) -> list[HeadsUp]:
    """What is still to come first, then what came, then what was taken back."""
    rank = {"open": 0, "reached": 1, "withdrawn": 2}
    return sorted(incident.heads_ups.values(), key=lambda ahead: (rank[ahead.state], ahead.at, ahead.id))


def heads_up_of(ahead: HeadsUp, now: int) -> HeadsUpView:
    """What will be crossed, when, and how sure that is, as sentences; `now` is the time of reading."""
    name = f"{line(ahead.key.detector, 80)} of {where_of(ahead.key)}" if ahead.key.entity else line(ahead.key.detector, 80)
    limit, value = amount(ahead.limit, ahead.unit), amount(ahead.actual, ahead.unit)
    detail = f"At {value} when last looked at. Foreseen since {near(ahead.since, now)}."
    if ahead.state == "reached":
        sentence = f"went {ahead.side} {limit} at about {near(ahead.at, now)}"
    elif ahead.state == "withdrawn":
        sentence = f"was expected to go {ahead.side} {limit}; it is no longer"
    else:
        sentence = f"will go {ahead.side} {limit} at about {near(ahead.at, now)} ({ago(ahead.at, now)})"
        sure = f"with 80 % between {near(ahead.earliest, now)} and {near(ahead.latest, now)}"
        detail = f"Probability {100 * ahead.probability:.0f} %; {sure}. {detail}"
    return HeadsUpView(name, sentence, detail, ahead.state)


def patterns_of(incident: Incident, texts: dict[str, Pattern]) -> Iterator[PatternView]:
    """New patterns first, in the order of their coming, then those that are written too often or too rarely."""
    new: set[str] = set()
    for change in sorted(incident.pattern_changes.values(), key=lambda change: (change.at, change.id)):
        new.add(change.pattern)
        yield _new_pattern(change, texts.get(change.pattern))
    for anomaly in sorted(incident.anomalies.values(), key=lambda anomaly: (anomaly.start, anomaly.id)):
        id_ = pattern_of(anomaly.key)
        if not id_ or id_ in new:
            continue
        pattern = texts.get(id_)
        yield PatternView(
            headline(anomaly),
            pattern.level if pattern else "",
            pattern_pieces(pattern.text, TEXT) if pattern else (Piece("other lines, not told apart", False),),
            plain(pattern.example, EXAMPLE) if pattern else "",
            where_of(anomaly.key),
            f"since {moment(anomaly.start)}",
            _seen(pattern),
        )


def _new_pattern(change: PatternChange, pattern: Pattern | None) -> PatternView:
    return PatternView(
        "new",
        line(change.level, 20),
        pattern_pieces(change.text, TEXT),
        plain(change.example, EXAMPLE),
        where_of(change.key),
        f"first seen {moment(change.at)}",
        _seen(pattern) or f"{change.count:,.0f} lines in its first bucket",
    )


def _seen(pattern: Pattern | None) -> str:
    if not pattern or not pattern.total:
        return ""
    lines = "1 line" if pattern.total == 1 else f"{pattern.total:,} lines"
    return f"{lines} so far, the last {moment(pattern.last_seen)}"


def events_of(incident: Incident, edge: int) -> Iterator[Event]:
    """Everything that happened, in order of time; `edge` is up to when values are known."""
    rows: list[tuple[int, str, Event]] = []
    for anomaly in incident.anomalies.values():
        rows.append((anomaly.start, anomaly.id, _anomaly_event(anomaly, edge)))
    for change in incident.pattern_changes.values():
        text = f"new {line(change.level, 20)} line: {line(change.text, 160)}"
        series = f"{line(change.key.detector, 80)} {where_of(change.key)}"
        event = Event(
            clock_time(change.at),
            iso(change.at),
            "new lines",
            "",
            f"{line(change.key.detector, 80)} {where_of(change.key)}",
            text,
        )
        rows.append((change.at, change.id, event))
    for ahead in incident.heads_ups.values():
        text = f"{ahead.state}: {ahead.side} {amount(ahead.limit, ahead.unit)} at about {clock_time(ahead.at)}"
        series = f"{line(ahead.key.detector, 80)} {where_of(ahead.key)}"
        rows.append((ahead.since, ahead.id, Event(clock_time(ahead.since), iso(ahead.since), "heads-up", "", series, text)))
    yield from (event for _, _, event in sorted(rows, key=lambda row: row[:2]))


def _anomaly_event(anomaly: Anomaly, edge: int) -> Event:
    lasted = length(anomaly.end - anomaly.start)
    ended = {"open": _going_on(anomaly, edge), "closed": f"over after {lasted}"}.get(anomaly.state, "withdrawn")
    text = ", ".join(filter(None, (headline(anomaly), shape_of(anomaly)))) + f" ({ended})"
    return Event(
        clock_time(anomaly.start),
        iso(anomaly.start),
        "anomaly",
        severity_band(anomaly.severity),
        f"{line(anomaly.key.detector, 80)} {where_of(anomaly.key)}".strip(),
        text,
    )


def _going_on(anomaly: Anomaly, edge: int) -> str:
    """An episode stays open for a while after its last unusual value; what has stopped or is stuck has none to come."""
    lasting = anomaly.explanation.get("reason") in (SILENT, FLATLINE)
    return "still going on" if lasting or edge - anomaly.end < _A_WHILE else f"unusual until {clock_time(anomaly.end)} so far"
