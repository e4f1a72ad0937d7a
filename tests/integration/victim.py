"""Schedulers in processes of their own that run the world's ticks and may be killed (-9) at any point of one.

Usage: python -m tests.integration.victim reads one order a line (JSON: place, hook, until, die), runs each in a process that
is forked for it, and answers with its exit code and the points that it passed. Nothing but code is shared by two orders.
"""

import json
import os
import signal
import sys
import traceback
import uuid
from collections.abc import Callable
from typing import Any, NoReturn

from tests.places import open_store
from tests.world import DAY, HOUR, START, counts_detector, latency_detector, make_parts, world_series
from tests.world_lines import lines_detector, world_lines, written

from forewarn.history.stored import StoreHistory
from forewarn.knowledge.loading import load_cards
from forewarn.knowledge.matching import CardAdvisor
from forewarn.nominal import due_ticks
from forewarn.notify.webhook import WebhookNotifier
from forewarn.ports import Store
from forewarn.stores import elasticsearch
from forewarn.tick import Parts, run_tick

IMPORTED = (elasticsearch,)
DETECTORS = (counts_detector(), latency_detector(), lines_detector())
SERIES, LINES, ADVISOR = world_series(), world_lines(), CardAdvisor(load_cards([]))
FIRST = START + 12 * DAY + 3 * HOUR
LAST = START + 13 * DAY + 20 * HOUR
NOWS = due_ticks(FIRST, DETECTORS, LAST)[::10]


class Telling:
    """A store that tells of every block that is written through it."""

    def __init__(self, store: Store, passed: Callable[[str], None]) -> None:
        self.store = store
        self.passed = passed

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def put_block(self, content: bytes, at: int) -> str:
        name = self.store.put_block(content, at)
        self.passed("history block")
        return name


def parts_for(store: Store, hook: str, passed: Callable[[str], None]) -> Parts:
    """The world with its metrics, logs and resolutions against a store, telling two targets."""
    return make_parts(
        store,
        DETECTORS,
        SERIES,
        (WebhookNotifier("team", f"{hook}/team"), WebhookNotifier("pager", f"{hook}/pager")),
        origin=FIRST,
        mined={"lines": written(DETECTORS[2], LINES)},
        history=StoreHistory(Telling(store, passed)),  # type: ignore[arg-type] # it stands in for all calls
        advisor=ADVISOR,
        passed=passed,
    )


def run(place: str, hook: str, until: int, passed: Callable[[str], None]) -> None:
    """The first `until` ticks, as far as the store has not committed them yet."""
    store = open_store(place)
    parts, memory = parts_for(store, hook, passed), None
    committed = store.committed() or 0
    for now in NOWS[:until]:
        if now > committed:
            memory = run_tick(parts, memory, now, LAST, uuid.uuid4().hex)
    store.close()


def live(place: str, hook: str, until: int, die: int, told: int) -> NoReturn:
    """One order, which tells the file descriptor `told` of each point that it passes and dies at number `die` of them."""
    points = 0

    def passed(name: str) -> None:
        nonlocal points
        points += 1
        os.write(told, f"{name}\n".encode())
        if points == die:
            os.kill(os.getpid(), signal.SIGKILL)

    code = 1
    try:
        run(place, hook, until, passed)
        code = 0
    except BaseException:  # noqa: BLE001 - whatever it is, this process ends here
        traceback.print_exc()
    os._exit(code)


def main() -> None:
    """Answers orders until there are no more."""
    run(
        "sqlite :memory:", "http://127.0.0.1:1", 2, lambda _point: None
    )  # what is imported on use is imported now, once for all
    for line in sys.stdin:
        order = json.loads(line)
        heard, told = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(heard)
            live(**order, told=told)
        os.close(told)
        with os.fdopen(heard) as points:
            passed = points.read().split("\n")[:-1]
        _, status = os.waitpid(pid, 0)
        print(json.dumps({"code": os.waitstatus_to_exitcode(status), "passed": passed}), flush=True)


if __name__ == "__main__":
    main()
