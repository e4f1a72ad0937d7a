"""The batch engine's plain fit against Stan's, on one grid with the same changepoints: objective, forecasts, held-out error.

Stan's `optimize` stops early at the kinks of |delta|, so forecasts are compared in sigma and against the exact bound
sqrt(2 gap) that optimality gives, never to a fixed number of digits; where they differ by more than half a sigma, Stan is
started again beside our point. The corpus has all kinds; FOREWARN_PARITY_SERIES says
how many series of each (`make parity` runs six, which takes minutes).
"""

import os

import numpy as np
import pytest
from tests.generated import KINDS, START, generate
from tests.parity.stan_comparison import Comparison, compare

from forewarn.detector import DAY, MINUTE
from forewarn.forecast import OK, ModelSpec
from forewarn.forecasting.batch import BatchEngine
from forewarn.forecasting.batch_passes import PLAIN
from forewarn.series import Float, SeriesBatch, SeriesKey, TimeGrid

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("batch_parity")]

STEP = 5 * MINUTE
T = 14 * DAY // STEP
NEXT = DAY // STEP
GRID = TimeGrid(START, STEP, T)
PER_KIND = int(os.environ.get("FOREWARN_PARITY_SERIES", "1"))

MINMAX, FLAT, ABSMAX = ModelSpec(), ModelSpec(growth="flat"), ModelSpec(scaling="absmax")
SHARES = ModelSpec(scaling="absmax", seasonality="multiplicative")


def _corpus(spec: ModelSpec, per_kind: int) -> list[Comparison]:
    kinds = [kind for kind in KINDS for _ in range(per_kind)]
    rows = [
        generate(kind, np.random.default_rng([77, KINDS.index(kind), number % per_kind]), T + NEXT, STEP)
        for number, kind in enumerate(kinds)
    ]
    if spec.seasonality == "multiplicative":
        kinds += ["growing"] * 4 * per_kind
        rows += [_growing(np.random.default_rng([78, number])) for number in range(4 * per_kind)]
    values = np.array(rows)
    gaps = np.isnan(values[:, T - 1])
    values[gaps, T - 1] = np.nanmean(values[gaps], axis=1)  # Prophet's time ends with the last value
    keys = tuple(SeriesKey("corpus", (("n", str(number)),)) for number in range(len(kinds)))
    (model,) = BatchEngine(PLAIN).fit(SeriesBatch(keys, GRID, values[:, :T].copy()), spec)
    assert model.status == (OK,) * len(kinds)
    return [compare(kind, y, GRID, spec, model, row) for row, (kind, y) in enumerate(zip(kinds, values, strict=True))]


def _growing(rng: np.random.Generator) -> Float:
    """Waves that grow with the level."""
    t = np.arange(T + NEXT)
    level = 10 ** rng.uniform(0, 4) * (1 + rng.uniform(-0.5, 2) * t / t.size + 0.3 * rng.normal() * np.maximum(0, t / 2000 - 1))
    day, week = 2 * np.pi * t / 288, 2 * np.pi * t / 2016
    waves = 1 + rng.uniform(0.2, 0.8) * np.sin(day + rng.uniform(0, 6)) + rng.uniform(0, 0.3) * np.sin(week)
    noise: Float = level.mean() * rng.uniform(0.01, 0.1) * rng.normal(size=t.size)
    return level * waves + noise


@pytest.fixture(scope="module")
def minmax() -> list[Comparison]:
    return _corpus(MINMAX, PER_KIND)


