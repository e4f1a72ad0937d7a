"""A budget of alerts: how many false episodes a series may raise so that its whole detector raises so many incidents a week.

Owns: Tally, `counted`, `faded`, `spacing`. Pure; knows nouns only. Counts what the detector's own episodes became: most stay
warnings, and several of one place are one incident, so that an incident stands for many episodes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from forewarn.anomaly import Anomaly
from forewarn.detector import DAY, Detector

WEEK: Final = 7 * DAY
WEIGHTY: Final = 25.0
"""From this severity on an episode is reason enough for an incident."""
_MEMORY: Final = 28.0
"""Days that are remembered."""
_THOUGHT: Final = (1.0, 4.0)
"""Incidents and episodes that a detector is thought to have had before any were seen."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Episodes that were opened, and those among them that will have founded an incident; both fade over four weeks."""

    episodes: float = 0.0
    founded: float = 0.0


def counted(tally: Tally, opened: Sequence[Anomaly], changes: Sequence[tuple[int, Anomaly]]) -> Tally:
    """The tally after the changes of a block; `opened` are the episodes that were open before it."""
    episodes, founded = tally.episodes, tally.founded
    weighty = {one.id: _places(one) for one in opened if one.severity >= WEIGHTY}
    for _, anomaly in changes:
        if anomaly.revision == 1:
            episodes += 1.0
        if anomaly.severity >= WEIGHTY and anomaly.id not in weighty:
            places = _places(anomaly)
            founded += not any(places & others for others in weighty.values())
            weighty[anomaly.id] = places
        if anomaly.state != "open":
            weighty.pop(anomaly.id, None)
    return Tally(episodes, founded)


def faded(tally: Tally) -> Tally:
    """The tally a day later."""
    return Tally(tally.episodes * (1.0 - 1.0 / _MEMORY), tally.founded * (1.0 - 1.0 / _MEMORY))


def spacing(detector: Detector, tally: Tally, series: int) -> float:
    """The ms between two false episodes of one of so many series at which the detector's budget is used up, and no more.

    Raises ValueError for a detector without a budget.
    """
    if detector.incidents_per_week is None:
        raise ValueError(f"{detector.name} has no budget of incidents")
    share = (tally.founded + _THOUGHT[0]) / (tally.episodes + _THOUGHT[1])
    return max(1, series) * WEEK * share / detector.incidents_per_week


def _places(anomaly: Anomaly) -> frozenset[tuple[str, str]]:
    return frozenset(anomaly.key.entity) or frozenset({("detector", anomaly.key.detector)})
