"""The shop's log lines: how many of each template fall into each bucket, and the documents in order of time, day by day.

Owns: LineMaker. Lines follow what the metrics say happened: requests, failed requests, services that are down. Every template
and day has chance of its own, so that any part of the time can be made alone and is always the same.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from forewarn.series import Float, TimeGrid
from forewarn.simulation.fault_lines import CARRIED, FAULT_LINES, UNREACHABLE, UNREACHABLE_RATE, Phase, Telling
from forewarn.simulation.faults import TECHNOLOGY, Event, Span
from forewarn.simulation.ordinary_lines import DEPLOYED, ORDINARY, RELEASED
from forewarn.simulation.timetable import DAY, Planned
from forewarn.simulation.topology import NAMES, ROWS, callers_of
from forewarn.simulation.vocabulary import Template, Wording, documents, template

_NEW_LINE_RATE: Final = 1.5
_LEVELS: Final = {
    "node": {"critical": "fatal"},
    "go": {"critical": "fatal"},
    "python": {"error": "ERROR", "warn": "WARNING", "critical": "CRITICAL"},
}
"""How a technology spells the level of a line that any technology may write."""


@dataclass(frozen=True, slots=True)
class _Source:
    """A template, the expected lines in each bucket [T] of the log's time, and its number for the chance of its own."""

    made: Template
    rate: Float
    number: int


@dataclass(frozen=True, slots=True)
class _Script:
    """Templates that are written once, one after another, from `time` (UTC ms)."""

    made: tuple[Template, ...]
    time: int
    number: int


class LineMaker:
    """Makes the lines of the part of `grid` from bucket `first` on."""

    def __init__(self, seed: int, grid: TimeGrid, first: int) -> None:
        self._seed, self._grid, self._first = seed, grid, first
        self._sources: list[_Source] = []
        self._scripts: list[_Script] = []

    def add_ordinary(self, work: Float, errors: Float, nightly: Float, down: Float) -> None:
        """What services write by habit: `work` (1 = busiest), failed requests, `down`, [services, T]; `nightly` [T]."""
        runs = 1.0 - down
        bases = {"work": work, "errors": errors, "time": np.ones_like(work), "night": np.broadcast_to(nightly, work.shape)}
        for name in NAMES:
            row = ROWS[name]
            for habit in ORDINARY[name]:
                rate = habit.rate * bases[habit.basis][row] * runs[row]
                if habit.basis == "errors":
                    rate = np.minimum(rate, 20.0)  # loggers are limited
                self._add(name, habit.wording, rate)

    def add_fault(self, planned: Planned, down: Float) -> None:
        """What a fault makes its root and its callers write, in addition."""
        span, size = planned.span, self._grid.size
        key = planned.card if planned.kind == "silent_service" else TECHNOLOGY[planned.service]
        said = [(planned.service, telling) for telling in FAULT_LINES[planned.kind, key]]
        for service, telling in [*said, *CARRIED.get(planned.kind, ())]:
            self._add(service, _spelled(service, telling), telling.rate * _PHASES[telling.phase](span, size))
        if planned.kind == "silent_service":
            for caller in callers_of(planned.service):
                self._add(caller, UNREACHABLE[TECHNOLOGY[caller]], UNREACHABLE_RATE * down[ROWS[planned.service]])
        if planned.kind in ("silent_service", "memory_leak"):
            self._start(planned.service, self._grid.start + span.own_end * self._grid.step)

    def add_event(self, event: Event) -> None:
        """A deploy or a rollback: stopped, started. On the last day a harmless release brings a line never seen before."""
        if event.kind not in ("deploy", "rollback"):
            return
        self._start(event.service, event.start)
        bucket = self._grid.index(event.start)
        if event.harmless and event.kind == "deploy" and bucket >= self._grid.size - DAY and event.service in RELEASED:
            rate = np.zeros(self._grid.size)
            rate[bucket + 1 :] = _NEW_LINE_RATE
            self._add(event.service, RELEASED[event.service], rate)

    def made(self, chunk: int = DAY) -> Iterator[tuple[NDArray[np.int64], list[str]]]:
        """Times (UTC ms) and documents of `chunk` buckets at a time, ascending in time."""
        for low in range(self._first, self._grid.size, chunk):
            high = min(low + chunk, self._grid.size)
            yield self._part(low, high)

    def _part(self, low: int, high: int) -> tuple[NDArray[np.int64], list[str]]:
        times: list[NDArray[np.int64]] = [np.zeros(0, dtype=np.int64)]
        lines: list[str] = []
        for source in self._sources:
            rate = source.rate[low:high]
            if rate.any():
                rng = np.random.default_rng([self._seed, 99, source.number, low])
                # Single lines come in small clumps, as requests of one visitor do.
                counts = rng.poisson(rate * rng.gamma(12.0, 1 / 12.0, rate.size))
                at = np.repeat(np.arange(low, high), counts) * self._grid.step + self._grid.start
                at = at + rng.integers(0, self._grid.step, at.size)
                times.append(at)
                lines += documents(source.made, at, rng)
        start, end = self._grid.start + low * self._grid.step, self._grid.start + high * self._grid.step
        for script in self._scripts:
            if start <= script.time < end:
                rng = np.random.default_rng([self._seed, 98, script.number])
                at = script.time + np.cumsum(rng.integers(2_000, 9_000, len(script.made)))
                times.append(at)
                lines += [documents(made, at[i : i + 1], rng)[0] for i, made in enumerate(script.made)]
        joined = np.concatenate(times)
        order = np.argsort(joined, kind="stable")
        return joined[order], [lines[i] for i in order.tolist()]

    def _add(self, service: str, wording: Wording, rate: Float) -> None:
        self._sources.append(_Source(template(service, wording), rate, len(self._sources)))

    def _start(self, service: str, time: int) -> None:
        made = tuple(template(service, wording) for wording in DEPLOYED[TECHNOLOGY[service]])
        self._scripts.append(_Script(made, time, len(self._scripts)))


