"""One search, sent until it is answered whole or is known to fail: retries, and what counts as an answer.

Owns: Searcher and TooLarge. A partial or timed-out answer is an error here, so that no caller can take it for values.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from elastic_transport import ConnectionTimeout
from elasticsearch import ApiError, Elasticsearch

from forewarn.elastic import explain, source_errors
from forewarn.errors import SourceUnavailable
from forewarn.sources.elasticsearch_query import FILTER_PATH, Json

PAUSES: Final = (0.5, 2.0)
"""Seconds before the second and the third attempt; the next tick is the one after."""

_TOO_LARGE: Final = frozenset({"too_many_buckets_exception", "circuit_breaking_exception"})
_TIMED_OUT: Final = frozenset({"search_timeout_exception"})


class TooLarge(SourceUnavailable):
    """The server will not build so large an answer; a smaller page or slice may do."""


class Searcher:
    """Sends searches on one source for one reader."""

    def __init__(self, client: Elasticsearch, source: str, reader: str, timeout: str, sleep: Callable[[float], None]) -> None:
        self._client = client
        self._source = source
        # The same reader meets the same copies of the shards, and so its own entries in their caches.
        self._preference = f"forewarn-{reader}"
        self._timeout = timeout
        self._sleep = sleep

    def search(self, body: Json) -> Mapping[str, Any]:
        """The whole answer to `body`.

        Raises TooLarge at once, SourceRejected at once, SourceUnavailable after the last attempt; what took too long is
        not tried again, because it would load the server once more for as long.
        """
        for pause in PAUSES:
            try:
                return self._once(body)
            except TooLarge:
                raise
            except SourceUnavailable as error:
                if _took_too_long(error.__cause__):
                    raise
            self._sleep(pause)
        return self._once(body)

    def _once(self, body: Json) -> Mapping[str, Any]:
        with source_errors(self._source):
            try:
                answer: Mapping[str, Any] = self._client.search(
                    index=self._source,
                    size=0,
                    track_total_hits=False,
                    timeout=self._timeout,
                    allow_partial_search_results=False,
                    preference=self._preference,
                    filter_path=FILTER_PATH,
                    **body,
                ).body
            except ApiError as error:
                if _kinds(error.body) & _TOO_LARGE:
                    raise TooLarge(self._source, explain(_error_of(error))) from error
                raise
        if missing := missing_part(answer):
            raise SourceUnavailable(self._source, f"only a part of the answer came: {missing}")
        return answer


def missing_part(answer: Mapping[str, Any]) -> str | None:
    """Why the answer is not whole; None if it is."""
    try:
        failed, timed_out = answer["_shards"]["failed"], answer["timed_out"]
    except (KeyError, TypeError):
        return "it does not say of how many shards it is"
    if timed_out:
        return "the search timed out"
    if answer.get("terminated_early"):
        return "the search was terminated early"
    if failed:
        return f"{failed} shards failed"
    clusters = answer.get("_clusters", {})
    for state in ("skipped", "partial", "failed", "running"):
        if clusters.get(state):
            return f"{clusters[state]} of {clusters.get('total')} clusters {state}"
    return None


def _took_too_long(cause: BaseException | None) -> bool:
    return isinstance(cause, ConnectionTimeout) or (isinstance(cause, ApiError) and bool(_kinds(cause.body) & _TIMED_OUT))


def _error_of(error: ApiError) -> object:
    return error.body["error"] if isinstance(error.body, Mapping) else error.message


def _kinds(body: object) -> set[str]:
    return {str(item["type"]) for item in _objects(body) if "type" in item}


def _objects(value: object) -> Iterator[Mapping[str, Any]]:
    """All JSON objects in the error: its type hides in root_cause, caused_by or failed_shards, in turn."""
    if isinstance(value, Mapping):
        yield value
        for item in value.values():
            yield from _objects(item)
    elif isinstance(value, list):
        for item in value:
            yield from _objects(item)
