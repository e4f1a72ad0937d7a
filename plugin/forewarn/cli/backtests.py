"""`forewarn backtest`: CSV series in, scores out, a process per file."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from pathlib import Path

import click

from forewarn.backtest import Done, Job, find_jobs, run_job
from forewarn.cli.terminal import answer, err, json_option, out, progress, reports_errors
from forewarn.config.sections import ENGINES
from forewarn.detector import Detector, Selection
from forewarn.errors import ForewarnError
from forewarn.wiring import backtest_rooms


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--time", default="timestamp", show_default=True, help="The column of times.")
@click.option("--value", default="value", show_default=True, help="The column of values.")
@click.option("--out", "target", required=True, type=click.Path(path_type=Path), help="The folder for the scores.")
@click.option("--engine", type=click.Choice(ENGINES), default="auto", show_default=True, help="How forecasts are fitted.")
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
    pool = ProcessPoolExecutor(processes or os.cpu_count(), mp_context=get_context("spawn"), initializer=_start_worker)
    with progress() as bar, pool, ending_early(pool):
        task = bar.add_task("backtest", total=len(todo))
        largest_first = sorted(todo, key=lambda job: -sum(path.stat().st_size for path in job.inputs))
        futures = {pool.submit(run_job, job, time, value, detector, backtest_rooms): job for job in largest_first}
        for future in as_completed(futures):
            try:
                done.append(future.result())
            except ForewarnError as error:
                failed[futures[future].name] = str(error)
            except BrokenProcessPool:
                failed[futures[future].name] = "a process was killed (out of memory?); run it again with fewer --processes"
            bar.advance(task)
    report(jobs, done, failed, as_json)
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


def report(jobs: list[Job], done: list[Done], failed: dict[str, str], as_json: bool) -> None:
    """What a backtest did, as lines or JSON."""
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
        answer(summary | {"jobs": [asdict(one) for one in sorted(done, key=lambda one: one.name)]})
        return
    for name, number in summary.items():
        if name != "failed":
            out.print(f"{name}: {number}")
    for name, why in failed.items():
        err.print(f"{name}: {why}", style="red", markup=False, highlight=False, soft_wrap=True)
