"""The part of Lucene's query syntax that files can be searched by.

Owns: `parse`. Understood: `field:value`, `field:"some value"`, `field:(a OR b)`, `field:*` and `_exists_:field`, `*:*`,
wildcards `*` and `?`, ranges `[a TO b]`, `{a TO b}`, `>=` `>` `<=` `<`, AND OR NOT && || ! + -, parentheses, backslash.
Clauses combine as in Elasticsearch, where AND makes both of its sides necessary and OR neither: `a OR b AND c` needs b
and c. Refused, with a reason: values without a field, fuzziness, boosts, regular expressions, wildcards in field names.
"""

import re
from typing import Final

from forewarn.sources.file_conditions import All, Between, Condition, Equals, Exists, Like, QueryRefused, boolean

_TOKEN: Final = re.compile(
    r"""(?P<space>\s+)
      | (?P<quoted>"(?:[^"\\]|\\.)*")
      | (?P<range>[\[{](?:"(?:[^"\\]|\\.)*"|[^\]}"])*[\]}])
      | (?P<term>(?:[^\s+\-!():^\[\]"{}~\\/]|\\.)(?:[^\s!():^\[\]"{}~\\/]|\\.)*)
      | (?P<sign>&&|\|\||[+\-!():^~/])""",
    re.VERBOSE | re.DOTALL,
)
_RANGE: Final = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[^\s"]+)\s+TO\s+("(?:[^"\\]|\\.)*"|[^\s"]+)\s*', re.DOTALL)
_COMPARED: Final = re.compile(r"(>=|<=|>|<)(.+)", re.DOTALL)
_REASONS: Final = {
    "^": "boosts (^) have no meaning for files",
    "~": "fuzzy and proximity searches (~) are not supported for files",
    "/": "regular expressions are not supported for files; put a value with / in quotes",
}
_AND: Final = frozenset({"AND", "&&"})
_OR: Final = frozenset({"OR", "||"})
_NOT: Final = frozenset({"NOT", "!", "-"})

Token = tuple[str, str]
_END: Final[Token] = ("end", "")


def parse(query: str) -> Condition:
    """The condition that the query stands for; raises QueryRefused for what does not parse or is not supported."""
    parser = _Parser(_tokens(query))
    condition = parser.clauses(None)
    if parser.token != _END:
        raise QueryRefused(f"unexpected {parser.token[1]!r} in {query!r}")
    return condition


def _tokens(query: str) -> list[Token]:
    found, position = [], 0
    while position < len(query):
        match = _TOKEN.match(query, position)
        if match is None:
            raise QueryRefused(f"cannot read {query[position:]!r} in {query!r}: a bracket, quote or backslash is not closed")
        kind, text, position = str(match.lastgroup), match.group(), match.end()
        if kind == "sign" or (kind == "term" and text in _AND | _OR | {"NOT"}):
            kind = "sign"
        if kind == "sign" and text in "+-!" and query[position : position + 1].isspace():
            raise QueryRefused(f"{text!r} in {query!r}: must stand right before what it is about")
        if kind != "space":
            found.append((kind, text))
    return found


class _Parser:
    """Goes through the tokens once; `field` is the one that a group in parentheses was given."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._next = 0

    @property
    def token(self) -> Token:
        return self._tokens[self._next] if self._next < len(self._tokens) else _END

    def clauses(self, field: str | None) -> Condition:
        """Clauses up to a closing parenthesis or the end, as Lucene's classic parser groups them."""
        clauses: list[tuple[str, Condition]] = []
        while self.token not in (_END, ("sign", ")")):
            joined = self._take(_AND | _OR) if clauses else None
            mark = self._take(_NOT | {"+"})
            if clauses and joined is None and mark is None:
                self._refuse_neighbours()
            if joined in _AND and clauses[-1][0] != "must_not":
                clauses[-1] = ("must", clauses[-1][1])
            role = "must_not" if mark in _NOT else "must" if mark or joined in _AND else "should"
            clauses.append((role, self._clause(field)))
        if not clauses:
            raise QueryRefused("expected a condition such as field:value")
        by_role = {role: [part for found, part in clauses if found == role] for role in ("must", "should", "must_not")}
        return boolean(by_role["must"], by_role["should"], by_role["must_not"])

    def _clause(self, field: str | None) -> Condition:
        kind, text = self.token
        if kind == "term" and self._peek() == ("sign", ":"):
            self._next += 2
            return self._clause(_field_name(text, field))
        self._next += 1
        if (kind, text) == ("sign", "("):
            inner = self.clauses(field)
            if self.token != ("sign", ")"):
                raise QueryRefused("a parenthesis is not closed")
            self._next += 1
            return self._plain(inner)
        if kind == "term" and text == "*" and field in (None, "*"):
            return self._plain(All())
        if text in _REASONS:
            raise QueryRefused(_REASONS[text])
        if kind not in ("term", "quoted", "range"):
            after = f"after {field}: " if field else ""
            raise QueryRefused(
                f"{after}expected a value, got {text!r}; put it in quotes if it is one" if text else "the end is missing"
            )
        if field is None or field == "*":
            raise QueryRefused(f"{text!r} has no field: for files every value needs one, as in field:value")
        return self._plain(_leaf(field, kind, text))

    def _refuse_neighbours(self) -> None:
        """Elasticsearch takes `field:(a b)` for one value with a blank if the field is a keyword, and for two if it is text."""
        (before, first), (kind, second) = self._tokens[self._next - 1], self.token
        if before == kind == "term" and self._peek() != ("sign", ":"):
            raise QueryRefused(f"{first} {second}: put OR between the two, or quotes around them")

    def _plain(self, condition: Condition) -> Condition:
        """The condition, unless something follows that would change it."""
        if self.token[1] in _REASONS:
            raise QueryRefused(_REASONS[self.token[1]])
        return condition

    def _take(self, signs: frozenset[str]) -> str | None:
        kind, text = self.token
        if kind != "sign" or text not in signs:
            return None
        self._next += 1
        return text

    def _peek(self) -> Token:
        return self._tokens[self._next + 1] if self._next + 1 < len(self._tokens) else _END


def _field_name(text: str, outer: str | None) -> str:
    if outer is not None:
        raise QueryRefused(f"{outer}:{text}: is a field of a field; put the value in quotes")
    if text != "*" and any(wild for wild, _ in _parts(text)):
        raise QueryRefused(f"{text}: wildcards in field names are not supported for files")
    return text if text == "*" else _unescaped(text)


def _leaf(field: str, kind: str, text: str) -> Condition:
    if kind == "range":
        return _range(field, text)
    value = text[1:-1] if kind == "quoted" else text
    if compared := _COMPARED.fullmatch(value):
        if kind == "quoted":
            raise QueryRefused(f"{field}:{text}: a comparison in quotes; leave the quotes out, or escape the first sign")
        sign, bound = compared.group(1), _unescaped(compared.group(2))
        low, high = (bound, None) if sign[0] == ">" else (None, bound)
        return Between(field, low, high, sign != ">", sign != "<")
    if field == "_exists_":
        return Exists(_unescaped(value))
    if kind == "term" and text == "*":
        return Exists(field)
    parts = _parts(value)
    if kind == "term" and any(wild for wild, _ in parts):
        return Like(field, parts)
    return Equals(field, _unescaped(value))


def _range(field: str, text: str) -> Condition:
    bounds = _RANGE.fullmatch(text[1:-1])
    if bounds is None:
        raise QueryRefused(f"{field}:{text}: expected a range such as [1 TO 5]")
    low, high = (
        None if bound == "*" else _unescaped(bound[1:-1] if bound.startswith('"') else bound) for bound in bounds.groups()
    )
    if low is None and high is None:
        return Exists(field)
    return Between(field, low, high, text[0] == "[", text[-1] == "]")


def _parts(text: str) -> tuple[tuple[bool, str], ...]:
    """Runs of text and wildcards; a backslash makes the sign after it plain text."""
    found = re.findall(r"(\\.|[^*?\\])|([*?])", text, flags=re.DOTALL)
    parts: list[tuple[bool, str]] = []
    for plain, wild in found:
        if plain and parts and not parts[-1][0]:
            parts[-1] = (False, parts[-1][1] + plain[-1])
        else:
            parts.append((bool(wild), wild or plain[-1]))
    return tuple(parts)


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)
