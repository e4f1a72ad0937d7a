"""Blocks are the same bytes for the same content and refuse what is none; errors form one tree and carry their data."""

import inspect
import io
import pickle
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from forewarn import errors
from forewarn.blocks import decode, encode
from forewarn.errors import ConfigError, ForewarnError, ModelMismatch, NotificationFailed, RequestError, SourceError

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
arrays = st_numpy.arrays(
    st.sampled_from([np.float64, np.float32, np.int64, np.int8, np.bool_]),
    st_numpy.array_shapes(min_dims=1, max_dims=2, max_side=4),
)
names = st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True)


@given(st.dictionaries(st.text(), json_values, max_size=4), st.dictionaries(names, arrays, max_size=3))
def test_a_block_is_read_back_as_it_was_written(meta: dict[str, object], content: dict[str, np.ndarray]) -> None:
    again, back = decode(encode(meta, content))
    assert again == meta
    assert sorted(back) == sorted(content)
    for name, array in content.items():
        assert back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name], array)


def test_the_same_content_gives_the_same_bytes_in_whatever_order_it_was_put_together() -> None:
    one, two = np.arange(3), np.zeros((2, 2))
    assert encode({"a": 1, "b": 2}, {"x": one, "y": two}) == encode({"b": 2, "a": 1}, {"y": two, "x": one})


def npy() -> bytes:
    file = io.BytesIO()
    np.save(file, np.arange(3))
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [b"", b"nonsense", pickle.dumps({"a": 1}), npy(), encode({"a": 1}, {"x": np.arange(9)})[:-30]],
    ids=["empty", "text", "pickle", "npy", "cut"],
)
def test_what_is_no_block_is_refused(content: bytes) -> None:
    with pytest.raises(ModelMismatch, match="not a block"):
        decode(content)


_BLOCK = encode({"a": [1, 2, 3]}, {"x": np.arange(40, dtype=np.float64)})


@given(st.integers(0, len(_BLOCK) - 1), st.integers(1, 255))
def test_a_damaged_block_is_refused_or_unharmed(position: int, change: int) -> None:
    damaged = bytearray(_BLOCK)
    damaged[position] ^= change
    try:
        meta, content = decode(bytes(damaged))
    except ModelMismatch:
        return
    assert meta == {"a": [1, 2, 3]}
    for array in content.values():
        np.testing.assert_array_equal(array, np.arange(40))


def test_an_array_of_objects_is_neither_written_nor_read() -> None:
    with pytest.raises(ValueError, match="pickle"):
        encode({}, {"x": np.array([object()])})


def test_a_number_that_json_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        encode({"a": float("nan")}, {})


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes() -> None:
    """Indentation in the docstring is inheritance."""
    parents: dict[str, str] = {}
    path: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        if not (match := re.match(r"^( {4,})([A-Z]\w+)", line)):
            continue
        depth = len(match.group(1))
        path = [(d, name) for d, name in path if d < depth]
        parents[match.group(2)] = path[-1][1] if path else "Exception"
        path.append((depth, match.group(2)))
    classes = {name: kind.__base__.__name__ for name, kind in inspect.getmembers(errors, inspect.isclass)}
    assert parents == classes
    assert len(parents) > 10


@pytest.mark.parametrize(
    ("error", "data"),
    [
        (
            ConfigError("detectors[0].bucket", "expected a duration"),
            {"path": "detectors[0].bucket", "why": "expected a duration"},
        ),
        (SourceError("logs-*", "no such index"), {"source": "logs-*", "why": "no such index"}),
        (NotificationFailed("chat", "503"), {"target": "chat", "why": "503"}),
        (RequestError("from", "later than to"), {"field": "from", "why": "later than to"}),
    ],
)
def test_an_error_carries_its_data_and_says_it(error: ForewarnError, data: dict[str, str]) -> None:
    assert {name: getattr(error, name) for name in data} == data
    assert str(error) == ": ".join(data.values())
