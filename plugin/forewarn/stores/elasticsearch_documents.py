"""Results as the documents that Grafana and Kibana read, and back.

Owns the form of each kind of document. Must not talk to a server.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from forewarn.anomaly import Anomaly
from forewarn.results import ScoreBlock, SeriesRecord, score_id
from forewarn.series import Entity, SeriesKey
from forewarn.stores.elasticsearch_indices import ECS_VERSION, ENTITY_FIELDS
from forewarn.stores.records import (
    decode_calibration,
    decode_model,
    encode_calibration,
    encode_model,
    from_base64,
    parse_key,
    to_base64,
)

_ECS: Final = {"version": ECS_VERSION}
_MAX_MESSAGE: Final = 500
_MAX_SORT_KEY: Final = 8000
_NUMBERS: Final = ("score", "severity", "actual", "expected", "lower", "upper")
_SIDES: Final = {1: "above", -1: "below"}


def to_dates(times: NDArray[np.int64]) -> list[str]:
    """ISO 8601 dates with milliseconds, in UTC."""
    return [f"{text}Z" for text in np.datetime_as_string(times.astype("datetime64[ms]"), unit="ms").tolist()]


def to_date(time: int) -> str:
    """One ISO 8601 date with milliseconds, in UTC."""
    return to_dates(np.array([time], dtype=np.int64))[0]


def from_date(text: str) -> int:
    """UTC milliseconds of `to_date`."""
    return int(np.datetime64(text.removesuffix("Z"), "ms").astype(np.int64))


def entity_fields(key: SeriesKey) -> dict[str, Any]:
    """What every document says of its series outside of `anomaly`: labels, the ECS fields that it has, the rule."""
    return labels(key.entity) | {"rule": {"id": key.detector, "name": key.detector}}


def labels(entity: Entity) -> dict[str, Any]:
    """An entity as `labels` and as the ECS fields that it has."""
    # No field of a document has a NUL in its name, and a flattened field refuses one; documents keep the entity elsewhere, too.
    fields: dict[str, Any] = {"labels": {field: value for field, value in entity if field and "\0" not in field}}
    for field, value in entity:
        if field in ENTITY_FIELDS:
            group, name = field.split(".")
            fields.setdefault(group, {})[name] = value
    return fields | {"ecs": _ECS}


def score_documents(
    block: ScoreBlock, rows: NDArray[np.intp], columns: NDArray[np.intp]
) -> Iterator[tuple[str, int, int, dict[str, Any]]]:
    """(id, version, column, document) of each bucket (row, column), in their order."""
    grid, scores = block.actual.grid, block.scores
    span = grid.step
    starts = grid.times()
    dates, ends, created = to_dates(starts), to_dates(starts + span), to_dates(starts + span + block.delay)
    planes = (scores.score, block.actual.values, block.expected, scores.lower, scores.upper)
    numbers = [plane[rows, columns].tolist() for plane in planes]
    reasons = (*scores.reasons, "")
    ids = [key.id for key in block.actual.keys]
    names = [str(key) for key in block.actual.keys]
    fields = [entity_fields(key) for key in block.actual.keys]
    times = starts.tolist()
    for row, column, side, reason, score, actual, expected, lower, upper in zip(
        rows.tolist(),
        columns.tolist(),
        scores.direction[rows, columns].tolist(),
        scores.reason[rows, columns].tolist(),
        *numbers,
        strict=True,
    ):
        anomaly: dict[str, Any] = {
            "result_type": "model_plot",
            "detector": block.actual.keys[row].detector,
            "series": names[row],
            "series_id": ids[row],
            "bucket_span": span // 1000 if span % 1000 == 0 else span / 1000,
            "is_interim": False,
        }
        if side:
            anomaly["direction"] = _SIDES[side]
        if score > 0 and scores.reasons:
            anomaly["explanation_type"] = reasons[reason]
        for name, number in (("score", score), ("actual", actual), ("expected", expected), ("lower", lower), ("upper", upper)):
            if math.isfinite(number):
                anomaly[name] = number
        document = {
            "@timestamp": dates[column],
            "message": _message(names[row], actual, expected),
            "tags": ["anomalous"] if score >= 1 else [],
            "event": {
                "kind": "metric",
                "dataset": "forewarn.scores",
                "start": dates[column],
                "end": ends[column],
                "created": created[column],
            },
            "anomaly": anomaly,
        }
        yield (
            score_id(ids[row], times[column], span),
            times[column] + span + block.delay,
            column,
            document | fields[row],
        )


def _message(name: str, actual: float, expected: float) -> str:
    found = "no value" if math.isnan(actual) else f"{actual:.5g}"
    return f"{name[:_MAX_MESSAGE]}: {found}" + ("" if math.isnan(expected) else f", expected {expected:.5g}")


def anomaly_document(version: int, anomaly: Anomaly) -> dict[str, Any]:
    """The document of an anomaly; `explanation` as it is."""
    numbers = {name: getattr(anomaly, name) for name in _NUMBERS}
    reason = anomaly.explanation.get("reason")
    return entity_fields(anomaly.key) | {
        "@timestamp": to_date(anomaly.start),
        "message": _message(str(anomaly.key), anomaly.actual, anomaly.expected) + f" ({anomaly.severity_band})",
        "tags": [anomaly.severity_band, anomaly.direction],
        "event": {
            "kind": "alert",
            "dataset": "forewarn.anomalies",
            "id": anomaly.id,
            "start": to_date(anomaly.start),
            "end": to_date(anomaly.end),
            "created": to_date(version),
            "risk_score": anomaly.severity,
        },
        "anomaly": {
            "result_type": "record",
            "id": anomaly.id,
            "detector": anomaly.key.detector,
            "series": str(anomaly.key),
            "series_id": anomaly.key.id,
            "state": anomaly.state,
            "revision": anomaly.revision,
            "peak": to_date(anomaly.peak),
            "direction": anomaly.direction,
            "severity_band": anomaly.severity_band,
            "explanation": anomaly.explanation,
        }
        | ({"explanation_type": reason} if isinstance(reason, str) else {})
        | {name: number for name, number in numbers.items() if math.isfinite(number)},
    }


def anomaly_from(document: Mapping[str, Any]) -> Anomaly:
    """The anomaly of `anomaly_document`."""
    stored = document["anomaly"]
    return Anomaly(
        id=stored["id"],
        key=parse_key(stored["series"]),
        state=stored["state"],
        revision=stored["revision"],
        start=from_date(document["event"]["start"]),
        end=from_date(document["event"]["end"]),
        peak=from_date(stored["peak"]),
        direction=stored["direction"],
        explanation=stored["explanation"],
        **{name: float(stored.get(name, math.nan)) for name in _NUMBERS},
    )


def record_document(record: SeriesRecord) -> dict[str, Any]:
    """The document of a series, with its model and calibration in binary fields."""
    key = record.key
    document = entity_fields(key) | {
        "@timestamp": to_date(record.version),
        "event": {"kind": "state", "dataset": "forewarn.models", "created": to_date(record.version)},
        "anomaly": {
            "detector": key.detector,
            "series": str(key),
            "series_id": key.id,
            # NUL sorts before any text, so that the terms sort as the tuples do.
            "sort_key": "\0".join((key.detector, *(text for pair in key.entity for text in pair)))[:_MAX_SORT_KEY],
            "bucket_span": record.step // 1000 if record.step % 1000 == 0 else record.step / 1000,
            "version": record.version,
            "unit": record.unit,
            "owner": record.owner,
            "timezone": record.timezone,
            "status": record.status,
            "engine": record.engine,
            "first_seen": to_date(record.first_seen),
            "last_seen": to_date(record.last_seen),
            "retired": record.retired,
        },
    }
    if record.fitted_at is not None:
        document["anomaly"]["fitted_at"] = to_date(record.fitted_at)
    if record.model is not None:
        document["model"] = to_base64(encode_model(record.model))
    if record.calibration is not None:
        document["calibration"] = to_base64(encode_calibration(record.calibration))
    return document


def record_from(document: Mapping[str, Any]) -> SeriesRecord:
    """The record of `record_document`; without a model if the document was read without it."""
    stored = document["anomaly"]
    model, calibration = document.get("model"), document.get("calibration")
    return SeriesRecord(
        key=parse_key(stored["series"]),
        version=stored["version"],
        step=round(stored["bucket_span"] * 1000),
        unit=stored["unit"],
        owner=stored["owner"],
        timezone=stored["timezone"],
        status=stored["status"],
        engine=stored["engine"],
        fitted_at=from_date(stored["fitted_at"]) if "fitted_at" in stored else None,
        first_seen=from_date(stored["first_seen"]),
        last_seen=from_date(stored["last_seen"]),
        retired=stored["retired"],
        model=decode_model(from_base64(model)) if model else None,
        calibration=decode_calibration(from_base64(calibration)) if calibration else None,
    )
