"""Files as people have them: times in all forms, dotted names, files that grow, files that are broken."""

import gzip
import json
from pathlib import Path

import duckdb
import numpy as np
import pytest

from forewarn.detector import Detector, Selection
from forewarn.errors import SourceRejected, SourceUnavailable
from forewarn.series import TimeGrid
from forewarn.sources.file_tables import Table
from forewarn.sources.files import FileMetrics

START = 1_767_225_600_000  # 2026-01-01T00:00Z
GRID = TimeGrid(START, 60_000, 3)


def asked(
    path: Path | str,
    function: str = "count",
    field: str | None = None,
    split_by: tuple[str, ...] = (),
    query: str | None = None,
) -> Detector:
    return Detector("d", Selection(path=str(path), query=query), function, field, None, split_by, 60_000)


def line(minute: float, **rest: object) -> str:
    return json.dumps({"@timestamp": START + int(minute * 60_000), **rest}) + "\n"


@pytest.mark.parametrize(
    "time",
    [
        "2026-01-01T00:01:30Z", "2026-01-01T00:01:30.123456Z", "2026-01-01T00:01:30", "2026-01-01 00:01:30",
        "2026-01-01T01:01:30+01:00",
        "2025-12-31T19:01:30-0500", 1767225690, 1767225690.5, 1767225690123, "1767225690", "1767225690123", 1767225690123456,
        1767225690123456789, "2026-01-01T00:01Z", 1767225660.0, 1767225719.999,
    ],
)  # fmt: skip
@pytest.mark.parametrize("ending", ["ndjson", "csv"])
def test_a_time_is_understood_in_every_usual_form(tmp_path: Path, time: object, ending: str) -> None:
    text = json.dumps({"@timestamp": time}) + "\n" if ending == "ndjson" else f"@timestamp,x\n{time},1\n"
    (tmp_path / f"a.{ending}").write_text(text)
    assert np.nan_to_num(FileMetrics().read(asked(tmp_path / f"a.{ending}"), GRID).values).tolist() == [[0, 1, 0]]


def test_parquet_times_are_read_in_their_own_type(tmp_path: Path) -> None:
    for number, time in enumerate(
        [
            "TIMESTAMP '2026-01-01 00:01:30'",
            "TIMESTAMPTZ '2026-01-01 01:01:30+01'",
            "TIMESTAMP_NS '2026-01-01 00:01:30'",
            "1767225690123",
            "1767225690.0",
        ]
    ):
        path = tmp_path / f"{number}.parquet"
        with duckdb.connect() as connection:
            connection.execute(f"COPY (SELECT {time} AS \"@timestamp\", 2.5::FLOAT AS v, {{'b': 7}} AS a) TO '{path}'")
        assert FileMetrics().read(asked(path, "avg", "v"), GRID).values[0, 1] == 2.5
        assert FileMetrics().read(asked(path, "max", "a.b"), GRID).values[0, 1] == 7


def test_a_dotted_name_is_found_nested_flat_half_nested_and_inside_lists_of_objects(tmp_path: Path) -> None:
    forms: list[dict[str, object]] = [
        {"a": {"b": {"c": 1}}}, {"a.b.c": 1}, {"a.b": {"c": 1}}, {"a": {"b.c": 1}},
        {"a": [{"b": {"c": 1}}]}, {"a": {"b": [{"c": 1}]}},
    ]  # fmt: skip
    (tmp_path / "a.ndjson").write_text("".join(line(1, **form) for form in forms) + line(1, a={"b": 3}))
    source = FileMetrics()
    assert source.read(asked(tmp_path / "a.ndjson", "sum", "a.b.c"), GRID).values[0, 1] == len(forms)
    assert [k.entity for k in source.read(asked(tmp_path / "a.ndjson", split_by=("a.b.c",)), GRID).keys] == [
        (("a.b.c", ""),),
        (("a.b.c", "1"),),
    ]


