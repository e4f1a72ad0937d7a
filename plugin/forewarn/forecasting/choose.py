"""Which engine models which series: the `Forecaster` port.

Owns: the thresholds between the engines, the way down from one to the next, and saying why. Must not fit anything itself.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Final, Protocol

import numpy as np

from forewarn.detector import DAY
from forewarn.errors import ModelError
from forewarn.forecast import NOT_CONVERGED, Model, ModelSpec
from forewarn.forecasting.extent import Extent
from forewarn.forecasting.fallback import RollingMedian, SeasonalMedian, unmodelled
from forewarn.forecasting.stan import StanEngine
from forewarn.forecasting.workers import WorkerPool
from forewarn.series import SeriesBatch

FULL_SPAN: Final = 3 * DAY
"""Prophet from three days on: the daily pattern needs two, and the third tells it from the trend."""
FULL_VALUES: Final = 100
"""Below 100 values Prophet itself changes its optimiser; with up to 27 trend and 8 daily parameters, fewer say little."""
SEASONAL_SPAN: Final = DAY + DAY // 5
"""A time-of-day median from 1.2 days on: every time of day was seen, some of them twice."""
SEASONAL_VALUES: Final = 20
ROLLING_VALUES: Final = 5

ENGINES: Final = ("auto", "batch", "stan", "seasonal_median", "rolling_median")
"""What `ModelSpec.engine` may be."""
_LOADED_ON_USE: Final = {"batch": "forewarn.forecasting.batch:BatchEngine"}
"""Engines by alias; `applies(spec)` beside one says why it cannot fit a specification, or None."""


class Engine(Protocol):
    """One way of modelling; deterministic, and a row never depends on the other rows."""

    @property
    def name(self) -> str:
        """The name that its models carry."""
        ...

    def fit(self, history: SeriesBatch, spec: ModelSpec) -> tuple[Model, ...]:
        """One row for every key, in one or more models; a row that could not be fitted says not_converged."""
        ...


@dataclass(frozen=True, slots=True)
class _Route:
    engine: str
    why: str


class Forecasting:
    """Routes each series to the best engine that its history is long enough for, and further down where that fails.

    `auto` means batch where it applies to the specification, else stan. The layout of each model says why.
    """

    def __init__(self, workers: WorkerPool | None = None, engines: Iterable[Engine] = ()) -> None:
        """`engines` replace those of the same name."""
        self._workers = workers if workers is not None else WorkerPool(0)
        built_in: tuple[Engine, ...] = (StanEngine(self._workers), SeasonalMedian(), RollingMedian())
        self._engines = {engine.name: engine for engine in (*built_in, *engines)}

    def fit(self, history: SeriesBatch, spec: ModelSpec) -> tuple[Model, ...]:
        """One row for every key. Raises ValueError for infinite values, ModelError for a specification that no engine
        can fit.
        """
        extent = Extent.of(history.values)
        if (
            not (np.isfinite(extent.low) | (extent.count == 0)).all()
            or not (np.isfinite(extent.high) | (extent.count == 0)).all()
        ):
            raise ValueError("the history holds infinite values; a missing value is NaN")
        routes = self._routes(extent, history.grid.step, spec)
        models: list[Model] = []
        for route in dict.fromkeys(routes):
            rows = [row for row, chosen in enumerate(routes) if chosen == route]
            models += self._fit(history if len(rows) == len(routes) else _take(history, rows), spec, route)
        return tuple(models)

    def close(self) -> None:
        """Ends the worker processes."""
        self._workers.close()

    def _routes(self, extent: Extent, step: int, spec: ModelSpec) -> list[_Route]:
        """For each row the engine asked for, or the next one down that its history in buckets of `step` is long enough for."""
        covered = extent.covered(step)
        enough = (
            (covered >= FULL_SPAN) & (extent.count >= FULL_VALUES),
            (covered >= SEASONAL_SPAN) & (extent.count >= SEASONAL_VALUES),
            extent.count >= ROLLING_VALUES,
        )
        first = self._first_choice(spec)
        down = (
            first,
            _Route(SeasonalMedian.name, "less than 3 days or 100 values of history"),
            _Route(RollingMedian.name, "less than 1.2 days or 20 values of history"),
            _Route("too_short", "less than 5 values of history"),
        )
        asked = {SeasonalMedian.name: 1, RollingMedian.name: 2}.get(spec.engine, 0)
        downs = np.select([extent.count == 0, *enough], [4, 0, 1, 2], default=3)
        numbers = np.where(downs < asked, asked, downs).tolist()
        routes = (*down[:asked], first, *down[asked + 1 :], _Route("none", "no history"))
        return [routes[number] for number in numbers]

    def _first_choice(self, spec: ModelSpec) -> _Route:
        if spec.engine not in ENGINES:
            raise ModelError(f"engine {spec.engine!r} is unknown, expected one of {', '.join(ENGINES)}")
        if spec.engine not in ("auto", "batch"):
            return _Route(spec.engine, "asked for")
        refused = self._load("batch", spec)
        if refused is None:
            return _Route("batch", "asked for" if spec.engine == "batch" else "the default engine")
        return _Route("stan", f"batch was passed over: {refused}")

    def _load(self, alias: str, spec: ModelSpec) -> str | None:
        """Loads an engine; returns why it cannot be used for `spec`, or None."""
        name, _, attribute = _LOADED_ON_USE[alias].partition(":")
        module = import_module(type(self._engines[alias]).__module__ if alias in self._engines else name)
        if alias not in self._engines:
            self._engines[alias] = getattr(module, attribute)()
        applies = getattr(module, "applies", None)
        return applies(spec) if applies is not None else None

    def _fit(self, history: SeriesBatch, spec: ModelSpec, route: _Route) -> Iterator[Model]:
        if route.engine not in self._engines:
            yield from (_because(model, route.why) for model in unmodelled(history, spec.timezone))
            return
        for model in self._engines[route.engine].fit(history, spec):
            failed = [row for row, status in enumerate(model.status) if status == NOT_CONVERGED]
            if not failed:
                yield _because(model, route.why)
                continue
            fitted = [row for row, status in enumerate(model.status) if status != NOT_CONVERGED]
            if fitted:
                yield _because(model.take(fitted), route.why)
            down = _Route(SeasonalMedian.name, f"{route.engine} did not converge")
            yield from self._fit(history.take(model.keys[row] for row in failed), spec, down)


def _take(history: SeriesBatch, rows: list[int]) -> SeriesBatch:
    return SeriesBatch(tuple(history.keys[row] for row in rows), history.grid, history.values[rows])


def _because(model: Model, why: str) -> Model:
    return replace(model, layout={**model.layout, "why": why})
