"""The tick: a pure function of what was committed and what it reads, `(state, inputs, now) -> (state, effects)`.

Order: load the head by id -> publish and deliver what the last commit left -> for each detector read, fit what is due,
predict, score, detect -> correlate and advise -> write blocks -> commit the head by compare-and-set -> publish -> deliver.
Nothing is visible before the commit. Knows nouns and ports; reads no clock: `now`, `wall` and the nonce are arguments.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from forewarn.correlating import Correlated, NoAdvice, correlate
from forewarn.delivery import deliver, load_outbox, notifications, outbox_block, still_needed
from forewarn.detector import HOUR, Detector
from forewarn.errors import StoreConflict, StoreRejected, TickRefused
from forewarn.incident import Incident
from forewarn.ports import Advisor, Correlator, Notifier, Store
from forewarn.progress import Moved, move
from forewarn.results import Notification, Publication
from forewarn.snapshot import incident_block, incidents_from, load, results, save
from forewarn.state import Head, Span
from forewarn.stream import Rooms, Stream

log = logging.getLogger(__name__)

INCIDENTS: Final = ""
"""The name under which a block of incidents is published; no detector has it."""


def _unobserved(_point: str) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Parts:
    """What a tick runs against. `passed` is told the name of each point that a tick has just passed (tests, metrics)."""

    detectors: tuple[Detector, ...]
    rooms: Mapping[str, Rooms]
    store: Store
    correlator: Correlator
    advisor: Advisor = field(default_factory=NoAdvice)
    notifiers: tuple[Notifier, ...] = ()
    origin: int | None = None
    """Where detectors begin (`run --from`); None: their `warm_up` before the first tick."""
    retention: int | None = None
    passed: Callable[[str], None] = field(default=_unobserved)


@dataclass(frozen=True, slots=True)
class DetectorReport:
    """What one detector did in a tick, for people and metrics."""

    name: str
    series: int
    buckets: int
    fits: int
    changes: int
    watermark: int
    failing: str


@dataclass(frozen=True, eq=False)
class Memory:
    """A cache of one generation: the head, and what it names, as this process last committed or loaded it."""

    head: Head
    token: str | None
    streams: Mapping[str, Stream]
    incidents: tuple[Incident, ...] = ()
    outbox: tuple[Notification, ...] = ()
    published: bool = False
    report: tuple[DetectorReport, ...] = ()


def run_tick(parts: Parts, memory: Memory | None, now: int, wall: int, nonce: str) -> Memory:
    """The tick at `now`, after which everything due by then is committed, published and delivered.

    Raises TickRefused for a `now` at or before the committed one or after `wall`; StoreConflict if another scheduler
    committed first, and StoreUnavailable: then drop the memory and call again without one. A detector whose source fails
    contributes nothing, keeps its watermark, and is named in the head.
    """
    memory = memory or load_memory(parts)
    refuse(memory.head, now, wall)
    try:
        return _tick(parts, memory, now, wall, nonce)
    except StoreRejected as error:
        if _superseded(parts, memory.head):
            raise StoreConflict(f"another scheduler has gone on: {error}") from error
        raise


def _tick(parts: Parts, memory: Memory, now: int, wall: int, nonce: str) -> Memory:
    """The flow itself."""
    memory = finish(parts, memory)
    streams, states = memory.streams, {state.name: state for state in memory.head.detectors}
    moved = [
        move(one, parts.rooms[one.name], streams.get(one.name), states.get(one.name), now, wall, parts.origin)
        for one in parts.detectors
    ]
    parts.passed("read")
    found = correlate(parts.correlator, parts.advisor, memory.incidents, moved, now)
    head, outbox = write(parts, memory, moved, found, now, nonce)
    after = finish(parts, commit(parts, memory, head, replace(memory, outbox=outbox, incidents=found.opened), moved))
    sweep(parts, memory.head, after.head)
    return after


def load_memory(parts: Parts) -> Memory:
    """The committed state, read by id."""
    while True:
        loaded = parts.store.load_head()
        if loaded is None:
            return Memory(Head(0, -1, ""), None, {}, published=True)
        head = Head.read(loaded[0])
        try:
            return _load(parts, head, loaded[1])
        except StoreRejected:
            if not _superseded(parts, head):
                raise


def _superseded(parts: Parts, head: Head) -> bool:
    """Whether somebody has committed since `head` was loaded, and may have swept blocks that only it named."""
    loaded = parts.store.load_head()
    return loaded is not None and Head.read(loaded[0]).generation != head.generation


def _load(parts: Parts, head: Head, token: str) -> Memory:
    streams = {}
    for detector in parts.detectors:
        state = head.detector(detector.name)
        if state is not None and state.fingerprint == detector.fingerprint:
            streams[detector.name] = load(parts.store, state, detector, parts.rooms[detector.name])
    opened = incidents_from(parts.store.get_block(head.incidents)) if head.incidents else ()
    return Memory(head, token, streams, tuple(one for _, one in opened), load_outbox(parts.store, head.outbox))


def refuse(head: Head, now: int, wall: int) -> None:
    """Raises TickRefused unless committed `now` < `now` <= `wall`."""
    if now > wall:
        raise TickRefused(f"now={now} is in the future (the wall clock says {wall}); a tick reads only what has happened")
    if now <= head.now:
        raise TickRefused(f"now={now} is not after the committed now={head.now}; use a later one, or a store of its own")


def write(
    parts: Parts, memory: Memory, moved: Sequence[Moved], found: Correlated, now: int, nonce: str
) -> tuple[Head, tuple[Notification, ...]]:
    """Writes the blocks of this tick and returns the head that names them, and the outbox after it."""

    def put(content: bytes) -> str:
        name = parts.store.put_block(content, now)
        parts.passed("block")
        return name

    old = memory.head
    states = {state.name: state for state in old.detectors}
    unpublished: list[tuple[str, str]] = []
    for one in moved:
        if one.state is None or one.stream is None:
            continue
        states[one.detector.name], journal = save(put, one.state, one.stream, one.chunks, one.days, one.late)
        unpublished.extend((one.detector.name, name) for name in journal)
    if found.changed:
        unpublished.append((INCIDENTS, put(incident_block(found.changed))))
    spans = still_needed(parts.store, parts.notifiers, old.outbox)
    late_before = now - 2 * min((one.step for one in parts.detectors), default=0)
    new = notifications(found.told, old.next_number, late_before) if parts.notifiers else []
    if new:
        spans = (*spans, Span(new[0].number, new[-1].number + 1, (put(outbox_block(new)),)))
    first = spans[0].start if spans else old.next_number
    head = Head(
        generation=old.generation + 1,
        now=now,
        nonce=nonce,
        detectors=tuple(states.values()),
        unpublished=tuple(unpublished),
        incidents=put(incident_block([(one.updated, one) for one in found.opened])) if found.opened else "",
        outbox=spans,
        next_number=old.next_number + len(new),
        failing=tuple((one.detector.name, one.failing) for one in moved if one.failing),
    )
    return head, (*(entry for entry in memory.outbox if entry.number >= first), *new)


def commit(parts: Parts, memory: Memory, head: Head, after: Memory, moved: Sequence[Moved]) -> Memory:
    """Makes `head` the committed state; after a conflict the nonce tells whether a repeated request was our own."""
    parts.passed("before commit")
    try:
        token = parts.store.commit_head(head.document(), memory.token)
    except StoreConflict:
        loaded = parts.store.load_head()
        if loaded is None or Head.read(loaded[0]).nonce != head.nonce:
            raise
        token = loaded[1]
    parts.passed("after commit")
    streams = {one.detector.name: one.stream for one in moved if one.stream is not None}
    report = tuple(_report(one) for one in moved)
    return replace(after, head=head, token=token, streams={**memory.streams, **streams}, published=False, report=report)


def finish(parts: Parts, memory: Memory) -> Memory:
    """Publishes what the last commit left unpublished, and delivers what its targets have not taken."""
    if not memory.published:
        for detector, name in memory.head.unpublished:
            stream = memory.streams.get(detector)
            if detector == INCIDENTS:
                _publish(parts.store, Publication(incidents=incidents_from(parts.store.get_block(name))))
            elif stream is not None:
                _publish(parts.store, results(parts.store.get_block(name), stream))
            parts.passed("published")
    deliver(parts.store, parts.notifiers, memory.outbox, parts.passed)
    return replace(memory, published=True)


def _publish(store: Store, publication: Publication) -> None:
    """What the store refuses for good, such as results older than its retention after a long downtime, is said and left
    behind: everything else in the publication was written, and a later tick could do no better.
    """
    try:
        store.publish(publication)
    except StoreRejected as error:
        log.warning("event=results_refused why=%s", error)


def sweep(parts: Parts, before: Head, after: Head) -> None:
    """Once a nominal hour: deletes blocks that no head has named for an hour, and results past their retention."""
    if after.now // HOUR == before.now // HOUR:
        return
    parts.store.sweep(after.names(), after.now - HOUR)
    if parts.retention is not None:
        parts.store.drop_before(after.now - parts.retention)


def _report(moved: Moved) -> DetectorReport:
    stream, chunks = moved.stream, moved.chunks
    return DetectorReport(
        moved.detector.name,
        len(stream.registry.keys) if stream else 0,
        sum((chunk.end - chunk.start) // moved.detector.step for chunk in chunks),
        sum(len(model.keys) for chunk in chunks for fit in chunk.fits for model in fit.models),
        len(moved.changes()),
        stream.watermark if stream else 0,
        moved.failing,
    )
