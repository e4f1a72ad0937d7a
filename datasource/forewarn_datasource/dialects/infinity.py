"""The Infinity dialect under /infinity: flat JSON arrays by GET, the way into Grafana's alert rules.

Owns: the routes and parameters for `yesoreyeram-infinity-datasource` 3.x. Every answer is an array of flat rows with unquoted
plain keys, ids as strings, times as epoch ms; `[]` is the only "no data". Infinity drops the body of an error, so its status
has to tell: 400 for what was asked, 404 for an unknown name, 503 for a store that is away.
"""

from collections.abc import Callable, Collection
from typing import Any, Final

from flask import Blueprint, Response, request

from forewarn.errors import RequestError
from forewarn_datasource import parameters, queries
from forewarn_datasource.annotations import annotation_of, incident_annotation
from forewarn_datasource.answers import Answers, Resolution
from forewarn_datasource.caching import AnswerCache
from forewarn_datasource.choices import choices
from forewarn_datasource.dialects.simpod import MOST_WIDTH
from forewarn_datasource.frames import Shape, annotation_row, anomaly_row, flat_rows, incident_row
from forewarn_datasource.incidents import anomaly_pages, find_incidents, incident_selection, open_counts, page_url
from forewarn_datasource.parameters import Window
from forewarn_datasource.queries import Selection
from forewarn_datasource.thinning import COLUMNS
from forewarn_datasource.wire import reply

RANGE: Final = ("from", "to")
SELECTION: Final = ("series", "detector")
INCIDENTS: Final = ("state", "severity", "owner")
FINENESS: Final = ("maxDataPoints", "intervalMs")
MOST_ROWS: Final = 5_000
"""Anomalies that one request is answered with; beyond it is refused."""


def blueprint(answers: Answers) -> Blueprint:
    """The routes of the dialect."""
    bp = Blueprint("infinity", __name__, url_prefix="/infinity")
    cache = AnswerCache(answers.settings.cache_for, answers.clock)

    def route(name: str, known: Collection[str], rows: Callable[[dict[str, str]], list[Shape]]) -> None:
        def view() -> Response:
            return cache.answer(lambda: reply(rows(given_parameters(known))))

        bp.add_url_rule(f"/{name}", name, view, methods=["GET"])

    def window(given: dict[str, str]) -> Window:
        return parameters.window(given.get("from"), given.get("to"), answers.settings.max_range)

    def lines(given: dict[str, str], columns: tuple[str, ...], *, ahead: bool) -> list[Shape]:
        span, chosen = window(given), queries.selection(given)
        queries.require_named(given, chosen)
        fine = Resolution(_whole(given, "maxDataPoints", 1), _whole(given, "intervalMs", 0), together=True)
        return flat_rows(answers.lines(answers.catalogue.choose(chosen), span, fine, ahead=ahead), columns)

    def series(given: dict[str, str]) -> list[Shape]:
        ahead = parameters.choice(given.get("forecast"), "forecast", ("true", "false"), "true") == "true"
        return lines(given, COLUMNS, ahead=ahead)

    def scores(given: dict[str, str]) -> list[Shape]:
        return lines(given, ("score",), ahead=False)

    def anomalies(given: dict[str, str]) -> list[Shape]:
        found, more = answers.anomalies(queries.selection(given), window(given), MOST_ROWS)
        if more:
            raise RequestError(
                "range", f"holds more than {MOST_ROWS:,} anomalies; ask for a shorter range or a higher severity"
            )
        return [anomaly_row(anomaly) for anomaly in found]

    def annotations(given: dict[str, str]) -> list[Shape]:
        # The worst ones, never all: thousands of annotations bring a browser to its knees.
        found, _ = answers.anomalies(queries.selection(given), window(given), answers.settings.max_annotations)
        by_id, pages = answers.catalogue.listing().by_id, anomaly_pages(answers, window(given))
        return [annotation_row(annotation_of(anomaly, by_id, pages.get(anomaly.id, ""))) for anomaly in found]

    def alert_state(given: dict[str, str]) -> list[Shape]:
        span = window(given) if given.get("from") or given.get("to") else None
        by = parameters.choice(given.get("by"), "by", ("active", "score"), "active")
        states = answers.alert_states(queries.selection(given), span, by)
        # String columns are the alert's identity: only what never changes is among them, and there is one number.
        return [
            {"series": str(record.key), "id": record.key.id, "detector": record.key.detector, "value": value}
            for record, value in states
        ]

    def incidents(given: dict[str, str]) -> list[Shape]:
        found, more = find_incidents(answers, incident_selection(given), window(given), MOST_ROWS)
        if more:
            raise RequestError(
                "range", f"holds more than {MOST_ROWS:,} incidents; ask for a shorter range or a higher severity"
            )
        return [incident_row(incident, page_url(answers, incident.id)) for incident in found]

    def incident_annotations(given: dict[str, str]) -> list[Shape]:
        wanted = incident_selection(given)
        found, _ = find_incidents(answers, wanted, window(given), answers.settings.max_annotations)
        return [annotation_row(incident_annotation(incident, page_url(answers, incident.id))) for incident in found]

    def incident_state(given: dict[str, str]) -> list[Shape]:
        span = window(given) if given.get("from") or given.get("to") else None
        by = parameters.choice(given.get("by"), "by", ("severity", "owner"), "severity")
        # As for the alert state: one number, and labels that come from what is monitored, not from what is wrong.
        return [{by: label, "open": count} for label, count in open_counts(answers, span, by)]

    def variables(given: dict[str, str]) -> list[Shape]:
        detector = queries.plain_names(given.get("detector"), "detector")
        records = answers.catalogue.choose(Selection(detectors=detector))
        found = choices(given.get("target") or "series", records, "target")
        # Infinity throws at an empty array ("at least one field expected for variable").
        return [{"__text": choice.text, "__value": choice.value} for choice in found] or [{"__text": "", "__value": ""}]

    route("series", (*RANGE, *SELECTION, *FINENESS, "forecast"), series)
    route("scores", (*RANGE, *SELECTION, *FINENESS), scores)
    route("anomalies", (*RANGE, *SELECTION, "severity"), anomalies)
    route("annotations", (*RANGE, *SELECTION, "severity"), annotations)
    route("alert-state", (*RANGE, *SELECTION, "by"), alert_state)
    route("incidents", (*RANGE, *INCIDENTS), incidents)
    route("incident-annotations", (*RANGE, *INCIDENTS), incident_annotations)
    route("incident-state", (*RANGE, "by"), incident_state)
    route("variables", (*RANGE, "target", "detector"), variables)
    return bp


def given_parameters(known: Collection[str]) -> dict[str, Any]:
    """The parameters of the request, each given once. A misspelt one is refused: ignored, it would silently ask for more."""
    given: dict[str, Any] = {}
    for name, values in request.args.lists():
        if name not in known:
            raise RequestError(name[:80], f"is no parameter of {request.path}; known are {', '.join(known)}")
        if len(values) > 1 and name not in (*SELECTION, "severity", "owner"):
            raise RequestError(name, "is given more than once")
        given[name] = ",".join(parameters.no_macro(value, name) for value in values)
    return given


def _whole(given: dict[str, str], name: str, low: int) -> int | None:
    return parameters.whole(given[name], name, low, MOST_WIDTH if low else parameters.END_OF_TIME) if given.get(name) else None
