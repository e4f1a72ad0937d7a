"""Log lines from templates: what stands in the gaps of a line, and how a template becomes documents, thousands at a time.

Owns: Template, Wording, `documents` and the fillers. One `%` operation makes a whole JSON document; nothing here knows when or
how often a line is written.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from forewarn.simulation.topology import ROWS, SERVICES

Column = list[str]
_GAP: Final = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Wording:
    """The text of a line, with gaps such as {order}, and its level as the technology spells it.

    `fields` are further JSON fields of a structured line, with gaps too, such as `"http":{"response":{"status_code":{ok}}}`.
    """

    level: str
    text: str
    fields: str = ""


@dataclass(frozen=True, slots=True)
class Template:
    """A wording of one service, ready to be filled in: `form` takes the gaps in order; the first one is the time stamp."""

    service: str
    form: str
    gaps: tuple[str, ...]


_PLAIN: Final = {
    "java": "{clock_comma} {level} [{thread}] {text}",
    "python": "{clock_comma} {level} {text}",
    "mysql": "{clock_z} {pid} [{level}] {text}",
    "postgresql": "{clock} UTC [{pid}] {level}:  {text}",
    "kafka": "[{clock_comma}] {level} {text}",
}
"""How a technology writes a line that is not JSON."""


def template(service: str, wording: Wording) -> Template:
    """The template of a wording in the format of its service."""
    known = SERVICES[ROWS[service]]
    text = wording.text
    if not known.structured:
        form = _PLAIN[known.technology]
        text = form.replace("{level}", wording.level).replace("{text}", text)
    message = json.dumps(text)
    fields = f",{wording.fields}" if wording.fields else ""
    document = (
        '{"@timestamp":"{stamp}","service":{"name":"' + service + '"},"log":{"level":"' + wording.level + '"}'
        ',"message":' + message + fields + "}"
    )
    parts = _GAP.split(document)
    return Template(service, "%s".join(part.replace("%", "%%") for part in parts[::2]), tuple(parts[1::2]))


def documents(made: Template, times: NDArray[np.int64], rng: np.random.Generator) -> list[str]:
    """One JSON document (a line) for each time, UTC ms."""
    columns: dict[str, Column] = {"stamp": stamps(times)}
    for gap in made.gaps:
        if gap not in columns:
            columns[gap] = _clock(gap, columns["stamp"]) if gap.startswith("clock") else FILLERS[gap](times.size, rng)
    form = made.form
    return [form % row for row in zip(*(columns[gap] for gap in made.gaps), strict=True)]


def stamps(times: NDArray[np.int64]) -> Column:
    """UTC ms as `2026-01-01T00:00:00.000Z`."""
    text: Column = np.datetime_as_string(times.astype("datetime64[ms]"), unit="ms", timezone="UTC").tolist()
    return text


def _clock(gap: str, of: Column) -> Column:
    if gap == "clock_z":
        return [f"{stamp[:23]}000Z" for stamp in of]
    mark = "," if gap == "clock_comma" else "."
    return [f"{stamp[:10]} {stamp[11:19]}{mark}{stamp[20:23]}" for stamp in of]


_Filler = Callable[[int, np.random.Generator], Column]


def _whole(low: int, high: int) -> _Filler:
    return lambda size, rng: list(map(str, rng.integers(low, high, size).tolist()))


def _time(median: float, spread: float) -> _Filler:
    return lambda size, rng: list(
        map(str, np.maximum(1, median * np.exp(spread * rng.standard_normal(size))).astype(int).tolist())
    )


def _words(*words: str) -> _Filler:
    return lambda size, rng: [words[i] for i in rng.integers(0, len(words), size).tolist()]


def _hex(digits: int) -> _Filler:
    def fill(size: int, rng: np.random.Generator) -> Column:
        text = rng.bytes(size * (digits // 2)).hex()
        return [text[i * digits : (i + 1) * digits] for i in range(size)]

    return fill


def _uuid(size: int, rng: np.random.Generator) -> Column:
    return [f"{h[:8]}-{h[8:12]}-4{h[13:16]}-a{h[17:20]}-{h[20:]}" for h in _hex(32)(size, rng)]


def _joined(form: str, *fillers: _Filler) -> _Filler:
    def fill(size: int, rng: np.random.Generator) -> Column:
        return [form % row for row in zip(*(filler(size, rng) for filler in fillers), strict=True)]

    return fill


_OCTET: Final = _whole(1, 255)
_PRODUCT: Final = _whole(1000, 48_000)
FILLERS: Final[dict[str, _Filler]] = {
    "address": _joined("10.%s.%s.%s", _whole(20, 24), _OCTET, _OCTET),
    "amount": _joined("%s.%s", _whole(4, 900), _whole(10, 100)),
    "batch": _whole(40, 500),
    "bytes": _whole(300, 90_000),
    "carrier": _words("parcelway", "northpost", "quickship"),
    "category": _words("books", "garden", "kitchen", "toys", "outdoor", "audio"),
    "client": _joined("%s.%s.%s.%s", _whole(31, 200), _OCTET, _OCTET, _OCTET),
    "connection": _whole(100_000, 9_000_000),
    "currency": _words("EUR", "EUR", "EUR", "CHF", "GBP"),
    "customer": _whole(10_000, 900_000),
    "few": _whole(1, 9),
    "hash": _hex(12),
    "heapmb": _whole(3600, 4090),
    "items": _whole(1, 12),
    "long_ms": _time(2600, 0.4),
    "method": _words("GET", "GET", "GET", "POST"),
    "ms": _time(38, 0.7),
    "offset": _whole(1_000_000, 90_000_000),
    "ok": _words("200", "200", "200", "200", "304", "201"),
    "order": _whole(4_000_000, 4_900_000),
    "page": _joined("/%s/%s", _words("p", "c", "search", "basket", "account"), _PRODUCT),
    "part": _whole(0, 12),
    "percent": _whole(86, 100),
    "pid": _whole(120, 32_000),
    "pod": lambda size, rng: _hex(10)(1, rng) * size,  # it is one of them that fails
    "port": _whole(32_768, 61_000),
    "product": _PRODUCT,
    "query": _words("lamp", "usb cable", "tent", "rain coat", "board game", "bike light"),
    "seconds": _joined("%s.%s", _whole(3, 19), _whole(100, 999)),
    "segment": _whole(10_000, 80_000),
    "server_error": _words("500", "502", "503", "504"),
    "session": _hex(16),
    "spread": _whole(20, 4000),
    "thread": _joined("http-nio-8080-exec-%s", _whole(1, 40)),
    "trace": _hex(32),
    "uuid": _uuid,
    "waiting": _whole(11, 90),
}  # fmt: skip
"""What stands in a gap, by its name."""


def gaps_of(wordings: Sequence[Wording]) -> set[str]:
    """The names of all gaps that the wordings use."""
    return {gap for wording in wordings for gap in _GAP.findall(wording.text + wording.fields)}
