"""The shapes that Grafana reads: simPod frames, series and tables, and the flat rows of Infinity.

Owns: every JSON shape of a success. Pure functions of stored results; order is stable. NaN stays NaN here and becomes
null when `wire.py` writes it. The rules are those of @grafana/data and of Infinity's Go framer; the golden tests hold both.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from forewarn.anomaly import Anomaly
from forewarn.incident import Incident
from forewarn.results import SeriesRecord
from forewarn_datasource.annotations import MOST_TAGS, MOST_TEXT, Annotation, cause_text, reason_of
from forewarn_datasource.answers import Line, times_of
from forewarn_datasource.thinning import COLUMNS

Shape = dict[str, Any]

GRAFANA_UNITS: Final[Mapping[str, str]] = {"us": "µs", "%": "percent", "B": "bytes", "min": "m", "per second": "cps"}
"""Our units that Grafana knows under another name; it shows any other as it is."""

ANOMALY_COLUMNS: Final = (
    ("time", "time"), ("timeEnd", "time"), ("series", "string"), ("detector", "string"), ("severity_band", "string"),
    ("severity", "number"), ("score", "number"), ("direction", "string"), ("actual", "number"), ("expected", "number"),
    ("lower", "number"), ("upper", "number"), ("peak", "time"), ("state", "string"), ("reason", "string"),
    ("id", "string"), ("series_id", "string"),
)  # fmt: skip
INCIDENT_COLUMNS: Final = (
    ("time", "time"), ("timeEnd", "time"), ("title", "string"), ("severity_band", "string"), ("severity", "number"),
    ("state", "string"), ("owner", "string"), ("cause", "string"), ("confidence", "number"), ("recommendation", "string"),
    ("entities", "string"), ("anomalies", "number"), ("patterns", "number"), ("heads_ups", "number"), ("opened", "time"),
    ("updated", "time"), ("resolved", "time"), ("url", "string"), ("id", "string"),
)  # fmt: skip
SERIES_COLUMNS: Final = (
    ("series", "string"), ("detector", "string"), ("status", "string"), ("engine", "string"), ("unit", "string"),
    ("owner", "string"), ("step", "number"), ("fitted_at", "time"), ("first_seen", "time"), ("last_seen", "time"),
    ("retired", "boolean"), ("id", "string"),
)  # fmt: skip


def series_frame(line: Line, ref_id: str, columns: Sequence[str] = COLUMNS, *, alone: bool = True) -> Shape:
    """One frame per series with time and `columns`.

    The display names are set here: the column's where the series is alone on its query, else with the series in front;
    where there is one column, the series alone. Otherwise Grafana would change the legend with the number of frames.
    """
    name = str(line.record.key)
    fields: list[Shape] = [{"name": "time", "type": "time", "values": line.rows.start.tolist()}]
    for column in columns:
        display = name if len(columns) == 1 else column if alone else f"{name} {column}"
        unit = "none" if column == "score" else GRAFANA_UNITS.get(line.record.unit, line.record.unit)
        config = {"displayNameFromDS": display} | ({"unit": unit} if unit else {})
        fields.append({"name": column, "type": "number", "config": config, "values": getattr(line.rows, column).tolist()})
    meta = {"notices": [{"severity": "warning", "text": text} for text in line.notices]} if line.notices else {}
    return {"refId": ref_id, "name": name, "meta": meta, "fields": fields}


def datapoints(line: Line, ref_id: str, target: str, column: str) -> Shape:
    """One column of one series in SimpleJSON's shape: value first, then time."""
    title = f"{line.record.key} {column}"
    pairs = zip(getattr(line.rows, column).tolist(), line.rows.start.tolist(), strict=True)
    return {"refId": ref_id, "target": target, "title": title, "datapoints": [list(pair) for pair in pairs]}


def annotation_frame(annotations: Sequence[Annotation], ref_id: str, *, more: bool = False, what: str = "anomalies") -> Shape:
    """The one frame that annotations are read from; without labels, which would change the names it is read by."""
    columns: list[tuple[str, str, list[Any]]] = [
        ("time", "time", [a.time for a in annotations]),
        ("timeEnd", "time", [a.time_end for a in annotations]),
        ("title", "string", [a.title for a in annotations]),
        ("text", "string", [a.text for a in annotations]),
        ("tags", "other", [list(a.tags) for a in annotations]),
        ("id", "string", [a.id for a in annotations]),
    ]
    fields = [{"name": name, "type": kind, "values": values} for name, kind, values in columns]
    return {"refId": ref_id, "name": what, "meta": _capped(len(annotations), what) if more else {}, "fields": fields}


