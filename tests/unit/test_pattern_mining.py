"""What becomes of lines: their shapes, what names a structured or long message, what is redacted, and where mining gives up."""

import numpy as np
import pytest

from forewarn.detector import Selection
from forewarn.pattern import LogLine, LogPage, LogStream, Mined
from forewarn.patterns.masking import Masker
from forewarn.patterns.miner import PatternMiner
from forewarn.patterns.redaction import Redaction
from forewarn.patterns.tally import BUDGET
from forewarn.series import SeriesKey, TimeGrid

GRID = TimeGrid(0, 60_000, 2)
PLAIN = LogStream("app", Selection(path="x"), split_by=("service.name",))
TRACE = """Payment failed for order 17
java.lang.IllegalStateException: no connection
\tat shop.payments.Pool.take(Pool.java:41)
\tat shop.payments.Api.pay(Api.java:12)
Caused by: java.net.SocketTimeoutException: timed out after 500 ms
\tat java.base/java.net.Socket.connect(Socket.java:600)
\t... 12 more"""
PYTHON = """Traceback (most recent call last):
  File "/app/shop.py", line 7, in pay
    raise ValueError("no")
shop.errors.PaymentError: card 4 refused"""


def mined(*messages: str, stream: LogStream = PLAIN, level: str = "") -> Mined:
    lines = tuple(LogLine(number, ("web",), level, message) for number, message in enumerate(messages))
    return PatternMiner().mine(stream, stream.name, [LogPage(lines, None)], GRID)


def texts(*messages: str) -> list[str]:
    return sorted(pattern.text for pattern in mined(*messages).patterns.values())


@pytest.mark.parametrize(
    ("message", "shape"),
    [
        ("GET http://shop:80/cart?id=7 took 12 ms", "GET <*> took <*>"),
        ("user 0af3-77 logged in", "user <*> logged in"),
        ("request 123e4567-e89b-12d3-a456-426614174000 done", "request <*> done"),
        ("link aa:bb:0c:dd:ee:0f up", "link <*> up"),
        ("connected to db-1.internal:5432", "connected to <*>"),
        ("block 0xdeadbeef freed, cafebabe kept", "block <*> freed, <*> kept"),
        ("open /var/log/app/x.log failed", "open <*> failed"),
        ("at Mon, 12 Jan 2026 10:11:12 it began", "at <*> it began"),
        ("cached=true size=None", "cached=<*> size=<*>"),
        ("used 97.5% of 12 GiB in 3s", "used <*> of <*> in <*>s"),
        ("10.1.2.3, 10.1.2.4; 10.1.2.5 left", "<*> left"),
        ("2026-01-02 03:04:05,678 WARN [main] slow", "<*> WARN [main] slow"),
        ("VM Paused", "VM Paused"),
        ("  many\t blanks   here ", "many blanks here"),
        ("größer als 5", "größer als <*>"),
        ("x" * 300 + " end", "<*> end"),
    ],
)
def test_what_differs_between_lines_of_one_statement_is_masked(message: str, shape: str) -> None:
    assert Masker().shape(message) == shape
    assert Masker().shapes([message, message]) == [shape, shape]


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ('{"msg": "user 7 logged in", "ts": 1, "user": "jo"}', "user <*> logged in"),
        ('{"time": "x", "log": {"level": "warn"}, "message": "slow query 3 ms"}', "slow query <*>"),
        ('{"b": 1, "a": {"c": 2}}', "{a, b}"),
        ('{"msg": "cut off', '{"msg": "cut off'),
        ('{"msg": "a\\nb"}', "a"),
        ('time=2026-01-01T00:00:00Z level=error msg="no route to 10.0.0.1" caller=x.go:7', "no route to <*>"),
        ("level=info method=GET status=200 took=3ms", "{level, method, status, took}"),
        ("cart id=7 checked out total=12", "cart id=<*> checked out total=<*>"),
        (TRACE, "Payment failed for order <*> | java.net.SocketTimeoutException"),
        (PYTHON, "Traceback (most recent call last): | shop.errors.PaymentError"),
        ("SELECT a\nFROM b\nWHERE c", "SELECT a"),
        ("\x1b[31mERROR\x1b[0m disk full", "ERROR disk full"),
    ],
)
def test_a_structured_or_long_message_is_named_by_what_it_says(message: str, text: str) -> None:
    assert texts(message) == [text]


