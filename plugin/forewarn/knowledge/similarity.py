"""How alike a line and each card are in words and in spelling: two TF-IDF cosines over the cards' own texts.

Owns Similarity. Words tell what a line is about; runs of 3-5 letters inside words find `exhausted` in `exhaustion` and
`ConnTimeout` in `timeout`. Rare words count more than common ones (idf), a word that comes twice little more than once
(sublinear tf). Numbers and hexadecimal ids carry no meaning and are left out.
"""

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from forewarn.series import Float

LONGEST_TEXT: Final = 600
"""A line tells what it is about within its first lines; what follows is a stack trace."""
_STOP: Final = frozenset(
    re.findall(
        r"\w+",
        "a an and are as at be been but by can could did do does for from get has have if in into is it its no not of on or so"
        " than that the their then there they this to too was were when which while will with you your",
    )
)
_CAMEL: Final = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_HEX: Final = re.compile(r"\b(?=[a-f]*\d)[0-9a-f]{6,}\b", re.IGNORECASE)
_WORD: Final = re.compile(r"[a-z]{2,40}")
_MASK: Final = re.compile(r"<[^<>\s]{1,20}>")
_CODES: Final = re.compile(r"(?<![\w.:/-])(?:429|50[0234]|137)(?![\w.:/-])")
"""The few numbers that are words: they are kept as `n429` and so on."""


def words_of(text: str) -> list[str]:
    """The words of a line in order: lower case, camelCase split, without numbers, hexadecimal ids and filling words."""
    codes = [f"n{code}" for code in _CODES.findall(text)]
    plain = _CAMEL.sub(" ", _HEX.sub(" ", _MASK.sub(" ", text))).lower()
    return [word for word in _WORD.findall(plain) if word not in _STOP] + codes


def spelling_of(word: str) -> list[str]:
    """All runs of 3 to 5 characters of a word with a blank before and after it."""
    padded = f" {word} "
    return [padded[start : start + size] for size in (3, 4, 5) for start in range(len(padded) - size + 1)]


class _Terms:
    """TF-IDF vectors of documents [V, D], and cosines of new texts with them."""

    def __init__(self, documents: Sequence[Iterable[Hashable]]) -> None:
        counts = [Counter(document) for document in documents]
        self.index = {term: row for row, term in enumerate(dict.fromkeys(t for c in counts for t in c))}
        frequency = np.zeros((len(self.index), len(documents)))
        for column, count in enumerate(counts):
            for term, number in count.items():
                frequency[self.index[term], column] = 1.0 + np.log(number)
        n = len(documents)
        self.idf = np.log((1.0 + n) / (1.0 + (frequency > 0).sum(axis=1))) + 1.0
        self.unknown = float(np.log(1.0 + n) + 1.0)
        weights = frequency * self.idf[:, None]
        self.weights = weights / np.maximum(np.linalg.norm(weights, axis=0), 1e-12)

    def cosines(self, rows: NDArray[np.int64], unknown: float) -> Float:
        """[D] for a text given as rows of the index, repeated; `unknown` is how much of it no document has."""
        if not len(rows):
            return np.zeros(self.weights.shape[1])
        terms, numbers = np.unique(rows, return_counts=True)
        weights = (1.0 + np.log(numbers)) * self.idf[terms]
        length = np.sqrt(float(weights @ weights) + unknown * self.unknown**2)
        return np.asarray(weights @ self.weights[terms] / length, dtype=np.float64)


class Similarity:
    """How alike a text is to each of `documents`, as the sum of both cosines: 0 (nothing in common) to 2 (the same)."""

    def __init__(self, documents: Sequence[str]) -> None:
        words = [words_of(document) for document in documents]
        self._words = _Terms(words)
        self._spelling = _Terms([[run for word in document for run in spelling_of(word)] for document in words])
        self._documents = [frozenset(document) for document in words]
        self._runs = lru_cache(maxsize=20_000)(self._runs_of)

    def scores(self, text: str) -> Float:
        """[D] for the first LONGEST_TEXT characters of a text."""
        words = words_of(text[:LONGEST_TEXT])
        index = self._words.index
        known = np.array([index[word] for word in words if word in index], dtype=np.int64)
        strange = len({word for word in words if word not in index})
        runs = [self._runs(word) for word in words]
        rows = np.concatenate([rows for rows, _ in runs]) if runs else np.zeros(0, dtype=np.int64)
        return self._words.cosines(known, UNKNOWN * strange) + self._spelling.cosines(
            rows, UNKNOWN * sum(missing for _, missing in runs)
        )

    def shared(self, text: str, document: int) -> tuple[str, ...]:
        """The words that a text has in common with a document, those that say most first."""
        both = dict.fromkeys(word for word in words_of(text[:LONGEST_TEXT]) if word in self._documents[document])
        return tuple(sorted(both, key=lambda word: (-self._words.idf[self._words.index[word]], word)))

    def _runs_of(self, word: str) -> tuple[NDArray[np.int64], int]:
        index = self._spelling.index
        runs = spelling_of(word)
        rows = [index[run] for run in runs if run in index]
        return np.array(rows, dtype=np.int64), len(runs) - len(rows)


UNKNOWN: Final = 0.3
"""How much a word that no card has speaks against all cards: without it `error in widget` fits whatever has `error`."""
