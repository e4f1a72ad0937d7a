"""Many documents in bounded requests, each of which is written, known to be old, or reported.

Owns chunking, backing off when the server is overloaded, and telling what is final. Must not know what documents mean.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

from elasticsearch import ApiError, Elasticsearch

from forewarn.elastic import explain, is_retryable, store_errors
from forewarn.errors import StoreUnavailable

MAX_DOCUMENTS: Final = 2_000
MAX_BYTES: Final = 8_000_000
BACKOFF: Final = (0.5, 1.0, 2.0, 4.0)
"""Seconds between attempts; after the last one the caller's next tick tries again."""

_OVERLOADED: Final = frozenset({429, 503})
_TOO_LARGE: Final = 413


@dataclass(frozen=True, slots=True)
class Action:
    """One line of a bulk request with its document (none for a deletion), both as JSON."""

    header: bytes
    document: bytes | None = None


@dataclass(slots=True)
class Outcome:
    """How many actions were done, were overtaken by newer versions (409), and what was refused for good."""

    done: int = 0
    overtaken: int = 0
    refused: list[str] = field(default_factory=list)


def index_action(index: str, id_: str, version: int, document: bytes) -> Action:
    """Writes the document unless there is a newer version."""
    header = {"index": {"_index": index, "_id": id_, "version": version, "version_type": "external_gte"}}
    return Action(json.dumps(header).encode(), document)


def write(client: Elasticsearch, actions: Iterable[Action], sleep: Callable[[float], None]) -> Outcome:
    """Sends the actions in order, in requests of bounded size.

    Raises StoreUnavailable as soon as a request stays unanswered, or some of its documents unwritten after backing off:
    call again with all of them. Documents that the server refuses for good are in the outcome, the others are written.
    """
    outcome = Outcome()
    for chunk in _chunks(actions):
        with store_errors():
            _write_chunk(client, chunk, sleep, outcome)
    return outcome


def _chunks(actions: Iterable[Action]) -> Iterator[list[Action]]:
    chunk: list[Action] = []
    size = 0
    for action in actions:
        length = len(action.header) + len(action.document or b"")
        if chunk and (len(chunk) >= MAX_DOCUMENTS or size + length > MAX_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(action)
        size += length
    if chunk:
        yield chunk


def _write_chunk(client: Elasticsearch, chunk: Sequence[Action], sleep: Callable[[float], None], outcome: Outcome) -> None:
    left = chunk
    why = ""
    for pause in (*BACKOFF, None):
        try:
            answers = _send(client, left)
        except ApiError as error:
            if error.status_code == _TOO_LARGE and len(left) > 1:  # a proxy with a smaller limit than the server's
                half = len(left) // 2
                _write_chunk(client, left[:half], sleep, outcome)
                _write_chunk(client, left[half:], sleep, outcome)
                return
            if error.status_code not in _OVERLOADED:
                raise
            why = f"the server is overloaded ({error.status_code})"
        else:
            left, why = _sort_out(left, answers, outcome)
        if not left:
            return
        if pause is not None:
            sleep(pause)
    raise StoreUnavailable(f"{len(left)} of {len(chunk)} documents were not written: {why}")


def _send(client: Elasticsearch, actions: Sequence[Action]) -> Sequence[dict[str, Any]]:
    lines = [line for action in actions for line in (action.header, action.document) if line is not None]
    answer = client.bulk(
        operations=cast("Any", lines),  # the client takes lines that are JSON already, which its types do not say
        filter_path=["items.*.status", "items.*.error"],
    )
    return [next(iter(item.values())) for item in answer["items"]]


def _sort_out(actions: Sequence[Action], answers: Sequence[dict[str, Any]], outcome: Outcome) -> tuple[list[Action], str]:
    """The actions that are worth another attempt, and why the last of them failed."""
    left: list[Action] = []
    why = ""
    for action, answer in zip(actions, answers, strict=True):
        status = answer["status"]
        if status < 300:
            outcome.done += 1
        elif status == 409:
            outcome.overtaken += 1
        elif is_retryable(status, answer.get("error")):
            left.append(action)
            why = explain(answer.get("error"))
        elif status != 404 or action.document is not None:  # a deletion of what is gone is done
            outcome.refused.append(explain(answer.get("error")))
    return left, why
