"""Killed at any named point of a tick and started again: the results are those of an undisturbed run, nothing is lost."""

import json
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.integration.victim import run_all
from tests.places import open_store
from tests.world import visible

ROOT = Path(__file__).resolve().parents[2]
TICK = 3
"""The tick in which it dies: there is state before it, and there are ticks after it."""


class Hook:
    """A webhook on loopback that remembers the keys that it was handed."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                hook.keys.append(self.headers["Idempotency-Key"])
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def hook() -> Iterator[Hook]:
    hook = Hook()
    yield hook
    hook.close()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What an undisturbed run shows, what it tells, and the points it passes: (name, occurrence) by tick."""
    hook, store = Hook(), open_store(f"sqlite {tmp_path_factory.mktemp('undisturbed') / 'store.db'}")
    passed: list[str] = []
    run_all(store, hook.url, passed=passed.append)
    ticks: list[list[tuple[str, int]]] = [[]]
    seen: Counter[str] = Counter()
    for name in passed:
        if name == "read":
            ticks.append([])
        seen[name] += 1
        ticks[-1].append((name, seen[name]))
    shown = visible(store)
    store.close()
    hook.close()
    return {"shown": shown, "keys": hook.keys, "ticks": ticks[1:]}


def run_victim(place: str, hook: Hook, *point: str) -> int:
    command = [sys.executable, "-W", "error", "-m", "tests.integration.victim", place, hook.url, *point]
    return subprocess.run(command, cwd=ROOT, timeout=240, check=False).returncode


POINTS = ("read", "block", "before commit", "after commit", "published", "delivered")


@pytest.fixture(params=["sqlite", "elasticsearch"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite {tmp_path / 'store.db'}"
    url, prefix = request.getfixturevalue("elasticsearch_url"), request.getfixturevalue("es_prefix")
    return f"elasticsearch {url} {prefix}"


@pytest.mark.parametrize("which", ["first", "last"])
@pytest.mark.parametrize("point", POINTS)
def test_killed_at_a_point_and_started_again_the_results_are_those_of_an_undisturbed_run(
    place: str, hook: Hook, undisturbed: dict[str, Any], point: str, which: str
) -> None:
    at = [tick for tick in undisturbed["ticks"][TICK:] if any(name == point for name, _ in tick)]
    assert at, f"no tick from number {TICK} on passes {point!r}"
    occurrences = [number for name, number in at[0] if name == point]
    occurrence = occurrences[0 if which == "first" else -1]
    assert run_victim(place, hook, point, str(occurrence)) == -signal.SIGKILL
    assert run_victim(place, hook) == 0
    store = open_store(place)
    try:
        assert visible(store) == undisturbed["shown"]
    finally:
        store.close()
    assert sorted(set(hook.keys)) == sorted(undisturbed["keys"])
    again = {key: count for key, count in Counter(hook.keys).items() if count > 1}
    assert len(again) <= 1
    assert all(count == 2 for count in again.values())


def test_the_undisturbed_run_passes_every_point_and_tells_somebody(undisturbed: dict[str, Any]) -> None:
    assert {name for tick in undisturbed["ticks"][TICK:] for name, _ in tick} == set(POINTS)
    assert len(undisturbed["keys"]) == len(set(undisturbed["keys"])) >= 2
    assert json.dumps(undisturbed["shown"])
