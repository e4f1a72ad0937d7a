"""What the services of the shop write when nothing is wrong, ordinary warnings and single failures among it.

Owns: ORDINARY, DEPLOYED and RELEASED: wordings and how often they come. Data only.
"""

# ruff: noqa: E501 - log lines are as long as they are

from dataclasses import dataclass
from typing import Final, Literal

from forewarn.simulation.vocabulary import Wording

Basis = Literal["work", "errors", "time", "night"]


@dataclass(frozen=True, slots=True)
class Habit:
    """A wording and how often it comes.

    `rate` is lines per bucket: at the busiest time (`work`, in step with requests), for each failed request (`errors`; most are not logged), at any
    time (`time`), or while the nightly batch runs (`night`).
    """

    basis: Basis
    rate: float
    wording: Wording


_HTTP: Final = (
    '"http":{"request":{"method":"{method}"},"response":{"status_code":{ok}}},"url":{"path":"{page}"},'
    '"event":{"duration":{ms}000000,"outcome":"success"},"trace":{"id":"{trace}"}'
)
_HTTP_FAILED: Final = (
    '"http":{"request":{"method":"{method}"},"response":{"status_code":{server_error}}},"url":{"path":"{page}"},'
    '"event":{"duration":{long_ms}000000,"outcome":"failure"},"trace":{"id":"{trace}"}'
)
_DONE: Final = '"event":{"duration":{ms}000000,"outcome":"success"},"trace":{"id":"{trace}"}'
_FAILED: Final = '"event":{"duration":{ms}000000,"outcome":"failure"},"trace":{"id":"{trace}"}'

