"""Log files as people have them: plain text, stack traces, mixed with JSON, growing, rotated, damaged."""

import gzip
import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from forewarn.detector import Selection
from forewarn.errors import SourceRejected
from forewarn.pattern import LogLine, LogStream
from forewarn.sources.file_log_index import BLOCK
from forewarn.sources.file_logs import FileLogs
from forewarn.sources.line_times import time_of_text

START = 1_767_225_600_000  # 2026-01-01T00:00Z
DAY = 86_400_000


def lines_in(
    path: Path | str, source: FileLogs | None = None, start: int = START, end: int = START + DAY, **more: str
) -> list[LogLine]:
    stream = LogStream(
        "app", Selection(path=str(path), query=more.get("query")), split_by=("log.file.path",), level="log.level"
    )
    return [line for page in (source or FileLogs()).read(stream, start, end) for line in page.lines]


def said(path: Path | str, source: FileLogs | None = None) -> list[tuple[int, str]]:
    return [(line.time - START, line.message) for line in lines_in(path, source)]


WRITTEN = START + 40 * DAY


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("2026-01-02T03:04:05.678Z x", "2026-01-02T03:04:05.678"),
        ("2026-01-02T03:04:05.678901+02:00 x", "2026-01-02T01:04:05.678"),
        ("[2026-01-02T03:04:05,678][INFO ][o.e.n.Node] started", "2026-01-02T03:04:05.678"),
        ("2026-01-02 03:04:05 status installed libc6", "2026-01-02T03:04:05"),
        ("2026-01-02 03:04:05,1 -0530 x", "2026-01-02T08:34:05.1"),
        ("2026/01/02 03:04:05 [error] 7#7: x", "2026-01-02T03:04:05"),
        ("WARN 2026-01-02 03:04:05 x", "2026-01-02T03:04:05"),
        ("[WARN] 2026-01-02 03:04:05 x", "2026-01-02T03:04:05"),
        ("Start-Date: 2026-01-02  03:04:05", "2026-01-02T03:04:05"),
        ("time=2026-01-02T03:04:05Z level=info", "2026-01-02T03:04:05"),
        ('time="2026-01-02T03:04:05Z" level=info', "2026-01-02T03:04:05"),
        ("Jan  2 03:04:05 host sshd[1]: x", "2026-01-02T03:04:05"),
        ("<14>Jan  2 03:04:05 host sshd[1]: x", "2026-01-02T03:04:05"),
        ("Dec 31 03:04:05 host sshd[1]: x", "2025-12-31T03:04:05"),
        ("[Fri Jan 02 03:04:05.678901 2026] [core:error] x", "2026-01-02T03:04:05.678"),
        ('10.0.0.1 - jo [02/Jan/2026:03:04:05 +0100] "GET / HTTP/1.1" 200', "2026-01-02T02:04:05"),
        ("1767323045 x", "2026-01-02T03:04:05"),
        ("1767323045.678 x", "2026-01-02T03:04:05.678"),
        ("1767323045678 x", "2026-01-02T03:04:05.678"),
        ("\tat a.B.c(B.java:1)", None),
        ("java.io.IOException: no", None),
        ("2026-13-45 03:04:05 x", None),
        ("17673230 items", None),
        ("", None),
    ],
)
def test_times_are_read_as_people_write_them(line: str, expected: str | None) -> None:
    found = time_of_text(line, WRITTEN)
    wanted = expected and int(datetime.fromisoformat(expected).replace(tzinfo=UTC).timestamp() * 1000)
    assert found == wanted


