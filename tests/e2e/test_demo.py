"""The demo: the whole of Forewarn on one machine without a server, in one command."""

import re
import shlex
from pathlib import Path
from signal import SIGINT

import pytest
from tests.processes import annotations, ask, forewarn, serving

from forewarn.config import load

pytestmark = pytest.mark.xdist_group("e2e demo")


def test_once_fetches_annotations_in_both_dialects_and_ends() -> None:
    done = forewarn("demo", "--once", "--json")
    assert done.code == 0, done.err
    told = done.json
    assert told["annotations"]["simpod"] == told["annotations"]["infinity"] == told["anomalies"] > 0
    assert told["failing"] == {}
    assert sum(detector["series"] for detector in told["detectors"].values()) == 15
    found = [fault for fault in told["faults"] if fault["found"]]
    assert len(found) > len(told["faults"]) / 2
    assert all(0 < fault["delay"] <= (fault["end"] - fault["start"]) / 1000 + 360 for fault in found)


def test_it_serves_what_it_found_until_it_is_interrupted(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    with serving("demo", "--dir", folder, "--listen", "127.0.0.1:0", "--seed", "3") as demo:
        url = demo.wait_for("until Ctrl-C").split()[3]
        said = "".join(demo.out)
        assert re.search(r"\d of 7 faults found", said)
        commands = [shlex.split(line) for line in demo.out if line.startswith("curl")]
        [simpod] = [ask(command[2], command[4].encode()) for command in commands if "-d" in command]
        [infinity] = [ask(command[2]) for command in commands if "-d" not in command]
        assert (simpod[0], infinity[0]) == (200, 200)
        first = min(row["time"] for row in infinity[1])
        by_simpod, by_infinity = annotations(url, first - 1, first + 3 * 86_400_000)
        assert by_simpod.keys() == by_infinity.keys() == {row["id"] for row in infinity[1]}
        assert demo.stop(SIGINT) == 0
    assert "Traceback" not in "".join(demo.err)
    assert load(folder / "forewarn.yml", {}).store.kind == "sqlite"
    again = forewarn("demo", "--dir", folder)
    assert (again.code, "is not empty" in again.err) == (2, True)


def test_interrupted_while_it_learns_it_ends_without_a_fuss(tmp_path: Path) -> None:
    with serving("demo", "--dir", tmp_path / "shop", "--listen", "127.0.0.1:0") as demo:
        demo.wait_for("documents, five weeks")
        assert demo.stop(SIGINT) == 0
    assert "".join(demo.out) == ""
    assert "Traceback" not in "".join(demo.err)
