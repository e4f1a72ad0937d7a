"""A few metrics of a small shop: five weeks with the rhythm of days and weeks, and faults near the end whose truth is known.

Owns: simulate, Simulation, Fault, and the form of the documents. Pure: the same seed and times give the same values, and a
fault changes nothing outside its window. Must not know how anything is detected.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from forewarn.detector import DAY, HOUR, MINUTE
from forewarn.series import Float, SeriesBatch, SeriesKey, TimeGrid

WEEKS: Final = 5
SERVICES: Final = ("catalogue", "checkout", "payments")
METRICS: Final = ("requests", "latency", "errors", "retries", "queue")
_BUSY: Final = {"catalogue": 40.0, "checkout": 8.0, "payments": 3.0}
"""Requests per second at the busiest hour."""
_SLOW: Final = {"catalogue": 45.0, "checkout": 180.0, "payments": 320.0}
"""Milliseconds that a request takes when nothing is going on."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one series in [start, end), UTC ms on the grid: the truth that a detector should find."""

    kind: str
    """spike, dip, shift (it stays until the end) or silence (no data)."""
    service: str
    metric: str
    start: int
    end: int


@dataclass(frozen=True, slots=True, eq=False)
class Simulation:
    """`metrics` holds, for each name of METRICS, the values [S, T] of all services on `grid`; NaN = not reported.

    `requests` and `retries` are counts in a bucket, `latency` is in ms, `errors` a share from 0 to 1, `queue` a gauge. Keys
    have the metric's name as detector and the entity (service.name, ...).
    """

    grid: TimeGrid
    metrics: dict[str, SeriesBatch]
    faults: tuple[Fault, ...]

    def write_ndjson(self, path: Path) -> int:
        """Writes a document (a line) for each service and bucket that reported anything, in order of time; returns how many.

        `{"@timestamp": "2026-01-01T00:00:00.000Z", "service": {"name": "checkout"}, "requests": 812, "latency": 184.2, ...}`;
        what was not reported is left out.
        """
        stamps = np.datetime_as_string(self.grid.times().astype("datetime64[ms]"), unit="ms", timezone="UTC").tolist()
        columns = {name: batch.values.tolist() for name, batch in self.metrics.items()}
        written = 0
        with path.open("w", encoding="utf-8") as file:
            for position, stamp in enumerate(stamps):
                for row, service in enumerate(SERVICES):
                    reported = {name: column[row][position] for name, column in columns.items()}
                    reported = {name: value for name, value in reported.items() if value == value}  # noqa: PLR0124 - NaN
                    if reported:
                        document = {"@timestamp": stamp, "service": {"name": service}, **reported}
                        file.write(json.dumps(document, separators=(",", ":")) + "\n")
                        written += 1
        return written


def simulate(seed: int, end: int, step: int = 5 * MINUTE, *, weeks: int = WEEKS, faulty: bool = True) -> Simulation:
    """`weeks` weeks of buckets of `step` ms up to `end` (UTC ms, rounded down to the step), with faults unless told otherwise.

    Raises ValueError for a step that does not divide an hour, or less than a week.
    """
    if HOUR % step or weeks < 1:
        raise ValueError(f"expected a step that divides an hour and at least one week, got step={step} weeks={weeks}")
    last = end // step * step
    grid = TimeGrid.between(last - weeks * 7 * DAY, last, step)
    faults = _faults(grid) if faulty else ()
    metrics = {}
    for number, metric in enumerate(METRICS):
        values = np.empty((len(SERVICES), grid.size))
        for row, service in enumerate(SERVICES):
            # A generator for each series and each fault: none shifts the random numbers of another.
            values[row] = _healthy(metric, service, grid, np.random.default_rng([seed, number, row]))
            for position, fault in enumerate(faults):
                if (fault.metric, fault.service) == (metric, service):
                    window = slice(grid.index(fault.start), grid.index(fault.end))
                    rng = np.random.default_rng([seed, number, row, position])
                    values[row, window] = _FAULTY[metric, fault.kind](values[row, window], rng)
        keys = tuple(SeriesKey(metric, (("service.name", service),)) for service in SERVICES)
        metrics[metric] = SeriesBatch(keys, grid, np.round(values, 4))
    return Simulation(grid, metrics, faults)


