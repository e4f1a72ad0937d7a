"""The one place that makes Elasticsearch clients, and the one translation of their errors into ours.

Owns: `connect`, `server_version`, `source_errors`, `store_errors`. It knows no index and sends no query; the adapters in
`sources/` and `stores/` are handed a client and wrap what they do with it in one of the two context managers.
"""

import re
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, Final

from elastic_transport import SerializationError, TlsError, TransportError
from elasticsearch import ApiError, Elasticsearch, UnsupportedProductError
from elasticsearch.helpers import BulkIndexError, ScanError, bulk

from forewarn.connection import ElasticSettings
from forewarn.errors import (
    ConfigError,
    ForewarnError,
    SourceRejected,
    SourceUnavailable,
    StoreConflict,
    StoreRejected,
    StoreUnavailable,
)

_RETRYABLE_TYPES: Final = frozenset(
    {
        "circuit_breaking_exception",
        "es_rejected_execution_exception",
        "no_shard_available_action_exception",
        "unavailable_shards_exception",
        "process_cluster_event_timeout_exception",
        "master_not_discovered_exception",
        "node_disconnected_exception",
        "node_not_connected_exception",
        "search_context_missing_exception",  # a point in time that expired: 404, and yet a new one will do
    }
)
_WRONG_CERTIFICATE: Final = re.compile(
    r"CERTIFICATE_VERIFY_FAILED|certificate verify failed|[Ff]ingerprint|WRONG_VERSION_NUMBER"
)
_MAX_WHY: Final = 1000


def connect(settings: ElasticSettings, job: str) -> Elasticsearch:
    """A client of the cluster; nothing is sent yet. Its requests bear the X-Opaque-Id `forewarn:<job>`.

    Raises ConfigError for settings that contradict each other or that no client can be made of.
    """
    if not settings.hosts:
        raise ConfigError("elasticsearch.hosts", "expected at least one URL, such as http://localhost:9200")
    if settings.api_key is not None and settings.username is not None:
        raise ConfigError("elasticsearch.api_key", "expected either api_key or username and password, got both")
    if (settings.username is None) != (settings.password is None):
        missing = "username" if settings.username is None else "password"
        raise ConfigError(f"elasticsearch.{missing}", "username and password are given together or not at all")
    options: dict[str, Any] = {}
    if settings.api_key is not None:
        options["api_key"] = settings.api_key
    if settings.username is not None and settings.password is not None:
        options["basic_auth"] = (settings.username, settings.password)
    if settings.ca_certs is not None:
        try:
            ssl.create_default_context(cafile=settings.ca_certs)  # the client would find out at the first request only
        except OSError as error:
            raise ConfigError("elasticsearch.ca_certs", f"no certificates in {settings.ca_certs}: {error}") from error
        options["ca_certs"] = settings.ca_certs
    if not settings.verify_certs:
        options |= {"verify_certs": False, "ssl_show_warn": False}  # the user has said so; once is enough
    if settings.fingerprint is not None:
        options["ssl_assert_fingerprint"] = settings.fingerprint
    try:
        return Elasticsearch(
            list(settings.hosts),
            http_compress=True,
            opaque_id=f"forewarn:{job}",
            request_timeout=settings.request_timeout / 1000,
            max_retries=2,
            # The client retries at once, which is right for a node that has gone and wrong for one that is overloaded:
            # 429 waits for the next tick.
            retry_on_status=(502, 503, 504),
            retry_on_timeout=False,
            **options,
        )
    except (ValueError, TypeError, OSError) as error:
        raise ConfigError("elasticsearch", str(error)) from error


def server_version(client: Elasticsearch) -> str:
    """The oldest version among the nodes, such as "8.19.16"; vendor errors pass through, for the caller's translation.

    Asked of the nodes first (privilege `monitor`), because a proxy or a stripped server may not serve `GET /`.
    """
    try:
        nodes = client.nodes.info(filter_path="nodes.*.version")["nodes"]
    except (ApiError, KeyError):
        return str(client.info()["version"]["number"])
    return str(min((node["version"] for node in nodes.values()), key=_comparable))


def _comparable(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]


def is_retryable(status: int, error: object) -> bool:
    """Whether trying again later can help: `status` and the `error` object of an answer or of one item of a bulk answer."""
    if status in (408, 429) or status >= 500:
        return True
    return any(kind in _RETRYABLE_TYPES for kind in _types(error))


