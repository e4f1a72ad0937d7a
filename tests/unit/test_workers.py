"""Worker processes: order, isolation, replacement, and an end with their parent."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.generated import batch
from tests.worker_tasks import die_once, environment, fail, process, square, square_or_die

from forewarn import blocks
from forewarn.detector import MINUTE
from forewarn.forecast import ModelSpec
from forewarn.forecasting.choose import Forecasting
from forewarn.forecasting.workers import WorkerPool


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    pool = WorkerPool(2)
    yield pool
    pool.close()


def gone(pid: int, seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_results_come_in_the_order_of_the_tasks(pool: WorkerPool) -> None:
    assert pool.map(square, range(40)) == [number * number for number in range(40)]
    assert pool.map(square, []) == []


def test_without_processes_tasks_run_here() -> None:
    assert WorkerPool(0).map(process, [0.0, 0.0]) == [os.getpid()] * 2


def test_workers_are_other_processes_kept_between_calls_with_one_blas_thread(pool: WorkerPool) -> None:
    seen = {pid for _ in range(4) for pid in pool.map(process, [0.05] * 6)}
    assert os.getpid() not in seen
    assert len(seen) <= 2
    before = os.environ.get("NUMBA_NUM_THREADS")
    assert pool.map(environment, ["OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"]) == ["1", "1"]
    assert os.environ.get("NUMBA_NUM_THREADS") == before


def test_exceptions_of_a_task_are_raised_and_the_pool_goes_on(pool: WorkerPool) -> None:
    with pytest.raises(ZeroDivisionError, match="task 1"):
        pool.map(fail, [1, 2, 3])
    assert pool.map(square, [5]) == [25]


def test_a_task_whose_worker_was_killed_is_tried_again(pool: WorkerPool, tmp_path: Path) -> None:
    marks = [str(tmp_path / name) for name in "abc"]
    assert pool.map(die_once, marks) == marks


def test_a_deadly_task_takes_no_other_down(pool: WorkerPool) -> None:
    assert pool.map(square_or_die, range(10, 17)) == [100, 121, 144, None, 196, 225, 256]


def test_a_worker_killed_between_two_calls_is_replaced(pool: WorkerPool) -> None:
    (pid,) = pool.map(process, [0.0])
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert gone(pid)
    assert pool.map(square, [2, 3]) == [4, 9]


def test_closing_ends_the_workers(pool: WorkerPool) -> None:
    pids = set(pool.map(process, [0.02] * 4))
    pool.close()
    assert all(pid is not None and gone(pid) for pid in pids)


def test_workers_die_with_a_parent_that_was_killed() -> None:
    script = (
        "import sys, time\n"
        "from forewarn.forecasting.workers import WorkerPool\n"
        "from tests.worker_tasks import process\n"
        "if __name__ == '__main__':\n"
        "    print(*WorkerPool(1).map(process, [0.0]), flush=True)\n"
        "    time.sleep(600)\n"
    )
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}
    ) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        parent.kill()
    assert gone(worker)


def test_a_negative_number_of_processes_is_refused() -> None:
    with pytest.raises(ValueError, match="got -1"):
        WorkerPool(-1)


def test_fits_are_the_same_with_any_number_of_workers() -> None:
    history = batch(seed=4, n=3 * 96, step=15 * MINUTE, kinds=("ar1", "counts", "smooth"))
    found = []
    for processes in (0, 1, 2):
        forecasting = Forecasting(WorkerPool(processes))
        models = forecasting.fit(history, ModelSpec(engine="stan", timezone="Europe/Paris"))
        forecasting.close()
        found.append([(model.keys, model.status, model.layout, blocks.encode({}, model.arrays)) for model in models])
    assert found[0] == found[1] == found[2]
    assert found[0][0][1] == ("ok",) * 3
