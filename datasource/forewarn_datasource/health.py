"""How the datasource is: /-/healthy, /-/ready and /-/metrics.

Owns: these routes and the counters behind them, in a registry of their own, so that several apps can live in one process.
"""

import time
from collections.abc import Callable, Iterable
from typing import Final

from flask import Blueprint, Flask, Response, g, request
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from forewarn.errors import StoreError
from forewarn.ports import ResultReader
from forewarn_datasource.wire import reply

HEALTHY: Final = "/-/healthy"
READY: Final = "/-/ready"
BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class StoreState(Collector):
    """Asks the store at every scrape when the last tick was committed."""

    def __init__(self, reader: ResultReader, clock: Callable[[], int]) -> None:
        self._reader = reader
        self._clock = clock

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not read the store."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Whether the store answers, and the time and age in seconds of the last committed tick."""
        try:
            committed, up = self._reader.committed(), 1
        except StoreError:
            committed, up = None, 0
        yield GaugeMetricFamily("forewarn_store_up", "Whether the store answers.", up)
        if committed is not None:
            age = (self._clock() - committed) / 1000
            yield GaugeMetricFamily(
                "forewarn_last_tick_timestamp_seconds", "The time of the last committed tick.", committed / 1000
            )
            yield GaugeMetricFamily("forewarn_last_tick_age_seconds", "How long ago the last committed tick was.", age)


def count_requests(app: Flask, registry: CollectorRegistry) -> None:
    """Counts every request by route and status, and how long it took by route; unknown paths are one route."""
    requests = Counter("forewarn_http_requests", "Requests that were answered.", ("route", "status"), registry=registry)
    seconds = Histogram(
        "forewarn_http_request_seconds", "How long requests took.", ("route",), registry=registry, buckets=BUCKETS
    )

    @app.before_request
    def begin() -> None:
        g.began = time.perf_counter()

    @app.after_request
    def end(response: Response) -> Response:
        route = request.url_rule.rule if request.url_rule else "unknown"
        requests.labels(route, str(response.status_code)).inc()
        seconds.labels(route).observe(time.perf_counter() - g.began)
        return response


def blueprint(reader: ResultReader, clock: Callable[[], int], registry: CollectorRegistry) -> Blueprint:
    """The routes; `registry` is what /-/metrics shows."""
    bp = Blueprint("health", __name__, url_prefix="/-")
    registry.register(StoreState(reader, clock))

    @bp.get("/healthy")
    def healthy() -> Response:
        """The process answers; Infinity wants a body that is not empty."""
        return reply({"status": "healthy"})

    @bp.get("/ready")
    def ready() -> Response:
        """The store answers (else 503, by the error handlers); `last_tick` is null before the first tick."""
        committed = reader.committed()
        age = None if committed is None else (clock() - committed) / 1000
        return reply({"status": "ready", "last_tick": committed, "age_seconds": age})

    @bp.get("/metrics")
    def metrics() -> Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return Response(encode(registry), content_type=content_type)

    return bp
