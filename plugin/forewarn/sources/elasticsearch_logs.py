"""Log lines from Elasticsearch: the adapter of `LogSource`.

Owns: ElasticsearchLogs. Pages a point in time by search_after; what it gives out ends between milliseconds, so that a read
goes on after any page, with another point in time, whatever was merged in between. Uses features of the server's core alone.
"""

import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, suppress
from typing import Any, Final

from elastic_transport import ConnectionTimeout
from elasticsearch import ApiError, Elasticsearch

from forewarn.detector import Detector
from forewarn.elastic import source_errors
from forewarn.errors import SourceError, SourceRejected, SourceUnavailable
from forewarn.pattern import LogPage, LogStream
from forewarn.ports import Problem
from forewarn.sources.assembly import text_of
from forewarn.sources.elasticsearch_check import problems
from forewarn.sources.elasticsearch_query import within
from forewarn.sources.elasticsearch_search import PAUSES, TooLarge, missing_part
from forewarn.sources.log_pages import CUT, PAGE, Row, pages_of, resume_at

_KEEP_ALIVE: Final = "2m"
_FIRST_PAGE: Final = 500
_SMALLEST_PAGE: Final = 10
_CHARACTERS_AT_ONCE: Final = 8_000_000
"""Of the messages of one answer: lines of 1 MB come a few at a time."""
_FILTER_PATH: Final = (
    "pit_id,timed_out,terminated_early,_clusters,_shards.failed,hits.hits.sort,hits.hits.fields,hits.hits.ignored_field_values"
)


class ElasticsearchLogs:
    """Reads log lines through one client, up to `page` at once; the size adapts to how long the lines are."""

    def __init__(
        self, client: Elasticsearch, *, page: int = PAGE, timeout: str = "60s", sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._client = client.options(max_retries=0)  # it would try again at once; we pause
        self._page = page
        self._timeout = timeout
        self._sleep = sleep

    def read(self, stream: LogStream, start: int, end: int, cursor: tuple[str | int, ...] | None = None) -> Iterator[LogPage]:
        """See `LogSource.read`. Of a field with several values the first counts; values longer than `ignore_above` too."""
        start = resume_at(start, cursor)
        reading = _Reading(self._client, stream, self._page, self._timeout)
        pauses = iter(PAUSES)
        while start < end:
            try:
                with closing(reading.pages(start, end)) as pages:
                    for page in pages:
                        yield page
                        start, pauses = resume_at(start, page.cursor), iter(PAUSES)
                return
            except TooLarge:
                if not reading.shrink():
                    raise
            except SourceUnavailable as error:
                pause = next(pauses, None)
                # What took too long is not tried again: it would load the server once more for as long.
                if pause is None or isinstance(error.__cause__, ConnectionTimeout):
                    raise
                self._sleep(pause)

    def check(self, stream: LogStream) -> list[Problem]:
        """See `LogSource.check`."""
        found = problems(self._client, Detector(stream.name, stream.selection, "count"))
        if any(problem.setting == "index" for problem in found):
            return found
        wanted = [("message", stream.message), *(("split_by", field) for field in stream.split_by)]
        wanted += [("level", stream.level)] if stream.level else []
        index = stream.selection.index or ""
        try:
            with source_errors(index):
                names = [name for _, field in wanted for name in (field, f"{field}.*")]
                known = self._client.field_caps(index=index, fields=names)["fields"]
        except SourceRejected as error:
            return [*found, Problem("index", error.why)]
        for setting, field in wanted:
            if field in known and not known[field].keys() <= {"object", "nested"}:
                continue
            below = sorted(name for name in known if name.startswith(f"{field}."))
            why = f"is an object; name the field in it, such as {below[0]}" if below else "is a field of no index"
            found.append(Problem(setting, f"{field!r} {why}"))
        return found

    def close(self) -> None:
        """Closes the client."""
        self._client.close()


class _Reading:
    """One read: what it has learnt about how much the server answers at once."""

    def __init__(self, client: Elasticsearch, stream: LogStream, page: int, timeout: str) -> None:
        self._client = client
        self._stream = stream
        self._index = stream.selection.index or ""
        self._timeout = timeout
        self._most = page
        self._size = min(page, _FIRST_PAGE)
        names = dict.fromkeys([stream.message, *stream.split_by, *([stream.level] if stream.level else [])])
        self._fields = [{"field": name, "include_unmapped": True} for name in names]

    def shrink(self) -> bool:
        """Halves what is asked for at once; False if it is one line already."""
        asked = self._size
        self._most = self._size = max(1, asked // 2)
        return asked > 1

    def pages(self, start: int, end: int) -> Generator[LogPage, None, None]:
        """The pages of [start, end) from one point in time, which is closed afterwards."""
        with source_errors(self._index):
            pit: str = self._client.open_point_in_time(
                index=self._index, keep_alive=_KEEP_ALIVE, preference=f"forewarn-{self._stream.name}"
            )["id"]
        try:
            after, held = None, list[Row]()
            while True:
                asked = self._size
                answer = self._search(pit, start, end, after)
                pit = answer.get("pit_id", pit)
                hits = answer.get("hits", {}).get("hits", [])
                held += map(self._row, hits)
                if len(hits) < asked:
                    yield from pages_of(held, self._most)
                    return
                after = hits[-1]["sort"]
                self._adapt(hits)
                # The last millisecond may go on in the next answer.
                whole = len(held)
                while whole and held[whole - 1][0] == held[-1][0]:
                    whole -= 1
                yield from pages_of(held[:whole], self._most)
                held = held[whole:]
        finally:
            with suppress(SourceError), source_errors(self._index):
                self._client.options(ignore_status=404).close_point_in_time(id=pit)

    def _search(self, pit: str, start: int, end: int, after: list[Any] | None) -> Mapping[str, Any]:
        selection = self._stream.selection
        with source_errors(self._index):
            try:
                answer: Mapping[str, Any] = self._client.search(
                    pit={"id": pit, "keep_alive": _KEEP_ALIVE},
                    query=within(selection, start, end),
                    sort=[{selection.time_field: {"order": "asc", "numeric_type": "date", "unmapped_type": "date"}}],
                    search_after=after,
                    size=self._size,
                    source=False,
                    fields=self._fields,
                    track_total_hits=False,
                    timeout=self._timeout,
                    allow_partial_search_results=False,
                    filter_path=_FILTER_PATH,
                ).body
            except ApiError as error:
                if "circuit_breaking_exception" in str(error.body) or "Result window is too large" in str(error.body):
                    raise TooLarge(self._index, "it will not answer with so many lines at once") from error
                raise
        if missing := missing_part(answer):
            raise SourceUnavailable(self._index, f"only a part of the answer came: {missing}")
        return answer

    def _row(self, hit: Mapping[str, Any]) -> Row:
        fields, ignored = hit.get("fields", {}), hit.get("ignored_field_values", {})

        def first(name: str) -> str:
            values = fields.get(name) or ignored.get(name)
            return text_of(values[0]) if values else ""

        stream = self._stream
        entity = tuple([first(name) for name in stream.split_by])
        return int(hit["sort"][0]), entity, first(stream.level) if stream.level else "", first(stream.message)[:CUT]

    def _adapt(self, hits: list[Mapping[str, Any]]) -> None:
        message = self._stream.message
        length = sum(len(str(value)) for hit in hits for value in hit.get("fields", {}).get(message, ())) / len(hits)
        fitting = int(_CHARACTERS_AT_ONCE / (length + CUT / 10))
        self._size = max(min(_SMALLEST_PAGE, self._most), min(fitting, self._most))
