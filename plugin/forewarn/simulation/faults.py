"""What can go wrong in the shop and what it does there: kinds of faults, their truth, and their effects on services.

Owns: Fault, Event, Effects, KINDS and `apply`. Effects are what a fault does to its own service; how they travel to others is
in `metrics.py`, what the logs say in `fault_lines.py`, and when faults happen in `timetable.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Final

import numpy as np

from forewarn.series import Float
from forewarn.simulation.topology import NAMES, ROWS, SERVICES

TAIL: Final = 2
"""Buckets at the end of a fault in which its own effect is over and those on callers fade."""


@dataclass(frozen=True, slots=True)
class Fault:
    """The truth about one fault; times are UTC ms on the grid.

    `onset` is when its cause began (the deploy, the leak), `start` when something first failed or slowed down, `end` when
    everything was as before (exclusive). `card` is the resolution that fits; `touched` are all services whose metrics
    moved beyond their noise, the root `service` first.
    """

    kind: str
    service: str
    card: str
    onset: int
    start: int
    end: int
    touched: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in [start, end), UTC ms: `deploy`, `rollback` or `campaign`; `harmless` if nothing broke."""

    kind: str
    service: str
    start: int
    end: int
    text: str
    harmless: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Effects:
    """What faults do to services by themselves, each [services, T], 0 = nothing."""

    slow: Float
    """Extra latency, in multiples of the usual one."""
    failing: Float
    """Share of requests that fail in addition."""
    refused: Float
    """Share of the work that does not arrive."""
    down: Float
    """1 = the service does not run."""
    busy: Float
    """Extra CPU, as a share."""
    heap: Float
    """Share of the free heap that is taken."""
    disk: Float
    """Share of the free disk that is taken."""
    queue: Float
    """Extra depth, in multiples of the usual one."""
    pool: Float
    """Share of the free connections that is taken."""

    @classmethod
    def none(cls, size: int) -> "Effects":
        """No effect on any service in `size` buckets."""
        return cls(*(np.zeros((len(NAMES), size)) for _ in fields(cls)))


@dataclass(frozen=True, slots=True)
class Span:
    """A fault in buckets: onset <= start < end. `own_end` is the end of the effect on the service itself."""

    onset: int
    start: int
    end: int

    @property
    def own_end(self) -> int:
        """The end of the effect on the service itself."""
        return self.end - TAIL

    def lasting(self, size: int, first: float = 0.6) -> Float:
        """1 from start to own_end, [size]; less in the first bucket, in the middle of which it began."""
        shape = np.zeros(size)
        shape[self.start : self.own_end] = 1.0
        shape[self.start] = first
        return shape

    def rising(self, size: int, until: int) -> Float:
        """From 0 at onset to 1 at `until`, then 1 to own_end, [size]."""
        shape = np.zeros(size)
        shape[self.onset : until] = np.arange(1, until - self.onset + 1) / (until - self.onset)
        shape[until : self.own_end] = 1.0
        return shape


