"""Resolution cards from YAML files: those that ship, and a folder of the user's own.

Owns `load_cards` and what a card file must look like. A card that is not right is refused with its file, line and reason,
so that it is mended before it is needed; nothing is guessed and nothing is left out quietly.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final, NoReturn

import yaml

from forewarn.errors import ConfigError
from forewarn.incident import Card, Fix
from forewarn.knowledge.signatures import weakness

SEVERITIES: Final = ("warning", "minor", "major", "critical")
RISKS: Final = ("low", "medium", "high")
_LARGEST_FILE: Final = 100_000
_LONGEST_TEXT: Final = 2_000
_MOST_ITEMS: Final = 40
_ID: Final = re.compile(r"[a-z][a-z0-9_-]{1,47}")
_METRIC: Final = re.compile(r"silent|[a-z0-9 ]{2,60} (?:above|below)")
_LINK: Final = re.compile(r"https?://[^\s<>\"']{3,500}")
_TEXTS: Final = ("id", "title", "meaning", "impact", "severity", "source", "licence", "version")
_LISTS: Final = ("applies_to", "signatures", "phrases", "metrics", "symptoms", "examples", "checks", "links")
_REQUIRED: Final = ("id", "title", "meaning", "checks", "fixes", "severity")
_FIX_KEYS: Final = ("step", "risk", "reversible")


def load_cards(folders: Iterable[Path | str] = ()) -> tuple[Card, ...]:
    """The shipped cards and those of `folders` (`*.yml`, `*.yaml`), by id; a later folder's card replaces an earlier one's.

    Raises ConfigError with the path `file:line` for a card that is not right, two cards of one folder with one id, a file
    that cannot be read, and a folder that is not there.
    """
    shipped = resources.files("forewarn.knowledge") / "cards"
    found = _one_folder((item.name, item.read_bytes()) for item in shipped.iterdir() if _is_card(item.name))
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise ConfigError(str(folder), "there is no such folder of cards")
        files = sorted(path for path in folder.iterdir() if _is_card(path.name))
        found |= _one_folder((str(path), _content(path)) for path in files)
    return tuple(found[name] for name in sorted(found))


def _is_card(name: str) -> bool:
    return name.endswith((".yml", ".yaml")) and not name.startswith(".")


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise ConfigError(f"{path}:1", f"cannot be read: {error.strerror or error}") from None


def _one_folder(files: Iterable[tuple[str, bytes]]) -> dict[str, Card]:
    cards: dict[str, Card] = {}
    places: dict[str, str] = {}
    for name, content in sorted(files):
        card, line = parse_card(name, content)
        if card.id in cards:
            raise ConfigError(f"{name}:{line}", f"the id {card.id} is taken by {places[card.id]}")
        cards[card.id], places[card.id] = card, f"{name}:{line}"
    return cards


def parse_card(file: str, content: bytes) -> tuple[Card, int]:
    """The card in a file and the line of its id; ConfigError as for `load_cards`."""
    root = _document(file, content)
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError(f"{file}:{_line(root)}", "expected one card: a mapping with `id:`, `title:` and so on")
    nodes = _mapping(file, root, (*_TEXTS, *_LISTS, "fixes"), "card")
    for key in _REQUIRED:
        if key not in nodes:
            raise ConfigError(f"{file}:{_line(root)}", f"`{key}` is missing")
    reading = _Reading(file, nodes)
    card = Card(
        id=reading.text("id"),
        title=reading.text("title"),
        meaning=reading.text("meaning"),
        impact=reading.text("impact", ""),
        severity=reading.text("severity"),
        source=reading.text("source", "own"),
        licence=reading.text("licence", ""),
        version=reading.version(),
        fixes=reading.fixes(),
        **{key: reading.texts(key) for key in _LISTS},
    )
    _check(card, reading)
    return card, _line(nodes["id"])


def _document(file: str, content: bytes) -> yaml.Node:
    if len(content) > _LARGEST_FILE:
        raise ConfigError(f"{file}:1", f"is larger than {_LARGEST_FILE} bytes")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ConfigError(f"{file}:{line}", "is not UTF-8 text") from None
    try:
        # Only nodes are composed, nothing is constructed: every value is text with a line.
        node = yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ConfigError(f"{file}:{mark.line + 1 if mark else 1}", f"not valid YAML: {error.problem}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"{file}:1", f"not valid YAML: {str(error).splitlines()[0]}") from None
    if node is None:
        raise ConfigError(f"{file}:1", "is empty; expected one card")
    return node


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _mapping(file: str, node: yaml.MappingNode, known: tuple[str, ...], what: str) -> dict[str, yaml.Node]:
    found: dict[str, yaml.Node] = {}
    for key, value in node.value:
        name = key.value if isinstance(key, yaml.ScalarNode) else "?"
        if name not in known:
            raise ConfigError(f"{file}:{_line(key)}", f"a {what} has no `{name[:40]}`; known are {', '.join(known)}")
        if name in found:
            raise ConfigError(f"{file}:{_line(key)}", f"`{name}` is given twice")
        found[name] = value
    return found


@dataclass(frozen=True, slots=True)
class _Reading:
    """The nodes of one card, and values of the right type from them."""

    file: str
    nodes: Mapping[str, yaml.Node]

    def refuse(self, node: yaml.Node, why: str) -> NoReturn:
        raise ConfigError(f"{self.file}:{_line(node)}", why)

    def text(self, key: str, default: str = "") -> str:
        return self._scalar(key, self.nodes[key]) if key in self.nodes else default

    def texts(self, key: str) -> tuple[str, ...]:
        if key not in self.nodes:
            return ()
        return tuple(self._scalar(key, item) for item in self._items(key))

    def version(self) -> int:
        text = self.text("version", "1")
        if not re.fullmatch(r"[1-9][0-9]{0,8}", text):
            self.refuse(self.nodes["version"], f"`version` is a whole number from 1, not {text[:40]!r}")
        return int(text)

    def fixes(self) -> tuple[Fix, ...]:
        found = []
        for item in self._items("fixes"):
            if not isinstance(item, yaml.MappingNode):
                self.refuse(item, "a fix is a mapping with `step:`, `risk:` and `reversible:`")
            nodes = _mapping(self.file, item, _FIX_KEYS, "fix")
            if "step" not in nodes:
                self.refuse(item, "a fix needs a `step`")
            one = _Reading(self.file, nodes)
            risk, reversible = one.text("risk", "low"), one.text("reversible", "true")
            if risk not in RISKS:
                self.refuse(nodes["risk"], f"`risk` is one of {', '.join(RISKS)}, not {risk[:40]!r}")
            if reversible not in ("true", "false"):
                self.refuse(nodes["reversible"], f"`reversible` is true or false, not {reversible[:40]!r}")
            found.append(Fix(one.text("step"), risk, reversible == "true"))
        return tuple(found)

    def item(self, key: str, index: int) -> yaml.Node:
        """The node of one item of a list, for its line."""
        return self._items(key)[index]

    def _items(self, key: str) -> list[yaml.Node]:
        node = self.nodes[key]
        if not isinstance(node, yaml.SequenceNode):
            self.refuse(node, f"`{key}` is a list")
        if len(node.value) > _MOST_ITEMS:
            self.refuse(node, f"`{key}` has more than {_MOST_ITEMS} items")
        if not node.value and key in _REQUIRED:
            self.refuse(node, f"`{key}` is empty")
        items: list[Any] = node.value
        return items

    def _scalar(self, key: str, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode):
            self.refuse(node, f"`{key}` holds text, not a list or a mapping; is a quote missing?")
        text = str(node.value).strip()
        if not text:
            self.refuse(node, f"`{key}` is empty")
        if len(text) > _LONGEST_TEXT:
            self.refuse(node, f"`{key}` holds a text longer than {_LONGEST_TEXT} characters")
        return text


def _check(card: Card, reading: _Reading) -> None:
    """Refuses what is of the right type and still wrong."""
    if not _ID.fullmatch(card.id):
        reading.refuse(reading.nodes["id"], f"`id` is a word of a-z, 0-9, _ and -, not {card.id[:60]!r}")
    if card.severity not in SEVERITIES:
        severities = ", ".join(SEVERITIES)
        reading.refuse(reading.nodes["severity"], f"`severity` is one of {severities}, not {card.severity[:40]!r}")
    if not (card.signatures or card.phrases or card.metrics):
        reading.refuse(reading.nodes["id"], "has none of `signatures`, `phrases` and `metrics`, and so would never be found")
    for index, signature in enumerate(card.signatures):
        if why := weakness(signature):
            reading.refuse(reading.item("signatures", index), f"the signature /{signature[:80]}/ {why}")
    for index, metric in enumerate(card.metrics):
        if not _METRIC.fullmatch(metric):
            why = f"a metric is words and then above or below, such as `disk used above`, or `silent`, not {metric[:60]!r}"
            reading.refuse(reading.item("metrics", index), why)
    for index, link in enumerate(card.links):
        if not _LINK.fullmatch(link):
            reading.refuse(reading.item("links", index), f"a link begins with https:// or http://, not {link[:60]!r}")
    patterns = [re.compile(signature, re.IGNORECASE) for signature in card.signatures]
    for index, example in enumerate(card.examples):
        if patterns and not any(pattern.search(example) for pattern in patterns):
            reading.refuse(reading.item("examples", index), f"no signature matches the example {example[:80]!r}")
