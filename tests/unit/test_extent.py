"""How much there is of each series, and that finding it out needs no copy of a fleet's history."""

import numpy as np
import pytest

from forewarn.detector import DAY, HOUR
from forewarn.forecast import Model, ModelSpec
from forewarn.forecasting import extent
from forewarn.forecasting.choose import Forecasting
from forewarn.forecasting.extent import Extent
from forewarn.forecasting.fallback import unmodelled
from forewarn.series import SeriesBatch, SeriesKey, TimeGrid


def _values() -> np.ndarray:
    rng = np.random.default_rng(3)
    values = rng.normal(size=(23, 40))
    values[rng.random(values.shape) < 0.6] = np.nan
    values[7] = np.nan
    return values


def test_by_parts_is_the_same_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Extent.of(_values())
    monkeypatch.setattr(extent, "_CELLS", 100)
    parts = Extent.of(_values())
    for name in ("count", "first", "last", "low", "high"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))
    assert whole.count[7] == 0
    assert (whole.first[7], whole.last[7]) == (0, -1)


class Witness:
    """An engine that keeps what it was given."""

    name = "stan"

    def __init__(self) -> None:
        self.seen: list[SeriesBatch] = []

    def fit(self, history: SeriesBatch, spec: ModelSpec) -> tuple[Model, ...]:
        """No model."""
        self.seen.append(history)
        return unmodelled(history, spec.timezone)


def test_a_history_whose_series_all_go_to_one_engine_is_not_copied() -> None:
    keys = tuple(SeriesKey("d", (("n", str(n)),)) for n in range(3))
    grid = TimeGrid(0, HOUR, 7 * DAY // HOUR)
    values = np.random.default_rng(1).normal(size=(3, grid.size))
    witness = Witness()
    Forecasting(engines=[witness]).fit(SeriesBatch(keys, grid, values), ModelSpec(engine="stan"))
    assert np.shares_memory(witness.seen[0].values, values)


@pytest.mark.parametrize("bad", [np.inf, -np.inf])
def test_infinite_values_are_found_in_any_part(bad: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extent, "_CELLS", 100)
    values = _values()
    values[22, 39] = bad
    keys = tuple(SeriesKey("d", (("n", str(n)),)) for n in range(len(values)))
    with pytest.raises(ValueError, match="infinite"):
        Forecasting().fit(SeriesBatch(keys, TimeGrid(0, HOUR, values.shape[1]), values), ModelSpec())
