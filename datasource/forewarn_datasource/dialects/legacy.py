"""What SimpleJSON asked for and simPod dropped: /search and /annotations.

Owns: these two routes under /grafana. SimpleJSON ended in 2024 and cannot be loaded since Grafana 12; people who come from it
find their routes answered. Its /query is simPod's.
"""

from typing import Any, Final

from flask import Blueprint, Response

from forewarn.errors import RequestError
from forewarn_datasource import parameters, queries
from forewarn_datasource.annotations import annotation_of
from forewarn_datasource.answers import Answers
from forewarn_datasource.dialects.simpod import METRICS, payload_of
from forewarn_datasource.incidents import anomaly_pages
from forewarn_datasource.queries import BANDS
from forewarn_datasource.thinning import COLUMNS
from forewarn_datasource.wire import body, reply

OFFERED: Final = 1_000


def blueprint(answers: Answers) -> Blueprint:
    """The routes of the dialect."""
    bp = Blueprint("legacy", __name__, url_prefix="/grafana")

    @bp.post("/search")
    def search() -> Response:
        """Targets whose text holds what was typed, at most OFFERED: the metrics, then every column of every series."""
        typed = body().get("target") or ""
        if not isinstance(typed, str):
            raise RequestError("target", "expected text")
        offered: list[dict[str, str]] = [{"text": label, "value": name} for name, label in METRICS]
        for record in answers.catalogue.listing().records:
            offered += [{"text": f"{record.key} {column}", "value": f"{column}:{record.key.id}"} for column in COLUMNS]
        found = [item for item in offered if typed.lower() in item["text"].lower() or typed == item["value"]]
        return reply(found[:OFFERED])

    @bp.post("/annotations")
    def annotations() -> Response:
        given = body()
        span, annotation = given.get("range"), given.get("annotation")
        if not isinstance(span, dict):
            raise RequestError("range", "expected an object with from and to")
        if not isinstance(annotation, dict):
            raise RequestError("annotation", "expected an object")
        window = parameters.window(span.get("from"), span.get("to"), answers.settings.max_range, ("range.from", "range.to"))
        chosen = queries.selection(_wanted(annotation.get("query")), "annotation.query.")
        found, _ = answers.anomalies(chosen, window, answers.settings.max_annotations)
        by_id, pages = answers.catalogue.listing().by_id, anomaly_pages(answers, window)
        rows = []
        for item in (annotation_of(anomaly, by_id, pages.get(anomaly.id, "")) for anomaly in found):
            rows.append({
                "annotation": annotation, "time": item.time, "timeEnd": item.time_end, "isRegion": True,
                "title": item.title, "text": item.text, "tags": list(item.tags),
            })  # fmt: skip
        return reply(rows)

    return bp


def _wanted(query: Any) -> dict[str, Any]:
    """The selection in an annotation's one line of text: a severity, series, or the JSON of simPod's payload."""
    if query is None or (isinstance(query, str) and not query.strip()):
        return {}
    if isinstance(query, str) and not query.lstrip().startswith('{"'):
        words = query.strip()
        return {"severity": words} if words.lower() in BANDS else {"series": words}
    return dict(payload_of({"payload": query}, "annotation.query"))
