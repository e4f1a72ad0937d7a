"""One detector from its watermark to `now`: its first start, chunk after chunk, and what is kept of them.

Owns Moved, the outcome. Reads sources and writes history blocks (which nothing names before the commit); commits nothing.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from forewarn.anomaly import Anomaly
from forewarn.detector import DAY, Detector
from forewarn.errors import ModelError, SourceError
from forewarn.revising import look_again
from forewarn.series import SeriesBatch
from forewarn.state import DetectorState, Span
from forewarn.stream import Chunk, Rooms, Stream, advance, begin
from forewarn.tail import Corrections

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Moved:
    """How far one detector got in this tick; `days` are the history blocks written for it, `late` is what its second look
    found, `failing` why it stopped early.

    `state` is that before the tick (or of the first start); both are None if the detector could not even begin.
    """

    detector: Detector
    state: DetectorState | None = None
    stream: Stream | None = None
    chunks: tuple[Chunk, ...] = ()
    days: tuple[Span, ...] = ()
    late: Corrections = field(default_factory=Corrections.none)
    failing: str = ""

    def changes(self) -> list[tuple[int, Anomaly]]:
        """Every change of an anomaly, in order."""
        return [change for chunk in self.chunks for step in chunk.steps for change in step.changes]


def move(
    detector: Detector,
    rooms: Rooms,
    stream: Stream | None,
    state: DetectorState | None,
    now: int,
    wall: int,
    origin: int | None,
) -> Moved:
    """The detector moved to the last bucket that is due at `now`, from what its source holds at `wall`. What it made before
    its source failed is kept.
    """
    until = detector.watermark(now)
    if stream is None and origin is not None and until < origin:
        return Moved(detector)  # its first bucket is not due yet
    chunks: list[Chunk] = []
    days: list[Span] = []
    late, failing = Corrections.none(), ""
    try:
        if stream is None or state is None:
            stream, state, days = _start(detector, rooms, now, origin)
        stream, late = look_again(stream, rooms, until, wall)
        while stream.watermark < until:
            stream, chunk = advance(stream, rooms, until)
            chunks.append(chunk)
            if chunk.day is not None and chunk.day.grid.size:
                days.append(_keep(rooms, chunk.day, now))
                stream = replace(stream, history=(*stream.history, *days[-1].names))
    except (SourceError, ModelError) as error:
        failing = str(error)
        log.warning("event=detector_failed detector=%s why=%s", detector.name, error)
    return Moved(detector, state, stream, tuple(chunks), tuple(days), late, failing)


def _start(detector: Detector, rooms: Rooms, now: int, origin: int | None) -> tuple[Stream, DetectorState, list[Span]]:
    """A detector's first start: it learns from the past it finds and notifies only from then on."""
    step, until = detector.step, detector.watermark(now)
    first = until - detector.warm_up // step * step if origin is None else origin // step * step
    stream, slices = begin(detector, rooms, first)
    days = [_keep(rooms, day, now) for batch in reversed(slices) for day in _by_day(batch)]
    stream = replace(stream, history=tuple(name for span in days for name in span.names))
    notify_from = now if origin is None else origin
    state = DetectorState(detector.name, detector.fingerprint, first, first, notify_from, stream.tail.start)
    return stream, state, days


def _by_day(batch: SeriesBatch) -> Iterator[SeriesBatch]:
    step = batch.grid.step
    for day in range(batch.grid.start // DAY * DAY, batch.grid.end, DAY):
        part = batch.between(-(-day // step) * step, -(-(day + DAY) // step) * step)
        if part.grid.size:
            yield part


def _keep(rooms: Rooms, day: SeriesBatch, now: int) -> Span:
    return Span(day.grid.start, day.grid.end, rooms.history.write(day, now))
