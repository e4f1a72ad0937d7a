"""Errors of worker processes arrive whole: type, message and data."""

import copy
from multiprocessing.reduction import ForkingPickler

import pytest

from forewarn import errors

EVERY = [
    errors.ConfigError("detectors[0].bucket", "expected a duration"),
    errors.SourceUnavailable("metrics-*", "timed out"),
    errors.SourceRejected("data.csv", "has no column 'value'"),
    errors.StoreConflict("somebody else was first"),
    errors.ModelError("no engine"),
    errors.TickRefused("too late"),
    errors.NotificationFailed("chat", "answered 500"),
    errors.RequestError("from", "is missing"),
]


@pytest.mark.parametrize("error", EVERY, ids=lambda error: type(error).__name__)
def test_an_error_arrives_whole(error: errors.ForewarnError) -> None:
    arrived = ForkingPickler.loads(ForkingPickler.dumps(error))
    assert type(arrived) is type(error)
    assert str(arrived) == str(error)
    assert vars(arrived) == vars(error)
    assert str(copy.copy(error)) == str(error)
