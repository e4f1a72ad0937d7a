"""One detector's stream through a block of time: complete, fit what is due, predict, score, detect.

Owns: Stream (what a detector carries from tick to tick) and `advance`, which moves it on by one chunk. Computes through
ports only and never writes: what it made is returned, and `tick.py` commits it. Everything that happens here depends on
bucket times alone, never on how the time was cut into ticks: one block of twelve buckets equals twelve ticks.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from forewarn.anomaly import Anomaly, Carry, Scores
from forewarn.budget import Tally, counted, faded, spacing
from forewarn.detector import DAY, Detector
from forewarn.forecast import FULL_ENGINES, Calibration, Forecast, ModelSpec
from forewarn.in_force import Fit, InForce
from forewarn.incident import HeadsUp, PatternChange
from forewarn.naming import Lookback, Namer, named
from forewarn.novelty import pattern_changes, sighted, with_patterns
from forewarn.pattern import Mined, Pattern
from forewarn.ports import EpisodeFold, Forecaster, History, MetricSource, MinedSource, Outlook, Predictor, Scorer, Watch
from forewarn.registry import NEVER, Registry, next_midnight
from forewarn.series import Float, SeriesBatch, TimeGrid
from forewarn.tail import Int, Tail

CHUNK_CELLS = 100_000
"""Cells (series x buckets) that are read, scored and journalled at once: a journal block then stays below 5 MB."""
STOPGAP = "seasonal_median"
"""The engine for a series that has no model yet while the budget of fits is used up."""
NEVER_LATE = 2**62
"""`Stream.settled` where the source holds everything from the start."""


@dataclass(frozen=True, slots=True)
class Rooms:
    """The ports that one detector runs against, and the two pure functions of the history room."""

    source: MetricSource
    history: History
    forecaster: Forecaster
    predict: Predictor
    scorer: Scorer
    episodes: EpisodeFold
    spec: ModelSpec
    coarsen: Callable[[SeriesBatch, int], SeriesBatch]
    fill: Callable[[MetricSource, Detector, int, int], Iterator[SeriesBatch]]
    mined: MinedSource | None = None
    """The source of a log stream, which also says which patterns it saw; None for metrics."""
    outlook: Outlook | None = None
    """Foresees crossings; None for a detector without a threshold."""
    watch: Watch | None = None
    """Says who has stopped sending or is stuck, and what kinds of stream there are; None where nobody wants to know."""
    namer: Namer | None = None
    """Says what changed in an episode; None where nobody wants to know."""
    tune: Callable[[Carry, float], Carry] | None = None
    """Sets how many ms should lie between false episodes of a series; None for a detector without a budget of alerts."""
    false_alarm_every: float = 0.0
    """The expected ms between false episodes of a normal series at the detector's sensitivity."""


@dataclass(frozen=True, eq=False)
class Stream:
    """What one detector carries from tick to tick, all of it rebuilt from the head's blocks after a restart."""

    detector: Detector
    watermark: int
    tail: Tail
    """What was scored since history ends."""
    registry: Registry
    in_force: InForce
    carry: Carry
    opened: tuple[Anomaly, ...] = ()
    history: tuple[str, ...] = ()
    catalogue: Mapping[str, Pattern] = field(default_factory=dict)
    """Every pattern of a log stream, in the order of first sight."""
    heads_ups: tuple[HeadsUp, ...] = ()
    recent: SeriesBatch | None = None
    """The buckets before the watermark that the outlook looks back at."""
    noticed: tuple[Anomaly, ...] = ()
    """Who is silent, and whose value is stuck."""
    watched: Carry | None = None
    """What the watch for both carries."""
    tally: Tally = field(default_factory=Tally)
    """What the episodes of a detector with a budget of alerts became."""
    settled: int = NEVER_LATE
    """Buckets before this are final, read or not: no documents of theirs are waited for any more."""
    looked: int = 0
    """Up to where the stream was to be moved when its source was last looked at again."""
    lookback: Lookback | None = None
    """What names of episodes look back at."""


@dataclass(frozen=True, eq=False)
class Step:
    """One sub-block between two slots, with everything that scored it."""

    actual: SeriesBatch
    forecast: Forecast
    calibration: Calibration
    before: Carry
    scores: Scores
    changes: tuple[tuple[int, Anomaly], ...]
    novel: tuple[tuple[int, PatternChange], ...] = ()
    foreseen: tuple[tuple[int, HeadsUp], ...] = ()


