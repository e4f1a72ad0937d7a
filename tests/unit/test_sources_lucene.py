"""What the query languages of file sources read, and that everything else is refused by name."""

from typing import Any

import pytest

from forewarn.sources.file_conditions import (
    All,
    Between,
    Condition,
    Equals,
    Exists,
    Like,
    Not,
    QueryRefused,
    Some,
    conditions_of,
)
from forewarn.sources.lucene import parse

READ: dict[str, Condition] = {
    "a:x": Equals("a", "x"),
    "service.environment: production": Equals("service.environment", "production"),
    '"x y":z'.replace('"x y"', "x\\ y"): Equals("x y", "z"),
    'a:"x AND \\"y\\""': Equals("a", 'x AND "y"'),
    "a:x\\*": Equals("a", "x*"),
    "a:x*y?": Like("a", ((False, "x"), (True, "*"), (False, "y"), (True, "?"))),
    'a:"x*"': Equals("a", "x*"),
    "a:*": Exists("a"),
    "_exists_:a.b": Exists("a.b"),
    "*:*": All(),
    "*": All(),
    "a:[1 TO 5}": Between("a", "1", "5", with_high=False),
    'a:{"b c" TO *]': Between("a", "b c", None, with_low=False),
    "a:[* TO *]": Exists("a"),
    "a:>=5": Between("a", "5", None),
    "a:<5": Between("a", None, "5", with_high=False),
    "@timestamp:[2026-01-01T00:00:00Z TO *]": Between("@timestamp", "2026-01-01T00:00:00Z", None),
    "a:(x OR y)": Some((Equals("a", "x"), Equals("a", "y"))),
    "a:x b:y": Some((Equals("a", "x"), Equals("b", "y"))),
    "a:x AND NOT b:y": All((Equals("a", "x"), Not(Equals("b", "y")))),
    "a:x OR b:y AND c:z": All((Equals("b", "y"), Equals("c", "z"))),
    "NOT a:x": Not(Equals("a", "x")),
    "-a:x": Not(Equals("a", "x")),
    "a:AND\\ x": Equals("a", "AND x"),
    "a:b-c+d/".removesuffix("/"): Equals("a", "b-c+d"),
}


@pytest.mark.parametrize("query", READ)
def test_lucene_is_read(query: str) -> None:
    assert parse(query) == READ[query]


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("production", "no field"), ('"production"', "no field"), ("(x OR a:y)", "no field"), ("a:x y", "quotes"),
        ("a:(x y)", "quotes"), ("a:x~2", "fuzzy"), ('a:"x y"~3', "fuzzy"), ("a:x^2", "boost"), ("(a:x)^2", "boost"),
        ("a:/x.*/", "regular"), ("a:x/y", "regular"), ("a.*:x", "field names"), ("a:(x", "parenthesis"), ("a:x)", "unexpected"),
        ('a:"x', "not closed"), ("a:[1 TO 2", "not closed"), ("a:[1 2]", "range"), ("a:", "end"), ("a:x AND", "end"),
        ("AND a:x", "value"), ("a:-5", "quotes"), ("a: - 5", "right before"), ("a:b:c", "field of a field"),
        ('a:">5"', "quotes"), ("()", "condition"),
    ],
)  # fmt: skip
def test_what_lucene_would_mean_and_files_cannot_is_refused_with_a_reason(query: str, named: str) -> None:
    with pytest.raises(QueryRefused, match=named):
        parse(query)


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"match": {"a": "x"}}, "match"), ({"prefix": {"a": "x"}}, "prefix"), ({"nested": {}}, "nested"),
        ({"term": {"a": "x"}, "exists": {"field": "b"}}, "one key"),
        ({"term": {"a": {"value": "x", "case_insensitive": True}}}, "case_insensitive"),
        ({"term": {"a": ["x"]}}, "term.a"), ({"terms": {"a": "x"}}, "list"), ({"terms": {"a": {"index": "i"}}}, "list"),
        ({"range": {"a": {"gte": 1, "format": "epoch_second"}}}, "format"), ({"range": {"a": {"from": 1}}}, "from"),
        ({"range": {"a": {"gt": 1, "gte": 2}}}, "one bound"), ({"bool": {"must": [], "boost": 2}}, "boost"),
        ({"bool": {"should": [{"match_all": {}}], "minimum_should_match": "75%"}}, "minimum_should_match"),
        ({"bool": {"must": [{"fuzzy": {"a": "x"}}]}}, "fuzzy"), ({"match_all": {"boost": 1}}, "boost"),
        ({"query_string": {"query": "x"}}, "no field"),
        ({"query_string": {"query": "a:x", "default_operator": "AND"}}, "default_operator"),
        ({"exists": {}}, "exists"), ({"bool": [1]}, "mapping"),
    ],
)  # fmt: skip
def test_query_dsl_that_files_cannot_be_searched_by_is_refused_by_name(query: dict[str, Any], named: str) -> None:
    with pytest.raises(QueryRefused, match=named):
        conditions_of(query, parse)


def test_no_query_is_no_condition() -> None:
    for nothing in (None, "", {}):
        assert conditions_of(nothing, parse) == All()
