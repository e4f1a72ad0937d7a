"""What the store and the models answer, before any dialect gives it a form.

Owns: Answers and Line: reading, forecasts beyond now, thinning, limits, the cap of annotations, alert states. Asks the
ResultReader port and the predictor only; must not know Flask, Grafana's shapes or any adapter.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import nlargest
from typing import Final

import numpy as np
from numpy.typing import NDArray

from forewarn.anomaly import SEVERITY_BANDS, Anomaly
from forewarn.detector import DAY, HOUR
from forewarn.errors import ModelError, RequestError, StoreUnavailable
from forewarn.ports import Predictor, ResultReader
from forewarn.results import SeriesRecord
from forewarn.series import TimeGrid
from forewarn_datasource.catalogue import Catalogue
from forewarn_datasource.parameters import Window, duration_text
from forewarn_datasource.queries import Selection
from forewarn_datasource.settings import DatasourceSettings
from forewarn_datasource.thinning import Rows, common_step, thin, width_for

log = logging.getLogger(__name__)

MOST_ANOMALIES: Final = 10_000
LATE: Final = HOUR
"""A query delay is shorter than this: until then a bucket without a score is not scored yet, afterwards it was silent."""


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """One series in a window: stored scores, then the forecast. `notices` say what is not as asked."""

    record: SeriesRecord
    rows: Rows
    notices: tuple[str, ...] = ()


def times_of(lines: Sequence[Line]) -> NDArray[np.int64]:
    """Every time at which any of the lines has a row, ascending."""
    return np.unique(np.concatenate([line.rows.start for line in lines])) if lines else np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Resolution:
    """How fine the rows shall be: about `points` of them, at least `interval` ms apart; all of them if not given.

    `together`: all series on one time grid, whatever their steps are.
    """

    points: int | None = None
    interval: int | None = None
    together: bool = False


class NoStateKnown(StoreUnavailable):
    """The store answers, but nobody has looked at the series lately (HTTP 503): an old state is not a state."""


class Answers:
    """The questions that both dialects ask."""

    def __init__(
        self, reader: ResultReader, settings: DatasourceSettings, predict: Predictor, clock: Callable[[], int]
    ) -> None:
        self.reader = reader
        self.settings = settings
        self.clock = clock
        self.catalogue = Catalogue(reader, clock, settings.cache_for)
        self._predict = predict

    def edge(self) -> int:
        """The `now` of the last tick, or of the clock before the first: what lies behind it is ahead."""
        committed = self.reader.committed()
        return self.clock() if committed is None else committed

    def lines(
        self, records: Sequence[SeriesRecord], window: Window, resolution: Resolution, *, ahead: bool = True
    ) -> list[Line]:
        """The series in the window, one line each, in the order given.

        Raises RequestError beyond `max_buckets` read or `max_points` answered: never cut silently.
        """
        if not records:
            return []
        base = common_step(record.step for record in records) if resolution.together else 0
        ids = [record.key.id for record in records]
        found = {
            scores.key: Rows(scores.start, scores.actual, scores.expected, scores.lower, scores.upper, scores.score)
            for scores in self.reader.scores(ids, window.start, window.end, self.settings.max_buckets)
        }
        edge = self.edge() if ahead else 0
        room = self.settings.max_buckets - sum(rows.start.size for rows in found.values())
        lines: list[Line] = []
        for record in records:
            rows, notices = found.get(record.key, Rows.empty()), []
            if ahead and window.end > edge:
                grid, notice = self._ahead(record, rows, window, edge)
                room -= grid.size
                if room < 0:
                    raise RequestError("range", self._too_many("buckets", self.settings.max_buckets, "max_buckets"))
                forecast, missing = self._forecast(record, grid)
                rows, notices = Rows.join([rows, forecast]), [text for text in (notice, missing) if text]
            width = width_for(base or record.step, window.end - window.start, resolution.points, resolution.interval)
            lines.append(Line(record, thin(rows, record.step, width), tuple(notices)))
        size = times_of(lines).size * len(lines) if resolution.together else sum(line.rows.start.size for line in lines)
        if size > self.settings.max_points:
            raise RequestError("range", self._too_many("rows", self.settings.max_points, "max_points"))
        return lines

    @staticmethod
    def _too_many(what: str, limit: int, setting: str) -> str:
        return (
            f"the answer would hold more than {limit:,} {what} ({setting}); ask for fewer series, a shorter range, "
            "or fewer points (maxDataPoints, intervalMs)"
        )

    def _ahead(self, record: SeriesRecord, rows: Rows, window: Window, edge: int) -> tuple[TimeGrid, str]:
        """The buckets of the window that were not scored yet, up to the horizon, on the series' own grid.

        A series that fell silent long before `edge` keeps its gap: its model of today is not shown as its past.
        """
        step, horizon = record.step, edge + self.settings.max_ahead
        behind = edge - LATE - 2 * step
        start = int(rows.start[-1]) + step if rows.start.size else 0
        first = max(window.start, start if start >= behind else edge // step * step)
        last = min(window.end, horizon)
        # A bucket belongs to the window by its start, so the last one may end after it.
        grid = (
            TimeGrid.between(first, max(first, last - 1) // step * step + step, step) if last > first else TimeGrid(0, step, 0)
        )
        cut = window.end > horizon
        return grid, f"The forecast ends {duration_text(self.settings.max_ahead)} after the last tick." if cut else ""

    def _forecast(self, record: SeriesRecord, grid: TimeGrid) -> tuple[Rows, str]:
        """Expected values and the band on `grid` from the stored model; no rows, and why, where there is none."""
        if not grid.size or record.retired:
            return Rows.empty(), ""
        try:
            full = self.reader.find(record.key.id)
            if full is None or full.model is None:
                return Rows.empty(), f"No forecast for {record.key}: no model is stored ({record.status})."
            forecast = self._predict(full.model, grid)
        except ModelError as error:
            log.warning("no forecast series=%s error=%s", record.key, error)
            return Rows.empty(), f"No forecast for {record.key}: its stored model cannot be used."
        nothing = np.full(grid.size, np.nan)
        lower = upper = nothing[None]
        if full.calibration is not None:
            lower, upper = full.calibration.band(forecast.expected, forecast.sigma, grid)
        return Rows(grid.times(), nothing, forecast.expected[0], lower[0], upper[0], nothing), ""

    def anomalies(self, chosen: Selection, window: Window, most: int) -> tuple[list[Anomaly], bool]:
        """At most `most` anomalies that overlap the window, the worst ones, in order of (start, id); and whether there
        were more.
        """
        records = self.catalogue.choose(chosen)
        narrowed = self.catalogue.narrowed(chosen)
        if narrowed and not records:
            return [], False
        edges = [edge for edge, band in SEVERITY_BANDS if chosen.severities is None or band in chosen.severities]
        gaps = chosen.severities is not None and len(edges) != sum(edge >= min(edges) for edge, _ in SEVERITY_BANDS)
        found = self.reader.anomalies(
            window.start,
            window.end,
            series_ids=[record.key.id for record in records] if narrowed else None,
            min_severity=min(edges),
            # The store can leave out what is too mild, but not what is too severe: that is read, and left out here.
            limit=MOST_ANOMALIES if gaps else min(most + 1, MOST_ANOMALIES),
        )
        wanted = [a for a in found if chosen.severities is None or a.severity_band in chosen.severities]
        worst = nlargest(most, wanted, key=lambda anomaly: (anomaly.severity, anomaly.score, anomaly.id))
        more = len(wanted) > most or len(found) == MOST_ANOMALIES
        return sorted(worst, key=lambda anomaly: (anomaly.start, anomaly.id)), more

    def refuse_stale(self, end: int, edge: int, slowest: int) -> None:
        """Raises NoStateKnown if the last tick, at `edge`, lies too far before `end` for a state to be known."""
        if end - edge > max(self.settings.stale_after, 3 * slowest):
            raise NoStateKnown(f"the last tick was {duration_text(end - edge)} before the end of the range: no state is known")

    def alert_states(self, chosen: Selection, window: Window | None, by: str) -> list[tuple[SeriesRecord, float]]:
        """One value for every monitored series of the selection: 1.0 while an anomaly is open, else 0.0; or, `by` score,
        the last score since the window began, or since an hour (NaN if there is none).

        Raises StoreUnavailable if the last tick lies too far behind the window: a dead scheduler is not "all is well".
        """
        records = [record for record in self.catalogue.choose(chosen) if not record.retired]
        if not records:
            return []
        edge, slowest = self.edge(), max(record.step for record in records)
        start, end = (window.start, window.end) if window else (edge - LATE, edge + slowest)
        if window:
            self.refuse_stale(end, edge, slowest)
        ids = [record.key.id for record in records] if self.catalogue.narrowed(chosen) else None
        if by == "score":
            latest = {key: score for key, _, score in self.reader.latest(ids, min(start, edge - LATE - 2 * slowest))}
            return [(record, latest.get(record.key, np.nan)) for record in records]
        # An episode goes on across missing data, so the last anomalous bucket of an open one may lie some time back.
        recent = self.reader.anomalies(min(start, edge - DAY), end, series_ids=ids, limit=MOST_ANOMALIES)
        opened = {anomaly.key for anomaly in recent if anomaly.state == "open"}
        return [(record, float(record.key in opened)) for record in records]