def _capped(shown: int, what: str) -> Shape:
    text = f"Only the {shown} most severe {what} of the range are shown."
    return {"notices": [{"severity": "warning", "text": text}]}


def table(
    columns: Sequence[tuple[str, str]],
    rows: Iterable[Mapping[str, Any]],
    ref_id: str,
    *,
    more: bool = False,
    what: str = "anomalies",
) -> Shape:
    """A table with declared column types: Grafana would guess that the string "404" is a number."""
    cells = [[row[name] for name, _ in columns] for row in rows]
    declared = [{"text": name, "type": kind} for name, kind in columns]
    meta = _capped(len(cells), what) if more else {}
    return {"refId": ref_id, "type": "table", "columns": declared, "rows": cells, "meta": meta}


def anomaly_row(anomaly: Anomaly) -> Shape:
    """The columns of ANOMALY_COLUMNS, flat; ids are strings, times UTC ms."""
    return {
        "time": anomaly.start,
        "timeEnd": anomaly.end,
        "series": str(anomaly.key),
        "detector": anomaly.key.detector,
        "severity_band": anomaly.severity_band,
        "severity": anomaly.severity,
        "score": anomaly.score,
        "direction": anomaly.direction,
        "actual": anomaly.actual,
        "expected": anomaly.expected,
        "lower": anomaly.lower,
        "upper": anomaly.upper,
        "peak": anomaly.peak,
        "state": anomaly.state,
        "reason": reason_of(anomaly),
        "id": anomaly.id,
        "series_id": anomaly.key.id,
    }


def incident_row(incident: Incident, page: str) -> Shape:
    """The columns of INCIDENT_COLUMNS, flat; `page` is the address of its page, texts are cut."""
    first = incident.causes[0] if incident.causes else None
    return {
        "time": incident.start,
        "timeEnd": incident.end,
        "title": incident.title[:MOST_TEXT],
        "severity_band": incident.severity_band,
        "severity": incident.severity,
        "state": incident.state,
        "owner": incident.owner[:MOST_TEXT],
        "cause": cause_text(incident)[:MOST_TEXT],
        "confidence": first.confidence if first else None,
        "recommendation": incident.recommendations[0].title[:MOST_TEXT] if incident.recommendations else "",
        "entities": ", ".join(value[:MOST_TEXT] for _, value in incident.entities[:MOST_TAGS]),
        "anomalies": len(incident.anomalies),
        "patterns": len(incident.pattern_changes),
        "heads_ups": len(incident.heads_ups),
        "opened": incident.opened,
        "updated": incident.updated,
        "resolved": incident.resolved,
        "url": page,
        "id": incident.id,
    }


def series_row(record: SeriesRecord) -> Shape:
    """The columns of SERIES_COLUMNS; `step` in ms."""
    return {
        "series": str(record.key),
        "detector": record.key.detector,
        "status": record.status,
        "engine": record.engine,
        "unit": record.unit,
        "owner": record.owner,
        "step": record.step,
        "fitted_at": record.fitted_at,
        "first_seen": record.first_seen,
        "last_seen": record.last_seen,
        "retired": record.retired,
        "id": record.key.id,
    }


def annotation_row(annotation: Annotation) -> Shape:
    """Infinity's flat row: tags are one comma-joined string."""
    return {
        "time": annotation.time,
        "timeEnd": annotation.time_end,
        "title": annotation.title,
        "text": annotation.text,
        "tags": ",".join(annotation.tags),
        "id": annotation.id,
    }


def flat_rows(lines: Sequence[Line], columns: Sequence[str] = COLUMNS) -> list[Shape]:
    """Rows of all series in ONE ascending order of time, every series at every time (null where it has no row).

    Grouped by series, or on grids of their own, Infinity could not make them wide, and alert rules would fail.
    """
    times = times_of(lines)
    place = [np.searchsorted(times, line.rows.start) for line in lines]
    planes: dict[str, list[Any]] = {}
    for column in columns:
        plane = np.full((times.size, len(lines)), np.nan)
        for number, line in enumerate(lines):
            plane[place[number], number] = getattr(line.rows, column)
        planes[column] = plane.ravel().tolist()
    labels = [(str(line.record.key), line.record.key.id) for line in lines]
    clock = np.repeat(times, len(lines)).tolist()
    names = [name for name, _ in labels] * times.size
    ids = [series_id for _, series_id in labels] * times.size
    keys = ("time", "series", "id", *columns)
    return [dict(zip(keys, row, strict=True)) for row in zip(clock, names, ids, *planes.values(), strict=True)]
