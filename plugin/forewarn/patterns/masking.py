"""Messages into shapes: what differs between two lines of the same statement becomes `<*>`.

Owns: Masker, `canonical`, MASK. A shape is a pure function of the canonical text of a message, in which every run of digits
is one `0`; so it depends neither on the order of messages nor on what was seen before. Caches only make it fast. All
quantifiers are bounded or have nothing to come back to: log text is written by strangers.
"""

import re
from collections.abc import Sequence
from typing import Final

CUT: Final = 2_000
"""Characters of a message that are looked at."""
WILD: Final = "<*>"

_SEPARATOR: Final = "\x1e"
_ONE_DIGIT: Final = bytes.maketrans(b"123456789", b"000000000")
_ZEROS: Final = re.compile(rb"00+")
_LONGEST_TOKEN: Final = 256
_LONGEST_KEY: Final = 500
_MOST_CACHED: Final = 100_000

_MONTHS: Final = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_WEEKDAYS: Final = r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
RULES: Final = (
    ("url", r"\b[A-Za-z][A-Za-z0-9+.-]{1,11}://[^\s\"'<>,)\]]+"),
    ("uuid", r"\b[0a-fA-F]{1,8}-(?:[0a-fA-F]{1,4}-){3}[0a-fA-F]{1,12}\b"),
    ("mac", r"\b(?:[0a-fA-F]{1,2}[:-]){5}[0a-fA-F]{1,2}\b"),
    ("host and port", r"\b(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}:\d+\b"),
    ("hex", r"\b0x[0a-fA-F]+\b|\b(?:0[a-fA-F]|[a-fA-F]+0)[0a-fA-F]*\b|\b[a-fA-F]{8,}\b"),
    ("path", r"(?:/[\w.@:+\-]+){2,}/?"),
    ("date", rf"(?:\b{_WEEKDAYS},? )?(?:\b{_MONTHS} +\d+|\b\d+[ \-/]{_MONTHS})(?:,?[ \-/:T]+\d[\d:.,]*)*"),
    ("word", r"\b(?:true|false|True|False|null|None|nil)\b"),
    (
        "number",
        r"[+-]?\d+(?:[.:,/\-]\d+)*(?:%|\s?(?:ms|us|ns|secs|sec|seconds|KB|MB|GB|KiB|MiB|GiB|bytes|B)\b)?",
    ),
)
"""Written for canonical text, so `0` stands for any run of digits. Order matters: the first that matches wins."""

# ASCII classes, so that every regular expression engine sees the same words in the same text.
MASK: Final = re.compile("|".join(rule for _, rule in RULES), re.ASCII)
_NEIGHBOURS: Final = re.compile(r"<\*>(?:[-:.,/_;|@ ]{0,2}<\*>)+")
_WORDS: Final = frozenset({"true", "false", "True", "False", "null", "None", "nil"})


def canonical(message: str) -> bytes:
    """The message, cut, with every run of ASCII digits as one `0`; UTF-8, lone surrogates kept."""
    return _ZEROS.sub(b"0", message[:CUT].encode("utf-8", "surrogatepass").translate(_ONE_DIGIT))


def canonicals(messages: Sequence[str]) -> list[bytes]:
    """`canonical` of each message, in a few operations over all of them; they must have been cut."""
    if not messages:
        return []
    joined = _SEPARATOR.join(messages).encode("utf-8", "surrogatepass")
    keys = _ZEROS.sub(b"0", joined.translate(_ONE_DIGIT)).split(b"\x1e")
    return keys if len(keys) == len(messages) else [canonical(message) for message in messages]


class _Tokens(dict[str, str]):
    """Tokens as they are masked alone; forgets everything once it is full."""

    def __missing__(self, token: str) -> str:
        if len(token) > _LONGEST_TOKEN:
            return WILD
        masked = token if token.isalpha() and token not in _WORDS else MASK.sub(WILD, token)
        if len(self) >= _MOST_CACHED:
            self.clear()
        self[token] = masked
        return masked


class Masker:
    """Shapes of messages, with caches of a bounded size."""

    def __init__(self) -> None:
        self._shapes: dict[bytes, str] = {}
        self._tokens = _Tokens()
        self._joined: dict[str, str] = {}

    def shapes(self, messages: Sequence[str]) -> list[str]:
        """The shape of each message; "" for one without words. Messages are cut to 2,000 characters by the caller."""
        keys = canonicals(messages)
        found: list[str | None] = list(map(self._shapes.get, keys))
        return [self._miss(key) if shape is None else shape for key, shape in zip(keys, found, strict=True)]

    def shape(self, message: str) -> str:
        """The shape of one message of any length."""
        return self._miss(canonical(message))

    def _miss(self, key: bytes) -> str:
        known = self._shapes.get(key)
        if known is not None:
            return known
        tokens = self._tokens
        joined = " ".join([tokens[token] for token in key.decode("utf-8", "surrogatepass").split()])
        shape = self._joined.get(joined)
        if shape is None:
            shape = shape_of(joined)
            _put(self._joined, joined, shape)
        if len(key) <= _LONGEST_KEY:
            if len(self._shapes) >= _MOST_CACHED:
                self._shapes.clear()
            self._shapes[key] = shape
        return shape


def shape_of(joined: str) -> str:
    """The shape of text whose tokens were masked one by one: dates and units hold blanks, so the whole is masked again."""
    again = re.sub("00+", "0", joined.replace(WILD, "0"))
    return _NEIGHBOURS.sub(WILD, MASK.sub(WILD, again))


def _put(cache: dict[str, str], key: str, value: str) -> None:
    if len(key) <= _LONGEST_KEY:
        if len(cache) >= _MOST_CACHED:
            cache.clear()
        cache[key] = value


def says_nothing(shape: str) -> bool:
    """Whether no letter is left beside the wild parts: empty lines, rulers, binary, bare numbers."""
    return not any(map(str.isalpha, shape.replace(WILD, "")))
