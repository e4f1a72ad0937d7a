"""What the command line refuses without any server: each with one clear message, an exit code, and no traceback."""

from pathlib import Path

import pytest
from tests.elasticsearch_server import free_port
from tests.processes import forewarn

GOOD = "store: sqlite:///f.db\ndetectors: [{name: d, path: data.csv, function: count, time_field: t}]\n"
CLUSTER = "elasticsearch: {hosts: ['http://127.0.0.1:9']}\n"


def refused(tmp_path: Path, text: str, *command: str) -> tuple[int, str]:
    """The exit code and the message of a command with this configuration."""
    (tmp_path / "forewarn.yml").write_text(text)
    done = forewarn(*command, cwd=tmp_path)
    assert "Traceback" not in done.err
    assert done.code != 0
    return done.code, done.err.strip()


@pytest.mark.parametrize(
    ("text", "path", "expected"),
    [
        (GOOD.replace("function: count", "functon: count"), "detectors[0]", "functon"),
        (GOOD + "watch: []\n", "watch", "unknown"),
        (GOOD.replace("function: count", "function: mean"), "detectors[0].function", "mean"),
        (GOOD.replace("function: count", "function: count, bucket: 7m"), "detectors[0].bucket", "day"),
        (GOOD.replace("function: count", "function: avg"), "detectors[0].field", "required"),
        (CLUSTER + GOOD.replace("path: data.csv", "index: a, path: b"), "detectors[0].path", "not both"),
        (GOOD.replace("path: data.csv", "index: a"), "detectors[0].index", "needs the section `elasticsearch`"),
        (GOOD + 'datasource: {listen: "0.0.0.0:8080"}\n', "datasource.tokens", "127.0.0.1"),
        (GOOD + 'datasource: {tokens: ["${NOT_SET_ANYWHERE}"]}\n', "datasource.tokens", "NOT_SET_ANYWHERE"),
        ("detectors: [\n", "line 2", "not valid YAML"),
        (f"detectors: {'[' * 3000}{']' * 3000}\n", "(file)", "is nested deeper than 40 levels"),
    ],
)
@pytest.mark.parametrize("command", ["check", "tick"])
def test_a_bad_configuration_is_refused_with_the_path_of_the_key(
    tmp_path: Path, command: str, text: str, path: str, expected: str
) -> None:
    code, message = refused(tmp_path, text, command)
    assert code == 2
    assert path in message
    assert expected in message
    assert len(message.splitlines()) == 1


