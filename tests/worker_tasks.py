"""Tasks that tests hand to worker processes, which import them by name. Owns nothing else."""

import os
import signal
import time
from pathlib import Path


def square(number: int) -> int:
    return number * number


def fail(number: int) -> int:
    raise ZeroDivisionError(f"task {number}")


def environment(name: str) -> str | None:
    return os.environ.get(name)


def process(pause: float) -> int:
    time.sleep(pause)
    return os.getpid()


def square_or_die(number: int) -> int:
    """Dies every time for 13, as a task that eats all memory would."""
    if number == 13:
        os.kill(os.getpid(), signal.SIGKILL)
    return square(number)


def die_once(mark: str) -> str:
    """Dies the first time: `mark` is a file that says it happened."""
    if not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return mark
