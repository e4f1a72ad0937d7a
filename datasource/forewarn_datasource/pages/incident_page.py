"""One incident as a page shows it: what, since when, why, what else, and what to do.

Owns: IncidentPage and how it is gathered from the store, bounded in every direction. Must not know Flask or HTML: every text
is given as it is, cut and without invisible characters, and is escaped by the template.
"""

from dataclasses import dataclass
from typing import Final

from forewarn.detector import DAY, HOUR
from forewarn.errors import RequestError
from forewarn.incident import HeadsUp, Incident, PatternChange
from forewarn.pattern import Pattern
from forewarn.results import SeriesRecord
from forewarn.series import SeriesKey
from forewarn_datasource.answers import Answers, Resolution
from forewarn_datasource.pages.advice import Advice, advice_of
from forewarn_datasource.pages.incident_list import staleness
from forewarn_datasource.pages.members import (
    CauseView,
    Event,
    HeadsUpView,
    PatternView,
    cause_of,
    events_of,
    heads_up_of,
    heads_ups_in_order,
    pattern_of,
    patterns_of,
    where_of,
)
from forewarn_datasource.pages.plots import MOST_POINTS, Plot, draw
from forewarn_datasource.pages.wording import (
    Piece,
    ago,
    iso,
    length,
    line,
    moment,
    pattern_pieces,
    plain,
)
from forewarn_datasource.parameters import Window

AROUND: Final = 2 * HOUR
LONGEST: Final = 7 * DAY
"""Of a longer incident the last part is drawn."""
MOST_PLOTS: Final = 8
CAUSE: Final = 40.0
"""How much more a series counts than its severity (0-100) when plots are chosen, if it is one of the probable cause."""
LINES: Final = 40.0
"""How much less it counts if it is the number of lines of a pattern."""
MOST_ENTITIES: Final = 24
MOST_CAUSES: Final = 3
MOST_EVENTS: Final = 40
MOST_PATTERNS: Final = 8
MOST_HEADS_UPS: Final = 8


@dataclass(frozen=True, slots=True)
class PlotView:
    """A plot with the name of its series."""

    name: str
    where: str
    full: str
    pieces: tuple[Piece, ...]
    plot: Plot | None
    why_not: str


@dataclass(frozen=True, slots=True)
class IncidentPage:
    """Everything on the page."""

    id: str
    title: str
    state: str
    band: str
    severity: int
    owner: str
    started: str
    started_iso: str
    lasting: str
    ended: str
    updated: str
    revision: int
    merged_into: str
    entities: tuple[tuple[str, str], ...]
    more_entities: int
    causes: tuple[CauseView, ...]
    heads_ups: tuple[HeadsUpView, ...]
    plots: tuple[PlotView, ...]
    more_plots: int
    drawn: str
    patterns: tuple[PatternView, ...]
    more_patterns: int
    advice: tuple[Advice, ...]
    events: tuple[Event, ...]
    more_events: int
    warning: str
    """A sentence if the last tick is long ago: what is shown may be old then."""


def page_of(answers: Answers, incident: Incident) -> IncidentPage:
    """The page of an incident; reads its series, scores and patterns."""
    now = answers.clock()
    keys = _keys(incident, answers)
    texts = {pattern.id: pattern for pattern in answers.reader.patterns(_pattern_ids(incident)[:100])}
    drawn, window = _plots(answers, incident, keys, texts)
    end = now if incident.state == "open" else (incident.resolved or incident.end)
    patterns = list(patterns_of(incident, texts))
    events = list(events_of(incident, answers.edge()))
    still = incident.state == "open"
    return IncidentPage(
        id=incident.id,
        title=line(incident.title, 240) or "(no title)",
        state=incident.state,
        band=incident.severity_band,
        severity=round(incident.severity),
        owner=line(incident.owner, 60),
        started=moment(incident.start),
        started_iso=iso(incident.start),
        lasting=length(max(0, end - incident.start)),
        ended="" if still else moment(incident.resolved or incident.end),
        updated=f"{moment(incident.updated)} ({ago(incident.updated, now)})",
        revision=incident.revision,
        merged_into=incident.merged_into,
        entities=tuple((line(field, 60), line(value, 80) or "(none)") for field, value in incident.entities[:MOST_ENTITIES]),
        more_entities=max(0, len(incident.entities) - MOST_ENTITIES),
        causes=tuple(cause_of(cause) for cause in incident.causes[:MOST_CAUSES]),
        heads_ups=tuple(heads_up_of(ahead, now) for ahead in heads_ups_in_order(incident)[:MOST_HEADS_UPS]),
        plots=drawn,
        more_plots=max(0, len(keys) - MOST_PLOTS),
        drawn=f"{moment(window.start)} to {moment(window.end)}",
        patterns=tuple(patterns[:MOST_PATTERNS]),
        more_patterns=max(0, len(patterns) - MOST_PATTERNS),
        advice=tuple(advice_of(recommendation) for recommendation in incident.recommendations[:3]),
        events=tuple(events[:MOST_EVENTS]),
        more_events=max(0, len(events) - MOST_EVENTS),
        warning=staleness(answers),
    )


