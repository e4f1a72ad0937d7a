"""What the services of the shop write when something is wrong: wordings for each kind of fault, by the technology of its root.

Owns: FAULT_LINES, CARRIED, UNREACHABLE and Telling. Data only. The wordings follow what real software writes; they were
written without a look at any resolution card.
"""

# ruff: noqa: E501 - log lines are as long as they are

from dataclasses import dataclass
from typing import Final, Literal

from forewarn.simulation.vocabulary import Wording

Phase = Literal["onset", "during", "rising", "late", "end"]


@dataclass(frozen=True, slots=True)
class Telling:
    """A wording and when it comes: `rate` lines per bucket of the phase.

    `onset`: the bucket in which the cause begins; `during`: from start to the end of the effect; `rising`: from onset to the end
    of the effect, more and more of them; `late`: the last half of the time from onset to start; `end`: the last bucket.
    """

    phase: Phase
    rate: float
    wording: Wording


_FAILED: Final = '"event":{"duration":{ms}000000,"outcome":"failure"},"trace":{"id":"{trace}"}'

FAULT_LINES: Final[dict[tuple[str, str], tuple[Telling, ...]]] = {
    ("deploy_bad", "java"): (
        Telling("during", 14, Wording("ERROR", (
            "o.a.c.c.C.[.[.[/].[dispatcherServlet] - Servlet.service() for servlet [dispatcherServlet] threw exception\n"
            "java.lang.NullPointerException: Cannot invoke \"shop.checkout.model.Address.country()\" because the return value of "
            "\"shop.checkout.model.Customer.billingAddress()\" is null\n"
            "\tat shop.checkout.tax.TaxCalculator.rateFor(TaxCalculator.java:87)\n"
            "\tat shop.checkout.CheckoutService.total(CheckoutService.java:142)\n"
            "\tat shop.checkout.CheckoutController.place(CheckoutController.java:61)\n"
            "\tat java.base/java.lang.Thread.run(Thread.java:1583)"))),
        Telling("during", 2, Wording("WARN", "s.checkout.CheckoutService - cart {uuid} kept for another attempt")),
    ),
    ("deploy_bad", "python"): (
        Telling("during", 12, Wording("ERROR", (
            "Exception on /v1/profile/{customer} [GET]\n"
            "Traceback (most recent call last):\n"
            "  File \"/app/accounts/api/profile.py\", line 118, in show_profile\n"
            "    return render(profile, locale=customer.preferences.locale)\n"
            "AttributeError: 'NoneType' object has no attribute 'locale'"), _FAILED)),
    ),
    ("deploy_bad", "node"): (
        Telling("during", 14, Wording("error", (
            "unhandled error while rendering {page}: TypeError: Cannot read properties of undefined (reading 'price')\n"
            "    at renderTile (/app/dist/views/tile.js:54:31)\n"
            "    at Array.map (<anonymous>)\n"
            "    at renderPage (/app/dist/views/page.js:112:22)"), _FAILED)),
    ),
    ("slow_dependency", "mysql"): (
        Telling("during", 5, Wording("Warning", "[MY-013951] [InnoDB] Transaction {connection} has been waiting {waiting} s for a lock on table `orders`.`stock_movement`, held by transaction {connection}")),
        Telling("during", 2, Wording("Note", "[MY-012872] [InnoDB] History list length is {spread}, oldest transaction active for {seconds} s")),
    ),
    ("pool_exhausted", "java"): (
        Telling("during", 12, Wording("ERROR", "HikariPool-1 - Connection is not available, request timed out after 3000{few}ms (total=20, active=20, idle=0, waiting={waiting})")),
        Telling("during", 3, Wording("WARN", "o.h.engine.jdbc.spi.SqlExceptionHelper - SQL Error: 0, SQLState: null")),
    ),
    ("pool_exhausted", "python"): (
        Telling("during", 12, Wording("ERROR", (
            "Exception on /v1/session [POST]\n"
            "Traceback (most recent call last):\n"
            "  File \"/app/accounts/db.py\", line 41, in session_scope\n"
            "    connection = engine.connect()\n"
            "sqlalchemy.exc.TimeoutError: QueuePool limit of size 10 overflow 10 reached, connection timed out, timeout 30.00"), _FAILED)),
    ),
    ("silent_service", "k8s_crashloop"): (
        Telling("onset", 5, Wording("error", "required migration 0{waiting}_add_reservation is missing, giving up")),
        Telling("onset", 4, Wording("warn", "Back-off restarting failed container app in pod {pod}_shop({uuid}): CrashLoopBackOff")),
    ),
    ("silent_service", "oom_kernel"): (
        Telling("onset", 3, Wording("critical", "kernel: app invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj={batch}")),
        Telling("onset", 3, Wording("critical", "kernel: Out of memory: Killed process {pid} (app) total-vm:{segment}00kB, anon-rss:{segment}00kB, file-rss:{few}kB, shmem-rss:0kB, UID:1000 pgtables:{spread}kB oom_score_adj:{batch}")),
    ),
    ("new_error_pattern", "java"): (
        Telling("during", 11, Wording("ERROR", (
            "call to https://api.acquirer.example/v2/authorise failed\n"
            "javax.net.ssl.SSLHandshakeException: PKIX path validation failed: java.security.cert.CertPathValidatorException: validity check failed\n"
            "\tat java.base/sun.security.ssl.Alert.createSSLException(Alert.java:131)\n"
            "\tat shop.payments.acquirer.AcquirerClient.authorise(AcquirerClient.java:77)\n"
            "Caused by: java.security.cert.CertificateExpiredException: NotAfter: certificate has expired"), _FAILED)),
    ),
    ("new_error_pattern", "python"): (
        Telling("during", 10, Wording("ERROR", (
            "request to partner failed for reference {order}\n"
            "Traceback (most recent call last):\n"
            "  File \"/usr/lib/python3.11/ssl.py\", line 1379, in do_handshake\n"
            "    self._sslobj.do_handshake()\n"
            "ssl.SSLCertVerificationError: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: certificate has expired (_ssl.c:1006)"))),
    ),
    ("disk_filling", "mysql"): (
        Telling("late", 1.5, Wording("Warning", "[MY-010908] [Server] Binary log of {segment} MB was not purged, a replica still needs it")),
        Telling("during", 12, Wording("ERROR", "[MY-012820] [InnoDB] Write to file ./orders/order_item.ibd failed at offset {offset}, {spread} bytes should have been written, only 0 were written. Operating system error number 28: No space left on device")),
        Telling("during", 3, Wording("Warning", "[MY-010041] [Server] Disk is full writing './binlog.{segment}' (OS errno 28 - No space left on device). Waiting for someone to free space...")),
    ),
    ("disk_filling", "kafka"): (
        Telling("late", 1.5, Wording("WARN", "[LogManager] Retention of orders.state-{part} is behind by {segment} segments (kafka.log.LogManager)")),
        Telling("during", 12, Wording("ERROR", "Error while appending records to orders.placed-{part} in dir /var/lib/kafka/data (org.apache.kafka.storage.internals.log.LogDirFailureChannel)\njava.io.IOException: No space left on device\n\tat java.base/sun.nio.ch.FileDispatcherImpl.write0(Native Method)")),
    ),
    ("disk_filling", "go"): (
        Telling("late", 1.5, Wording("warn", "compaction postponed, {segment} segments pending")),
        Telling("during", 12, Wording("error", "cannot write segment: write /data/index/seg-{segment}.tmp: no space left on device", _FAILED)),
    ),
    ("memory_leak", "java"): (
        Telling("rising", 3, Wording("WARN", "jvm.gc - GC({batch}) Pause Full (G1 Compaction Pause) {heapmb}M->{heapmb}M(4096M) {long_ms}.{few}12ms")),
        Telling("late", 4, Wording("WARN", "jvm.monitor - {percent} % of the last minute went into collecting garbage")),
        Telling("during", 9, Wording("ERROR", (
            "o.a.c.c.C.[.[.[/].[dispatcherServlet] - Handler dispatch failed\n"
            "java.lang.OutOfMemoryError: Java heap space\n"
            "\tat java.base/java.util.Arrays.copyOf(Arrays.java:3537)\n"
            "\tat java.base/java.util.ArrayList.grow(ArrayList.java:238)"))),
    ),
    ("queue_backlog", "java"): (
        Telling("during", 3, Wording("ERROR", (
            "s.notifications.Consumer - batch was processed, but its offsets are lost\n"
            "org.apache.kafka.clients.consumer.CommitFailedException: Offset commit cannot be completed since the consumer is not part of an active group "
            "for auto partition assignment; the time between subsequent calls to poll() was longer than the configured max.poll.interval.ms\n"
            "\tat shop.notifications.Consumer.run(Consumer.java:96)"))),
        Telling("during", 4, Wording("INFO", "o.a.k.c.c.i.ConsumerCoordinator - [Consumer clientId=mailer-{few}, groupId=mailer] (Re-)joining group")),
        Telling("during", 3, Wording("WARN", "o.a.k.c.c.i.ConsumerCoordinator - [Consumer clientId=mailer-{few}, groupId=mailer] consumer poll timeout has expired")),
    ),
    ("queue_backlog", "python"): (
        Telling("during", 4, Wording("WARNING", "kafka.coordinator: Heartbeat failed for group labels because it is rebalancing")),
        Telling("during", 3, Wording("ERROR", (
            "shipping.consumer: offsets of {batch} messages lost\n"
            "Traceback (most recent call last):\n"
            "  File \"/app/shipping/consumer.py\", line 73, in run\n"
            "    consumer.commit()\n"
            "kafka.errors.CommitFailedError: Commit cannot be completed since the group has already rebalanced and assigned the partitions to "
            "another member; max.poll.interval.ms exceeded"))),
    ),
    ("dns_failure", "java"): (
        Telling("during", 12, Wording("ERROR", "call to api.acquirer.example failed: java.net.UnknownHostException: api.acquirer.example: Temporary failure in name resolution", _FAILED)),
    ),
    ("dns_failure", "python"): (
        Telling("during", 12, Wording("ERROR", "shipping.carriers: label for order {order} failed: HTTPSConnectionPool(host='api.parcelway.example', port=443): Max retries exceeded (Caused by NameResolutionError: Failed to resolve 'api.parcelway.example' ([Errno -2] Name or service not known))")),
    ),
    ("dns_failure", "node"): (
        Telling("during", 14, Wording("error", "fetch of {page} failed: Error: getaddrinfo ENOTFOUND catalogue.shop.svc.cluster.local", _FAILED)),
        Telling("during", 2, Wording("warn", "resolver 10.20.0.10 answered NXDOMAIN for checkout.shop.svc.cluster.local", _FAILED)),
    ),
    ("too_many_files", "nginx"): (
        Telling("during", 9, Wording("crit", "accept4() failed (24: Too many open files)")),
        Telling("during", 7, Wording("alert", "socket() failed (24: Too many open files) while connecting to upstream, client: {client}, server: shop.example, request: \"GET {page} HTTP/1.1\"", _FAILED)),
    ),
    ("too_many_files", "go"): (
        Telling("during", 10, Wording("error", "http: Accept error: accept tcp [::]:8080: accept4: too many open files; retrying in {few}0ms")),
        Telling("during", 4, Wording("error", "open /data/index/seg-{segment}.dat: too many open files", _FAILED)),
    ),
    ("too_many_files", "node"): (
        Telling("during", 10, Wording("error", "Error: EMFILE: too many open files, open '/app/data/vouchers/{hash}.json'", _FAILED)),
    ),
    ("traffic_drop", "nginx"): (
        Telling("during", 10, Wording("error", "no live upstreams while connecting to upstream, client: {client}, server: shop.example, request: \"GET {page} HTTP/1.1\", upstream: \"http://web/\", status: 502", _FAILED)),
        Telling("during", 5, Wording("error", "upstream timed out (110: Connection timed out) while reading response header from upstream, client: {client}, status: 504", _FAILED)),
    ),
    ("too_many_clients", "postgresql"): (
        Telling("during", 12, Wording("FATAL", "sorry, too many clients already")),
        Telling("during", 3, Wording("FATAL", "remaining connection slots are reserved for roles with the SUPERUSER attribute")),
    ),
}  # fmt: skip
"""(kind, technology of the root; for a silent service its card) -> what the root writes."""