def test_text_that_looks_like_a_list_is_text(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_text(
        line(0, s="[1,2]") + line(0, s='{"x"') + line(0, s=["p", "q"]) + line(0, s={"o": 1}) + line(0, s="[broken")
    )
    keys = FileMetrics().read(asked(tmp_path / "a.ndjson", split_by=("s",)), GRID).keys
    assert [key.entity[0][1] for key in keys] == ["", "[1,2]", "[broken", "p", "q", '{"x"']


def test_a_last_line_that_is_still_being_written_is_left_for_the_next_read(tmp_path: Path) -> None:
    path, source = tmp_path / "a.ndjson", FileMetrics()
    whole = line(0, v=1) + line(1, v=2) + line(2, v=30)
    for cut in range(len(whole) + 1):
        path.write_text(whole[:cut])
        found = source.read(asked(path, "sum", "v"), GRID).values
        lines = whole[:cut].count("\n") + (whole[:cut].endswith("}"))
        assert np.nan_to_num(found).sum() == sum((1, 2, 30)[:lines])


def test_a_last_row_that_is_still_being_written_is_no_error(tmp_path: Path) -> None:
    path, source = tmp_path / "a.csv", FileMetrics()
    whole = '@timestamp,name,v\n2026-01-01T00:00:00Z,a,1\n2026-01-01T00:01:00Z,"b,c",2\n'
    for cut in range(len(whole) + 1):
        path.write_text(whole[:cut])
        found = source.read(asked(path, "sum", "v"), GRID).values
        assert np.nan_to_num(found)[:, :1].sum() == (1 if cut >= whole.index(",1\n") + 2 else 0)


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("a.ndjson", line(0) + "{broken}\n" + line(1), "line 2"),
        ("a.ndjson", line(0) + "[1, 2]\n", "line 2"),
        ("a.ndjson", line(0) + "\n" + '{"v": 1\n' + '{"v', "line 3"),
        ("a.ndjson", '{"@timestamp": "yesterday"}\n', "yesterday"),
        ("a.ndjson", line(0, v="fast"), "fast"),
        ("a.csv", "@timestamp,v\n1767225600\n1767225600,2\n", "line 2"),
        ("a.csv", "@timestamp,v\n1767225600,1,7\n", "line 2"),
        ("a.csv", "@timestamp,v\nsoon,1\n", "soon"),
        ("a.csv", "@timestamp,v\n1767225600,high\n1767225600,1\n", "high"),
        ("a.parquet", "PAR1 nonsense", "parquet"),
        ("a.txt", "x", "format"),
    ],
)
def test_a_corrupt_file_is_rejected_by_name_and_line(tmp_path: Path, name: str, content: str, named: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    source = FileMetrics()
    with pytest.raises(SourceRejected, match=named) as raised:
        source.read(asked(path, "avg", "v"), GRID)
    assert str(path) in str(raised.value)
    problems = source.check(asked(path, "avg", "v"))
    assert problems
    assert any(named in problem.why for problem in problems)


def test_only_the_documents_that_count_need_a_number(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_text(
        line(0, v=1) + line(0, v="fast", k="x") + line(99, v="slow") + line(1, v="NaN") + line(1, v="n/a")
    )
    found = FileMetrics().read(asked(tmp_path / "a.ndjson", "avg", "v", query="NOT k:x"), GRID)
    np.testing.assert_array_equal(found.values, [[1, np.nan, np.nan]])


def test_values_beyond_numbers_are_no_data(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("@timestamp,v\n1767225600,inf\n1767225600,NaN\n1767225600,\n1767225600,4\n1767225660,-\n")
    np.testing.assert_array_equal(FileMetrics().read(asked(tmp_path / "a.csv", "max", "v"), GRID).values, [[4, np.nan, np.nan]])


def test_csv_files_may_differ_in_columns_order_and_delimiter(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("@timestamp,name,v\n1767225600,x,1\n")
    (tmp_path / "b.csv").write_text("v;@timestamp\r\n2;1767225600\r\n")
    (tmp_path / "c.tsv").write_text("@timestamp\tv\tname\n1767225600\t3\ty\n")
    (tmp_path / "d.csv").write_bytes(b'\xef\xbb\xbf"@timestamp",name,v\n1767225600,"x, ""y""\nz",4\n')
    (tmp_path / "e.csv").write_text("")
    found = FileMetrics().read(asked(tmp_path / "*.[ct]sv", "sum", "v", ("name",)), GRID)
    assert {key.entity[0][1]: value for key, value in zip(found.keys, found.values[:, 0], strict=True)} == {
        "": 2, "x": 1, "y": 3, 'x, "y"\nz': 4,
    }  # fmt: skip


def test_compressed_files_are_read(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "a.ndjson.gz", "wt") as file:
        file.write(line(0) + line(1))
    with gzip.open(tmp_path / "b.csv.gz", "wt") as file:
        file.write("@timestamp\n1767225600\n1767225660\n")
    assert FileMetrics().read(asked(tmp_path / "*.gz"), GRID).values[0, :2].tolist() == [2, 2]


def test_names_of_files_are_names_and_not_patterns_once_they_are_found(tmp_path: Path) -> None:
    for name in ("a[1].ndjson", "a1.ndjson", "a*.ndjson"):
        (tmp_path / name).write_text(line(0))
    source = FileMetrics()
    assert source.read(asked(tmp_path / "a[1].ndjson"), GRID).values[0, 0] == 1
    assert source.read(asked(tmp_path / "a?.ndjson"), GRID).values[0, 0] == 2
    assert source.read(asked(tmp_path / "a*.ndjson"), GRID).values[0, 0] == 1


def test_a_folder_or_a_file_without_permission_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SourceRejected, match="folder"):
        FileMetrics().read(asked(tmp_path), GRID)
    (tmp_path / "a.ndjson").write_text(line(0))
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(SourceRejected, match="permission"):
        FileMetrics().read(asked(tmp_path / "a.ndjson"), GRID)
    assert [problem.setting for problem in FileMetrics().check(asked(tmp_path / "a.ndjson"))] == ["path"]


def test_a_file_that_goes_away_while_it_is_read_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forewarn.sources.files.files_of", lambda path: (path,))
    for ending in ("parquet", "ndjson", "csv"):
        with pytest.raises(SourceUnavailable, match="gone"):
            FileMetrics().read(asked(tmp_path / f"rotated.{ending}"), GRID)
    gone = Table("parquet", (str(tmp_path / "rotated.parquet"),))
    monkeypatch.setattr("forewarn.sources.files.tables_of", lambda _: [gone])
    with pytest.raises(SourceUnavailable):
        FileMetrics().read(asked(tmp_path / "rotated.parquet"), GRID)


def test_what_is_appended_between_reads_is_read(tmp_path: Path) -> None:
    path, source = tmp_path / "a.ndjson", FileMetrics()
    for count in range(1, 30):
        with path.open("a") as file:
            file.write(line(1))
        assert source.read(asked(path), GRID).values[0, 1] == count
    source.close()
