"""The wire form of arrays + JSON, for models and state blocks: a compressed npz with one JSON member. Never pickle."""

import io
import json
import zlib
from collections.abc import Mapping
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from forewarn.errors import ModelMismatch

_META = "__meta__"


def encode(meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The same meta and arrays always give the same bytes, so that a block's name can be the hash of its content."""
    buffer = io.BytesIO()
    text = json.dumps(meta, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    members = {_META: np.frombuffer(text, dtype=np.uint8)} | {name: arrays[name] for name in sorted(arrays)}
    np.savez_compressed(buffer, allow_pickle=False, **members)
    return buffer.getvalue()


def decode(content: bytes) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The meta and arrays of `encode`; raises ModelMismatch for anything that it did not write."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as members:
            arrays = {name: members[name] for name in members.files}
        meta = json.loads(arrays.pop(_META).tobytes())
    except (ValueError, KeyError, TypeError, OSError, EOFError, RuntimeError, BadZipFile, zlib.error) as error:
        raise ModelMismatch(f"not a block of arrays and JSON: {error}") from error
    if not isinstance(meta, dict):
        raise ModelMismatch("not a block of arrays and JSON: its JSON is no object")
    return meta, arrays
