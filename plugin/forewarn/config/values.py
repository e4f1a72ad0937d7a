"""Kinds of value that a particular setting has: addresses, secrets in headers, functions, time zones, quantities.

Owns: the constants in capitals, each a `Kind`. Which setting takes which is declared in `sections.py`.
"""

import importlib
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from forewarn.config.document import FromEnvironment
from forewarn.config.kinds import SECRET, TEXT, Kind, Place, duration, finite, nearest, shown, text_matching
from forewarn.config.units import Quantity, parse_quantity
from forewarn.detector import DAY, FUNCTIONS, SENSITIVITY, percentile_of

_GIVES_ITSELF_AWAY: Final = re.compile(r"auth|token|secret|key|cookie|password|credential", re.IGNORECASE)

_LONGEST_EXPRESSION: Final = 500
_OFTEN: Final = 10
_BUDGET: Final = "incidents_per_week"
_MOST_INCIDENTS: Final = 10_000
_PARSER: Final = importlib.import_module("re._parser")
"""The standard library's own; it has no type stubs."""

NAME: Final = text_matching(
    "name of letters, digits, '.', '_' and '-', at most 100",
    lambda text: bool(re.fullmatch(r"\w[\w.-]{0,99}", text, re.ASCII)),
)


def _web_address(text: str) -> SplitResult | None:
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool((parts.hostname or "").encode("idna")) and parts.port != 0
    except ValueError:
        return None
    return parts if usable and not parts.fragment and not re.search(r"\s", text) else None


def _read_host(value: Any, place: Place) -> str:
    parts = _web_address(str(value).strip()) if isinstance(value, str) else None
    if parts is not None and (parts.username is not None or parts.password is not None):
        raise place.refuse("expected an address without a user name and password; they are settings of their own")
    if parts is None or parts.port is None or parts.query:
        raise place.refuse("expected an address with its port, such as http://localhost:9200")
    return str(value).strip().rstrip("/")


def _read_url(value: Any, place: Place) -> str:
    parts = _web_address(str(value).strip()) if isinstance(value, str) else None
    if parts is None or parts.username is not None or parts.password is not None:
        raise place.refuse("expected an address such as https://host/path, without a user name and password")
    return str(value).strip()


def _read_header(value: Any, place: Place) -> str:
    name = place.path.partition(".headers.")[2]
    secret = isinstance(value, dict | FromEnvironment) or _GIVES_ITSELF_AWAY.search(name)
    text = str((SECRET if secret else TEXT).read(value, place))
    if re.search(r"[^\x20-\x7e\t]", text):
        raise place.refuse("expected a header of printable ASCII on one line")
    return text


def _read_listen(value: Any, place: Place) -> tuple[str, int]:
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:/\[\]]+)):(\d{1,5})", str(value)) if isinstance(value, str) else None
    if match is None or int(match.group(3)) > 65_535:
        raise place.expected('an address and a port, such as "127.0.0.1:8080" or "[::1]:8080"', value)
    return match.group(1) or match.group(2), int(match.group(3))


def _show_listen(value: tuple[str, int]) -> str:
    return f"[{value[0]}]:{value[1]}" if ":" in value[0] else f"{value[0]}:{value[1]}"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, str) else value


def _read_query(value: Any, place: Place) -> str | Mapping[str, Any]:
    if not isinstance(value, str | dict) or not value or not _plain(value):
        raise place.expected("a Lucene query string or a mapping in Elasticsearch's query DSL", value)
    plain: str | Mapping[str, Any] = _plain(value)
    return plain


def _read_function(value: Any, place: Place) -> str:
    if isinstance(value, str) and (str(value) in FUNCTIONS or percentile_of(str(value)) is not None):
        return str(value)
    if isinstance(value, str) and re.fullmatch(r"p-?\d+(\.\d+)?", str(value)):
        raise place.expected("a percentile above p0 and below p100", value)
    hint = nearest(str(value), FUNCTIONS) if isinstance(value, str) else ""
    raise place.refuse(f"expected one of {', '.join(FUNCTIONS)} or pNN, got {shown(value)}{hint}")


def _read_timezone(value: Any, place: Place) -> str:
    if not isinstance(value, str):
        raise place.expected("a time zone such as Europe/Berlin", value)
    try:
        return ZoneInfo(str(value)).key
    except (ZoneInfoNotFoundError, ValueError, OSError):
        hint = nearest(str(value), available_timezones())
        raise place.refuse(f"expected a time zone such as Europe/Berlin, got {shown(value)}{hint}") from None


def _read_time(value: Any, place: Place) -> int:
    try:
        moment = datetime.fromisoformat(str(value).strip() if isinstance(value, str) else "")
    except ValueError:
        raise place.expected("a time with its zone, such as 2026-11-20T02:00Z", value) from None
    if moment.utcoffset() is None:
        raise place.refuse(f"expected a time with its zone, as in 02:00Z or 03:00+01:00, got {shown(value)}")
    return round(moment.timestamp() * 1000)


def _read_quantity(value: Any, place: Place) -> Quantity:
    number = finite(value)
    if number is not None:
        return Quantity(number)
    try:
        return parse_quantity(str(value) if isinstance(value, str) else "")
    except ValueError:
        raise place.expected("a number, or a number with its unit such as 2s, 1.5GiB or 90%", value) from None


