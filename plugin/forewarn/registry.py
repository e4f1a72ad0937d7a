"""The key registry of one detector: since when each series exists, when it was last seen, when it is fitted.

Owns: Registry, which turns absence into 0 or NaN, and the refit slots on the nominal grid. Pure; knows nouns only.
Rows are append-only: a series keeps its row for ever, so that arrays of an earlier time are a prefix of later ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from forewarn.detector import HOUR, Detector
from forewarn.series import Float, SeriesBatch, SeriesKey, read_only

SLOT_GROUPS: Final = 16
"""Series share one of this many refit slots in each `fit_every`, by the hash of their id: enough to spread the load of
a fleet over the ticks, few enough that a block of time between two slots stays long and a fit has company."""
NEVER: Final = -(2**62)

Int = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Registry:
    """The known series of a detector, in the order in which they were first seen; arrays int64 [S], UTC ms.

    `first_seen`, `last_seen`: starts of buckets with documents. `fitted`: the bucket from which the model in force is
    valid (NEVER: none yet). `full`: whether that is a full model or a fallback, which is refitted every hour.
    """

    keys: tuple[SeriesKey, ...]
    first_seen: Int
    last_seen: Int
    fitted: Int
    full: NDArray[np.bool_]

    def __post_init__(self) -> None:
        for array in (self.first_seen, self.last_seen, self.fitted, self.full):
            if array.shape != (len(self.keys),):
                raise ValueError(f"expected [{len(self.keys)}], got {list(array.shape)}")
            read_only(array)

    @classmethod
    def empty(cls) -> "Registry":
        """No series yet."""
        none = np.zeros(0, np.int64)
        return cls((), none, none.copy(), none.copy(), np.zeros(0, np.bool_))

    @cached_property
    def rows(self) -> dict[SeriesKey, int]:
        """The row of each key."""
        return {key: row for row, key in enumerate(self.keys)}

    @cached_property
    def groups(self) -> Int:
        """The refit slot group of each series, int64 [S]: a hash of its id, the same on every machine."""
        return np.array([int(key.id[:8], 16) % SLOT_GROUPS for key in self.keys], np.int64)

    def observe(self, read: SeriesBatch) -> "Registry":
        """The registry after a read: new keys appended in order of (first bucket, key), last_seen moved on."""
        if not read.keys or not read.grid.size:
            return self
        seen = ~np.isnan(read.values)
        some = seen.any(axis=1)
        first = read.grid.start + read.grid.step * seen.argmax(axis=1).astype(np.int64)
        last = read.grid.end - read.grid.step * (1 + seen[:, ::-1].argmax(axis=1).astype(np.int64))
        known = np.array([self.rows.get(key, -1) for key in read.keys], np.int64)
        last_seen = self.last_seen.copy()
        old = some & (known >= 0)
        last_seen[known[old]] = np.maximum(last_seen[known[old]], last[old])
        fresh = sorted((int(first[row]), read.keys[row], int(last[row])) for row in np.flatnonzero(some & (known < 0)))
        if not fresh:
            return replace(self, last_seen=last_seen)
        return Registry(
            self.keys + tuple(key for _, key, _ in fresh),
            np.concatenate([self.first_seen, np.array([start for start, _, _ in fresh], np.int64)]),
            np.concatenate([last_seen, np.array([end for _, _, end in fresh], np.int64)]),
            np.concatenate([self.fitted, np.full(len(fresh), NEVER, np.int64)]),
            np.concatenate([self.full, np.zeros(len(fresh), np.bool_)]),
        )

    def complete(self, read: SeriesBatch, before: "Registry", detector: Detector) -> Float:
        """The values of all rows [S, T] on the grid of `read`, absence resolved; `self` is `before` after observing `read`.

        For count, rate and sum an absent bucket is 0 from the bucket in which the series was first seen until it has been
        silent for `retire_after`; everywhere else, and for other functions, it is NaN.
        """
        values = read.take(self.keys).values
        if not detector.zero_when_empty or not read.grid.size:
            return values
        times = read.grid.times()
        before_last = np.full(len(self.keys), NEVER, np.int64)
        before_last[: len(before.keys)] = before.last_seen
        seen_at = np.where(np.isnan(values), NEVER, times[None, :])
        last = np.maximum(np.maximum.accumulate(seen_at, axis=1), before_last[:, None])
        alive = (times[None, :] >= self.first_seen[:, None]) & (times[None, :] - last <= detector.retire_after)
        return np.where(np.isnan(values) & alive, 0.0, values)

    def retired(self, at: int, detector: Detector) -> NDArray[np.bool_]:
        """Which series have been silent for longer than `retire_after` at bucket `at`, bool [S]."""
        return at - self.last_seen > detector.retire_after

    def next_slots(self, detector: Detector) -> Int:
        """The bucket at which each series is due for its next fit, int64 [S]: its own slot, or the hour for a fallback."""
        never = self.fitted == NEVER
        since = np.where(never, 0, self.fitted)
        every, hour = detector.fit_every, max(HOUR, detector.step)
        phase = self.groups * (every // SLOT_GROUPS)
        slot = (since - phase) // every * every + every + phase
        hourly = (since // hour + 1) * hour
        due = np.where(self.full, slot, np.minimum(hourly, slot))
        due = -(-due // detector.step) * detector.step
        return np.where(never, self.first_seen, due)

    def with_fits(self, rows: Sequence[int], at: int, full: Sequence[bool]) -> "Registry":
        """The registry after `rows` were fitted, valid from bucket `at`."""
        index = np.asarray(rows, np.int64)
        fitted, is_full = self.fitted.copy(), self.full.copy()
        fitted[index], is_full[index] = at, np.asarray(full, np.bool_)
        return replace(self, fitted=fitted, full=is_full)


def next_midnight(time: int, step: int) -> int:
    """The first bucket boundary at or after the next UTC midnight after `time`: where history and checkpoints are written."""
    day = 24 * HOUR
    return -(-((time // day + 1) * day) // step) * step
