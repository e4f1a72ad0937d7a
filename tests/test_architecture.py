"""The walls of the house stand: every rule of `tests.architecture_rules` holds, and none of them is toothless."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.architecture_rules import (
    RULES,
    Module,
    Rule,
    chance_is_an_argument,
    imports_stand_on_top,
    modules_are_small,
    modules_below,
    modules_say_what_they_own,
    names_say_something,
    nouns_need_only_numpy,
    time_is_an_argument,
    vendors_stay_put,
    walls,
)

ROOT = Path(__file__).resolve().parent.parent
PRODUCT = modules_below(ROOT / "plugin") + modules_below(ROOT / "datasource")
TESTS = [m for m in modules_below(ROOT / "tests") if "node_modules" not in m.name]

BREAKS: list[tuple[Rule, str, str]] = [
    (walls, "forewarn.series", "from forewarn.errors import ConfigError"),
    (walls, "forewarn.forecast", "from forewarn.ports import Scorer"),
    (walls, "forewarn.ports", "import forewarn.config"),
    (walls, "forewarn.errors", "from forewarn.series import SeriesKey"),
    (walls, "forewarn.blocks", "from forewarn.state import Head"),
    (walls, "forewarn.scoring.scorer", "from forewarn.forecasting.predict import predict"),
    (walls, "forewarn.scoring.scorer", "from forewarn.forecasting import predict"),
    (walls, "forewarn.scoring.scorer", "from ..forecasting import predict"),
    (walls, "forewarn.scoring.scorer", "from forewarn import stores"),
    (walls, "forewarn.scoring.scorer", "def f():\n    import forewarn.stores.sqlite"),
    (walls, "forewarn.scoring.scorer", "if TYPE_CHECKING:\n    from forewarn.stores.sqlite import SqliteStore"),
    (walls, "forewarn.sources.files", "from forewarn.config import load"),
    (walls, "forewarn.sources.files", "from forewarn.elastic import connect"),
    (walls, "forewarn.stores.sqlite", "from forewarn.tick import run_tick"),
    (walls, "forewarn.tick", "from forewarn.stores.sqlite import SqliteStore"),
    (walls, "forewarn.tick", "from forewarn.forecasting.predict import predict"),
    (walls, "forewarn.tick", "from forewarn.config import Config"),
    (walls, "forewarn.anything_new", "from forewarn.wiring import build"),
    (walls, "forewarn.stream", "from forewarn.cli import main"),
    (walls, "forewarn.config.sections", "from forewarn.tick import run_tick"),
    (walls, "forewarn.elastic", "from forewarn.config import Config"),
    (walls, "forewarn.service", "from forewarn.stores.sqlite import SqliteStore"),
    (walls, "forewarn.cli", "from forewarn_datasource.app import create_app"),
    (walls, "forewarn.wiring", "from forewarn.cli import main"),
    (walls, "forewarn.demo", "from forewarn.stores.sqlite import SqliteStore"),
    (walls, "forewarn.demo", "from forewarn.cli.running import replay"),
    (walls, "forewarn.cli.running", "from forewarn.simulation.series import simulate"),
    (walls, "forewarn_datasource.app", "from forewarn.stores.sqlite import SqliteStore"),
    (walls, "forewarn_datasource.app", "from forewarn.forecasting.stan import StanEngine"),
    (walls, "forewarn_datasource.app", "from forewarn.tick import run_tick"),
    (walls, "forewarn_datasource.app", "from forewarn_datasource.wiring import serve"),
    (vendors_stay_put, "forewarn.tick", "import elasticsearch"),
    (vendors_stay_put, "forewarn.sources.files", "from elasticsearch import Elasticsearch"),
    (vendors_stay_put, "forewarn.stores.sqlite", "import duckdb"),
    (vendors_stay_put, "forewarn.cli", "import flask"),
    (vendors_stay_put, "forewarn.service", "from apscheduler.schedulers.background import BackgroundScheduler"),
    (vendors_stay_put, "forewarn.scoring.scorer", "def f():\n    import pandas"),
    (vendors_stay_put, "forewarn.forecasting.stan", "import prophet"),
    (vendors_stay_put, "forewarn.forecasting.stan", "import requests"),
    (vendors_stay_put, "forewarn.codec", "import pickle"),
    (nouns_need_only_numpy, "forewarn.anomaly", "import msgspec"),
    (time_is_an_argument, "forewarn.tick", "import time\nnow = time.time()"),
    (time_is_an_argument, "forewarn.tick", "from time import time_ns as clock\nnow = clock()"),
    (time_is_an_argument, "forewarn.tick", "from datetime import UTC, datetime\nnow = datetime.now(UTC)"),
    (time_is_an_argument, "forewarn_datasource.app", "import datetime as d\nnow = d.datetime.now(d.UTC)"),
    (chance_is_an_argument, "forewarn.scoring.scorer", "import numpy as np\nx = np.random.normal()"),
    (chance_is_an_argument, "forewarn.scoring.scorer", "import numpy as np\nx = np.random.default_rng().normal()"),
    (chance_is_an_argument, "forewarn.tick", "from uuid import uuid4\nnonce = uuid4().hex"),
    (chance_is_an_argument, "forewarn.tick", "import random\nx = random.random()"),
    (imports_stand_on_top, "forewarn.tick", "def f():\n    from forewarn.series import SeriesKey"),
    (imports_stand_on_top, "forewarn.cli", "def f():\n    if True:\n        import forewarn.tick"),
    (imports_stand_on_top, "forewarn_datasource.app", "def f():\n    from forewarn_datasource.wire import reply"),
    (walls, "forewarn_datasource.wsgi", "from forewarn.stores.sqlite import SqliteStore"),
    (modules_are_small, "forewarn.tick", "\n" * 401),
    (names_say_something, "forewarn.utils", ""),
    (names_say_something, "forewarn.scoring.score_helpers", ""),
    (names_say_something, "forewarn.stores.core.sqlite", ""),
    (names_say_something, "forewarn.stores.sqlite", "class StoreManager: ..."),
    (modules_say_what_they_own, "forewarn.tick", "x = 1"),
]

ALLOWED: list[tuple[Rule, str, str]] = [
    (walls, "forewarn.forecast", "from forewarn.series import SeriesKey"),
    (walls, "forewarn.sources.elasticsearch_search", "from forewarn.elastic import source_errors"),
    (walls, "forewarn.stores.sqlite", "from forewarn import blocks\nfrom forewarn.stores.records import encode_model"),
    (walls, "forewarn.forecasting.stan", "from forewarn.forecasting.predict import predict"),
    (walls, "forewarn.forecasting.predict", "from forewarn.forecasting.civil_time import civil_days"),
    (walls, "forewarn.cli", "from forewarn_datasource.wiring import serve\nfrom forewarn import __version__"),
    (walls, "forewarn_datasource.app", "from forewarn.forecasting.predict import predict"),
    (walls, "forewarn.demo", "from forewarn.simulation.series import simulate"),
    (walls, "forewarn.cli.demonstration", "from forewarn.demo import judge\nfrom forewarn.cli.terminal import out"),
    (vendors_stay_put, "forewarn.cli.terminal", "import click, rich"),
    (walls, "forewarn.tick", "from forewarn.stream import Stream\nfrom forewarn.ports import Store"),
    (vendors_stay_put, "forewarn.forecasting.stan", "def f():\n    import pandas\n    from prophet import Prophet"),
    (time_is_an_argument, "forewarn.tick", "import time\nstarted = time.monotonic()"),
    (time_is_an_argument, "forewarn.schedule", "import time\nnow = time.time_ns()"),
    (chance_is_an_argument, "forewarn.scoring.scorer", "import numpy as np\ndef f(seed): return np.random.default_rng(seed)"),
    (imports_stand_on_top, "forewarn.wiring", "def f():\n    from forewarn.stores.sqlite import SqliteStore"),
    (imports_stand_on_top, "forewarn.cli", "def f():\n    from forewarn_datasource.wiring import serve_in_thread"),
    (walls, "forewarn_datasource.wsgi", "from forewarn_datasource.wiring import build_app"),
    (modules_are_small, "forewarn.tick", "\n" * 400),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_product_keeps_the_rule(rule: Rule) -> None:
    assert rule(PRODUCT) == [], rule.__doc__


@pytest.mark.parametrize("rule", [modules_are_small, names_say_something, modules_say_what_they_own])
def test_the_tests_keep_the_rule(rule: Rule) -> None:
    assert rule(TESTS) == [], rule.__doc__


@pytest.mark.parametrize(("rule", "name", "source"), BREAKS)
def test_a_rule_bites(rule: Rule, name: str, source: str) -> None:
    assert rule([Module(name, source)])


@pytest.mark.parametrize(("rule", "name", "source"), ALLOWED)
def test_a_rule_does_not_bite_what_is_allowed(rule: Rule, name: str, source: str) -> None:
    assert rule([Module(name, source)]) == []


def test_prophet_and_pandas_share_one_file() -> None:
    source = "def f():\n    import {}"
    two = [Module(f"forewarn.forecasting.{vendor}_engine", source.format(vendor)) for vendor in ("prophet", "pandas")]
    assert len(vendors_stay_put(two)) == 1
    assert [broken for module in two for broken in vendors_stay_put([module])] == []


def test_every_rule_has_been_shown_to_bite() -> None:
    assert {rule for rule, _, _ in BREAKS} == set(RULES)


def test_the_rules_see_the_whole_house() -> None:
    names = {m.name for m in PRODUCT}
    assert {"forewarn", "forewarn.tick", "forewarn.stores.sqlite", "forewarn.wiring", "forewarn_datasource.app"} <= names
    assert any(i.name == "forewarn.series.SeriesKey" for m in PRODUCT if m.name == "forewarn.forecast" for i in m.imports)


@pytest.mark.parametrize("room", ["plugin", "datasource"])
def test_a_source_root_is_no_package(room: str) -> None:
    assert not (ROOT / room / "__init__.py").exists()


def test_serving_loads_nothing_that_fits_or_schedules() -> None:
    program = "import sys, forewarn_datasource.wsgi; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert {"forewarn", "forewarn_datasource", "flask"} <= loaded
    assert not loaded & {"prophet", "pandas", "cmdstanpy", "apscheduler", "holidays", "duckdb"}
