"""Made-up results for the contract tests of the stores: keys, blocks of scores, anomalies and records of series."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from forewarn.anomaly import Anomaly, Scores
from forewarn.forecast import Calibration, Model
from forewarn.ports import Store
from forewarn.results import Publication, ScoreBlock, SeriesRecord, anomaly_id
from forewarn.series import SeriesBatch, SeriesKey, TimeGrid

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
STEP = 5 * MINUTE
MARCH = 1_772_323_200_000
"""2026-03-01 00:00 UTC, the start of a month."""

Opener = Callable[..., Store]


def keys(count: int, detector: str = "latency") -> tuple[SeriesKey, ...]:
    return tuple(SeriesKey(detector, (("service.name", f"service-{n:05d}"),)) for n in range(count))


def block(
    of: Sequence[SeriesKey],
    start: int = MARCH,
    size: int = 4,
    *,
    step: int = STEP,
    seed: int = 0,
    actual: np.ndarray[Any, Any] | None = None,
    score: np.ndarray[Any, Any] | None = None,
    delay: int = MINUTE,
) -> ScoreBlock:
    rng = np.random.default_rng(seed)
    shape = (len(of), size)
    grid = TimeGrid(start, step, size)
    values = rng.normal(100, 10, shape) if actual is None else actual.astype(np.float64)
    scores = np.abs(rng.normal(0, 1, shape)) if score is None else score.astype(np.float64)
    expected = rng.normal(100, 1, shape)
    return ScoreBlock(
        SeriesBatch(tuple(of), grid, values),
        expected,
        Scores(
            tuple(of),
            grid,
            scores,
            np.sign(rng.normal(0, 1, shape)).astype(np.int8),
            expected - 5,
            expected + 5,
            rng.integers(0, 2, shape).astype(np.int8),
            ("residual", "local"),
        ),
        delay,
    )


def anomaly(key: SeriesKey, start: int = MARCH, **changes: Any) -> Anomaly:
    plain = Anomaly(
        id=anomaly_id(key.id, start, STEP),
        key=key,
        state="open",
        revision=1,
        start=start,
        end=start + 3 * STEP,
        peak=start + STEP,
        score=2.5,
        severity=61.25,
        direction="above",
        actual=151.0,
        expected=100.5,
        lower=90.25,
        upper=111.75,
        explanation={"reason": "residual", "tail": 1e-6, "buckets": [1, 2.0, None, True], "nested": {"a.b": {"": "x"}}},
    )
    return dataclasses.replace(plain, **changes)


def record(key: SeriesKey, version: int = MARCH, *, fitted: bool = True, **changes: Any) -> SeriesRecord:
    plain = SeriesRecord(
        key=key,
        version=version,
        step=STEP,
        unit="ms",
        owner="team-checkout",
        timezone="Europe/Berlin",
        status="ok",
        engine="stan",
        fitted_at=version,
        first_seen=version - DAY,
        last_seen=version,
        retired=False,
        model=model(key) if fitted else None,
        calibration=calibration(key) if fitted else None,
    )
    return dataclasses.replace(plain, **changes)


def model(key: SeriesKey) -> Model:
    rng = np.random.default_rng(len(str(key)))
    arrays = {"k": rng.normal(size=1), "delta": rng.normal(size=(1, 25)), "beta": rng.normal(size=(1, 26)), "n": np.array([7])}
    layout = {"seasonalities": [{"name": "daily", "order": 4, "period": 1.0}], "why": "span"}
    return Model("stan", (key,), (MARCH - 28 * DAY, MARCH), 15 * MINUTE, layout, arrays, ("ok",))


def calibration(key: SeriesKey) -> Calibration:
    rng = np.random.default_rng(1 + len(str(key)))
    band = rng.uniform(1, 2, (1, 24))
    return Calibration((key,), MARCH, band, band + 1, np.array([0.5]), {"below": rng.normal(size=(1, 3))})


def same_number(one: float, other: float) -> bool:
    return one == other or (np.isnan(one) and np.isnan(other))


def publish(store: Store, *, scores: Sequence[ScoreBlock] = (), series: Sequence[SeriesRecord] = ()) -> None:
    store.publish(Publication(scores=tuple(scores), series=tuple(series)))
    store.refresh()


def publish_anomalies(store: Store, *versioned: tuple[int, Anomaly]) -> None:
    store.publish(Publication(anomalies=versioned))
    store.refresh()
