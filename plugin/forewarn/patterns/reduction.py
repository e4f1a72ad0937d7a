"""The part of a message that names its pattern: the message inside JSON and logfmt, the head and the cause of a stack trace.

Owns: `reduced`, which is a pure function of one message. Knows nothing of masks.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Final

_MESSAGE_FIELDS: Final = ("msg", "message", "event", "log", "body")
_LEVEL_FIELDS: Final = ("level", "severity", "log.level", "lvl", "loglevel")
_MOST_KEYS: Final = 64
_MOST_BRACKETS: Final = 200
"""Deeper JSON is taken as text: parsing it would nest as deep."""

# Begins only where a word begins, and what is quoted is not tried again: so that no text is gone through twice.
_PAIR: Final = re.compile(r'(?<!\S)([A-Za-z_][\w.-]{0,63})=(?>"((?>[^"\\]|\\.)*+)"|([^\s"]*+))(?!\S)', re.ASCII)
_LEAST_PAIRS: Final = 3
_SHARE_OF_PAIRS: Final = 0.7

_COLOUR: Final = re.compile(r"\x1b\[[0-9;]{0,20}[A-Za-z]")
_EXCEPTION: Final = re.compile(
    r"^(?:Caused by: {0,4})?((?:[A-Za-z_][\w$]{0,80}\.){0,12}[A-Z][\w$]{0,80}?"
    r"(?:Exception|Error|Throwable|Fault|Failure|Interrupt))(?![\w$.])",
    re.ASCII | re.MULTILINE,
)


def reduced(message: str) -> tuple[str, str]:
    """(the text whose shape is the pattern, the level that a structured message names or "")."""
    text = message.strip()
    if "\x1b" in text:
        text = _COLOUR.sub("", text)
    level = ""
    if text.startswith("{") and text.endswith("}"):
        text, level = _of_json(text)
    elif "=" in text:
        text, level = _of_pairs(text)
    if "\n" in text:
        text = _of_lines(text)
    return text, level


def _of_json(text: str) -> tuple[str, str]:
    if text.count("{") + text.count("[") > _MOST_BRACKETS:
        return text, ""
    try:
        found = json.loads(text)
    except ValueError:
        return text, ""
    return _of_fields(found, text) if isinstance(found, dict) else (text, "")


def _of_pairs(text: str) -> tuple[str, str]:
    """logfmt: at least three pairs that make up most of the line."""
    if text.count("=") < _LEAST_PAIRS:
        return text, ""
    pairs = _PAIR.findall(text)
    covered = sum(sum(map(len, pair)) + 2 for pair in pairs)
    if len(pairs) < _LEAST_PAIRS or covered < _SHARE_OF_PAIRS * len(text):
        return text, ""
    fields: dict[str, object] = {}
    for name, quoted, plain in pairs:
        fields.setdefault(name, quoted.replace('\\"', '"') if quoted else plain)
    return _of_fields(fields, text)


def _of_fields(fields: Mapping[str, object], whole: str) -> tuple[str, str]:
    level = next((value for name in _LEVEL_FIELDS if isinstance(value := fields.get(name), str)), "")
    if not level and isinstance(log := fields.get("log"), dict) and isinstance(log.get("level"), str):
        level = log["level"]
    for name in _MESSAGE_FIELDS:
        value = fields.get(name)
        if isinstance(value, str) and value.strip():
            return value.strip(), level
    keys = sorted(map(str, fields))[:_MOST_KEYS]
    return ("{" + ", ".join(keys) + "}" if keys else whole), level


def _of_lines(text: str) -> str:
    """The first line, and the class of the last exception that the others name: the root cause comes last."""
    first, _, rest = text.partition("\n")
    named: Sequence[str] = _EXCEPTION.findall(rest)
    return f"{first.rstrip()} | {named[-1]}" if named else first.rstrip()
