"""The simulated shop: fifteen services, five weeks of metrics, nine days of log lines, and faults whose truth is known.

Owns: `shop` and Shop. The same seed and end give the same shop to the last byte; without its faults it is the same shop outside
their time. It puts the parts together: `topology`, `timetable`, `faults`, `metrics`, `lines`, `writing`, `configuration`. Must
not know how anything is detected.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np

from forewarn.detector import DAY, MINUTE
from forewarn.series import Float, SeriesBatch, TimeGrid
from forewarn.simulation import writing
from forewarn.simulation.configuration import configuration
from forewarn.simulation.faults import Effects, Event, Fault, apply
from forewarn.simulation.lines import LineMaker
from forewarn.simulation.metrics import Expected, expect, measure, moved, rhythm
from forewarn.simulation.timetable import Planned, Timetable, plan
from forewarn.simulation.topology import DEPENDS_ON

STEP: Final = 5 * MINUTE
WEEKS: Final = 5
LOG_DAYS: Final = 9
_CAMPAIGN: Final = 0.5
_NIGHTLY: Final = (24, 33)
"""The nightly batch job, in buckets after midnight UTC."""


@dataclass(frozen=True, eq=False)
class Shop:
    """The shop in [grid.start, grid.end): metrics for all of it, log lines for the last LOG_DAYS days.

    `metrics` holds, for each metric, the services that have it, [S, T], keys (metric, service.name); NaN = not reported.
    `faults` are those of the last day, in order; `past` are older ones that nobody reports. `events` are deploys, rollbacks
    and campaigns.
    """

    seed: int
    grid: TimeGrid
    metrics: Mapping[str, SeriesBatch]
    faults: tuple[Fault, ...]
    past: tuple[Fault, ...]
    events: tuple[Event, ...]
    depends_on: tuple[tuple[str, str], ...]
    _maker: LineMaker

    @property
    def replayed_from(self) -> int:
        """The start of the last day, UTC ms: all faults lie behind it."""
        return self.grid.end - DAY

    @cached_property
    def truth(self) -> dict[str, Any]:
        """What is true, as JSON: seed, times, faults, past faults, events, edges."""
        told = {
            "seed": self.seed,
            "start": self.grid.start,
            "replayed_from": self.replayed_from,
            "end": self.grid.end,
            "bucket": self.grid.step,
            "faults": [asdict(fault) for fault in self.faults],
            "past": [asdict(fault) for fault in self.past],
            "events": [asdict(event) for event in self.events],
            "depends_on": self.depends_on,
        }
        plain: dict[str, Any] = json.loads(json.dumps(told))
        return plain

    def lines(self) -> Iterator[tuple[int, str]]:
        """Every log line as (UTC ms, JSON document), ascending in time."""
        for times, documents in self._maker.made():
            yield from zip(times.tolist(), documents, strict=True)

    def write_ndjson(self, folder: Path) -> tuple[Path, ...]:
        """Writes metrics-*.ndjson and logs-*.ndjson (a file a day, in order of time) and truth.json into the folder.

        Returns the paths of the data files. A day is held in memory at a time. The folder is made if need be; files of the
        same names are replaced.
        """
        folder.mkdir(parents=True, exist_ok=True)
        paths = writing.write_metrics(self.metrics, self.grid, folder)
        paths += writing.write_lines(self._maker.made(), folder)
        (folder / "truth.json").write_text(json.dumps(self.truth, indent=1) + "\n", encoding="utf-8")
        return tuple(paths)

    def documents(self, index_prefix: str) -> Iterator[dict[str, Any]]:
        """Every document as an action of a bulk request, as Beats would send them; see `writing.index_templates`."""
        yield from writing.metric_actions(self.metrics, self.grid, index_prefix)
        yield from writing.line_actions(self._maker.made(), index_prefix)

    def configuration(
        self,
        store: str,
        *,
        folder: Path | None = None,
        hosts: Sequence[str] = (),
        index_prefix: str = "shop",
        listen: str = "127.0.0.1:8080",
    ) -> str:
        """The configuration (YAML) of detectors over the files in `folder`, or over the indices of a cluster (`hosts`)."""
        return configuration(
            store, self.depends_on, folder=folder, hosts=hosts, index_prefix=index_prefix, listen=listen
        )  # fmt: skip


def shop(seed: int, end: int, *, faulty: bool = True, log_days: int = LOG_DAYS) -> Shop:
    """The shop up to `end` (UTC ms, rounded down to a bucket of five minutes). Without `faulty` nothing goes wrong in it.

    Raises ValueError for a negative seed, or log days that are not within 1 to 35.
    """
    if seed < 0 or not 1 <= log_days <= 7 * WEEKS:
        raise ValueError(f"expected a seed >= 0 and 1 to {7 * WEEKS} log days, got seed={seed} log_days={log_days}")
    last = end // STEP * STEP
    grid = TimeGrid.between(last - 7 * WEEKS * DAY, last, STEP)
    timetable = plan(seed, grid, np.random.default_rng([seed, 11]))
    planned = (*timetable.past, *timetable.today) if faulty else ()
    events = tuple(event for event in timetable.events if faulty or (event.harmless and event.kind != "rollback"))
    users, nightly = rhythm(grid) * _campaigns(events, grid), _nightly(grid)
    effects, active = _effects(seed, planned, grid.size)
    healthy = expect(users, nightly, Effects.none(grid.size), active)
    actual = expect(users, nightly, effects, active)
    metrics = measure(healthy, actual, grid, seed)
    maker = LineMaker(seed, grid, max(0, grid.size - log_days * (DAY // STEP)))
    _lines(maker, metrics, healthy, actual, nightly, timetable, events, faulty=faulty)
    faults = tuple(_truth(p, grid, healthy, actual) for p in timetable.today) if faulty else ()
    past = tuple(_truth(p, grid, healthy, actual) for p in timetable.past) if faulty else ()
    return Shop(seed, grid, metrics, faults, past, events, DEPENDS_ON, maker)


def _effects(seed: int, planned: Sequence[Planned], size: int) -> tuple[Effects, Float]:
    effects, active = Effects.none(size), np.zeros(size)
    for number, fault in enumerate(planned):
        apply(fault.kind, fault.service, fault.span, effects, np.random.default_rng([seed, 22, number]))
        active[fault.span.onset : fault.span.end] = 1.0
    return effects, active


def _lines(
    maker: LineMaker, metrics: Mapping[str, SeriesBatch], healthy: Expected, actual: Expected, nightly: Float,
    timetable: Timetable, events: Sequence[Event], *, faulty: bool,
) -> None:  # fmt: skip
    work = np.nan_to_num(metrics["requests"].values) / healthy.requests.max(axis=1, keepdims=True)
    maker.add_ordinary(work, np.nan_to_num(metrics["errors"].values), nightly, actual.down)
    for event in events:
        maker.add_event(event)
    for fault in timetable.today if faulty else ():
        maker.add_fault(fault, actual.down)


def _truth(planned: Planned, grid: TimeGrid, healthy: Expected, actual: Expected) -> Fault:
    span = planned.span
    times = [grid.start + bucket * grid.step for bucket in (span.onset, span.start, span.end)]
    onset, start, end = times
    fault = Fault(planned.kind, planned.service, planned.card, onset, start, end)
    others = [name for name in moved(healthy, actual, slice(span.onset, span.end)) if name != planned.service]
    return replace(fault, touched=(planned.service, *others))


def _campaigns(events: Sequence[Event], grid: TimeGrid) -> Float:
    """How much more is going on because of campaigns, [T]; it comes and goes within half an hour."""
    factor = np.ones(grid.size)
    for event in events:
        if event.kind == "campaign":
            at = grid.times()
            ramp = np.clip(np.minimum(at - event.start, event.end - at) / (30 * MINUTE), 0, 1)
            factor += _CAMPAIGN * ramp
    return factor


def _nightly(grid: TimeGrid) -> Float:
    bucket = grid.times() % DAY // STEP
    return ((bucket >= _NIGHTLY[0]) & (bucket < _NIGHTLY[1])).astype(np.float64)
