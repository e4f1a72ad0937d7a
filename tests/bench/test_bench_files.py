"""What a read of a shop's files costs at first sight, once they were seen, and without any memory of them.

Seconds of processor time of all threads: other work on the machine does not count. Figures are printed; that reads of files
that were seen cost less than a hundredth of a second, and far less than going through the files, is held.
"""

import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from forewarn.detector import DAY, MINUTE, Detector, Selection
from forewarn.series import SeriesBatch, TimeGrid
from forewarn.simulation.shop import shop
from forewarn.sources.files import FileMetrics

pytestmark = pytest.mark.slow
NOW = 1_795_348_800_000
STEP = 5 * MINUTE
METRICS = (
    ("sum", "requests"), ("sum", "errors"), ("avg", "latency"), ("avg", "cpu"), ("max", "heap"), ("max", "disk"),
    ("avg", "queue"), ("min", "connections_free"),
)  # fmt: skip
DAYS = [TimeGrid(NOW - day * DAY, STEP, DAY // STEP) for day in range(1, 30)]
BUCKETS = [TimeGrid(NOW - DAY + number * STEP, STEP, 1) for number in range(DAY // STEP)]


def detectors(folder: Path) -> list[Detector]:
    def one(number: int, stem: str, function: str, field: str | None = None, of: str | None = None) -> Detector:
        selection = Selection(path=str(folder / f"{stem}-*.ndjson"), query=f"{field}:*" if function in ("max", "min") else None)
        return Detector(f"d{number}", selection, function, field, of, ("service.name",), STEP)

    found = [one(number, "metrics", function, f"metrics.{field}") for number, (function, field) in enumerate(METRICS)]
    return [*found, one(8, "logs", "count"), one(9, "logs", "ratio", None, "log.level: (error OR ERROR OR FATAL)")]


def timed(source: FileMetrics, asked: Sequence[Detector], grids: Sequence[TimeGrid]) -> tuple[list[SeriesBatch], float]:
    """The answers, and seconds for each."""
    began = time.process_time()
    found = [source.read(detector, grid) for detector in asked for grid in grids]
    return found, (time.process_time() - began) / len(found)


def test_what_reads_of_a_shops_files_cost(tmp_path: Path) -> None:
    shop(1, NOW).write_ndjson(tmp_path)
    asked, source, fresh = detectors(tmp_path), FileMetrics(), FileMetrics(room=0)
    files = [path.stat().st_size for path in tmp_path.glob("*.ndjson")]
    passes, without = timed(fresh, asked, DAYS[:1])
    first, sight = timed(source, asked, DAYS[:1])
    _, slices = timed(source, asked, DAYS)
    _, buckets = timed(source, asked, BUCKETS)
    newest = max(tmp_path.glob("metrics-*.ndjson"))
    grown = []
    for number in range(20):
        with newest.open("a") as file:
            file.write(f'{{"@timestamp":{NOW + number * 1000},"service":{{"name":"web"}},"metrics":{{"requests":1.0}}}}\n')
        grown.append(timed(source, asked, BUCKETS[-1:])[1])
    print(f"\n{len(files)} files, {sum(files) / 1e6:.0f} MB, {len(asked)} detectors; ms of processor time a read")
    for name, seconds in (
        ("a pass over the files", without), ("first sight of all files", sight), ("a slice of a day", slices),
        ("a bucket of 5 minutes", buckets), ("a bucket after a file grew", sum(grown) / len(grown)),
    ):  # fmt: skip
        print(f"  {name:<28}{seconds * 1e3:9.2f}   {without / seconds:7.1f} times faster than a pass")
    print(f"  memory held {source.held / 1e6:.0f} MB; first sight for all detectors {sight * len(asked):.1f} s")
    assert all(a.values.tobytes() == b.values.tobytes() and a.keys == b.keys for a, b in zip(first, passes, strict=True))
    assert sight * len(asked) < 6
    assert slices < 0.010
    assert buckets < 0.010
    assert without / max(slices, buckets) > 20
