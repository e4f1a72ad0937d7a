"""Worker processes in which series are fitted one by one.

Owns: WorkerPool: starting, pinning, replacing and ending processes. Must not know what they compute.
"""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait as wait_for_any
from typing import Final, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

_ONE_THREAD: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
"""Several processes with several BLAS threads each make small products 10 to 100 times slower than with one."""


class WorkerPool:
    """`processes` workers, started at the first task and kept; 0 = everything in this process.

    Workers are spawned (never forked: the service has threads), use one BLAS thread each, ignore Ctrl-C (the owner
    decides when they end) and die with their parent, whatever killed it. Used by one thread at a time.
    """

    def __init__(self, processes: int = 0) -> None:
        if processes < 0:
            raise ValueError(f"a pool has 0 or more processes, got {processes}")
        self._processes = processes
        self._executor: ProcessPoolExecutor | None = None

    def map(self, function: Callable[[Task], Result], tasks: Iterable[Task]) -> list[Result | None]:
        """The results of `function` (importable by name) over the tasks, in their order.

        When a worker dies (killed, out of memory), the tasks that were running are suspects: each is tried again alone
        in a fresh pool, so that one deadly task cannot take others down. None stands for a task whose worker died twice
        with no other task running. An exception of the function is raised here, after the tasks that were running have
        ended; of several, that of the earliest task, whichever happened to be noticed first.
        """
        todo = list(tasks)
        if not self._processes:
            return [function(task) for task in todo]
        results: list[Result | None] = [None] * len(todo)
        # One more than there are workers, so that none waits for us; few, so that few are suspects.
        suspects = self._run(function, todo, range(len(todo)), results, in_flight=self._processes + 1)
        for suspect in suspects:
            if self._run(function, todo, (suspect,), results, in_flight=1):
                self._run(function, todo, (suspect,), results, in_flight=1)
        return results

    def close(self) -> None:
        """Waits for running tasks and ends the workers; the pool may be used again and then starts new ones."""
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(wait=True, cancel_futures=True)

    def _run(
        self,
        function: Callable[[Task], Result],
        tasks: Sequence[Task],
        numbers: Iterable[int],
        results: list[Result | None],
        in_flight: int,
    ) -> list[int]:
        """Fills in `results` of the tasks with these numbers; returns those that were running when a worker died."""
        waiting, running = deque(numbers), dict[Future[Result], int]()
        suspects: list[int] = []
        failed: dict[int, Exception] = {}
        try:
            while waiting or running:
                while waiting and len(running) < in_flight:
                    future = self._submit(function, tasks[waiting[0]])
                    running[future] = waiting.popleft()
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    number = running.pop(future)
                    try:
                        results[number] = future.result()
                    except BrokenProcessPool:
                        suspects += [number, *self._bury(running, results)]
                        break
                    except Exception as error:  # noqa: BLE001 - raised below, once the tasks before it have ended
                        failed[number] = error
                        waiting.clear()
        except BaseException:
            for future in running:
                future.cancel()
            raise
        if failed:
            raise failed[min(failed)]
        return sorted(suspects)

    def _bury(self, running: dict[Future[Result], int], results: list[Result | None]) -> list[int]:
        """Ends a broken pool; keeps what was finished before it broke and returns the other running tasks."""
        self.close()
        lost = []
        for future, number in running.items():
            if future.cancelled() or future.exception() is not None:
                lost.append(number)
            else:
                results[number] = future.result()
        running.clear()
        return lost

    def _submit(self, function: Callable[[Task], Result], task: Task) -> "Future[Result]":
        if self._executor is None:
            self._executor = ProcessPoolExecutor(
                self._processes, mp_context=multiprocessing.get_context("spawn"), initializer=_start_worker
            )
        with _one_thread_each():  # workers inherit the environment, and are spawned when tasks are submitted
            try:
                return self._executor.submit(function, task)
            except BrokenProcessPool:  # it broke between two calls, with nothing of ours running
                self.close()
                return self._submit(function, task)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, name="die-with-parent", daemon=True).start()


def _die_with_parent() -> None:
    """A parent that was killed cannot end its workers, and their queue never closes since they hold its other end too."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for_any([parent.sentinel])
        os._exit(1)
