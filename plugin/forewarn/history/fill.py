"""The first fill: the past of a detector's series as coarse values, the one time that its source is read for history.

Owns how a source is asked for coarse values. Must not store anything, nor decide what absence means.
"""

from collections.abc import Iterator

from forewarn.detector import DAY, DIVIDED_WHEN_COARSE, Detector
from forewarn.history.coarse import coarsen
from forewarn.ports import MetricSource
from forewarn.series import SeriesBatch, TimeGrid


def fill(source: MetricSource, detector: Detector, start: int, end: int, slice_ms: int = DAY) -> Iterator[SeriesBatch]:
    """The coarse values in [start, end), slice by slice, the newest first, so that a detector can start on what there is.

    Slices meet at multiples of `slice_ms`, or at the coarse bucket before. Each holds the series that have documents in
    it, NaN where they have none; a slice without any is yielded too. Where the function allows it the source is read at
    the coarse step, and counts and sums are divided by the number of buckets in it: their mean, where the median of the
    buckets is meant elsewhere. Otherwise it is read at the bucket. Raises what the source raises.
    """
    coarse = detector.coarse_step
    whole = TimeGrid.between(start, end, coarse)
    high = whole.end
    while high > whole.start:
        low = max(whole.start, (high - 1) // slice_ms * slice_ms // coarse * coarse)
        if low == high:  # a slice shorter than a coarse bucket
            low -= coarse
        yield _read(source, detector, low, high)
        high = low


def _read(source: MetricSource, detector: Detector, low: int, high: int) -> SeriesBatch:
    coarse = detector.coarse_step
    if not detector.reads_coarse:
        return coarsen(source.read(detector, TimeGrid.between(low, high, detector.step)), coarse)
    batch = source.read(detector, TimeGrid.between(low, high, coarse))
    buckets = coarse // detector.step
    if detector.function not in DIVIDED_WHEN_COARSE or buckets == 1:
        return batch
    return SeriesBatch(batch.keys, batch.grid, batch.values / buckets)
