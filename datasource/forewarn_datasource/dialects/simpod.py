"""The simPod JSON dialect under /grafana: panels, annotations, variables and ad hoc filters.

Owns: the routes and requests of `simpod-json-datasource` 0.6. The browser sends these through Grafana's proxy; an answer to
/query is always an array of frames. SimpleJSON's routes, which differ, are in `legacy.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from flask import Blueprint, Response

from forewarn.errors import RequestError
from forewarn_datasource import filters, parameters, queries
from forewarn_datasource.annotations import annotation_of, incident_annotation
from forewarn_datasource.answers import MOST_ANOMALIES, Answers, Resolution
from forewarn_datasource.catalogue import fields, values
from forewarn_datasource.choices import choices
from forewarn_datasource.frames import (
    ANOMALY_COLUMNS,
    INCIDENT_COLUMNS,
    SERIES_COLUMNS,
    Shape,
    annotation_frame,
    anomaly_row,
    datapoints,
    incident_row,
    series_frame,
    series_row,
    table,
)
from forewarn_datasource.incidents import (
    STATES,
    anomaly_pages,
    find_incidents,
    incident_selection,
    page_url,
)
from forewarn_datasource.parameters import Window
from forewarn_datasource.queries import BANDS, Selection
from forewarn_datasource.thinning import COLUMNS
from forewarn_datasource.wire import body, reply

FRAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "band": COLUMNS, "series": COLUMNS, "score": ("score",), "actual": ("actual",), "expected": ("expected",)
}  # fmt: skip
METRICS: Final = (
    ("band", "Actual, expected, band and score"),
    ("actual", "Actual"),
    ("expected", "Expected"),
    ("score", "Score"),
    ("anomalies", "Anomalies (annotations)"),
    ("anomalies_table", "Anomalies (table)"),
    ("incidents", "Incidents (annotations)"),
    ("incidents_table", "Incidents (table)"),
    ("series_table", "Series (table)"),
)
MOST_WIDTH: Final = 10_000_000
"""Annotation requests send the width of the window as maxDataPoints; nobody has a wider one."""


@dataclass(frozen=True, slots=True)
class Target:
    """One query of a panel."""

    ref_id: str
    name: str
    kind: str
    """SimpleJSON's `timeserie` or `table`; "" from simPod."""
    payload: Mapping[str, Any]
    where: str
    """Its place in the request, for refusals."""

    @property
    def prefix(self) -> str:
        """What stands before the name of a payload's key in a refusal."""
        return f"{self.where}.payload."


@dataclass(frozen=True, slots=True)
class Question:
    """A POST to /query, checked."""

    window: Window
    resolution: Resolution
    picked: tuple[filters.Filter, ...]
    targets: tuple[Target, ...]
    annotation: bool


def blueprint(answers: Answers) -> Blueprint:
    """The routes of the dialect."""
    bp = Blueprint("simpod", __name__, url_prefix="/grafana")

    @bp.get("")
    @bp.get("/")
    def health() -> Response:
        return reply({"status": "ok", "message": "Forewarn answers simPod JSON and SimpleJSON here"})

    @bp.post("/query")
    def query() -> Response:
        question = question_of(body(), answers.settings.max_range)
        if question.annotation:
            # Several frames would be merged field by field: an annotation is answered with exactly one.
            return reply([_annotations(answers, question, target) for target in question.targets[:1]])
        return reply([shape for target in question.targets for shape in _answer(answers, question, target)])

    @bp.post("/metrics")
    def metrics() -> Response:
        body()
        return reply([{"label": label, "value": name, "payloads": _payloads(name)} for name, label in METRICS])

    @bp.post("/metric-payload-options")
    def payload_options() -> Response:
        targets = {"series": "series", "detector": "detectors", "severity": "severities"}
        name = parameters.choice(body().get("name"), "name", tuple(targets), "series")
        found = choices(targets[name], answers.catalogue.listing().records, "name")
        return reply([{"label": choice.text, "value": choice.value} for choice in found])

    @bp.post("/variable")
    def variable() -> Response:
        given = payload_of(body(), "payload")
        target = given.get("target") or "series"
        if not isinstance(target, str):
            raise RequestError("payload.target", "expected text")
        detector = queries.plain_names(given.get("detector"), "payload.detector")
        records = answers.catalogue.choose(Selection(detectors=detector))
        found = choices(target, records, "payload.target")
        return reply([{"__text": choice.text, "__value": choice.value} for choice in found])

    @bp.post("/tag-keys")
    def tag_keys() -> Response:
        body()
        return reply([{"type": "string", "text": name} for name in fields(answers.catalogue.listing().records)])

    @bp.post("/tag-values")
    def tag_values() -> Response:
        key = body().get("key")
        if not isinstance(key, str) or not key:
            raise RequestError("key", "expected the name of a field")
        return reply([{"text": value} for value in values(answers.catalogue.listing().records, key)])

    return bp


def payload_of(given: Mapping[str, Any], prefix: str) -> Mapping[str, Any]:
    """What the user wrote beside the target: `payload`, or `data` before 0.3 of the plugin; an object or its JSON."""
    payload = given.get("payload")
    payload = given.get("data") if payload is None else payload
    if isinstance(payload, str) and payload.strip():
        try:
            payload = msgspec.json.decode(parameters.no_macro(payload, prefix))
        except (msgspec.DecodeError, RecursionError) as error:
            raise RequestError(prefix, f"not JSON: {error}") from error
    if payload is None or payload == "":
        return {}
    if not isinstance(payload, dict):
        raise RequestError(prefix, f"expected an object, got {type(payload).__name__}")
    return payload


