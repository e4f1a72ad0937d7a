"""How many times faster than Prophet the batch engine fits and predicts, and what memory it takes.

All engines run in one process on one core, in turns, so that a busy machine slows them alike; ratios of medians are
printed, seconds only beside them. Peers are measured too where `make bench-peers` has made their environment
(FOREWARN_BENCH_PEERS is its Python). The table goes to FOREWARN_BENCH_TABLE, if that is set.
"""

import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import pytest
from prophet import Prophet
from tests.generated import KINDS, START, batch, generate

from forewarn.detector import MINUTE
from forewarn.forecast import ModelSpec
from forewarn.forecasting import batch_frame
from forewarn.forecasting.batch import BatchEngine
from forewarn.forecasting.batch_passes import PLAIN, Robustness
from forewarn.forecasting.design_matrix import instants
from forewarn.forecasting.predict import predict
from forewarn.series import Float, SeriesBatch, SeriesKey, TimeGrid

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

STEP = 5 * MINUTE
ROUNDS = int(os.environ.get("FOREWARN_BENCH_ROUNDS", "5"))
SIZES = (1, 10, 100, 1000, 5000)
COMPLETE = tuple(kind for kind in KINDS if kind != "gappy")
AHEAD = 288


def _say(*lines: str) -> None:
    print("\n" + "\n".join(lines))
    table = os.environ.get("FOREWARN_BENCH_TABLE")
    if table:
        with Path(table).open("a") as out:
            out.write("\n".join(lines) + "\n\n")


