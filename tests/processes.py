"""Forewarn as people run it: the command in a process of its own, its messages, its exit code, and what it answers over HTTP.

Owns: `forewarn` (runs to its end), `Service` (runs until told to stop) and `ask`. Knows nothing of what is tested.
"""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

COMMAND = str(Path(sys.executable).with_name("forewarn"))
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "COLUMNS": "120"}
PATIENCE = 240.0
"""Seconds. Never reached unless something is broken, or the machine has a great deal to do."""


@dataclass(frozen=True)
class Ended:
    """What a command that has ended left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as one JSON document."""
        return json.loads(self.out)


def forewarn(
    *arguments: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None, patience: float = PATIENCE
) -> Ended:
    """Runs the command to its end, for at most `patience` seconds."""
    done = subprocess.run(
        [COMMAND, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **ENVIRONMENT, **(env or {})},
        capture_output=True,
        text=True,
        timeout=patience,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def _collect(stream: Iterable[str], lines: list[str]) -> None:
    for line in stream:
        lines.append(line)  # one by one: somebody is looking


class Service:
    """A command that goes on until it is stopped; what it prints is collected while it runs."""

    def __init__(
        self, arguments: Sequence[str | Path], cwd: Path | None, env: Mapping[str, str] | None, patience: float = PATIENCE
    ) -> None:
        self.patience = patience
        self.process = subprocess.Popen(
            [COMMAND, *map(str, arguments)],
            cwd=cwd,
            env={**os.environ, **ENVIRONMENT, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.out: list[str] = []
        self.err: list[str] = []
        self._readers = [
            Thread(target=_collect, args=(stream, lines), daemon=True)
            for stream, lines in ((self.process.stdout, self.out), (self.process.stderr, self.err))
        ]
        for reader in self._readers:
            reader.start()

    def wait_for(self, text: str) -> str:
        """The first line of standard error with this text in it, as soon as it is printed."""
        found: list[str] = []

        def printed() -> bool:
            found[:] = [line for line in list(self.err) if text in line]
            return bool(found)

        self.until(printed, f"{text!r}")
        return found[0]

    def until(self, happened: Callable[[], bool], what: str) -> None:
        """Waits until something has happened; fails with what was printed if it does not, or if the process ends before."""
        deadline = time.monotonic() + self.patience
        while not happened():
            assert self.process.poll() is None, f"ended with {self.process.returncode} before {what}: {''.join(self.err)}"
            assert time.monotonic() < deadline, f"no {what}: {''.join(self.err)}"
            time.sleep(0.1)

    @property
    def url(self) -> str:
        """Where the datasource listens, once it says so."""
        return self.wait_for("datasource on http").partition("datasource on ")[2].split()[0]

    def stop(self, signal: int) -> int:
        """Sends the signal and waits for the exit code."""
        self.process.send_signal(signal)
        return self.end()

    def end(self) -> int:
        """Waits for the end and returns the exit code; everything that was printed is in `out` and `err` then."""
        code = self.process.wait(self.patience)
        for reader in self._readers:
            reader.join(self.patience)
        return code


@contextmanager
def serving(
    *arguments: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None, patience: float = PATIENCE
) -> Iterator[Service]:
    """The command in the background; killed at the end of the block if it still runs."""
    service = Service(arguments, cwd, env, patience)
    try:
        yield service
    finally:
        if service.process.poll() is None:
            service.process.kill()
        service.end()
        for stream in (service.process.stdout, service.process.stderr):
            assert stream
            stream.close()


def ask(url: str, content: Any = None, *, token: str | None = None) -> tuple[int, Any]:
    """The status and the decoded JSON of a GET, or of a POST of `content` (bytes as they are, anything else as JSON)."""
    data = content if content is None or isinstance(content, bytes) else json.dumps(content).encode()
    request = urllib.request.Request(url, data, {"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def annotations(url: str, start: int, end: int, *, token: str | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The annotations of [start, end], UTC ms, by id, as simPod JSON and as Infinity fetch them."""
    question = {"range": {"from": start, "to": end}, "targets": [{"refId": "Anno", "target": "anomalies"}]}
    status, frames = ask(f"{url}/grafana/query", question, token=token)
    assert status == 200, frames
    fields = {field["name"]: field["values"] for field in frames[0]["fields"]}
    rows = [dict(zip(fields, row, strict=True)) for row in zip(*fields.values(), strict=True)]
    status, flat = ask(f"{url}/infinity/annotations?from={start}&to={end}", token=token)
    assert status == 200, flat
    return {row["id"]: row for row in rows}, {row["id"]: row for row in flat}