@dataclass(frozen=True, eq=False)
class Chunk:
    """What one call of `advance` made. `day` and `carry` are there when it ended at a boundary where both are written."""

    start: int
    end: int
    steps: tuple[Step, ...]
    fits: tuple[Fit, ...]
    day: SeriesBatch | None = None
    carry: Carry | None = None
    slots: tuple[int, ...] = ()
    """With `carry`: the slots of the fits that were in force."""
    watched: Carry | None = None
    """With `carry`: that of the watch, if there is one."""
    touched: tuple[int, ...] = ()
    """Rows whose record changed: fitted, retired, or back."""
    patterns: tuple[Pattern, ...] = ()
    """Patterns to publish: new ones, and all that were seen where a day ends."""


def fresh(detector: Detector, rooms: Rooms, origin: int) -> Stream:
    """A stream without any past, that will score from bucket `origin`."""
    mark = origin // detector.coarse_step * detector.coarse_step
    watched = None if rooms.watch is None else rooms.watch.start(origin)
    carry = rooms.scorer.start((), origin)
    return Stream(detector, origin, Tail(mark), Registry.empty(), InForce((), ()), carry, watched=watched)


def revised_within(detector: Detector, rooms: Rooms) -> int:
    """How long after its end a bucket may still change, in ms; lines of logs are read once."""
    return detector.revise_within if rooms.mined is None else 0


def begin(detector: Detector, rooms: Rooms, origin: int) -> tuple[Stream, list[SeriesBatch]]:
    """A stream that will score from bucket `origin`, and the coarse history that its source holds before it, newest first.

    The one time that the source is read for history, where what comes late is left out.
    """
    stream = fresh(detector, rooms, origin)
    mark = stream.tail.start
    slices = list(rooms.fill(rooms.source, detector, mark - detector.fit_window, mark))
    complete: list[SeriesBatch] = []
    before = Registry.empty()
    for part in reversed(slices):
        seen = before.observe(part)
        complete.append(SeriesBatch(seen.keys, part.grid, seen.complete(part, before, detector)))
        before = seen
    return replace(stream, registry=before, settled=origin), complete[::-1]


