"""The shop's metrics: the rhythm of days and weeks, what noise does, and how trouble travels along calls.

Owns: METRICS, Expected, `rhythm`, `expect`, `measure` and `moved`. `expect` is without chance; `measure` adds the noise, which
is the same whatever goes wrong, so that a fault changes nothing outside its time.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from forewarn.series import Float, SeriesBatch, SeriesKey, TimeGrid
from forewarn.simulation.faults import Effects
from forewarn.simulation.topology import (
    BUSIEST,
    CALLEES_FIRST,
    CALLS,
    ENTRY,
    FEEDS,
    NAMES,
    ROWS,
    SERVICES,
    WORK_ORDER,
)

METRICS: Final = (
    "requests", "errors", "latency", "latency_max", "cpu", "heap", "disk", "queue", "connections_free",
)  # fmt: skip
"""Counts per bucket; ms; shares from 0 to 1; messages that wait; connections of the pool that nobody uses."""
RETRIES: Final = 0.6
PASSED_ON: Final = 0.5
"""Share of a callee's failures that still fail for the caller, after its retries."""
LAG: Final = 0.35
"""Share of an effect that reaches the caller a bucket later."""
PATIENCE: Final = 1500.0
"""Milliseconds after which a caller gives up waiting for one callee."""
MOVED: Final = 3.0
"""Spreads of the noise that a metric must be off to count as moved."""
_DAY: Final = 86_400_000
_NIGHTLY: Final = ("orders-db", "inventory")


@dataclass(frozen=True, slots=True, eq=False)
class Expected:
    """What would be measured without noise, [services, T]; `free` connections; `down` is 1 while a service does not run."""

    requests: Float
    failing: Float
    latency: Float
    cpu: Float
    heap: Float
    disk: Float
    queue: Float
    free: Float
    down: Float


