"""The list of incidents: the open ones first, then what was resolved lately.

Owns: what a row shows, and how far back and how much the list goes. Must not know Flask or HTML.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from forewarn.detector import DAY
from forewarn.incident import Incident
from forewarn_datasource.answers import Answers
from forewarn_datasource.incidents import IncidentSelection, find_incidents, incident_selection
from forewarn_datasource.pages.wording import ago, entity_text, iso, length, line, moment
from forewarn_datasource.parameters import Window, choice
from forewarn_datasource.queries import BANDS

MOST_ROWS: Final = 100
SPANS: Final[Mapping[str, int]] = {"24h": DAY, "7d": 7 * DAY, "31d": 31 * DAY}
PARAMETERS: Final = ("state", "severity", "owner", "span")


@dataclass(frozen=True, slots=True)
class Row:
    """One incident in few words."""

    id: str
    title: str
    band: str
    severity: int
    state: str
    owner: str
    cause: str
    what_to_do: str
    since: str
    since_iso: str
    when: str


@dataclass(frozen=True, slots=True)
class Link:
    """A choice of a filter: its text, the query of its address, and whether it is the chosen one."""

    text: str
    query: str
    chosen: bool


@dataclass(frozen=True, slots=True)
class IncidentList:
    """The page. `warning` says if what is shown may be old, `more` if rows were left out."""

    open: tuple[Row, ...]
    resolved: tuple[Row, ...]
    more: bool
    filters: tuple[tuple[str, tuple[Link, ...]], ...]
    span: str
    warning: str
    counted: int


def list_of(answers: Answers, given: Mapping[str, Any]) -> IncidentList:
    """The list that the parameters ask for; RequestError for one that cannot be."""
    chosen = incident_selection(given)
    span = choice(given.get("span"), "span", tuple(SPANS), "7d")
    now = answers.edge()
    window = Window(max(0, now - SPANS[span]), now + 1)
    opened: list[Incident] = []
    closed: list[Incident] = []
    more = False
    for state, kept in (("open", opened), ("resolved", closed)):
        if chosen.state in (None, state):
            of_state = IncidentSelection(state, chosen.severities, chosen.owners)
            found, cut = find_incidents(answers, of_state, window, MOST_ROWS)
            kept.extend(found)
            more |= cut
    opened.sort(key=lambda incident: (-incident.severity, -incident.start, incident.id))
    closed.sort(key=lambda incident: (-incident.end, incident.id))
    return IncidentList(
        tuple(_row(incident, answers.clock()) for incident in opened),
        tuple(_row(incident, answers.clock()) for incident in closed),
        more,
        _filters(given, chosen, span),
        length(SPANS[span]),
        staleness(answers),
        len(opened),
    )


def staleness(answers: Answers) -> str:
    """A sentence if the last tick is long ago, or there was none: what is shown may be old then."""
    committed, now = answers.reader.committed(), answers.clock()
    if committed is None:
        return "No tick has run yet: nothing is watched so far."
    if now - committed > answers.settings.stale_after:
        return f"The last tick was {ago(committed, now)} ({moment(committed)}): what is shown here may be old."
    return ""


def _row(incident: Incident, now: int) -> Row:
    end = incident.resolved or incident.end
    lasting = length(max(0, (now if incident.state == "open" else end) - incident.start))
    return Row(
        incident.id,
        line(incident.title, 160) or "(no title)",
        incident.severity_band,
        round(incident.severity),
        incident.state,
        line(incident.owner, 60),
        entity_text(incident.causes[0].entity) if incident.causes else "",
        line(incident.recommendations[0].title, 100) if incident.recommendations else "",
        moment(incident.start),
        iso(incident.start),
        f"for {lasting}" if incident.state == "open" else f"{ago(end, now)}, lasted {lasting}",
    )


def _filters(given: Mapping[str, Any], chosen: IncidentSelection, span: str) -> tuple[tuple[str, tuple[Link, ...]], ...]:
    state = chosen.state or "all"
    band = next(iter(chosen.severities)) if chosen.severities and len(chosen.severities) == 1 else "all"
    kept = {"owner": given.get("owner", ""), "state": state, "severity": band, "span": span}

    def links(name: str, options: tuple[str, ...], now: str) -> tuple[Link, ...]:
        return tuple(Link(option, _query(kept | {name: option}), option == now) for option in options)

    return (
        ("State", links("state", ("all", "open", "resolved"), state)),
        ("Severity", links("severity", ("all", *BANDS), band)),
        ("Last", links("span", tuple(SPANS), span)),
    )


def _query(chosen: Mapping[str, str]) -> str:
    return urlencode({name: value for name, value in chosen.items() if value and value != "all"})