def _spelled(service: str, telling: Telling) -> Wording:
    wording = telling.wording
    return Wording(_LEVELS.get(TECHNOLOGY[service], {}).get(wording.level, wording.level), wording.text, wording.fields)


def _between(low: Callable[[Span], int], high: Callable[[Span], int]) -> Callable[[Span, int], Float]:
    def shape(span: Span, size: int) -> Float:
        found = np.zeros(size)
        found[low(span) : high(span)] = 1.0
        return found

    return shape


def _rising(span: Span, size: int) -> Float:
    found = np.zeros(size)
    found[span.onset : span.own_end] = np.linspace(0, 1, span.own_end - span.onset) ** 2
    return found


_PHASES: Final[dict[Phase, Callable[[Span, int], Float]]] = {
    "onset": _between(lambda span: span.onset, lambda span: span.onset + 1),
    "during": _between(lambda span: span.start, lambda span: span.own_end),
    "late": _between(lambda span: (span.onset + span.start) // 2, lambda span: span.start),
    "end": _between(lambda span: span.own_end - 1, lambda span: span.own_end),
    "rising": _rising,
}


def wordings() -> Sequence[tuple[str, Wording]]:
    """Every wording that a service may write, with one service that writes it: for tests of the words themselves."""
    found = [(name, habit.wording) for name in NAMES for habit in ORDINARY[name]]
    found += [(name, wording) for name in NAMES for wording in DEPLOYED[TECHNOLOGY[name]]]
    found += list(RELEASED.items())
    roots = {technology: name for name, technology in TECHNOLOGY.items()}
    found += [(roots.get(key, "cart"), telling.wording) for (_, key), tellings in FAULT_LINES.items() for telling in tellings]
    found += [(service, telling.wording) for carried in CARRIED.values() for service, telling in carried]
    found += [(roots[technology], wording) for technology, wording in UNREACHABLE.items()]
    return found
