"""Rows in, scores out: which row gets which score, and which files are one series."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tests.generated import START, generate

from forewarn.backtest import FIRST_ROWS, learn_step, score_rows
from forewarn.backtest_files import Job, find_jobs, parse_times, run_job
from forewarn.cli import main
from forewarn.detector import HOUR, MINUTE, Detector, Selection
from forewarn.errors import SourceRejected
from forewarn.series import Float
from forewarn.wiring import backtest_rooms

STEP = 30 * MINUTE
DETECTOR = Detector("backtest", Selection(path="backtest"), "avg", "value")


@pytest.fixture(scope="module")
def line() -> tuple[np.ndarray, Float]:
    """Ten days of a smooth series."""
    values = generate("smooth", np.random.default_rng(5), 480, STEP)
    return START + STEP * np.arange(480), values


def write(path: Path, times: np.ndarray, values: Float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = zip((times // 1000).tolist(), values.tolist(), strict=True)
    path.write_text("timestamp,value\n" + "".join(f"{time},{'' if value != value else value}\n" for time, value in rows))  # noqa: PLR0124 - NaN


def scores_of(path: Path) -> list[str]:
    with path.open(newline="") as file:
        return [row["score"] for row in csv.DictReader(file)]


def test_a_row_that_comes_again_is_scored_and_changes_nothing(line: tuple[np.ndarray, Float]) -> None:
    times, values = line
    plain = score_rows(times, values, DETECTOR, backtest_rooms)
    again = score_rows(np.insert(times, 400, times[399]), np.insert(values, 400, values[399] * 20), DETECTOR, backtest_rooms)
    assert again.score[400] > 3 > plain.score[399]
    np.testing.assert_array_equal(np.delete(again.score, 400), plain.score)
    np.testing.assert_array_equal(np.delete(again.expected, 400), plain.expected)


def test_a_late_row_is_scored_in_its_bucket_and_changes_nothing(line: tuple[np.ndarray, Float]) -> None:
    times, values = line
    without = score_rows(np.delete(times, 399), np.delete(values, 399), DETECTOR, backtest_rooms)
    order = np.r_[:399, 400:405, 399, 405:480]
    late = score_rows(times[order], values[order], DETECTOR, backtest_rooms)
    assert np.isfinite(late.score[404])
    np.testing.assert_array_equal(np.delete(late.score, 404), without.score)


def test_rows_without_a_value_and_the_first_ones_are_not_scored(line: tuple[np.ndarray, Float]) -> None:
    times, values = line
    holes = values.copy()
    holes[[200, 201, 470]] = np.nan
    scored = score_rows(times, holes, DETECTOR, backtest_rooms).score
    assert np.isnan(scored[[200, 201, 470]]).all()
    assert np.isnan(scored[:FIRST_ROWS]).all()
    assert np.isfinite(np.delete(scored, [200, 201, 470])[FIRST_ROWS:]).all()


def test_nothing_and_a_single_row_are_series_too() -> None:
    for size in (0, 1):
        scored = score_rows(np.full(size, START), np.ones(size), DETECTOR, backtest_rooms)
        assert scored.score.shape == (size,)
        assert np.isnan(scored.score).all()


def test_train_and_test_are_one_series(tmp_path: Path, line: tuple[np.ndarray, Float]) -> None:
    times, values = line
    write(tmp_path / "in" / "a" / "x.train.csv", times[:300], values[:300])
    write(tmp_path / "in" / "a" / "x.test.csv", times[300:], values[300:])
    write(tmp_path / "whole" / "x.csv", times, values)
    [pair] = find_jobs([tmp_path / "in"], tmp_path / "out")
    assert [job.inputs for job in find_jobs(pair.inputs[::-1], tmp_path / "out")] == [pair.inputs]
    assert [path.name for path in pair.inputs] == ["x.train.csv", "x.test.csv"]
    assert [path.relative_to(tmp_path / "out").as_posix() for path in pair.outputs] == ["a/x.train.csv", "a/x.test.csv"]
    [whole] = find_jobs([tmp_path / "whole" / "x.csv"], tmp_path / "out")
    for job in (pair, whole):
        done = run_job(job, "timestamp", "value", DETECTOR, backtest_rooms)
        assert (done.rows, done.scored) == (480, 480 - FIRST_ROWS)
    parts = [score for path in pair.outputs for score in scores_of(path)]
    assert parts == scores_of(whole.outputs[0])


def test_the_stamps_are_written_as_they_were_read(tmp_path: Path) -> None:
    stamps = ["2026-01-01 00:00:00", "2026-01-01T00:30:00Z", "2026-01-01 02:00:00+01:00"]
    (tmp_path / "x.csv").write_text("value,timestamp\n" + "".join(f"{n},{stamp}\n" for n, stamp in enumerate(stamps)))
    job = Job("x", (tmp_path / "x.csv",), (tmp_path / "out" / "x.csv",))
    run_job(job, "timestamp", "value", DETECTOR, backtest_rooms)
    lines = (tmp_path / "out" / "x.csv").read_text().splitlines()
    assert lines == ["timestamp,score,expected,lower,upper", *(f"{stamp},,,," for stamp in stamps)]


@pytest.mark.parametrize(
    "stamps",
    [
        ["1767225600", "1767229200"],
        ["1767225600000", "1767229200000"],
        ["1767225600000000", "1767229200000000"],
        ["1767225600000000000", "1767229200000000000"],
        ["1767225600", " 2026-01-01T01:00:00Z "],
        ["2026-01-01 00:00:00", "2026-01-01 01:00:00"],
        ["2026-01-01T00:00:00Z", "2026-01-01T03:00:00+02:00"],
    ],
)
def test_times_are_read_in_every_usual_form(stamps: list[str]) -> None:
    assert parse_times(stamps, Path("x.csv")).tolist() == [1_767_225_600_000, 1_767_225_600_000 + HOUR]


def test_the_step_is_that_of_the_first_rows() -> None:
    regular = START + STEP * np.arange(100)
    assert learn_step(regular) == STEP
    assert learn_step(np.r_[regular[:20], regular[15:40]]) == STEP
    assert learn_step(np.r_[regular[:60], regular[60:] * 2]) == STEP
    assert learn_step(regular[:1]) == MINUTE


def test_paths_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.csv").write_text("timestamp,value\n")
    for paths, message in (
        (["nothing"], "no such file or folder"),
        (["empty"], "holds no .csv file"),
        (["a", "b"], "would write the same scores as"),
    ):
        with pytest.raises(SourceRejected, match=message):
            find_jobs([tmp_path / path for path in paths], tmp_path / "out")


def test_a_backtest_says_how_often_it_alarmed_and_how_often_noise_alone_should(line: tuple[np.ndarray, Float]) -> None:
    times, values = line
    hit = values.copy()
    hit[-40:-30] += 50 * np.nanstd(values)
    calm, loud = (score_rows(times, one, DETECTOR, backtest_rooms).noise for one in (values, hit))
    assert loud.founded > calm.founded  # a small episode soon after a far higher one is not told again
    assert min(loud.episodes, calm.episodes) >= 1
    low = score_rows(times, values, replace(DETECTOR, sensitivity="low"), backtest_rooms).noise
    assert calm.days == pytest.approx((480 - FIRST_ROWS) / 48)
    assert calm.expected == pytest.approx(3 * (low.expected or 0.0))
    budget = score_rows(times, values, replace(DETECTOR, incidents_per_week=1.0), backtest_rooms).noise
    assert budget.expected is None


def test_a_backtest_follows_a_trend_sooner_when_told_to_fit_more_often(tmp_path: Path) -> None:
    values = np.concatenate([np.full(480, 10.0), 10.0 + 2.0 * np.arange(96)]) + np.random.default_rng(3).normal(0, 0.1, 576)
    write(tmp_path / "in" / "trend.csv", START + STEP * np.arange(576), values)
    off = {}
    for every in ("1d", "2h"):
        asked = ["backtest", str(tmp_path / "in"), "--out", str(tmp_path / every), "--fit-every", every, "--processes", "1"]
        assert CliRunner().invoke(main, asked).exit_code == 0
        with (tmp_path / every / "trend.csv").open(newline="") as file:
            expected = np.array([float(row["expected"] or "nan") for row in csv.DictReader(file)])
        off[every] = np.abs(expected - values)[480:].mean()
    assert off["2h"] < 0.9 * off["1d"]


GOOD = "".join(f"{START // 1000 + 60 * row},1\n" for row in range(100)).encode()


UNREADABLE = (
    (b"", "is empty; a header with the columns 'timestamp' and 'value' is expected"),
    (b"timestamp;value\n1;2\n", "it has 'timestamp;value'; columns are parted by commas"),
    (b"timestamp, value\n1,2\n", "has no column 'value'; it has 'timestamp', ' value'"),
    (b"timestamp,value,value\n1,2,3\n", "has 2 columns 'value'"),
    (b"timestamp,value\n1,\xe4\n", "is not UTF-8 text"),
    ("timestamp,value\n".encode("utf-16"), "is not UTF-8 text"),
    (b'timestamp,value\n"' + b"x" * 200_000 + b'",1\n', "is not CSV after line 1: field larger than field limit"),
    (b"timestamp,value\n" + GOOD + b"0,n.a.\n", "line 102: value is no number: 'n.a.'"),
    (b"timestamp,value\n" + GOOD + b",5\n", "row 101: a time is neither epoch nor ISO: ''"),
    (b"timestamp,value\n" + GOOD + b"nan,5\n", "row 101: a time is neither epoch nor ISO: 'nan'"),
    (b"timestamp,value\n" + GOOD + b"1e400,5\n", "row 101: a time is neither epoch nor ISO: '1e400'"),
    (b"timestamp,value\n" + GOOD + b"soon,5\n", "row 101: a time is neither epoch nor ISO: 'soon'"),
    (
        b"timestamp,value\n" + GOOD + b"99999999999,5\n",
        ": row 101 is 1,136,741 days after the one before it; is its time right?",
    ),
)


def test_files_that_cannot_be_read_are_refused_with_what_is_wrong_and_the_others_are_scored(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number, (content, _) in enumerate(UNREADABLE):
        (tmp_path / "in" / f"{number}.csv").write_bytes(content)
    windows = "timestamp,value\r\n" + "".join(f"{START // 1000 + 60 * row},{row % 7}\r\n" for row in range(400))
    (tmp_path / "in" / "short.csv").write_bytes(b"timestamp,value\n1,2\n")
    (tmp_path / "in" / "good.csv").write_bytes(b"\xef\xbb\xbf" + windows.encode())
    asked = ["backtest", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--engine", "rolling_median", "--processes", "1"]
    done = CliRunner().invoke(main, [*asked, "--json"])
    assert done.exit_code == 1
    told = json.loads(done.stdout)
    assert (told["scored now"], told["without any score"]) == (2, 1)  # one has too few rows to learn from
    failed = told["failed"]
    assert failed.keys() == {f"{number}.csv" for number in range(len(UNREADABLE))}
    for number, (_, why) in enumerate(UNREADABLE):
        assert why in failed[f"{number}.csv"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["good.csv", "short.csv"]
    assert len(scores_of(tmp_path / "out" / "good.csv")) == 400


def test_scores_are_never_written_over_a_series_nor_taken_for_one(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("timestamp,value\n")
    (tmp_path / "odd.csv").mkdir()
    for paths in ([tmp_path], [tmp_path / "x.csv"], [tmp_path / "odd.csv" / ".."]):
        with pytest.raises(SourceRejected, match="would be written over"):
            find_jobs(paths, tmp_path)
    for _ in range(2):  # the second time there are scores below the folder
        jobs = find_jobs([tmp_path], tmp_path / "scores")
        assert [job.name for job in jobs] == ["x.csv"]
        run_job(jobs[0], "timestamp", "value", DETECTOR, backtest_rooms)


def test_what_stands_for_no_number_is_a_row_without_a_value(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("timestamp,value\n1,\n2,-\n3,NA\n4,n/a\n5,NaN\n6,NULL\n7,None\n8,1e400\n9,-inf\n")
    done = run_job(Job("x", (tmp_path / "x.csv",), (tmp_path / "out.csv",)), "timestamp", "value", DETECTOR, backtest_rooms)
    assert (done.rows, done.scored) == (9, 0)
    assert [line[:1] for line in (tmp_path / "out.csv").read_text().splitlines()[1:]] == list("123456789")


def test_stamps_keep_their_spaces(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("timestamp,value\n 1767225600 , 1 \n")
    run_job(Job("x", (tmp_path / "x.csv",), (tmp_path / "out.csv",)), "timestamp", "value", DETECTOR, backtest_rooms)
    assert (tmp_path / "out.csv").read_text().splitlines()[1] == " 1767225600 ,,,,"
