"""Without the data nothing here may pass: the fixtures fail with what is missing."""

from pathlib import Path

import pytest
from tests.accuracy import corpus


@pytest.fixture(scope="session")
def accuracy_data() -> Path:
    """The unpacked accuracy data."""
    try:
        return corpus.data()
    except corpus.DataMissing as missing:
        pytest.fail(str(missing), pytrace=False)
