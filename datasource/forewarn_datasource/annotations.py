"""How an anomaly and an incident read: title, text and tags, for people in front of a dashboard.

Owns: Annotation, annotation_of, incident_annotation. Titles and texts are HTML for Grafana (through DOMPurify there), so
everything that came from documents is escaped here. Pure.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Final

from forewarn.anomaly import FLATLINE, SHAPES, Anomaly
from forewarn.incident import Incident
from forewarn.results import SeriesRecord

MOST_TEXT: Final = 200
MOST_TAGS: Final = 20


@dataclass(frozen=True, slots=True)
class Annotation:
    """One region on a panel; times in UTC ms, `title` and `text` are HTML, tags hold no comma."""

    id: str
    time: int
    time_end: int
    title: str
    text: str
    tags: tuple[str, ...]


def readable(value: float, unit: str = "") -> str:
    """A value with four digits and its unit; `no data` for NaN."""
    if math.isnan(value):
        return "no data"
    digits = f"{value:,.0f}" if 10_000 <= abs(value) < 1e15 else f"{value:.4g}"
    return f"{digits} {unit}" if unit else digits


def headline(anomaly: Anomaly) -> str:
    """How far from expected, such as `4.1x expected` or `87 % below expected`."""
    actual, expected = anomaly.actual, anomaly.expected
    if anomaly.explanation.get("reason") == FLATLINE:
        return f"stuck at {readable(actual)}"
    if math.isnan(actual):
        return "fell silent"
    if expected > 0 and actual > expected:
        ratio = actual / expected
        return f"{readable(round(ratio, 1))}x expected" if ratio >= 2 else f"{100 * (ratio - 1):.0f} % above expected"
    if expected > 0 and 0 <= actual < expected:
        return f"{100 * (1 - actual / expected):.0f} % below expected"
    return f"{anomaly.direction} expected"


def reason_of(anomaly: Anomaly) -> str:
    """Which evidence decided the score, in a word, where the explanation names it."""
    evidence = anomaly.explanation.get("evidence", "")
    return evidence if isinstance(evidence, str) else ""


def shape_of(anomaly: Anomaly) -> str:
    """What changed, in words; "" where nobody could tell, and where `headline` says it: of a mere spike or dip."""
    shape = str(anomaly.explanation.get("shape"))
    return SHAPES[shape] if shape in SHAPES and shape not in ("spike", "dip") else ""


def annotation_of(anomaly: Anomaly, records: Mapping[str, SeriesRecord], page: str = "") -> Annotation:
    """The annotation of an anomaly; `records` by series id give units, `page` is the address of its incident if it has one."""
    record = records.get(anomaly.key.id)
    unit = record.unit if record else ""
    facts = [f"actual {readable(anomaly.actual, unit)}, expected {readable(anomaly.expected, unit)}"]
    if not (math.isnan(anomaly.lower) or math.isnan(anomaly.upper)):
        facts[0] += f" (normal {readable(anomaly.lower)} to {readable(anomaly.upper, unit)})"
    facts.append(f"severity {anomaly.severity:.0f} ({anomaly.severity_band}), score {readable(anomaly.score)}, {anomaly.state}")
    if shape := shape_of(anomaly):
        facts.append(shape)
    if reason := reason_of(anomaly):
        facts.append(f"decided by {reason}")
    tags = [anomaly.key.detector, anomaly.severity_band, anomaly.direction, *(value for _, value in anomaly.key.entity)]
    return Annotation(
        anomaly.id,
        anomaly.start,
        anomaly.end,
        escape(f"{anomaly.key} {headline(anomaly)}"),
        "<br>".join([*(escape(fact) for fact in facts), *_link(page, "incident")]),
        tuple(dict.fromkeys(tag.replace(",", ";") for tag in tags if tag)),
    )


def incident_annotation(incident: Incident, page: str = "") -> Annotation:
    """The annotation of an incident, from its start to its end so far; `page` is the address of its page."""
    facts = [f"severity {incident.severity:.0f} ({incident.severity_band}), {incident.state}"]
    if incident.owner:
        facts.append(f"owner {incident.owner[:MOST_TEXT]}")
    if cause := cause_text(incident):
        facts.append(f"probable cause {cause[:MOST_TEXT]} ({incident.causes[0].confidence:.0%})")
    if incident.recommendations:
        facts.append(f"recommended: {incident.recommendations[0].title[:MOST_TEXT]}")
    title = escape(incident.title[:MOST_TEXT])
    tags = [
        "incident",
        incident.severity_band,
        incident.state,
        *(value[:MOST_TEXT] for _, value in incident.entities[:MOST_TAGS]),
    ]
    return Annotation(
        incident.id,
        incident.start,
        incident.end,
        f'<a href="{escape(page)}">{title}</a>' if page else title,
        "<br>".join([*(escape(fact) for fact in facts), *_link(page, "cause, plots and what to do")]),
        tuple(dict.fromkeys(tag.replace(",", ";") for tag in tags if tag)),
    )


def cause_text(incident: Incident) -> str:
    """The values of the most probable cause, "" if there is none."""
    return " / ".join(value for _, value in incident.causes[0].entity) if incident.causes else ""


def _link(page: str, text: str) -> list[str]:
    return [f'<a href="{escape(page)}">{escape(text)}</a>'] if page else []
