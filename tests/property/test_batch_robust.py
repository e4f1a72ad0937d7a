"""What contamination of a history, shifts of its level and patterns beyond Fourier terms do to the fit of the batch engine.

Distances are root mean squares in sigmas of the clean fit, as in the table that the defaults were chosen by.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from tests.generated import START, batch

from forewarn.detector import DAY, HOUR, MINUTE
from forewarn.forecast import Model, ModelSpec
from forewarn.forecasting.batch import BatchEngine
from forewarn.forecasting.batch_passes import PLAIN, Robustness
from forewarn.forecasting.batch_robust import Blocks, Shifts, outliers, resting, shifts, spread
from forewarn.forecasting.predict import predict
from forewarn.series import Float, SeriesBatch, SeriesKey, TimeGrid

STEP = 5 * MINUTE
T = 14 * DAY // STEP
NEXT = DAY // STEP
KINDS = ("ar1", "bigoffset", "counts", "gappy", "heavytail", "hetero", "linear_up", "nearconst", "sawtooth")
"""Kinds whose fit has no pattern left, so that the clean plain fit is the truth to come back to."""
ONLY_DROPS = BatchEngine(Robustness(adopt_after=0, profile=False))


@pytest.fixture(scope="module")
def clean() -> SeriesBatch:
    return batch(7, T, STEP, kinds=KINDS, per_kind=4)


def _fit(engine: BatchEngine, history: SeriesBatch) -> tuple[Float, Float]:
    """yhat [S, T + a day] and sigma [S] in units of y, in the order of the history."""
    longer = TimeGrid(history.grid.start, STEP, history.grid.size + NEXT)
    yhat, sigma = np.empty((len(history.keys), longer.size)), np.empty(len(history.keys))
    for model in engine.fit(history, ModelSpec()):
        rows = [history.rows[key] for key in model.keys]
        yhat[rows] = predict(model, longer).expected
        sigma[rows] = model.arrays["sigma_obs"] * model.arrays["y_scale"]
    return yhat, sigma


def _changed(history: SeriesBatch, values: Float) -> SeriesBatch:
    return SeriesBatch(history.keys, history.grid, values)


def _distances(engine: BatchEngine, clean: SeriesBatch, dirty: Float) -> tuple[float, float, float]:
    """Medians over the series: in sample, next day, and sigma by the clean one."""
    truth, sigma = _fit(BatchEngine(PLAIN), clean)
    found, estimated = _fit(engine, _changed(clean, dirty))
    off = np.square((found - truth) / sigma[:, None])
    inside, after = np.sqrt(off[:, :T].mean(axis=1)), np.sqrt(off[:, T:].mean(axis=1))
    return float(np.median(inside)), float(np.median(after)), float(np.median(estimated / sigma))


Contaminate = Callable[[Float, Float, np.random.Generator], Float]


def _spikes(share: float, height: float) -> Contaminate:
    def dirty(y: Float, sigma: Float, rng: np.random.Generator) -> Float:
        return y + (rng.random(y.shape) < share) * rng.choice([-1.0, 1.0], y.shape) * height * sigma[:, None]

    return dirty


def _windows(count: int, length: int, height: float) -> Contaminate:
    def dirty(y: Float, sigma: Float, rng: np.random.Generator) -> Float:
        y = y.copy()
        for row in range(len(y)):
            for first in rng.integers(200, T - 600, count):
                y[row, first : first + length] += height * sigma[row]
        return y

    return dirty


def _last_day(y: Float, sigma: Float, rng: np.random.Generator) -> Float:
    y = y.copy()
    y[:, -NEXT:] += 3 * np.nanmedian(np.abs(y), axis=1)[:, None]
    return y


@pytest.mark.parametrize(
    ("dirty", "inside", "after", "sigma"),
    [
        (_spikes(0.0, 0.0), 0.02, 0.03, 0.03),
        (_spikes(0.001, 50.0), 0.02, 0.03, 0.03),
        (_spikes(0.01, 50.0), 0.05, 0.05, 0.05),
        (_spikes(0.05, 20.0), 0.05, 0.06, 0.05),
        (_windows(1, 6 * HOUR // STEP, 40.0), 0.05, 0.06, 0.05),
        (_windows(3, 4 * HOUR // STEP, 8.0), 0.06, 0.07, 0.05),
        (_last_day, 0.15, 0.3, 0.05),
    ],
    ids=["none", "0.1 % of 50", "1 % of 50", "5 % of 20", "a plateau of 6 h", "three of 4 h", "the whole last day"],
)
def test_contamination_hardly_moves_the_fit(
    clean: SeriesBatch, dirty: Contaminate, inside: float, after: float, sigma: float
) -> None:
    scale = _fit(BatchEngine(PLAIN), clean)[1]
    values = dirty(clean.values, scale, np.random.default_rng(3))
    found = _distances(BatchEngine(), clean, values)
    assert found[0] <= inside
    assert found[1] <= after
    assert abs(found[2] - 1) <= sigma


def test_without_the_passes_spikes_and_a_bad_last_day_move_it_far(clean: SeriesBatch) -> None:
    scale = _fit(BatchEngine(PLAIN), clean)[1]
    rng = np.random.default_rng(3)
    assert _distances(BatchEngine(PLAIN), clean, _spikes(0.01, 50.0)(clean.values, scale, rng))[0] > 0.2
    # An incident at the very end looks like a new level; only the search for shifts tells them apart.
    assert _distances(ONLY_DROPS, clean, _last_day(clean.values, scale, rng))[1] > 2.0
    assert _distances(BatchEngine(), clean, _last_day(clean.values, scale, rng))[1] < 0.3


def _one(values: Float, step: int = 15 * MINUTE) -> SeriesBatch:
    return SeriesBatch((SeriesKey("d"),), TimeGrid(START, step, len(values)), values[None].copy())


def _next_day(models: Sequence[Model], history: SeriesBatch) -> Float:
    (model,) = models
    return predict(model, TimeGrid(history.grid.end, history.grid.step, DAY // history.grid.step)).expected[0]


@pytest.mark.parametrize(("hours", "level"), [(6, 0.0), (24, 0.0), (33, 0.0), (42, 2.0), (72, 2.0), (240, 2.0), (400, 2.0)])
def test_a_lasting_shift_becomes_the_new_normal_after_36_hours(hours: int, level: float) -> None:
    size = 28 * 96
    t = np.arange(size)
    wave = 10 + np.sin(2 * np.pi * t / 96) + np.random.default_rng(1).normal(0, 0.1, size)
    history = _one(wave + 2.0 * (t >= size - hours * 4))
    expected = _next_day(BatchEngine().fit(history, ModelSpec()), history)
    truth = 10 + np.sin(2 * np.pi * np.arange(96) / 96) + level
    assert np.abs(expected - truth).mean() < 0.15


FAULTS = {
    "ended 6 hours ago": (24, 6),
    "ended 12 hours ago": (24, 12),
    "of two days ended 8 hours ago": (48, 8),
    "of four days ended 8 hours ago": (96, 8),
    "ended 30 hours ago": (24, 30),
    "of two days ended 3 days ago": (48, 72),
    "goes on for 12 hours": (12, 0),
    "goes on for 24 hours": (24, 0),
    "goes on for 34 hours": (34, 0),
}


@pytest.mark.parametrize("height", [30.0, 10.0, -30.0])
@pytest.mark.parametrize("fault", list(FAULTS))
def test_a_fault_neither_bends_the_fit_nor_becomes_the_level_whenever_it_ended(
    clean: SeriesBatch, fault: str, height: float
) -> None:
    length, ago = (hours * HOUR // STEP for hours in FAULTS[fault])
    scale = _fit(BatchEngine(PLAIN), clean)[1]
    values = clean.values.copy()
    values[:, T - ago - length : T - ago] += height * scale[:, None]
    inside, after, sigma = _distances(BatchEngine(), clean, values)
    assert inside <= 0.15
    assert after <= 0.2
    assert abs(sigma - 1) <= 0.05


@pytest.mark.parametrize("ago", [6, 20, 40, 100])
def test_a_fault_that_comes_slowly_and_ends_at_once_leaves_the_level_where_it_was(ago: int) -> None:
    # Temperatures that fall for a day and a half until somebody repairs what was broken, on a series that wanders.
    size = 28 * 96
    rng = np.random.default_rng(3)
    t = np.arange(size)
    wander = np.zeros(size)
    for i, shock in enumerate(rng.normal(0, 1, size - 1), 1):
        wander[i] = 0.98 * wander[i - 1] + shock
    y = 90 + 2 * np.sin(2 * np.pi * t / 96) + wander
    end = size - ago * 4
    y[end - 36 * 4 : end] -= np.linspace(0, 70, 36 * 4)
    history = _one(y)
    (model,) = BatchEngine().fit(history, ModelSpec())
    assert np.abs(_next_day((model,), history) - 90).max() < 15
    assert "shift_at" not in model.arrays
    hours = (history.grid.end - model.arrays["fault_end"][0, -1]) / HOUR
    assert ago - 3 <= hours <= ago + 4


def test_what_happens_every_week_is_no_fault() -> None:
    size = 28 * 96
    t = np.arange(size)
    weekend = (t // 96 % 7) < 2  # START is a Saturday
    nightly = (t % 96) < 28
    for habit in (weekend, nightly):
        y = 10 + np.random.default_rng(2).normal(0, 0.1, size) - 4.0 * habit
        (model,) = BatchEngine().fit(_one(y), ModelSpec())
        assert "fault_start" not in model.arrays


def test_shifts_that_were_adopted_are_on_record() -> None:
    size = 28 * 96
    t = np.arange(size)
    rng = np.random.default_rng(1)
    y = rng.normal(0, 0.1, (3, size)) + 10 + np.sin(2 * np.pi * t / 96)
    y[1] += 2.0 * (t >= 1800)
    y[2] += 2.0 * (t >= 800) - 3.0 * (t >= 1900)
    keys = tuple(SeriesKey("d", (("n", str(n)),)) for n in range(3))
    grid = TimeGrid(START, 15 * MINUTE, size)
    (model,) = BatchEngine().fit(SeriesBatch(keys, grid, y), ModelSpec())
    at = (model.arrays["shift_at"] - START) / (15 * MINUTE)
    np.testing.assert_allclose(at, [[np.nan, np.nan], [1800, np.nan], [800, 1900]], atol=13)
    np.testing.assert_allclose(model.arrays["shift_by"], [[np.nan, np.nan], [2.0, np.nan], [2.0, -3.0]], atol=0.4)


def test_a_level_is_not_adopted_if_the_latest_hours_contradict_it() -> None:
    size = 28 * 96
    t = np.arange(size)
    y = 10 + np.random.default_rng(4).normal(0, 0.1, size) + 2.0 * (t >= size - 60 * 4) - 2.0 * (t >= size - 4 * 4)
    history = _one(y)
    (model,) = BatchEngine().fit(history, ModelSpec())
    assert "shift_at" not in model.arrays
    assert np.abs(_next_day((model,), history) - 10).mean() < 0.15


def _shifts(y: Float) -> Shifts:
    blocks = Blocks.of(y.shape[1], 15 * MINUTE, 36 * HOUR)
    return shifts(blocks.medians(y), np.ones(len(y)), blocks)


def test_neither_a_slope_nor_a_returning_level_nor_noise_is_a_shift() -> None:
    size, rng = 28 * 96, np.random.default_rng(5)
    t = np.arange(size)
    noise = rng.normal(0, 1.0, (6, size))
    noise[1] += 10 * t / size
    noise[2] += 8 * ((t > 1000) & (t < 1100))  # back after 25 hours
    noise[3] += np.cumsum(rng.normal(0, 0.02, size))
    noise[4] *= 1 + 3 * (t > 1500)
    noise[5, rng.random(size) < 0.3] = np.nan
    found = _shifts(noise)
    assert len(found.rows) == 0
    assert (found.passing == size).all()


def test_several_shifts_are_told_apart_and_measured() -> None:
    size, rng = 28 * 96, np.random.default_rng(6)
    t = np.arange(size)
    y = rng.normal(0, 1.0, (2, size)) + 6.0 * (t >= 800) - 10.0 * (t >= 1900)
    y[1, 1000:1100] = np.nan
    found = _shifts(y)
    for row in range(2):
        mine = found.rows == row
        order = np.argsort(found.before[mine])
        np.testing.assert_allclose(found.before[mine][order], [800, 1900], atol=12)
        np.testing.assert_allclose(found.jump[mine][order], [6.0, -10.0], atol=0.5)
    assert (found.passing == size).all()


def test_sparse_counts_keep_their_events_and_lose_a_flood() -> None:
    rng = np.random.default_rng(8)
    y = rng.poisson(0.05, (1, 2000)).astype(np.float64)
    y[0, 700] = 500.0
    rest, least = resting(y)
    assert rest[0] == 0.0
    found = outliers(y - 0.05, spread(y - 0.05, y, rest, least), 4.0)
    assert found[0, 700]
    assert found.sum() == 1


def test_two_regimes_are_not_outliers_of_each_other() -> None:
    rng = np.random.default_rng(9)
    y = np.where(np.arange(2000) % 10 < 7, 0.0, 5.0)[None] + rng.normal(0, 0.1, (1, 2000))
    rest, least = resting(y)
    assert np.isnan(rest[0])
    assert not outliers(y - np.median(y), spread(y - np.median(y), y, rest, least), 4.0).any()


def _pattern(name: str, t: np.ndarray, per_day: int) -> Float:
    hour, day = (t % per_day) * 24 / per_day, (t // per_day) % 7  # START is a Saturday
    return {
        "weekend": -0.5 * (day < 2),
        "opening hours": 1.0 * ((hour >= 8) & (hour < 18) & (day >= 2)),
        "a job at night": 0.4 * ((hour >= 2) & (hour < 3.5)),
        "a peak each hour": 0.5 * (t % (per_day // 24) == 1),
        "a peak each Monday": 1.0 * ((day == 2) & (hour >= 8) & (hour < 10)),
    }[name].astype(np.float64)


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("weekend", 0.65),
        ("opening hours", 0.6),
        ("a job at night", 0.8),
        ("a peak each hour", 0.3),
        ("a peak each Monday", 0.95),
    ],
)
def test_a_profile_follows_what_fourier_terms_cannot(name: str, left: float) -> None:
    size, week = 28 * 96, 7 * 96
    t = np.arange(size + week)
    rng = np.random.default_rng(4)
    y = 1 + 0.2 * np.sin(2 * np.pi * t / 96) + rng.normal(0, 0.05, (6, t.size)) + _pattern(name, t, 96)
    keys = tuple(SeriesKey("d", (("n", str(n)),)) for n in range(6))
    history = SeriesBatch(keys, TimeGrid(START, 15 * MINUTE, size), y[:, :size].copy())
    errors = []
    for robust in (Robustness(profile=False), Robustness()):
        (model,) = BatchEngine(robust).fit(history, ModelSpec())
        expected = predict(model, TimeGrid(history.grid.end, 15 * MINUTE, week)).expected
        errors.append(np.abs(y[:, size:] - expected).mean())
    assert errors[1] <= left * errors[0]


def test_where_there_is_no_such_pattern_there_is_no_profile() -> None:
    history = batch(3, 28 * 96, 15 * MINUTE, kinds=["ar1", "bigoffset", "counts", "gappy", "hetero", "nearconst"], per_kind=5)
    for model in BatchEngine().fit(history, ModelSpec()):
        profile = model.arrays.get("profile", np.zeros((len(model.keys), 1)))
        assert np.mean(np.any(profile != 0, axis=1)) <= 0.1


def test_the_profile_keeps_to_civil_time() -> None:
    # Chatham Islands: an offset of 12:45, so that slots of the week do not begin on whole UTC hours.
    size = 28 * 96
    t = np.arange(size)
    y = 5 + np.random.default_rng(2).normal(0, 0.05, size) + 1.0 * ((t + 51) % 96 == 40)
    history = _one(y)
    (model,) = BatchEngine().fit(history, ModelSpec(timezone="Pacific/Chatham"))
    slots = np.flatnonzero(model.arrays["profile"][0] > 0.5)
    assert set(slots % 96) == {40}
    expected = _next_day((model,), history)
    assert np.argmax(expected) == (40 - 51 - size) % 96
