"""The command line. The one place that prints, exits, and (with `schedule.py`) reads the clock.

Exit codes: 0 done; 1 a check or a backtest found something wrong; 2 a setting or an argument was refused; 3 a source,
4 a store, 5 a `now` was refused; 6 anything else that Forewarn raises on purpose.
"""

import functools
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from threading import Event
from typing import Any, Final

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from forewarn.backtest import Done, Job, find_jobs, run_job
from forewarn.config import Config, load, with_store
from forewarn.detector import Detector, Selection
from forewarn.errors import ConfigError, ForewarnError, SourceError, StoreError, StoreUnavailable, TickRefused
from forewarn.schedule import fresh_nonce, run_until_stopped, wall_clock
from forewarn.service import Runner
from forewarn.tick import Memory, run_tick
from forewarn.wiring import Built, Sources, backtest_rooms, build
from forewarn_datasource.wiring import serve_in_thread, serve_until

EXIT: Final[Mapping[type[ForewarnError], int]] = {ConfigError: 2, SourceError: 3, StoreError: 4, TickRefused: 5}
out, err = Console(), Console(stderr=True)


def iso(time: int) -> str:
    """UTC ms as ISO 8601."""
    return datetime.fromtimestamp(time / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


class Moment(click.ParamType[int]):
    """ISO 8601 (UTC if it names no zone) or epoch milliseconds, as UTC ms."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """UTC ms, or a usage error that says what was expected."""
        if isinstance(value, int):
            return value
        try:
            if str(value).isdigit():
                return int(value)
            moment = datetime.fromisoformat(value)
            return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
        except ValueError:
            self.fail(f"{value!r} is neither ISO 8601 (2026-11-22T06:00:00Z) nor epoch milliseconds", param, ctx)


def reports_errors(command: Callable[..., None]) -> Callable[..., None]:
    """A refusal becomes one line on standard error (or a JSON object with --json) and an exit code."""

    @functools.wraps(command)
    def run(*args: Any, **options: Any) -> None:
        try:
            command(*args, **options)
        except ForewarnError as error:
            if options.get("as_json"):
                print(json.dumps({"error": type(error).__name__, "message": str(error)}))
            err.print(f"forewarn: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
            sys.exit(next((code for kind, code in EXIT.items() if isinstance(error, kind)), 6))

    return run


def read_config(path: str, store: str | None) -> Config:
    """The configuration, with its store replaced if the command line names another."""
    config = load(path, os.environ)
    return config if store is None else with_store(config, store, Path.cwd())


config_option = click.option(
    "-c", "--config", "config_path", default="forewarn.yml", envvar="FOREWARN_CONFIG", show_default=True, help="The YAML file."
)
store_option = click.option("--store", default=None, help="Another store than the configured one, e.g. sqlite:///replay.db.")
json_option = click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object on standard output.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("-v", "--verbose", is_flag=True, help="Log what goes on.")
@click.version_option(package_name="forewarn")
def main(verbose: bool) -> None:
    """Gives operations teams a heads-up before things break."""
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(asctime)s level=%(levelname)s logger=%(name)s %(message)s",
        stream=sys.stderr,
    )


def on_signals(stop: Event) -> None:
    """SIGTERM and Ctrl-C let the tick under way come to its end."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())


def build_when_reachable(config: Config, stop: Event, origin: int | None) -> Built | None:
    """The parts, as soon as the store answers; None if it was stopped before that."""
    said = ""
    while not stop.is_set():
        try:
            return build(config, origin=origin)
        except StoreUnavailable as error:
            if str(error) != said:
                err.print(f"forewarn: waiting for the store: {error}", markup=False, highlight=False, soft_wrap=True)
                said = str(error)
            stop.wait(2.0)
    return None


@main.command()
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
    stop = Event()
    on_signals(stop)
    if end is not None and start is None:
        raise click.UsageError("--to goes with --from")
    if start is not None and end is not None and end <= start:
        raise click.UsageError("--to must lie after --from")
    built = build_when_reachable(config, stop, start)
    if built is None:
        return
    try:
        runner = Runner(built.parts, wall_clock, fresh_nonce, stop=stop)
        if start is not None:
            replay(runner, start, min(end or wall_clock(), wall_clock()), as_json)
            return
        embedded = config.store.kind == "sqlite" if serve is None else serve
        server = serve_in_thread(config, built.parts.store) if embedded else None
        if server is not None:
            err.print(f"forewarn: datasource on {server.url}", markup=False, highlight=False)
        try:
            run_until_stopped(runner, wake)
        finally:
            if server is not None:
                server.close()
    finally:
        built.close()


def replay(runner: Runner, start: int, end: int, as_json: bool) -> None:
    """Runs every tick that was owed in [start, end] and prints what came of it."""
    loaded = runner.parts.store.committed()
    if loaded is not None and loaded < start:
        raise TickRefused(
            f"this store stands at {iso(loaded)}, before --from {iso(start)}: what lies between would be missing; "
            "use a store of its own (--store sqlite:///replay.db)"
        )
    totals: dict[str, dict[str, int]] = {}
    with progress() as bar:
        task = bar.add_task("replay", total=max(1, (end - start) // 1000))

        def ticked(memory: Memory) -> None:
            for report in memory.report:
                entry = totals.setdefault(report.name, {"series": 0, "buckets": 0, "fits": 0, "changes": 0})
                entry["series"] = report.series
                for name in ("buckets", "fits", "changes"):
                    entry[name] += getattr(report, name)
            bar.update(task, completed=(memory.head.now - start) // 1000)

        runner.ticked = ticked
        ticks = runner.catch_up(until=end)
    runner.parts.store.refresh()
    found = runner.parts.store.anomalies(start, end, limit=100_000)
    failing = dict(runner.memory.head.failing) if runner.memory else {}
    summary = {"ticks": ticks, "from": start, "to": end, "detectors": totals, "anomalies": len(found), "failing": failing}
    if as_json:
        print(json.dumps(summary))
    else:
        table = Table("detector", "series", "buckets", "fits", title=f"{ticks} ticks, {len(found)} anomalies")
        for name, entry in totals.items():
            table.add_row(name, *(str(entry[column]) for column in ("series", "buckets", "fits")))
        out.print(table)
    if failing:
        raise SourceError(", ".join(failing), "; ".join(failing.values()))


@main.command()
@config_option
@store_option
@reports_errors
def serve(config_path: str, store: str | None) -> None:
    """The Grafana datasource: reads only the store."""
    stop = Event()
    on_signals(stop)
    serve_until(read_config(config_path, store), stop, lambda url: err.print(f"forewarn: datasource on {url}", markup=False))


@main.command()
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
        print(
            json.dumps(
                {"now": memory.head.now, "generation": memory.head.generation, "detectors": [asdict(r) for r in memory.report]}
            )
        )
        return
    table = Table(
        "detector", "series", "buckets", "fits", "changes", "up to", "failing", title=f"tick at {iso(memory.head.now)}"
    )
    for report in memory.report:
        numbers = (report.series, report.buckets, report.fits, report.changes)
        table.add_row(report.name, *map(str, numbers), iso(report.watermark), report.failing)
    out.print(table)


@main.command()
@config_option
@json_option
@reports_errors
def check(config_path: str, as_json: bool) -> None:
    """Validates the configuration against the cluster: indices, fields, types, permissions."""
    config = read_config(config_path, None)
    sources = Sources(config.elasticsearch)
    try:
        found = [
            {"detector": detector.name, "setting": problem.setting, "why": problem.why}
            for detector in config.detectors
            for problem in sources.of(detector).check(detector)
        ]
    finally:
        sources.close()
    if as_json:
        print(json.dumps({"detectors": len(config.detectors), "problems": found}))
    else:
        for one in found:
            out.print(f"{one['detector']}: {one['setting']}: {one['why']}", markup=False, highlight=False, soft_wrap=True)
        out.print(f"{len(config.detectors)} detectors, {len(found)} problems")
    if found:
        sys.exit(1)


def progress() -> Progress:
    """A progress bar on standard error."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=err, transient=True)


@main.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--time", default="timestamp", show_default=True, help="The column of times.")
@click.option("--value", default="value", show_default=True, help="The column of values.")
@click.option("--out", "target", required=True, type=click.Path(path_type=Path), help="The folder for the scores.")
@click.option("--engine", default="auto", show_default=True, help="The forecasting engine.")
@click.option("--processes", type=click.IntRange(1), default=None, help="Default: one per core.")
@click.option("--force", is_flag=True, help="Score again what is there already.")
@json_option
@reports_errors
def backtest(
    paths: tuple[Path, ...], time: str, value: str, target: Path, engine: str, processes: int | None, force: bool, as_json: bool
) -> None:
    """Runs the online functions over CSV series: a file or a folder, recursively; only the past is ever used.

    For each input a CSV with the header timestamp,score,expected,lower,upper: one row per input row, in the same order;
    empty = not scored; score >= 1 = alarm. X.train.csv and X.test.csv are one series, train first. Resumable.
    """
    jobs = find_jobs(paths, target)
    todo = [job for job in jobs if force or not all(path.exists() for path in job.outputs)]
    detector = Detector("backtest", Selection(path="backtest"), "avg", "value", engine=engine)
    done: list[Done] = []
    failed: dict[str, str] = {}
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    with (
        progress() as bar,
        ProcessPoolExecutor(processes or os.cpu_count(), mp_context=get_context("spawn")) as pool,
    ):
        task = bar.add_task("backtest", total=len(todo))
        largest_first = sorted(todo, key=lambda job: -sum(path.stat().st_size for path in job.inputs))
        futures = {pool.submit(run_job, job, time, value, detector, backtest_rooms): job for job in largest_first}
        for future in as_completed(futures):
            try:
                done.append(future.result())
            except ForewarnError as error:
                failed[futures[future].name] = str(error)
            bar.advance(task)
    report_backtest(jobs, done, failed, as_json)
    if failed:
        sys.exit(1)


def report_backtest(jobs: list[Job], done: list[Done], failed: dict[str, str], as_json: bool) -> None:
    """What a backtest did, as a table or JSON."""
    summary = {
        "series": len(jobs),
        "scored now": len(done),
        "there already": len(jobs) - len(done) - len(failed),
        "failed": failed,
        "rows": sum(one.rows for one in done),
        "scored rows": sum(one.scored for one in done),
        "alarm rows": sum(one.alarms for one in done),
    }
    if as_json:
        print(json.dumps(summary | {"jobs": [asdict(one) for one in sorted(done, key=lambda one: one.name)]}))
        return
    for name, number in summary.items():
        if name != "failed":
            out.print(f"{name}: {number}")
    for name, why in failed.items():
        err.print(f"{name}: {why}", style="red", markup=False, highlight=False, soft_wrap=True)
