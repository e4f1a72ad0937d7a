"""Late data: a second look at the buckets that were read soon after their end, before history takes them for good.

Owns `look_again`, one query an hour at most, and when a bucket is final. What it finds is what fits see from then on; scores,
episodes and published results stay as they were. Lines of logs are read once and not looked at again.
"""

import logging
from dataclasses import replace
from typing import Final

import numpy as np

from forewarn.detector import HOUR, Detector
from forewarn.errors import SourceError
from forewarn.registry import NEVER
from forewarn.series import Float, TimeGrid
from forewarn.stream import Rooms, Stream, revised_within
from forewarn.tail import Corrections, Int

log = logging.getLogger(__name__)

SAME: Final = 1e-9
"""Values that differ by no more than this share are the same: sums depend on the order in which shards answer."""
SAME_PERCENTILE: Final = 1e-3
"""As SAME, for percentiles: Elasticsearch estimates them, and merges of its segments move the estimate."""
_CELLS: Final = 500_000
"""Cells (series x buckets) that are compared at once: several arrays of that size are alive at a time."""


def look_again(stream: Stream, rooms: Rooms, until: int, wall: int) -> tuple[Stream, Corrections]:
    """The stream that knows what its source holds by now of the buckets that were not final, and what of it is new.

    A bucket is final when it was read `revise_within` after its end or later, the first time or again; what comes after
    that is left out. One look covers all that are not final, at most once an hour of `until`, the bucket up to which the
    stream is about to be moved. `wall` is when the source is read. A source that fails is looked at again the next hour.

    Documents that come late only add: a bucket that had a value keeps it if it is empty now (files are rotated, indices
    dropped). Where none was known, absence between late documents is 0 for count, rate and sum, as if they had come in time.
    A series of which nothing but late documents came so far is left out until it is seen in time.
    """
    detector, within = stream.detector, revised_within(stream.detector, rooms)
    settled = max(stream.settled, (wall - within) // detector.step * detector.step)
    low = max(stream.settled, stream.tail.start)
    if not within or low >= stream.watermark:
        return replace(stream, settled=settled, looked=until), Corrections.none()
    if until // HOUR <= stream.looked // HOUR:
        return stream, Corrections.none()
    grid = TimeGrid(low, detector.step, (stream.watermark - low) // detector.step)
    try:
        read = rooms.source.read(detector, grid)
    except SourceError as error:
        log.warning("event=second_look_failed detector=%s why=%s", detector.name, error)
        return replace(stream, looked=until), Corrections.none()
    known = read.take(key for key in read.keys if key in stream.registry.rows)
    rows = np.array([stream.registry.rows[key] for key in known.keys], np.int64)
    at_once = max(1, _CELLS // max(1, grid.size))
    found = Corrections.none()
    for low in range(0, len(rows), at_once):
        part = slice(low, low + at_once)
        before = stream.tail.values(rows[part], grid)
        found = found.followed_by(_differing(rows[part], grid, known.values[part], before, detector))
    if found.rows.size:
        log.info("event=late_data detector=%s buckets=%s", detector.name, found.rows.size)
    registry, tail = stream.registry.observe(known), stream.tail.with_corrections(found)
    return replace(stream, registry=registry, tail=tail, settled=settled, looked=until), found


def _differing(rows: Int, grid: TimeGrid, seen: Float, before: Float, detector: Detector) -> Corrections:
    """Where `seen` [S, T] is something else than what was known `before`."""
    times = grid.times()
    if detector.zero_when_empty:
        last = np.maximum.accumulate(np.where(np.isnan(seen), NEVER, times), axis=1)
        alive = times - last <= detector.retire_after
        seen = np.where(np.isnan(seen) & np.isnan(before) & alive, 0.0, seen)
    share = SAME if detector.percentile is None else SAME_PERCENTILE
    same = np.abs(seen - before) <= share * np.maximum(np.abs(seen), np.abs(before))
    where, column = np.nonzero(~np.isnan(seen) & ~same)
    return Corrections(rows[where], times[column], seen[where, column])