def test_text_goes_on_over_lines_without_a_time(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text(
        "2026-01-01 00:00:01 INFO up\n"
        "2026-01-01 00:00:02 ERROR failed\njava.lang.IllegalStateException: no\n\tat a.B.c(B.java:1)\n\n"
        "Caused by: java.io.IOException: gone\n\t... 3 more\n"
        "2026-01-01 00:00:03 [warn] again\r\n"
    )
    trace = "\njava.lang.IllegalStateException: no\n\tat a.B.c(B.java:1)\nCaused by: java.io.IOException: gone\n\t... 3 more"
    assert said(log) == [
        (1000, "2026-01-01 00:00:01 INFO up"),
        (2000, "2026-01-01 00:00:02 ERROR failed" + trace),
        (3000, "2026-01-01 00:00:03 [warn] again"),
    ]
    assert [line.level for line in lines_in(log)] == ["INFO", "ERROR", "warn"]
    assert {line.entity for line in lines_in(log)} == {(str(log),)}


def test_a_file_may_hold_json_and_text_in_any_order(tmp_path: Path) -> None:
    log = tmp_path / "app.ndjson"
    log.write_text(
        "Listening on port 80\n"
        + json.dumps({"@timestamp": "2026-01-01T00:00:01Z", "message": "one"})
        + "\npanic: no\n\tmain.go:7\n{broken json\n"
        + json.dumps({"@timestamp": START + 3000, "message": "two"})
        + "\n"
        + json.dumps({"message": "no time"})
        + "\n[1, 2]\n"
    )
    assert sorted(said(log)) == [
        (1000, "Listening on port 80"),
        (1000, "one"),
        (1000, "panic: no\n\tmain.go:7"),
        (1000, "{broken json"),
        (3000, "[1, 2]"),
        (3000, "two"),
    ]


def test_bytes_that_are_no_utf8_are_replaced_and_lone_surrogates_survive(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_bytes(
        b"2026-01-01 00:00:01 caf\xe9\n"
        b'{"@timestamp": "2026-01-01T00:00:02Z", "message": "caf\xe9"}\n'
        b'{"@timestamp": "2026-01-01T00:00:03Z", "message": "a\\ud800b"}\n'
        b"2026-01-01 00:00:04 \x00\x01\n"
    )
    assert [text for _, text in said(log)] == ["2026-01-01 00:00:01 caf�", "caf�", "a\ud800b", "2026-01-01 00:00:04 \x00\x01"]


def test_a_deeply_nested_line_and_one_of_ten_megabytes_are_survived(tmp_path: Path) -> None:
    log = tmp_path / "app.ndjson"
    good = json.dumps({"@timestamp": "2026-01-01T00:00:01Z", "message": "good"}).encode()
    log.write_bytes(good + b"\n" + b'{"a":' * 100_000 + b"\n" + b"x" * 10_000_000 + b"\n" + good + b"\n")
    texts = [text for _, text in said(log)]
    assert texts.count("good") == 2
    assert max(map(len, texts)) == 2000


def write(log: Path, numbers: range, mode: str = "a") -> None:
    with log.open(mode) as file:
        for number in numbers:
            stamp = datetime.fromtimestamp((START + number * 1000) / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
            file.write(f"{stamp} INFO line {number} {'x' * 200}\n")


def seconds(path: Path | str, source: FileLogs, start: int = 0, end: int = 86_400) -> list[int]:
    return [(line.time - START) // 1000 for line in lines_in(path, source, START + start * 1000, START + end * 1000)]


def test_short_reads_of_a_long_file_are_the_long_read(tmp_path: Path) -> None:
    log, source = tmp_path / "app.log", FileLogs()
    write(log, range(6000))
    assert log.stat().st_size > 4 * BLOCK
    assert seconds(log, source) == list(range(6000))
    parts = [seconds(log, source, start, start + 300) for start in range(0, 6300, 300)]
    assert [number for part in parts for number in part] == list(range(6000))


def test_a_file_may_grow_be_rewritten_and_rotated(tmp_path: Path) -> None:
    log, source = tmp_path / "app.log", FileLogs()
    write(log, range(3000))
    assert len(seconds(log, source)) == 3000
    for first in range(3000, 6000, 500):
        write(log, range(first, first + 500))
        assert seconds(log, source, first, first + 500) == list(range(first, first + 500))
    assert seconds(log, source) == list(range(6000))
    log.rename(tmp_path / "app.log.1")
    write(log, range(6000, 6010))
    assert seconds(tmp_path / "app.log*", source) == list(range(6010))
    write(log, range(100, 110), "w")
    os.utime(log, (START / 1000, START / 1000))
    assert seconds(log, source) == list(range(100, 110))
    log.write_text(log.read_text().replace("line", "LINE"))
    assert all("LINE" in line.message for line in lines_in(log, source))


def test_a_line_that_is_being_written_is_read_when_it_is_whole(tmp_path: Path) -> None:
    log, source = tmp_path / "app.ndjson", FileLogs()
    whole = json.dumps({"@timestamp": "2026-01-01T00:00:01Z", "message": "whole"}) + "\n"
    log.write_text(whole + whole[:30])
    assert [text for _, text in said(log, source)] == ["whole"]
    log.write_text(whole + whole.replace("whole", "later").rstrip())
    assert [text for _, text in said(log, source)] == ["later", "whole"]


def test_lines_out_of_order_come_in_order(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    numbers = list(range(0, 6000, 2)) + list(range(1, 6000, 2))
    for number in numbers:
        write(log, range(number, number + 1)) if number < 4 else None
    write(log, range(4, 3000))
    write(log, range(10))
    found = seconds(log, FileLogs())
    assert found == sorted(found)
    assert len(found) == 4 + 2996 + 10


def test_compressed_files_are_read_beside_others(tmp_path: Path) -> None:
    write(tmp_path / "app.log.1", range(10))
    (tmp_path / "app.log.1.gz").write_bytes(gzip.compress((tmp_path / "app.log.1").read_bytes()))
    (tmp_path / "app.log.1").unlink()
    write(tmp_path / "app.log", range(10, 20))
    assert seconds(tmp_path / "app.log*", FileLogs()) == list(range(20))


def test_queries_see_the_fields_of_text_lines(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text("2026-01-01 00:00:01 INFO up\n2026-01-01 00:00:02 ERROR down\n")
    assert [line.message[-4:] for line in lines_in(log, query="log.level: ERROR")] == ["down"]
    with pytest.raises(SourceRejected, match="query"):
        lines_in(log, query="log.level: (")


def test_a_file_without_any_time_is_a_problem(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text("no\ntime\nhere\n")
    stream = LogStream("app", Selection(path=str(log)))
    assert [problem.setting for problem in FileLogs().check(stream)] == ["time_field"]
    assert list(FileLogs().read(stream, 0, START * 2)) == []
