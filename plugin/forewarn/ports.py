"""Every boundary of Forewarn, as protocols whose docstrings are specifications. Knows only nouns.

Adapters live in the room of their port (`sources/`, `history/`, `forecasting/`, `scoring/`, `stores/`, `notify/`) and are
chosen in `wiring.py`. One contract suite in `tests/contract` runs over all adapters of a port.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from forewarn.anomaly import Anomaly, Carry, Scores
from forewarn.detector import Detector
from forewarn.forecast import Calibration, Forecast, Model, ModelSpec
from forewarn.incident import Happening, HeadsUp, Incident, Recommendation
from forewarn.pattern import LogPage, LogStream, Mined, Pattern
from forewarn.results import Notification, Publication, SeriesRecord, StoredScores
from forewarn.series import SeriesBatch, SeriesKey, TimeGrid


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that would keep a detector from working: the setting it concerns and what was found."""

    setting: str
    why: str


class MetricSource(Protocol):
    """Where metrics are read. Stateless: the same closed buckets read again give the same values."""

    def read(self, detector: Detector, grid: TimeGrid) -> SeriesBatch:
        """The detector's series on `grid`: every key that has documents in [grid.start, grid.end), sorted.

        `grid.step` is the detector's bucket or a multiple of it; the function is applied to the grid's buckets as they
        are (a count over 15 minutes is not divided; `rate` is per second, and so needs no division).
        A bucket without documents is NaN whatever the function: that absence means 0 for count, rate and sum is decided
        by the caller, who knows since when a key exists. A bucket whose documents all lack the field: 0 for sum, 0 for
        cardinality, NaN for the others; with fewer values (`ratio`: documents) than `min_count` it is NaN. Values of a
        multi-valued field all count. Documents that lack a split field have the value "". `ratio` is the share of the
        documents that match `of`.
        Raises SourceUnavailable if it cannot be reached, times out or answers in part (never a partial value),
        SourceRejected if the request can never succeed. An index pattern or a glob that matches nothing gives no series;
        a missing index or file given by its plain name is SourceRejected.
        """
        ...

    def check(self, detector: Detector) -> list[Problem]:
        """Everything that would keep `read` from working or make it misleading, empty if nothing: index or file missing,
        field missing, not aggregatable (with the name of a `.keyword` sibling if there is one), of the wrong type, query
        that does not parse, permissions. Raises SourceUnavailable only if the source cannot be reached at all.
        """
        ...

    def close(self) -> None:
        """Releases connections; the source is not used afterwards."""
        ...


class LogSource(Protocol):
    """Where log lines are read. Stateless and resumable; lines are read once by the caller and never kept."""

    def read(self, stream: LogStream, start: int, end: int, cursor: tuple[str | int, ...] | None = None) -> Iterator[LogPage]:
        """The lines with a time in [start, end), in pages, ascending in time; ties in an order that a second read repeats.

        With the `cursor` of a page it goes on after that page and repeats none of its lines. A line without the message
        field has the message "". Messages are cut to 2,000 characters. Raises SourceUnavailable for partial answers.
        """
        ...

    def check(self, stream: LogStream) -> list[Problem]:
        """Everything that would keep `read` from working, as for MetricSource."""
        ...

    def close(self) -> None:
        """Releases connections."""
        ...


class Miner(Protocol):
    """Lines into patterns and counts. Ids are pure functions of the text, the same in every process and after any restart."""

    def mine(self, stream: LogStream, detector: str, pages: Iterable[LogPage], grid: TimeGrid) -> Mined:
        """Counts per bucket of `grid`, entity and pattern; keys are SeriesKey(detector, (*entity, ("pattern", id))).

        Depends on the set of lines only, not on how they were paged; mining [a, b) and [b, c) and joining the counts
        gives what mining [a, c) gives.
        """
        ...


class MinedSource(MetricSource, Protocol):
    """A log stream as a source of counts, that also says which patterns it saw."""

    def mine(self, detector: Detector, grid: TimeGrid) -> Mined:
        """What `read` gives on the detector's own grid, with the patterns that were seen."""
        ...


class Outlook(Protocol):
    """Heads-ups of one detector that has a threshold. Pure; causal; any split of a block gives the same changes."""

    def fold(
        self, opened: Sequence[HeadsUp], actual: SeriesBatch, ahead: Forecast, delay: int
    ) -> tuple[tuple[HeadsUp, ...], tuple[tuple[int, HeadsUp], ...]]:
        """The heads-ups that are open after the block, and every change as (nominal time, heads-up).

        `actual` holds the block preceded by the `look_back` buckets before it, NaN where nothing is known; `ahead` is the
        forecast from the first of those to `horizon` buckets after the block's last. A
        heads-up opens when the crossing is probable enough, is updated when its time or probability changes notably,
        is `reached` when the limit is crossed, and is withdrawn when it is no longer probable (with hysteresis).
        """
        ...

    @property
    def look_back(self) -> int:
        """How many buckets before the block `fold` needs."""
        ...

    @property
    def horizon(self) -> int:
        """How many buckets ahead it looks."""
        ...


