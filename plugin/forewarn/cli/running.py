"""`forewarn run`, `serve` and `tick`: what runs against the store of the configuration."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from threading import Event
from typing import Final

import click
from rich.table import Table

from forewarn.anomaly import Anomaly
from forewarn.cli.terminal import (
    Moment,
    answer,
    config_option,
    end_if_failing,
    iso,
    json_option,
    on_signals,
    out,
    progress,
    read_config,
    reports_errors,
    say,
    store_option,
)
from forewarn.config import Config
from forewarn.errors import StoreUnavailable, TickRefused
from forewarn.schedule import fresh_nonce, run_until_stopped, wall_clock
from forewarn.service import Runner
from forewarn.tick import Memory, run_tick
from forewarn.wiring import Built, build
from forewarn_datasource.wiring import serve_in_thread, serve_until

MOST_ANOMALIES: Final = 100_000


def build_when_reachable(config: Config, stop: Event, origin: int | None) -> Built | None:
    """The parts, as soon as the store answers; None if it was stopped before that."""
    said = ""
    while not stop.is_set():
        try:
            return build(config, origin=origin)
        except StoreUnavailable as error:
            if str(error) != said:
                say(f"forewarn: waiting for the store: {error}")
                said = str(error)
            stop.wait(2.0)
    return None


@click.command()
@config_option
@store_option
@json_option
@click.option("--from", "start", type=Moment(), default=None, help="Replay from here, into a store of its own.")
@click.option("--to", "end", type=Moment(), default=None, help="Replay up to here, then end (default with --from: now).")
@click.option(
    "--wake", type=click.FloatRange(0.05, 3600), default=5.0, show_default=True, help="Seconds between looks at the clock."
)
@click.option("--serve/--no-serve", default=None, help="Serve the datasource too (default: with an embedded store).")
@reports_errors
def run(
    config_path: str, store: str | None, as_json: bool, start: int | None, end: int | None, wake: float, serve: bool | None
) -> None:
    """The service: ticks on schedule, catching up first. With --from, a replay of the past."""
    config = read_config(config_path, store)
    if end is not None and start is None:
        raise click.UsageError("--to goes with --from")
    if start is not None and end is not None and end <= start:
        raise click.UsageError("--to must lie after --from")
    stop = Event()
    on_signals(stop)
    built = build_when_reachable(config, stop, start)
    if built is None:
        return
    try:
        runner = Runner(built.parts, wall_clock, fresh_nonce, stop=stop)
        if start is not None:
            done = replay(runner, start, min(end or wall_clock(), wall_clock()))
            at = built.parts.store.committed()
            if not done.ticks and at is not None:
                say(
                    f"forewarn: nothing to replay: the store stands at {iso(at)} already; use another (--store sqlite:///replay.db)"
                )
            report_replay(done, as_json)
            return
        embedded = config.store.kind == "sqlite" if serve is None else serve
        server = serve_in_thread(config, built.parts.store) if embedded else None
        if server is not None:
            say(f"forewarn: datasource on {server.url}")
        try:
            run_until_stopped(runner, wake)
        finally:
            if server is not None:
                server.close()
    finally:
        built.close()


@dataclass(slots=True)
class Replay:
    """What a replay of [start, end) did, and what it found."""

    start: int
    end: int
    ticks: int = 0
    detectors: dict[str, dict[str, int]] = field(default_factory=dict)
    anomalies: list[Anomaly] = field(default_factory=list)
    failing: dict[str, str] = field(default_factory=dict)

    def count(self, memory: Memory) -> None:
        """Adds what one tick did."""
        for report in memory.report:
            entry = self.detectors.setdefault(report.name, {"series": 0, "buckets": 0, "fits": 0, "changes": 0})
            entry["series"] = report.series
            for name in ("buckets", "fits", "changes"):
                entry[name] += getattr(report, name)


def replay(runner: Runner, start: int, end: int, label: str = "replay", told: Callable[[Memory], None] | None = None) -> Replay:
    """Runs every tick that was owed in [start, end]; TickRefused for a store that stands before `start`.

    `told` is called after every tick.
    """
    loaded = runner.parts.store.committed()
    if loaded is not None and loaded < start:
        raise TickRefused(
            f"this store stands at {iso(loaded)}, before --from {iso(start)}: what lies between would be missing; "
            "use a store of its own (--store sqlite:///replay.db)"
        )
    done = Replay(start, end)
    with progress() as bar:
        task = bar.add_task(label, total=max(1, (end - start) // 1000))

        def ticked(memory: Memory) -> None:
            done.count(memory)
            bar.update(task, completed=(memory.head.now - start) // 1000)
            if told is not None:
                told(memory)

        runner.ticked = ticked
        done.ticks = runner.catch_up(until=end)
    runner.parts.store.refresh()
    done.anomalies = runner.parts.store.anomalies(start, end, limit=MOST_ANOMALIES)
    done.failing = dict(runner.memory.head.failing) if runner.memory else {}
    return done


def report_replay(done: Replay, as_json: bool) -> None:
    """What a replay did, as a table or JSON; ends with an exit code if a detector was failing at its end."""
    if as_json:
        answer({
            "ticks": done.ticks, "from": done.start, "to": done.end, "detectors": done.detectors,
            "anomalies": len(done.anomalies), "failing": done.failing,
        })  # fmt: skip
    else:
        table = Table("detector", "series", "buckets", "fits", title=f"{done.ticks} ticks, {len(done.anomalies)} anomalies")
        for name, entry in done.detectors.items():
            table.add_row(name, *(str(entry[column]) for column in ("series", "buckets", "fits")))
        out.print(table)
    end_if_failing(done.failing)


@click.command()
@config_option
@store_option
@reports_errors
def serve(config_path: str, store: str | None) -> None:
    """The Grafana datasource: reads only the store."""
    stop = Event()
    on_signals(stop)
    serve_until(read_config(config_path, store), stop, lambda url: say(f"forewarn: datasource on {url}"))


@click.command()
@config_option
@store_option
@json_option
@click.option("--at", type=Moment(), default=None, help="The `now` of the tick (default: now).")
@reports_errors
def tick(config_path: str, store: str | None, as_json: bool, at: int | None) -> None:
    """One tick. Safe beside a running scheduler: whoever commits second has published nothing."""
    built = build(read_config(config_path, store))
    try:
        wall = wall_clock()
        memory = run_tick(built.parts, None, wall if at is None else at, wall, fresh_nonce())
    finally:
        built.close()
    if as_json:
        reports = [asdict(report) for report in memory.report]
        answer({"now": memory.head.now, "generation": memory.head.generation, "detectors": reports})
    else:
        columns = ("detector", "series", "buckets", "fits", "changes", "up to")
        table = Table(*columns, title=f"tick at {iso(memory.head.now)}")
        for report in memory.report:
            numbers = (report.series, report.buckets, report.fits, report.changes)
            table.add_row(report.name, *map(str, numbers), iso(report.watermark) if report.watermark else "")
        out.print(table)
    end_if_failing(dict(memory.head.failing))
