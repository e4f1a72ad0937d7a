"""`forewarn demo`: the simulated shop end to end, embedded: learn, replay its last day, say what was found, serve it."""

import os
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException
from json import loads
from pathlib import Path
from threading import Event
from typing import Any, Final

import click
from rich.box import SIMPLE_HEAD
from rich.table import Column, Table

from forewarn.cli.running import Replay, replay
from forewarn.cli.terminal import Moment, answer, end_if_failing, json_option, lasting, on_signals, out, reports_errors, say
from forewarn.config import load
from forewarn.demo import (
    BUCKET,
    Layout,
    Verdict,
    annotation_ids,
    curl_commands,
    infinity_question,
    judge,
    lay_out,
    simpod_question,
)
from forewarn.detector import DAY, MINUTE
from forewarn.incident import Incident
from forewarn.schedule import fresh_nonce, wall_clock
from forewarn.service import Runner
from forewarn.tick import Memory
from forewarn.wiring import build, index_shop
from forewarn_datasource.wiring import serve_in_thread

LISTEN: Final = "127.0.0.1:8080"


@click.command()
@click.option("--dir", "folder", type=click.Path(path_type=Path, file_okay=False), help="Keep everything in this new folder.")
@click.option("--once", is_flag=True, help="Fetch the annotations, then end; exit code 1 if they are not there.")
@click.option("--listen", default=None, help=f"Where the datasource listens (default: {LISTEN}; any port with --once).")
@click.option("--seed", type=click.IntRange(0), default=7, show_default=True, help="Another seed is another shop.")
@click.option("--end", type=Moment(), default=None, help="Where the shop's time ends (default: now).")
@click.option("--index", "host", default=None, help="Only index the shop into this Elasticsearch (http://host:9200), then end.")
@json_option
@reports_errors
def demo(
    folder: Path | None, once: bool, listen: str | None, seed: int, end: int | None, host: str | None, as_json: bool
) -> None:
    """A simulated shop with known faults, end to end: learns, replays its last day tick by tick, serves what it found.

    Five weeks of metrics and nine days of log lines of fifteen services, in files; the store is embedded. No Elasticsearch is
    needed.
    """
    stop = Event()
    on_signals(stop)
    end = wall_clock() - MINUTE if end is None else end
    if host is not None:
        say(f"forewarn: {index_shop(seed, end, host):,} documents indexed into {host}")
        return
    with ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="forewarn-demo-")))
        elif folder.exists() and any(folder.iterdir()):
            raise click.UsageError(f"--dir {folder} is not empty; name a new folder")
        folder.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        layout = lay_out(folder, seed, end, listen or ("127.0.0.1:0" if once else LISTEN))
        say(f"forewarn: {layout.documents:,} documents of a simulated shop in {folder}")
        config = load(layout.config, os.environ)
        built = build(config, origin=layout.start)
        stack.callback(built.close)
        server = serve_in_thread(config, built.parts.store)
        stack.callback(server.close)
        runner = Runner(built.parts, wall_clock, fresh_nonce, stop=stop)
        replay(runner, layout.start, layout.replayed + MINUTE, "learn five weeks")
        teller = Teller(layout.replayed, quiet=as_json)
        runner.span = 0  # from here on tick by tick, as it was lived through
        done = replay(runner, layout.start, layout.end + BUCKET, "replay the last day", teller.tell)
        if stop.is_set():
            return
        incidents = [
            one for one in built.parts.store.incidents(layout.replayed, layout.end + DAY) if one.opened >= layout.replayed
        ]
        verdicts, unexplained = judge(layout.shop.faults, incidents, layout.hold)
        facts: dict[str, Any] = {
            "seconds": round(time.monotonic() - began, 1),
            "first_incident_after": teller.first_after(began),
            "url": server.url,
            "seed": seed,
            "from": layout.replayed,
            "to": layout.end,
        }
        fetched = fetch(server.url, layout) if once else {}
        if once:
            facts["annotations"] = {dialect: len(ids) for dialect, ids in fetched.items()}
        if as_json:
            answer(facts | as_document(verdicts, unexplained, done))
        else:
            show(verdicts, unexplained, facts["seconds"])
            show_urls(server.url, layout)
        end_if_failing(done.failing)
        if once:
            verify(fetched, {one.id for one in done.anomalies})
            return
        say(f"forewarn: datasource and incident pages on {server.url} until Ctrl-C")
        stop.wait()