@pytest.fixture(scope="module")
def flat() -> list[Comparison]:
    return _corpus(FLAT, max(1, PER_KIND // 3))


@pytest.fixture(scope="module")
def absmax() -> list[Comparison]:
    return _corpus(ABSMAX, max(1, PER_KIND // 3))


@pytest.fixture(scope="module")
def multiplicative() -> list[Comparison]:
    return _corpus(SHARES, max(1, PER_KIND // 3))


@pytest.fixture(params=["minmax", "flat", "absmax"])
def additive(request: pytest.FixtureRequest) -> list[Comparison]:
    found: list[Comparison] = request.getfixturevalue(request.param)
    return found


@pytest.fixture(params=["minmax", "flat", "absmax", "multiplicative"])
def compared(request: pytest.FixtureRequest) -> list[Comparison]:
    found: list[Comparison] = request.getfixturevalue(request.param)
    return found


def test_our_objective_is_never_below_stans(compared: list[Comparison]) -> None:
    gains = np.array([c.ours - c.stan for c in compared])
    print(f"\nlog posterior ours - Stan: min {gains.min():.1e} median {np.median(gains):.2f} max {gains.max():.1f}")
    assert gains.min() >= -1e-6


def test_the_density_is_stans_own(compared: list[Comparison]) -> None:
    # At Stan's point, up to constants that do not depend on the series: Stan leaves them out of a `~` statement.
    for c in compared:
        assert c.stan == pytest.approx(c.lp, rel=1e-9, abs=1e-5), c.kind


def test_forecasts_lie_within_the_bound_that_optimality_gives(additive: list[Comparison]) -> None:
    for c in additive:
        gap = c.ours - c.stan_at_our_sigma
        assert gap >= -1e-6, c.kind
        assert c.inside <= np.sqrt(2 * max(gap, 0.0)) + 1e-6, c.kind


def test_forecasts_differ_from_stans_by_little_of_sigma(minmax: list[Comparison]) -> None:
    inside, after = np.array([c.inside for c in minmax]), np.array([c.after for c in minmax])
    for name, found in (("in sample", inside), ("next day", after)):
        print(
            f"\nyhat in sigma, {name}: median {np.median(found):.3f} p90 {np.percentile(found, 90):.3f} max {found.max():.3f}"
        )
    assert np.median(inside) <= 0.05
    assert np.percentile(inside, 90) <= 0.3
    # The exception: Stan stopped far short of the mode. Started anew beside our point it comes to the same forecasts.
    for c in (one for one in minmax if one.inside > 0.5):
        again = c.again()
        print(
            f"\n{c.kind}: {c.inside:.3f} sigma, Stan {c.ours - c.stan:.1f} nats short; "
            f"from our point {again.inside:.4f} sigma, {c.ours - again.stan:.4f} nats"
        )
        assert again.stan >= c.stan
        assert again.inside <= 0.05
    assert np.median(after) <= 0.05
    assert np.percentile(after, 90) <= 0.6
    assert after.max() <= 3.0


def test_without_kinks_forecasts_are_equal(flat: list[Comparison]) -> None:
    assert max(c.inside for c in flat) <= 1e-3
    assert max(c.after for c in flat) <= 1e-3


def test_seasonality_in_shares_of_the_trend_forecasts_what_stans_does(multiplicative: list[Comparison]) -> None:
    inside = np.array([c.inside for c in multiplicative])
    print(f"\nmultiplicative, yhat in sigma: median {np.median(inside):.3f} max {inside.max():.3f}")
    assert np.median(inside) <= 0.1
    # Not convex, and Stan stops short of the mode as ever: what it lacks in nats says by how much it may differ.
    for c in multiplicative:
        assert c.inside <= 0.5 or c.ours - c.stan > 1.0, c.kind


@pytest.fixture(params=["minmax", "multiplicative"])
def forecast(request: pytest.FixtureRequest) -> list[Comparison]:
    found: list[Comparison] = request.getfixturevalue(request.param)
    return found


def test_the_error_on_the_next_day_is_prophets(forecast: list[Comparison]) -> None:
    ratios = np.array([c.error_ratio for c in forecast])
    print(f"\nnext-day error ours / Stan: p10 {np.percentile(ratios, 10):.3f} median {np.median(ratios):.4f}")
    assert 0.98 <= np.median(ratios) <= 1.02
