"""Mining depends on the set of lines alone: not on pages, order, process, or how time is split; and no line makes it slow."""

import random
import re
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forewarn.detector import Selection
from forewarn.novelty import sighted
from forewarn.pattern import LogLine, LogPage, LogStream, Mined
from forewarn.patterns.masking import MASK, RULES, Masker, canonical, canonicals
from forewarn.patterns.miner import PatternMiner
from forewarn.series import TimeGrid

STREAM = LogStream("app", Selection(path="x"), split_by=("service.name", "host.name"), level="log.level")
STEP = 60_000
GRID = TimeGrid(0, STEP, 6)

WORDS = st.sampled_from([
    "user", "login", "deadbeef", "true", "0x1f", "GET", "/a/b/c", "über", "café", "a-b", "x=1", "10.0.0.1:80", "Jan", "12",
    "ms",     "{", "http://h/p", "<*>", "\x1e", "\ud800", "", "\t", '{"msg": "hi"}', "٣", "5%",
])  # fmt: skip
TEXTS = st.lists(WORDS | st.text(max_size=6), max_size=12).map(" ".join) | st.text(max_size=60)
LINES = st.builds(
    LogLine,
    st.integers(0, GRID.end - 1),
    st.tuples(st.sampled_from(["web", "db", ""]), st.sampled_from(["h1", "h2"])),
    st.sampled_from(["", "INFO", "warn", "weird"]),
    TEXTS,
)


def paged(lines: list[LogLine], size: int) -> list[LogPage]:
    ordered = sorted(lines, key=lambda line: line.time)
    return [LogPage(tuple(ordered[low : low + size]), None) for low in range(0, len(ordered), size)]


def mine(lines: list[LogLine], grid: TimeGrid = GRID, size: int = 7) -> Mined:
    return PatternMiner().mine(STREAM, "app", paged(lines, size), grid)


def same(one: Mined, other: Mined) -> None:
    assert one.counts.keys == other.counts.keys
    np.testing.assert_array_equal(one.counts.values, other.counts.values)
    assert one.patterns == other.patterns
    assert one.warnings == other.warnings


@settings(deadline=None, max_examples=60)
@given(st.lists(LINES, max_size=60), st.randoms(use_true_random=False), st.integers(1, 20))
def test_only_the_set_of_lines_matters(lines: list[LogLine], rng: random.Random, size: int) -> None:
    shuffled = list(lines)
    rng.shuffle(shuffled)
    same(mine(lines), mine(shuffled, size=size))


@settings(deadline=None, max_examples=60)
@given(st.lists(LINES, max_size=60), st.integers(0, GRID.size))
def test_mining_the_parts_of_a_time_and_joining_them_is_mining_the_whole(lines: list[LogLine], cut: int) -> None:
    whole = mine(lines)
    middle = cut * STEP
    parts = [mine(lines, GRID.slice(0, middle)), mine(lines, GRID.slice(middle, GRID.end))]
    counts = np.hstack([part.counts.take(whole.counts.keys).values for part in parts])
    np.testing.assert_array_equal(counts, whole.counts.values)
    assert {key for part in parts for key in part.counts.keys} == set(whole.counts.keys)
    assert dict(sorted(sighted(sighted({}, parts[0].patterns), parts[1].patterns).items())) == whole.patterns


@settings(deadline=None, max_examples=60)
@given(st.lists(LINES, max_size=60))
def test_every_line_is_counted_once(lines: list[LogLine]) -> None:
    mined = mine(lines)
    assert np.nansum(mined.counts.values) == len(lines)
    assert not (mined.counts.values == 0).any()
    told_apart = sum(pattern.total for pattern in mined.patterns.values())
    other = sum(
        np.nansum(row) for key, row in zip(mined.counts.keys, mined.counts.values, strict=True) if key.entity[-1][1] == "other"
    )
    assert told_apart + other == len(lines)


