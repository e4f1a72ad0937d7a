"""Hypothesis strategies for the nouns that every room is given: keys, grids and batches.

Owns: the strategies, not the assertions. Shapes of series that look like life are in `tests.generated`.
"""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from tests.generated import START

from forewarn.detector import HOUR, MINUTE
from forewarn.series import Float, SeriesBatch, SeriesKey, TimeGrid

STEPS = (MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, HOUR)

names = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)
"""Names of detectors and fields: any printable text, the characters of the printed form among them."""

values = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=12)
"""Values of split fields: any text, "" for a document without the field."""

entities = st.lists(st.tuples(names, values), max_size=3, unique_by=lambda pair: pair[0]).map(tuple)

series_keys = st.builds(SeriesKey, names, entities)

finite = st.floats(min_value=-1e9, max_value=1e9, allow_nan=False, allow_infinity=False, width=64)
"""Values as metrics have them: finite, and far from where float64 loses the sum of a few thousand."""


def key_sets(min_size: int = 0, max_size: int = 5) -> st.SearchStrategy[tuple[SeriesKey, ...]]:
    """Distinct keys of one detector, sorted, as a source returns them."""

    def keys(detector: str, split: list[tuple[tuple[str, str], ...]]) -> tuple[SeriesKey, ...]:
        return tuple(sorted(SeriesKey(detector, entity) for entity in split))

    return st.builds(keys, names, st.lists(entities, min_size=min_size, max_size=max_size, unique=True))


@st.composite
def time_grids(draw: st.DrawFn, min_size: int = 0, max_size: int = 60, steps: tuple[int, ...] = STEPS) -> TimeGrid:
    """Grids near START: any bucket of its week as the first one."""
    step = draw(st.sampled_from(steps))
    offset = draw(st.integers(0, 7 * 24 * HOUR // step))
    return TimeGrid(START + offset * step, step, draw(st.integers(min_size, max_size)))


def rows(shape: tuple[int, int], missing: bool = True) -> st.SearchStrategy[Float]:
    """Values float64 [S, T], NaN among them unless `missing` is False."""
    elements = finite | st.just(np.nan) if missing else finite
    return st_numpy.arrays(np.float64, shape, elements=elements)


@st.composite
def series_batches(
    draw: st.DrawFn, min_series: int = 0, max_series: int = 4, min_size: int = 0, max_size: int = 40, missing: bool = True
) -> SeriesBatch:
    """Batches with distinct sorted keys and NaN in any place; none of the arrays is shared between examples."""
    keys = draw(key_sets(min_series, max_series))
    grid = draw(time_grids(min_size, max_size))
    return SeriesBatch(keys, grid, draw(rows((len(keys), grid.size), missing)))
