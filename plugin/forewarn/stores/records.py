"""The stored form of what both stores hold alike: heads, blocks, models, calibrations, explanations.

Owns the size limits and the codecs. Knows no database.
"""

import base64
import json
import math
from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import Final, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from forewarn import blocks
from forewarn.errors import ModelMismatch, StoreRejected
from forewarn.forecast import Calibration, Model
from forewarn.incident import Incident
from forewarn.pattern import Pattern
from forewarn.results import ScoreBlock
from forewarn.series import Float, SeriesKey

Noun = TypeVar("Noun", Incident, Pattern)

MAX_HEAD: Final = 1_000_000
MAX_BLOCK: Final = 5_000_000

_BAND: Final = ("below", "above", "sigma")


def block_name(content: bytes) -> str:
    """The name of a block, the blake2b-128 hex of its content; raises StoreRejected above 5 MB."""
    if len(content) > MAX_BLOCK:
        raise StoreRejected(f"a block holds at most {MAX_BLOCK:,} bytes, this one has {len(content):,}")
    return blake2b(content, digest_size=16).hexdigest()


def checked_block(name: str, content: bytes | None) -> bytes:
    """The content that was found under `name`; raises StoreRejected if there is none or it does not match the name."""
    if content is None:
        raise StoreRejected(f"there is no block {name}")
    if blake2b(content, digest_size=16).hexdigest() != name:
        raise StoreRejected(f"block {name} is damaged: its content does not match its name")
    return content


def head_now(document: bytes) -> int:
    """The `now` of a head, which is a JSON object (or a block with one as its meta) with that integer.

    Raises StoreRejected above 1 MB or where there is none: `committed` could not be answered otherwise.
    """
    if len(document) > MAX_HEAD:
        raise StoreRejected(f"a head holds at most {MAX_HEAD:,} bytes, this one has {len(document):,}")
    try:
        head = blocks.decode(document)[0] if document[:2] == b"PK" else json.loads(document)
    except (ValueError, ModelMismatch) as error:
        raise StoreRejected(f"a head is a JSON object: {error}") from error
    now = head.get("now") if isinstance(head, dict) else None
    if not isinstance(now, int) or isinstance(now, bool):
        raise StoreRejected("a head is a JSON object with an integer `now`")
    return now


def _plain(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} cannot be stored as JSON")


_encoder = msgspec.json.Encoder(enc_hook=_plain)


def to_json(value: object) -> bytes:
    """UTF-8 JSON; NaN and infinities become null. Raises StoreRejected for what has no JSON form."""
    try:
        return _encoder.encode(value)
    except (TypeError, ValueError) as error:
        raise StoreRejected(f"cannot be stored as JSON: {error}") from error


def encode_noun(noun: Incident | Pattern) -> bytes:
    """An incident or a pattern as one JSON object, exactly: what is no finite number stands as the text "nan" or "inf"."""
    return to_json(_with_words(msgspec.to_builtins(noun, enc_hook=_plain)))


def decode_noun(json_text: bytes | str, noun: type[Noun]) -> Noun:
    """The value of `encode_noun`; raises ModelMismatch for anything else."""
    try:
        return msgspec.json.decode(json_text, type=noun, strict=False)  # not strict: a number may stand as a text
    except msgspec.MsgspecError as error:
        raise ModelMismatch(f"a stored {noun.__name__} cannot be read: {error}") from error


def _with_words(item: object) -> object:
    if isinstance(item, float):
        return item if math.isfinite(item) else str(item)
    if isinstance(item, dict):
        return {name: _with_words(member) for name, member in item.items()}
    return [_with_words(member) for member in item] if isinstance(item, (list, tuple)) else item


def to_base64(content: bytes) -> str:
    """The text form of a binary field."""
    return base64.b64encode(content).decode("ascii")


def from_base64(text: str) -> bytes:
    """The content of a binary field."""
    return base64.b64decode(text)


def finite(values: Float) -> Float:
    """The values with NaN in place of infinities: neither store keeps a number that is none."""
    return values if not np.isinf(values).any() else np.where(np.isfinite(values), values, np.nan)


def published(block: ScoreBlock) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns [N] of the buckets that are published: those with an actual value or a score, by row, then time."""
    rows, columns = np.nonzero(~(np.isnan(block.actual.values) & np.isnan(block.scores.score)))
    return rows, columns


def encode_model(model: Model) -> bytes:
    """A model as arrays + JSON."""
    meta = {
        "engine": model.engine,
        "keys": [str(key) for key in model.keys],
        "window": list(model.window),
        "step": model.step,
        "layout": model.layout,
        "status": list(model.status),
    }
    return blocks.encode(meta, model.arrays)


def decode_model(content: bytes) -> Model:
    """The model of `encode_model`; raises ModelMismatch for anything else."""
    meta, arrays = blocks.decode(content)
    try:
        return Model(
            engine=meta["engine"],
            keys=_keys(meta["keys"]),
            window=(meta["window"][0], meta["window"][1]),
            step=meta["step"],
            layout=meta["layout"],
            arrays=arrays,
            status=tuple(meta["status"]),
        )
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ModelMismatch(f"not a stored model: {error!r}") from error


def encode_calibration(calibration: Calibration) -> bytes:
    """A calibration as arrays + JSON; the scorer's own arrays keep their names behind `scorer.`."""
    arrays = {name: getattr(calibration, name) for name in _BAND}
    arrays |= {f"scorer.{name}": array for name, array in calibration.arrays.items()}
    return blocks.encode({"keys": [str(key) for key in calibration.keys], "at": calibration.at}, arrays)


def decode_calibration(content: bytes) -> Calibration:
    """The calibration of `encode_calibration`; raises ModelMismatch for anything else."""
    meta, arrays = blocks.decode(content)
    try:
        below, above, sigma = (arrays.pop(name) for name in _BAND)
        own = {name.removeprefix("scorer."): array for name, array in arrays.items()}
        return Calibration(_keys(meta["keys"]), meta["at"], below, above, sigma, own)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ModelMismatch(f"not a stored calibration: {error!r}") from error


@lru_cache(maxsize=100_000)
def parse_key(text: str) -> SeriesKey:
    """`SeriesKey.parse`, remembered: listings parse the same thousands of keys again and again."""
    return SeriesKey.parse(text)


def _keys(texts: Iterable[str]) -> tuple[SeriesKey, ...]:
    return tuple(parse_key(text) for text in texts)
