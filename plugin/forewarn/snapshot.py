"""Streams as immutable blocks, and back: what a tick writes before its commit, and what a restart reads by id.

Owns the layout of the blocks that `state.DetectorState` names. A stream that is loaded equals the one that was saved: its
carry is scored again from the newest checkpoint over the journal, with the models of that time; the source is not read.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from forewarn.anomaly import Carry, Scores
from forewarn.blocks import decode, encode
from forewarn.budget import Tally
from forewarn.codec import (
    anomaly_from,
    anomaly_json,
    fit_from,
    fit_parts,
    heads_up_from,
    heads_up_json,
    incident_from,
    incident_json,
    key_from,
    key_json,
    pattern_from,
    pattern_json,
)
from forewarn.detector import DAY, Detector
from forewarn.in_force import Fit, InForce
from forewarn.incident import Incident
from forewarn.naming import Lookback
from forewarn.pattern import Pattern
from forewarn.ports import StateStore, Watch
from forewarn.registry import Registry
from forewarn.results import Publication, ScoreBlock, SeriesRecord
from forewarn.series import SeriesBatch, SeriesKey, TimeGrid
from forewarn.state import Checkpoint, DetectorState, Span
from forewarn.stream import Chunk, Rooms, Stream
from forewarn.tail import Corrections, Tail

KEYS_PER_BLOCK: Final = 8192
PATTERNS_PER_BLOCK: Final = 2048
ROWS_PER_BLOCK: Final = 1024
CORRECTIONS_PER_BLOCK: Final = 150_000
CARRY_BYTES: Final = 4_000_000

Put = Callable[[bytes], str]


def save(
    put: Put,
    before: DetectorState,
    stream: Stream,
    chunks: Sequence[Chunk],
    days: Sequence[Span],
    late: Corrections,
) -> tuple[DetectorState, tuple[str, ...]]:
    """Writes what changed and returns the state that names it, and the journal blocks whose results are to
    be published.

    `days` are the history blocks that the caller wrote for these chunks, `late` is what the second look before them found.
    """
    journal = tuple(Span(chunk.start, chunk.end, (put(_journal(chunk, stream)),)) for chunk in chunks)
    new = [chunk for chunk in chunks if chunk.carry is not None][-2:]
    checkpoints = (*before.checkpoints, *(_checkpoint(put, chunk) for chunk in new))[-2:]
    oldest, needed = (checkpoints[0].at, set(checkpoints[0].slots)) if len(checkpoints) == 2 else (before.origin, set())
    fits = [fit for chunk in chunks for fit in chunk.fits if fit.slot >= oldest or fit.slot in needed]
    models = (
        *(span for span in before.models if span.start >= oldest or span.start in needed),
        *(Span(fit.slot, fit.slot, tuple(put(part) for part in _fit_blocks(fit))) for fit in fits),
    )
    mark = stream.tail.start
    keep_from, journal_from = mark - stream.detector.fit_window - DAY, min(oldest, mark)
    corrections = (*before.corrections, *_correction_spans(put, late, stream.detector.step))
    return (
        replace(
            before,
            watermark=stream.watermark,
            mark=mark,
            keys=tuple(put(block) for block in _key_blocks(stream.registry.keys)),
            registry=put(_registry_block(stream.registry)),
            opened=put(_opened_block(stream)),
            catalogue=tuple(put(block) for block in _catalogue_blocks(tuple(stream.catalogue.values()))),
            history=tuple(span for span in (*before.history, *days) if span.end > keep_from),
            journal=tuple(span for span in (*before.journal, *journal) if span.end > journal_from),
            checkpoints=checkpoints,
            models=models,
            corrections=tuple(span for span in corrections if span.end > mark),
            settled=stream.settled,
            looked=stream.looked,
        ),
        tuple(name for span in journal for name in span.names),
    )


def load(store: StateStore, state: DetectorState, detector: Detector, rooms: Rooms) -> Stream:
    """The stream that `state` names, as it was when it was saved."""
    keys = tuple(key_from(key) for name in state.keys for key in decode(store.get_block(name))[0]["keys"])
    registry = _registry(keys, decode(store.get_block(state.registry))[1]) if state.registry else Registry.empty()
    fits = [_fit(span, [store.get_block(name) for name in span.names]) for span in state.models]
    blocks = [_scored(store.get_block(span.names[0])) for span in state.journal]
    journal = [(span, block["actual"]) for span, block in zip(state.journal, blocks, strict=True)]
    parts = [(span.start, block) for span, block in zip(state.journal, blocks, strict=True)]
    opened = decode(store.get_block(state.opened))[0] if state.opened else {"opened": [], "heads_ups": []}
    noticed = tuple(anomaly_from(anomaly) for anomaly in opened.get("silences", ()))
    patterns = (pattern_from(one) for name in state.catalogue for one in decode(store.get_block(name))[0]["patterns"])
    checkpoint = state.checkpoints[-1] if state.checkpoints else None
    at = checkpoint.at if checkpoint else state.origin
    carry = _carry(store, checkpoint.names, at, keys) if checkpoint else rooms.scorer.start((), at)
    watched = None if rooms.watch is None else _watched(store, checkpoint, keys, state, rooms.watch)
    in_force = InForce((), ())
    for fit in fits:
        if fit.slot < at:
            in_force = in_force.after(fit, carry.keys)
    for span, values in journal:
        if span.start >= at:
            carry, in_force = _replay(span, values, keys, fits, carry, in_force, detector, rooms)
        if rooms.watch is not None and watched is not None and span.start >= watched.at:
            watched = _listen_again(span, values, keys, detector, rooms.watch, watched)
    scored = [_part(span, values, keys, detector) for span, values in journal if span.end > state.mark and values.size]
    tail = Tail(state.mark, tuple(part.between(state.mark, state.watermark) for part in scored))
    for span in state.corrections:
        for name in span.names:
            tail = tail.with_corrections(_corrections(store.get_block(name)).since(state.mark))
    return Stream(
        detector,
        state.watermark,
        tail,
        registry,
        in_force,
        carry,
        tuple(anomaly_from(anomaly) for anomaly in opened["opened"]),
        tuple(name for span in state.history for name in span.names),
        {one.id: one for one in patterns},
        tuple(heads_up_from(one) for one in opened["heads_ups"]),
        _recent(journal, keys[: len(in_force.keys)], state.watermark, detector, rooms),
        noticed,
        watched,
        Tally(*opened.get("tally", ())),
        state.settled,
        state.looked,
        None
        if rooms.namer is None
        else Lookback.of(parts, len(in_force.keys), state.watermark, detector.step, rooms.namer.window),
    )


def results(content: bytes, stream: Stream) -> Publication:
    """What a journal block has to publish: scores, the last of each changed anomaly, the records of the series that it
    touched, and patterns.
    """
    meta, arrays = decode(content)
    keys = stream.registry.keys[: arrays["actual"].shape[0]]
    grid = TimeGrid(meta["start"], meta["step"], arrays["actual"].shape[1])
    scores = Scores(
        keys,
        grid,
        arrays["score"],
        arrays["direction"],
        arrays["lower"],
        arrays["upper"],
        arrays["reason"],
        tuple(meta["reasons"]),
    )
    block = ScoreBlock(SeriesBatch(keys, grid, arrays["actual"]), arrays["expected"], scores, stream.detector.delay)
    changes = [(version, anomaly_from(anomaly)) for version, anomaly in meta["changes"]]
    patterns = [pattern_from(one) for one in meta["patterns"]]
    return Publication(
        (block,) if keys else (),
        tuple({anomaly.id: (version, anomaly) for version, anomaly in changes}.values()),
        tuple(record(stream, row) for row in meta["touched"]),
        patterns=tuple((stream.detector.nominal(one.last_seen), one) for one in patterns),
    )


def incident_block(incidents: Sequence[tuple[int, Incident]]) -> bytes:
    """Incidents with their versions as a block."""
    return encode({"incidents": [[version, incident_json(incident)] for version, incident in incidents]}, {})


def incidents_from(content: bytes) -> tuple[tuple[int, Incident], ...]:
    """The incidents of `incident_block`."""
    return tuple((version, incident_from(one)) for version, one in decode(content)[0]["incidents"])


def record(stream: Stream, row: int) -> SeriesRecord:
    """What readers get to know of one series, with its model. Who is back is newer than its retirement, fitted or not."""
    detector, registry, key = stream.detector, stream.registry, stream.registry.keys[row]
    model, calibration, at = stream.in_force.rows[key]
    last, fitted = int(registry.last_seen[row]), int(registry.fitted[row])
    retired = bool(registry.retired(stream.watermark, detector)[row])
    changed = max(fitted, last + detector.step + (detector.retire_after if retired else 0))
    return SeriesRecord(
        key,
        detector.nominal(changed),
        detector.step,
        detector.unit,
        detector.owner,
        detector.timezone,
        model.status[at],
        model.engine,
        fitted,
        int(registry.first_seen[row]),
        last,
        retired,
        model.take([at]),
        calibration.take([at]),
    )


def _journal(chunk: Chunk, stream: Stream) -> bytes:
    """One chunk's values, scores and changes; rows are a prefix of the registry's, NaN before a series joined."""
    steps, step = chunk.steps, stream.detector.step
    rows = max((len(part.actual.keys) for part in steps), default=0)
    size = (chunk.end - chunk.start) // step
    names = ("actual", "expected", "lower", "upper", "score")
    arrays: dict[str, NDArray[Any]] = {name: np.full((rows, size), np.nan) for name in names}
    arrays |= {name: np.zeros((rows, size), np.int8) for name in ("direction", "reason")}
    for part in steps:
        first = (part.actual.grid.start - chunk.start) // step
        where = (slice(0, len(part.actual.keys)), slice(first, first + part.actual.grid.size))
        arrays["actual"][where], arrays["expected"][where] = part.actual.values, part.forecast.expected
        for name in ("lower", "upper", "score", "direction", "reason"):
            arrays[name][where] = getattr(part.scores, name)
    meta = {
        "start": chunk.start,
        "step": step,
        "reasons": list(steps[-1].scores.reasons) if steps else [],
        "changes": [[version, anomaly_json(anomaly)] for part in steps for version, anomaly in part.changes],
        "touched": list(chunk.touched),
        "patterns": [pattern_json(one) for one in chunk.patterns],
    }
    return encode(meta, arrays)


def _scored(content: bytes) -> dict[str, NDArray[Any]]:
    """What a restart needs of a journal block, a third of it: a fleet's journal reaches back for up to two days."""
    return {name: array for name, array in decode(content)[1].items() if name in ("actual", "expected")}


