"""What the commands share: consoles, options, times, signals, progress, and how a refusal becomes an exit code.

Owns the exit codes: 0 done; 1 a check, a backtest or the demo found something wrong; 2 a setting or an argument was refused;
3 a source, 4 a store, 5 a `now` was refused; 6 anything else that Forewarn raises on purpose. Runs nothing by itself.
"""

import functools
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Any, Final

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from forewarn.config import Config, load, parse_duration, with_store
from forewarn.detector import DAY, MINUTE
from forewarn.errors import ConfigError, ForewarnError, SourceError, StoreError, TickRefused

EXIT: Final[Mapping[type[ForewarnError], int]] = {ConfigError: 2, SourceError: 3, StoreError: 4, TickRefused: 5}
out, err = Console(), Console(stderr=True)

config_option = click.option(
    "-c", "--config", "config_path", default="forewarn.yml", envvar="FOREWARN_CONFIG", show_default=True, help="The YAML file."
)
store_option = click.option("--store", default=None, help="Another store than the configured one, e.g. sqlite:///replay.db.")
json_option = click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object on standard output.")


def say(message: str) -> None:
    """One line on standard error, as it is."""
    err.print(message, markup=False, highlight=False, soft_wrap=True)


def answer(document: Mapping[str, Any]) -> None:
    """One JSON object on standard output, at once: whoever reads it may wait for it while we go on."""
    click.echo(json.dumps(document))
    sys.stdout.flush()


def iso(time: int) -> str:
    """UTC ms as ISO 8601."""
    return datetime.fromtimestamp(time / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def lasting(milliseconds: int) -> str:
    """A length of time for people: 6 min, 2 h, 2 h 5 min."""
    hours, minutes = divmod(round(milliseconds / 60_000), 60)
    return " ".join(part for part in (hours and f"{hours} h", (minutes or not hours) and f"{minutes} min") if part)


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


class Duration(click.ParamType[int]):
    """A duration as in the configuration (90s, 4h, 1d), as ms; at least a minute, at most four weeks."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Milliseconds, or a usage error that says what was expected."""
        if isinstance(value, int):
            return value
        try:
            found = parse_duration(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if not MINUTE <= found <= 28 * DAY:
            self.fail(f"{value!r} is not between 1m and 28d", param, ctx)
        return found


def reports_errors(command: Callable[..., None]) -> Callable[..., None]:
    """A refusal becomes one line on standard error (and a JSON object with --json) and an exit code."""

    @functools.wraps(command)
    def run(*args: Any, **options: Any) -> None:
        try:
            command(*args, **options)
        except ForewarnError as error:
            if options.get("as_json"):
                answer({"error": type(error).__name__, "message": str(error)})
            err.print(f"forewarn: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
            sys.exit(next((code for kind, code in EXIT.items() if isinstance(error, kind)), 6))

    return run


def end_if_failing(failing: Mapping[str, str]) -> None:
    """Ends with the exit code of a source, and a line for each detector that could not be read, if there is one."""
    for name, why in failing.items():
        err.print(f"forewarn: {name}: {why}", style="red", markup=False, highlight=False, soft_wrap=True)
    if failing:
        sys.exit(EXIT[SourceError])


def read_config(path: str, store: str | None) -> Config:
    """The configuration, with its store replaced if the command line names another."""
    config = load(path, os.environ)
    return config if store is None else with_store(config, store, Path.cwd())


def on_signals(stop: Event) -> None:
    """SIGTERM and Ctrl-C let the tick under way come to its end."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())


def progress() -> Progress:
    """A progress bar on standard error, gone when it is done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=err, transient=True)
