"""What the ports `Scorer` and `EpisodeFold` promise, for their adapters: cut time and series as you like, nothing changes."""

from dataclasses import fields, replace

import numpy as np
import pytest
from tests.generated import START, batch

from forewarn.anomaly import Anomaly, Carry, Scores
from forewarn.blocks import decode, encode
from forewarn.detector import DAY, HOUR, MINUTE, Detector, Maintenance, MinDeviation, Selection
from forewarn.forecast import OK, Calibration, Forecast, Model
from forewarn.scoring.episodes import Episodes
from forewarn.scoring.scorer import CONTINUED, MAINTENANCE, ResidualScorer
from forewarn.series import Float, SeriesBatch, SeriesKey, TimeGrid

STEPS = (MINUTE, 5 * MINUTE, 7 * MINUTE, HOUR, 2 * HOUR, DAY)


def detector(step: int, **changes: object) -> Detector:
    return replace(Detector("generated", Selection(path="x"), "avg", "v", step=step), **changes)


def world(step: int = 5 * MINUTE, n: int = 700, seed: int = 1) -> tuple[SeriesBatch, Forecast]:
    """All kinds of series, some starting late or with holes, and a forecast that is roughly right and missing at first."""
    data = batch(seed, n, step, start=START // step * step)
    values = data.values.copy()
    rng = np.random.default_rng(seed)
    for row in range(0, len(values), 3):
        values[row, : rng.integers(1, n // 2)] = np.nan
    for row in range(1, len(values), 3):
        low = int(rng.integers(0, n - 30))
        values[row, low : low + 25] = np.nan
        values[row, rng.random(n) < 0.05] = np.nan
    expected = np.broadcast_to(np.nanmedian(values, axis=1)[:, None], values.shape).copy()
    expected[:, :20] = np.nan
    sigma = np.broadcast_to(np.nanstd(values, axis=1)[:, None], values.shape).copy()
    keys, grid = data.keys, data.grid
    return SeriesBatch(keys, grid, values), Forecast(keys, grid, expected, sigma, (OK,) * len(keys), ("x",) * len(keys))


def blank(keys: tuple[SeriesKey, ...], at: int) -> Calibration:
    S = len(keys)
    return Calibration(keys, at, np.ones((S, 48)), np.ones((S, 48)), np.zeros(S))


def part(
    data: SeriesBatch, forecast: Forecast, low: int, high: int, rows: list[int] | None = None
) -> tuple[SeriesBatch, Forecast]:
    rows = list(range(len(data.keys))) if rows is None else rows
    grid = TimeGrid(data.grid.start + low * data.grid.step, data.grid.step, high - low)
    keys = tuple(data.keys[row] for row in rows)
    cut = (rows, slice(low, high))
    return (
        SeriesBatch(keys, grid, data.values[cut[0], cut[1]].copy()),
        Forecast(
            keys,
            grid,
            forecast.expected[cut[0], cut[1]].copy(),
            forecast.sigma[cut[0], cut[1]].copy(),
            (OK,) * len(rows),
            ("x",) * len(rows),
        ),
    )


def score(
    scorer: ResidualScorer, data: SeriesBatch, forecast: Forecast, cuts: list[int], rows: list[int] | None = None
) -> tuple[dict[str, Float], Carry]:
    keys = data.keys if rows is None else tuple(data.keys[row] for row in rows)
    carry = scorer.start(keys, data.grid.start)
    got: list[Scores] = []
    for low, high in zip([0, *cuts], [*cuts, data.grid.size], strict=True):
        block, ahead = part(data, forecast, low, high, rows)
        scores, carry = scorer.score(block, ahead, blank(keys, 0), carry)
        got.append(scores)
    names = ("score", "direction", "lower", "upper", "reason")
    return {name: np.concatenate([getattr(scores, name) for scores in got], axis=1) for name in names}, carry


def assert_same(left: dict[str, Float], right: dict[str, Float]) -> None:
    assert left.keys() == right.keys()
    for name, array in left.items():
        np.testing.assert_array_equal(array, right[name], err_msg=name)


@pytest.mark.parametrize("step", STEPS)
def test_any_split_of_a_block_gives_the_same_scores_and_the_same_carry(step: int) -> None:
    scorer = ResidualScorer(detector(step))
    data, forecast = world(step)
    whole, after = score(scorer, data, forecast, [])
    rng = np.random.default_rng(4)
    for count in (1, 30, 200):
        cuts = sorted(rng.choice(np.arange(1, data.grid.size), count, replace=False).tolist())
        split, carry = score(scorer, data, forecast, cuts)
        assert_same(whole, split)
        assert_same(dict(after.arrays), dict(carry.arrays))
        assert carry.at == after.at == data.grid.end


@pytest.mark.parametrize("step", [15 * MINUTE, HOUR, 4 * HOUR])
def test_what_goes_on_across_holes_does_not_depend_on_the_cut(step: int) -> None:
    """How irregular a series is moves block by block of time, and decides what goes on across a hole."""
    rng, scorer = np.random.default_rng(8), ResidualScorer(detector(step))
    data, forecast = world(step, n=400)
    values = np.where(rng.random((len(data.keys), 400)) < 0.4, np.nan, rng.normal(0.0, 1.0, (len(data.keys), 400)))
    for low in range(40, 400, 24):
        values[:, low : low + 10] *= 30.0
    data, expected = SeriesBatch(data.keys, data.grid, values), np.zeros_like(values)
    forecast = Forecast(data.keys, data.grid, expected, expected + 1.0, forecast.status, forecast.engine)
    whole, after = score(scorer, data, forecast, [])
    assert (whole["reason"] == CONTINUED).any()
    single, carry = score(scorer, data, forecast, list(range(1, 400)))
    assert_same(whole, single)
    assert_same(dict(after.arrays), dict(carry.arrays))


@pytest.mark.parametrize("step", [MINUTE, 15 * MINUTE, HOUR])
def test_windows_of_maintenance_may_be_cut_anywhere(step: int) -> None:
    data, forecast = world(step)
    start = data.grid.start
    windows = (Maintenance(start, start + 9 * step), Maintenance(start + 150 * step + 1, start + 180 * step, 100 * step))
    scorer = ResidualScorer(detector(step, maintenance=windows))
    whole, after = score(scorer, data, forecast, [])
    masked = detector(step, maintenance=windows).in_maintenance(data.grid.times(), step)
    assert not (whole["score"][:, masked] >= 1.0).any()
    assert (whole["reason"][:, masked] == MAINTENANCE).any()
    assert not (whole["reason"][:, ~masked] == MAINTENANCE).any()
    for cuts in ([9, 150, 170, 250], list(range(140, 300))):
        split, carry = score(scorer, data, forecast, cuts)
        assert_same(whole, split)
        assert_same(dict(after.arrays), dict(carry.arrays))


def test_every_bucket_on_its_own_gives_the_same_too() -> None:
    scorer = ResidualScorer(detector(HOUR))
    data, forecast = world(HOUR, n=200)
    whole, after = score(scorer, data, forecast, [])
    single, carry = score(scorer, data, forecast, list(range(1, 200)))
    assert_same(whole, single)
    assert_same(dict(after.arrays), dict(carry.arrays))


@pytest.mark.parametrize("step", [MINUTE, 5 * MINUTE, HOUR])
def test_rows_do_not_know_of_each_other(step: int) -> None:
    scorer = ResidualScorer(detector(step))
    data, forecast = world(step)
    whole, after = score(scorer, data, forecast, [100, 400])
    order = np.random.default_rng(2).permutation(len(data.keys)).tolist()
    for rows in (order, order[:5], [3]):
        some, carry = score(scorer, data, forecast, [100, 400], rows)
        assert_same({name: array[rows] for name, array in whole.items()}, some)
        assert_same({name: array[rows] for name, array in after.arrays.items()}, dict(carry.arrays))


def test_series_that_join_later_score_as_if_they_had_been_there_without_data() -> None:
    step = 5 * MINUTE
    scorer = ResidualScorer(detector(step))
    data, forecast = world(step)
    values = data.values.copy()
    values[8:, :301] = np.nan
    data = SeriesBatch(data.keys, data.grid, values)
    whole, after = score(scorer, data, forecast, [])
    early = part(data, forecast, 0, 301, list(range(8)))
    carry = scorer.start(early[0].keys, data.grid.start)
    _, carry = scorer.score(*early, blank(early[0].keys, 0), carry)
    carry = scorer.extend(carry, data.keys[8:])
    late = part(data, forecast, 301, data.grid.size)
    scores, carry = scorer.score(*late, blank(data.keys, 0), carry)
    np.testing.assert_array_equal(scores.score, whole["score"][:, 301:])
    assert_same(dict(after.arrays), dict(carry.arrays))


def test_a_row_without_data_keeps_its_fresh_carry() -> None:
    scorer = ResidualScorer(detector(5 * MINUTE))
    data, forecast = world()
    values = data.values.copy()
    values[[2, 5]] = np.nan
    _, carry = score(scorer, SeriesBatch(data.keys, data.grid, values), forecast, [333])
    fresh = scorer.start(data.keys, data.grid.start)
    for name, array in carry.arrays.items():
        np.testing.assert_array_equal(array[[2, 5]], fresh.arrays[name][[2, 5]], err_msg=name)


def test_a_given_carry_is_never_changed() -> None:
    scorer = ResidualScorer(detector(5 * MINUTE))
    data, forecast = world()
    _, carry = score(scorer, *part(data, forecast, 0, 290), [])
    kept = {name: array.copy() for name, array in carry.arrays.items()}
    block, ahead = part(data, forecast, 290, 700)
    first, _ = scorer.score(block, ahead, blank(data.keys, 0), carry)
    assert_same(kept, dict(carry.arrays))
    again, _ = scorer.score(block, ahead, blank(data.keys, 0), carry)
    np.testing.assert_array_equal(first.score, again.score)


def test_the_carry_goes_through_its_wire_form_and_all_state_is_in_it() -> None:
    data, forecast = world()
    _, carry = score(ResidualScorer(detector(5 * MINUTE)), *part(data, forecast, 0, 290), [])
    meta, arrays = decode(encode({"at": carry.at}, carry.arrays))
    block, ahead = part(data, forecast, 290, 700)
    one, _ = ResidualScorer(detector(5 * MINUTE)).score(block, ahead, blank(data.keys, 0), carry)
    restored = Carry(data.keys, int(meta["at"]), arrays)
    two, _ = ResidualScorer(detector(5 * MINUTE)).score(block, ahead, blank(data.keys, 0), restored)
    np.testing.assert_array_equal(one.score, two.score)


@pytest.mark.parametrize("step", STEPS)
def test_a_series_carries_at_most_eleven_kilobytes(step: int) -> None:
    carry = ResidualScorer(detector(step)).start((SeriesKey("a"), SeriesKey("b")), START)
    assert sum(array.nbytes for array in carry.arrays.values()) / 2 <= 11 * 1024


def test_no_data_and_no_expectation_give_no_score_and_all_else_gives_one() -> None:
    scorer = ResidualScorer(detector(5 * MINUTE))
    data, forecast = world()
    got, _ = score(scorer, data, forecast, [])
    known = np.isfinite(data.values) & np.isfinite(forecast.expected)
    assert np.isnan(got["score"][~known]).all()
    first = np.argmax(known, axis=1)
    known[np.arange(len(known)), first] = False  # the first point has no recent ones to be compared with
    assert np.isfinite(got["score"][known]).all()
    assert (got["score"][known] >= 0).all()
    np.testing.assert_array_equal(got["direction"][known], np.sign(data.values - forecast.expected)[known])


def test_the_past_decides_alone() -> None:
    scorer = ResidualScorer(detector(5 * MINUTE))
    data, forecast = world()
    whole, _ = score(scorer, data, forecast, [])
    changed = data.values.copy()
    changed[:, 450:] = 1e9 * np.random.default_rng(0).normal(size=changed[:, 450:].shape)
    other, _ = score(scorer, SeriesBatch(data.keys, data.grid, changed), forecast, [])
    np.testing.assert_array_equal(whole["score"][:, :450], other["score"][:, :450])


def test_what_does_not_fit_together_is_refused() -> None:
    scorer = ResidualScorer(detector(5 * MINUTE))
    data, forecast = world()
    carry = scorer.start(data.keys, data.grid.start)
    block, ahead = part(data, forecast, 5, 20)
    with pytest.raises(ValueError, match="carry is at"):
        scorer.score(block, ahead, blank(data.keys, 0), carry)
    with pytest.raises(ValueError, match="same series"):
        scorer.score(data, forecast, blank(data.keys[::-1], 0), carry)


def test_an_empty_block_and_an_empty_fleet_are_blocks_too() -> None:
    scorer = ResidualScorer(detector(5 * MINUTE))
    data, forecast = world()
    block, ahead = part(data, forecast, 0, 0)
    scores, carry = scorer.score(block, ahead, blank(data.keys, 0), scorer.start(data.keys, data.grid.start))
    assert scores.score.shape == (len(data.keys), 0)
    assert carry.at == data.grid.start
    nobody, nothing = part(data, forecast, 0, 40, [])
    scores, carry = scorer.score(nobody, nothing, blank((), 0), scorer.start((), data.grid.start))
    assert scores.score.shape == (0, 40)
    assert carry.at == nobody.grid.end


def model(keys: tuple[SeriesKey, ...]) -> Model:
    return Model("x", keys, (0, START), 15 * MINUTE, {}, {}, (OK,) * len(keys))


def test_before_anything_was_learnt_the_band_is_a_multiple_of_the_forecasts_own_sigma() -> None:
    scorer = ResidualScorer(detector(5 * MINUTE))
    keys = (SeriesKey("a"), SeriesKey("b"))
    calibration = scorer.calibrate(scorer.start(keys, START), [1, 0], model(keys[::-1]), START)
    assert calibration.keys == keys[::-1]
    grid = TimeGrid(START, 5 * MINUTE, 3)
    sigma = np.array([[1.0, 2.0, 4.0], [10.0, 20.0, 1e-6]])
    lower, upper = calibration.band(np.full((2, 3), 7.0), sigma, grid)
    times = (upper - 7.0) / sigma
    np.testing.assert_allclose(times, times[0, 0], rtol=1e-6)
    assert 3.0 <= times[0, 0] <= 12.0
    np.testing.assert_allclose(7.0 - lower, upper - 7.0)


def test_once_it_learnt_the_band_holds_nearly_all_values_and_is_wide_where_the_day_is() -> None:
    step = 5 * MINUTE
    scorer = ResidualScorer(detector(step))
    n = 20 * 288
    rng = np.random.default_rng(3)
    grid = TimeGrid(START, step, n)
    loud = np.where(grid.times() % DAY < DAY // 2, 5.0, 1.0)
    keys = (SeriesKey("a"),)
    data = SeriesBatch(keys, grid, loud * rng.normal(size=(1, n)))
    forecast = Forecast(keys, grid, np.zeros((1, n)), np.ones((1, n)), (OK,), ("x",))
    carry = scorer.start(keys, START)
    _, carry = scorer.score(data, forecast, blank(keys, 0), carry)
    calibration = scorer.calibrate(carry, [0], model(keys), grid.end)
    lower, upper = calibration.band(forecast.expected, forecast.sigma, grid)
    assert ((data.values >= lower) & (data.values <= upper)).mean() > 0.99
    width = upper - lower
    assert width[0, :100].mean() > 1.5 * width[0, 150:250].mean()


def fold_all(
    episodes: Episodes, data: SeriesBatch, forecast: Forecast, scores: dict[str, Float], cuts: list[int]
) -> tuple[object, object]:
    opened: tuple[Anomaly, ...] = ()
    changes: list[tuple[int, Anomaly]] = []
    for low, high in zip([0, *cuts], [*cuts, data.grid.size], strict=True):
        block, ahead = part(data, forecast, low, high)
        own = {name: array[:, low:high].copy() for name, array in scores.items()}
        opened, new = episodes.fold(opened, block, ahead, Scores(block.keys, block.grid, **own, reasons=("a",) * 9), 30_000)
        changes += new
    return [plain(anomaly) for anomaly in opened], [(time, plain(anomaly)) for time, anomaly in changes]


def plain(anomaly: Anomaly) -> list[str]:
    return [f"{field.name}={getattr(anomaly, field.name)!r}" for field in fields(anomaly)]


@pytest.mark.parametrize("step", [MINUTE, 5 * MINUTE, HOUR])
def test_any_split_of_a_block_gives_the_same_episodes(step: int) -> None:
    data, forecast = world(step)
    scores, _ = score(ResidualScorer(detector(step)), data, forecast, [])
    episodes = Episodes(detector(step))
    whole = fold_all(episodes, data, forecast, scores, [])
    assert whole[1]
    rng = np.random.default_rng(5)
    for count in (1, 20, 150):
        cuts = sorted(rng.choice(np.arange(1, data.grid.size), count, replace=False).tolist())
        assert fold_all(episodes, data, forecast, scores, cuts) == whole


def test_direction_and_minimum_deviation_are_the_detectors_to_decide() -> None:
    data, forecast = world(n=2000)
    every, _ = score(ResidualScorer(detector(5 * MINUTE)), data, forecast, [])
    assert (every["score"] >= 1).any()
    residual = np.where(np.isnan(data.values), 0.0, data.values - forecast.expected)
    for direction, wrong in (("above", -1), ("below", 1)):
        got, _ = score(ResidualScorer(detector(5 * MINUTE, direction=direction)), data, forecast, [])
        assert not (got["score"][np.sign(residual) == wrong] >= 1).any()
        assert (got["score"] >= 1).any()
    least = MinDeviation(relative=0.5)
    got, _ = score(ResidualScorer(detector(5 * MINUTE, min_deviation=least)), data, forecast, [])
    small = np.abs(residual) < 0.5 * np.abs(forecast.expected)
    assert not (got["score"][small] >= 1).any()
    assert (got["score"] >= 1).any()
