"""Which adapter stands behind each port: the one place of the job that knows them, and imports each when it is chosen."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from forewarn.config import Config, StoreSettings, TargetConfig
from forewarn.connection import ElasticSettings
from forewarn.detector import Detector, Threshold
from forewarn.errors import ConfigError
from forewarn.forecast import ModelSpec
from forewarn.incident import IncidentSettings
from forewarn.ports import Forecaster, History, MetricSource, Notifier, Predictor, Store
from forewarn.stream import Rooms
from forewarn.tick import Parts


def build_store(settings: StoreSettings, cluster: ElasticSettings | None) -> Store:
    """The store of the configuration, ready to use; raises StoreUnavailable if it cannot be reached."""
    if settings.kind == "sqlite":
        from forewarn.stores.sqlite import SqliteStore

        return SqliteStore(settings.path or ":memory:", partition=settings.partition)
    if cluster is None:
        raise ConfigError("store", "elasticsearch needs the section `elasticsearch`")
    from forewarn.elastic import connect
    from forewarn.stores.elasticsearch import ElasticsearchStore

    return ElasticsearchStore(connect(cluster, job="store"), prefix=settings.prefix, partition=settings.partition)


@dataclass(slots=True)
class Sources:
    """The sources that detectors read, each made once."""

    cluster: ElasticSettings | None
    _made: dict[str, MetricSource] = field(default_factory=dict)

    def of(self, detector: Detector) -> MetricSource:
        """The source that `detector` reads."""
        kind = "elasticsearch" if detector.selection.index is not None else "files"
        if kind not in self._made:
            self._made[kind] = self._make(kind)
        return self._made[kind]

    def _make(self, kind: str) -> MetricSource:
        if kind == "files":
            from forewarn.sources.files import FileMetrics

            return FileMetrics()
        if self.cluster is None:
            raise ConfigError("elasticsearch", "detectors that read an index need this section")
        from forewarn.elastic import connect
        from forewarn.sources.elasticsearch import ElasticsearchMetrics

        return ElasticsearchMetrics(connect(self.cluster, job="source"))

    def close(self) -> None:
        """Releases connections."""
        for source in self._made.values():
            source.close()


def build_notifier(target: TargetConfig) -> Notifier:
    """One target."""
    if target.type == "log":
        from forewarn.notify.log import LogNotifier

        return LogNotifier(target.name)
    from forewarn.notify.webhook import WebhookNotifier

    return WebhookNotifier(target.name, target.url or "", dict(target.headers), target.timeout)


def build_forecaster(processes: int | None = None) -> Forecaster:
    """The forecaster with `processes` workers (0: in this process; default: one per core)."""
    from forewarn.forecasting.choose import Forecasting
    from forewarn.forecasting.workers import WorkerPool

    return Forecasting(WorkerPool((os.cpu_count() or 1) if processes is None else processes))


def build_rooms(detector: Detector, source: MetricSource, history: History, forecaster: Forecaster) -> Rooms:
    """The ports that one detector runs against."""
    from forewarn.history.coarse import coarsen
    from forewarn.history.fill import fill
    from forewarn.scoring.episodes import Episodes
    from forewarn.scoring.outlook import Foresight
    from forewarn.scoring.scorer import ResidualScorer

    spec = ModelSpec(timezone=detector.timezone, holidays=detector.holidays, engine=detector.engine)
    return Rooms(
        source,
        history,
        forecaster,
        predictor(),
        ResidualScorer(detector),
        Episodes(detector),
        spec,
        coarsen,
        fill,
        outlook=None if detector.threshold == Threshold() else Foresight(detector),
    )


def predictor() -> Predictor:
    """`forecasting.predict.predict`."""
    from forewarn.forecasting.predict import predict

    return predict


@dataclass(slots=True)
class Built:
    """Everything a command runs against, and how to let go of it."""

    parts: Parts
    sources: Sources
    forecaster: Forecaster

    def close(self) -> None:
        """Ends workers and connections, in the order in which they stop being needed."""
        self.forecaster.close()
        self.sources.close()
        self.parts.store.close()


def build(config: Config, *, origin: int | None = None, processes: int | None = None, **more: Any) -> Built:
    """The parts of the configuration; `more` goes to `Parts` as it is. Raises StoreUnavailable."""
    from forewarn.history.stored import StoreHistory
    from forewarn.incidents.correlation import Correlation

    store = build_store(config.store, config.elasticsearch)
    sources, forecaster = Sources(config.elasticsearch), build_forecaster(processes)
    history = StoreHistory(store)
    rooms: Mapping[str, Rooms] = {
        detector.name: build_rooms(detector, sources.of(detector), history, forecaster) for detector in config.detectors
    }
    notifiers = tuple(build_notifier(target) for target in config.notify)
    correlator = Correlation(IncidentSettings(), config.detectors)
    parts = Parts(
        config.detectors,
        rooms,
        store,
        correlator,
        notifiers=notifiers,
        origin=origin,
        retention=config.store.retention,
        **more,
    )
    return Built(parts, sources, forecaster)


def backtest_rooms(detector: Detector, source: MetricSource) -> Rooms:
    """Rooms for one series in this process: fits in place, history in memory."""
    from forewarn.history.memory import MemoryHistory

    return build_rooms(detector, source, MemoryHistory(), build_forecaster(0))
