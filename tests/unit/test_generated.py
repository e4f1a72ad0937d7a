"""The generator of test series: repeatable, of the shapes it promises."""

import numpy as np
import pytest
from tests.generated import KINDS, batch, generate


def test_there_are_fourteen_kinds() -> None:
    assert len(set(KINDS)) == 14


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 2, 30, 2016])
def test_a_series_has_its_length_and_is_observed_at_both_ends(kind: str, n: int) -> None:
    y = generate(kind, np.random.default_rng(7), n)
    assert y.shape == (n,)
    assert y.dtype == np.float64
    assert np.isfinite(y[[0, -1]]).all()
    assert not np.isinf(y).any()
    assert kind == "gappy" or not np.isnan(y).any()


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_state_gives_the_same_series_and_another_one_another(kind: str) -> None:
    first, again, other = (generate(kind, np.random.default_rng(seed), 500) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other, equal_nan=True)


def test_the_kinds_differ_in_what_their_names_say() -> None:
    every = batch(3, 4032)
    one = {dict(key.entity)["kind"]: row for key, row in zip(every.keys, every.values, strict=True)}
    assert 0.1 < np.isnan(one["gappy"]).mean() < 0.35
    assert np.nanstd(one["nearconst"]) < 1e-3 * np.nanmean(one["nearconst"])
    assert (one["counts"] == np.round(one["counts"])).all()
    assert (one["sparsecount"] == 0).mean() > 0.9
    assert one["bigoffset"].mean() == pytest.approx(1e6, rel=1e-4)
    assert one["linear_up"][-500:].mean() > 2 * one["linear_up"][:500].mean()
    steps = one["ar1"] - one["ar1"].mean()
    assert np.corrcoef(steps[1:], steps[:-1])[0, 1] > 0.8


def test_a_row_of_a_batch_does_not_depend_on_the_other_rows() -> None:
    whole, part = batch(5, 288, per_kind=2), batch(5, 288, kinds=("ar1",), per_kind=2)
    assert list(whole.keys) == sorted(whole.keys)
    np.testing.assert_array_equal(whole.take(part.keys).values, part.values)