ORDINARY: Final[dict[str, tuple[Habit, ...]]] = {
    "gateway": (
        Habit("work", 22, Wording("info", "{method} {page} {ok} {bytes} {ms}ms client={client}", _HTTP)),
        Habit("errors", 0.05, Wording("error", "{method} {page} {server_error} upstream=web {long_ms}ms client={client}", _HTTP_FAILED)),
        Habit("work", 0.8, Wording("warn", "client {client} closed keepalive connection early", _DONE)),
        Habit("time", 0.25, Wording("info", "configuration check passed, {few} upstream groups active")),
        Habit("time", 0.15, Wording("info", "TLS session cache rotated, {spread} entries kept")),
    ),
    "web": (
        Habit("work", 12, Wording("info", "rendered {page} in {ms} ms", _HTTP)),
        Habit("work", 2, Wording("info", "session {session} continued for customer {customer}", _DONE)),
        Habit("errors", 0.062, Wording("error", "request to upstream failed with status {server_error} after {long_ms} ms", _HTTP_FAILED)),
        Habit("work", 0.6, Wording("warn", "image variant missing for product {product}, using placeholder", _DONE)),
        Habit("time", 0.3, Wording("info", "template cache: {spread} entries, {few} evicted")),
    ),
    "catalogue": (
        Habit("work", 7, Wording("INFO", "s.catalogue.ProductController - product {product} served in {ms} ms")),
        Habit("work", 3, Wording("INFO", "s.catalogue.CategoryService - category {category} listed, {items} pages")),
        Habit("work", 0.7, Wording("WARN", "s.catalogue.PriceCache - price of product {product} is older than {few} h, reloading")),
        Habit("errors", 0.1, Wording("ERROR", "s.catalogue.ProductController - product {product} could not be served, status {server_error}")),
        Habit("time", 0.4, Wording("INFO", "s.catalogue.PriceCache - refreshed {spread} prices in {long_ms} ms")),
    ),
    "search": (
        Habit("work", 7, Wording("info", "query \"{query}\" returned {items} hits in {ms}ms", _DONE)),
        Habit("work", 0.5, Wording("warn", "slow query, took {long_ms}ms", _DONE)),
        Habit("errors", 0.125, Wording("error", "query failed: context deadline exceeded after {long_ms}ms", _FAILED)),
        Habit("time", 0.6, Wording("info", "merged segment {segment} in {long_ms}ms")),
        Habit("time", 0.3, Wording("info", "index refresh finished, {spread} documents changed")),
    ),
    "cart": (
        Habit("work", 5, Wording("info", "cart {uuid} updated, {items} items", _DONE)),
        Habit("work", 1.2, Wording("info", "cart {uuid} expired after {few} days", _DONE)),
        Habit("errors", 0.125, Wording("error", "cart {uuid} could not be saved: stock service answered {server_error}", _FAILED)),
        Habit("work", 0.5, Wording("warn", "quantity of product {product} reduced to what is in stock", _DONE)),
        Habit("time", 0.2, Wording("info", "swept {spread} abandoned carts")),
    ),
    "checkout": (
        Habit("work", 6, Wording("INFO", "s.checkout.CheckoutService - checkout of cart {uuid} done in {ms} ms")),
        Habit("work", 2, Wording("INFO", "s.checkout.VoucherService - voucher {hash} applied for customer {customer}")),
        Habit("work", 0.6, Wording("WARN", "s.checkout.AddressValidator - address of customer {customer} needed correction")),
        Habit("errors", 0.175, Wording("ERROR", "s.checkout.CheckoutService - checkout of cart {uuid} failed: step answered {server_error}")),
        Habit("time", 0.3, Wording("INFO", "s.checkout.TaxTable - tax table in use, {spread} rows")),
    ),
    "payments": (
        Habit("work", 6, Wording("INFO", "payment of {amount} {currency} for order {order} authorised", _DONE)),
        Habit("work", 0.7, Wording("WARN", "payment for order {order} declined by issuer, code {few}", _DONE)),
        Habit("errors", 0.175, Wording("ERROR", "authorisation for order {order} failed with status {server_error}", _FAILED)),
        Habit("time", 0.4, Wording("INFO", "settlement batch {batch} sent")),
        Habit("time", 0.5, Wording("DEBUG", "pool statistics: total=20, active={few}, idle={items}, waiting=0")),
    ),
    "orders": (
        Habit("work", 6, Wording("INFO", "s.orders.OrderService - order {order} stored, {items} items, {amount} {currency}")),
        Habit("work", 3, Wording("INFO", "s.orders.EventPublisher - order {order} published to orders.placed-{part}")),
        Habit("work", 0.5, Wording("WARN", "s.orders.OrderService - order {order} placed twice within {few} s, second one ignored")),
        Habit("errors", 0.175, Wording("ERROR", "s.orders.OrderService - order {order} could not be stored, status {server_error}")),
        Habit("time", 0.4, Wording("INFO", "s.orders.Housekeeping - archived {spread} orders in {long_ms} ms")),
    ),
    "inventory": (
        Habit("work", 5, Wording("info", "reserved {items} of product {product}", _DONE)),
        Habit("work", 0.5, Wording("warn", "stock of product {product} is low: {few} left", _DONE)),
        Habit("errors", 0.125, Wording("error", "reservation of product {product} failed", _FAILED)),
        Habit("night", 14, Wording("info", "stock take: {spread} products of warehouse {few} counted")),
        Habit("time", 0.3, Wording("info", "stock snapshot written, {bytes} bytes")),
    ),
    "shipping": (
        Habit("work", 5, Wording("INFO", "shipping.labels: label for order {order} made by {carrier} in {ms} ms")),
        Habit("work", 0.6, Wording("WARNING", "shipping.carriers: {carrier} is slow, answered after {long_ms} ms")),
        Habit("errors", 0.175, Wording("ERROR", "shipping.labels: no label for order {order}, carrier {carrier} answered {server_error}")),
        Habit("time", 0.5, Wording("INFO", "shipping.tracking: {spread} parcels on their way")),
    ),
    "accounts": (
        Habit("work", 5, Wording("INFO", "customer {customer} signed in from {client}", _DONE)),
        Habit("work", 0.9, Wording("WARNING", "sign-in of customer {customer} refused: wrong password", _DONE)),
        Habit("errors", 0.15, Wording("ERROR", "profile of customer {customer} could not be loaded", _FAILED)),
        Habit("time", 0.4, Wording("INFO", "purged {spread} stale tokens")),
    ),
    "notifications": (
        Habit("work", 5, Wording("INFO", "s.notifications.Mailer - mail {uuid} handed over in {ms} ms")),
        Habit("work", 0.6, Wording("WARN", "s.notifications.Mailer - mailbox of customer {customer} is full, trying again later")),
        Habit("errors", 0.15, Wording("ERROR", "s.notifications.Mailer - mail {uuid} was not accepted, reply {server_error}")),
        Habit("time", 0.6, Wording("INFO", "s.notifications.Consumer - committed offset {offset} of orders.placed-{part}")),
    ),
    "orders-db": (
        Habit("time", 1.5, Wording("Note", "[MY-010914] [Server] Aborted connection {connection} to db: 'orders' user: 'app' host: '{address}' (Got timeout reading communication packets).")),
        Habit("work", 1.5, Wording("Note", "[MY-013950] [Server] Slow query: {long_ms} ms, rows examined {spread}")),
        Habit("time", 0.5, Wording("Note", "[MY-012551] [InnoDB] Buffer pool dump {percent} percent done")),
        Habit("night", 3, Wording("Note", "[MY-010102] [Server] Statistics of table stock_{few} updated in {long_ms} ms")),
    ),
    "accounts-db": (
        Habit("time", 0.9, Wording("LOG", "checkpoint complete: wrote {spread} buffers ({percent}.0%); write={seconds} s, sync=0.0{few} s")),
        Habit("work", 1.5, Wording("LOG", "duration: {long_ms}.{few}31 ms  execute <unnamed>: SELECT token FROM session WHERE customer_id = $1")),
        Habit("time", 0.3, Wording("LOG", "automatic vacuum of table \"accounts.public.session\": index scans: {few}")),
        Habit("work", 0.25, Wording("ERROR", "duplicate key value violates unique constraint \"session_pkey\"")),
    ),
    "events": (
        Habit("time", 1.2, Wording("INFO", "[ProducerStateManager partition=orders.placed-{part}] Wrote producer snapshot at offset {offset} with {few} producer ids in {few} ms. (kafka.log.ProducerStateManager)")),
        Habit("time", 0.8, Wording("INFO", "[LocalLog partition=orders.placed-{part}] Rolled new log segment at offset {offset} in {few} ms. (kafka.log.LocalLog)")),
        Habit("time", 0.3, Wording("INFO", "[LogCleaner] Cleaner {few}: cleaned log orders.state-{part}, {bytes} bytes in {seconds} seconds (kafka.log.LogCleaner)")),
        Habit("time", 0.25, Wording("WARN", "[SocketServer listenerType=BROKER, nodeId={few}] Unexpected slow request from {address} took {long_ms} ms (kafka.network.RequestChannel)")),
    ),
}  # fmt: skip
"""What every service writes day by day."""

