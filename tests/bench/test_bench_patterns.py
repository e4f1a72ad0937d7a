"""How fast lines become pattern counts; printed for the notes (`pytest -s`), held to a floor that a busy machine keeps."""

import json
import random
import time
from pathlib import Path

import pytest

from forewarn.detector import Selection
from forewarn.pattern import LogLine, LogPage, LogStream
from forewarn.patterns.miner import PatternMiner
from forewarn.series import TimeGrid
from forewarn.sources.file_logs import FileLogs

LINES = 200_000
STREAM = LogStream("app", Selection(path="x"), split_by=("service.name",), level="log.level")
START = 1_767_225_600_000
GRID = TimeGrid(START, 300_000, 1 + LINES * 10 // 300_000)
WORDINGS = (
    "GET /api/v1/users/{} 200 {}ms", "user {} logged in from 10.{}.3.{}", "Order {} placed total={} EUR",
    "cache miss for key item:{}", "connection to db-{}.internal:5432 timed out after {} ms", "Retry {} of 5 for job {}",
    "[2026-11-22T17:59:{}] [worker-{}] finished batch {} in {} ms", "checkout finished in {}ms for cart {}",
    "Received block blk_{} of size {} src: /10.250.{}.{}", "session 0x{} closed, {} bytes sent",
)  # fmt: skip
FLOOR = 100_000
"""Lines a second of processor time."""


def messages() -> list[str]:
    rng = random.Random(1)  # noqa: S311  made-up data
    return [rng.choice(WORDINGS).format(*(rng.randrange(100_000) for _ in range(4))) for _ in range(LINES)]


def measured(pages: list[LogPage]) -> float:
    best = 0.0
    for _ in range(3):
        start = time.process_time()
        PatternMiner().mine(STREAM, "app", pages, GRID)
        best = max(best, LINES / (time.process_time() - start))
    return best


@pytest.mark.parametrize("kind", ["plain", "json", "logfmt"])
def test_mining_keeps_its_floor(kind: str) -> None:
    texts = messages()
    if kind == "json":
        texts = [json.dumps({"level": "info", "msg": text, "seq": number}) for number, text in enumerate(texts)]
    if kind == "logfmt":
        texts = [f'level=info seq={number} user=jo{number % 7} msg="{text}"' for number, text in enumerate(texts)]
    lines = [LogLine(START + number * 10, (f"svc{number % 12}",), "INFO", text) for number, text in enumerate(texts)]
    speed = measured([LogPage(tuple(lines[low : low + 5000]), None) for low in range(0, LINES, 5000)])
    print(f"\nmining {kind}: {speed:,.0f} lines/s")
    assert speed > (FLOOR if kind == "plain" else FLOOR / 5)


def test_reading_files_keeps_up(tmp_path: Path) -> None:
    with (tmp_path / "app.ndjson").open("w") as file:
        for number, text in enumerate(messages()):
            document = {
                "@timestamp": START + number * 10,
                "service": {"name": f"svc{number % 12}"},
                "log": {"level": "INFO"},
                "message": text,
            }
            file.write(json.dumps(document) + "\n")
    stream = LogStream("app", Selection(path=str(tmp_path / "*.ndjson")), split_by=("service.name",), level="log.level")
    source = FileLogs()
    start = time.process_time()
    total = sum(len(page.lines) for page in source.read(stream, START, GRID.end))
    whole = LINES / (time.process_time() - start)
    start = time.process_time()
    slices = GRID.times().tolist()[:5]
    found = sum(len(page.lines) for at in slices for page in source.read(stream, at, at + GRID.step))
    each = (time.process_time() - start) / len(slices)
    print(f"\nreading a file: {whole:,.0f} lines/s at first, then {each * 1000:.0f} ms for 30,000 lines of a slice")
    assert (total, found > 100_000) == (LINES, True)
    assert whole > FLOOR / 5