@settings(deadline=None, max_examples=200)
@given(st.lists(TEXTS, max_size=20))
def test_a_batch_gives_what_each_message_gives_alone(texts: list[str]) -> None:
    assert canonicals(texts) == [canonical(text) for text in texts]
    assert Masker().shapes(texts) == [Masker().shape(text) for text in texts]


@settings(deadline=None, max_examples=200)
@given(TEXTS, st.randoms(use_true_random=False))
def test_digits_never_separate_shapes(text: str, rng: random.Random) -> None:
    other = re.sub(r"[0-9]+", lambda _: str(rng.randrange(1, 10 ** rng.randrange(1, 9))), text)
    assert canonical(text) == canonical(other)
    assert Masker().shape(text) == Masker().shape(other)


def test_ids_are_the_same_in_another_process() -> None:
    line = 'LogLine(5, ("web", "h1"), "INFO", "user 17 logged in after 3 ms")'
    code = (
        "from tests.property.test_patterns import *\n"
        f"print(*mine([{line}]).patterns, *(key.id for key in mine([{line}]).counts.keys))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "7"})
    mined = mine([LogLine(5, ("web", "h1"), "INFO", "user 17 logged in after 3 ms")])
    assert done.stdout.split() == [*mined.patterns, *(key.id for key in mined.counts.keys)]
    assert list(mined.patterns) == ["8caf2eee0f64e528"]  # final: ids are stored


ATTACKS = (
    "a.", "a-", "a+", "//", "/a", "1", "a", "a0 ", "0", "f", "ff ", "aa:", "aa-", "0-", "0 ", "0,", "0.", "0:", "Jan 0",
    "Jan 0 ", "Jan 0,", "http:", "http://", "a://", "aaaa-", "<*>", "<*> ", "<*>-", "Mon, ", "0ms", "0 ms ", "a.a:",
    "0x", "-0", "é", "\x00", "0a", "0Jan", "k=v ", 'k="', 'k="v ', 'k=\\" ', "{", "[", '{"a":', "a=\\", "Caused by: ",
    "\nA.", "\nA", "password=", "password= ", "token_", "a@", "eyJa.", "://a:", "4-", "A.", "Bearer a",
    "authorization: ",
)  # fmt: skip


def fastest(line: str) -> float:
    taken = []
    for _ in range(3):
        start = time.process_time()
        PatternMiner().mine(STREAM, "app", [LogPage((LogLine(0, ("", ""), "", line),), None)], GRID)
        taken.append(time.process_time() - start)
    return min(taken)


def slowness() -> float:
    """How much slower than the machine of the limits below this one is now, at plain regular expressions; at least 1."""
    taken = []
    for _ in range(3):
        start = time.process_time()
        re.findall(r"(?:[a-z]+|[0-9]+)-?", "abc12 de-f 0x1f " * 1000)
        taken.append(time.process_time() - start)
    return max(1.0, min(taken) / 0.0012)


@pytest.mark.parametrize("seed", ATTACKS)
def test_no_line_takes_long(seed: str) -> None:
    for end in ("", "!", '"'):
        line = (seed * 2000)[:1999] + end
        assert fastest(line) < 0.005 or fastest(line) < 0.005 * slowness()
        longer = seed * (1_000_000 // len(seed)) + end
        assert fastest(longer) < 0.02 or fastest(longer) < 0.02 * slowness()


def test_every_rule_of_the_mask_is_needed() -> None:
    samples = {
        "url": "http://shop/cart?x=y",
        "uuid": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
        "mac": "aa:bb:cc:dd:ee:ff",
        "host and port": "db.internal:0",
        "hex": "cafebabe",
        "path": "/var/log/app",
        "date": "Mon, Jan 0 0:0:0",
        "word": "null",
        "number": "-0.0 ms",
    }
    assert set(samples) == {name for name, _ in RULES}
    for name, sample in samples.items():
        assert MASK.fullmatch(sample), name
        others = "|".join(rule for other, rule in RULES if other != name)
        assert not re.compile(others, re.ASCII).fullmatch(sample), name
