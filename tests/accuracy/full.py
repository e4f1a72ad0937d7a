"""All of the accuracy data through `forewarn backtest`, and the table of `score.py`: `make accuracy`.

    python -m tests.accuracy.full [--engine auto] [--fit-every 1d] [--only kpi17 | nab] [--processes N] [--resume]

Fits once a day, as the reference figures do, unless told otherwise. The scores go to build/scores, with another engine or
`--fit-every` to build/scores-<what>; the report, with version, engine and seconds, to build/accuracy.txt (likewise) and
build/scores.json. ACCURACY_ENGINE and ACCURACY_FIT_EVERY set them for make.
"""

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from tests.accuracy.corpus import BUILD, ROOT, DataMissing, data, evaluate
from tests.processes import COMMAND, ENVIRONMENT

SETS = {"kpi17": "kpi17", "nab": "nab/data"}
ENGINES = ("auto", "batch", "stan", "seasonal_median", "rolling_median")
DAILY = "1d"


def main() -> None:
    """Backtests, scores, prints, and keeps what it printed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--engine", choices=ENGINES, default=os.environ.get("ACCURACY_ENGINE") or "auto")
    parser.add_argument("--fit-every", default=os.environ.get("ACCURACY_FIT_EVERY") or DAILY)
    parser.add_argument("--only", choices=sorted(SETS), help="one of the two sets")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--resume", action="store_true", help="keep scores that are there already")
    asked = parser.parse_args()
    try:
        source = data()
    except DataMissing as missing:
        sys.exit(str(missing))
    other = [part for part, usual in ((asked.engine, "auto"), (asked.fit_every, DAILY)) if part != usual]
    scores = BUILD / "-".join(["scores", *other])
    if not asked.resume:
        shutil.rmtree(scores, ignore_errors=True)  # scores of an older version must not be taken for ours
    lines = [heading(asked.engine, asked.fit_every, asked.processes)]
    for name in [asked.only] if asked.only else SETS:
        options = ("--engine", asked.engine, "--fit-every", asked.fit_every, "--processes", str(asked.processes))
        lines.append(backtest(name, source / SETS[name], scores / SETS[name], options))
        print(lines[-1], flush=True)
    try:
        table, _ = evaluate(scores, *(("--set", asked.only) if asked.only else ()), "--per-series")
    except DataMissing as missing:
        sys.exit(str(missing))
    report = "\n".join([*lines, "", table])
    (BUILD / ("-".join(["accuracy", *other]) + ".txt")).write_text(report)
    print(f"\n{report}")


def heading(engine: str, fit_every: str, processes: int) -> str:
    """What was run: version, commit, configuration, machine."""
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False)
    return (
        f"forewarn {version('forewarn')} ({commit.stdout.strip() or 'no commit'}), engine {engine}, fitted every {fit_every}, "
        f"defaults otherwise; Python {platform.python_version()}, {processes} processes on {os.cpu_count()} cores"
    )


def backtest(name: str, source: Path, target: Path, options: Sequence[str]) -> str:
    """Scores one set with the command line, and says in a line how long that took."""
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [COMMAND, "backtest", source, "--out", target, *options, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, env={**os.environ, **ENVIRONMENT})
    if done.returncode:
        sys.exit(f"forewarn backtest ended with {done.returncode}: {done.stdout}")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    told = json.loads(done.stdout)
    return (
        f"{name}: {told['series']} series, {told['rows']:,} rows, {told['alarm rows']:,} alarm rows; "
        f"{time.monotonic() - began:.0f} s, {processor:.0f} s of processor time"
    )


if __name__ == "__main__":
    main()
