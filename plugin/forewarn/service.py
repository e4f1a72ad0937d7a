"""The service: runs the ticks that are owed, one after another, and survives what can be waited for.

Owns Runner. It reads the clock it is given; `schedule.py` wakes it and `cli.py` starts it.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event, Lock

from forewarn.detector import DAY
from forewarn.errors import StoreConflict, StoreUnavailable
from forewarn.nominal import next_now
from forewarn.tick import Memory, Parts, load_memory, run_tick

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Runner:
    """Runs what is owed against `parts`. `clock` gives UTC ms, `nonce` a fresh name for every attempt to commit."""

    parts: Parts
    clock: Callable[[], int]
    nonce: Callable[[], str]
    span: int = DAY
    ticked: Callable[[Memory], None] = field(default=lambda _memory: None)
    stop: Event = field(default_factory=Event)
    memory: Memory | None = None
    _waiting: str = ""
    _one_at_a_time: Lock = field(default_factory=Lock)

    def wake(self) -> None:
        """Runs what is owed now. A store that cannot be reached is waited for: the next call loads it and catches up."""
        try:
            self.catch_up()
        except StoreUnavailable as error:
            self.memory = None
            if str(error) != self._waiting:
                log.warning("event=waiting_for_store why=%s", error)
                self._waiting = str(error)

    def catch_up(self, until: int | None = None) -> int:
        """Runs every tick that is owed, at most up to `until`, in order, in blocks; returns how many it ran.

        Raises StoreUnavailable. A lost compare-and-set only drops the memory: the state is loaded and the rest is run.
        """
        ticks = 0
        with self._one_at_a_time:
            while not self.stop.is_set():
                wall = self.clock()
                self.memory = self.memory or load_memory(self.parts)
                if self._waiting:
                    log.info("event=store_is_back")
                    self._waiting = ""
                now = self._next(self.memory, wall if until is None else min(wall, until))
                if now is None:
                    break
                memory, self.memory = self.memory, None
                try:
                    self.memory = run_tick(self.parts, memory, now, wall, self.nonce())
                except StoreConflict:
                    log.info("event=commit_lost now=%s", now)
                    continue
                ticks += 1
                self.ticked(self.memory)
        return ticks

    def _next(self, memory: Memory, wall: int) -> int | None:
        committed = memory.head.now
        if memory.token is None:
            if self.parts.origin is None:  # a first start begins at the present and learns from the past it finds
                return max((one.nominal(one.watermark(wall)) for one in self.parts.detectors), default=None)
            committed = self.parts.origin
        return next_now(committed, self.parts.detectors, wall, self.span)