def load(grid: TimeGrid) -> Float:
    """How busy the shop is, [T], from about .1 (at night) to 1 (a weekday's afternoon); it grows by 5 % in five weeks."""
    days = grid.times() / DAY
    hour = days % 1 * 24
    weekday = (np.floor(days).astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday; 0 = Monday
    daily = 0.1 + 0.75 * np.exp(-0.5 * ((hour - 14.5) / 3.6) ** 2) + 0.3 * np.exp(-0.5 * ((hour - 20.0) / 1.6) ** 2)
    weekly = np.array([1.0, 0.97, 0.96, 0.98, 1.02, 0.72, 0.6])[weekday]
    growing: Float = daily * weekly * (1 + 0.05 * np.arange(grid.size) * grid.step / (WEEKS * 7 * DAY)) / 1.05
    return growing


def _healthy(metric: str, service: str, grid: TimeGrid, rng: np.random.Generator) -> Float:
    busy = load(grid)
    requests: Float = _BUSY[service] * busy * grid.step / 1000
    if metric == "requests":
        return rng.poisson(requests * rng.lognormal(0.0, 0.04, grid.size)).astype(np.float64)
    if metric == "latency":
        noise: Float = rng.lognormal(0.0, 0.06, grid.size)
        return _SLOW[service] * (1 + 0.5 * busy**2) * noise
    if metric == "errors":
        most = np.maximum(requests, 1).astype(np.int64)
        return rng.binomial(most, 0.004 + 0.004 * busy) / most
    if metric == "retries":
        return rng.poisson(0.25 * busy * grid.step / (5 * MINUTE)).astype(np.float64)
    return np.maximum(0.0, 12 + 30 * busy + _wander(rng.normal(0.0, 2.0, grid.size), 0.7))


def _wander(noise: Float, memory: float) -> Float:
    """A first-order autoregression of the noise: a gauge does not jump about freely. Its memory fades within 32 buckets."""
    return np.convolve(noise, memory ** np.arange(32))[: noise.size]


_Change = Callable[[Float, np.random.Generator], Float]
_FAULTY: Final[dict[tuple[str, str], _Change]] = {
    ("latency", "spike"): lambda values, rng: values * rng.normal(3.5, 0.2, values.size),
    ("latency", "shift"): lambda values, rng: values * rng.normal(1.9, 0.05, values.size),
    ("requests", "dip"): lambda values, rng: np.floor(values * rng.uniform(0.15, 0.3, values.size)),
    ("errors", "spike"): lambda values, rng: np.minimum(1.0, values + rng.uniform(0.1, 0.2, values.size)),
    ("retries", "spike"): lambda values, rng: values + 4 + rng.poisson(5.0, values.size),
    ("queue", "shift"): lambda values, rng: values + rng.normal(60.0, 2.0, values.size),
    ("queue", "silence"): lambda values, _: np.full(values.size, np.nan),
}


def _faults(grid: TimeGrid) -> tuple[Fault, ...]:
    def fault(kind: str, service: str, metric: str, before: int, length: int) -> Fault:
        start = (grid.end - before) // grid.step * grid.step
        stop = -(-(start + length) // grid.step) * grid.step
        return Fault(kind, service, metric, start, min(stop, grid.end))

    return (
        fault("spike", "checkout", "latency", 52 * HOUR, 40 * MINUTE),
        fault("dip", "catalogue", "requests", 38 * HOUR, 90 * MINUTE),
        fault("shift", "payments", "queue", 26 * HOUR, 26 * HOUR),
        fault("silence", "catalogue", "queue", 15 * HOUR, 2 * HOUR),
        fault("spike", "checkout", "errors", 9 * HOUR, 30 * MINUTE),
        fault("spike", "payments", "retries", 5 * HOUR, 60 * MINUTE),
        fault("shift", "catalogue", "latency", 45 * MINUTE, 45 * MINUTE),
    )


def configuration(data: str, store: str, listen: str = "127.0.0.1:8080") -> str:
    """A configuration (YAML) of five detectors over documents in the files `data`, with the given store and datasource."""
    common = f"path: {json.dumps(data)}, split_by: [service.name], bucket: 5m"
    return f"""store: {json.dumps(store)}
detectors:
  - {{name: requests, {common}, function: sum, field: requests, direction: both, min_deviation: {{relative: 20%}}}}
  - {{name: latency, {common}, function: avg, field: latency, unit: ms, direction: above, threshold: {{above: 2s}}}}
  - {{name: errors, {common}, function: max, field: errors, unit: ratio, direction: above, min_deviation: {{absolute: 2%}}}}
  - {{name: retries, {common}, function: sum, field: retries, direction: above, min_deviation: {{absolute: 3}}}}
  - {{name: queue, {common}, function: avg, field: queue, direction: both}}
datasource: {{listen: {json.dumps(listen)}}}
"""
