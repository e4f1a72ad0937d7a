"""Which model is valid for which series: fits by slot, and what is in force after them. Values only; knows nouns."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from forewarn.forecast import Calibration, Forecast, Model, assemble
from forewarn.ports import Predictor
from forewarn.series import SeriesKey, TimeGrid


@dataclass(frozen=True, eq=False)
class Fit:
    """Models that were fitted at one slot, valid from bucket `slot`, each with its calibration."""

    slot: int
    models: tuple[Model, ...]
    calibrations: tuple[Calibration, ...]

    def without(self, keys: frozenset[SeriesKey]) -> "Fit":
        """The same fit without the series in `keys`."""
        models, calibrations = [], []
        for model, calibration in zip(self.models, self.calibrations, strict=True):
            rows = [row for row, key in enumerate(model.keys) if key not in keys]
            if len(rows) == len(model.keys):
                models.append(model)
                calibrations.append(calibration)
            elif rows:
                models.append(model.take(rows))
                calibrations.append(calibration.take(rows))
        return Fit(self.slot, tuple(models), tuple(calibrations))


@dataclass(frozen=True, eq=False)
class InForce:
    """The models that are valid now: exactly one row for every series of `keys`."""

    keys: tuple[SeriesKey, ...]
    fits: tuple[Fit, ...]

    def after(self, fit: Fit, keys: tuple[SeriesKey, ...]) -> "InForce":
        """What is in force after `fit`; `keys` are all series that have a model then."""
        replaced = frozenset(key for model in fit.models for key in model.keys)
        kept = (old.without(replaced) for old in self.fits)
        return InForce(keys, (*(old for old in kept if old.models), fit))

    @cached_property
    def rows(self) -> dict[SeriesKey, tuple[Model, Calibration, int]]:
        """The model, the calibration and the row in both, of every series."""
        return {
            key: (model, calibration, row)
            for fit in self.fits
            for model, calibration in zip(fit.models, fit.calibrations, strict=True)
            for row, key in enumerate(model.keys)
        }

    @cached_property
    def calibration(self) -> Calibration:
        """The calibration of `keys`, in their order."""
        parts = [calibration for fit in self.fits for calibration in fit.calibrations]
        row_of = {key: row for row, key in enumerate(key for part in parts for key in part.keys)}
        order = np.array([row_of[key] for key in self.keys], np.int64)
        return Calibration(
            self.keys,
            max((part.at for part in parts), default=0),
            np.concatenate([part.below for part in parts])[order],
            np.concatenate([part.above for part in parts])[order],
            np.concatenate([part.sigma for part in parts])[order],
            {name: np.concatenate([part.arrays[name] for part in parts])[order] for name in parts[0].arrays},
        )

    def forecast(self, predict: Predictor, grid: TimeGrid) -> Forecast:
        """The forecast of `keys` on `grid`."""
        return assemble(self.keys, grid, (predict(model, grid) for fit in self.fits for model in fit.models))
