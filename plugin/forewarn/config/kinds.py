"""Kinds of settings, and the reading of declared sections: every refusal names the key's full path and what was expected.

Owns: Place, Kind, setting, read_section, the general kinds. A section is a frozen dataclass whose fields are declared with
`setting`: its type, its default and its help stand there once, and loading, docs and checks all read them from there.
Knows nothing of what a particular setting means.
"""

import dataclasses
import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from forewarn.config.document import FromEnvironment, Substituted
from forewarn.config.durations import format_duration, parse_duration
from forewarn.errors import ConfigError

T = TypeVar("T")

REQUIRED: Final = object()
"""The default of a setting that has none."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the file a value stands. `base` is the folder of the file; `about` names the detector or target around it."""

    path: str
    base: Path
    about: str = ""

    def at(self, key: str) -> "Place":
        """The place of a key of the mapping here."""
        return dataclasses.replace(self, path=f"{self.path}.{key}" if self.path else key)

    def item(self, number: int) -> "Place":
        """The place of an item, counted from 0, of the list here."""
        return dataclasses.replace(self, path=f"{self.path}[{number}]")

    def refuse(self, why: str) -> ConfigError:
        """The error to raise for the value here."""
        return ConfigError(self.path or "(file)", f"{why} ({self.about})" if self.about else why)

    def expected(self, what: str, value: object) -> ConfigError:
        """The error to raise for a value that is not `what`; quotes it unless it came from the environment."""
        return self.refuse(f"expected {what}, got {shown(value)}")


