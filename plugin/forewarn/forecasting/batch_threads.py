"""One BLAS thread while a batch is fitted: products of a few dozen columns get 4 to 20 times slower when threads share them.

Owns: the number of threads of the OpenBLAS that NumPy's wheels bring along. With any other BLAS (or none found) nothing is
changed; there OMP_NUM_THREADS and its kin, set before the process starts, do the same.
"""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np

_FOLDERS: Final = ("../numpy.libs", ".libs", ".dylibs")
"""Where wheels of Linux, Windows and macOS keep their libraries, from the package's folder."""
_NAMES: Final = (
    ("scipy_openblas_get_num_threads64_", "scipy_openblas_set_num_threads64_"),
    ("openblas_get_num_threads64_", "openblas_set_num_threads64_"),
    ("openblas_get_num_threads", "openblas_set_num_threads"),
)


@contextmanager
def one_thread() -> Iterator[None]:
    """Runs its body with one BLAS thread for the whole process, and puts the number back afterwards."""
    found = _openblas()
    if found is None:
        yield
        return
    get, put = found
    before = get()
    put(1)
    try:
        yield
    finally:
        put(before)


@cache
def _openblas() -> tuple[Callable[[], int], Callable[[int], object]] | None:
    """Reads and sets the number of threads of the library that NumPy has loaded; None if it is not one that is known."""
    package = Path(np.__file__).parent
    for folder in _FOLDERS:
        for file in sorted((package / folder).glob("*openblas*")):
            try:
                library = ctypes.CDLL(str(file.resolve()))  # the one in memory: a library is loaded once per file
            except OSError:
                continue
            for get, put in _NAMES:
                if hasattr(library, get) and hasattr(library, put):
                    return getattr(library, get), getattr(library, put)
    return None
