"""Which incidents there are, for tables, annotations, alert rules and pages.

Owns: IncidentSelection, finding and counting incidents, and which incident holds an anomaly. Asks the reader only; must not
know any dialect or page.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from forewarn.anomaly import SEVERITY_BANDS
from forewarn.detector import DAY
from forewarn.errors import RequestError
from forewarn.incident import Incident
from forewarn_datasource.answers import Answers
from forewarn_datasource.parameters import Window, choice, shown
from forewarn_datasource.queries import BANDS, plain_names, severities

STATES: Final = ("open", "resolved")
MOST_INCIDENTS: Final = 5_000
UNOWNED: Final = "nobody"
"""The owner of what has none, as a label: an empty one would look like a missing one."""


@dataclass(frozen=True, slots=True)
class IncidentSelection:
    """Which incidents; None stands for a parameter that was not given."""

    state: str | None = None
    severities: frozenset[str] | None = None
    owners: tuple[str, ...] | None = None

    def accepts(self, incident: Incident) -> bool:
        """Whether severity and owner are wanted; the state is the store's to filter by."""
        banded = self.severities is None or incident.severity_band in self.severities
        return banded and (self.owners is None or (incident.owner or UNOWNED) in self.owners)


def incident_selection(given: Mapping[str, Any], prefix: str = "") -> IncidentSelection:
    """The selection that `state`, `severity` and `owner` of a mapping make."""
    state = given.get("state")
    if isinstance(state, list):
        if len(state) > 1 and set(state) != set(STATES):
            raise RequestError(f"{prefix}state", f"expected one of {', '.join(STATES)}, got {shown(state)}")
        state = state[0] if len(state) == 1 else None
    known = choice(state, f"{prefix}state", (*STATES, "all", "*", ".*"), "all")
    return IncidentSelection(
        known if known in STATES else None,
        severities(given.get("severity"), f"{prefix}severity"),
        plain_names(given.get("owner"), f"{prefix}owner"),
    )


def find_incidents(answers: Answers, chosen: IncidentSelection, window: Window, most: int) -> tuple[list[Incident], bool]:
    """At most `most` incidents that overlap the window, the worst, in order of (start, id); and whether there were more."""
    edges = [edge for edge, band in SEVERITY_BANDS if chosen.severities is None or band in chosen.severities]
    narrow = chosen.owners is not None or (chosen.severities is not None and max(edges) < SEVERITY_BANDS[0][0])
    # The store leaves out what is too mild; what is too severe, or another's, is read and left out here.
    limit = MOST_INCIDENTS if narrow else min(most + 1, MOST_INCIDENTS)
    found = answers.reader.incidents(
        window.start, window.end, state=chosen.state, min_severity=min(edges, default=0.0), limit=limit
    )
    wanted = [incident for incident in found if chosen.accepts(incident)]
    worst = sorted(wanted, key=lambda incident: (-incident.severity, incident.start, incident.id))[:most]
    more = len(wanted) > most or len(found) == MOST_INCIDENTS
    return sorted(worst, key=lambda incident: (incident.start, incident.id)), more


def open_counts(answers: Answers, window: Window | None, by: str) -> list[tuple[str, int]]:
    """How many incidents are open, by `severity` band or by `owner`; a row for each band, or for each owner of a series, also
    where none is open: what an alert rule watches must not come and go.

    Raises StoreUnavailable if the last tick lies too far behind the window, as the alert states of series do.
    """
    records = answers.catalogue.listing().records
    edge = answers.edge()
    end = window.end if window else edge + 1
    slowest = max((record.step for record in records if not record.retired), default=0)
    if window:
        answers.refuse_stale(end, edge, slowest)
    opened = answers.reader.incidents(max(0, end - DAY), end, state="open", limit=MOST_INCIDENTS)
    if by == "severity":
        counted = Counter(incident.severity_band for incident in opened)
        return [(band, counted[band]) for band in BANDS]
    counted = Counter(incident.owner or UNOWNED for incident in opened)
    owners = {record.owner or UNOWNED for record in records} | set(counted)
    return [(owner, counted[owner]) for owner in sorted(owners)]


def anomaly_pages(answers: Answers, window: Window) -> dict[str, str]:
    """By the id of an anomaly, the address of the page of the incident that holds it, for what overlaps the window; one read
    of the store, and none while no page has an address.
    """
    if not answers.settings.public_url:
        return {}
    found = answers.reader.incidents(window.start, window.end, limit=answers.settings.max_annotations)
    return {anomaly: page_url(answers, incident.id) for incident in found for anomaly in incident.anomalies}


def page_url(answers: Answers, incident_id: str) -> str:
    """The address of an incident's page, "" while nobody said where people reach the datasource."""
    base = answers.settings.public_url.rstrip("/")
    return f"{base}/incidents/{quote(incident_id, safe='')}" if base else ""
