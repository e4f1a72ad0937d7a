"""When the service wakes up: APScheduler, and the one clock of the scheduled job.

Owns the wall clock and the wake-up. What is owed is decided in `nominal.py`, never here: a wake-up that comes late, twice or
not at all changes nothing but the delay.
"""

import time
import uuid
from datetime import UTC, datetime

from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from forewarn.service import Runner


def wall_clock() -> int:
    """UTC epoch milliseconds now."""
    return time.time_ns() // 1_000_000


def fresh_nonce() -> str:
    """A name that no other attempt to commit has."""
    return uuid.uuid4().hex


def run_until_stopped(runner: Runner, seconds: float) -> None:
    """Wakes the runner now and every `seconds` until its `stop` is set, then lets the tick under way come to its end.

    One instance at a time; wake-ups that were missed are made up by one.
    """
    scheduler = BackgroundScheduler(timezone=UTC)
    scheduler.add_job(
        runner.wake,
        IntervalTrigger(seconds=seconds, timezone=UTC),
        coalesce=True,
        max_instances=1,
        misfire_grace_time=None,
        next_run_time=datetime.now(UTC),
    )
    scheduler.start()
    try:
        runner.stop.wait()
    finally:
        scheduler.shutdown(wait=True)
