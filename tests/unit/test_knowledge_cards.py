"""The cards that ship are complete, find their own examples, and cannot be turned against the machine that runs them."""

import re
import time
from importlib import resources

import pytest

from forewarn.incident import Card
from forewarn.knowledge.loading import load_cards
from forewarn.knowledge.matching import CardAdvisor
from forewarn.knowledge.signatures import LONGEST_LINE, needles, weakness

STARTERS = frozenset(
    [
        "disk_full", "inodes", "oom_kernel", "too_many_files", "conn_refused", "conn_reset", "conn_timeout", "dns",
        "tls_expired", "tls_untrusted", "jvm_heap", "gc_overhead", "npe", "config_missing", "pg_conns", "mysql_conns",
        "pool_exhausted", "db_deadlock", "lock_wait", "es_circuit", "es_watermark", "es_unassigned", "es_rejected",
        "kafka_urp", "kafka_rebalance", "redis_oom", "k8s_oomkilled", "k8s_crashloop", "http_429", "http_5xx_up",
    ]
)  # fmt: skip
CARDS = load_cards()
ADVISOR = CardAdvisor(CARDS)
SIGNATURES = [pytest.param(text, id=f"{card.id}-{n}") for card in CARDS for n, text in enumerate(card.signatures)]
HOSTILE = [
    "a" * 2000, "1" * 2000, " " * 2000, "a " * 1000, "\n" * 2000, "a/" * 1000, "[" * 2000, "(a" * 1000, "connect " * 250,
    "container " * 200, "member sending " * 140, "rebalance group " * 125, "in-sync replicas " * 120, '"' * 2000,
    "environment variable " * 95, "secret a/" * 220, "failed to get " * 140, "lag " * 500, "[gc][1" + "1" * 1990,
]  # fmt: skip


def test_every_starter_card_ships() -> None:
    assert {card.id for card in CARDS} >= STARTERS


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.id)
def test_a_card_has_everything_that_somebody_needs_at_night(card: Card) -> None:
    assert card.title
    assert card.applies_to
    assert card.meaning.endswith(".")
    assert card.impact.endswith(".")
    assert len(card.signatures) >= 2
    assert len(card.phrases) >= 2
    assert card.symptoms
    assert len(card.examples) >= 3
    assert len(card.checks) >= 2
    assert len(card.fixes) >= 2
    assert any(fix.risk == "low" for fix in card.fixes)
    assert card.links
    assert (card.source, card.licence) == ("forewarn", "Apache-2.0")


def test_a_card_lies_in_the_file_of_its_id() -> None:
    files = [item.name for item in (resources.files("forewarn.knowledge") / "cards").iterdir()]
    assert sorted(files) == sorted(f"{card.id}.yml" for card in CARDS)


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.id)
def test_the_first_card_for_each_of_its_examples_is_that_card(card: Card) -> None:
    assert {ADVISOR.rank(example)[0][0] for example in card.examples} == {card.id}


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.id)
def test_each_signature_is_of_use_for_something_that_the_card_shows_or_names(card: Card) -> None:
    shown = [re.compile(text, re.IGNORECASE) for text in card.signatures]
    matched = [any(pattern.search(text) for text in (*card.examples, *card.phrases)) for pattern in shown]
    assert sum(matched) >= len(matched) / 2
    assert all(any(pattern.search(example) for pattern in shown) for example in card.examples)


@pytest.mark.parametrize("signature", SIGNATURES)
def test_a_signature_takes_little_time_over_hostile_lines(signature: str) -> None:
    assert weakness(signature) is None
    pattern = re.compile(signature, re.IGNORECASE)
    began = time.process_time()
    for line in HOSTILE:
        pattern.search(line[:LONGEST_LINE])
    assert time.process_time() - began < 1.0


@pytest.mark.parametrize("signature", SIGNATURES)
def test_what_a_signature_matches_holds_one_of_its_needles(signature: str) -> None:
    pattern = re.compile(signature, re.IGNORECASE)
    texts = [text for card in CARDS for text in (*card.examples, *card.phrases, *(e.upper() for e in card.examples))]
    matched = [text.lower() for text in texts if pattern.search(text)]
    assert all(any(needle in text for needle in needles(signature)) for text in matched)
    assert needles(signature)


@pytest.mark.parametrize(
    "signature",
    [
        r"(a+)+b", r"(a|aa)+$", r"([a-z]+)*!", r"(.*)*x", r".*foo.*bar", r"(?:\w+ ?)+failed", r"(x+x+)+y", r"\w+\w+\w+ error",
        r"(?:a{0,50}){0,50}b", r"(.+) (.+) failed", r"(?=(a+)+)b", r"(a)(?:\1*)*x", r"(?:ab|a|b){1,200}c",
    ],
)  # fmt: skip
def test_a_signature_that_could_take_very_long_is_refused(signature: str) -> None:
    assert "very long" in str(weakness(signature))


@pytest.mark.parametrize(
    "signature",
    [
        r"took \d+ ms for \w+",
        r"(?:\w+ )+failed",
        r"no space left",
        r"error .{0,80} refused",
        r"[^ ]{1,40} is full",
        r"(?:a|b)c?d",
        r"failed: \d+",
    ],
)
def test_a_signature_of_bounded_effort_is_taken(signature: str) -> None:
    assert weakness(signature) is None
    began = time.process_time()
    for line in HOSTILE:
        re.search(signature, line[:LONGEST_LINE])
    assert time.process_time() - began < 2.0


@pytest.mark.parametrize(
    ("signature", "why"),
    [("(", "not a regular expression"), ("a*", "empty text"), ("", "empty text"), ("x" * 301, "longer than")],
)
def test_a_signature_that_says_nothing_is_refused(signature: str, why: str) -> None:
    assert why in str(weakness(signature))
