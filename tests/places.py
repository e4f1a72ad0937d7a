"""Where a store of a test lies, as text that another process can be given: `sqlite PATH` or `elasticsearch URL PREFIX`."""

from forewarn.config import StoreSettings
from forewarn.connection import ElasticSettings
from forewarn.ports import Store
from forewarn.wiring import build_store


def open_store(place: str) -> Store:
    """A new handle on the store at `place`."""
    kind, *rest = place.split(" ")
    if kind == "sqlite":
        return build_store(StoreSettings("sqlite", rest[0], "forewarn", "month", None), None)
    return build_store(StoreSettings("elasticsearch", None, rest[1], "month", None), ElasticSettings((rest[0],)))