@dataclass(slots=True)
class Teller:
    """Prints each incident of the replayed day when it opens, with its cause and the recommended resolution."""

    since: int
    quiet: bool
    known: set[str] = field(default_factory=set)
    first: float | None = None

    def tell(self, memory: Memory) -> None:
        """Called after every tick."""
        for incident in memory.incidents:
            if incident.id in self.known or incident.opened < self.since:
                continue
            self.known.add(incident.id)
            self.first = self.first or time.monotonic()
            if not self.quiet:
                out.print(told(incident), markup=False, highlight=False, soft_wrap=True)

    def first_after(self, began: float) -> float | None:
        """Seconds from `began` to the first incident that was told."""
        return None if self.first is None else round(self.first - began, 1)


def told(incident: Incident) -> str:
    """An incident in three lines."""
    lines = [f"{clock(incident.opened)}  {incident.severity_band:<8} {incident.title}"]
    if incident.causes:
        cause = incident.causes[0]
        lines.append(f"       cause     {cause.entity[0][1]} ({cause.confidence:.0%}): {cause.evidence[0].text}")
    if incident.recommendations:
        best = incident.recommendations[0]
        lines.append(f"       do        {best.title}: {best.fixes[0].step}" if best.fixes else f"       see       {best.title}")
    return "\n".join(lines)


def clock(time_ms: int) -> str:
    """The time of day, UTC."""
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%H:%M}"


def fetch(url: str, layout: Layout) -> dict[str, set[str]]:
    """The ids of the annotations of the scored days, fetched over HTTP in both dialects."""
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
    return loads(text)


def verify(fetched: dict[str, set[str]], stored: set[str]) -> None:
    """Ends with exit code 1 unless both dialects gave annotations of stored anomalies, the same ones, and there are some.

    Annotations are capped, the worst first; a shop may have more anomalies than are drawn.
    """
    for dialect, ids in fetched.items():
        if not ids or not ids <= stored or ids != fetched["simpod"]:
            say(f"forewarn: {dialect} gave {len(ids)} annotations for {len(stored)} stored anomalies")
            sys.exit(1)
    say(f"forewarn: fetched {len(fetched['simpod'])} annotations in each dialect")


def as_document(verdicts: list[Verdict], unexplained: list[Incident], done: Replay) -> dict[str, Any]:
    """The findings for programs; times in UTC ms, delays in seconds."""
    return {
        "ticks": done.ticks,
        "detectors": done.detectors,
        "failing": done.failing,
        "faults": [one.document() for one in verdicts],
        "unexplained": [
            {"id": one.id, "opened": one.opened, "severity": one.severity, "title": one.title} for one in unexplained
        ],
    }


def show(verdicts: list[Verdict], unexplained: list[Incident], seconds: float) -> None:
    """The true faults against the incidents, for people."""
    fault, service, resolution = (Column(name, no_wrap=True) for name in ("fault", "service", "resolution"))  # names stay whole
    between = ("from (UTC)", "lasted", "known in", "cause")
    table = Table(fault, service, *between, resolution, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for one in verdicts:
        true, found = one.fault, one.found
        cause = "" if found is None else ("right" if one.cause_right else "other")
        known = "not found" if one.delay is None else lasting(one.delay)
        advice = "right" if one.resolution_right else ("" if found is None else "other" if found.recommendations else "none")
        table.add_row(true.kind, true.service, clock(true.onset), lasting(true.end - true.onset), known, cause, advice)
    out.print(table)
    for incident in unexplained:
        out.print(
            f"no fault: {clock(incident.opened)} {incident.severity_band} {incident.title}",
            style="dim",
            markup=False,
            soft_wrap=True,
        )
    found_all = sum(one.found is not None for one in verdicts)
    splits = sum(max(0, len(one.incidents) - 1) for one in verdicts)
    out.print(
        f"{found_all} of {len(verdicts)} faults found, {sum(one.cause_right for one in verdicts)} causes and "
        f"{sum(one.resolution_right for one in verdicts)} resolutions right, {splits} splits, {len(unexplained)} incidents "
        f"without a fault; {seconds:.0f} s.",
        highlight=False,
        soft_wrap=True,
    )


def show_urls(url: str, layout: Layout) -> None:
    """Which pages to open, and how to fetch the annotations by hand."""
    out.print(f"\nopen {url}/incidents", highlight=False)
    for name, line in zip(("simPod JSON", "Infinity"), curl_commands(url, layout.start, layout.end), strict=True):
        out.print(f"\n# annotations as {name} asks for them", style="dim", highlight=False)
        out.print(line, markup=False, highlight=False, soft_wrap=True)