def _seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def _history(S: int, T: int, step: int = STEP, kinds: tuple[str, ...] = COMPLETE) -> SeriesBatch:
    """S series; beyond 560 the same ones at other levels: making them would take longer than fitting them."""
    rows = batch(1, T, step, kinds=kinds, per_kind=-(-min(S, 560) // len(kinds))).values
    values = np.resize(rows, (S, T)) * np.geomspace(1, 10, S)[:, None]
    keys = tuple(SeriesKey("bench", (("n", str(n)),)) for n in range(S))
    return SeriesBatch(keys, TimeGrid(START, step, T), values)


def _later(history: SeriesBatch, buckets: int) -> SeriesBatch:
    """The same values in a window that has moved on, as it has from one refit to the next."""
    grid = history.grid
    return SeriesBatch(history.keys, TimeGrid(grid.start + buckets * grid.step, grid.step, grid.size), history.values)


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # prophet under pandas 3
        yield


def _prophet(uncertainty_samples: int) -> Prophet:
    return Prophet(
        weekly_seasonality=True,
        daily_seasonality=True,
        yearly_seasonality=False,
        scaling="minmax",
        uncertainty_samples=uncertainty_samples,
    )


def _frame(y: Float | None, grid: TimeGrid) -> Any:
    frame = pd.DataFrame({"ds": pd.to_datetime(instants(grid).astype(np.int64), unit="ms")})
    return frame if y is None else frame.assign(y=y)


class _Peers:
    """The process of `forecasting_peers`, if its environment is there."""

    def __init__(self, directory: Path) -> None:
        python = os.environ.get("FOREWARN_BENCH_PEERS", "")
        self.names: list[str] = []
        self._file = directory / "series.npy"
        if Path(python).is_file():
            self._process = subprocess.Popen(
                [python, str(Path(__file__).with_name("forecasting_peers.py"))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            self.names = self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def seconds(self, name: str, y: Float) -> float:
        assert self._process.stdin is not None
        np.save(self._file, y)
        self._process.stdin.write(json.dumps({"peer": name, "path": str(self._file)}) + "\n")
        self._process.stdin.flush()
        return float(self._answer())

    def close(self) -> None:
        if self.names:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.close()
            self._process.wait(30)
            self._process.stdout.close()


@pytest.fixture
def peers(tmp_path: Path) -> Iterator[_Peers]:
    found = _Peers(tmp_path)
    yield found
    found.close()


def test_multiplicative_seasonality_costs_a_step_at_a_time() -> None:
    """Each series has a Gram of its own at each step, which shared statistics cannot spare."""
    T, S = 4032, 50
    history = _history(S, T)
    spec = ModelSpec(scaling="absmax", seasonality="multiplicative")
    seconds: dict[str, list[float]] = {"prophet": [], "batch": []}
    rng = np.random.default_rng(5)
    for number in range(ROUNDS):
        y = generate(COMPLETE[3 * number % len(COMPLETE)], rng, T, STEP)
        with _quiet():
            frame = _frame(y, TimeGrid(START, STEP, T))
            model = _prophet(0)
            model.seasonality_mode, model.scaling = "multiplicative", "absmax"
            seconds["prophet"].append(_seconds(lambda m=model, f=frame: m.fit(f)))  # type: ignore[misc] # bound
        seconds["batch"].append(_seconds(lambda: BatchEngine(PLAIN).fit(history, spec)) / S)
    ours, theirs = median(seconds["batch"]), median(seconds["prophet"])
    _say(f"multiplicative, T = {T}: {1e3 * ours:.1f} ms per series, Prophet.fit {theirs:.2f} s = {theirs / ours:,.0f}x")
    assert theirs / ours >= 20


@pytest.mark.parametrize("T", [4032, 8064])
def test_fit_against_prophet(T: int, peers: _Peers) -> None:
    """No window is fitted twice: each one is a bucket later than the one before. The first of its length is told apart."""
    histories = {S: _history(S, T) for S in SIZES}
    engines = {name: ENGINES[name] for name in ("plain", "robust, shifts, profile")}
    seconds: dict[str, list[float]] = {"prophet": []}
    rng = np.random.default_rng(5)
    engines["plain"].fit(histories[10], ModelSpec())  # the first call loads what NumPy loads on use
    for number in range(ROUNDS):
        y = generate(COMPLETE[3 * number % len(COMPLETE)], rng, T, STEP)
        with _quiet():
            frame = _frame(y, TimeGrid(START, STEP, T))
            seconds["prophet"].append(_seconds(lambda frame=frame: _prophet(0).fit(frame)))  # type: ignore[misc] # frame is bound
        for peer in peers.names:
            seconds.setdefault(peer, []).append(peers.seconds(peer, y))
        for name, engine in engines.items():
            # One series: the one that the others fit in this round.
            one_series = SeriesBatch(histories[1].keys, histories[1].grid, y[None].copy())
            for S, history in (histories | {1: one_series}).items():
                if name == "plain" or S <= 1000:
                    windows = [_later(history, n) for n in range(max(1, 20 // S))]
                    took = [_seconds(lambda e=engine, h=window: e.fit(h, ModelSpec())) for window in windows]  # type: ignore[misc] # bound
                    seconds.setdefault(f"{name}|{S}", []).append(median(took) / S)
                if name == "plain" and S == 1:
                    batch_frame.forget()
                    first = _seconds(lambda e=engine, h=history: e.fit(h, ModelSpec()))  # type: ignore[misc] # bound
                    seconds.setdefault("plain, the first window of its length|1", []).append(first)
    one = median(seconds["prophet"])
    lines = [f"T = {T}, seconds of Prophet.fit: median {one:.3f}, {min(seconds['prophet']):.3f}-{max(seconds['prophet']):.3f}"]
    lines += ["| engine | S | ms per series | times Prophet.fit |", "|---|---|---|---|"]
    for label, took in seconds.items():
        name, _, S = label.partition("|")
        lines.append(f"| {name} | {S or 1} | {1e3 * median(took):.3f} | {one / median(took):,.1f} |")
    _say(*lines)
    assert one / median(seconds["plain|1000"]) >= 2000
    assert one / median(seconds["plain|10"]) >= 100
    assert one / median(seconds["plain|1"]) >= 100


def test_predict_against_prophet() -> None:
    T = 4032
    history = _history(1000, T)
    models = BatchEngine(PLAIN).fit(history, ModelSpec())
    ahead = TimeGrid(history.grid.end, STEP, AHEAD)
    with _quiet():
        sampled, plain = (_prophet(samples).fit(_frame(history.values[0], history.grid)) for samples in (1000, 0))
        future = _frame(None, ahead)
        rounds = []
        for _ in range(2 * ROUNDS):
            fresh = [model.take(range(len(model.keys))) for model in models]  # as just loaded: nothing is prepared
            rounds.append(
                (
                    _seconds(lambda: sampled.predict(future)),
                    _seconds(lambda: plain.predict(future)),
                    _seconds(lambda f=fresh: [predict(model, ahead) for model in f]) / len(history.keys),  # type: ignore[misc] # bound
                    _seconds(lambda f=fresh: [predict(model, ahead) for model in f]) / len(history.keys),  # type: ignore[misc] # bound
                )
            )
    with_samples, without, first, again = (median(column) for column in zip(*rounds, strict=True))
    _say(
        f"predict of {AHEAD} steps, S = 1000: {1e6 * again:.1f} us per series, {1e6 * first:.1f} us the first time; "
        f"Prophet.predict with 1,000 samples {1e3 * with_samples:.0f} ms = {with_samples / again:,.0f}x "
        f"({with_samples / first:,.0f}x), without {1e3 * without:.1f} ms = {without / again:,.0f}x ({without / first:,.0f}x)"
    )
    assert with_samples / first >= 20_000
    assert without / again >= 5_000
    assert without / first >= 4_000


_FLEET = """
import json, sys, time, tracemalloc
from tests.bench.test_bench_forecasting import ENGINES, _history
from forewarn.detector import MINUTE
from forewarn.forecast import ModelSpec
history = _history(10_000, 2_688, 15 * MINUTE)
engine = ENGINES[sys.argv[1]]
begin, cpu = time.perf_counter(), time.process_time()
engine.fit(history, ModelSpec())
seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
tracemalloc.start()
engine.fit(history, ModelSpec())
print(json.dumps([seconds, cpu, tracemalloc.get_traced_memory()[1] / 2**20]))
"""
ENGINES = {
    "plain": BatchEngine(PLAIN),
    "two robust passes": BatchEngine(Robustness(adopt_after=0, profile=False)),
    "robust, shifts, profile": BatchEngine(),
}


@pytest.mark.parametrize("name", list(ENGINES))
def test_a_fleet_of_ten_thousand_series(name: str) -> None:
    """Four weeks of 15-minute medians, in a process of its own; the memory is what a second fit has at its peak."""
    done = [
        json.loads(subprocess.run([sys.executable, "-c", _FLEET, name], capture_output=True, text=True, check=True).stdout)
        for _ in range(2)
    ]
    seconds, cpu, megabytes = (min(line[i] for line in done) for i in range(3))
    _say(f"10,000 series x 2,688 points, {name}: {seconds:.2f} s ({cpu:.2f} s of one core), {megabytes:.0f} MB above the data")
    assert megabytes <= 600


def test_gaps_cost_little_more() -> None:
    T, S = 4032, 1000
    complete = _history(S, T)
    rng = np.random.default_rng(2)
    masks = {
        "1 % missing": rng.random((S, T)) < 0.01,
        "10 % missing": rng.random((S, T)) < 0.1,
        "half missing": rng.random((S, T)) < 0.5,
        "the same day missing": np.broadcast_to((np.arange(T) > 2000) & (np.arange(T) < 2288), (S, T)),
        "a week missing": np.broadcast_to((np.arange(T) > 1000) & (np.arange(T) < 3016), (S, T)),
    }
    histories = {"complete": complete} | {
        name: SeriesBatch(complete.keys, complete.grid, np.where(mask, np.nan, complete.values)) for name, mask in masks.items()
    }
    engine = BatchEngine(PLAIN)
    took: dict[str, list[float]] = {name: [] for name in histories}
    for _ in range(ROUNDS):
        for name, history in histories.items():
            took[name].append(_seconds(lambda h=history: engine.fit(h, ModelSpec())))  # type: ignore[misc] # h is bound
    base = median(took["complete"])
    _say(
        "gaps, S = 1000, T = 4032, times a complete batch: " + ", ".join(f"{n} {median(t) / base:.1f}" for n, t in took.items())
    )
    assert median(took["1 % missing"]) / base <= 6


def test_held_out_error_with_and_without_what_prophet_lacks() -> None:
    """Next week's mean absolute error against the plain posterior mode, per kind, and for patterns that Fourier terms miss."""
    step, size, week = 15 * MINUTE, 2688, 672
    history = batch(11, size + week, step, per_kind=8)
    kinds = [dict(key.entity)["kind"] for key in history.keys]
    fit_grid = TimeGrid(START, step, size)
    known = SeriesBatch(history.keys, fit_grid, history.values[:, :size].copy())

    def errors(engine: BatchEngine) -> Float:
        found = np.full(len(history.keys), np.nan)
        for model in engine.fit(known, ModelSpec()):
            rows = [history.rows[key] for key in model.keys]
            expected = predict(model, TimeGrid(fit_grid.end, step, week)).expected
            found[rows] = np.nanmean(np.abs(history.values[rows, size:] - expected), axis=1)
        return found

    ratio = errors(BatchEngine()) / errors(BatchEngine(PLAIN))
    per_kind = {kind: float(np.median(ratio[[k == kind for k in kinds]])) for kind in KINDS}
    _say(
        "next week's error, robust with profile / plain: "
        + ", ".join(f"{kind} {value:.2f}" for kind, value in per_kind.items())
    )
    assert np.median(ratio) <= 1.0
    assert per_kind["business"] < 0.7
    assert per_kind["smooth"] < 0.7