CARRIED: Final[dict[str, tuple[tuple[str, Telling], ...]]] = {
    "slow_dependency": (
        ("orders", Telling("during", 10, Wording("ERROR", (
            "o.h.engine.jdbc.spi.SqlExceptionHelper - Lock wait timeout exceeded; try restarting transaction\n"
            "org.springframework.dao.PessimisticLockingFailureException: could not execute statement\n"
            "\tat shop.orders.StockRepository.move(StockRepository.java:58)")))),
    ),
    "too_many_clients": (
        ("accounts", Telling("during", 9, Wording("ERROR", (
            "Exception on /v1/session [POST]\n"
            "Traceback (most recent call last):\n"
            "  File \"/app/accounts/db.py\", line 41, in session_scope\n"
            "    connection = engine.connect()\n"
            "sqlalchemy.exc.OperationalError: (psycopg2.OperationalError) connection to server at \"accounts-db\", port 5432 failed: FATAL:  sorry, too many clients already"), _FAILED))),
    ),
}  # fmt: skip
"""Kind -> (service, what it writes): what a fault of another service makes it say beyond its ordinary errors."""

UNREACHABLE: Final = {
    "nginx": Wording("error", "connect() failed (111: Connection refused) while connecting to upstream, client: {client}, request: \"GET {page} HTTP/1.1\"", _FAILED),
    "node": Wording("error", "connect ECONNREFUSED {address}:8080 while asking peer for {page}", _FAILED),
    "java": Wording("ERROR", "o.s.w.c.ResourceAccessException - I/O error on POST request: Connection refused ({address}:8080)"),
    "go": Wording("error", "dial tcp {address}:8080: connect: connection refused", _FAILED),
    "python": Wording("ERROR", "upstream ({address}:8080) failed: [Errno 111] Connection refused"),
}  # fmt: skip
"""What a caller writes by its technology while a callee does not run."""
UNREACHABLE_RATE: Final = 6.0
