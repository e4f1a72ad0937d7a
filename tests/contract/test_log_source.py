"""Every adapter of `LogSource` gives what its docstring says for the same lines in a real Elasticsearch and in files."""

import random
from pathlib import Path

import pytest
from elasticsearch import Elasticsearch
from tests.contract.log_source_places import Document, ElasticsearchPlace, FilePlace, LogPlace, expected, lines_of

from forewarn.detector import Selection
from forewarn.errors import SourceRejected
from forewarn.pattern import LogStream

START = 1_767_225_600_000  # 2026-01-01T00:00Z
END = START + 3_600_000
TRACE = "Request failed\njava.lang.IllegalStateException: no\n\tat a.B.c(B.java:1)\nCaused by: java.io.IOException: gone"


@pytest.fixture(params=["elasticsearch", "files", "compressed files"])
def place(request: pytest.FixtureRequest, es_client: Elasticsearch, es_prefix: str, tmp_path: Path) -> LogPlace:
    if request.param == "elasticsearch":
        return ElasticsearchPlace(es_client, es_prefix)
    return FilePlace(tmp_path, compressed=request.param == "compressed files")


def documents() -> list[Document]:
    rng = random.Random(4)  # noqa: S311  made-up data
    made: list[Document] = []
    for number in range(300):
        document: dict[str, object] = {"@timestamp": START + rng.randrange(-60_000, 3_660_000) // 7_000 * 7_000}
        document["message"] = f"line {number} of {rng.choice(['über', '東京', 'naïve 🙂', TRACE])}"
        document["service.name"] = rng.choice(["web", "db"])
        document["host.name"] = f"h{rng.randrange(3)}"
        document["log.level"] = rng.choice(["INFO", "error"])
        for field in ("message", "service.name", "log.level"):
            if rng.random() < 0.1:
                del document[field]
        made.append(document)
    return made


def stream_of(selection: Selection) -> LogStream:
    return LogStream("app", selection, split_by=("service.name", "host.name"), level="log.level")


def test_the_lines_of_a_range_come_in_order_and_whole(place: LogPlace) -> None:
    made = documents()
    stream = stream_of(place.put("a", made))
    pages = list(place.source(page=20).read(stream, START, END))
    assert lines_of(pages) == expected(made, stream, START, END)
    assert len(pages) > 5
    assert all(page.lines for page in pages)


def test_a_read_goes_on_after_any_page(place: LogPlace) -> None:
    made = documents()
    stream = stream_of(place.put("a", made))
    whole = list(place.source(page=20).read(stream, START, END))
    for number, page in enumerate(whole, start=1):
        rest = place.source(page=13).read(stream, START, END, page.cursor)
        assert lines_of(rest) == lines_of(whole[number:])


def test_halves_of_a_range_are_the_range(place: LogPlace) -> None:
    made = documents()
    stream = stream_of(place.put("a", made))
    source = place.source()
    middle = made[0]["@timestamp"]
    halves = lines_of(source.read(stream, START, middle)) + lines_of(source.read(stream, middle, END))
    assert halves == lines_of(source.read(stream, START, END))


def test_lines_of_one_millisecond_stay_together_in_an_order_that_repeats(place: LogPlace) -> None:
    made = [{"@timestamp": START + number // 60, "message": f"m{number * 37 % 101}"} for number in range(130)]
    stream = stream_of(place.put("a", made))
    pages = list(place.source(page=7).read(stream, START, END))
    assert [len(page.lines) for page in pages] == [60, 60, 10]
    assert lines_of(pages) == lines_of(place.source(page=50).read(stream, START, END)) == expected(made, stream, START, END)


def test_what_a_line_lacks_is_empty_and_values_are_text(place: LogPlace) -> None:
    made = [{"@timestamp": START}, {"@timestamp": START + 1, "message": "x", "code": 500, "ok": True, "host.name": ["a", "b"]}]
    stream = LogStream("app", place.put("a", made), split_by=("code", "ok", "host.name"), level="log.level")
    first, second = lines_of(place.source().read(stream, START, END))
    assert (first.entity, first.level, first.message) == (("", "", ""), "", "")
    assert (second.entity, second.message) == (("500", "true", "a"), "x")


def test_a_long_message_is_cut_and_a_line_of_a_megabyte_is_survived(place: LogPlace) -> None:
    texts = ["é" * 3000, "y" * 2000, "z" * 1_000_000]
    made = [{"@timestamp": START + number, "message": text} for number, text in enumerate(texts)]
    stream = stream_of(place.put("a", made))
    assert [line.message for line in lines_of(place.source().read(stream, START, END))] == [text[:2000] for text in texts]


def test_only_lines_that_match_the_query_are_read(place: LogPlace) -> None:
    made = documents()
    place.put("a", made)
    stream = stream_of(place.selection("a", "service.name: web AND NOT log.level: error"))
    wanted = [one for one in made if one.get("service.name") == "web" and one.get("log.level") != "error"]
    assert lines_of(place.source().read(stream, START, END)) == expected(wanted, stream, START, END)


def test_several_places_are_read_as_one(place: LogPlace) -> None:
    made = documents()
    place.put("one", made[:100])
    place.put("two", made[100:])
    stream = stream_of(place.selection("*"))
    assert lines_of(place.source(page=30).read(stream, START, END)) == expected(made, stream, START, END)


def test_an_empty_range_has_no_page(place: LogPlace) -> None:
    stream = stream_of(place.put("a", documents()))
    assert list(place.source().read(stream, END + 10_000_000, END + 20_000_000)) == []
    assert list(place.source().read(stream, START, START)) == []


def test_a_pattern_that_matches_nothing_has_no_lines(place: LogPlace) -> None:
    assert list(place.source().read(stream_of(place.selection("nothing-*")), START, END)) == []


def test_a_missing_place_is_refused(es_client: Elasticsearch, es_prefix: str, tmp_path: Path) -> None:
    for source, selection in (
        (ElasticsearchPlace(es_client, es_prefix).source(), Selection(index=f"{es_prefix}-missing")),
        (FilePlace(tmp_path).source(), Selection(path=str(tmp_path / "missing.ndjson"))),
    ):
        with pytest.raises(SourceRejected):
            list(source.read(stream_of(selection), START, END))
        assert [problem.setting for problem in source.check(stream_of(selection))] in (["index"], ["path"])


def test_a_query_that_cannot_be_read_is_refused_and_found_before(place: LogPlace) -> None:
    place.put("a", documents())
    stream = stream_of(place.selection("a", "service.name: (web"))
    with pytest.raises(SourceRejected):
        list(place.source().read(stream, START, END))
    assert "query" in [problem.setting for problem in place.source().check(stream)]


def test_a_good_stream_has_no_problems_and_a_bad_one_names_its_settings(place: LogPlace) -> None:
    selection = place.put("a", documents())
    assert place.source().check(stream_of(selection)) == []
    wrong = LogStream("app", selection, "massage", ("servise",), "lvl")
    assert [problem.setting for problem in place.source().check(wrong)] == ["message", "split_by", "level"]
