"""A source of files that has seen them before answers as one that has not, whatever happened to the files in between."""

import gzip
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from forewarn.detector import GOOD_WHEN_FEW, Detector, Selection
from forewarn.errors import SourceError
from forewarn.series import SeriesBatch, TimeGrid
from forewarn.sources.file_buckets import values_in_buckets
from forewarn.sources.file_parts import Part
from forewarn.sources.file_shelf import Shelf
from forewarn.sources.file_statement import aggregate_of
from forewarn.sources.files import FileMetrics

MINUTE = 60_000
START = 1_767_225_600_000  # 2026-01-01T00:00Z
GRIDS = (TimeGrid(START, MINUTE, 6), TimeGrid(START + 2 * MINUTE, MINUTE, 1))
ASKED: tuple[tuple[str, str | None, tuple[str, ...], str | None, str | None], ...] = (
    ("count", None, ("k",), None, None), ("rate", None, (), "v:>=2", None), ("sum", "v", ("k", "host.name"), None, None),
    ("avg", "v", ("k",), None, None), ("min", "v", (), None, None), ("max", "w", ("k",), "NOT k:b", None),
    ("p95", "v", ("k",), None, None), ("median", "v", (), None, None), ("cardinality", "k", (), None, None),
    ("cardinality", "v", ("host.name",), None, None), ("ratio", None, ("k",), None, "v:>1"),
    ("sum", "v", (), "@timestamp:[2026-01-01T00:02:00Z TO *]", None), ("avg", "absent", ("k",), None, None),
)  # fmt: skip


def asked(path: Path | str, chosen: tuple[str, str | None, tuple[str, ...], str | None, str | None]) -> Detector:
    function, field, split_by, query, of = chosen
    return Detector("d", Selection(path=str(path), query=query), function, field, of, split_by, MINUTE)


def answer(source: FileMetrics, detector: Detector, grid: TimeGrid) -> tuple[object, ...]:
    try:
        found: SeriesBatch = source.read(detector, grid)
    except SourceError as error:
        return type(error), str(error)
    return found.keys, found.values.tobytes(), found.grid


numbers = st.one_of(
    st.integers(-3, 9), st.floats(-1e9, 1e9, allow_nan=False), st.sampled_from([-0.0, 0.0, 1e300, "n/a", "", "7"])
)
documents = st.fixed_dictionaries(
    {
        "@timestamp": st.integers(-1, 6).flatmap(
            lambda minute: st.just(START + minute * MINUTE) | st.just(START + minute * MINUTE + 7)
        )
    },
    optional={
        "k": st.sampled_from(["a", "b", "", ["a", "b"], ["b", "b"]]),
        "host": st.just({"name": "h"}) | st.just([{"name": "h"}, {"name": "i"}]),
        "v": numbers | st.lists(numbers, max_size=3),
        "w": st.integers(0, 5),
    },
)
faults = st.sampled_from(["{broken\n", "[1]\n", '{"@timestamp": "soon"}\n', f'{{"@timestamp": {START}, "v": "fast"}}\n', "\n"])
lines = st.one_of(*[documents.map(lambda document: json.dumps(document) + "\n")] * 12, faults)
plain = st.builds(
    "{},{},{},{}\n".format, st.integers(-1, 6).map(lambda minute: START + minute * MINUTE), st.sampled_from(["a", "b", ""]),
    st.integers(-3, 9) | st.floats(-5, 5) | st.just(""), st.just(""),
)  # fmt: skip
rows = st.one_of(
    *[plain] * 12, st.sampled_from(['1767225600,"a\nb",1,\n', "1767225600,a\n", "soon,a,1,\n", f"{START},a,fast,\n"])
)
HEADER = "@timestamp,k,v,host.name\n"


def write(path: Path, content: str, step: int) -> None:
    """Later in time than before by its stamps, which a file system may give only every few milliseconds."""
    path.write_text(content)
    os.utime(path, ns=(0, 10**18 + step * 10**9))