def rhythm(grid: TimeGrid) -> Float:
    """How busy the shop is, [T], from about .1 at night to 1 on a weekday's afternoon; it grows by 6 % in five weeks."""
    days = (grid.times() + grid.step / 2) / _DAY
    hour = days % 1 * 24
    weekday = (np.floor(days).astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday; 0 = Monday
    daily = 0.12 + 0.72 * np.exp(-0.5 * ((hour - 14.0) / 3.7) ** 2) + 0.32 * np.exp(-0.5 * ((hour - 20.0) / 1.7) ** 2)
    weekly = np.array([1.0, 0.97, 0.96, 0.98, 1.03, 0.80, 0.70])[weekday]
    growing: Float = daily * weekly * (1 + 0.06 * np.arange(grid.size) * grid.step / (35 * _DAY)) / 1.06
    return growing


def expect(users: Float, nightly: Float, effects: Effects, active: Float) -> Expected:
    """The metrics without noise, for `users` [T] (1 = busiest) and the nightly batch job [T] (1 = running).

    `active` [T] is 1 while a fault lasts: what travels to callers ends with it.
    """
    base = np.array([s.latency for s in SERVICES])[:, None]
    extra, failing = _troubles(base, effects, active)
    requests = _work(users, failing, effects)
    if nightly.size:
        requests[ROWS["inventory"]] += nightly * 700
    busy = requests / _usual_peak()[:, None]
    # Campaigns are met with more instances: what counts for latency and CPU is the load of one of them.
    loaded = busy / np.maximum(1.0, users / 1.02)
    night = np.zeros_like(busy)
    for name in _NIGHTLY:
        night[ROWS[name]] = nightly
    latency = base * (1 + 0.4 * loaded**2 + 0.5 * night) + extra
    number = np.arange(len(SERVICES))[:, None]
    cpu = 0.06 + 0.008 * number + (0.34 + 0.02 * (number * 7 % 15)) * loaded + 0.15 * night + effects.busy
    heap = np.array([s.heap or 0.0 for s in SERVICES])[:, None] + 0.12 * np.minimum(loaded, 1.5)
    disk = np.array([s.disk or 0.0 for s in SERVICES])[:, None] + 0.035 * np.linspace(-1, 0, users.size)
    queue = np.array([s.queue or 0.0 for s in SERVICES])[:, None] * (0.4 + busy + effects.queue)
    pool = np.array([s.pool or 0.0 for s in SERVICES])[:, None]
    waiting = np.minimum(0.5, 0.05 * extra / base)
    taken = np.clip(0.15 + 0.35 * loaded + waiting, 0, 0.95)
    taken = taken + (1 - taken) * np.clip(effects.pool, 0, 1)
    return Expected(
        requests, failing, latency, np.clip(cpu, 0, 0.98), heap + (1 - heap) * effects.heap,
        disk + (1 - disk) * effects.disk, queue, pool * (1 - taken), effects.down,
    )  # fmt: skip


def _troubles(base: Float, effects: Effects, active: Float) -> tuple[Float, Float]:
    """Extra latency in ms and extra share of failures, [services, T], after they travelled from callees to callers."""
    extra, failing = base * effects.slow, np.clip(effects.failing, 0, 0.95)
    for name in CALLEES_FIRST:
        row = ROWS[name]
        for call in CALLS:
            if call.caller == name:
                callee = ROWS[call.callee]
                needed = min(call.share, 1.0)
                lost = np.maximum(failing[callee], effects.down[callee])
                failing[row] = 1 - (1 - failing[row]) * (1 - _late(lost) * PASSED_ON * needed)
                extra[row] += (
                    _late(np.minimum(extra[callee], PATIENCE)) * call.share + _late(effects.down[callee]) * 60 * needed
                )
    return extra * active, failing * active


def _late(effect: Float) -> Float:
    return (1 - LAG) * effect + LAG * np.concatenate([np.zeros(1), effect[:-1]])


def _work(users: Float, failing: Float, effects: Effects) -> Float:
    """Requests per bucket, [services, T]."""
    arriving = np.zeros_like(failing)
    arriving[ROWS[ENTRY]] = BUSIEST * 300 * users
    for name in WORK_ORDER:
        row = ROWS[name]
        tries = 1 + RETRIES * np.maximum(failing[row], 0) if name != ENTRY else np.ones(users.size)
        arriving[row] *= (1 - np.clip(effects.refused[row], -1, 1)) * tries * (1 - effects.down[row])
        useful = arriving[row] * (1 - 0.4 * np.clip(effects.failing[row], 0, 1))
        for call in (*CALLS, *FEEDS):
            if call.caller == name:
                arriving[ROWS[call.callee]] += call.share * useful
    return arriving


def _usual_peak() -> Float:
    ones = np.ones(1)
    return _work(ones, np.zeros((len(NAMES), 1)), Effects.none(1))[:, 0]


def measure(healthy: Expected, actual: Expected, grid: TimeGrid, seed: int) -> dict[str, SeriesBatch]:
    """The metrics as reported, for each name of METRICS those of the services that have it; NaN while a service is down."""
    shape = healthy.requests.shape

    def rng(number: int) -> np.random.Generator:
        return np.random.default_rng([seed, 77, number])

    customers = np.exp(_wander(rng(0).normal(0, 0.022, (1, shape[1])), 0.6))
    likely = actual.requests * customers * np.exp(rng(1).normal(0, 0.015, shape))
    requests = np.round(np.maximum(likely + np.sqrt(likely) * rng(2).standard_normal(shape), 0.0))
    usual = np.array([s.failing for s in SERVICES])[:, None]
    ordinary = rng(3).poisson(usual * healthy.requests * (0.8 + 0.4 * rng(4).random((shape[0], 1))))
    fewer = np.divide(actual.requests, healthy.requests, out=np.ones(shape), where=healthy.requests > 0)
    errors = np.round(ordinary * np.minimum(fewer, 3.0)) + rng(5).poisson(actual.failing * requests)
    wobble = _wander(_heavy(rng(6), shape), 0.35)
    latency = actual.latency * np.exp(wobble * (0.03 + 0.4 / np.sqrt(np.maximum(healthy.requests, 30))))
    slowest = latency * (3.0 + 5.0 * rng(7).gamma(2.0, 0.35, shape))
    cpu = np.clip(actual.cpu + _wander(rng(8).normal(0, 0.015, shape), 0.5), 0.01, 1.0)
    heap = np.clip(actual.heap + _wander(rng(9).normal(0, 0.02, shape), 0.3) * (1 - actual.heap), 0.02, 0.998)
    disk = np.clip(actual.disk + _wander(rng(10).normal(0, 0.001, shape), 0.9) * (1 - actual.disk), 0.0, 0.999)
    queue = np.round(np.maximum(0, actual.queue * np.exp(_wander(rng(11).normal(0, 0.12, shape), 0.5))))
    free = np.round(np.maximum(0, actual.free + _wander(rng(12).normal(0, 0.6, shape), 0.3) * (actual.free > 0.5)))
    values: tuple[NDArray[np.floating[Any]], ...] = (
        requests,
        np.minimum(errors, requests),
        latency,
        slowest,
        cpu,
        heap,
        disk,
        queue,
        free,
    )
    found = {}
    for metric, measured in zip(METRICS, values, strict=True):
        rows = [row for row, service in enumerate(SERVICES) if metric_is_reported(row, metric)]
        reported: Float = np.where(actual.down[rows] > 0, np.nan, np.round(measured[rows], 4)).astype(np.float64)
        keys = tuple(SeriesKey(metric, (("service.name", NAMES[row]),)) for row in rows)
        found[metric] = SeriesBatch(keys, grid, reported)
    return found


def metric_is_reported(row: int, metric: str) -> bool:
    """Whether the service in this row has the metric at all."""
    attribute = {"heap": "heap", "disk": "disk", "queue": "queue", "connections_free": "pool"}.get(metric)
    return attribute is None or getattr(SERVICES[row], attribute) is not None


def moved(healthy: Expected, actual: Expected, window: slice) -> tuple[str, ...]:
    """The services of which a metric moved beyond its noise for at least two buckets of the window."""
    had = healthy.requests[:, window]
    has = actual.requests[:, window]
    usual = np.array([s.failing for s in SERVICES])[:, None]
    reported = {m: np.array([[metric_is_reported(row, m)] for row in range(len(NAMES))]) for m in METRICS}
    noise = 0.03 + 0.4 / np.sqrt(np.maximum(had, 30))
    distances: tuple[NDArray[np.float64], ...] = (
        np.abs(has - had) / (0.035 * had + np.sqrt(np.maximum(had, 1)) + 1),
        actual.failing[:, window] * has / np.sqrt(usual * had + 1),
        np.abs(np.log(actual.latency[:, window] / healthy.latency[:, window])) / noise,
        np.abs(actual.cpu[:, window] - healthy.cpu[:, window]) / 0.02,
        np.abs(actual.heap[:, window] - healthy.heap[:, window]) / 0.02 * reported["heap"],
        np.abs(actual.disk[:, window] - healthy.disk[:, window]) / 0.01 * reported["disk"],
        np.abs(actual.queue[:, window] - healthy.queue[:, window])
        / (0.2 * healthy.queue[:, window] + 5) * reported["queue"],
        np.abs(actual.free[:, window] - healthy.free[:, window]) / 1.5 * reported["connections_free"],
        actual.down[:, window] * 100,
    )  # fmt: skip
    enough = np.any([(distance > MOVED).sum(axis=1) >= 2 for distance in distances], axis=0)
    return tuple(name for row, name in enumerate(NAMES) if enough[row])


def _heavy(rng: np.random.Generator, shape: tuple[int, int]) -> Float:
    """Noise of spread 1 with tails somewhat heavier than normal: now and then a bucket is odd for no reason."""
    drawn: Float = rng.standard_t(8, shape) / np.sqrt(8 / 6)
    return drawn


def _wander(noise: Float, memory: float) -> Float:
    """A first-order autoregression of the noise [S, T], scaled to its spread; its memory fades within 48 buckets."""
    weights = memory ** np.arange(48) * np.sqrt(1 - memory**2)
    return np.stack([np.convolve(row, weights)[: row.size] for row in noise])