@pytest.mark.parametrize("message", ["", "   ", "12345", "-----", "10.0.0.1 10.0.0.2", "\x00\x01\x02", "<*> <*>", "{}"])
def test_lines_without_words_are_counted_and_not_told_apart(message: str) -> None:
    found = mined(message, message)
    assert found.patterns == {}
    assert found.counts.keys == (SeriesKey("app", (("service.name", "web"), ("pattern", "other"))),)
    np.testing.assert_array_equal(found.counts.values, [[2.0, np.nan]])


def test_levels_and_services_are_namespaces_of_their_own() -> None:
    lines = tuple(
        LogLine(0, (service, "h"), level, "disk full") for service in ("web", "db") for level in ("WARN", "warning", "error")
    )
    stream = LogStream("app", Selection(path="x"), split_by=("service.name", "host.name"), level="log.level")
    patterns = PatternMiner().mine(stream, "app", [LogPage(lines, None)], GRID).patterns.values()
    assert sorted((one.namespace, one.level, one.total) for one in patterns) == [
        (("app", "db"), "error", 1),
        (("app", "db"), "warn", 2),
        (("app", "web"), "error", 1),
        (("app", "web"), "warn", 2),
    ]


def test_a_pattern_is_the_same_on_every_host_of_a_service() -> None:
    lines = tuple(LogLine(number, ("web", f"h{number}"), "", "disk full") for number in range(3))
    stream = LogStream("app", Selection(path="x"), split_by=("service.name", "host.name"))
    found = PatternMiner().mine(stream, "app", [LogPage(lines, None)], GRID)
    (pattern,) = found.patterns.values()
    assert (pattern.total, pattern.first_seen, pattern.last_seen, len(found.counts.keys)) == (3, 0, 2, 3)


def test_without_a_level_field_the_level_is_what_the_line_says() -> None:
    (text,) = mined("2026-01-02 03:04:05 ERROR [main] disk full").patterns.values()
    (structured,) = mined('{"level": "warning", "msg": "disk full"}').patterns.values()
    (none,) = mined("an error happened").patterns.values()
    assert (text.level, structured.level, none.level) == ("error", "warn", "")


def test_lines_outside_the_grid_are_not_counted() -> None:
    lines = tuple(LogLine(time, ("web",), "", "disk full") for time in (-1, 0, GRID.end - 1, GRID.end))
    found = PatternMiner().mine(PLAIN, "app", [LogPage(lines, None)], GRID)
    np.testing.assert_array_equal(found.counts.values, [[1.0, 1.0]])


def test_nothing_mined_is_an_empty_batch() -> None:
    found = PatternMiner().mine(PLAIN, "app", [], GRID)
    assert (found.counts.keys, found.counts.values.shape, found.patterns, found.warnings) == ((), (0, 2), {}, ())


def word(number: int) -> str:
    return "".join(chr(ord("g") + int(digit)) for digit in str(number))


def test_past_its_budget_a_namespace_counts_the_later_patterns_together_and_says_so() -> None:
    messages = [f"word {word(number)}x" for number in range(BUDGET + 50)] * 2
    found = mined(*messages)
    assert len(found.patterns) == BUDGET
    assert f"word {word(0)}x" in {one.text for one in found.patterns.values()}
    assert np.nansum(found.counts.values) == len(messages)
    (other,) = [row for row, key in enumerate(found.counts.keys) if key.entity[-1][1] == "other"]
    assert np.nansum(found.counts.values[other]) == 100
    assert any("more than 2000 patterns" in warning and warning.startswith("app/web:") for warning in found.warnings)


