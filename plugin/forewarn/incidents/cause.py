"""Who probably caused it: candidates are the entities of an incident, ranked by who was first and who is upstream.

Owns the ranking and its evidence lines. The weights say what speaks for a cause, in the order of how rarely it misleads:
being what the others depend on, being first, bearing new error lines, deviating most.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from math import exp, exp2, fsum
from typing import Final

from forewarn.detector import MINUTE
from forewarn.incident import Cause, Evidence
from forewarn.incidents.members import Member
from forewarn.series import Entity

EXPLAINS: Final = 1.0
"""For the share of the other entities that depend on this one, directly or through others in the incident."""
EXPLAINED: Final = 0.8
"""Against an entity that itself depends on another one in the incident, which could explain it."""
FIRST: Final = 1.2
"""For being first; half as much 10 minutes later, for a dependency is often noticed a bucket after its caller."""
ERRORS: Final = 0.6
"""For lines at level error or worse that were never seen before."""
DEPTH: Final = 0.8
"""For the highest severity among its members, as a share of 100."""
WHOLE: Final = 1.5
"""For many series that fell silent at once: then what they are read from is at fault, rather than any of them."""
MOST_CAUSES: Final = 3
MOST_LINES: Final = 8

Pair = tuple[str, str]


def rank(members: Sequence[Member], depends_on: Collection[tuple[str, str]], edge_field: str) -> tuple[Cause, ...]:
    """Up to three causes, most probable first; confidences of all candidates add up to 1."""
    by_pair: dict[Pair, list[Member]] = defaultdict(list)
    for member in members:
        for pair in member.entity:
            by_pair[pair].append(member)
    if not by_pair:
        return ()
    first = min(member.start for member in members)
    upstream = {pair: _callees(pair, by_pair, depends_on, edge_field) for pair in by_pair}
    scores = {pair: _score(pair, own, upstream, first) for pair, own in by_pair.items()}
    best = max(scores.values())
    weights = {pair: exp(2.0 * (score - best)) for pair, score in scores.items()}
    total = fsum(weights.values())  # the same in whatever order members came
    order = sorted(by_pair, key=lambda pair: (-scores[pair], min(member.start for member in by_pair[pair]), pair))
    return tuple(
        Cause((pair,), weights[pair] / total, _evidence(pair, by_pair[pair], upstream, first)) for pair in order[:MOST_CAUSES]
    )


def _callees(pair: Pair, among: Collection[Pair], depends_on: Collection[tuple[str, str]], edge_field: str) -> frozenset[Pair]:
    """The entities of the incident that `pair` depends on, directly or through others in it."""
    found: set[Pair] = set()
    todo = [pair]
    while todo:
        field, value = todo.pop()
        if field != edge_field:
            continue
        for caller, callee in depends_on:
            other = (edge_field, callee)
            if caller == value and other in among and other not in found and other != pair:
                found.add(other)
                todo.append(other)
    return frozenset(found)


def _score(pair: Pair, own: Sequence[Member], upstream: Mapping[Pair, frozenset[Pair]], first: int) -> float:
    others = len(upstream) - 1
    callers = sum(pair in callees for callees in upstream.values())
    lag = (min(member.start for member in own) - first) / MINUTE
    errors = any(member.kind == "pattern" and member.severity >= 45 for member in own)
    whole = any(member.breadth > 1 for member in own)
    return (
        WHOLE * whole
        + EXPLAINS * (callers / others if others else 0.0)
        - EXPLAINED * bool(upstream[pair])
        + FIRST * exp2(-lag / 10)
        + ERRORS * errors
        + DEPTH * max(member.severity for member in own) / 100
    )


def _evidence(pair: Pair, own: Sequence[Member], upstream: Mapping[Pair, frozenset[Pair]], first: int) -> tuple[Evidence, ...]:
    started = min(member.start for member in own)
    lines: list[Evidence] = []
    if started == first:
        lines.append(Evidence("order", "", started, "was the first to deviate"))
    callers = sorted(other[1] for other, callees in upstream.items() if pair in callees)
    if callers:
        lines.append(Evidence("edge", "", started, f"{', '.join(callers)} depend on it"))
    if upstream[pair]:
        named = ", ".join(sorted(other[1] for other in upstream[pair]))
        lines.append(Evidence("edge", "", started, f"itself depends on {named}"))
    ordered = sorted(own, key=lambda member: (member.start, -member.severity, member.ref))
    lines.extend(Evidence(member.kind, member.ref, member.start, member.text) for member in ordered[:MOST_LINES])
    return tuple(lines)


def title_of(causes: Sequence[Cause], members: Sequence[Member]) -> str:
    """What happened, in one line: the probable cause and its worst member."""
    broad = sorted((member for member in members if member.breadth > 1), key=lambda one: (-one.breadth, one.start, one.ref))
    if broad:
        others = sorted({member.key.detector for member in broad} - {broad[0].key.detector})
        return broad[0].text + (f" (and {', '.join(others)})" if others else "")
    entity: Entity = causes[0].entity if causes else ()
    own = [member for member in members if set(entity) & set(member.entity)] or list(members)
    worst = max(own, key=lambda member: (member.severity, -member.start, member.ref))
    more = len({pair for member in members for pair in member.entity}) - 1
    also = f" (and {more} more)" if more > 0 else ""
    return f"{entity[0][1] if entity else worst.key.detector}: {worst.text}{also}"
