"""Which patterns are new: first seen in the bucket that is being processed, never merely absent from a catalogue. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from forewarn.anomaly import Anomaly
from forewarn.detector import DAY, Detector
from forewarn.incident import PatternChange
from forewarn.pattern import OTHER, PATTERN_FIELD, Mined, Pattern
from forewarn.registry import Registry
from forewarn.series import Float, SeriesKey, stable_id

LEARN: Final = DAY
"""A log stream is read for this long before a pattern that was never seen is called new."""


def sighted(catalogue: Mapping[str, Pattern], seen: Mapping[str, Pattern]) -> dict[str, Pattern]:
    """The catalogue after a block: totals added up, the first sight kept, new patterns in order of (first sight, id)."""
    after = dict(catalogue)
    for one in sorted(seen.values(), key=lambda one: (one.first_seen, one.id)):
        old = after.get(one.id)
        if old is not None:
            one = replace(old, last_seen=max(old.last_seen, one.last_seen), total=old.total + one.total)  # noqa: PLW2901
        after[one.id] = one
    return after


def pattern_changes(
    registry: Registry, mined: Mined, fresh: Sequence[SeriesKey], start: int, values: Float, detector: Detector
) -> tuple[tuple[int, PatternChange], ...]:
    """Patterns whose first line ever, in any entity, fell into the bucket at `start`, with its nominal time.

    `registry` is that before the bucket, `fresh` the keys that joined in it, `values` [S, T] lie on the mined grid, the
    fresh rows after the registry's. In a window of maintenance what is new is no news.
    """
    if not registry.keys or start - registry.first_seen.min() < LEARN:
        return ()
    if detector.in_maintenance(np.array([start]), detector.step).any():
        return ()
    known = {pattern_of(key) for key in registry.keys}
    end = start + detector.step
    column = mined.counts.grid.index(start)
    changes: dict[str, PatternChange] = {}
    for row, key in enumerate(fresh, start=len(registry.keys)):
        name = pattern_of(key)
        pattern = mined.patterns.get(name)
        if name == OTHER or name in known or name in changes or pattern is None:
            continue
        changes[name] = PatternChange(
            stable_id("pattern change", key.id, start),
            key,
            name,
            pattern.level,
            pattern.text,
            pattern.example,
            start,
            end,
            float(values[row, column]),
        )
    return tuple((detector.nominal(end), change) for change in changes.values())


def with_patterns(
    changes: Sequence[tuple[int, Anomaly]], catalogue: Mapping[str, Pattern], seen: Mapping[str, Pattern]
) -> tuple[tuple[int, Anomaly], ...]:
    """Changes of pattern counts that say which lines they count: without the text a count explains nothing."""
    told: list[tuple[int, Anomaly]] = []
    for at, anomaly in changes:
        name = pattern_of(anomaly.key)
        pattern = catalogue.get(name) or seen.get(name)
        if pattern is not None:
            words = {"pattern": pattern.text, "example": pattern.example, "level": pattern.level}
            told.append((at, replace(anomaly, explanation={**anomaly.explanation, **words})))
        else:
            told.append((at, anomaly))
    return tuple(told)


def pattern_of(key: SeriesKey) -> str:
    """The id of the pattern that a series counts, "" for other series."""
    return next((value for name, value in key.entity if name == PATTERN_FIELD), "")
