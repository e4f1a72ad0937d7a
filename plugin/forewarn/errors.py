"""The errors of Forewarn, one root; vendor errors are translated at the edge that met them.

    ForewarnError
      ConfigError               a setting: its path and why it was refused
      SourceError               reading logs or metrics
        SourceUnavailable *       cannot be reached, timed out, or answered in part
        SourceRejected            refused the request: missing index, field that cannot be aggregated, permissions
      StoreError                results and state
        StoreUnavailable *        cannot be reached
        StoreConflict             somebody else committed first (compare-and-set lost)
        StoreRejected             refused the write: schema mismatch, too large, older than the retention
      ModelError                fitting and predicting
        EngineUnavailable         the engine's library cannot be loaded
        ModelMismatch             stored parameters that this version cannot read
      TickRefused               a `now` that no tick may run at
      NotificationFailed *      a target did not take a notification
      RequestError              what a client of the datasource asked for: its field and why (HTTP 400)

Errors marked * are tried again on the next tick. An error carries its data, so that a caller need not parse the text.
"""

import copyreg


class ForewarnError(Exception):
    """Root of all errors that Forewarn raises on purpose."""

    def __reduce__(self) -> tuple[object, ...]:
        """Arrives whole in another process, where a plain Exception would be made anew from its text alone."""
        return copyreg.__newobj__, (type(self), *self.args), dict(self.__dict__)  # type: ignore[attr-defined] # not in typeshed


class ConfigError(ForewarnError):
    """A setting was refused; `path` is the key's path in the file, `why` says what was expected."""

    def __init__(self, path: str, why: str) -> None:
        self.path = path
        self.why = why
        super().__init__(f"{path}: {why}")


class SourceError(ForewarnError):
    """Reading from a source failed; `source` names it (index pattern or path)."""

    def __init__(self, source: str, why: str) -> None:
        self.source = source
        self.why = why
        super().__init__(f"{source}: {why}")


class SourceUnavailable(SourceError):
    """The source cannot be reached, timed out, or gave only part of its answer. Tried again on the next tick."""


class SourceRejected(SourceError):
    """The source refused the request: the index or field is missing, of the wrong type, or not permitted."""


class StoreError(ForewarnError):
    """Reading or writing results or state failed."""


class StoreUnavailable(StoreError):
    """The store cannot be reached. Tried again on the next tick."""


class StoreConflict(StoreError):
    """Another writer committed first; whoever gets this must drop its memory and load again."""


class StoreRejected(StoreError):
    """The store refused a write for good: strict mapping, size limit or retention."""


class ModelError(ForewarnError):
    """Fitting or predicting failed for a reason that is not a property of one series."""


class EngineUnavailable(ModelError):
    """The library behind a forecasting engine cannot be loaded."""


class ModelMismatch(ModelError):
    """Stored parameters were written by an incompatible version or for another specification."""


class TickRefused(ForewarnError):
    """No tick may run at this `now`; the message says which `now` would be accepted."""


class NotificationFailed(ForewarnError):
    """A target did not take a notification. Tried again on the next tick, in order."""

    def __init__(self, target: str, why: str) -> None:
        self.target = target
        self.why = why
        super().__init__(f"{target}: {why}")


class RequestError(ForewarnError):
    """A request of a datasource client was refused; `field` is the parameter, `why` says what was expected."""

    def __init__(self, field: str, why: str) -> None:
        self.field = field
        self.why = why
        super().__init__(f"{field}: {why}")