def test_a_field_that_holds_no_log_lines_is_named() -> None:
    (unique,) = mined(*(f"title {word(number)}x" for number in range(120))).warnings
    (wordless,) = mined(*["12 34"] * 120).warnings
    assert "120 patterns in 120 lines: 'message' does not look like log lines" in unique
    assert "120 of 120 lines have no words; is 'message' the right field?" in wordless
    assert mined(*["user 7 logged in", "disk full"] * 60).warnings == ()


@pytest.mark.parametrize(
    ("message", "kept", "gone"),
    [
        ("login password=hunter2 ok", "password=", "hunter2"),
        ('{"password": "hun ter2", "user": "jo"}', '"user": "jo"', "hun ter2"),
        ("db.password: hunter2", "db.password: ", "hunter2"),
        ("GET /x?api_key=abcDEF&y=1", "y=1", "abcDEF"),
        ("Authorization: Bearer abc.def-ghi", "Authorization: ", "abc.def-ghi"),
        ("authorization=Basic dXNlcjpwYXNz", "authorization=", "dXNlcjpwYXNz"),
        ("sent bearer abcdef123456 to", "sent bearer ", "abcdef123456"),
        ("jwt is eyJhbGciOi.eyJzdWIiOi.sig-na_ture!", "jwt is ", "eyJzdWIiOi"),
        ("mail to jo.doe+x@shop.example.com sent", "mail to ", "jo.doe"),
        ("card 4111 1111 1111 1111 declined", "declined", "1111"),
        ("card 4111-1111-1111-1111 declined", "declined", "1111"),
        ("redis://admin:s3cret@cache:6379/0", "@cache:6379/0", "s3cret"),
        ("key AKIAIOSFODNN7EXAMPLE used", "used", "AKIAIOSFODNN7EXAMPLE"),
        ("Set-Cookie: sid=abc123; Path=/", "Path=/", "abc123"),
        ("SESSION_ID=deadbeef next", "next", "deadbeef"),
    ],
)
def test_secrets_do_not_reach_examples_or_texts(message: str, kept: str, gone: str) -> None:
    example = Redaction().example(message)
    assert kept in example
    assert gone not in example
    assert "[redacted]" in example
    (pattern,) = mined(f"message: {message}").patterns.values()
    assert gone not in pattern.example + pattern.text


@pytest.mark.parametrize("message", ["user 12345 took 250 ms", "monkey business at 10:00", "tokens: 7 of 9 left", "a-b-c key"])
def test_ordinary_lines_stay_as_they_are(message: str) -> None:
    assert Redaction().example(message) in (message, "tokens: [redacted] of 9 left")


def test_a_user_may_redact_more() -> None:
    stream = LogStream("app", Selection(path="x"), split_by=("service.name",), redact=(r"ticket \w+", "Jo"))
    (pattern,) = mined("Jo opened ticket abc", stream=stream).patterns.values()
    assert pattern.example == "[redacted] opened [redacted]"
    assert pattern.text == "[redacted] opened [redacted]"


def test_redaction_does_not_change_ids() -> None:
    stream = LogStream("app", Selection(path="x"), split_by=("service.name",), redact=("Jo",))
    assert mined("Jo is here").patterns.keys() == mined("Jo is here", stream=stream).patterns.keys()


def test_an_example_is_one_short_line_that_can_be_stored() -> None:
    example = Redaction().example("first\r\n\tsecond\x00\x1b[0m <script>\ud800" + "x" * 600)
    assert example.startswith("first ⏎  second  <script>?")
    assert len(example) == 500
    assert example.endswith("…")


def test_the_example_is_the_earliest_line_and_of_those_the_smallest() -> None:
    lines = [
        LogLine(5, ("web",), "", "user 3 left"),
        LogLine(2, ("web",), "", "user 9 left"),
        LogLine(2, ("web",), "", "user 4 left"),
    ]
    (pattern,) = PatternMiner().mine(PLAIN, "app", [LogPage(tuple(lines), None)], GRID).patterns.values()
    assert (pattern.example, pattern.first_seen, pattern.last_seen) == ("user 4 left", 2, 5)
