"""The simulated shop's services: what they run on, how busy and slow they are, who calls whom, who owns what.

Owns: Service, Call, SERVICES, CALLS, FEEDS and the orders in which effects travel. Data and look-ups only: no chance, no time.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Service:
    """One service. `technology` decides how its lines are worded; `structured`: lines are JSON with fields of their own.

    `latency` is ms on an idle day, `failing` the share of requests that fail anyway, `disk` and `heap` the usual use (a share
    of what there is, None = not reported), `queue` the usual depth, `pool` the size of its connection pool.
    """

    name: str
    technology: str
    owner: str
    structured: bool
    latency: float
    failing: float
    heap: float | None = None
    disk: float | None = None
    queue: float | None = None
    pool: int | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """`caller` calls `callee` `share` times for each request that it serves."""

    caller: str
    callee: str
    share: float


SERVICES: Final = (
    Service("gateway", "nginx", "team-edge", True, 35.0, 0.002),
    Service("web", "node", "team-edge", True, 60.0, 0.002, heap=0.42),
    Service("catalogue", "java", "team-products", False, 40.0, 0.001, heap=0.52, pool=30),
    Service("search", "go", "team-products", True, 90.0, 0.002, disk=0.58),
    Service("cart", "node", "team-orders", True, 25.0, 0.001, heap=0.40),
    Service("checkout", "java", "team-orders", False, 180.0, 0.004, heap=0.48),
    Service("payments", "java", "team-payments", True, 320.0, 0.006, heap=0.45, pool=20),
    Service("orders", "java", "team-orders", False, 70.0, 0.003, heap=0.55, pool=24),
    Service("inventory", "go", "team-orders", True, 18.0, 0.001, pool=20),
    Service("shipping", "python", "team-logistics", False, 140.0, 0.006, queue=40.0),
    Service("accounts", "python", "team-accounts", True, 45.0, 0.002, pool=20),
    Service("notifications", "java", "team-accounts", False, 60.0, 0.005, heap=0.38, queue=60.0),
    Service("orders-db", "mysql", "team-platform", False, 6.0, 0.0005, disk=0.63, pool=150),
    Service("accounts-db", "postgresql", "team-platform", False, 4.0, 0.0004, disk=0.55, pool=100),
    Service("events", "kafka", "team-platform", False, 5.0, 0.0005, heap=0.46, disk=0.61),
)
NAMES: Final = tuple(service.name for service in SERVICES)
ROWS: Final = {name: row for row, name in enumerate(NAMES)}
ENTRY: Final = "gateway"
BUSIEST: Final = 40.0
"""Requests per second that customers send to the entry at the busiest time."""

CALLS: Final = (
    Call("gateway", "web", 0.75), Call("gateway", "accounts", 0.08),
    Call("web", "catalogue", 0.6), Call("web", "search", 0.3), Call("web", "cart", 0.25), Call("web", "checkout", 0.08),
    Call("web", "accounts", 0.15),
    Call("search", "catalogue", 0.3),
    Call("catalogue", "inventory", 0.3),
    Call("cart", "inventory", 0.4),
    Call("checkout", "cart", 0.9), Call("checkout", "payments", 0.85), Call("checkout", "orders", 0.8),
    Call("orders", "inventory", 0.5), Call("orders", "orders-db", 2.2), Call("orders", "events", 0.9),
    Call("inventory", "orders-db", 0.25),
    Call("shipping", "inventory", 0.3), Call("shipping", "events", 0.6),
    Call("notifications", "accounts", 0.4), Call("notifications", "events", 0.6),
    Call("accounts", "accounts-db", 1.3),
)  # fmt: skip
"""Who calls whom. A slow or failing callee slows and fails its callers; who calls less is asked less."""

FEEDS: Final = (Call("orders", "shipping", 0.9), Call("orders", "notifications", 1.4))
"""Work that arrives through the queue: the producer does not wait for it."""

DEPENDS_ON: Final = tuple((call.caller, call.callee) for call in CALLS)
"""(caller, callee) edges, for the configuration."""


def _callees_first() -> tuple[str, ...]:
    ordered: list[str] = []
    while len(ordered) < len(NAMES):
        ordered += [
            name
            for name in NAMES
            if name not in ordered and all(call.callee in ordered for call in CALLS if call.caller == name)
        ]
    return tuple(ordered)


def _work_order() -> tuple[str, ...]:
    edges = (*CALLS, *FEEDS)
    ordered: list[str] = []
    while len(ordered) < len(NAMES):
        ordered += [
            name for name in NAMES if name not in ordered and all(e.caller in ordered for e in edges if e.callee == name)
        ]
    return tuple(ordered)


CALLEES_FIRST: Final = _callees_first()
"""Trouble travels in this order: from a service to those that call it."""
WORK_ORDER: Final = _work_order()
"""Work travels in this order: from the entry to those that are called and fed."""


def callers_of(name: str) -> tuple[str, ...]:
    """The services that call `name`."""
    return tuple(call.caller for call in CALLS if call.callee == name)
