"""A test that does not run fails the run: skipped, skipped while collecting, or expected to fail."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GOOD = "def test_good():\n    assert True\n"


def run(folder: Path, source: str, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_good.py").write_text(GOOD)
    (folder / "test_inner.py").write_text(f"import pytest\n\n{source}")
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-p", "no:cacheprovider", *options, "."]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    environment |= {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "source",
    [
        "@pytest.mark.skip(reason='no')\ndef test_left_out():\n    assert True\n",
        "def test_left_out():\n    pytest.skip('no')\n",
        "@pytest.mark.xfail\ndef test_left_out():\n    assert False\n",
        "pytest.importorskip('no_such_module_anywhere')\n",
    ],
    ids=["mark", "call", "xfail", "collection"],
)
def test_what_is_left_out_fails_the_run_and_is_named(tmp_path: Path, source: str) -> None:
    done = run(tmp_path, source)
    assert done.returncode == 1, done.stdout
    assert "skipped tests fail the run" in done.stdout
    assert "test_inner.py" in done.stdout.partition("skipped tests fail the run")[2]


def test_workers_do_not_hide_it(tmp_path: Path) -> None:
    done = run(tmp_path, "def test_left_out():\n    pytest.skip('no')\n", "-n", "1")
    assert done.returncode == 1, done.stdout


def test_a_run_that_leaves_nothing_out_passes(tmp_path: Path) -> None:
    done = run(tmp_path, "")
    assert done.returncode == 0, done.stdout
