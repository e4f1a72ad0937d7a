"""The accuracy data and the program that scores them: where they are, unpacked once, or what is missing said plainly.

Owns: `data`, `evaluate` and the labels of NAB. FOREWARN_DATA names the folder with the data, FOREWARN_EVAL that of `score.py`;
by default both lie beside the repository.
"""

import csv
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
ARCHIVE = "accuracy-dev.tar.xz"
DIGEST = "4d8314155ac58edef1ccaa32d97805e89279e43e6a9fb80799fd6e8c2196cc29"
CACHE = ROOT / ".cache" / "accuracy"
BUILD = ROOT / "build"
"""What runs leave behind for people to look at; not in git."""

LONG = 1200
"""Seconds that one command may take on a machine that has a great deal else to do; on an idle one none takes a minute."""


class DataMissing(Exception):
    """The accuracy data or their evaluation are not here; the message says which, and what to do."""


def _place(variable: str, default: str, file: str, what: str) -> Path:
    folder = Path(os.environ.get(variable) or default)
    folder = folder if folder.is_absolute() else ROOT / folder
    if not (folder / file).is_file():
        raise DataMissing(f"missing: {what}. There is no {file} in {folder}; set {variable} to the folder that holds it.")
    return folder / file


def data() -> Path:
    """The folder with `kpi17` and `nab`, unpacked when it is first asked for."""
    archive = _place("FOREWARN_DATA", "../shared/data", ARCHIVE, "the accuracy data")
    target = CACHE / DIGEST[:12]
    if not target.is_dir():
        found = sha256(archive.read_bytes()).hexdigest()
        if found != DIGEST:
            raise DataMissing(f"{archive} is not the archive that the figures belong to: its sha256 is {found}.")
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            with tarfile.open(archive) as tar:
                tar.extractall(folder, filter="data")
            Path(folder, "accuracy-dev").rename(target)
    return target


def evaluate(scores: Path, *options: str) -> tuple[str, Any]:
    """What `score.py` says of the scores: its table, and its report as JSON."""
    program = _place("FOREWARN_EVAL", "../shared/eval", "score.py", "the evaluation of the accuracy data")
    report = scores.with_name(f"{scores.name}.json")
    command = [sys.executable, str(program), str(data()), str(scores), *options, "--json", str(report)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(f"score.py ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout, json.loads(report.read_text())


def milliseconds(text: str) -> int:
    """NAB's times, which name no zone, as UTC ms."""
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def rows(file: Path) -> list[tuple[int, float]]:
    """The (time in UTC ms, value) pairs of a NAB file, in its order."""
    with file.open(newline="") as opened:
        return [(milliseconds(row["timestamp"]), float(row["value"])) for row in csv.DictReader(opened)]


@dataclass(frozen=True)
class Window:
    """One labelled window of NAB and the point it was drawn around; UTC ms, both ends inside."""

    start: int
    end: int
    point: int


def windows(name: str) -> list[Window]:
    """The labelled windows of a NAB file, such as `realKnownCause/nyc_taxi.csv`."""
    labels = data() / "nab" / "labels"
    spans: Sequence[tuple[str, str]] = json.loads((labels / "combined_windows.json").read_text())[name]
    points: Sequence[str] = json.loads((labels / "combined_labels.json").read_text())[name]
    return [
        Window(milliseconds(first), milliseconds(last), milliseconds(point))
        for (first, last), point in zip(spans, points, strict=True)
    ]
