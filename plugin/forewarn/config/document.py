"""The configuration file as plain values: YAML read strictly, then variables of the environment put in.

Owns: read_document, FromEnvironment, the syntax `${NAME}`. Knows nothing of what the settings mean.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import yaml

from forewarn.errors import ConfigError

_DEEPEST: Final = 40
_TAGS: Final = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("str", "bool", "int", "float", "null", "merge", "seq", "map"))
_VARIABLE: Final = re.compile(r"\$(?:(?P<literal>\$)|\{(?P<inside>[^}]*)(?P<closed>\})?)")
_INSIDE: Final = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>.*))?", re.DOTALL)


class Substituted(str):
    """Text that was put together from variables or their defaults: may stand for a number."""

    __slots__ = ()


class FromEnvironment(Substituted):
    """Text of which a part came out of the environment: it may be a secret, and is never quoted in a message."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "a value from the environment"


class _Loader(yaml.SafeLoader):
    """YAML 1.2's core schema: only true and false are booleans, and there are no dates, sexagesimals or octals by
    accident, so that the country NO, the clock time 1:30, the number 007 and the date 2026-01-01 stay text.
    """

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - the name is PyYAML's


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+", "-+.0123456789"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", r"<<", "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})\\Z"), list(_first))


def read_document(text: str, environ: Mapping[str, str]) -> dict[str, Any]:
    """The top-level mapping of a YAML document, with `${NAME}` in its text values replaced from `environ`.

    Keys are text and unique in their mapping. Substitution happens after parsing and only inside text values, so no value
    of the environment can change the structure: `${NAME}` must be set, `${NAME:-default}` falls back if it is unset or
    empty, `$$` is a dollar sign. Raises ConfigError with the key's path, or the line where there is no path yet.
    """
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            raise ConfigError("(file)", "is empty; expected at least `detectors:`")
        _check_keys(node, "", 0)
        if not isinstance(node, yaml.MappingNode):
            raise ConfigError("(file)", "expected settings such as `detectors:` at the top")
        document = loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "(file)"
        raise ConfigError(where, f"not valid YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError("(file)", f"not valid YAML: {str(error).splitlines()[0]}") from None
    except RecursionError:  # the parser itself recurses, before our own check can count
        raise ConfigError("(file)", f"is nested deeper than {_DEEPEST} levels") from None
    finally:
        if loader is not None:
            loader.dispose()
    return {key: _substitute(value, key, environ) for key, value in document.items()}


def _check_keys(node: yaml.Node, path: str, depth: int) -> None:
    if depth > _DEEPEST:
        raise ConfigError(path, f"is nested deeper than {_DEEPEST} levels")
    if node.tag not in _TAGS:
        raise ConfigError(path or "(file)", f"the tag {node.tag} on line {node.start_mark.line + 1} is not supported")
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            _check_keys(item, f"{path}[{number}]", depth + 1)
    if not isinstance(node, yaml.MappingNode):
        return
    lines: dict[str, int] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode) or key.tag not in ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"):
            shown = f" {key.value!r}" if isinstance(key, yaml.ScalarNode) else ""
            raise ConfigError(path or "(file)", f"the key{shown} on line {line} is not text; put it in quotes")
        below = f"{path}.{key.value}" if path else key.value
        if key.value in lines:
            raise ConfigError(below, f"is given twice, on lines {lines[key.value]} and {line}")
        lines[key.value] = line
        _check_keys(value, below, depth + 1)


def _substitute(value: Any, path: str, environ: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _substitute(item, f"{path}.{key}", environ) for key, item in value.items()}
    if isinstance(value, list):
        return [_substitute(item, f"{path}[{number}]", environ) for number, item in enumerate(value)]
    return _expand(value, path, environ) if isinstance(value, str) and "$" in value else value


def _expand(text: str, path: str, environ: Mapping[str, str]) -> str:
    kind: type[str] = str

    def replacement(match: re.Match[str]) -> str:
        nonlocal kind
        if match["literal"]:
            return "$"
        inside = _INSIDE.fullmatch(match["inside"]) if match["closed"] else None
        if inside is None:
            raise ConfigError(path, "expected ${NAME} or ${NAME:-default}; write $$ for a dollar sign")
        name, default = inside["name"], inside["default"]
        found = environ.get(name)
        if default is not None and not found:
            kind = kind if kind is FromEnvironment else Substituted
            return str(default)
        if found is None:
            raise ConfigError(path, f"the environment variable {name} is not set; set it, or write ${{{name}:-default}}")
        kind = FromEnvironment
        return found

    expanded = _VARIABLE.sub(replacement, text)
    return kind(expanded)
