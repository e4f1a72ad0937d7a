"""The file as plain values: strict YAML, and variables that can change no structure."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forewarn.config.document import read_document
from forewarn.errors import ConfigError


def value(text: str, **environ: str) -> Any:
    return read_document(f"key: {text}\n", environ)["key"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("NO", "NO"),  # Norway, not false
        ("on", "on"),
        ("yes", "yes"),
        ("1:30", "1:30"),
        ("2026-01-01", "2026-01-01"),
        ("007", "007"),
        ("0x10", "0x10"),
        ("true", True),
        ("False", False),
        ("12", 12),
        ("-3", -3),
        ("0.5", 0.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("", None),
        ("~", None),
        ("null", None),
        ("nan", "nan"),
        ("'12'", "12"),
    ],
)
def test_plain_words_are_what_they_look_like(text: str, expected: Any) -> None:
    assert value(text) == expected
    assert type(value(text)) is type(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("'${A}'", "one"),
        ("'x-${A}-${B}'", "x-one-two"),
        ("'${MISSING:-three}'", "three"),
        ("'${EMPTY:-three}'", "three"),
        ("'${MISSING:-}'", ""),
        ("'${EMPTY}'", ""),
        ("'${A:-three}'", "one"),
        ("'$${A}'", "${A}"),
        ("'costs $5'", "costs $5"),
        ("'/^error$/'", "/^error$/"),
        ("'${A}$$'", "one$"),
    ],
)
def test_variables_are_put_into_text(text: str, expected: str) -> None:
    assert value(text, A="one", B="two", EMPTY="") == expected


def test_a_value_of_the_environment_changes_no_structure_and_is_not_expanded_again() -> None:
    hostile = "x}\n  other: [1, 2] # ${HOME} $$"
    assert value("['${A}', {inner: '${A}'}]", A=hostile) == [hostile, {"inner": hostile}]


@settings(deadline=None)
@given(st.text(alphabet=st.characters(exclude_characters="\x00"), max_size=40))
def test_any_value_of_the_environment_arrives_as_it_is(content: str) -> None:
    assert str(value("'${A}'", A=content)) == content


def test_keys_are_not_substituted() -> None:
    assert read_document("'${A}': 1", {"A": "one"}) == {"${A}": 1}


def test_merged_mappings_may_override() -> None:
    document = read_document("a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}\n", {})
    assert document["b"] == {"x": 3, "y": 2}


@pytest.mark.parametrize(
    ("text", "path", "why"),
    [
        ("", "(file)", "is empty"),
        ("# only a comment\n", "(file)", "is empty"),
        ("- a\n- b\n", "(file)", "expected settings"),
        ("just text", "(file)", "expected settings"),
        ("a: 1\nb:\n  c: 2\n  d: 3\n  c: 4\n", "b.c", "is given twice, on lines 3 and 5"),
        ("a:\n  - x: 1\n    x: 2\n", "a[0].x", "is given twice, on lines 2 and 3"),
        ("a: 1\na: 2\n", "a", "is given twice, on lines 1 and 2"),
        ("a: [1, 2\nb: 3\n", "line 2, column 2", "not valid YAML"),
        ("a: 'open\n", "line 2, column 1", "not valid YAML"),
        ("a:\n\t- b\n", "line 2, column 1", "not valid YAML"),
        ("a: 1\n---\nb: 2\n", "line 2, column 1", "not valid YAML"),
        ("a: \x07\n", "(file)", "not valid YAML"),
        ("1: a\n", "(file)", "the key '1' on line 1 is not text; put it in quotes"),
        ("a: {true: b}\n", "a", "the key 'true' on line 1 is not text"),
        ("? [a, b]\n: c\n", "(file)", "the key on line 1 is not text"),
        (
            "a: !!python/object:os.system x\n",
            "a",
            "the tag tag:yaml.org,2002:python/object:os.system on line 1 is not supported",
        ),
        ("a: !secret x\n", "a", "the tag !secret on line 1 is not supported"),
        ("a: !!int x\n", "(file)", "not valid YAML"),
        ("a: *nobody\n", "line 1, column 4", "found undefined alias"),
        ("a: &a [*a]\n", "a" + "[0]" * 40, "is nested deeper than 40 levels"),
        ("a: '${NOWHERE}'\n", "a", "the environment variable NOWHERE is not set"),
        ("a: [{b: '${NOWHERE}'}]\n", "a[0].b", "the environment variable NOWHERE is not set"),
        ("a: '${}'\n", "a", "expected ${NAME}"),
        ("a: '${9x}'\n", "a", "expected ${NAME}"),
        ("a: '${OPEN'\n", "a", "expected ${NAME}"),
        ("a: '${A-b}'\n", "a", "expected ${NAME}"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(text: str, path: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_document(text, {})
    assert caught.value.path == path
    assert why in caught.value.why