def advance(stream: Stream, rooms: Rooms, until: int) -> tuple[Stream, Chunk]:
    """The stream moved on by one chunk towards `until` (a bucket boundary), and what that made.

    A chunk ends at `until`, after CHUNK_CELLS cells, or where history and checkpoint are due. Raises SourceError; the
    stream that was given is still good then.
    """
    detector = stream.detector
    midnight = next_midnight(stream.watermark, detector.step)
    columns = max(1, CHUNK_CELLS // max(1, len(stream.registry.keys)))
    end = min(until, midnight, stream.watermark + columns * detector.step)
    grid = TimeGrid.between(stream.watermark, end, detector.step)
    mined = rooms.mined.mine(detector, grid) if rooms.mined is not None else None
    read = mined.counts if mined is not None else rooms.source.read(detector, grid)
    everyone = stream.registry.observe(read)
    values = everyone.complete(read, stream.registry, detector)
    current, steps, fits = stream, [], []
    known = frozenset(stream.catalogue)
    while current.watermark < end:
        current, step, made = _step(current, rooms, mined, read, everyone, values, end)
        if step is not None:
            steps.append(step)
        fits.extend(made)
    retired = everyone.retired(end, detector)
    was = np.zeros(len(retired), np.bool_)
    was[: len(stream.registry.keys)] = stream.registry.retired(stream.watermark, detector)
    fitted = {current.registry.rows[key] for fit in fits for model in fit.models for key in model.keys}
    chunk = Chunk(
        stream.watermark,
        end,
        tuple(steps),
        tuple(fits),
        touched=tuple(sorted(fitted | set(np.flatnonzero(retired != was).tolist()))),
    )
    if mined is not None:
        current = replace(current, catalogue=sighted(current.catalogue, mined.patterns))
        seen = current.catalogue if end == midnight else mined.patterns.keys() - known
        patterns = (current.catalogue[name] for name in sorted(seen))
        chunk = replace(
            chunk, patterns=tuple(one for one in patterns if one.last_seen >= midnight - DAY or one.id not in known)
        )
    if end != midnight:
        return current, chunk
    if rooms.tune is not None:
        every = spacing(detector, current.tally, int(np.count_nonzero(~retired)))
        current = replace(current, carry=rooms.tune(current.carry, every), tally=faded(current.tally))
    cut = _history_ends(current, rooms, end)
    everyone_now = np.arange(len(current.registry.keys))
    day = _coarse_tail(current, rooms, everyone_now, cut)
    return replace(current, tail=current.tail.since(cut)), replace(
        chunk,
        day=day,
        carry=current.carry,
        slots=tuple(sorted({fit.slot for fit in current.in_force.fits})),
        watched=current.watched,
    )


def _step(
    stream: Stream, rooms: Rooms, mined: Mined | None, read: SeriesBatch, everyone: Registry, values: Float, end: int
) -> tuple[Stream, Step | None, list[Fit]]:
    """One sub-block: from the watermark to the next slot, or to where a series is seen for the first time."""
    detector, start = stream.detector, stream.watermark
    registry = stream.registry.observe(read.between(start, start + detector.step))
    fresh = registry.keys[len(stream.carry.keys) :]
    carry = rooms.scorer.extend(stream.carry, fresh) if fresh else stream.carry
    joined = registry.keys[len(stream.registry.keys) :]
    novel = pattern_changes(stream.registry, mined, joined, start, values, detector) if mined is not None else ()
    stream = replace(stream, registry=registry, carry=carry)
    stream, fits, put_off = _fit_due(stream, rooms, start)
    later = everyone.first_seen[len(registry.keys) :]
    stops = [end, *later[:1].tolist()]
    if put_off:
        stops.append(start + detector.step)
    stops.extend(_slots_ahead(stream, read, start))
    stop = max(start + detector.step, min(stops))
    grid = TimeGrid(start, detector.step, (stop - start) // detector.step)
    registry = stream.registry.observe(read.between(start + detector.step, stop))
    if not registry.keys:
        watched = None if rooms.watch is None else rooms.watch.start(stop)
        return (
            replace(stream, registry=registry, carry=rooms.scorer.start((), stop), watched=watched, watermark=stop),
            None,
            fits,
        )
    first = read.grid.index(start)
    block = np.ascontiguousarray(values[: len(registry.keys), first : first + grid.size])
    actual = SeriesBatch(registry.keys, grid, block)
    forecast = stream.in_force.forecast(rooms.predict, grid)
    calibration = stream.in_force.calibration
    scores, after = rooms.scorer.score(actual, forecast, calibration, stream.carry)
    opened, changes = rooms.episodes.fold(stream.opened, actual, forecast, scores, detector.delay)
    if rooms.namer is not None:
        lookback = stream.lookback or Lookback.fresh(rooms.namer.window)
        seen = lookback.followed_by(block, forecast.expected)
        changes, opened = named(rooms.namer, seen, stream.opened, changes, opened, actual, detector.delay)
        stream = replace(stream, lookback=seen.last(rooms.namer.window))
    if rooms.tune is not None:
        stream = replace(stream, tally=counted(stream.tally, stream.opened, changes))
    stream, changes = _listen(stream, rooms, changes, actual, forecast)
    if mined is not None:
        changes = with_patterns(changes, stream.catalogue, mined.patterns)
    step = Step(actual, forecast, calibration, stream.carry, scores, changes, novel)
    moved = replace(stream, registry=registry, carry=after, opened=opened, tail=stream.tail.with_part(actual), watermark=stop)
    if rooms.outlook is not None:
        moved, foreseen = _foresee(moved, rooms, rooms.outlook, actual)
        step = replace(step, foreseen=foreseen)
    return moved, step, fits


def _listen(
    stream: Stream, rooms: Rooms, episodes: Sequence[tuple[int, Anomaly]], actual: SeriesBatch, forecast: Forecast
) -> tuple[Stream, tuple[tuple[int, Anomaly], ...]]:
    """The stream that has listened to a block, and every change in it of an episode or of what the watch noticed, with the kind
    of stream it is about.
    """
    if rooms.watch is None or stream.watched is None:
        return stream, tuple(episodes)
    delay, before = stream.detector.delay, stream.watched
    others = [*((stream.watermark, one) for one in stream.opened), *episodes]
    noticed, told, watched = rooms.watch.fold(stream.noticed, others, actual, forecast, before, delay)
    changes = []
    for at, one in (*episodes, *told):
        row = actual.rows.get(one.key)
        words = {} if row is None else {"class": rooms.watch.kind(before, row)}
        changes.append((at, replace(one, explanation={**one.explanation, **words})))
    return replace(stream, noticed=noticed, watched=watched), tuple(changes)


def _foresee(
    stream: Stream, rooms: Rooms, outlook: Outlook, actual: SeriesBatch
) -> tuple[Stream, tuple[tuple[int, HeadsUp], ...]]:
    """The heads-ups after a block, which the outlook sees with what came before it and what is forecast after it."""
    grid, keys = actual.grid, actual.keys
    before = TimeGrid(grid.start - outlook.look_back * grid.step, grid.step, outlook.look_back)
    seen = np.full((len(keys), before.size), np.nan)
    if stream.recent is not None:
        part = stream.recent.between(before.start, before.end)
        first = before.index(part.grid.start)
        seen[: len(part.keys), first : first + part.grid.size] = part.values
    whole = SeriesBatch(keys, TimeGrid(before.start, grid.step, before.size + grid.size), np.hstack([seen, actual.values]))
    ahead = stream.in_force.forecast(rooms.predict, TimeGrid(before.start, grid.step, whole.grid.size + outlook.horizon))
    heads_ups, changes = outlook.fold(stream.heads_ups, whole, ahead, stream.detector.delay)
    recent = whole.between(grid.end - before.size * grid.step, grid.end)
    return replace(stream, heads_ups=heads_ups, recent=recent), changes


def _slots_ahead(stream: Stream, read: SeriesBatch, start: int) -> list[int]:
    """The next slot of a series that is alive, and where a retired one is seen again, as far as there are any."""
    registry = stream.registry
    retired = registry.retired(start, stream.detector)
    slots = registry.next_slots(stream.detector)[~retired]
    stops = [int(slots.min())] if slots.size else []
    if retired.any():
        gone = frozenset(registry.keys[row] for row in np.flatnonzero(retired))
        ahead = read.between(start + stream.detector.step, read.grid.end)
        back = ~np.isnan(ahead.values[[key in gone for key in ahead.keys]])
        stops.extend(ahead.grid.times()[back.any(axis=0)][:1].tolist())
    return stops


def _fit_due(stream: Stream, rooms: Rooms, at: int) -> tuple[Stream, list[Fit], bool]:
    """Fits the series whose slot has come, the longest overdue first, within the budget; says whether any were put off."""
    detector, registry = stream.detector, stream.registry
    slots = registry.next_slots(detector)
    due = np.flatnonzero((slots <= at) & ~(registry.retired(at, detector) & (registry.fitted != NEVER)))
    if not due.size:
        return stream, [], False
    due = due[np.lexsort((due, slots[due]))]
    now, later = due[: detector.fits_per_tick], due[detector.fits_per_tick :]
    fits = []
    stream, fit = _fit(stream, rooms, now.tolist(), at, rooms.spec)
    fits.append(fit)
    unmodelled = later[registry.fitted[later] == NEVER]
    if unmodelled.size:
        stream, fit = _fit(stream, rooms, unmodelled.tolist(), at, replace(rooms.spec, engine=STOPGAP))
        fits.append(fit)
    return stream, fits, bool(later.size)


def _fit(stream: Stream, rooms: Rooms, rows: Sequence[int], at: int, spec: ModelSpec) -> tuple[Stream, Fit]:
    detector = stream.detector
    keys = [stream.registry.keys[row] for row in rows]
    coarse = detector.coarse_step
    end = at // coarse * coarse
    grid = TimeGrid.between(end - detector.fit_window, end, coarse)
    past = rooms.history.read(stream.history, keys, grid)
    recent = _coarse_tail(stream, rooms, np.asarray(rows, np.int64), end)
    values = past.values.copy()
    first = grid.index(recent.grid.start)
    width = min(recent.grid.size, grid.size)
    if width:
        values[:, max(first, 0) : first + recent.grid.size] = recent.values[:, recent.grid.size - width :]
    # Episodes that were found are left in: what they would keep out of a fit its own passes know better. Measured: a mask of
    # them hides the way back from a level that was adopted, and jobs that run each night.
    values[:, detector.in_maintenance(grid.times(), coarse)] = np.nan
    models = rooms.forecaster.fit(SeriesBatch(tuple(keys), grid, values), spec)
    row_of = stream.registry.rows
    calibrations = tuple(
        rooms.scorer.calibrate(stream.carry, [row_of[key] for key in model.keys], model, at) for model in models
    )
    fit = Fit(at, models, calibrations)
    fitted = [row_of[key] for model in models for key in model.keys]
    full = [model.engine in FULL_ENGINES for model in models for _ in model.keys]
    registry = stream.registry.with_fits(fitted, at, full)
    in_force = stream.in_force.after(fit, registry.keys)
    return replace(stream, registry=registry, in_force=in_force), fit


def _history_ends(stream: Stream, rooms: Rooms, midnight: int) -> int:
    """Up to where history is written at `midnight`: what is final by then, as a rule all that ended `revise_within` ago.

    While second looks fail it waits for them, but for no longer than the journal reaches back.
    """
    final = min(stream.settled, midnight - revised_within(stream.detector, rooms))
    coarse = stream.detector.coarse_step
    return max(stream.tail.start, max(final, midnight - DAY) // coarse * coarse)


def _coarse_tail(stream: Stream, rooms: Rooms, rows: Int, end: int) -> SeriesBatch:
    """What is known of some rows since history ends, coarsely, up to `end` (a multiple of the coarse step)."""
    start, step = stream.tail.start, stream.detector.step
    grid = TimeGrid(start, step, max(0, (end - start) // step))
    keys = tuple(stream.registry.keys[row] for row in rows)
    return rooms.coarsen(SeriesBatch(keys, grid, stream.tail.values(rows, grid)), stream.detector.coarse_step)
