"""The head: the small document whose replacement is the commit of a tick. It names immutable blocks and holds no data.

Owns: Head, DetectorState and their JSON. Values only; `tick.py` decides, stores keep.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

from forewarn.errors import StoreRejected

SCHEMA: Final = 1


@dataclass(frozen=True, slots=True)
class Span:
    """A block (or several) that holds what happened in [start, end) of a detector's bucket time."""

    start: int
    end: int
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The scorer's carry before bucket `at`, and the slots of the fits that were in force then."""

    at: int
    names: tuple[str, ...]
    slots: tuple[int, ...]
    watch: tuple[str, ...] = ()
    """The carry of the watch, if there is one."""


@dataclass(frozen=True, slots=True)
class DetectorState:
    """Where one detector stands: everything it needs to go on is named here and read by id."""

    name: str
    fingerprint: str
    origin: int
    """The first bucket that was ever scored."""
    watermark: int
    """Buckets before this are scored and committed."""
    notify_from: int
    """Transitions before this nominal time are learnt from, not sent."""
    mark: int
    """History holds everything before this; the journal holds what came after."""
    keys: tuple[str, ...] = ()
    registry: str = ""
    opened: str = ""
    """Open episodes and heads-ups."""
    catalogue: tuple[str, ...] = ()
    """The patterns of a log stream, in the order of first sight."""
    history: tuple[Span, ...] = ()
    journal: tuple[Span, ...] = ()
    """Values that were scored since the older checkpoint, from which carry and coarse buckets are rebuilt."""
    checkpoints: tuple[Checkpoint, ...] = ()
    """The newest two, so that late values can be replayed from the older."""
    models: tuple[Span, ...] = ()
    """Fits by slot (`start`); the newest that holds a series is in force."""
    corrections: tuple[Span, ...] = ()
    """What second looks found of buckets after `mark`, the older first."""
    settled: int = 0
    """Buckets before this are final."""
    looked: int = 0
    """Up to where the detector was to be moved at its last second look."""

    def names(self) -> set[str]:
        """All blocks that this state needs."""
        spans: tuple[Span | Checkpoint, ...] = (
            *self.history,
            *self.journal,
            *self.checkpoints,
            *self.models,
            *self.corrections,
        )
        watched = (name for checkpoint in self.checkpoints for name in checkpoint.watch)
        named = (name for span in spans for name in span.names)
        return {*self.keys, *self.catalogue, self.registry, self.opened, *named, *watched} - {""}


@dataclass(frozen=True, slots=True)
class Head:
    """The committed state of everything: `now` strictly increases, `generation` counts commits, `nonce` names the writer."""

    generation: int
    now: int
    nonce: str
    detectors: tuple[DetectorState, ...] = ()
    unpublished: tuple[tuple[str, str], ...] = ()
    """(detector, journal block) of the last tick, whose results may not be visible yet."""
    incidents: str = ""
    """Open incidents."""
    outbox: tuple[Span, ...] = ()
    """Blocks of notifications number `start` to `end` (exclusive) that some target may not have taken yet."""
    next_number: int = 1
    failing: tuple[tuple[str, str], ...] = ()
    """(detector, why) of those whose source gave nothing at the last tick."""
    schema: int = field(default=SCHEMA)

    def detector(self, name: str) -> DetectorState | None:
        """The state of one detector."""
        return next((state for state in self.detectors if state.name == name), None)

    def names(self) -> set[str]:
        """All live blocks."""
        live = {name for state in self.detectors for name in state.names()}
        live |= {self.incidents} - {""}
        return live | {name for _, name in self.unpublished} | {name for span in self.outbox for name in span.names}

    def document(self) -> bytes:
        """The JSON form."""
        return json.dumps(_plain(self), separators=(",", ":"), sort_keys=True).encode()

    @classmethod
    def read(cls, document: bytes) -> "Head":
        """The head of `document`; refuses a schema that this version does not know."""
        raw = json.loads(document)
        if raw.get("schema") != SCHEMA:
            raise StoreRejected(f"the state has schema {raw.get('schema')!r}; this version reads {SCHEMA}")
        raw["detectors"] = tuple(_detector(state) for state in raw["detectors"])
        raw["unpublished"] = tuple((detector, name) for detector, name in raw["unpublished"])
        raw["outbox"] = _spans(raw["outbox"])
        raw["failing"] = tuple((name, why) for name, why in raw["failing"])
        return cls(**raw)


def _plain(value: Any) -> Any:
    if isinstance(value, (Head, DetectorState, Span, Checkpoint)):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _spans(raw: list[Mapping[str, Any]]) -> tuple[Span, ...]:
    return tuple(Span(span["start"], span["end"], tuple(span["names"])) for span in raw)


def _detector(raw: dict[str, Any]) -> DetectorState:
    spans = {name: _spans(raw.get(name, [])) for name in ("history", "journal", "models", "corrections")}
    checkpoints = tuple(
        Checkpoint(c["at"], tuple(c["names"]), tuple(c["slots"]), tuple(c.get("watch", ()))) for c in raw["checkpoints"]
    )
    return DetectorState(
        **(raw | spans | {name: tuple(raw[name]) for name in ("keys", "catalogue")} | {"checkpoints": checkpoints})
    )
