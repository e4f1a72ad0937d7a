"""Which adapter stands behind each port: the one place of the job that knows them, and imports each when it is chosen."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, cast

from forewarn.config import Config, StoreSettings, TargetConfig
from forewarn.connection import ElasticSettings
from forewarn.detector import Detector, Threshold
from forewarn.errors import ConfigError, ModelError
from forewarn.forecast import ModelSpec
from forewarn.pattern import LogStream
from forewarn.ports import (
    Forecaster,
    History,
    LogSource,
    MetricSource,
    MinedSource,
    Notifier,
    Predictor,
    Problem,
    Store,
)
from forewarn.stream import Rooms
from forewarn.tick import Parts

Made = TypeVar("Made", bound=MetricSource | LogSource)


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
    """The sources of metrics and logs, each made once."""

    cluster: ElasticSettings | None
    _made: dict[str, MetricSource | LogSource] = field(default_factory=dict)

    def of(self, detector: Detector) -> MetricSource:
        """The source that `detector` reads."""
        if detector.counter:
            from forewarn.sources.counter_rates import CounterRates

            return CounterRates(self.of(replace(detector, counter=False)))
        if detector.selection.index is None:
            from forewarn.sources.files import FileMetrics

            return self._once("files", FileMetrics)
        from forewarn.sources.elasticsearch import ElasticsearchMetrics

        return self._once("elasticsearch", lambda: ElasticsearchMetrics(self._client()))

    def mined(self, stream: LogStream) -> MinedSource:
        """The patterns of a log stream, with their counts as series."""
        from forewarn.patterns.metrics import PatternMetrics
        from forewarn.patterns.miner import PatternMiner

        return PatternMetrics(self._logs(stream), PatternMiner(), stream)

    def _logs(self, stream: LogStream) -> LogSource:
        if stream.selection.index is None:
            from forewarn.sources.file_logs import FileLogs

            return self._once("file logs", FileLogs)
        from forewarn.sources.elasticsearch_logs import ElasticsearchLogs

        return self._once("elasticsearch logs", lambda: ElasticsearchLogs(self._client()))

    def _client(self) -> Any:
        if self.cluster is None:
            raise ConfigError("elasticsearch", "what reads an index needs this section")
        from forewarn.elastic import connect

        return connect(self.cluster, job="source")

    def _once(self, name: str, make: Callable[[], Made]) -> Made:
        if name not in self._made:
            self._made[name] = make()
        return cast("Made", self._made[name])

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
    from forewarn.scoring.shape import Shapes
    from forewarn.scoring.watches import Watches

    scorer = ResidualScorer(detector)
    spec = ModelSpec(
        timezone=detector.timezone,
        holidays=detector.holidays,
        # Shares of a trend are counted from 0, not from the smallest value that happened to be seen.
        scaling="absmax" if detector.seasonality == "multiplicative" else "minmax",
        seasonality=detector.seasonality,
        engine=detector.engine,
    )
    return Rooms(
        source,
        history,
        forecaster,
        predictor(),
        scorer,
        Episodes(detector),
        spec,
        coarsen,
        fill,
        outlook=None if detector.threshold == Threshold() else Foresight(detector),
        watch=Watches(detector),
        namer=Shapes(detector.step),
        tune=None if detector.incidents_per_week is None else scorer.tune,
        false_alarm_every=scorer.false_alarm_every,
    )


def check_holidays(detector: Detector) -> list[Problem]:
    """The countries of a detector whose holidays are not known: it could never be fitted."""
    from forewarn.forecasting.public_holidays import holiday_days

    found = []
    for country in detector.holidays:
        try:
            holiday_days((country,), 2020, 2020)
        except ModelError as error:
            found.append(Problem("holidays", str(error)))
    return found


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
    from forewarn.knowledge.loading import load_cards
    from forewarn.knowledge.matching import CardAdvisor

    advisor = CardAdvisor(load_cards([config.knowledge] if config.knowledge else []))
    store = build_store(config.store, config.elasticsearch)
    sources, forecaster, history = Sources(config.elasticsearch), build_forecaster(processes), StoreHistory(store)
    rooms = {one.name: build_rooms(one, sources.of(one), history, forecaster) for one in config.detectors}
    for log in config.logs:
        mined = sources.mined(log.stream)
        rooms[log.detector.name] = replace(build_rooms(log.detector, mined, history, forecaster), mined=mined)
    detectors = (*config.detectors, *(log.detector for log in config.logs))
    parts = Parts(
        detectors,
        rooms,
        store,
        Correlation(config.incidents, detectors),
        advisor,
        notifiers=tuple(build_notifier(target) for target in config.notify),
        origin=origin,
        retention=config.store.retention,
        **more,
    )
    return Built(parts, sources, forecaster)


def index_shop(seed: int, end: int, host: str, prefix: str = "shop") -> int:
    """Indexes the simulated shop into the cluster at `host`, as Beats would; returns the number of documents."""
    from forewarn.elastic import connect, index_all
    from forewarn.simulation.shop import shop
    from forewarn.simulation.writing import index_templates

    client = connect(ElasticSettings((host,)), job="demo")
    return index_all(client, index_templates(prefix), shop(seed, end).documents(prefix))


def backtest_rooms(detector: Detector, source: MetricSource) -> Rooms:
    """Rooms for one series in this process: fits in place, history in memory."""
    from forewarn.history.memory import MemoryHistory

    rooms = build_rooms(detector, source, MemoryHistory(), build_forecaster(0))
    return replace(rooms, watch=None)  # rows are scored, and a missing row has no score
