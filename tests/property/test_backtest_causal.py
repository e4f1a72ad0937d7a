"""What a backtest says of a row depends on that row and earlier ones alone, whatever the rows are like.

Rows repeat, come late, lie off the grid and are missing: the series is cut after any of them, and the scores up to there stay.
"""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.generated import KINDS, START, generate

from forewarn.backtest import FIRST_ROWS, ScoredRows, score_rows
from forewarn.detector import DAY, HOUR, MINUTE, Detector, Selection
from forewarn.series import Float, TimeGrid
from forewarn.wiring import backtest_rooms

DETECTOR = Detector("backtest", Selection(path="generated"), "avg", "value")


def rows(kind: str, seed: int, step: int, mess: float) -> tuple[np.ndarray, Float]:
    """Five days of a series as they come: some rows missing, repeated, late or off the grid; times int64 UTC ms."""
    rng = np.random.default_rng(seed)
    size = 5 * DAY // step
    values = generate(kind, rng, size, step)
    times = TimeGrid(START, step, size).times().copy()
    times += np.where(rng.random(size) < mess, rng.integers(-step, step, size), 0)
    order = np.arange(size) + np.where(rng.random(size) < mess, rng.integers(1, 30, size), 0)
    kept = rng.random(size) >= mess
    again = np.flatnonzero(rng.random(size) < mess)
    position = np.concatenate([np.arange(size)[kept], again])
    position = position[np.argsort(np.concatenate([order[kept], again + 1]), kind="stable")]
    changed = np.where(rng.random(position.size) < mess, values[position] * rng.normal(1, 0.5, position.size), values[position])
    return times[position], changed


def same(part: ScoredRows, whole: ScoredRows, cut: int) -> None:
    for column in ("score", "expected", "lower", "upper"):
        np.testing.assert_array_equal(getattr(part, column), getattr(whole, column)[:cut], err_msg=column)


@settings(max_examples=10, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 2**32 - 1),
    step=st.sampled_from([10 * MINUTE, HOUR]),
    mess=st.sampled_from([0.0, 0.02, 0.2]),
    where=st.floats(0, 1),
)
def test_scores_up_to_a_row_do_not_depend_on_what_comes_after_it(
    kind: str, seed: int, step: int, mess: float, where: float
) -> None:
    times, values = rows(kind, seed, step, mess)
    whole = score_rows(times, values, DETECTOR, backtest_rooms)
    cut = FIRST_ROWS + int(where * (len(times) - FIRST_ROWS))
    same(score_rows(times[:cut], values[:cut], DETECTOR, backtest_rooms), whole, cut)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), mess=st.sampled_from([0.0, 0.3]), cut=st.integers(1, FIRST_ROWS + 5))
def test_nor_do_the_first_rows_from_which_the_step_is_learnt(seed: int, mess: float, cut: int) -> None:
    times, values = rows("smooth", seed, HOUR, mess)
    whole = score_rows(times, values, DETECTOR, backtest_rooms)
    same(score_rows(times[:cut], values[:cut], DETECTOR, backtest_rooms), whole, cut)
