"""The README cannot drift from the program: every setting is in its table, and every configuration it shows is accepted.

`python -m tests.test_docs` writes the table of settings anew between its markers.
"""

import dataclasses
import re
from pathlib import Path

import pytest

from forewarn.config import describe, parse, settings_table
from forewarn_datasource.settings import DatasourceSettings

README = Path(__file__).resolve().parent.parent / "README.md"
BEGIN, END = "<!-- settings:begin -->\n", "<!-- settings:end -->"


def table_in(text: str) -> str:
    return text.partition(BEGIN)[2].partition(END)[0]


def configurations_in(text: str) -> list[str]:
    return [block for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if "detectors:" in block]


def test_the_table_of_settings_is_the_declaration() -> None:
    assert table_in(README.read_text()) == settings_table(), "run: python -m tests.test_docs"


def test_every_setting_is_documented_once() -> None:
    paths = re.findall(r"^\| `([^`]+)` \|", table_in(README.read_text()), re.MULTILINE)
    assert paths == [row.path for row in describe()]
    assert len(set(paths)) == len(paths)


def test_every_setting_says_what_it_is_for() -> None:
    lacking = [row.path for row in describe() if not (row.type and row.help.endswith(".") and row.help[0].isupper())]
    assert lacking == []


def test_every_configuration_in_the_readme_is_accepted() -> None:
    text = README.read_text()
    secrets = dict.fromkeys(re.findall(r"\$\{(\w+)", text), "https://made-up.example/secret")
    blocks = configurations_in(text)
    assert blocks
    assert all(parse(block, secrets, README.parent).detectors for block in blocks)


@pytest.mark.parametrize("field", dataclasses.fields(DatasourceSettings), ids=lambda field: field.name)
def test_the_datasource_has_the_defaults_that_are_documented(field: "dataclasses.Field[object]") -> None:
    made = parse("store: sqlite:///f.db\ndetectors: [{name: d, path: x, function: count}]", {}, Path())
    assert getattr(made.datasource, field.name) == field.default


if __name__ == "__main__":
    written = README.read_text()
    README.write_text(written.replace(BEGIN + table_in(written) + END, BEGIN + settings_table() + END))