DEPLOYED: Final[dict[str, tuple[Wording, ...]]] = {
    "nginx": (
        Wording("info", "signal 15 received, gracefully shutting down, {few} workers"),
        Wording("info", "start worker processes, {few} workers, release {hash}"),
    ),
    "node": (
        Wording("info", "received SIGTERM, draining {waiting} connections"),
        Wording("info", "listening on port 8080, release {hash}"),
    ),
    "java": (
        Wording("INFO", "o.s.b.w.e.tomcat.GracefulShutdown - Commencing graceful shutdown. Waiting for active requests to complete"),
        Wording("INFO", "s.Application - Starting Application using Java 21.0.{few} with PID {pid}, release {hash}"),
        Wording("INFO", "s.Application - Started Application in {seconds} seconds (process running for {seconds})"),
    ),
    "go": (
        Wording("info", "shutting down, waiting for {waiting} requests"),
        Wording("info", "serving on :8080, release {hash}"),
    ),
    "python": (
        Wording("INFO", "gunicorn.error: Handling signal: term, {few} workers"),
        Wording("INFO", "gunicorn.error: Booting worker with pid: {pid}, release {hash}"),
    ),
    "mysql": (
        Wording("System", "[MY-013172] [Server] Received SHUTDOWN from user <via user signal>. Shutting down mysqld (Version: 8.0.{few}6)."),
        Wording("System", "[MY-010931] [Server] mysqld: ready for connections. Version: '8.0.{few}6'  socket: '/run/mysqld/mysqld.sock'  port: 3306"),
    ),
    "postgresql": (
        Wording("LOG", "received fast shutdown request, {few} backends"),
        Wording("LOG", "database system is ready to accept connections, start took {long_ms} ms"),
    ),
    "kafka": (
        Wording("INFO", "[KafkaServer id={few}] shut down completed (kafka.server.KafkaServer)"),
        Wording("INFO", "[KafkaServer id={few}] started (kafka.server.KafkaServer)"),
    ),
}  # fmt: skip
"""What a service writes when it is stopped and started again, in this order."""

RELEASED: Final = {
    "web": Wording("info", "new search box enabled for {percent} of 100 visitors", _DONE),
    "catalogue": Wording("INFO", "s.catalogue.Recommender - {items} similar products chosen for product {product}"),
    "shipping": Wording("INFO", "shipping.pickup: pick-up point {batch} offered for order {order}"),
    "checkout": Wording("INFO", "s.checkout.GiftService - gift note stored for cart {uuid}"),
}
"""A new line that the last day's harmless release of a service brings along."""
