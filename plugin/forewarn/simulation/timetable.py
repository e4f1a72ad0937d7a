"""When what happens in the shop: faults an hour apart on the last day, old incidents, deploys, campaigns.

Owns: Timetable, Planned and `plan`. Chance comes from the generator that is passed; nothing here knows what a fault does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from forewarn.series import TimeGrid
from forewarn.simulation.faults import KINDS, Event, Span
from forewarn.simulation.topology import ENTRY, NAMES

DAY: Final = 288
"""Buckets a day."""
APART: Final = 14
"""Buckets between the end of one fault and the onset of the next: an hour and two buckets."""
BEFORE: Final = 8
"""Quiet buckets at the start of the last day."""
AFTER: Final = 8
"""Quiet buckets at the end: an incident that the last fault opened can be resolved."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A fault that will happen: its kind, its root and its place in buckets."""

    kind: str
    service: str
    card: str
    span: Span


@dataclass(frozen=True, slots=True)
class Timetable:
    """`today` are the faults of the last day, `past` old ones that nobody reports, `events` what people did."""

    today: tuple[Planned, ...]
    past: tuple[Planned, ...]
    events: tuple[Event, ...]


def kinds_of(seed: int, rng: np.random.Generator) -> list[str]:
    """Five to seven kinds in the order in which they happen; any six seeds in a row have every kind between them."""
    names = list(KINDS)
    sure = [names[(2 * seed + i) % len(names)] for i in range(2)]
    others = [name for name in names if name not in sure]
    chosen = sure + [str(name) for name in rng.permutation(others)[: rng.integers(3, 6)]]
    return [str(name) for name in rng.permutation(chosen)]


def plan(seed: int, grid: TimeGrid, rng: np.random.Generator) -> Timetable:
    """The timetable of the whole grid (buckets of five minutes, at least two weeks)."""
    today, campaign_today = _today(seed, grid, rng)
    past = _past(grid, rng)
    campaigns = [_campaign(grid, start, length) for start, length in [campaign_today, _earlier_campaign(grid, rng)] if length]
    deploys = _deploys(grid, today, rng)
    broken = [event for planned in today for event in _deploys_of(planned, grid)]
    events = sorted([*campaigns, *deploys, *broken], key=lambda event: (event.start, event.service))
    return Timetable(tuple(today), tuple(past), tuple(events))


def _today(seed: int, grid: TimeGrid, rng: np.random.Generator) -> tuple[list[Planned], tuple[int, int]]:
    kinds = kinds_of(seed, rng)
    lengths = [int(rng.integers(KINDS[kind].shortest, KINDS[kind].longest + 1)) for kind in kinds]
    campaign = int(rng.integers(24, 37)) if len(kinds) == 5 and rng.random() < 0.7 else 0
    place = int(rng.integers(0, len(kinds) + 1)) if campaign else -1
    if campaign:
        lengths.insert(place, campaign)
    slack = DAY - BEFORE - AFTER - sum(lengths) - APART * (len(lengths) - 1)
    while slack < 0:  # rare: two slow faults beside five others; the longest become shorter
        longest = int(np.argmax(lengths))
        lengths[longest] -= 1
        slack += 1
    extra = rng.multinomial(slack, np.full(len(lengths) + 1, 1 / (len(lengths) + 1)))
    at, planned, held, taken = grid.size - DAY + BEFORE, [], (0, 0), set[str]()
    names = iter(kinds)
    for number, length in enumerate(lengths):
        at += int(extra[number])
        if number == place:
            held = (at, length)
        else:
            planned.append(_planned(next(names), at, length, taken, rng))
            taken.add(planned[-1].service)
        at += length + APART
    return planned, held


def _planned(kind: str, at: int, length: int, taken: set[str], rng: np.random.Generator) -> Planned:
    roots = [root for root in KINDS[kind].roots if root[0] not in taken] or list(KINDS[kind].roots)
    service, card = roots[int(rng.integers(len(roots)))]
    return Planned(kind, service, card, KINDS[kind].span(at, length))


def _past(grid: TimeGrid, rng: np.random.Generator) -> list[Planned]:
    """Two or three old incidents, at most one a day, before the last twelve days."""
    days = grid.size // DAY
    if days < 16:
        return []
    chosen = sorted(int(day) for day in rng.choice(np.arange(2, days - 12), size=int(rng.integers(2, 4)), replace=False))
    kinds = [name for name, kind in KINDS.items() if kind.longest < 20]
    found = []
    for day in chosen:
        kind = kinds[int(rng.integers(len(kinds)))]
        length = int(rng.integers(KINDS[kind].shortest, KINDS[kind].longest + 1))
        found.append(_planned(kind, day * DAY + int(rng.integers(0, DAY - 60)), length, set(), rng))
    return found


def _earlier_campaign(grid: TimeGrid, rng: np.random.Generator) -> tuple[int, int]:
    day = grid.size // DAY - int(rng.integers(3, 11))
    return max(0, day) * DAY + int(rng.integers(0, DAY // 2)), int(rng.integers(30, 60))


def _campaign(grid: TimeGrid, start: int, length: int) -> Event:
    return Event(
        "campaign", ENTRY, _at(grid, start), _at(grid, start + length), "newsletter with a voucher sent to all customers"
    )


def _deploys(grid: TimeGrid, today: Sequence[Planned], rng: np.random.Generator) -> list[Event]:
    """Harmless ones: every service once in the eight days before the last, and two on the last day, away from faults."""
    first = max(0, grid.size - 9 * DAY)
    spots = np.sort(rng.choice(np.arange(first, grid.size - DAY), size=len(NAMES), replace=False))
    order = [str(name) for name in rng.permutation(NAMES)]
    found = [_deploy(grid, name, int(spot)) for name, spot in zip(order, spots, strict=True)]
    busy = np.zeros(grid.size, dtype=bool)
    for planned in today:
        busy[max(0, planned.span.onset - 4) : planned.span.end + 4] = True
    free = np.flatnonzero(~busy[grid.size - DAY : grid.size - 4]) + grid.size - DAY
    for name, spot in zip(rng.permutation(("web", "catalogue", "shipping", "checkout"))[:2], rng.choice(free, 2), strict=True):
        found.append(_deploy(grid, str(name), int(spot)))
    return found


def _deploy(grid: TimeGrid, service: str, spot: int) -> Event:
    return Event("deploy", service, _at(grid, spot), _at(grid, spot + 1), f"{service} deployed")


def _deploys_of(planned: Planned, grid: TimeGrid) -> list[Event]:
    if planned.kind != "deploy_bad":
        return []
    onset, end = planned.span.onset, planned.span.own_end
    return [
        Event("deploy", planned.service, _at(grid, onset), _at(grid, onset + 1), f"{planned.service} deployed", harmless=False),
        Event("rollback", planned.service, _at(grid, end), _at(grid, end + 1), f"{planned.service} rolled back"),
    ]


def _at(grid: TimeGrid, bucket: int) -> int:
    return grid.start + bucket * grid.step
