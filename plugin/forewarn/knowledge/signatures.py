"""Whether a regular expression may be run over hostile text: no expression that can take more than a bounded effort.

Owns `weakness` and `needles`. Python's engine backtracks, so `(a+)+` over 30 letters takes minutes, and two `.*` over a line
of 2,000 characters millions of steps. What is counted here is the number of ways in which an expression can be tried at one
place of a line; a signature must stay below MOST_WAYS of them. Reads the tree of the standard library's own parser.
"""

import importlib
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

LONGEST_LINE: Final = 2000
"""Signatures are tried on at most this many characters of a text."""
LONGEST_SIGNATURE: Final = 300
MOST_WAYS: Final = 5000
_SHORTEST_NEEDLE: Final = 3

_PARSER: Final = importlib.import_module("re._parser")
_REPEATS: Final = frozenset({"MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"})
_SINGLE: Final = frozenset({"LITERAL", "NOT_LITERAL", "ANY", "IN"})
_CATEGORIES: Final[dict[str, Callable[[str], bool]]] = {
    "CATEGORY_DIGIT": str.isdigit,
    "CATEGORY_NOT_DIGIT": lambda c: not c.isdigit(),
    "CATEGORY_SPACE": str.isspace,
    "CATEGORY_NOT_SPACE": lambda c: not c.isspace(),
    "CATEGORY_WORD": lambda c: c.isalnum() or c == "_",
    "CATEGORY_NOT_WORD": lambda c: not (c.isalnum() or c == "_"),
}
_Item = tuple[Any, Any]


def weakness(signature: str) -> str | None:
    """Why a signature is refused, None if it may be used: it must be a regular expression of bounded effort, and must not
    match the empty text.
    """
    if len(signature) > LONGEST_SIGNATURE:
        return f"is longer than {LONGEST_SIGNATURE} characters"
    try:
        compiled = re.compile(signature, re.IGNORECASE)
        tree = _PARSER.parse(signature, re.IGNORECASE)
    except (re.error, OverflowError, RecursionError) as error:
        return f"is not a regular expression: {error}"
    if compiled.search("") is not None:
        return "matches the empty text, and so every line"
    if _ways(list(tree), last=True) > MOST_WAYS:
        return (
            "could take very long on a hostile line: it repeats what repeats, or has several wildcards; "
            "write bounded ones such as .{0,80} or [^ ]{1,40}"
        )
    return None


def needles(signature: str) -> tuple[str, ...]:
    """Lower-case texts of which a line that matches must contain at least one, empty if that cannot be said.

    Looking for a text is a hundred times faster than an expression that ignores case; nearly no line holds any.
    """
    return _needles(list(_PARSER.parse(signature, re.IGNORECASE)))


def _needles(items: Sequence[_Item]) -> tuple[str, ...]:
    """The best of what the parts of a sequence ask for: that whose shortest text is longest."""
    found: list[tuple[str, ...]] = []
    run = ""
    for op, value in [*items, (None, None)]:
        if str(op) == "LITERAL" and value < 128:
            run += chr(value).lower()
            continue
        found.append((run,))
        run = ""
        if str(op) == "SUBPATTERN":
            found.append(_needles(list(value[-1])))
        elif str(op) == "BRANCH":
            alternatives = [_needles(list(alternative)) for alternative in value[1]]
            found.append(tuple(text for texts in alternatives for text in texts) if all(alternatives) else ())
    useful = [texts for texts in found if texts and min(map(len, texts)) >= _SHORTEST_NEEDLE]
    return max(useful, key=lambda texts: min(map(len, texts)), default=())


def _ways(items: Sequence[_Item], *, last: bool = False) -> float:
    """In how many ways a sequence can be tried at one place. `last`: nothing follows it, so its end never tries again."""
    ways = 1.0
    for index, (op, value) in enumerate(items):
        follows = items[index + 1] if index + 1 < len(items) else None
        if str(op) in _REPEATS:
            ways *= _repeat(value, follows, last=last and follows is None)
        else:
            ways *= _of(str(op), value)
        if ways > 1e12:
            return ways
    return ways


def _of(op: str, value: Any) -> float:
    if op == "BRANCH":
        return sum(_ways(list(alternative)) for alternative in value[1])
    if op == "SUBPATTERN":
        return _ways(list(value[-1]))
    if op in ("ASSERT", "ASSERT_NOT"):
        return _ways(list(value[1]))
    if op == "ATOMIC_GROUP":
        return _ways(list(value))
    if op == "GROUPREF_EXISTS":
        return sum(_ways(list(part)) for part in value[1:] if part is not None)
    return LONGEST_LINE if op == "GROUPREF" else 1.0


def _repeat(value: tuple[int, int, Any], follows: _Item | None, *, last: bool) -> float:
    low, high = value[0], min(int(value[1]), LONGEST_LINE)
    body = list(value[2])
    if len(body) == 1 and str(body[0][0]) in _SINGLE:
        if last or (follows is not None and _excludes(body[0], follows)):
            return 1.0  # it can end in one place alone
        return max(1.0, high - low + 1.0)
    inner = _ways(body)
    if inner == 1.0:
        return max(1.0, high - low + 1.0)
    return float(min(inner, 1e6) ** min(high, 50))


def _excludes(item: _Item, follows: _Item) -> bool:
    """Whether what follows is a character that the repeated item can never be."""
    if str(follows[0]) != "LITERAL":
        return False
    character = chr(follows[1])
    return not any(_matches(item, variant) for variant in {character.lower(), character.upper()})


def _matches(item: _Item, character: str) -> bool:
    op, value = str(item[0]), item[1]
    if op == "LITERAL":
        return bool(character == chr(value))
    if op == "NOT_LITERAL":
        return bool(character != chr(value))
    if op == "RANGE":
        return bool(value[0] <= ord(character) <= value[1])
    if op == "CATEGORY":
        return str(value) not in _CATEGORIES or _CATEGORIES[str(value)](character)
    if op == "IN":
        negated = str(value[0][0]) == "NEGATE"
        return negated != any(_matches(part, character) for part in value[negated:])
    return True
