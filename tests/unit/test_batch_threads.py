"""The batch engine runs on one BLAS thread, and leaves the number of threads as it found it."""

import os
import subprocess
import sys

import pytest
from tests.generated import batch

from forewarn.detector import DAY, HOUR
from forewarn.forecast import ModelSpec
from forewarn.forecasting import batch_threads
from forewarn.forecasting.batch import BatchEngine
from forewarn.forecasting.batch_threads import one_thread

_ASK = """
from forewarn.forecasting.batch_threads import _openblas, one_thread
get, put = _openblas()
put(2)
with one_thread():
    inside = get()
print(inside, get())
try:
    with one_thread():
        raise KeyError
except KeyError:
    print(get())
"""


def test_threads_are_one_inside_and_what_they_were_outside() -> None:
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    done = subprocess.run([sys.executable, "-c", _ASK], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split() == ["1", "2", "2"]


def test_without_a_library_that_is_known_a_fit_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_threads, "_openblas", lambda: None)
    with one_thread():
        history = batch(1, 4 * DAY // HOUR, HOUR, kinds=["smooth"])
    (model,) = BatchEngine().fit(history, ModelSpec())
    assert model.status == ("ok",)
