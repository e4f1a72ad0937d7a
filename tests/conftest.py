"""What every test shares: one real Elasticsearch for the whole run, a name space of one's own in it, and no quiet skips.

Owns: the fixtures `elasticsearch_url`, `es_client` and `es_prefix`, the rule that a skipped test fails the run, and that no
property fails because the machine is busy.
"""

import fcntl
import json
import os
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from elasticsearch import Elasticsearch
from hypothesis import HealthCheck, settings
from tests.elasticsearch_server import remove_everything

ROOT = Path(__file__).resolve().parent.parent
RUN = "FOREWARN_TEST_RUN"
"""Environment variable: the folder that the controller and the workers of one test run share."""
START_SECONDS = 900  # the first run of a clean clone downloads the server

_skipped: list[str] = []

# Both look at the clock on the wall: 200 ms for an example, a second for drawing the first ones.
settings.register_profile("forewarn", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("forewarn")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # pytest-xdist starts its workers later; they inherit the environment
        os.environ[RUN] = tempfile.mkdtemp(prefix="forewarn-test-run-")


def pytest_unconfigure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        return
    run = Path(os.environ.pop(RUN))
    deadline = time.monotonic() + 60
    while (run / "server.json").exists() and time.monotonic() < deadline:
        time.sleep(0.1)  # the server goes when its last user has; the run is over when it has gone
    shutil.rmtree(run, ignore_errors=True)


@pytest.fixture(scope="session")
def elasticsearch_url() -> Iterator[str]:
    """The address of a real Elasticsearch: FOREWARN_TEST_ES, or one server for the whole run, started on first use.

    Workers of pytest-xdist share it: each holds a shared lock while it uses the server, which ends when nobody does.
    """
    if given := os.environ.get("FOREWARN_TEST_ES"):
        yield given.rstrip("/")
        return
    run = Path(os.environ[RUN])
    with (run / "users").open("w") as users:
        with (run / "starting").open("w") as starting:
            fcntl.flock(starting, fcntl.LOCK_EX)
            fcntl.flock(users, fcntl.LOCK_SH)
            if not (run / "server.json").exists():
                _start_server(run)
        try:
            yield json.loads((run / "server.json").read_text())["url"]
        finally:
            fcntl.flock(users, fcntl.LOCK_UN)  # closing is not enough while a forked process has the file open too


def _start_server(run: Path) -> None:
    announce, log = run / "server.json", run / "server.log"
    command = [sys.executable, "-m", "tests.elasticsearch_server", "--port", "0"]
    command += ["--announce", str(announce), "--while-locked", str(run / "users")]
    # A process of its own rather than of this worker, because it outlives the worker that needed it first.
    with log.open("wb") as output:
        actions = [(os.POSIX_SPAWN_DUP2, output.fileno(), 1), (os.POSIX_SPAWN_DUP2, output.fileno(), 2)]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        pid = os.posix_spawn(command[0], command, environment, file_actions=actions, setsid=True)
    deadline = time.monotonic() + START_SECONDS
    while not announce.exists():
        ended, _ = os.waitpid(pid, os.WNOHANG)
        if ended or time.monotonic() > deadline:
            pytest.fail(f"no Elasticsearch for the tests: {log.read_text(errors='replace')}", pytrace=False)
        time.sleep(0.1)


@pytest.fixture(scope="session")
def es_client(elasticsearch_url: str) -> Iterator[Elasticsearch]:
    """A plain client of the test server, for arranging and for looking."""
    with Elasticsearch(elasticsearch_url, request_timeout=60) as client:
        yield client


@pytest.fixture
def es_prefix(es_client: Elasticsearch) -> Iterator[str]:
    """A prefix for the names of indices and templates that no other test uses; whatever bears it is removed afterwards."""
    prefix = f"t{uuid.uuid4().hex[:12]}"
    yield prefix
    remove_everything(es_client, prefix)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped:  # an expected failure counts: it is a test that nobody runs
        _skipped.append(report.nodeid)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.skipped:
        _skipped.append(report.nodeid)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if _skipped and exitstatus == pytest.ExitCode.OK and not hasattr(session.config, "workerinput"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _skipped:
        terminalreporter.section("skipped tests fail the run", red=True)
        for nodeid in _skipped:
            terminalreporter.line(nodeid)
