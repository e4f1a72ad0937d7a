"""A scheduler in a process of its own that runs the world's ticks and may be killed at a named point.

Usage: python -m tests.integration.victim PLACE HOOK_URL [POINT OCCURRENCE]: kills itself (-9) when POINT is passed for the
OCCURRENCE-th time; otherwise ends after the last tick. Goes on where the store stands.
"""

import os
import signal
import sys
import uuid
from collections import Counter

from tests.places import open_store
from tests.world import DAY, HOUR, START, counts_detector, latency_detector, make_parts, world_series

from forewarn.nominal import due_ticks
from forewarn.notify.webhook import WebhookNotifier
from forewarn.ports import Store
from forewarn.tick import Memory, Parts, run_tick

DETECTORS = (counts_detector(), latency_detector())
FIRST = START + 12 * DAY + 20 * HOUR
LAST = START + 13 * DAY + 14 * HOUR
NOWS = due_ticks(FIRST, DETECTORS, LAST)[::8]


def parts_for(store: Store, hook: str, **more: object) -> Parts:
    """The world against a store, telling a webhook."""
    return make_parts(store, DETECTORS, world_series(), (WebhookNotifier("hook", hook),), origin=FIRST, **more)


def run_all(store: Store, hook: str, **more: object) -> None:
    """Every tick that the store has not committed yet."""
    parts, memory = parts_for(store, hook, **more), None
    committed = store.committed() or 0
    for now in NOWS:
        if now > committed:
            memory = run_tick(parts, memory, now, LAST, uuid.uuid4().hex)
    if memory is None:  # everything was committed: what the last commit left is still to be published and delivered
        finish_only(parts)


def finish_only(parts: Parts) -> Memory:
    """One tick after the last, which finds nothing to read but publishes and delivers what was left."""
    return run_tick(parts, None, NOWS[-1] + 1, LAST + 1, uuid.uuid4().hex)


def main(place: str, hook: str, point: str = "", occurrence: str = "0") -> None:
    """Runs, and dies where it was told to."""
    seen: Counter[str] = Counter()

    def passed(name: str) -> None:
        seen[name] += 1
        if name == point and seen[name] == int(occurrence):
            os.kill(os.getpid(), signal.SIGKILL)

    store = open_store(place)
    run_all(store, hook, passed=passed)
    store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
