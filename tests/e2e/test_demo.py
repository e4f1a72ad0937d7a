"""The demo: the whole of Forewarn on one machine without a server, in one command."""

import re
import shlex
from pathlib import Path
from signal import SIGINT

import pytest
from tests.processes import annotations, ask, forewarn, serving

from forewarn.config import load

LONG = 800
"""Seconds that the demo may take on a machine that has a great deal else to do; an idle one needs a minute or two."""
pytestmark = pytest.mark.timeout(LONG + 100)


def test_the_shop_is_judged_by_its_truth_and_its_annotations_come_in_both_dialects() -> None:
    done = forewarn("demo", "--once", "--json", "--seed", "1", "--end", "2026-11-22T12:00:00Z", patience=LONG)
    assert done.code == 0, done.err
    told = done.json
    assert told["annotations"]["simpod"] == told["annotations"]["infinity"] > 0
    assert told["failing"] == {}
    faults = told["faults"]
    assert len(faults) >= 5
    found = [fault for fault in faults if fault["found"]]
    assert len(found) >= 0.8 * len(faults)
    assert sum(fault["cause_right"] for fault in faults) >= 0.6 * len(faults)
    assert sum(fault["resolution_right"] for fault in faults) >= 0.5 * len(faults)
    assert all(0 < fault["delay"] <= (fault["end"] - fault["onset"]) / 1000 + 600 for fault in found)
    assert len({name for fault in faults for name in fault["incidents"]}) == sum(len(fault["incidents"]) for fault in faults)
    assert told["first_incident_after"] < told["seconds"]


def test_it_serves_what_it_found_until_it_is_interrupted_and_explains_an_incident(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    with serving("demo", "--dir", folder, "--listen", "127.0.0.1:0", "--seed", "3", patience=LONG) as demo:
        url = demo.wait_for("until Ctrl-C").split("http")[1].split()[0]
        said = "".join(demo.out)
        assert re.search(r"\d of \d faults found", said)
        assert "…" not in said.partition("known in")[2].partition("faults found")[0]  # the table is whole on 80 columns
        assert f"open http{url}/incidents" in said
        commands = [shlex.split(line) for line in demo.out if line.startswith("curl")]
        [simpod] = [ask(command[2], command[4].encode()) for command in commands if "-d" in command]
        [infinity] = [ask(command[2]) for command in commands if "-d" not in command]
        assert (simpod[0], infinity[0]) == (200, 200)
        first = min(row["time"] for row in infinity[1])
        by_simpod, by_infinity = annotations(f"http{url}", first - 1, first + 6 * 86_400_000)
        assert by_simpod.keys() == by_infinity.keys() == {row["id"] for row in infinity[1]}
        incidents = ask(f"http{url}/infinity/incidents?from={first}&to={first + 6 * 86_400_000}")[1]
        told = forewarn("explain", incidents[-1]["id"], "--config", folder / "forewarn.yml")
        assert (told.code, "probable cause" in told.out) == (0, True)
        assert demo.stop(SIGINT) == 0
    assert "Traceback" not in "".join(demo.err)
    assert load(folder / "forewarn.yml", {}).store.kind == "sqlite"
    unknown = forewarn("explain", "nothing", "--config", folder / "forewarn.yml")
    assert (unknown.code, "no anomaly or incident has the id" in unknown.err) == (6, True)
    again = forewarn("demo", "--dir", folder)
    assert (again.code, "is not empty" in again.err) == (2, True)


def test_interrupted_while_it_learns_it_ends_without_a_fuss(tmp_path: Path) -> None:
    with serving("demo", "--dir", tmp_path / "shop", "--listen", "127.0.0.1:0", patience=LONG) as demo:
        demo.wait_for("documents of a simulated shop")
        assert demo.stop(SIGINT) == 0
    assert "".join(demo.out) == ""
    assert "Traceback" not in "".join(demo.err)
