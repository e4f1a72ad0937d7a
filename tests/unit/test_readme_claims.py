"""What the README names exists: commands, options, exit codes, make targets, routes, indices, files and data sources."""

import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from forewarn.cli import main
from forewarn.cli.terminal import EXIT
from forewarn.config import parse
from forewarn.errors import ConfigError, SourceError, StoreError, TickRefused
from forewarn.stores.elasticsearch_indices import DATED, Indices
from forewarn_datasource.wiring import build_app

ROOT = Path(__file__).resolve().parent.parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROSE = README.partition("<!-- settings:begin -->")[0]


def spoken() -> list[list[str]]:
    """Every command line of forewarn in a code span or block."""
    lines = re.findall(r"`(forewarn [^`]+)`", PROSE) + re.findall(r"^(?:\$ |    )?(forewarn [^#\n]+)", PROSE, re.MULTILINE)
    return [shlex.split(line)[1:] for line in lines if not line.startswith("forewarn.")]


@pytest.mark.parametrize("words", spoken(), ids=" ".join)
def test_every_command_line_is_one(words: list[str]) -> None:
    command = main.commands[words[0]]
    options = {name for parameter in command.params if isinstance(parameter, click.Option) for name in parameter.opts}
    assert {word for word in words if word.startswith("-")} <= options


def test_every_command_is_named() -> None:
    named = {words[0] for words in spoken()} | set(re.findall(r"`(\w+)`", PROSE))
    assert main.commands.keys() <= named


def test_the_exit_codes_are_those_of_the_program() -> None:
    said = re.search(r"Exit codes: (.*?)\n\n", README, re.DOTALL)
    assert said
    codes = dict(re.findall(r"(\d) ([^;,]+)", " ".join(said.group(1).split())))
    assert codes.keys() == set("0123456")
    for kind, word in ((ConfigError, "setting"), (SourceError, "source"), (StoreError, "store"), (TickRefused, "now")):
        assert word in codes[str(EXIT[kind])]


def test_every_target_of_make_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"(?:`|\$ )make ([a-z-]+)", README))
    assert {"demo", "test"} <= named <= targets


def test_every_route_is_there_and_every_route_of_infinity_is_named() -> None:
    config = parse("store: sqlite:///f.db\ndetectors: [{name: d, path: x, function: count}]", {}, ROOT)
    rules = {re.sub(r"<\w+>", "<id>", rule.rule) for rule in build_app(config).url_map.iter_rules()}
    named = set(re.findall(r"`(/(?:infinity|grafana|incidents|-)[^`]*)`", PROSE))
    assert named <= rules
    assert {rule for rule in rules if rule.startswith("/infinity/")} <= named


def test_the_indices_are_those_of_the_store() -> None:
    indices = Indices("forewarn")
    expected = {f"{indices.alias(kind)}-*" for kind in DATED} | {indices.models, indices.patterns, indices.state}
    assert set(re.findall(r"`(forewarn-[\w-]+(?:-\*)?)`", README)) == expected


def test_every_file_is_there() -> None:
    for path in re.findall(r"\]\(((?!http)[^)#]+)\)", README) + re.findall(r"`((?:grafana|docker)[\w/.-]+)`", PROSE):
        assert (ROOT / path).exists(), path


def test_the_data_sources_are_those_that_are_provisioned() -> None:
    shipped = yaml.safe_load((ROOT / "grafana/provisioning/datasources/forewarn.yml").read_text(encoding="utf-8"))
    by_type = {source["type"]: source for source in shipped["datasources"]}
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)]
    shown = [source for block in blocks for source in block.get("datasources", [])]
    assert {source["type"] for source in shown} == {"yesoreyeram-infinity-datasource", "simpod-json-datasource"}
    for source in shown:
        assert_within(here(source), here(by_type[source["type"]]))


def here(source: Any) -> Any:
    """A data source as it would be if Forewarn were on the host of the README."""
    return yaml.safe_load(yaml.safe_dump(source).replace("//datasource:", "//forewarn:"))


def assert_within(part: Any, whole: Any) -> None:
    if isinstance(part, dict):
        for key, value in part.items():
            assert_within(value, whole[key])
    else:
        assert part == whole
