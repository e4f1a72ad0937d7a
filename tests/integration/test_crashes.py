"""Killed at every point of a tick and started again: the results are those of an undisturbed run, nothing is lost."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.integration.victim import NOWS
from tests.places import open_store
from tests.world import visible

ROOT = Path(__file__).resolve().parents[2]
SHARES = 4
"""Tests that the points of the tick are dealt out to."""
POINTS = {"read", "history block", "block", "before commit", "after commit", "published", "delivered"}


class Hook:
    """Webhooks on loopback that remember who was handed which key."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, str]] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                hook.taken.append((self.path, self.headers["Idempotency-Key"]))
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class Victims:
    """Runs schedulers, each in a process of its own."""

    def __init__(self, hook: Hook) -> None:
        self.hook = hook
        command = [sys.executable, "-W", "error", "-m", "tests.integration.victim"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, place: str, until: int, die: int = 0) -> list[str]:
        """The points passed by a scheduler that goes on with the store at `place` until `until` ticks of the world are
        done, or until it is killed at point number `die`.
        """
        assert self.process.stdin
        assert self.process.stdout
        order = {"place": place, "hook": self.hook.url, "until": until, "die": die}
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        assert answer["code"] == (-signal.SIGKILL if die else 0)
        passed: list[str] = answer["passed"]
        return passed

    def close(self) -> None:
        self.process.communicate()


@pytest.fixture(scope="module")
def victims() -> Iterator[Victims]:
    hook = Hook()
    victims = Victims(hook)
    yield victims
    victims.close()
    hook.close()


@dataclass(frozen=True)
class Tick:
    """One tick that nothing disturbed, in a process of its own: the store before it, the points of it, and what came of it."""

    number: int
    before: Path
    points: list[str]
    taken: list[tuple[str, str]]
    shown: dict[str, Any]


@pytest.fixture(scope="module")
def undisturbed(victims: Victims, tmp_path_factory: pytest.TempPathFactory) -> list[Tick]:
    folder = tmp_path_factory.mktemp("undisturbed")
    path, ticks = folder / "store.db", []
    open_store(f"sqlite {path}").close()
    for number in range(len(NOWS)):
        before = folder / f"before-{number}.db"
        shutil.copy(path, before)
        victims.hook.taken.clear()
        points = victims.run(f"sqlite {path}", number + 1)
        ticks.append(Tick(number, before, points, victims.hook.taken[:], show(f"sqlite {path}")))
    return ticks


def show(place: str) -> dict[str, Any]:
    store = open_store(place)
    try:
        return visible(store)
    finally:
        store.close()


@pytest.fixture(scope="module")
def tick(undisturbed: list[Tick]) -> Tick:
    """The tick in which they die: the one over midnight, which also writes history and checkpoints, with trouble in it."""
    return next(tick for tick in undisturbed[2:] if "history block" in tick.points)


def test_the_tick_that_is_disturbed_has_it_all(undisturbed: list[Tick], tick: Tick) -> None:
    count = Counter(tick.points)
    assert count.keys() == POINTS
    assert min(count["block"], count["history block"], count["published"], count["delivered"]) >= 3
    assert len(set(tick.taken)) == len(tick.taken) == count["delivered"]
    incidents = tick.shown["incidents"]
    assert any(one["anomalies"] and one["pattern_changes"] for one in incidents)
    assert any(one["heads_ups"] for one in incidents)
    assert any(one["recommendations"] for one in undisturbed[-1].shown["incidents"])


def outcome(victims: Victims, place: str, undisturbed: list[Tick], tick: Tick) -> None:
    """When the tick after it is done too, everything must be as it would have been, and told: once, or again with its key."""
    victims.run(place, tick.number + 2)
    assert show(place) == undisturbed[tick.number + 1].shown
    assert sorted(set(victims.hook.taken)) == sorted(tick.taken + undisturbed[tick.number + 1].taken)
    assert max(Counter(victims.hook.taken).values()) <= 2


@pytest.mark.timeout(600)
@pytest.mark.parametrize("share", range(SHARES))
def test_killed_at_any_point_and_started_again_the_results_are_those_of_an_undisturbed_run(
    victims: Victims, undisturbed: list[Tick], tick: Tick, tmp_path: Path, share: int
) -> None:
    for number, point in list(enumerate(tick.points, start=1))[share::SHARES]:
        victims.hook.taken.clear()
        place = f"sqlite {shutil.copy(tick.before, tmp_path / f'{number}.db')}"
        assert victims.run(place, tick.number + 1, die=number) == tick.points[:number]
        outcome(victims, place, undisturbed, tick)
        again = len(victims.hook.taken) - len(set(victims.hook.taken))
        assert again == (point == "delivered")


@pytest.mark.timeout(600)
def test_killed_at_one_point_after_the_other_it_gets_there_in_elasticsearch_too(
    victims: Victims, undisturbed: list[Tick], tick: Tick, elasticsearch_url: str, es_prefix: str
) -> None:
    place = f"elasticsearch {elasticsearch_url} {es_prefix}"
    victims.run(place, tick.number)
    victims.hook.taken.clear()
    committed = tick.points.index("after commit") + 1
    for number in range(1, committed + 1):  # up to its commit, each that is started begins the tick anew
        assert victims.run(place, tick.number + 1, die=number) == tick.points[:number]
    count = Counter(tick.points[committed:])
    for number in range(1, count["published"] + 1):  # then each publishes from the first what was left
        assert victims.run(place, tick.number + 2, die=number) == ["published"] * number
    for number in range(count["delivered"]):  # and delivers again what was delivered last, as there is no note of it
        repeated = min(number, 1)
        passed = victims.run(place, tick.number + 2, die=count["published"] + repeated + 1)
        assert passed[count["published"] :] == ["delivered"] * (repeated + 1)
    outcome(victims, place, undisturbed, tick)