_Act = Callable[[Effects, int, Span, np.random.Generator], None]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault: where it can begin, how many buckets it lasts, how long its cause is at work unseen, what it does.

    `roots` maps each possible root to the card that resolves it. `unseen` is the share of the whole between onset and start.
    """

    name: str
    roots: tuple[tuple[str, str], ...]
    shortest: int
    longest: int
    unseen: float
    act: _Act

    def span(self, onset: int, length: int) -> Span:
        """The fault in buckets, when it begins at `onset` and lasts `length` buckets in all."""
        gap = round(self.unseen * length) if self.unseen >= 0.3 else int(self.unseen > 0)
        return Span(onset, onset + gap, onset + length)


def apply(kind: str, service: str, span: Span, effects: Effects, rng: np.random.Generator) -> None:
    """Adds what a fault of this kind does to the effects, in place."""
    KINDS[kind].act(effects, ROWS[service], span, rng)


def _deploy_bad(effects: Effects, row: int, span: Span, rng: np.random.Generator) -> None:
    shape = span.lasting(effects.slow.shape[1])
    effects.failing[row] += shape * rng.uniform(0.08, 0.25)
    effects.slow[row] += shape * rng.uniform(0.0, 0.2)


def _slow_dependency(effects: Effects, row: int, span: Span, rng: np.random.Generator) -> None:
    size = effects.slow.shape[1]
    shape = span.lasting(size, 0.4)
    effects.slow[row] += shape * rng.uniform(14, 30)
    effects.busy[row] += shape * 0.08
    effects.pool[row] += shape * rng.uniform(0.4, 0.7)
    late = np.roll(shape, 1)  # requests wait for a while before they give up
    effects.failing[ROWS["orders"]] += late * rng.uniform(0.05, 0.12)
    effects.pool[ROWS["orders"]] += shape * rng.uniform(0.5, 0.8)


def _pool_exhausted(effects: Effects, row: int, span: Span, rng: np.random.Generator) -> None:
    shape = span.lasting(effects.slow.shape[1])
    effects.pool[row] += span.rising(effects.slow.shape[1], span.start + 1)
    effects.slow[row] += shape * rng.uniform(2.0, 5.0)
    effects.failing[row] += shape * rng.uniform(0.10, 0.30)


def _silent_service(effects: Effects, row: int, span: Span, _: np.random.Generator) -> None:
    effects.down[row, span.start : span.own_end] = 1.0


def _new_error_pattern(effects: Effects, row: int, span: Span, rng: np.random.Generator) -> None:
    effects.failing[row] += span.lasting(effects.slow.shape[1]) * rng.uniform(0.05, 0.3)


def _disk_filling(effects: Effects, row: int, span: Span, rng: np.random.Generator) -> None:
    size = effects.slow.shape[1]
    effects.disk[row] += span.rising(size, span.start) * rng.uniform(0.975, 0.995)
    shape = span.lasting(size)
    effects.failing[row] += shape * rng.uniform(0.2, 0.5)
    effects.slow[row] += shape * rng.uniform(1.0, 4.0)


def _memory_leak(effects: Effects, row: int, span: Span, rng: np.random.Generator) -> None:
    size = effects.slow.shape[1]
    filling = span.rising(size, span.start)
    effects.heap[row] += filling * rng.uniform(0.96, 0.99)
    collecting = np.clip((filling - 0.7) / 0.3, 0, 1) ** 2  # collecting garbage costs more and more as room runs out
    effects.busy[row] += collecting * rng.uniform(0.25, 0.4)
    effects.slow[row] += collecting * rng.uniform(1.0, 2.5)
    effects.failing[row] += span.lasting(size) * rng.uniform(0.1, 0.3)


def _queue_backlog(effects: Effects, row: int, span: Span, rng: np.random.Generator) -> None:
    size = effects.slow.shape[1]
    turn = span.start + max(2, round(0.7 * (span.own_end - span.start)))
    depth = np.zeros(size)
    depth[span.start : turn] = np.arange(1, turn - span.start + 1) / (turn - span.start)
    depth[turn : span.own_end] = np.linspace(0.9, 0.1, span.own_end - turn)
    effects.queue[row] += depth * rng.uniform(25, 60)
    effects.refused[row, span.start : turn] += rng.uniform(0.5, 0.8)
    effects.refused[row, turn : span.own_end] -= rng.uniform(0.6, 1.0)  # it catches up
    effects.busy[row, turn : span.own_end] += 0.2
    effects.failing[row, span.start : turn] += rng.uniform(0.02, 0.06)


def _dns_failure(effects: Effects, row: int, span: Span, rng: np.random.Generator) -> None:
    shape = span.lasting(effects.slow.shape[1])
    effects.failing[row] += shape * rng.uniform(0.2, 0.5)
    effects.slow[row] += shape * rng.uniform(0.8, 2.5)


def _too_many_files(effects: Effects, row: int, span: Span, rng: np.random.Generator) -> None:
    shape = span.lasting(effects.slow.shape[1])
    effects.failing[row] += shape * rng.uniform(0.1, 0.3)
    effects.slow[row] += shape * rng.uniform(0.5, 1.5)
    effects.refused[row] += shape * rng.uniform(0.05, 0.15)


def _traffic_drop(effects: Effects, row: int, span: Span, rng: np.random.Generator) -> None:
    shape = span.lasting(effects.slow.shape[1])
    effects.refused[row] += shape * rng.uniform(0.45, 0.7)
    effects.failing[row] += shape * rng.uniform(0.04, 0.1)


def _too_many_clients(effects: Effects, row: int, span: Span, rng: np.random.Generator) -> None:
    shape = span.lasting(effects.slow.shape[1])
    effects.pool[row] += span.rising(effects.slow.shape[1], span.start + 1)
    effects.failing[row] += shape * rng.uniform(0.2, 0.5)
    effects.slow[row] += shape * rng.uniform(1.0, 3.0)
    effects.pool[ROWS["accounts"]] += shape * rng.uniform(0.3, 0.6)


def _everywhere(card: str, *roots: str) -> tuple[tuple[str, str], ...]:
    return tuple((root, card) for root in roots)


KINDS: Final = {
    kind.name: kind
    for kind in (
        Kind("deploy_bad", _everywhere("npe", "checkout", "accounts", "web"), 7, 13, 0.1, _deploy_bad),
        Kind("slow_dependency", _everywhere("lock_wait", "orders-db"), 7, 13, 0, _slow_dependency),
        Kind("pool_exhausted", _everywhere("pool_exhausted", "payments", "accounts", "catalogue"), 6, 12, 0, _pool_exhausted),
        Kind(
            "silent_service",
            (*_everywhere("k8s_crashloop", "cart", "inventory"), *_everywhere("oom_kernel", "search", "shipping")),
            7, 13, 0.1, _silent_service,
        ),
        Kind("new_error_pattern", _everywhere("tls_expired", "payments", "shipping", "accounts"), 8, 14, 0, _new_error_pattern),
        Kind("disk_filling", _everywhere("disk_full", "orders-db", "events", "search"), 40, 56, 0.85, _disk_filling),
        Kind("memory_leak", _everywhere("jvm_heap", "catalogue", "orders", "checkout"), 32, 48, 0.85, _memory_leak),
        Kind("queue_backlog", _everywhere("kafka_rebalance", "notifications", "shipping"), 10, 16, 0, _queue_backlog),
        Kind("dns_failure", _everywhere("dns", "shipping", "payments", "web"), 6, 12, 0, _dns_failure),
        Kind("too_many_files", _everywhere("too_many_files", "gateway", "search", "cart"), 6, 12, 0, _too_many_files),
        Kind("traffic_drop", _everywhere("http_5xx_up", "gateway"), 6, 12, 0, _traffic_drop),
        Kind("too_many_clients", _everywhere("pg_conns", "accounts-db"), 6, 12, 0, _too_many_clients),
    )
}  # fmt: skip
"""Every kind of fault by its name. Lengths are in buckets of five minutes, the fading `TAIL` included."""
TECHNOLOGY: Final = {service.name: service.technology for service in SERVICES}
