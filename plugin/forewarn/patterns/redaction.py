"""What must not stand in a stored example: passwords, tokens, keys, addresses, card numbers, and what the user names.

Owns: Redaction. Masking hides numbers and hexadecimal, not names or secrets; so pattern texts pass through here too. Cutting
comes after redacting: half a secret would not be recognised.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from forewarn.pattern import EXAMPLE_LENGTH

REDACTED: Final = "[redacted]"

_GUARDED: Final = (
    r"(?:pass(?:word|wd|phrase)?|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credentials?|session[_-]?id|"
    r"(?:set-)?cookie|jwt|signature|client[_-]?secret)"
)
_BUILT_IN: Final = (
    (re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*", re.DOTALL), REDACTED),
    (re.compile(r"\beyJ[\w-]{4,}\.[\w-]{4,}(?:\.[\w-]*)?", re.ASCII), REDACTED),
    (re.compile(r"(?i)\b(authorization[\"']?\s{0,3}[:=]\s{0,3}[\"']?)(?:[a-z]{2,12}\s{1,3})?[^\s\"',;]+"), rf"\1{REDACTED}"),
    (re.compile(r"(?i)\b(bearer|basic)\s{1,3}[a-z0-9._~+/=-]{6,}"), rf"\1 {REDACTED}"),
    (
        re.compile(
            rf"(?i)\b((?:[\w.-]{{1,40}}[_.-])?{_GUARDED}[\"']?\s{{0,3}}[:=]\s{{0,3}})"
            r"(?!<\*>|\[redacted\])(?:\"[^\"]{1,500}\"|'[^']{1,500}'|[^\s\"',;&}\])]+)"
        ),
        rf"\1{REDACTED}",
    ),
    (re.compile(r"(?i)(://[^\s/:@]{0,100}:)[^\s/@]{1,200}@"), rf"\1{REDACTED}@"),
    (re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"), REDACTED),
    (re.compile(r"\b(?:gh[opsu]|xox[abpr]|sk|pk)[_-][A-Za-z0-9_-]{16,}"), REDACTED),
    (re.compile(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}"), REDACTED),
    (re.compile(r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w-])", re.ASCII), REDACTED),
)
_HINT: Final = re.compile(
    r"(?i)@|eyJ|pass|pwd|secret|token|key|cred|session|cookie|jwt|signature|auth|bearer|basic|A[KS]IA|gh[opsu][_-]|xox|[sp]k[_-]"
    r"|\d[ -]?\d{3}"
)
"""Cheap to look for, and part of everything that the expressions above match."""
_CONTROL: Final = re.compile(r"(?:\x1b\[[0-9;]{0,20}[A-Za-z]|[\x00-\x1f\x7f-\x9f\u2028\u2029])+")


class Redaction:
    """The built-in expressions and those of one log stream, in that order."""

    def __init__(self, more: Sequence[str] = ()) -> None:
        self._more = tuple(re.compile(expression) for expression in more)

    def __call__(self, text: str) -> str:
        """The text without what must not be stored."""
        if _HINT.search(text):
            for expression, instead in _BUILT_IN:
                text = expression.sub(instead, text)
        for expression in self._more:
            text = expression.sub(REDACTED, text)
        return text

    def example(self, message: str) -> str:
        """One line of at most 500 characters: redacted, line ends shown as a sign, other control characters gone."""
        text = self(message)
        line = _CONTROL.sub(" ", text.replace("\r", "").strip().replace("\n", " \u23ce "))
        line = line.encode("utf-8", "replace").decode()  # a lone surrogate cannot be stored
        return line if len(line) <= EXAMPLE_LENGTH else line[: EXAMPLE_LENGTH - 1] + "\u2026"


@lru_cache(maxsize=256)
def redaction_of(more: tuple[str, ...]) -> Redaction:
    """The redaction of a stream with these expressions of its own."""
    return Redaction(more)