def explain(error: object) -> str:
    """What an `error` object of an answer says, with the causes that say more than it does; at most 1,000 characters."""
    reasons: list[str] = []
    for item in _causes(error):
        reason = str(item.get("reason") or item.get("type") or "")
        if reason and not any(reason in earlier for earlier in reasons):
            reasons.append(reason)
    return "; ".join(reasons)[:_MAX_WHY] or str(error)[:_MAX_WHY]


def source_errors(source: str) -> AbstractContextManager[None]:
    """Turns vendor errors inside the block into SourceUnavailable or SourceRejected about `source` (an index pattern)."""
    return _translated(partial(SourceUnavailable, source), partial(SourceRejected, source), partial(SourceRejected, source))


def store_errors() -> AbstractContextManager[None]:
    """Turns vendor errors inside the block into StoreUnavailable, StoreConflict (409) or StoreRejected."""
    return _translated(StoreUnavailable, StoreRejected, StoreConflict)


_Maker = Callable[[str], ForewarnError]


@contextmanager
def _translated(unavailable: _Maker, rejected: _Maker, conflict: _Maker) -> Iterator[None]:
    try:
        yield
    except UnsupportedProductError as error:
        raise rejected(f"the server is not Elasticsearch: {error}") from error
    except ApiError as error:
        why = _describe(error)
        if is_retryable(error.status_code, _error_of(error)):
            raise unavailable(why) from error
        raise (conflict if error.status_code == 409 else rejected)(why) from error
    except TlsError as error:
        # A handshake that was cut may succeed later; a certificate that is not the expected one will not.
        wrong = _WRONG_CERTIFICATE.search(str(error))
        raise (rejected if wrong else unavailable)(f"TLS: {_short(error)}") from error
    except SerializationError as error:
        raise unavailable(f"the answer cannot be read: {_short(error)}") from error
    except TransportError as error:  # connections refused, cut or timed out
        raise unavailable(_short(error)) from error
    except BulkIndexError as error:
        raise _of_bulk(error, unavailable, rejected, conflict) from error
    except ScanError as error:
        raise unavailable(f"only a part of the answer came: {_short(error)}") from error


def _of_bulk(error: BulkIndexError, unavailable: _Maker, rejected: _Maker, conflict: _Maker) -> ForewarnError:
    """One error for many items: rejected if any never can be written, else unavailable if any may be, else a conflict."""
    items = [item for action in error.errors for item in action.values() if isinstance(item, Mapping)]
    final = [item for item in items if not is_retryable(item.get("status", 500), item.get("error"))]
    refused = [item for item in final if item.get("status") != 409]
    worst, maker = (refused, rejected) if refused else (items, unavailable) if len(final) < len(items) else (final, conflict)
    first = f": {explain(worst[0].get('error'))}" if worst else ""
    return maker(f"{len(items)} of the documents were not written{first}")


def _describe(error: ApiError) -> str:
    if error.status_code == 401:
        return f"the credentials were refused (401): {explain(_error_of(error))}"
    if error.status_code == 403:
        return f"a privilege is missing (403): {explain(_error_of(error))}"
    return f"{explain(_error_of(error))} ({error.status_code})"


def _error_of(error: ApiError) -> object:
    body = error.body
    return body["error"] if isinstance(body, Mapping) and "error" in body else body or error.message


def _causes(error: object) -> Iterator[Mapping[str, Any]]:
    """The error and what caused it, outermost first: `root_cause`, then the `caused_by` chain, then failed shards."""
    if not isinstance(error, Mapping):
        return
    yield error
    for cause in error.get("root_cause") or ():
        if isinstance(cause, Mapping):
            yield cause
    yield from _causes(error.get("caused_by"))
    for shard in error.get("failed_shards") or ():
        if isinstance(shard, Mapping):
            yield from _causes(shard.get("reason"))


def _types(error: object) -> Iterator[str]:
    return (str(cause.get("type")) for cause in _causes(error))


def _short(error: Exception) -> str:
    """The first line of a vendor's message: the others repeat it once for each attempt."""
    message = str(getattr(error, "message", "") or error)
    return (message.splitlines() or [type(error).__name__])[0][:_MAX_WHY]


def index_all(client: Elasticsearch, templates: Mapping[str, Mapping[str, Any]], actions: Iterable[dict[str, Any]]) -> int:
    """Puts index templates and then all documents, as a shipper would; returns how many. Raises StoreError for any failure."""
    with store_errors():
        for name, body in templates.items():
            client.indices.put_index_template(name=name, **body)
        indexed, _ = bulk(client.options(request_timeout=120), actions, chunk_size=2000, refresh=True)
    return indexed