class Correlator(Protocol):
    """What belongs together. Pure fold over happenings in nominal order."""

    def fold(
        self, opened: Sequence[Incident], happenings: Sequence[Happening], now: int
    ) -> tuple[tuple[Incident, ...], tuple[tuple[int, Incident], ...]]:
        """The incidents that are open at `now`, and every change as (nominal time, incident), in order.

        An incident opens at a happening; happenings that overlap in time and share an entity, or whose entities are
        joined by a `depends_on` edge, belong to one. It is resolved once nothing in it has been open for the hold
        time: that change bears the time at which the hold ended, whenever it is noticed. An incident that turns out to
        be the same as an older one is resolved with `merged_into`. Calls with the same happenings in smaller portions
        give the same changes. Causes are ranked at every change; recommendations are left as they are.
        """
        ...


class Advisor(Protocol):
    """What to do about it."""

    def recommend(self, incident: Incident) -> tuple[Recommendation, ...]:
        """Up to three cards, best first, each with why; empty when nothing fits. Pure."""
        ...


class History(Protocol):
    """What each series did, coarsely: immutable blocks of (detector, series range, day). Fits read it, never the source."""

    def write(self, day: SeriesBatch, at: int) -> tuple[str, ...]:
        """Stores the coarse values of up to one day and returns the names of its blocks, one per range of series.

        Idempotent: the same content gives the same names. Values are kept as float32 offsets from a float64 reference
        of each series (its median), NaN stays NaN.
        """
        ...

    def read(self, names: Sequence[str], keys: Sequence[SeriesKey], grid: TimeGrid) -> SeriesBatch:
        """The values of `keys` on `grid` (at the coarse step) from the named blocks; NaN where no block has them.

        Where blocks overlap the later name in `names` wins.
        """
        ...


class Forecaster(Protocol):
    """What is expected, fitted from history."""

    def fit(self, history: SeriesBatch, spec: ModelSpec) -> tuple[Model, ...]:
        """One model row for every key of `history`, in one or more models (one per engine and layout).

        `history.values` are coarse values up to the moment of the fit; NaN = missing, +-inf is refused with ValueError.
        What cannot be modelled gets a fallback's row, under the fallback's own engine name, or the status that says why;
        it never raises for the sake of one series. Deterministic: the same history gives the same model.
        """
        ...

    def close(self) -> None:
        """Ends worker processes, if there are any."""
        ...


class Predictor(Protocol):
    """`forecasting.predict.predict`: pure, from stored parameters alone."""

    def __call__(self, model: Model, grid: TimeGrid) -> Forecast:
        """The forecast of all rows of `model` on `grid`, which may have any step and lie before, in or after the fit."""
        ...


class Scorer(Protocol):
    """How far from expected. Made for one detector; array operations over [S, B]; causal; deterministic."""

    def start(self, keys: Sequence[SeriesKey], at: int) -> Carry:
        """The carry of series that have not been scored yet, valid from bucket `at`."""
        ...

    def extend(self, carry: Carry, keys: Sequence[SeriesKey]) -> Carry:
        """The carry with fresh rows for `keys` appended."""
        ...

    def score(self, block: SeriesBatch, forecast: Forecast, calibration: Calibration, carry: Carry) -> tuple[Scores, Carry]:
        """Scores of `block` [S, B] and the carry after it; the keys of all four arguments are the same, in the same order.

        Any split of a block into shorter ones gives the same scores and the same carry, bit for bit. A row whose values
        have all been NaN so far keeps its fresh carry. NaN in, NaN out. A score never depends on later values, nor on the
        other rows.
        """
        ...

    def calibrate(self, carry: Carry, rows: Sequence[int], model: Model, at: int) -> Calibration:
        """What the carry has learnt for `rows`, whose model (same rows, same order) was just fitted at bucket `at`.

        Before anything was learnt online, the band comes from the model's own sigma.
        """
        ...


class EpisodeFold(Protocol):
    """Points into anomalies: hysteresis, continuation over missing data, severity. Made for one detector."""

    def fold(
        self, opened: Sequence[Anomaly], actual: SeriesBatch, forecast: Forecast, scores: Scores, delay: int
    ) -> tuple[tuple[Anomaly, ...], tuple[tuple[int, Anomaly], ...]]:
        """The episodes that are open after the block, and every change in it as (nominal time, anomaly), in order of
        (time, series id). A change is an opening, a new peak, a longer end, or a closing; each raises `revision` by one.

        Any split of a block into shorter ones gives the same changes. All state that a decision needs is in the open
        anomalies (their `explanation` included).
        """
        ...


class Watch(Protocol):
    """What a series does besides its values: it stops, it is stuck. Made for one detector; the carry is the watch's own; any
    split of a block gives the same.
    """

    def start(self, at: int) -> Carry:
        """The carry before anything was seen, valid from bucket `at`."""
        ...

    def learn(self, actual: SeriesBatch, carry: Carry) -> Carry:
        """The carry after the block. Series may have been added behind those of the block before, none left out."""
        ...

    def fold(
        self,
        opened: Sequence[Anomaly],
        others: Sequence[tuple[int, Anomaly]],
        actual: SeriesBatch,
        forecast: Forecast,
        carry: Carry,
        delay: int,
    ) -> tuple[tuple[Anomaly, ...], tuple[tuple[int, Anomaly], ...], Carry]:
        """As EpisodeFold.fold, with the carry after the block; `others` are the episodes that are open and their changes."""
        ...

    def kind(self, carry: Carry, row: int) -> str:
        """What kind of stream series number `row` is, by the end of the day before: a word for people."""
        ...


