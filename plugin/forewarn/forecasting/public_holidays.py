"""The dates of public holidays, as plain data for a model's layout.

Owns: the only use of the `holidays` package (it comes with prophet), imported on use. Predicting never needs it: the
dates are in the layout.
"""

from datetime import date
from functools import lru_cache

from forewarn.errors import EngineUnavailable, ModelError


@lru_cache(maxsize=256)
def holiday_days(countries: tuple[str, ...], first_year: int, last_year: int) -> tuple[tuple[str, tuple[date, ...]], ...]:
    """(name, its days) in the order of the names, for ISO countries ("DE") or their parts ("DE-BY"), years inclusive.

    With several countries a name carries its country, since "Constitution Day" is another day elsewhere.
    Raises ModelError for a country that the package does not know.
    """
    try:
        import holidays  # noqa: PLC0415 - loads for a quarter of a second; only fits with holidays need it
    except ImportError as error:
        raise EngineUnavailable(f"the package holidays cannot be loaded: {error}") from error
    days: dict[str, set[date]] = {}
    for country in countries:
        code, _, part = country.partition("-")
        try:
            # English names as in Prophet's own holiday tables; a country without them keeps its own language.
            found = holidays.country_holidays(
                code, subdiv=part or None, years=range(first_year, last_year + 1), expand=False, language="en_US"
            )
        except (NotImplementedError, AttributeError) as error:  # how the holidays package says that it knows no such country
            raise ModelError(f"no holidays are known for {country!r}: {error}") from error
        for day in found:
            for name in found.get_list(day):
                days.setdefault(f"{country}: {name}" if len(countries) > 1 else name, set()).add(day)
    return tuple((name, tuple(sorted(days[name]))) for name in sorted(days))