def _checkpoint(put: Put, chunk: Chunk) -> Checkpoint:
    if chunk.carry is None:
        raise ValueError("this chunk did not end at a checkpoint")
    watch = () if chunk.watched is None else _carry_blocks(put, chunk.watched)
    return Checkpoint(chunk.end, _carry_blocks(put, chunk.carry), chunk.slots, watch)


def _carry_blocks(put: Put, carry: Carry) -> tuple[str, ...]:
    width = sum(array.nbytes for array in carry.arrays.values()) // max(1, len(carry.keys))
    rows = max(1, CARRY_BYTES // max(1, width))
    return tuple(
        put(encode({"at": carry.at}, {name: array[low : low + rows] for name, array in carry.arrays.items()}))
        for low in range(0, max(1, len(carry.keys)), rows)
    )


def _carry(store: StateStore, names: Sequence[str], at: int, keys: Sequence[SeriesKey]) -> Carry:
    parts = [decode(store.get_block(name))[1] for name in names]
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    rows = len(next(iter(arrays.values()))) if arrays else 0
    return Carry(tuple(keys[:rows]), at, arrays)


def _watched(
    store: StateStore, checkpoint: Checkpoint | None, keys: Sequence[SeriesKey], state: DetectorState, watch: Watch
) -> Carry:
    """What the watch carried at the checkpoint; a fresh one if there was no watch then."""
    if checkpoint is None:
        return watch.start(state.origin)
    fresh = watch.start(checkpoint.at)
    return _carry(store, checkpoint.watch, checkpoint.at, (*fresh.keys, *keys)) if checkpoint.watch else fresh


def _listen_again(
    span: Span, values: NDArray[np.float64], keys: Sequence[SeriesKey], detector: Detector, watch: Watch, carry: Carry
) -> Carry:
    if not values.size:
        return watch.start(span.end)
    return watch.learn(_part(span, values, keys, detector), carry)


def _replay(
    span: Span,
    values: NDArray[np.float64],
    keys: Sequence[SeriesKey],
    fits: Sequence[Fit],
    carry: Carry,
    in_force: InForce,
    detector: Detector,
    rooms: Rooms,
) -> tuple[Carry, InForce]:
    """The carry after the journal's span, scored again between the slots of that time."""
    start = span.start
    while start < span.end:
        for fit in (fit for fit in fits if fit.slot == start):
            known = _prefix(keys, in_force.keys, fit)
            if len(known) > len(carry.keys):
                carry = rooms.scorer.extend(carry, known[len(carry.keys) :])
            in_force = in_force.after(fit, known)
        end = min([span.end, *(fit.slot for fit in fits if fit.slot > start)])
        rows, grid = len(in_force.keys), TimeGrid(start, detector.step, (end - start) // detector.step)
        if rows:
            first = (start - span.start) // detector.step
            block = np.ascontiguousarray(values[:rows, first : first + grid.size])
            forecast = in_force.forecast(rooms.predict, grid)
            batch = SeriesBatch(in_force.keys, grid, block)
            _, carry = rooms.scorer.score(batch, forecast, in_force.calibration, carry)
        else:
            carry = rooms.scorer.start((), end)
        start = end
    return carry, in_force


def _prefix(keys: Sequence[SeriesKey], known: Sequence[SeriesKey], fit: Fit) -> tuple[SeriesKey, ...]:
    """The series that have a model after `fit`: rows join in order, and are fitted when they join."""
    fitted = {key for model in fit.models for key in model.keys}
    rows = len(known)
    while rows < len(keys) and keys[rows] in fitted:
        rows += 1
    return tuple(keys[:rows])


def _recent(
    journal: Sequence[tuple[Span, NDArray[np.float64]]],
    keys: tuple[SeriesKey, ...],
    watermark: int,
    detector: Detector,
    rooms: Rooms,
) -> SeriesBatch | None:
    """The buckets before the watermark that the outlook looks back at."""
    if rooms.outlook is None:
        return None
    size = rooms.outlook.look_back
    grid = TimeGrid(watermark - size * detector.step, detector.step, size)
    values = np.full((len(keys), size), np.nan)
    for span, block in journal:
        part = _part(span, block, keys, detector).between(grid.start, grid.end)
        first = grid.index(part.grid.start)
        values[: len(part.keys), first : first + part.grid.size] = part.values
    return SeriesBatch(keys, grid, values)


def _opened_block(stream: Stream) -> bytes:
    opened = [anomaly_json(anomaly) for anomaly in stream.opened]
    noticed = [anomaly_json(anomaly) for anomaly in stream.noticed]
    heads_ups = [heads_up_json(one) for one in stream.heads_ups]
    tally = [stream.tally.episodes, stream.tally.founded]
    return encode({"opened": opened, "heads_ups": heads_ups, "silences": noticed, "tally": tally}, {})


def _catalogue_blocks(patterns: Sequence[Pattern]) -> Iterable[bytes]:
    for low in range(0, len(patterns), PATTERNS_PER_BLOCK):
        yield encode({"patterns": [pattern_json(one) for one in patterns[low : low + PATTERNS_PER_BLOCK]]}, {})


def _part(span: Span, values: NDArray[np.float64], keys: Sequence[SeriesKey], detector: Detector) -> SeriesBatch:
    grid = TimeGrid(span.start, detector.step, values.shape[1])
    return SeriesBatch(tuple(keys[: values.shape[0]]), grid, values)


def _correction_spans(put: Put, late: Corrections, step: int) -> Iterable[Span]:
    for low in range(0, late.rows.size, CORRECTIONS_PER_BLOCK):
        rows, times, values = (one[low : low + CORRECTIONS_PER_BLOCK] for one in (late.rows, late.times, late.values))
        block = put(encode({}, {"rows": rows, "times": times, "values": values}))
        yield Span(int(times.min()), int(times.max()) + step, (block,))


def _corrections(content: bytes) -> Corrections:
    arrays = decode(content)[1]
    return Corrections(arrays["rows"], arrays["times"], arrays["values"])


def _fit_blocks(fit: Fit) -> Iterable[bytes]:
    for model, calibration in zip(fit.models, fit.calibrations, strict=True):
        for low in range(0, len(model.keys), ROWS_PER_BLOCK):
            rows = range(low, min(low + ROWS_PER_BLOCK, len(model.keys)))
            yield encode(*fit_parts([model.take(rows)], [calibration.take(rows)]))


def _fit(span: Span, contents: Iterable[bytes]) -> Fit:
    parts = [fit_from(*decode(content)) for content in contents]
    models = tuple(model for part, _ in parts for model in part)
    return Fit(span.start, models, tuple(calibration for _, part in parts for calibration in part))


def _key_blocks(keys: Sequence[SeriesKey]) -> Iterable[bytes]:
    for low in range(0, len(keys), KEYS_PER_BLOCK):
        yield encode({"keys": [key_json(key) for key in keys[low : low + KEYS_PER_BLOCK]]}, {})


def _registry_block(registry: Registry) -> bytes:
    names = ("first_seen", "last_seen", "fitted", "full")
    return encode({}, {name: getattr(registry, name) for name in names})


def _registry(keys: tuple[SeriesKey, ...], arrays: dict[str, NDArray[Any]]) -> Registry:
    return Registry(keys, arrays["first_seen"], arrays["last_seen"], arrays["fitted"], arrays["full"])