class StateStore(Protocol):
    """Head and blocks. All reads are by id, and see what was written before, by anyone."""

    def load_head(self) -> tuple[bytes, str] | None:
        """The head's document and a token for `commit_head`; None before the first commit."""
        ...

    def commit_head(self, document: bytes, token: str | None) -> str:
        """Replaces the head that `token` was loaded with (None: there must be none yet) and returns the new token.

        Raises StoreConflict, and changes nothing, if anyone else committed since. Refuses more than 1 MB (StoreRejected).
        On StoreUnavailable the commit may or may not have happened: load the head and compare the nonce.
        """
        ...

    def put_block(self, content: bytes, at: int) -> str:
        """Stores an immutable block and returns its name, the blake2b-128 hex of its content. Writing it again only
        raises its `at`. Refuses more than 5 MB (StoreRejected).
        """
        ...

    def get_block(self, name: str) -> bytes:
        """The content of a block; StoreRejected if there is none of that name or its content does not match the name."""
        ...

    def sweep(self, live: Collection[str], before: int) -> int:
        """Deletes the blocks that are not in `live` and whose `at` is below `before`; returns how many."""
        ...

    def cursor(self, target: str) -> int:
        """The number of the last notification that `target` has taken; 0 before the first."""
        ...

    def advance(self, target: str, expected: int, number: int) -> None:
        """Moves the cursor from `expected` to `number`; StoreConflict if it was not at `expected`."""
        ...

    def close(self) -> None:
        """Releases connections; the store is not used afterwards."""
        ...


class ResultStore(Protocol):
    """Where results become visible."""

    def publish(self, publication: Publication) -> None:
        """Writes all documents under their deterministic ids with their versions: a newer version wins, an older one is
        ignored, an equal one changes nothing. Nothing is lost: raises StoreUnavailable if anything could not be written
        (and may then be called again with the same publication), StoreRejected if something never can be.
        """
        ...

    def drop_before(self, time: int) -> int:
        """Drops whole partitions of dated results that end at or before `time`; returns how many. Later writes of results
        older than that are refused (StoreRejected).
        """
        ...


class ResultReader(Protocol):
    """What the datasource reads. All ranges are [start, end) in UTC ms; withdrawn results are left out."""

    def refresh(self) -> None:
        """Makes everything published so far visible to the reads below (tests and the end of `run --to`)."""
        ...

    def series(self, *, detector: str | None = None, limit: int = 10_000) -> list[SeriesRecord]:
        """Known series ordered by (detector, entity), without models, at most `limit`."""
        ...

    def find(self, series_id: str) -> SeriesRecord | None:
        """One series with its model and calibration, None if there is none of that id."""
        ...

    def scores(self, series_ids: Sequence[str], start: int, end: int, limit: int) -> list[StoredScores]:
        """Scores whose bucket start lies in [start, end), one item per known id, in the order given. Raises RequestError
        if that would be more than `limit` buckets in all.
        """
        ...

    def latest(self, series_ids: Sequence[str] | None, since: int) -> list[tuple[SeriesKey, int, float]]:
        """The last published (key, bucket start, score) of each series with one at or after `since`; score may be NaN."""
        ...

    def anomalies(
        self,
        start: int,
        end: int,
        *,
        series_ids: Sequence[str] | None = None,
        detector: str | None = None,
        min_severity: float = 0.0,
        limit: int = 1000,
    ) -> list[Anomaly]:
        """Anomalies that overlap [start, end): the `limit` with the highest severity, returned in order of (start, id)."""
        ...

    def anomaly(self, anomaly_id: str) -> Anomaly | None:
        """One anomaly by id."""
        ...

    def incidents(
        self, start: int, end: int, *, state: str | None = None, min_severity: float = 0.0, limit: int = 1000
    ) -> list[Incident]:
        """Incidents that overlap [start, end) and were not merged into another: the `limit` with the highest severity,
        in order of (start, id). An open incident has no end yet: it overlaps everything after its start.
        """
        ...

    def incident(self, incident_id: str) -> Incident | None:
        """One incident by id, merged ones too."""
        ...

    def patterns(self, ids: Sequence[str]) -> list[Pattern]:
        """The patterns of these ids that are known, in the order given."""
        ...

    def committed(self) -> int | None:
        """The `now` of the last commit, None before the first; StoreUnavailable if the store cannot be asked."""
        ...


class Store(StateStore, ResultStore, ResultReader, Protocol):
    """State and results in one place; what `stores/` implements."""


class Notifier(Protocol):
    """One target that is told. At least once, in order; the target drops repeats by `Notification.key`."""

    name: str

    def deliver(self, notification: Notification) -> None:
        """Hands over one notification; raises NotificationFailed if the target did not take it."""
        ...
