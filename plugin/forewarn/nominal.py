"""Nominal times: when a tick is owed. Pure: the wall clock is an argument.

A tick is owed at each bucket end + `query_delay` of any detector. The live service, `tick --at`, `run --from --to`, the demo
and a catch-up all take their `now` from here, so that they are the same code.
"""

from collections.abc import Iterable

from forewarn.detector import DAY, Detector


def due_ticks(committed: int, detectors: Iterable[Detector], wall: int) -> list[int]:
    """All nominal times after `committed` up to `wall`, ascending."""
    owed: set[int] = set()
    for detector in detectors:
        first = detector.nominal(detector.watermark(committed) + detector.step)
        owed.update(range(first, wall + 1, detector.step))
    return sorted(owed)


def next_now(committed: int, detectors: Iterable[Detector], wall: int, span: int = DAY) -> int | None:
    """The `now` of the next tick: the latest that is owed within `span` of the committed one, so that a catch-up goes in
    blocks; the next one if none is; None if nothing is owed yet.
    """
    known = tuple(detectors)
    steps = [(one.nominal(one.watermark(committed) + one.step), one) for one in known]
    first = min((at for at, _ in steps), default=wall + 1)
    if first > wall:
        return None
    reach = max(first, min(wall, committed + span))
    return max(one.nominal(one.watermark(reach)) for at, one in steps if at <= reach)