@settings(max_examples=25, deadline=None)
@given(data=st.data(), kind=st.sampled_from(["ndjson", "csv", "ndjson.gz"]), room=st.sampled_from([512 << 20, 20_000]))
def test_after_any_change_of_the_files_the_answers_are_those_of_a_fresh_reader(
    data: st.DataObject, kind: str, room: int
) -> None:
    line, header = (rows, HEADER) if kind == "csv" else (lines, "")
    with TemporaryDirectory() as name:
        folder, source = Path(name), FileMetrics(room)
        contents = {f"a.{kind}": header, f"b.{kind}": header}
        for step in range(data.draw(st.integers(2, 7))):
            file = data.draw(st.sampled_from(sorted(contents)))
            change = data.draw(
                st.sampled_from(["append", "append", "append", "cut off", "rewrite", "rotate", "edit", "nothing"])
            )
            text = "".join(data.draw(st.lists(line, max_size=5)))
            if change == "append":
                text = text[: data.draw(st.integers(0, len(text)))] if data.draw(st.booleans()) else text
                contents[file] += text
            elif change == "cut off":
                contents[file] = contents[file][: data.draw(st.integers(0, len(contents[file])))]
            elif change == "rewrite":
                contents[file] = header + text
            elif change == "rotate":
                (folder / file).unlink(missing_ok=True)
                contents[f"{step}-{file}"], contents[file] = contents[file], header + text
            elif change == "edit":
                contents[file] = contents[file].replace("1,", "2,", 1)
            for each, content in contents.items():
                if kind.endswith(".gz"):
                    (folder / each).write_bytes(gzip.compress(content.encode(), mtime=0))
                elif not (folder / each).exists() or (folder / each).read_text() != content:
                    write(folder / each, content, step)
            for chosen in data.draw(st.lists(st.sampled_from(ASKED), min_size=1, max_size=3)):
                detector = asked(folder / f"*{kind}", chosen)
                if detector.function not in GOOD_WHEN_FEW:
                    detector = replace(detector, min_count=data.draw(st.integers(1, 3)))
                grid = data.draw(st.sampled_from(GRIDS))
                fresh = FileMetrics(room=0)
                assert answer(source, detector, grid) == answer(fresh, detector, grid)
                fresh.close()
        source.close()


def forbidden(*_: object) -> None:
    raise AssertionError("the files were read again")


