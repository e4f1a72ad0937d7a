"""The configuration: one YAML file, read strictly, refused with the path of the key and what was expected.

Owns: `load`, `parse`, `with_store`, and `describe` with `settings_table`, which tell of every setting from its one
declaration (in `sections.py`). Knows nouns; imports no room and no vendor library but PyYAML. Nothing here reads the
environment or a clock by itself, and no message quotes a secret.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from forewarn.config.document import read_document
from forewarn.config.durations import format_duration, parse_duration
from forewarn.config.kinds import Kind, Place, read_section
from forewarn.config.meaning import Config, DatasourceConfig, StoreSettings, TargetConfig, config_of, with_store
from forewarn.config.sections import TopSection
from forewarn.config.watched import LogConfig
from forewarn.errors import ConfigError

__all__ = [
    "Config",
    "DatasourceConfig",
    "LogConfig",
    "SettingRow",
    "StoreSettings",
    "TargetConfig",
    "describe",
    "format_duration",
    "load",
    "parse",
    "parse_duration",
    "settings_table",
    "with_store",
]


def load(path: str | Path, environ: Mapping[str, str]) -> Config:
    """The configuration in the file at `path`; relative paths in it start from its folder. ConfigError if it is refused."""
    file = Path(path).absolute()
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), f"is not UTF-8 text: byte {error.start} is {error.object[error.start]:#04x}") from None
    return parse(text, environ, file.parent)


def parse(text: str, environ: Mapping[str, str], base: Path) -> Config:
    """The configuration in `text`, with `${NAME}` from `environ` and relative paths starting from `base`.

    Raises ConfigError for the first setting that is refused.
    """
    return config_of(read_section(TopSection, read_document(text, environ), Place("", base)), base)


class SettingRow(NamedTuple):
    """One setting, for people: `detectors[].bucket`, `duration`, `5m`, its help."""

    path: str
    type: str
    default: str
    help: str


def describe() -> tuple[SettingRow, ...]:
    """Every setting, in the order of the file; `[]` stands for the items of a list and `<name>` for names of your choice."""
    return tuple(_rows(TopSection, ""))


def _rows(section: type, path: str) -> Iterator[SettingRow]:
    for field in dataclasses.fields(section):
        kind: Kind = field.metadata["kind"]
        below = f"{path}{field.name}"
        yield SettingRow(below, kind.label, _default(field, kind), field.metadata["help"])
        if kind.section is not None:
            yield from _rows(kind.section, f"{below}{kind.suffix}.")


def _default(field: "dataclasses.Field[object]", kind: Kind) -> str:
    if field.default is dataclasses.MISSING:
        return "required"
    if field.default is None or field.default in ("", ()):
        return "none"
    return "" if dataclasses.is_dataclass(field.default) else kind.show(field.default)


def settings_table() -> str:
    """Every setting as a Markdown table, for the README."""
    lines = ["| Setting | Type | Default | |", "|---|---|---|---|"]
    for row in describe():
        path, label, default, text = (cell.replace("|", "\\|") for cell in row)
        shown = f"`{default}`" if default not in ("", "none", "required") else default
        lines.append(f"| `{path}` | {label} | {shown} | {text} |")
    return "\n".join(lines) + "\n"
