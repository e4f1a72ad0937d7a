"""`forewarn backtest`: CSV series in, scores out, a process per file."""

import math
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from pathlib import Path

import click

from forewarn.backtest_files import Done, Job, find_jobs, run_job
from forewarn.cli.terminal import Duration, answer, err, json_option, out, progress, reports_errors
from forewarn.config.sections import ENGINES
from forewarn.detector import SENSITIVITY, Detector, Selection, Sensitivity
from forewarn.errors import ForewarnError
from forewarn.wiring import backtest_rooms


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--time", default="timestamp", show_default=True, help="The column of times.")
@click.option("--value", default="value", show_default=True, help="The column of values.")
@click.option(
    "--out", "target", required=True, type=click.Path(path_type=Path, file_okay=False), help="The folder for the scores."
)
@click.option("--engine", type=click.Choice(ENGINES), default="auto", show_default=True, help="How forecasts are fitted.")
@click.option(
    "--sensitivity", type=click.Choice(list(SENSITIVITY)), default="medium", show_default=True, help="How easily it alarms."
)
@click.option(
    "--incidents-per-week",
    "budget",
    type=click.FloatRange(0, 10_000, min_open=True),
    default=None,
    help="Instead of a sensitivity: what all the series together may raise.",
)
@click.option(
    "--fit-every",
    type=Duration(),
    default="1d",
    show_default=True,
    help="How often a series is fitted anew. A live detector does it every 4h, which takes four to five times as long here.",
)
@click.option("--processes", type=click.IntRange(1), default=None, help="Default: one per core.")
@click.option("--force", is_flag=True, help="Score again what is there already.")
@json_option
@reports_errors
def backtest(
    paths: tuple[Path, ...],
    time: str,
    value: str,
    target: Path,
    engine: str,
    sensitivity: Sensitivity,
    budget: float | None,
    fit_every: int,
    processes: int | None,
    force: bool,
    as_json: bool,
) -> None:
    """Runs the online functions over CSV series: a file or a folder, recursively; only the past is ever used.

    For each input a CSV with the header timestamp,score,expected,lower,upper: one row per input row, in the same order;
    empty = not scored; score >= 1 = alarm. X.train.csv and X.test.csv are one series, train first. Resumable.

    Says how many episodes there were, against how many a series without any fault should have at this sensitivity.
    """
    if budget is not None and math.isnan(budget):
        raise click.BadParameter("nan is no number of incidents", param_hint="--incidents-per-week")
    jobs = find_jobs(paths, target)
    todo = [job for job in jobs if force or not all(path.exists() for path in job.outputs)]
    share = None if budget is None else budget / len(jobs)
    detector = Detector(
        "backtest",
        Selection(path="backtest"),
        "avg",
        "value",
        engine=engine,
        sensitivity=sensitivity,
        incidents_per_week=share,
        fit_every=fit_every,
    )
    done: list[Done] = []
    failed: dict[str, str] = {}
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    pool = ProcessPoolExecutor(processes or os.cpu_count(), mp_context=get_context("spawn"), initializer=_start_worker)
    with progress() as bar, pool, ending_early(pool):
        task = bar.add_task("backtest", total=len(todo))
        largest_first = sorted(todo, key=lambda job: -sum(path.stat().st_size for path in job.inputs))
        futures = {pool.submit(run_job, job, time, value, detector, backtest_rooms): job for job in largest_first}
        for future in as_completed(futures):
            try:
                done.append(future.result())
            except (ForewarnError, OSError) as error:
                failed[futures[future].name] = str(error)
            except BrokenProcessPool:
                failed[futures[future].name] = "a process was killed (out of memory?); run it again with fewer --processes"
            bar.advance(task)
    report(jobs, done, failed, budget, as_json)
    if failed:
        sys.exit(1)


@contextmanager
def ending_early(pool: ProcessPoolExecutor) -> Iterator[None]:
    """After Ctrl-C or an error no further file is begun; those under way are finished, and need not be done again."""
    try:
        yield
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the owner decides when it ends
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that was killed cannot end its workers, and their queue never closes since they hold its other end too."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def noise(done: Sequence[Done], series: int, budget: float | None) -> dict[str, float]:
    """How often what was scored now alarmed, and how often it should if nothing is wrong; incidents as if of one detector."""
    days = sum(one.noise.days for one in done)
    if not days:
        return {}
    got = 30 * sum(one.noise.episodes for one in done) / days
    incidents = 7 * series * sum(one.noise.founded for one in done) / days
    if budget is not None:
        return {"incidents a week, budget": budget, "incidents a week": incidents, "episodes a series and 30 days": got}
    expected = 30 * sum(one.noise.expected or 0.0 for one in done) / days
    return {
        "episodes a series and 30 days, expected of noise": expected,
        "episodes a series and 30 days": got,
        "incidents a week": incidents,
    }


def report(jobs: list[Job], done: list[Done], failed: dict[str, str], budget: float | None, as_json: bool) -> None:
    """What a backtest did, as lines or JSON."""
    summary = {
        "series": len(jobs),
        "scored now": len(done),
        "there already": len(jobs) - len(done) - len(failed),
        "failed": failed,
        "without any score": sum(not one.scored for one in done),
        "rows": sum(one.rows for one in done),
        "scored rows": sum(one.scored for one in done),
        "alarm rows": sum(one.alarms for one in done),
        **{name: round(number, 2) for name, number in noise(done, len(jobs), budget).items()},
    }
    if as_json:
        answer(summary | {"jobs": [asdict(one) for one in sorted(done, key=lambda one: one.name)]})
        return
    for name, number in summary.items():
        if name != "failed":
            out.print(f"{name}: {number}")
    for name, why in failed.items():
        err.print(f"{name}: {why}", style="red", markup=False, highlight=False, soft_wrap=True)
