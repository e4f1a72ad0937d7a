"""`make shops`: the demo over ten seeds of the simulated shop, and what came of it by kind of fault.

Usage: python -m tests.accuracy.shops [SEEDS] [PROCESSES]. Prints a table and writes build/shops.json. The end of time is
fixed, so that a run can be repeated.
"""

import json
import statistics
import subprocess
import sys
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

END = "2026-11-22T12:00:00Z"
OUT = Path("build/shops.json")


def demo(seed: int) -> dict[str, Any]:
    """The report of one shop."""
    command = [str(Path(sys.executable).with_name("forewarn")), "demo", "--once", "--json", "--seed", str(seed), "--end", END]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"seed {seed}: exit {done.returncode}: {done.stderr[-2000:]}")
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def share(of: list[bool]) -> str:
    """A share as text."""
    return f"{sum(of) / len(of):.2f}" if of else "-"


def main(seeds: int, processes: int) -> None:
    """Runs the shops and prints the table."""
    with ThreadPoolExecutor(processes) as pool:
        reports = list(pool.map(demo, range(seeds)))
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(reports), encoding="utf-8")
    faults = [fault for report in reports for fault in report["faults"]]
    by_kind: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for fault in faults:
        by_kind[fault["kind"]].append(fault)
    print(f"{'kind':<18} {'n':>3} {'found':>6} {'cause':>6} {'card':>6} {'delay min':>9} {'splits':>6}")
    for kind, of in [*sorted(by_kind.items()), ("all", faults)]:
        delays = [fault["delay"] / 60 for fault in of if fault["found"]]
        splits = sum(max(0, len(fault["incidents"]) - 1) for fault in of)
        middle = f"{statistics.median(delays):.0f}" if delays else "-"
        columns = (share([fault[name] for fault in of]) for name in ("found", "cause_right", "resolution_right"))
        print(f"{kind:<18} {len(of):>3} " + " ".join(f"{column:>6}" for column in columns) + f" {middle:>9} {splits:>6}")
    unexplained = [len(report["unexplained"]) for report in reports]
    seconds = [report["seconds"] for report in reports]
    first = [report["first_incident_after"] for report in reports if report["first_incident_after"] is not None]
    print(f"unexplained incidents a day: {sum(unexplained) / len(reports):.1f} {unexplained}")
    print(f"seconds: {min(seconds):.0f} to {max(seconds):.0f}; first incident after {min(first):.0f} to {max(first):.0f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10, int(sys.argv[2]) if len(sys.argv) > 2 else 2)
