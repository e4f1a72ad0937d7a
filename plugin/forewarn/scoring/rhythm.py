"""How long the memories of scoring are, in buckets and in hours, for one bucket length.

Owns: Rhythm, the one place where "the last twenty points" meets "the last six hours". Must not hold state: a rhythm is a
function of the detector's step alone, so that the same carry means the same wherever it is read.
"""

from dataclasses import dataclass
from typing import Final

from forewarn.detector import DAY, HOUR, MINUTE

MEMORY_DAYS: Final = 14
"""Days that the scale of a time of day is remembered."""
MEMORY_BLOCKS: Final = 56
"""Blocks that levels are remembered: 14 days of six hours."""
_SLOTS: Final = tuple(HOUR * hours for hours in (1, 2, 3, 4, 6, 8, 12, 24))
_BLOCKS: Final = tuple(HOUR * hours for hours in (6, 8, 12, 24))
_MOST_IN_SLOT: Final = 30
_FEW: Final = 15 * MINUTE
"""From this step on six hours hold so few points that a handful of events a day would be in most of them."""
_PEAKS: Final = tuple(HOUR * hours for hours in (1, 2, 3, 4, 6, 8, 12, 24))
_IN_PEAK: Final = 60
"""Points of which the highest evidence is remembered: few enough that several events a day do not fill most of such times."""
_IN_SHORT_PEAK: Final = 6
"""The same where the points of events are left out."""


@dataclass(frozen=True, slots=True)
class Rhythm:
    """Lengths for one step. Slots make up blocks, blocks make up cycles; all three lie on absolute UTC time."""

    step: int
    reference: int
    """Points of the local reference (odd, so that a median is one of them)."""
    sustained: int
    """Points of one side that make sustained evidence."""
    bridge: int
    """Buckets after its last alarm in which a run goes on across missing data."""
    quiet: int
    """Quiet points that end a run."""
    settle: int
    """Points after a start that never alarm by themselves."""
    gap: int
    """Missing buckets that make a gap; after one, points settle anew."""
    slot: int
    """Milliseconds of a slot: half an hour, or one bucket if that is longer."""
    block: int
    """Milliseconds of a block: six hours, or 24 buckets (at most a cycle) if that is longer."""
    peak: int
    """Milliseconds of which the highest evidence is remembered: at least an hour, at most a block, about 60 buckets between
    (six where a block holds few)."""
    peaks: int
    """How many peaks are remembered: those of two weeks, at least MEMORY_BLOCKS."""
    spares: bool
    """Whether the points of events are left out of peaks: where a block holds so few points that events fill it."""
    cycle: int
    """Milliseconds of a cycle: a day, or one bucket if that is longer."""
    thin: int
    """Every how many-th bucket of a slot is remembered until the slot ends."""

    @classmethod
    def of(cls, step: int) -> "Rhythm":
        """The lengths for buckets of `step` ms."""
        cycle = -(-step // DAY) * DAY
        slot = 30 * MINUTE if step <= 30 * MINUTE else next((s for s in _SLOTS if s >= step), cycle)
        block = cycle if slot > HOUR else next((b for b in _BLOCKS if b >= 24 * step), cycle)
        hours6 = round(6 * HOUR / step)
        spares = step >= _FEW
        in_peak = _IN_SHORT_PEAK if spares else _IN_PEAK
        peak = min(block, next((b for b in _PEAKS if b >= in_peak * step), cycle))
        return cls(
            step=step,
            reference=min(21, max(7, hours6 // 2 * 2 + 1)),
            sustained=5 if step <= 5 * MINUTE else 2 if spares else 3,
            bridge=min(240, max(6, round(4 * HOUR / step))),
            quiet=min(20, max(6, hours6)),
            settle=min(20, max(7, hours6)),
            gap=min(20, max(3, hours6)),
            slot=slot,
            block=block,
            peak=peak,
            peaks=max(MEMORY_BLOCKS, MEMORY_DAYS * DAY // peak),
            spares=spares,
            cycle=cycle,
            thin=-(-max(1, -(-slot // step)) // _MOST_IN_SLOT),
        )

    @property
    def in_slot(self) -> int:
        """Remembered points of a slot, at most."""
        return -(-max(1, -(-self.slot // self.step)) // self.thin)

    @property
    def slots(self) -> int:
        """Slots in a cycle."""
        return self.cycle // self.slot

    @property
    def kept_in_block(self) -> float:
        """Remembered points of a block, if none is missing."""
        return self.block / self.step / self.thin
