"""Nouns as JSON and arrays, and back: what state blocks and stored models are made of.

Owns the forms of keys, anomalies, models, calibrations. Knows nouns only; `blocks.py` makes bytes of them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

import msgspec
from numpy.typing import NDArray

from forewarn.anomaly import Anomaly
from forewarn.errors import ModelMismatch
from forewarn.forecast import Calibration, Model
from forewarn.incident import HeadsUp, Incident
from forewarn.pattern import Pattern
from forewarn.results import Notification
from forewarn.series import SeriesKey

Noun = TypeVar("Noun", Incident, HeadsUp, Pattern)
Arrays = dict[str, NDArray[Any]]


def key_json(key: SeriesKey) -> list[Any]:
    """A key as [detector, [[field, value], ...]]."""
    return [key.detector, [list(pair) for pair in key.entity]]


def key_from(json: Sequence[Any]) -> SeriesKey:
    """The key of `key_json`."""
    return SeriesKey(json[0], tuple((field, value) for field, value in json[1]))


def anomaly_json(anomaly: Anomaly) -> dict[str, Any]:
    """An anomaly as a JSON object; NaN becomes null."""
    fields = {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in ((name, getattr(anomaly, name)) for name in Anomaly.__slots__)
        if name != "key"
    }
    return fields | {"key": key_json(anomaly.key), "explanation": dict(anomaly.explanation)}


def anomaly_from(json: Mapping[str, Any]) -> Anomaly:
    """The anomaly of `anomaly_json`."""
    numbers = {name: float("nan") for name in ("actual", "expected", "lower", "upper") if json[name] is None}
    return Anomaly(**(dict(json) | numbers | {"key": key_from(json["key"])}))


def notification_json(notification: Notification) -> dict[str, Any]:
    """A notification as a JSON object."""
    return asdict(notification)


def notification_from(json: Mapping[str, Any]) -> Notification:
    """The notification of `notification_json`."""
    return Notification(**json)


def incident_json(incident: Incident) -> dict[str, Any]:
    """An incident with all its members as a JSON object; NaN becomes the text "nan"."""
    return _plain(incident)


def incident_from(json: Mapping[str, Any]) -> Incident:
    """The incident of `incident_json`."""
    return _noun(json, Incident)


def heads_up_json(heads_up: HeadsUp) -> dict[str, Any]:
    """A heads-up as a JSON object."""
    return _plain(heads_up)


def heads_up_from(json: Mapping[str, Any]) -> HeadsUp:
    """The heads-up of `heads_up_json`."""
    return _noun(json, HeadsUp)


def pattern_json(pattern: Pattern) -> dict[str, Any]:
    """A pattern as a JSON object."""
    return _plain(pattern)


def pattern_from(json: Mapping[str, Any]) -> Pattern:
    """The pattern of `pattern_json`."""
    return _noun(json, Pattern)


def _plain(value: Incident | HeadsUp | Pattern) -> dict[str, Any]:
    def without_nan(item: Any) -> Any:
        if isinstance(item, float):
            return item if math.isfinite(item) else str(item)
        if isinstance(item, Mapping):
            return {name: without_nan(member) for name, member in item.items()}
        return [without_nan(member) for member in item] if isinstance(item, (list, tuple)) else item

    plain: dict[str, Any] = without_nan(msgspec.to_builtins(value))
    return plain


def _noun(json: Mapping[str, Any], noun: type[Noun]) -> Noun:
    try:
        return msgspec.convert(json, noun, strict=False)  # not strict: a number may stand as the text "nan"
    except msgspec.ValidationError as error:
        raise ModelMismatch(f"a stored {noun.__name__} cannot be read: {error}") from error


def fit_parts(models: Sequence[Model], calibrations: Sequence[Calibration]) -> tuple[dict[str, Any], Arrays]:
    """Models and their calibrations (pairwise the same series) as JSON meta and named arrays."""
    meta: list[dict[str, Any]] = []
    arrays: Arrays = {}
    for number, (model, calibration) in enumerate(zip(models, calibrations, strict=True)):
        meta.append(
            {
                "engine": model.engine,
                "keys": [key_json(key) for key in model.keys],
                "window": list(model.window),
                "step": model.step,
                "layout": dict(model.layout),
                "status": list(model.status),
                "at": calibration.at,
            }
        )
        arrays |= {f"{number}/m/{name}": array for name, array in model.arrays.items()}
        arrays |= {f"{number}/c/{name}": array for name, array in calibration.arrays.items()}
        band = {"below": calibration.below, "above": calibration.above, "sigma": calibration.sigma}
        arrays |= {f"{number}/b/{name}": array for name, array in band.items()}
    return {"fits": meta}, arrays


def fit_from(meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> tuple[list[Model], list[Calibration]]:
    """The models and calibrations of `fit_parts`; raises ModelMismatch for anything else."""
    models: list[Model] = []
    calibrations: list[Calibration] = []
    try:
        for number, fit in enumerate(meta["fits"]):
            keys = tuple(key_from(key) for key in fit["keys"])
            own = {
                part: {name.split("/", 2)[2]: array for name, array in arrays.items() if name.startswith(f"{number}/{part}/")}
                for part in "mcb"
            }
            models.append(
                Model(
                    fit["engine"],
                    keys,
                    (fit["window"][0], fit["window"][1]),
                    fit["step"],
                    fit["layout"],
                    own["m"],
                    tuple(fit["status"]),
                )
            )
            calibrations.append(Calibration(keys, fit["at"], own["b"]["below"], own["b"]["above"], own["b"]["sigma"], own["c"]))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ModelMismatch(f"stored models cannot be read: {error!r}") from error
    return models, calibrations