@pytest.mark.parametrize("ending", ["ndjson", "csv", "ndjson.gz", "csv.gz", "parquet"])
def test_files_that_were_seen_are_not_read_again_for_any_function(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    body = "".join(f"{START + n * 20_000},{'ab'[n % 2]},{n / 7},h{n % 3}\n" for n in range(40))
    documents = [
        {"@timestamp": int(t), "k": k, "v": float(v), "host.name": h} for t, k, v, h in (r.split(",") for r in body.split())
    ]
    text = HEADER + body if "csv" in ending else "".join(json.dumps(document) + "\n" for document in documents)
    path = tmp_path / f"[1].{ending}"
    if ending == "parquet":
        (tmp_path / "rows").write_text(text)
        with duckdb.connect() as connection:
            connection.execute(
                f"COPY (FROM read_json('{tmp_path}/rows', format='newline_delimited')) TO '{path}' (FORMAT parquet)"
            )
    else:
        path.write_bytes(gzip.compress(text.encode()) if ending.endswith("gz") else text.encode())
    source, fresh = FileMetrics(), FileMetrics(room=0)
    wanted = [answer(fresh, asked(path, chosen), grid) for chosen in ASKED for grid in GRIDS]
    monkeypatch.setattr("forewarn.sources.files.values_of", forbidden)
    for _ in range(2):
        assert [answer(source, asked(path, chosen), grid) for chosen in ASKED for grid in GRIDS] == wanted
        monkeypatch.setattr(Part, "text", forbidden)


@pytest.mark.parametrize("ending", ["ndjson", "csv"])
def test_of_a_file_that_grew_only_what_is_new_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    def line(number: int) -> str:
        time = START + number
        return f"{time},a,{number},\n" if ending == "csv" else json.dumps({"@timestamp": time, "k": "a", "v": number}) + "\n"

    path, source, parsed = tmp_path / f"a.{ending}", FileMetrics(), list[int]()
    path.write_text((HEADER if ending == "csv" else "") + "".join(map(line, range(20_000))))
    chosen, text = ("sum", "v", ("k",), None, None), Part.text
    assert source.read(asked(path, chosen), GRIDS[0]).values[0, 0] == sum(range(20_000))

    def counted(part: Part) -> bytes:
        found = text(part)
        parsed.append(len(found))
        return found

    monkeypatch.setattr(Part, "text", counted)
    monkeypatch.setattr("forewarn.sources.files.values_of", forbidden)
    for number in range(20_000, 20_040):
        with path.open("a") as file:
            file.write(line(number)[:-3])
        assert source.read(asked(path, chosen), GRIDS[0]).values[0, 0] >= sum(range(number))
        with path.open("a") as file:
            file.write(line(number)[-3:])
        assert source.read(asked(path, chosen), GRIDS[0]).values[0, 0] == sum(range(number + 1))
    assert parsed
    assert max(parsed) < 4096


def test_a_file_that_is_written_again_at_the_same_size_and_time_is_noticed(tmp_path: Path) -> None:
    path, source = tmp_path / "a.ndjson", FileMetrics()
    for number in range(9):
        path.write_text(json.dumps({"@timestamp": START, "v": number}) + "\n")
        os.utime(path, ns=(10**18, 10**18))
        assert source.read(asked(path, ("sum", "v", (), None, None)), GRIDS[0]).values[0, 0] == number


def test_what_is_kept_stays_within_the_room_it_has(tmp_path: Path) -> None:
    room = 8 << 20
    for day in range(12):
        times = range(START + day * MINUTE, START + (day + 1) * MINUTE, 20)
        (tmp_path / f"{day:02}.ndjson").write_text("".join(f'{{"@timestamp": {time}, "v": {time % 977}}}\n' for time in times))
    source, fresh = FileMetrics(room), FileMetrics(room=0)
    for function in ("sum", "max", "count"):
        detector = asked(tmp_path / "*.ndjson", (function, None if function == "count" else "v", (), None, None))
        for minute in (11, 0, 5, 11):
            grid = TimeGrid(START + minute * MINUTE, MINUTE, 1)
            assert answer(source, detector, grid) == answer(fresh, detector, grid)
            assert source.held <= room


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(1, 60), buckets=st.integers(1, 5), entities=st.integers(1, 3), seed=st.integers(0, 2**32 - 1),
    chosen=st.sampled_from([(name, "v") for name in ("sum", "avg", "min", "max", "median", "p99.9", "p10", "cardinality")]
                           + [(name, None) for name in ("count", "rate", "ratio")]),
    fewest=st.sampled_from([1, 2, 9]),
)  # fmt: skip
@example(count=1500, buckets=5, entities=1, seed=1, chosen=("sum", "v"), fewest=1)
@example(count=1900, buckets=5, entities=1, seed=2, chosen=("avg", "v"), fewest=1)
def test_buckets_have_the_same_values_in_memory_as_in_a_statement_to_the_last_bit(
    count: int, buckets: int, entities: int, seed: int, chosen: tuple[str, str | None], fewest: int
) -> None:
    rng = np.random.default_rng(seed)
    detector = Detector("d", Selection(path="x"), *chosen, "x:1" if chosen[0] == "ratio" else None, (), 7 * MINUTE)
    detector = detector if detector.function in GOOD_WHEN_FEW else replace(detector, min_count=fewest)
    grid = TimeGrid(0, 7 * MINUTE, buckets)
    columns = {"entity": rng.integers(0, entities, count).astype(np.int32), "bucket": rng.integers(0, buckets, count)}
    if chosen[0] == "cardinality":
        columns["v"] = rng.integers(-1, 5, count).astype(np.int32)
    elif chosen[1] is not None:
        numbers = rng.normal(size=count) * 10.0 ** rng.integers(-8, 9, count)
        columns["n"] = np.where(rng.random(count) < 0.1, np.nan, np.where(rng.random(count) < 0.1, -0.0, numbers))
    elif chosen[0] == "ratio":
        columns["hit"] = rng.random(count) < 0.4
    statement = aggregate_of(detector, grid, "inside")
    with duckdb.connect() as connection:
        connection.register("inside", columns)
        stated = {(entity, bucket): value for entity, bucket, value in connection.execute(statement.sql).fetchall()}
    found = values_in_buckets(detector, grid, columns)
    assert found is not None
    here = {(int(e), int(b)): float(value) for e, b, value in zip(*found, strict=True)}
    wanted = {key: np.nan if value is None else float(value) for key, value in stated.items()}
    assert here.keys() == wanted.keys()
    assert [np.float64(here[key]).tobytes() for key in sorted(here)] == [
        np.float64(wanted[key]).tobytes() for key in sorted(here)
    ]


def test_sums_of_very_many_values_are_left_to_the_statement_and_agree_with_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    text = "".join(f'{{"@timestamp": {START + n}, "v": {value!r}}}\n' for n, value in enumerate(rng.normal(size=5000).tolist()))
    (tmp_path / "a.ndjson").write_text(text)
    for function in ("sum", "avg", "p95"):
        detector = asked(tmp_path / "a.ndjson", (function, "v", (), None, None))
        assert answer(FileMetrics(), detector, GRIDS[0]) == answer(FileMetrics(room=0), detector, GRIDS[0])


def test_a_shelf_lets_go_of_what_was_used_longest_ago_but_keeps_the_newest() -> None:
    gone: list[str] = []
    put: Callable[[str, int], None]
    shelf = Shelf[str, str](10, gone.append)
    put = lambda name, size: shelf.put(name, name, size)  # noqa: E731  three words, used four times
    put("a", 4)
    put("b", 4)
    assert shelf.get("a") == "a"
    put("c", 4)
    assert (gone, shelf.used) == (["b"], 8)
    put("d", 99)
    assert (gone, shelf.keys(), shelf.used) == (["b", "a", "c"], ["d"], 99)