def shown(value: object) -> str:
    """How a refused value is quoted in a message: short, and never anything that came from the environment."""
    if value is None:
        return "nothing"
    if isinstance(value, FromEnvironment):
        return "a value from the environment"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(str(value)) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _form(value: object) -> str:
    """What a value is, without quoting it: one that stands where a list of secrets belongs may be one."""
    if isinstance(value, bool | int | float):
        return "true or false" if isinstance(value, bool) else "a number"
    return "text" if isinstance(value, str) else shown(value)


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean "x"?` for the most similar known word, "" if none is similar."""
    by_folded = {name.casefold(): name for name in known}
    match = difflib.get_close_matches(word.casefold(), by_folded, n=1, cutoff=0.6)
    return f'; did you mean "{by_folded[match[0]]}"?' if match else ""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of value: what to call it, how to read it from YAML, how to write it in docs.

    `read(value, place)` returns the value as the program wants it or raises ConfigError. `section` is the dataclass behind
    a mapping, `suffix` what the paths of its settings get (`[]`, `.<name>`).
    """

    label: str
    read: Callable[[Any, Place], Any]
    show: Callable[[Any], str] = str
    section: type | None = None
    suffix: str = ""


def setting(kind: Kind, help_: str, default: Any = REQUIRED) -> Any:
    """Declares one setting of a section; `default` is the value as the program wants it, or REQUIRED."""
    metadata = {"kind": kind, "help": help_}
    if default is REQUIRED:
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def read_section(cls: type[T], value: Any, place: Place) -> T:
    """An instance of the declared section from a YAML mapping; a key without a value counts as not given.

    A class attribute `RESERVED` maps keys that a later version will know to what they will do: they are refused saying so.
    """
    if not isinstance(value, dict):
        raise place.expected("settings (a mapping)", value)
    fields = {field.name: field for field in dataclasses.fields(cast("Any", cls))}
    reserved: Mapping[str, str] = getattr(cls, "RESERVED", {})
    for key, given in value.items():
        if key in reserved and given not in (None, {}, []):
            raise place.at(key).refuse(f"not available yet in this version ({reserved[key]}); leave it out")
        if key not in fields and key not in reserved:
            known = ", ".join(sorted(fields))
            raise place.at(key).refuse(f"unknown setting{nearest(key, fields) or f'; expected one of {known}'}")
    arguments = {}
    for name, field in fields.items():
        if value.get(name) is not None:
            arguments[name] = field.metadata["kind"].read(value[name], place.at(name))
        elif field.default is dataclasses.MISSING:
            raise place.at(name).refuse(f"is required: {field.metadata['kind'].label}")
    return cls(**arguments)


def nested(cls: type, short: str = "") -> Kind:
    """A mapping with the settings of a declared section; text alone stands for its setting `short`, if there is one."""

    def read(value: Any, place: Place) -> Any:
        return read_section(cls, {short: value} if short and isinstance(value, str) else value, place)

    return Kind(f"mapping, or just its `{short}`" if short else "mapping", read, section=cls)


def map_of(kind: Kind, name: Kind) -> Kind:
    """A mapping with names of the file's choosing, read as a tuple of (name, value)."""

    def read(value: Any, place: Place) -> tuple[tuple[str, Any], ...]:
        if not isinstance(value, dict):
            raise place.refuse(f"expected a mapping of names, got {_form(value)}")
        return tuple((name.read(key, place), kind.read(item, place.at(key))) for key, item in value.items())

    return Kind(f"mapping of name to {kind.label}", read, lambda _: "{}", kind.section, ".<name>")


def list_of(kind: Kind, least: int = 0, most: int | None = None) -> Kind:
    """A list, read as a tuple."""
    bounds = f"at least {least}" if most is None else f"{least} to {most}" if least else f"at most {most}"
    label = f"list of {kind.label}" + (f", {bounds}" if least or most is not None else "")

    def read(value: Any, place: Place) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise place.refuse(f"expected a {label}, such as [...], got {_form(value)}")
        if len(value) < least or (most is not None and len(value) > most):
            raise place.refuse(f"expected a {label}, got {len(value)}")
        return tuple(kind.read(item, place.item(number)) for number, item in enumerate(value))

    return Kind(label, read, lambda values: f"[{', '.join(kind.show(v) for v in values)}]", kind.section, "[]")


def text_matching(label: str, accept: Callable[[str], bool] = lambda _: True) -> Kind:
    """Text, not blank, that `accept` takes; surrounding blanks are dropped."""

    def read(value: Any, place: Place) -> str:
        if not isinstance(value, str):
            hint = "; put it in quotes" if isinstance(value, bool | int | float) else ""
            raise place.refuse(f"expected {label}, got {shown(value)}{hint}")
        text = str(value).strip()
        if not text or not accept(text):
            raise place.expected(label, value)
        return text

    return Kind(label, read)


TEXT: Final = text_matching("text")


def one_of(*words: str, reserved: Mapping[str, str] | None = None) -> Kind:
    """One of some words; `reserved` words will be known to a later version."""
    label = "one of " + ", ".join(words)

    def read(value: Any, place: Place) -> str:
        if isinstance(value, str) and str(value) in words:
            return str(value)
        if isinstance(value, str) and reserved and str(value) in reserved:
            raise place.refuse(
                f"{shown(value)} is not available yet in this version ({reserved[str(value)]}); expected {label}"
            )
        hint = nearest(str(value), words) if isinstance(value, str) and not isinstance(value, FromEnvironment) else ""
        raise place.refuse(f"expected {label}, got {shown(value)}{hint}")

    return Kind(label, read)


def _read_switch(value: Any, place: Place) -> bool:
    if isinstance(value, Substituted) and str(value) in ("true", "false"):
        return str(value) == "true"
    if not isinstance(value, bool):
        raise place.expected("true or false", value)
    return value


SWITCH: Final = Kind("true or false", _read_switch, lambda value: str(value).lower())


def integer(least: int, most: int) -> Kind:
    """A whole number in [least, most]."""
    label = f"whole number from {least} to {most}"

    def read(value: Any, place: Place) -> int:
        number = value
        if isinstance(value, Substituted):
            try:
                number = int(value)
            except ValueError:
                raise place.expected(f"a {label}", value) from None
        if isinstance(number, bool) or not isinstance(number, int) or not least <= number <= most:
            raise place.expected(f"a {label}", value)
        return number

    return Kind(label, read)


def duration(least: int = 0, most: int | None = None) -> Kind:
    """A duration with units, read as milliseconds in [least, most]."""

    def read(value: Any, place: Place) -> int:
        if not isinstance(value, str):
            hint = f'; write its unit, as in "{value}s"' if isinstance(value, int) and not isinstance(value, bool) else ""
            raise place.refuse(f"expected a duration such as 90s, 5m, 1h30m or 7d, got {shown(value)}{hint}")
        try:
            milliseconds = parse_duration(value)
        except ValueError:
            raise place.expected("a duration such as 90s, 5m, 1h30m or 7d", value) from None
        if milliseconds < least:
            raise place.expected(f"at least {format_duration(least)}", value)
        if most is not None and milliseconds > most:
            raise place.expected(f"at most {format_duration(most)}", value)
        return milliseconds

    return Kind("duration", read, format_duration)


def finite(value: object) -> float | None:
    """A YAML number as a finite float; None for anything else, true and false included."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    return None


def _resolve(value: Any, place: Place) -> str:
    return str(place.base / str(TEXT.read(value, place)))


FILE: Final = Kind("path, relative to this file", _resolve)


def _read_secret(value: Any, place: Place) -> str:
    if isinstance(value, dict):
        if set(value) != {"file"}:
            raise place.refuse("expected {file: path} with the secret in the file")
        path = Path(FILE.read(value["file"], place.at("file")))
        try:
            text = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise place.at("file").refuse(f"cannot read the secret from {path}: {why}") from None
        if not text:
            raise place.at("file").refuse(f"the file {path} is empty")
        return text
    if not isinstance(value, FromEnvironment):
        raise place.refuse('expected "${NAME}" from the environment or {file: path}: a secret does not stand in this file')
    if not value.strip():
        raise place.refuse("the environment variable is set, but empty")
    return str(value)


SECRET: Final = Kind("secret: ${NAME} or {file: path}", _read_secret, lambda _: "")