def _read_share(value: Any, place: Place) -> float:
    quantity = _read_quantity(value, place) if finite(value) is not None or isinstance(value, str) else Quantity(-1)
    share = quantity.number / 100 if quantity.unit == "%" else quantity.number
    if quantity.unit not in ("", "%") or share < 0 or (not quantity.unit and share > 1):
        raise place.expected("a share such as 10% or 0.1 (above 1 only in percent, as in 150%)", value)
    return share


def _read_sensitivity(value: Any, place: Place) -> str | float:
    if not isinstance(value, dict):
        hint = nearest(str(value), SENSITIVITY) if isinstance(value, str) and not isinstance(value, FromEnvironment) else ""
        if not isinstance(value, str) or str(value) not in SENSITIVITY:
            raise place.refuse(f"expected {SENSITIVENESS.label}, got {shown(value)}{hint}")
        return str(value)
    if set(value) != {_BUDGET}:
        unknown = [str(key) for key in value if key != _BUDGET]
        hint = nearest(unknown[0], [_BUDGET]) if unknown else ""
        raise place.refuse(f"expected {{{_BUDGET}: 3}}, got {', '.join(map(str, value)) or 'an empty mapping'}{hint}")
    number = finite(value[_BUDGET])
    if number is None or not 0 < number <= _MOST_INCIDENTS:
        raise place.at(_BUDGET).expected(f"a number above 0 and at most {_MOST_INCIDENTS}", value[_BUDGET])
    return number


def _is_expression(text: str) -> bool:
    """Whether it is a regular expression that no line can send into exponentially many tries."""
    try:
        return len(text) <= _LONGEST_EXPRESSION and bool(re.compile(text)) and not _explodes(_PARSER.parse(text))
    except (re.error, OverflowError, RecursionError):
        return False


def _explodes(items: Iterable[tuple[Any, Any]], *, repeated: bool = False) -> bool:
    """Whether something that is repeated often repeats, or may be read in two ways, itself: (a+)+, (a|a)*."""
    for op, value in items:
        kind = str(op)
        if kind.endswith("_REPEAT"):
            often = int(value[1]) > _OFTEN
            if (repeated and int(value[1]) > 1) or _explodes(value[2], repeated=repeated or often):
                return True
        elif kind == "BRANCH":
            if repeated or any(map(_explodes, value[1])):
                return True
        elif (kind in ("SUBPATTERN", "ASSERT", "ASSERT_NOT") and _explodes(value[-1], repeated=repeated)) or (
            kind == "ATOMIC_GROUP" and _explodes(value, repeated=repeated)
        ):
            return True
    return False


BUCKET: Final = duration(1000, DAY)
COUNTRY: Final = text_matching(
    "country code such as DE, or DE-BY for a part of it",
    lambda text: bool(re.fullmatch(r"[A-Z]{2}(-[A-Z0-9]{1,3})?", text)),
)
FUNCTION: Final = Kind("count, rate, avg, sum, min, max, median, pNN, cardinality or ratio", _read_function)
HEADER: Final = Kind("text, or secret: ${NAME} or {file: path}", _read_header)
HEADER_NAME: Final = text_matching("name of a header", lambda text: bool(re.fullmatch(r"[\w!#$%&'*+.^`|~-]+", text, re.ASCII)))
HOST: Final = Kind("http(s)://host:port", _read_host)
LISTEN: Final = Kind("host:port", _read_listen, _show_listen)
PREFIX: Final = text_matching(
    "lower-case letters, digits and '-', at most 50", lambda text: bool(re.fullmatch(r"[a-z][a-z0-9-]{0,49}", text))
)
QUANTITY: Final = Kind("number, or text with a unit", _read_quantity)
QUERY: Final = Kind("Lucene query string, or mapping (query DSL)", _read_query)
SENSITIVENESS: Final = Kind(
    "low, medium, high, or {incidents_per_week: number}",
    _read_sensitivity,
    lambda value: value if isinstance(value, str) else f"{{{_BUDGET}: {value:g}}}",
)
SHARE: Final = Kind("share: 10% or 0.1", _read_share, lambda value: f"{value:g}")
STORE: Final = text_matching(
    "elasticsearch or sqlite:///path",
    lambda text: text == "elasticsearch" or bool(re.fullmatch(r"sqlite:///[^?#]*[^?#/]", text)),
)
TIME: Final = Kind("time with its zone", _read_time)
TIMEZONE: Final = Kind("time zone of the IANA database", _read_timezone)
URL: Final = Kind("http(s) address; ${NAME} where it is a secret", _read_url)
INDEX: Final = text_matching("index, alias, data stream, or a pattern of them", lambda text: not re.search(r"\s", text))
EXPRESSION: Final = text_matching(
    f"regular expression of at most {_LONGEST_EXPRESSION} characters that repeats nothing that repeats", _is_expression
)
FINGERPRINT: Final = text_matching(
    "64 hexadecimal digits, with or without colons", lambda text: bool(re.fullmatch(r"[0-9A-Fa-f]{64}", text.replace(":", "")))
)
