"""`forewarn demo`: a simulated shop end to end, embedded: learn, replay the last days, say what was found, serve it."""

import json
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from threading import Event
from typing import Any, Final

import click
from rich.box import SIMPLE_HEAD
from rich.table import Table

from forewarn.anomaly import Anomaly
from forewarn.cli.running import Replay, replay
from forewarn.cli.terminal import answer, end_if_failing, json_option, lasting, on_signals, out, reports_errors, say
from forewarn.config import load
from forewarn.demo import (
    STEP,
    Layout,
    Verdict,
    annotation_ids,
    curl_commands,
    infinity_question,
    judge,
    lay_out,
    simpod_question,
)
from forewarn.detector import MINUTE
from forewarn.schedule import fresh_nonce, wall_clock
from forewarn.service import Runner
from forewarn.wiring import build
from forewarn_datasource.wiring import serve_in_thread

LISTEN: Final = "127.0.0.1:8080"


@click.command()
@click.option("--dir", "folder", type=click.Path(path_type=Path, file_okay=False), help="Keep everything in this new folder.")
@click.option("--once", is_flag=True, help="Fetch the annotations, then end; exit code 1 if they are not there.")
@click.option("--listen", default=None, help=f"Where the datasource listens (default: {LISTEN}; any port with --once).")
@click.option("--seed", type=click.IntRange(0), default=7, show_default=True, help="Another seed is another shop.")
@json_option
@reports_errors
def demo(folder: Path | None, once: bool, listen: str | None, seed: int, as_json: bool) -> None:
    """A simulated shop with known faults, end to end: learns, replays three days, and serves what it found.

    Five weeks of five metrics of three services, in a file; the store is embedded. No Elasticsearch is needed.
    """
    stop = Event()
    on_signals(stop)
    with ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="forewarn-demo-")))
        elif folder.exists() and any(folder.iterdir()):
            raise click.UsageError(f"--dir {folder} is not empty; name a new folder")
        folder.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        layout = lay_out(folder, seed, wall_clock(), listen or ("127.0.0.1:0" if once else LISTEN))
        say(f"forewarn: {layout.documents:,} documents, five weeks of three services, in {folder}")
        config = load(layout.config, os.environ)
        built = build(config, origin=layout.start)
        stack.callback(built.close)
        server = serve_in_thread(config, built.parts.store)
        stack.callback(server.close)
        runner = Runner(built.parts, wall_clock, fresh_nonce, stop=stop)
        done = replay(runner, layout.start, layout.end + MINUTE, "learn and replay")
        if stop.is_set():
            return
        verdicts, false = judge(layout.faults, done.anomalies, STEP + MINUTE)
        seconds = time.monotonic() - began
        facts: dict[str, Any] = {"seconds": round(seconds, 1), "url": server.url, "from": layout.start, "to": layout.end}
        if once:
            fetched = fetch(server.url, layout)
            facts["annotations"] = {dialect: len(ids) for dialect, ids in fetched.items()}
        if as_json:
            answer(facts | as_document(verdicts, done, len(false)))
        else:
            show(verdicts, done, false, seconds)
            show_curl(server.url, layout)
        end_if_failing(done.failing)
        if once:
            verify(fetched, {one.id for one in done.anomalies})
            return
        say(f"forewarn: datasource on {server.url} until Ctrl-C")
        stop.wait()


def fetch(url: str, layout: Layout) -> dict[str, set[str]]:
    """The ids of the annotations of the replayed days, fetched over HTTP in both dialects."""
    path, content = simpod_question(layout.start, layout.end)
    simpod = ask(url, "POST", path, content)
    infinity = ask(url, "GET", infinity_question(layout.start, layout.end))
    return dict(zip(("simpod", "infinity"), annotation_ids(simpod, infinity), strict=True))


def ask(url: str, method: str, path: str, content: str | None = None) -> Any:
    """The JSON that the datasource answers; ends with exit code 1 if it is none or an error."""
    connection = HTTPConnection(url.removeprefix("http://"), timeout=60)
    try:
        connection.request(method, path, content)
        response = connection.getresponse()
        text = response.read().decode()
    except (OSError, HTTPException) as error:
        text, status = str(error), 0
    else:
        status = response.status
    finally:
        connection.close()
    if status != 200:
        say(f"forewarn: {method} {path} failed: {status} {text}")
        sys.exit(1)
    return json.loads(text)


def verify(fetched: dict[str, set[str]], stored: set[str]) -> None:
    """Ends with exit code 1 unless both dialects gave an annotation for every stored anomaly, and there are some."""
    for dialect, ids in fetched.items():
        if not ids or ids != stored:
            say(f"forewarn: {dialect} gave {len(ids)} annotations for {len(stored)} stored anomalies")
            sys.exit(1)
    say(f"forewarn: fetched {len(stored)} annotations in each dialect")


def as_document(verdicts: list[Verdict], done: Replay, false: int) -> dict[str, Any]:
    """The findings for programs; times in UTC ms, delays in seconds."""
    faults = []
    for one in verdicts:
        fault, found = one.fault, one.anomaly
        faults.append({
            "kind": fault.kind, "service": fault.service, "metric": fault.metric, "start": fault.start, "end": fault.end,
            "found": found is not None, "delay": None if one.delay is None else one.delay / 1000,
            "severity": found and found.severity, "anomaly": found and found.id,
        })  # fmt: skip
    return {
        "ticks": done.ticks, "detectors": done.detectors, "failing": done.failing, "faults": faults,
        "anomalies": len(done.anomalies), "false_alarms": false,
    }  # fmt: skip


def show(verdicts: list[Verdict], done: Replay, false: list[Anomaly], seconds: float) -> None:
    """The true faults against the anomalies, for people."""
    found = sum(one.anomaly is not None for one in verdicts)
    serious = [anomaly for anomaly in false if anomaly.severity_band != "warning"]
    columns = ("fault", "service", "from (UTC)", "lasted", "known in", "severity")
    table = Table(*columns, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))  # within 80 columns
    for one in verdicts:
        fault = one.fault
        after = "not found" if one.delay is None else lasting(one.delay)
        name = f"{fault.metric} {fault.kind}"
        table.add_row(name, fault.service, *when(fault.start, fault.end), after, strength(one.anomaly))
    for anomaly in serious:
        name = f"none: {anomaly.key.detector}"
        table.add_row(name, anomaly.key.entity[0][1], *when(anomaly.start, anomaly.end), "", strength(anomaly), style="dim")
    out.print(table)
    series = sum(entry["series"] for entry in done.detectors.values())
    out.print(
        f"{found} of {len(verdicts)} faults found. {len(done.anomalies)} anomalies, {len(false)} of them no fault, of which "
        f"{len(false) - len(serious)} mere warnings. "
        f"Three days of {series} series, and the fits on the weeks before, took {seconds:.0f} s.",
        highlight=False,
    )


def when(start: int, end: int) -> tuple[str, str]:
    """Where a row of the table begins, and how long it lasted."""
    return f"{datetime.fromtimestamp(start / 1000, UTC):%d %b %H:%M}", lasting(end - start)


def strength(anomaly: Anomaly | None) -> str:
    """Severity and its band."""
    return "" if anomaly is None else f"{anomaly.severity:.0f} {anomaly.severity_band}"


def show_curl(url: str, layout: Layout) -> None:
    """How to fetch the annotations by hand."""
    for name, line in zip(("simPod JSON", "Infinity"), curl_commands(url, layout.start, layout.end), strict=True):
        out.print(f"\n# annotations as {name} asks for them", style="dim", highlight=False)
        out.print(line, markup=False, highlight=False, soft_wrap=True)
