"""Several schedulers, downtime and faults: nothing lost, nothing doubled, and it is said what is waited for."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.places import open_store
from tests.world import START, Recorder, counts_detector, latency_detector, run, visible, world_series
from tests.world import make_parts as make_parts_of
from tests.world_lines import lines_detector, world_lines, written

from forewarn.detector import DAY, HOUR
from forewarn.errors import StoreUnavailable, TickRefused
from forewarn.nominal import due_ticks
from forewarn.ports import Notifier, Store
from forewarn.results import Notification
from forewarn.service import Runner
from forewarn.tick import Parts, run_tick

DETECTORS = (counts_detector(), latency_detector(), lines_detector())
SERIES, LINES = world_series(), world_lines()
FIRST = START + 12 * DAY + 20 * HOUR
LAST = START + 13 * DAY + 14 * HOUR
NOWS = due_ticks(FIRST, DETECTORS, LAST)


@pytest.fixture(params=["sqlite", "elasticsearch"])
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Store]]:
    opened: list[Store] = []
    place = f"sqlite {tmp_path / 'store.db'}"
    if request.param == "elasticsearch":
        place = f"elasticsearch {request.getfixturevalue('elasticsearch_url')} {request.getfixturevalue('es_prefix')}"

    def another() -> Store:
        opened.append(open_store(place))
        return opened[-1]

    yield another
    for store in opened:
        store.close()


def make_parts(store: Store, *notifiers: Notifier, down: Callable[[int], bool] = lambda _end: False) -> Parts:
    """The world with its metrics and logs from FIRST on."""
    mined = {"lines": written(DETECTORS[2], LINES, down)}
    return make_parts_of(store, DETECTORS, SERIES, notifiers, origin=FIRST, mined=mined, down=down)


def last_told(taken: list[Notification]) -> dict[str, str]:
    """The last transition of each incident that was told: a repeat may come later, so the highest."""
    ordered = sorted(taken, key=lambda entry: entry.number)
    return {entry.subject: f"{entry.key} {entry.event}" for entry in ordered}


@pytest.fixture(scope="module")
def alone() -> dict[str, object]:
    """One scheduler that was never down, a tick for every nominal time."""
    store, recorder = open_store("sqlite :memory:"), Recorder()
    run(make_parts(store, recorder), NOWS)
    shown = visible(store)
    store.close()
    assert any(incident["pattern_changes"] for incident in shown["incidents"])
    assert len(recorder.taken) >= 3
    return {"shown": shown, "told": last_told(recorder.taken)}


def test_two_schedulers_at_once_lose_nothing_and_double_nothing(opener: Callable[[], Store], alone: dict[str, object]) -> None:
    recorder, clock, lock = Recorder(), [FIRST], threading.Lock()
    failures: list[BaseException] = []

    def live(number: int) -> None:
        parts = make_parts(opener(), recorder)
        runner = Runner(parts, lambda: clock[0], iter(f"{number}-{n}" for n in range(10_000)).__next__, span=2 * HOUR)
        try:
            while True:
                with lock:
                    clock[0] = min(clock[0] + HOUR, LAST)
                runner.catch_up()
                committed = parts.store.committed()
                if committed is not None and committed >= NOWS[-1]:
                    break
        except BaseException as error:  # noqa: BLE001 - handed to the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=live, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=240)
    assert not failures
    assert visible(opener()) == alone["shown"]
    assert last_told(recorder.taken) == alone["told"]


def test_down_for_six_hours_and_back_equals_never_having_been_down(
    opener: Callable[[], Store], alone: dict[str, object]
) -> None:
    recorder, clock = Recorder(), [0]
    parts = make_parts(opener(), recorder)
    runner = Runner(parts, lambda: clock[0], iter(f"n{n}" for n in range(10_000)).__next__)
    for now in [*NOWS[:14], *NOWS[26:]]:
        clock[0] = now
        runner.wake()
    assert visible(parts.store) == alone["shown"]
    late = [entry for entry in recorder.taken if entry.late]
    assert last_told(recorder.taken) == alone["told"]
    assert len({entry.key for entry in recorder.taken}) == len(recorder.taken)
    assert all(entry.at <= NOWS[26] for entry in late)


def test_a_source_that_was_down_is_named_and_caught_up(opener: Callable[[], Store], alone: dict[str, object]) -> None:
    clock = [0]
    parts = make_parts(opener(), down=lambda end: end > FIRST + 5 * HOUR and clock[0] < FIRST + 11 * HOUR)
    runner = Runner(parts, lambda: clock[0], iter(f"n{n}" for n in range(10_000)).__next__)
    failing = set()
    for now in NOWS:
        clock[0] = now
        runner.wake()
        assert runner.memory is not None
        failing |= set(runner.memory.head.failing)
    assert {name for name, _ in failing} == {"requests", "latency", "lines"}
    assert {why for _, why in failing} == {"world: is down"}
    assert runner.memory.head.failing == ()
    assert visible(parts.store) == alone["shown"]


def test_a_now_that_is_not_after_the_committed_one_or_in_the_future_is_refused(opener: Callable[[], Store]) -> None:
    parts = make_parts(opener())
    memory = run_tick(parts, None, NOWS[3], NOWS[3], "a")
    for now in (NOWS[3], NOWS[2]):
        with pytest.raises(TickRefused, match=f"now={now} is not after the committed now={NOWS[3]}"):
            run_tick(parts, memory, now, NOWS[9], "b")
    with pytest.raises(TickRefused, match="in the future"):
        run_tick(parts, memory, NOWS[9], NOWS[8], "c")
    assert parts.store.committed() == NOWS[3]


class Unreachable:
    """A store that cannot be reached for a while: the fault that a real one cannot be made to show at one exact call."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.down: set[str] = set()

    def __getattr__(self, name: str) -> object:
        if name in self.down:
            raise StoreUnavailable("no route to the store")
        return getattr(self.store, name)


@pytest.mark.parametrize("call", ["load_head", "put_block", "commit_head", "publish", "advance"])
def test_a_store_that_cannot_be_reached_is_waited_for_and_then_caught_up(call: str, alone: dict[str, object]) -> None:
    store, recorder, clock = Unreachable(open_store("sqlite :memory:")), Recorder(), [0]
    parts = make_parts(store, recorder)  # type: ignore[arg-type] # it stands in for all calls
    runner = Runner(parts, lambda: clock[0], iter(f"n{n}" for n in range(10_000)).__next__)
    for number, now in enumerate(NOWS):
        store.down = {call} if 10 <= number < 20 else set()
        if 10 <= number < 20 and number % 2:
            runner.memory = None
        clock[0] = now
        runner.wake()
    assert visible(store.store) == alone["shown"]
    assert last_told(recorder.taken) == alone["told"]
    store.store.close()