def window_of(incident: Incident) -> Window:
    """What is drawn: the incident and two hours on either side, at most the last week of it."""
    end = max(incident.end, incident.start)
    return Window(max(0, incident.start - AROUND, end - LONGEST), end + AROUND)


def _keys(incident: Incident, answers: Answers) -> list[SeriesKey]:
    """The member series, those to draw first in front: heads-ups, then by weight, then by time.

    A new pattern may not have a series yet: it is shown with its lines, and is drawn only if there is something to draw.
    """
    known = answers.catalogue.known
    cause = set(incident.causes[0].entity) if incident.causes else set()

    def weight(key: SeriesKey, severity: float) -> float:
        """The cause's own series explain most; how often a line was written explains less than a metric."""
        return severity + CAUSE * bool(cause & set(key.entity)) - LINES * bool(pattern_of(key))

    ranked: dict[SeriesKey, tuple[float, int]] = {}
    members: list[tuple[SeriesKey, float, int]] = [
        *((ahead.key, 300.0 if ahead.state == "open" else 200.0, ahead.since) for ahead in incident.heads_ups.values()),
        *((a.key, weight(a.key, a.severity), a.start) for a in incident.anomalies.values()),
        *((change.key, -LINES, change.at) for change in _first(incident) if known(change.key.id) is not None),
    ]
    for key, worth, start in members:
        before = ranked.get(key, (worth, start))
        ranked[key] = max(before[0], worth), min(before[1], start)
    return sorted(ranked, key=lambda key: (-ranked[key][0], ranked[key][1], key))


def _first(incident: Incident) -> list[PatternChange]:
    """The new patterns in the order of their coming; no more of them than are shown."""
    return sorted(incident.pattern_changes.values(), key=lambda change: (change.at, change.id))[: MOST_PATTERNS + 1]


def _plots(
    answers: Answers, incident: Incident, keys: list[SeriesKey], texts: dict[str, Pattern]
) -> tuple[tuple[PlotView, ...], Window]:
    window = window_of(incident)
    shown = []
    for key in keys[:MOST_PLOTS]:
        record = answers.catalogue.known(key.id)
        ahead = next((one for one in incident.heads_ups.values() if one.key == key), None)
        plot, why_not = (
            (None, "nothing is stored of this series (any more)")
            if record is None
            else _plot(answers, incident, record, ahead, window)
        )
        pattern = texts.get(pattern_of(key))
        pieces = pattern_pieces(pattern.text, 120) if pattern else ()
        shown.append(PlotView(line(key.detector, 80), where_of(key), plain(str(key), 400), pieces, plot, why_not))
    return tuple(shown), window


def _plot(
    answers: Answers, incident: Incident, record: SeriesRecord, ahead: HeadsUp | None, window: Window
) -> tuple[Plot | None, str]:
    """The plot of a series, or why there is none. With a heads-up it reaches as far as the crossing, where that is near."""
    if ahead is not None and ahead.state == "open" and ahead.at < window.end + DAY:
        window = Window(window.start, max(window.end, ahead.at + AROUND // 2))
    try:
        (found,) = answers.lines([record], window, Resolution(MOST_POINTS))
    except RequestError as error:
        return None, error.why
    mine = [anomaly for anomaly in incident.anomalies.values() if anomaly.key == record.key]
    return draw(found, window, mine, ahead, answers.edge()), "it has no values in this time"


def _pattern_ids(incident: Incident) -> list[str]:
    changed = [change.pattern for change in incident.pattern_changes.values()]
    counted = [pattern_of(anomaly.key) for anomaly in incident.anomalies.values()]
    return [id_ for id_ in dict.fromkeys([*changed, *counted]) if id_]