def question_of(given: Mapping[str, Any], max_range: int) -> Question:
    """The question in a request body. Only `targets` and `range` are needed; what Grafana adds is ignored."""
    span = given.get("range")
    if not isinstance(span, dict):
        raise RequestError("range", "expected an object with from and to")
    targets = given.get("targets")
    if not isinstance(targets, list):
        raise RequestError("targets", "expected a list")
    points, interval = given.get("maxDataPoints"), given.get("intervalMs")
    scoped = given.get("scopedVars")
    picked = given.get("filters")
    return Question(
        parameters.window(span.get("from"), span.get("to"), max_range, ("range.from", "range.to")),
        Resolution(
            None if points is None else parameters.whole(points, "maxDataPoints", 1, MOST_WIDTH),
            None if interval is None else parameters.whole(interval, "intervalMs", 0, parameters.END_OF_TIME),
        ),
        filters.parse(given.get("adhocFilters"), "adhocFilters") if picked is None else filters.parse(picked),
        tuple(_targets(targets)),
        isinstance(scoped, dict) and "__annotation" in scoped,
    )


def _targets(targets: Sequence[Any]) -> list[Target]:
    found = []
    for number, target in enumerate(targets):
        where = f"targets[{number}]"
        if not isinstance(target, dict):
            raise RequestError(where, "expected an object")
        name, ref_id = target.get("target"), target.get("refId", "A")
        if name in (None, "") or target.get("hide") is True:
            continue  # a panel's new, still empty query
        if not isinstance(name, str) or not isinstance(ref_id, str):
            raise RequestError(f"{where}.target", "expected text")
        name = queries.unescape(parameters.no_macro(name, f"{where}.target").strip())
        kind = target.get("type")
        payload = payload_of(target, f"{where}.payload")
        found.append(Target(ref_id, name, kind if isinstance(kind, str) else "", payload, where))
    return found


def _answer(answers: Answers, question: Question, target: Target) -> list[Shape]:
    """The frames of one target."""
    if target.name in ("anomalies", "incidents"):
        return [_annotations(answers, question, target)]
    if target.name == "incidents_table":
        wanted = incident_selection(target.payload, target.prefix)
        incidents, more = find_incidents(answers, wanted, question.window, MOST_ANOMALIES)
        rows = (incident_row(incident, page_url(answers, incident.id)) for incident in incidents)
        return [table(INCIDENT_COLUMNS, rows, target.ref_id, more=more, what="incidents")]
    chosen = queries.selection(target.payload, target.prefix, question.picked)
    if target.name == "anomalies_table":
        found, more = answers.anomalies(chosen, question.window, MOST_ANOMALIES)
        return [table(ANOMALY_COLUMNS, map(anomaly_row, found), target.ref_id, more=more)]
    if target.name == "series_table":
        return [table(SERIES_COLUMNS, map(series_row, answers.catalogue.choose(chosen)), target.ref_id)]
    if target.name in FRAMES:
        queries.require_named(target.payload, chosen, target.prefix)
        records = answers.catalogue.choose(chosen, f"{target.prefix}series")
        lines = answers.lines(records, question.window, question.resolution, ahead=target.name != "score")
        return [series_frame(line, target.ref_id, FRAMES[target.name], alone=len(lines) == 1) for line in lines]
    column, _, series = target.name.partition(":")
    if column in COLUMNS and series:  # SimpleJSON knows one text per query, as /search offered it
        records = answers.catalogue.choose(Selection(series=(series,)), f"{target.where}.target")
        lines = answers.lines(records, question.window, question.resolution)
        return [datapoints(line, target.ref_id, target.name, column) for line in lines]
    known = ", ".join(name for name, _ in METRICS)
    raise RequestError(f"{target.where}.target", f"expected one of {known}, got {target.name[:80]!r}")


def _annotations(answers: Answers, question: Question, target: Target) -> Shape:
    """Incidents if they are asked for; else anomalies, whatever the annotation's target is called."""
    window, most = question.window, answers.settings.max_annotations
    if target.name == "incidents":
        wanted = incident_selection(target.payload, target.prefix)
        incidents, more = find_incidents(answers, wanted, window, most)
        notes = [incident_annotation(incident, page_url(answers, incident.id)) for incident in incidents]
        return annotation_frame(notes, target.ref_id, more=more, what="incidents")
    chosen = queries.selection(target.payload, target.prefix, question.picked)
    found, more = answers.anomalies(chosen, window, most)
    by_id, pages = answers.catalogue.listing().by_id, anomaly_pages(answers, window)
    notes = [annotation_of(anomaly, by_id, pages.get(anomaly.id, "")) for anomaly in found]
    return annotation_frame(notes, target.ref_id, more=more)


def _payloads(metric: str) -> list[Shape]:
    """What the query builder offers for a metric; options of `series` and `detector` are asked for when the menu opens."""
    bands = [{"label": band, "value": band} for band in BANDS]
    severity: Shape = {"name": "severity", "label": "Severity", "type": "multi-select", "width": 24, "options": bands}
    if metric.startswith("incidents"):
        states = [{"label": state, "value": state} for state in STATES]
        return [severity, {"name": "state", "label": "State", "type": "multi-select", "width": 24, "options": states}]
    offered: list[Shape] = [
        {"name": "series", "label": "Series", "type": "multi-select", "placeholder": "all of the detector", "width": 40},
        {"name": "detector", "label": "Detector", "type": "multi-select", "placeholder": "any", "width": 24},
    ]
    if metric.startswith("anomalies"):
        offered.append(severity)
    return offered
