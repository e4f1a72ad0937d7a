"""The files of a backtest: CSV series in, a CSV of scores out for each.

Owns which files are one series, how rows and times are read, and what is written. Must not know how rows are scored.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np

from forewarn.backtest import Int, MakeRooms, Noise, ScoredRows, score_rows
from forewarn.detector import Detector, Selection
from forewarn.errors import SourceRejected
from forewarn.series import Float

HEADER: Final = ("timestamp", "score", "expected", "lower", "upper")
MISSING: Final = frozenset({"", "-", "na", "n/a", "nan", "null", "none"})
"""What stands for no number, in any case of letters; the same as for a detector over files."""
END_OF_TIME: Final = 253_402_300_799_999
"""The last millisecond of the year 9999."""


@dataclass(frozen=True, slots=True)
class Job:
    """Files that are one continuous series, in order, and where the scores of each go."""

    name: str
    inputs: tuple[Path, ...]
    outputs: tuple[Path, ...]


def find_jobs(paths: Sequence[Path], out: Path) -> list[Job]:
    """One job per CSV below the paths; `X.train.csv` and `X.test.csv` side by side are one series, train first.

    What lies in `out` is no input, if that is a folder below a path. Raises SourceRejected for a path that does not exist,
    holds no CSV, or would write the same output as another or over an input.
    """
    target: dict[Path, Path] = {}
    named: dict[Path, str] = {}
    for path in paths:
        if not path.exists():
            raise SourceRejected(str(path), "no such file or folder")
        below = out.resolve() if path.resolve() in out.resolve().parents else None
        found = sorted(_csv_files(path, below)) if path.is_dir() else [path]
        if not found:
            raise SourceRejected(str(path), "holds no .csv file")
        for file in found:
            name = file.relative_to(path if path.is_dir() else path.parent)
            target[file], named[file] = out / name, str(name)
    jobs: list[Job] = []
    taken: dict[Path, Path] = {}
    read = {file.resolve() for file in target}
    for file, scores in target.items():
        if scores.resolve() in read:
            raise SourceRejected(str(file), f"its scores would be written over {scores}; name another folder")
        if taken.setdefault(scores, file) != file:
            raise SourceRejected(str(file), f"would write the same scores as {taken[scores]}")
        if file.name.endswith(".test.csv") and file.with_name(file.name[:-9] + ".train.csv") in target:
            continue
        pair = [file]
        if file.name.endswith(".train.csv") and (test := file.with_name(file.name[:-10] + ".test.csv")) in target:
            pair.append(test)
        jobs.append(Job(named[file], tuple(pair), tuple(target[one] for one in pair)))
    return jobs


def _csv_files(folder: Path, without: Path | None) -> Iterator[Path]:
    for file in folder.rglob("*.csv"):
        if file.is_file() and (without is None or without not in file.resolve().parents):
            yield file


@dataclass(frozen=True, slots=True)
class Done:
    """What a job did."""

    name: str
    rows: int
    scored: int
    alarms: int
    noise: Noise


def run_job(job: Job, time: str, value: str, detector: Detector, make_rooms: MakeRooms) -> Done:
    """Scores the files of a job and writes one CSV for each, whole or not at all."""
    stamps: list[str] = []
    values: list[float] = []
    times: list[Int] = []
    for path in job.inputs:
        before = len(stamps)
        for stamp, number in _rows(path, time, value):
            stamps.append(stamp)
            values.append(number)
        times.append(parse_times(stamps[before:], path))
    name = job.inputs[0].name.split(".")[0]
    one = replace(detector, name=name, selection=Selection(path=str(job.inputs[0])))
    rows = score_rows(np.concatenate(times), np.array(values, np.float64), one, make_rooms)
    start = 0
    for path, own in zip(job.outputs, times, strict=True):
        _write(path, stamps[start : start + own.size], rows, start)
        start += own.size
    return Done(job.name, len(stamps), int(np.isfinite(rows.score).sum()), int((rows.score >= 1).sum()), rows.noise)


def _rows(path: Path, time: str, value: str) -> Iterator[tuple[str, float]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            _require_columns(path, reader.fieldnames or (), (time, value))
            for row in reader:
                text = (row[value] or "").strip()
                try:
                    number = np.nan if text.lower() in MISSING else float(text)
                except ValueError:
                    raise SourceRejected(str(path), f"line {reader.line_num}: {value} is no number: {text[:80]!r}") from None
                yield row[time] or "", number if np.isfinite(number) else np.nan
    except UnicodeDecodeError:
        raise SourceRejected(str(path), "is not UTF-8 text") from None
    except csv.Error as error:
        raise SourceRejected(str(path), f"is not CSV after line {reader.line_num}: {error}") from None


def _require_columns(path: Path, there: Sequence[str], needed: Sequence[str]) -> None:
    if not there:
        raise SourceRejected(str(path), f"is empty; a header with the columns {' and '.join(map(repr, needed))} is expected")
    for column in needed:
        if there.count(column) > 1:
            raise SourceRejected(str(path), f"has {there.count(column)} columns {column!r}")
        if column not in there:
            commas = "; columns are parted by commas" if len(there) == 1 and re.search(r"[;\t|]", there[0]) else ""
            held = ", ".join(map(repr, there))
            raise SourceRejected(
                str(path), f"has no column {column!r}; it has {held if len(held) < 500 else held[:497] + '...'}{commas}"
            )


def parse_times(stamps: Sequence[str], path: Path) -> Int:
    """Stamps as UTC ms: epoch seconds, ms, us or ns (by magnitude), or ISO dates; without a zone they are UTC."""
    if not stamps:
        return np.zeros(0, np.int64)
    try:
        moments = _epoch(np.array(stamps, np.float64))
    except ValueError:
        moments = np.array([_time_of(stamp) for stamp in stamps], np.float64)
    wrong = np.flatnonzero(~(np.abs(moments) <= END_OF_TIME))
    if wrong.size:
        row = int(wrong[0])
        raise SourceRejected(str(path), f"row {row + 1}: a time is neither epoch nor ISO: {stamps[row][:80]!r}")
    return moments.astype(np.int64)


def _epoch(numbers: Float) -> Float:
    """Epoch numbers of any usual unit as whole ms; what is a hair below one is it, since some units are no binary fraction."""
    size = np.abs(numbers)
    units = [numbers * 1e3, numbers, numbers / 1e3]
    return np.floor(np.select([size < 1e11, size < 1e14, size < 1e17], units, numbers / 1e6) + 1e-3)


def _time_of(stamp: str) -> float:
    """UTC ms; NaN for what is neither epoch nor ISO."""
    try:
        return float(_epoch(np.array(stamp, np.float64)))
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(stamp.strip())
    except ValueError:
        return np.nan
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def _write(path: Path, stamps: Sequence[str], rows: ScoredRows, start: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    columns = [array[start : start + len(stamps)].tolist() for array in (rows.score, rows.expected, rows.lower, rows.upper)]
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for stamp, *numbers in zip(stamps, *columns, strict=True):
            writer.writerow([stamp, *("" if number != number else f"{number:.6g}" for number in numbers)])  # noqa: PLR0124 - NaN
    part.replace(path)
