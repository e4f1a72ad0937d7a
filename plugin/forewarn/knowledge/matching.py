"""Which cards fit an incident, and why: signatures, likeness of words and spelling, technology, and metrics that moved.

Owns CardAdvisor, the `Advisor` port. Pure and deterministic; what a card recommends is text and is never run. It would rather
say nothing than something wrong: a card must pass THRESHOLD with one clue alone before it is named at all.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from forewarn.incident import Card, Incident, Recommendation
from forewarn.knowledge.clues import Line, Metric, clues_of, fits, metric_words
from forewarn.knowledge.signatures import LONGEST_LINE, needles
from forewarn.knowledge.similarity import Similarity
from forewarn.series import Float

MOST_CARDS: Final = 3
SIGNATURE: Final = 0.5
TECHNOLOGY: Final = 0.35
_SOME_LIKENESS: Final = 0.02
THRESHOLD: Final = 0.45
"""The score that at most 1 % of ordinary lines (starts, stops, requests, jobs that went well) exceed; measured in the tests."""
_FURTHER_CLUES: Final = 0.25
"""Each further clue for a card counts so much of the one before: ten echoes do not outweigh one good clue."""
_RELATIVE: Final = 0.5
"""A further card is named only if it scores this share of the best."""
_ECHO: Final = 0.5
_PLATFORMS: Final = frozenset({"any", "host", "linux", "kubernetes", "docker", "java", "jvm"})
"""What runs beneath or within products: a Java service may well have a message of MySQL, Kafka hardly one of Redis."""
_LONGEST_QUOTE: Final = 100
_MOST_WHY: Final = 5


@dataclass(frozen=True, slots=True)
class _Found:
    """What one clue says for one card: `score` to rank by, `alone` to compare with the threshold, and why in words."""

    score: float
    alone: float
    why: tuple[str, ...]


class CardAdvisor:
    """Recommends from `cards`; the same incident always gets the same answer."""

    def __init__(self, cards: Iterable[Card]) -> None:
        self.cards: tuple[Card, ...] = tuple(sorted(cards, key=lambda card: card.id))
        self._signatures = [
            [(needles(text), re.compile(text, re.IGNORECASE)) for text in card.signatures] for card in self.cards
        ]
        self._needles = sorted({one for patterns in self._signatures for texts, _ in patterns for one in texts})
        self._likeness = Similarity([_text_of(card) for card in self.cards])
        self._metrics = [[_wanted(metric) for metric in card.metrics] for card in self.cards]
        self._tags = [frozenset(tag.lower() for tag in card.applies_to) for card in self.cards]
        self._products = frozenset(tag for tags in self._tags for tag in tags) - _PLATFORMS
        self._match = lru_cache(maxsize=4096)(self._match_text)

    def recommend(self, incident: Incident) -> tuple[Recommendation, ...]:
        """Up to three cards, best first, each with why; empty when nothing fits."""
        if not self.cards:
            return ()
        lines, metrics = clues_of(incident)
        found: list[list[_Found]] = [[] for _ in self.cards]
        for line in lines:
            self._by_line(line, found)
        for metric in metrics:
            self._by_metric(metric, found)
        ranked = []
        for number, clues in enumerate(found):
            if any(clue.alone >= THRESHOLD for clue in clues):
                clues.sort(key=lambda clue: (-clue.score, clue.why))
                total = sum(clue.score * _FURTHER_CLUES**rank for rank, clue in enumerate(clues))
                ranked.append((round(total, 4), number))
        ranked.sort(key=lambda one: (-one[0], self.cards[one[1]].id))
        least = ranked[0][0] * _RELATIVE if ranked else 0.0
        return tuple(self._recommendation(n, score, found[n]) for score, n in ranked[:MOST_CARDS] if score >= least)

    def rank(self, text: str, tags: frozenset[str] = frozenset()) -> list[tuple[str, float]]:
        """All cards by how well they fit one line, best first, as (id, score): to compare with THRESHOLD."""
        scores, _ = self._match(text[:LONGEST_LINE])
        scores = scores + self._technology(tags, scores)
        order = sorted(range(len(self.cards)), key=lambda n: (-scores[n], self.cards[n].id))
        return [(self.cards[n].id, float(scores[n])) for n in order]

    def _match_text(self, text: str) -> tuple[Float, tuple[str, ...]]:
        """The score of each card for a text, and the signature of each that matched, "" for none."""
        lower = text.lower()
        held = {needle for needle in self._needles if needle in lower}
        hits = tuple(_first_match(patterns, text, held) for patterns in self._signatures)
        return self._likeness.scores(_gist(text)) + SIGNATURE * np.array([bool(hit) for hit in hits]), hits

    def _technology(self, tags: frozenset[str], scores: Float) -> Float:
        """+TECHNOLOGY where the clue's technology is the card's, - where both are known products and differ."""
        product = tags & self._products
        change = np.zeros(len(self.cards))
        for number, own in enumerate(self._tags):
            if scores[number] <= _SOME_LIKENESS:
                continue
            if own & tags - {"any", "host"}:
                change[number] = TECHNOLOGY
            elif product and own and not own & _PLATFORMS:
                change[number] = -TECHNOLOGY
        return change

    def _by_line(self, line: Line, found: Sequence[list[_Found]]) -> None:
        scores, hits = self._match(line.whole[:LONGEST_LINE])
        change = self._technology(line.tags, scores)
        quote = _quote(line.example or line.text)
        for number in map(int, np.flatnonzero(scores + change >= THRESHOLD * _ECHO)):
            why = []
            if hits[number]:
                why.append(f"signature /{hits[number]}/ matches {line.what} “{quote}” of {line.where}")
            elif shared := self._likeness.shared(_gist(line.whole), number)[:6]:
                why.append(f"{line.what} “{quote}” of {line.where} shares the words {', '.join(shared)}")
            if change[number] > 0:
                why.append(f"technology: {', '.join(sorted(self._tags[number] & line.tags))}")
            alone = (scores[number] + min(0.0, change[number])) * line.level
            score = (scores[number] + change[number]) * line.level * line.place
            found[number].append(_Found(float(score), float(alone), tuple(why)))

    def _by_metric(self, metric: Metric, found: Sequence[list[_Found]]) -> None:
        """The cards that name a metric of these words and direction; the more words they name and the fewer they are, the more
        it says for each.
        """
        specific = {
            number: max(len(words) for words in fitting)
            for number, wanted in enumerate(self._metrics)
            if (fitting := [words for words, way in wanted if _moved(metric, words, way)])
        }
        if not specific:
            return
        most = max(specific.values())
        rivals = sum(words == most for words in specific.values())
        for number, words in specific.items():
            share = 1.0 if words == most else _ECHO
            strength = metric.strength * share / rivals**0.5
            own = self._tags[number]
            if metric.tags & self._products and own and not own & (_PLATFORMS | metric.tags):
                strength *= _ECHO
            elif own & metric.tags:
                strength *= 1.25
            found[number].append(_Found(strength * metric.place, strength, (metric.text,)))

    def _recommendation(self, number: int, score: float, clues: Sequence[_Found]) -> Recommendation:
        card = self.cards[number]
        why = tuple(dict.fromkeys(text for clue in clues for text in clue.why))[:_MOST_WHY]
        return Recommendation(card.id, card.title, score, why, card.meaning, card.impact, card.checks, card.fixes, card.links)


def _first_match(patterns: Sequence[tuple[tuple[str, ...], re.Pattern[str]]], text: str, held: set[str]) -> str:
    """The first signature that matches, "" for none; one whose needles the text does not hold cannot match."""
    for texts, pattern in patterns:
        if (not texts or not held.isdisjoint(texts)) and pattern.search(text):
            return pattern.pattern
    return ""


def _text_of(card: Card) -> str:
    return "\n".join((card.title, *card.symptoms, *card.examples, *card.phrases))


def _wanted(metric: str) -> tuple[frozenset[str], str]:
    *words, way = metric.split()
    return metric_words(" ".join(words)), way


def _moved(metric: Metric, words: frozenset[str], way: str) -> bool:
    if way == "silent":
        return metric.silent
    return metric.direction == way and bool(words) and fits(words, metric.words)


def _gist(text: str) -> str:
    """A text without the frames of its stack trace: `at org.example...` says where, not what."""
    if "\n" not in text:
        return text
    kept = [line for line in text.splitlines() if not re.match(r"\s+(?:at |\.{3} \d|File \")|\tat ", line)]
    return "\n".join(kept)


def _quote(text: str) -> str:
    plain = " ".join(text[: 4 * _LONGEST_QUOTE].split())
    printable = "".join(character for character in plain if character.isprintable())
    return printable if len(printable) <= _LONGEST_QUOTE else printable[: _LONGEST_QUOTE - 1] + "…"
