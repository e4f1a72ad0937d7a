"""A card that is not right is refused with its file, line and reason; a user's own cards come beside and before ours."""

from pathlib import Path

import pytest

from forewarn.errors import ConfigError
from forewarn.knowledge.loading import load_cards, parse_card

GOOD = """\
id: queue_stuck
title: Label printer queue is stuck
applies_to: [cups]
signatures:
  - 'printer queue .{0,40}stuck'
phrases: [queue is stuck]
metrics: [labels below]
symptoms: [No labels come out.]
examples:
  - 'printer queue main is stuck'
meaning: The printer waits for paper.
impact: Parcels wait.
checks:
  - 'Look at the printer.'
fixes:
  - {step: Put in paper., risk: low, reversible: true}
severity: minor
links: ['https://example.org/printer']
source: own
licence: none
version: 3
"""

BAD = {
    "an unknown key": ("phrases:", "frases:", 6, "a card has no `frases`"),
    "a missing key": ("meaning: The printer waits for paper.\n", "", 1, "`meaning` is missing"),
    "a key twice": ("impact: Parcels", "title: Again\nimpact: Parcels", 12, "`title` is given twice"),
    "text for a list": ("phrases: [queue is stuck]", "phrases: queue is stuck", 6, "`phrases` is a list"),
    "a list for a text": ("impact: Parcels wait.", "impact: [Parcels, wait]", 12, "`impact` holds text"),
    "a mapping in a list": ("symptoms: [No labels come out.]", "symptoms: [{no: labels}]", 8, "`symptoms` holds text"),
    "an empty text": ("title: Label printer queue is stuck", "title: ''", 2, "`title` is empty"),
    "an empty list": ("checks:\n  - 'Look at the printer.'", "checks: []", 13, "`checks` is empty"),
    "a text that is too long": ("impact: Parcels wait.", f"impact: {'x' * 2001}", 12, "longer than 2000 characters"),
    "a bad expression": ("printer queue .{0,40}stuck", "printer (queue", 5, "is not a regular expression"),
    "a catastrophic expression": ("printer queue .{0,40}stuck", "(a+)+stuck", 5, "could take very long"),
    "an expression for everything": ("printer queue .{0,40}stuck", ".*", 5, "matches the empty text"),
    "an example of something else": ("printer queue main is stuck", "the cat sat", 10, "no signature matches the example"),
    "a fix without a step": ("step: Put in paper., ", "", 16, "a fix needs a `step`"),
    "a fix that is text": ("{step: Put in paper., risk: low, reversible: true}", "Put in paper.", 16, "a fix is a mapping"),
    "an unknown key of a fix": ("risk: low", "danger: low", 16, "a fix has no `danger`"),
    "an unknown risk": ("risk: low", "risk: none", 16, "`risk` is one of low, medium, high"),
    "reversible that is neither": ("reversible: true", "reversible: maybe", 16, "`reversible` is true or false"),
    "an unknown severity": ("severity: minor", "severity: urgent", 17, "`severity` is one of warning, minor"),
    "an id with blanks": ("id: queue_stuck", "id: queue stuck", 1, "`id` is a word"),
    "a version that is no number": ("version: 3", "version: three", 21, "`version` is a whole number"),
    "a metric without a direction": ("metrics: [labels below]", "metrics: [labels]", 7, "a metric is words and then above"),
    "a link to a script": ("https://example.org/printer", "javascript:alert(1)", 18, "a link begins with https://"),
    "broken YAML": ("impact: Parcels wait.", "impact: 'Parcels wait.", 14, "not valid YAML"),
    "a tab": ("  - 'Look at", "\t- 'Look at", 14, "not valid YAML"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_card_is_refused_with_file_line_and_reason(case: str, tmp_path: Path) -> None:
    before, after, line, why = BAD[case]
    assert before in GOOD
    file = tmp_path / "printer.yml"
    file.write_text(GOOD.replace(before, after, 1), encoding="utf-8")
    with pytest.raises(ConfigError) as refused:
        load_cards([tmp_path])
    assert why in refused.value.why
    assert refused.value.path == f"{file}:{line}"


@pytest.mark.parametrize(
    ("content", "line", "why"),
    [
        (b"", 1, "is empty"),
        (b"# only a comment\n", 1, "is empty"),
        (b"- a\n- b\n", 1, "expected one card"),
        (b"just text\n", 1, "expected one card"),
        (b"id: a\ntitle: \xff\xfe\n", 2, "not UTF-8"),
        (b"a: 1\n---\nb: 2\n", 2, "not valid YAML"),
        (b"id: *nobody\n", 1, "not valid YAML"),
        (b"id: a\ntitle: \x00\n", 1, "not valid YAML"),
        (b"x" * 100_001, 1, "larger than"),
        (b"[" * 5_000, 1, "not valid YAML"),
        (b"{a: 1}: b\n", 1, "a card has no `?`"),
    ],
)
def test_a_file_that_holds_no_card_is_refused(content: bytes, line: int, why: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_card("some.yml", content)
    assert why in refused.value.why
    assert refused.value.path == f"some.yml:{line}"


def test_two_cards_with_one_id_are_refused_and_both_named(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text(GOOD, encoding="utf-8")
    (tmp_path / "b.yaml").write_text("# the same\n" + GOOD, encoding="utf-8")
    with pytest.raises(ConfigError) as refused:
        load_cards([tmp_path])
    assert refused.value.path == f"{tmp_path / 'b.yaml'}:2"
    assert f"the id queue_stuck is taken by {tmp_path / 'a.yml'}:1" in refused.value.why


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        load_cards([tmp_path / "nowhere"])


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.yml").mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        load_cards([tmp_path])


def test_an_own_card_comes_beside_the_shipped_ones_with_every_field(tmp_path: Path) -> None:
    (tmp_path / "printer.yml").write_text(GOOD, encoding="utf-8")
    (tmp_path / "notes.txt").write_text("not a card", encoding="utf-8")
    cards = {card.id: card for card in load_cards([tmp_path])}
    own = cards["queue_stuck"]
    assert set(cards) == {card.id for card in load_cards()} | {"queue_stuck"}
    assert (own.title, own.version, own.severity) == ("Label printer queue is stuck", 3, "minor")
    assert own.signatures == ("printer queue .{0,40}stuck",)
    assert (own.fixes[0].step, own.fixes[0].risk, own.fixes[0].reversible) == ("Put in paper.", "low", True)


def test_what_is_left_out_has_a_plain_default(tmp_path: Path) -> None:
    (tmp_path / "small.yml").write_text(
        "id: small\ntitle: T\nphrases: [a phrase]\nmeaning: M\nchecks: [C]\nfixes: [{step: S}]\nseverity: minor\n",
        encoding="utf-8",
    )
    card = next(card for card in load_cards([tmp_path]) if card.id == "small")
    assert (card.impact, card.links, card.version, card.source) == ("", (), 1, "own")
    assert (card.fixes[0].risk, card.fixes[0].reversible) == ("low", True)


def test_an_own_card_replaces_the_shipped_one_of_its_id_and_a_later_folder_an_earlier_one(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        text = GOOD.replace("id: queue_stuck", "id: disk_full").replace("Label printer", name)
        (tmp_path / name / "mine.yml").write_text(text, encoding="utf-8")
    shipped = load_cards()
    one = {card.id: card for card in load_cards([tmp_path / "first"])}
    both = {card.id: card for card in load_cards([tmp_path / "first", tmp_path / "second"])}
    assert one["disk_full"].title == "first queue is stuck"
    assert both["disk_full"].title == "second queue is stuck"
    assert len(one) == len(both) == len(shipped)