def test_a_configuration_that_is_not_there_is_refused_by_its_name(tmp_path: Path) -> None:
    done = forewarn("check", "-c", "nowhere.yml", cwd=tmp_path)
    assert (done.code, done.err.strip()) == (2, "forewarn: nowhere.yml: cannot be read: No such file or directory")
    answered = forewarn("check", "-c", "nowhere.yml", "--json", cwd=tmp_path)
    assert (answered.code, answered.json["error"]) == (2, "ConfigError")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["tick", "--at", "yesterday"], "is neither ISO 8601"),
        (["run", "--from", "2026-01-02", "--to", "2026-01-01"], "--to must lie after --from"),
        (["run", "--to", "2026-01-01"], "--to goes with --from"),
        (["run", "--store", "mongodb://x"], "--store"),
        (["backtest", "--out", "scores"], "Missing argument"),
        (["backtest", "data.csv", "--out", "scores", "--engine", "oracle"], "'oracle' is not one of"),
        (["backtest", "data.csv", "--out", "forewarn.yml"], "Directory 'forewarn.yml' is a file"),
        (["backtest", "data.csv", "--out", "scores", "--incidents-per-week", "nan"], "nan is no number of incidents"),
        (["backtest", "data.csv", "--out", "scores", "--fit-every", "24"], "'24' is not a duration such as 90s"),
        (["backtest", "data.csv", "--out", "scores", "--fit-every", "1s"], "'1s' is not between 1m and 28d"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(tmp_path: Path, command: list[str], message: str) -> None:
    code, said = refused(tmp_path, GOOD, *command)
    assert code == 2
    assert message in said


def test_a_tick_in_the_future_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    code, message = refused(tmp_path, GOOD, "tick", "--at", "2999-01-01")
    assert code == 5
    assert "in the future" in message


def test_a_store_that_is_not_there_is_not_made_to_explain_something(tmp_path: Path) -> None:
    code, message = refused(tmp_path, GOOD, "explain", "some-id")
    assert (code, "f.db does not exist" in message) == (4, True)
    assert [path.name for path in tmp_path.iterdir()] == ["forewarn.yml"]


def test_a_replay_into_a_store_that_is_further_says_why_nothing_happens(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("t,value\n2026-11-01T00:00:00Z,1\n2026-11-01T00:07:00Z,1\n")
    (tmp_path / "forewarn.yml").write_text(GOOD)
    command = ("run", "--from", "2026-11-01", "--to", "2026-11-01T00:30:00")
    first, again = (forewarn(*command, cwd=tmp_path) for _ in range(2))
    assert (first.code, again.code) == (0, 0)
    assert "nothing to replay" not in first.err
    assert "nothing to replay: the store stands at 2026-11-01T00:26:00Z already" in again.err


def test_a_cluster_that_is_down_is_told_apart_as_source_and_as_store(tmp_path: Path) -> None:
    port = free_port()
    text = f"elasticsearch: {{hosts: ['http://127.0.0.1:{port}']}}\ndetectors: [{{name: d, index: metrics, function: count}}]\n"
    for command, expected in (("check", 3), ("tick", 4)):
        code, message = refused(tmp_path, text, command)
        assert code == expected
        assert f"port={port}" in message
        assert len(message.splitlines()) == 1


def test_a_backtest_names_the_files_that_it_cannot_read_and_scores_the_others(tmp_path: Path) -> None:
    bad = {
        "columns.csv": ("time,value\n1,2\n", "has no column 'timestamp'; it has 'time', 'value'"),
        "number.csv": ("timestamp,value\n1,much\n", "line 2: value is no number: 'much'"),
        "time.csv": ("timestamp,value\nnoon,1\n", "a time is neither epoch nor ISO"),
    }
    folder = tmp_path / "in"
    folder.mkdir()
    for name, (content, _) in bad.items():
        (folder / name).write_text(content)
    (folder / "good.csv").write_text("timestamp,value\n" + "".join(f"{1_700_000_000 + 300 * n},{n % 7}\n" for n in range(400)))
    done = forewarn("backtest", folder, "--out", tmp_path / "out", "--processes", "1", "--json")
    assert done.code == 1
    assert done.json["failed"].keys() == bad.keys()
    for name, (_, message) in bad.items():
        assert message in done.json["failed"][name]
        assert name in done.json["failed"][name]
    assert [path.name for path in (tmp_path / "out").rglob("*")] == ["good.csv"]
    assert len((tmp_path / "out" / "good.csv").read_text().splitlines()) == 401


def test_a_backtest_without_input_is_refused(tmp_path: Path) -> None:
    done = forewarn("backtest", tmp_path / "nothing", "--out", tmp_path / "out")
    assert (done.code, "no such file or folder" in done.err) == (3, True)


def test_a_country_without_known_holidays_is_found_before_the_first_fit(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("t,value\n2026-11-01T00:00:00Z,1\n")
    (tmp_path / "forewarn.yml").write_text(GOOD.replace("function: count", "function: count, holidays: [DE-BY, XX, DE-ZZ]"))
    done = forewarn("check", "--json", cwd=tmp_path)
    assert (done.code, [problem["setting"] for problem in done.json["problems"]]) == (1, ["holidays", "holidays"])
    for problem, country in zip(done.json["problems"], ("'XX'", "'DE-ZZ'"), strict=True):
        assert country in problem["why"]
