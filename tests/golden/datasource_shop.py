"""A small store with round numbers, so that the golden answers can be read: three series of two detectors over four buckets."""

from collections.abc import Callable

import numpy as np
from flask import Flask

from forewarn.anomaly import Anomaly, Scores
from forewarn.detector import DAY, HOUR, MINUTE
from forewarn.forecast import Calibration, Forecast, Model
from forewarn.incident import Cause, Evidence, Fix, Incident, Recommendation
from forewarn.ports import Store
from forewarn.results import Publication, ScoreBlock, SeriesRecord, anomaly_id
from forewarn.series import Float, SeriesBatch, SeriesKey, TimeGrid
from forewarn_datasource.app import create_app
from forewarn_datasource.settings import DatasourceSettings

MORNING = 1_795_327_200_000
"""2026-11-22 06:00 UTC."""
STEP = 5 * MINUTE
NOW = MORNING + 4 * STEP + MINUTE
WEB_1 = SeriesKey("web.errors", (("host", "web-1"),))
WEB_2 = SeriesKey("web.errors", (("host", "<b>web</b>, 2"),))
DISK = SeriesKey("disk")
NAN = float("nan")
SETTINGS = DatasourceSettings(max_annotations=2, max_ahead=HOUR, cache_for=0, public_url="http://forewarn.example:8080/")


def predict(model: Model, grid: TimeGrid) -> Forecast:
    """Expects 20, with a sigma of 1."""
    expected = np.full((1, grid.size), 20.0)
    return Forecast(model.keys, grid, expected, np.ones_like(expected), model.status, (model.engine,))


def _block(keys: tuple[SeriesKey, ...], step: int, actual: list[list[float]], score: list[list[float]]) -> ScoreBlock:
    values: Float = np.array(actual, dtype=np.float64)
    grid = TimeGrid(MORNING, step, values.shape[1])
    expected = np.full(values.shape, 10.0)
    sides = np.zeros(values.shape, dtype=np.int8)
    scores = Scores(keys, grid, np.array(score, dtype=np.float64), sides, expected - 4, expected + 5, sides, ("residual",))
    return ScoreBlock(SeriesBatch(keys, grid, values), expected, scores, MINUTE)


def _record(key: SeriesKey, step: int, unit: str, *, fitted: bool = True) -> SeriesRecord:
    model = Model("stan", (key,), (MORNING - 28 * DAY, MORNING), 15 * MINUTE, {}, {}, ("ok",))
    calibration = Calibration((key,), MORNING, np.array([[2.0]]), np.array([[3.0]]), np.array([1.0]))
    return SeriesRecord(
        key, MORNING, step, unit, "team-web", "UTC", "ok" if fitted else "too_short", "stan" if fitted else "", MORNING,
        MORNING - DAY, MORNING, False, model if fitted else None, calibration if fitted else None,
    )  # fmt: skip


def _anomaly(key: SeriesKey, bucket: int, severity: float, **changes: object) -> tuple[int, Anomaly]:
    start = MORNING + bucket * STEP
    fields: dict[str, object] = {
        "id": anomaly_id(key.id, start, STEP), "key": key, "state": "closed", "revision": 2, "start": start,
        "end": start + STEP, "peak": start, "score": 4.5, "severity": severity, "direction": "above", "actual": 51.0,
        "expected": 12.4, "lower": 6.1, "upper": 15.0, "explanation": {"evidence": "residual"},
    }  # fmt: skip
    return start, Anomaly(**(fields | changes))  # type: ignore[arg-type]  # the fields above have the types of Anomaly


def fill(store: Store) -> None:
    """Publishes the shop."""
    web = _block((WEB_1, WEB_2), STEP, [[12, NAN, 51, 11], [7, 8, 9, 10]], [[0.4, NAN, 4.5, 0.2], [0.6, 0.4, 0.2, 0]])
    disk = _block((DISK,), 2 * STEP, [[70, 71]], [[0.1, 0.3]])
    store.publish(
        Publication(
            scores=(web, disk),
            anomalies=(
                _anomaly(WEB_1, 2, 92.0, state="open"),
                _anomaly(WEB_2, 0, 30.0, direction="below", actual=0.0, expected=10.0, lower=NAN, upper=NAN),
                _anomaly(DISK, 1, 3.0, actual=-2.0, expected=-5.0, explanation={}),
            ),
            series=(_record(WEB_1, STEP, "us"), _record(WEB_2, STEP, "us"), _record(DISK, 2 * STEP, "%", fitted=False)),
        )
    )
    store.refresh()


def application(store: Store, settings: DatasourceSettings = SETTINGS, clock: Callable[[], int] = lambda: NOW) -> Flask:
    return create_app(store, settings, clock=clock, predict=predict)


def fill_with_incidents(store: Store) -> None:
    """Publishes the shop with an open incident that holds its worst anomaly, a resolved one, and one that was merged away."""
    fill(store)
    _, worst = _anomaly(WEB_1, 2, 92.0, state="open")
    peak = MORNING + 2 * STEP
    fix = Recommendation("pool", "Pool <exhausted>", 2.0, ("signature",), "m", "i", ("check",), (Fix("restart"),), ())
    opened = Incident(
        "a1b2c3", "open", 3, peak + STEP, NOW, peak, peak + STEP, 92.0, "web-1: <b>errors</b> above normal, 51", "team-web",
        (("host", "web-1"), ("host", "a, b")), (Cause((("host", "web-1"),), 0.75, (Evidence("order", "", peak, "first"),)),),
        (fix,), {worst.id: worst},
    )  # fmt: skip
    over = Incident("d4e5f6", "resolved", 2, MORNING, MORNING + STEP, MORNING, MORNING + STEP, 30.0, "disk", "", (),
                    resolved=MORNING + STEP)  # fmt: skip
    merged = Incident("0a0b0c", "resolved", 2, MORNING, MORNING + STEP, MORNING, MORNING + STEP, 99.0, "gone", "", (),
                      merged_into="a1b2c3", resolved=MORNING + STEP)  # fmt: skip
    store.publish(Publication(incidents=tuple((NOW, incident) for incident in (opened, over, merged))))
    store.refresh()
