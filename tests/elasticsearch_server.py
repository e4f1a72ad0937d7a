"""A real Elasticsearch on loopback, for the tests and for `make elasticsearch`.

Owns: starting and stopping it as an unprivileged user on a free port, with data of its own that is removed afterwards.
Knows nothing of Forewarn. What is missing on this machine is said in an `ElasticsearchMissing`.

`python -m tests.elasticsearch_server [--port 9200] [--version 8.19.16]` runs one in the foreground until Ctrl-C.
"""

import argparse
import fcntl
import hashlib
import json
import os
import pwd
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from elasticsearch import Elasticsearch
from tests.elasticsearch_distribution import VERSION, ElasticsearchMissing, distribution, java_home

ACCOUNT = "forewarn-elasticsearch"
START_SECONDS = 180
STOP_SECONDS = 30
BELOW_EPHEMERAL = range(20_000, 32_768)
"""Ports that the kernel gives nobody who asks for any: who probes one of them finds it free a while later, too."""

Users = Mapping[str, tuple[str, str]]
"""User name -> (password, role), for the file realm."""

_LOGGING = """\
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = [%d{ISO8601}][%-5p][%c{1.}] %m%n
rootLogger.level = info
rootLogger.appenderRef.console.ref = console
"""


@dataclass
class ElasticsearchServer:
    """One running server. `stop` and `start` again keep its port and its data, for what must survive an outage."""

    version: str
    url: str
    directory: Path
    """Configuration, data and log of this server; removed at the end of `running`."""
    home: Path
    java_home: Path
    account: pwd.struct_passwd | None
    """The account it runs as; None = the caller's."""
    ca_certs: Path | None = None
    password: tuple[str, str] | None = None
    """(user, password) that the readiness probe uses when security is on."""
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def pid(self) -> int | None:
        """The id of the server's process, which is also its process group's; None while it is stopped."""
        return self.process.pid if self.process else None

    @property
    def log(self) -> Path:
        """What the server printed."""
        return self.directory / "elasticsearch.log"

    def start(self) -> None:
        """Starts the server and returns when it is ready; ElasticsearchMissing with the end of its log if it ends first."""
        if self.process:
            return
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.directory),
            "TZ": "UTC",  # its log tells times of its zone, and there is no hour that comes twice in this one
            "ES_JAVA_HOME": str(self.java_home),
            "ES_JAVA_OPTS": "-Xms512m -Xmx512m",
            "JDK_JAVA_OPTIONS": "-XX:-UsePerfData",  # for all three of its JVMs: each would leave a folder behind
            "ES_PATH_CONF": str(self.directory / "config"),
            "ES_TMPDIR": str(self.directory / "tmp"),
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(self.home / "bin" / "elasticsearch")],
                cwd=self.directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # the launcher and the server are one group; Ctrl-C is ours to pass on
                user=self.account and self.account.pw_uid,
                group=self.account and self.account.pw_gid,
                extra_groups=[] if self.account else None,
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stops the server by its process id and waits for its end; the data stay."""
        if not self.process:
            return
        process, self.process = self.process, None
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # whatever the launcher left behind
        process.wait()

    def _wait_until_ready(self) -> None:
        assert self.process
        request = urllib.request.Request(f"{self.url}/_cluster/health?wait_for_status=yellow&timeout=5s")
        if self.password:
            request.add_header("Authorization", "Basic " + _base64(":".join(self.password).encode()))
        context = ssl.create_default_context(cafile=str(self.ca_certs)) if self.ca_certs else None
        deadline = time.monotonic() + START_SECONDS
        answer = "no answer"
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise ElasticsearchMissing(f"Elasticsearch {self.version} ended while starting:\n{self._end_of_log()}")
            try:
                with urllib.request.urlopen(request, timeout=10, context=context) as response:
                    if not json.load(response)["timed_out"]:
                        return
            except urllib.error.HTTPError as error:
                answer = f"{error.code} {error.read(500)!r}"
                error.close()
            except OSError as error:
                answer = str(error)
            time.sleep(0.2)
        raise ElasticsearchMissing(
            f"Elasticsearch {self.version} was not ready after {START_SECONDS} s ({answer}):\n{self._end_of_log()}"
        )

    def _end_of_log(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-30:])


@contextmanager
def running(
    version: str = VERSION,
    *,
    port: int | None = None,
    security: bool = False,
    tls: bool = False,
    users: Users | None = None,
    roles: str = "",
    settings: Mapping[str, str] | None = None,
    long_lived: bool = False,
) -> Iterator[ElasticsearchServer]:
    """A server on a free loopback port, ready when the block starts; stopped and its data removed when the block ends.

    With `security`, `users` are in its file realm and `roles` is its `roles.yml`; a superuser `probe` is added for the
    readiness probe. `tls` puts a self-made certificate for localhost on HTTP, in `server.ca_certs`. `settings` go to
    elasticsearch.yml as they are. A `long_lived` server starts in twice the time (16 instead of 8 s of processor time) and
    is faster afterwards.
    """
    account = _account()
    directory = Path(tempfile.mkdtemp(prefix="forewarn-elasticsearch-"))
    server: ElasticsearchServer | None = None
    try:
        home = _reachable(distribution(version), account, directory)
        server = ElasticsearchServer(version, "", directory, home, java_home(version), account)
        port = port or free_port()
        server.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
        config = _configuration(server, port, settings or {}, security=security, tls=tls)
        if not long_lived:
            with (config / "jvm.options").open("a") as options:
                options.write("-XX:TieredStopAtLevel=1\n")
        if security:
            server.password = ("probe", "probe-password")
            _write_realm(config, {**(users or {}), "probe": ("probe-password", "superuser")}, roles)
        for folder in ("data", "tmp"):
            (directory / folder).mkdir()
        _give(directory, account)
        server.start()
        yield server
    finally:
        if server:
            server.stop()
        shutil.rmtree(directory, ignore_errors=True)


def free_port(wanted: int | None = None) -> int:
    """A free loopback port: `wanted` or the next one above it that is free, else any of BELOW_EPHEMERAL."""
    chance = random.SystemRandom()  # what a test seeds does not make two workers choose alike
    for port in range(wanted, wanted + 100) if wanted else chance.sample(BELOW_EPHEMERAL, 100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise ElasticsearchMissing(f"no free port from {wanted} on")


def _account() -> pwd.struct_passwd | None:
    """The account for the server: Elasticsearch refuses to run as root, so root gives it a system user."""
    if os.geteuid() != 0:
        return None
    for name in (ACCOUNT, "elasticsearch"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", ACCOUNT]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode in (0, 9):  # 9: another run made it in the meantime
            return pwd.getpwnam(ACCOUNT)
        why = done.stderr.strip()
    except FileNotFoundError:
        why = "useradd is missing"
    raise ElasticsearchMissing(f"Elasticsearch refuses to run as root, and the user {ACCOUNT} cannot be made: {why}")


def _reachable(home: Path, account: pwd.struct_passwd | None, directory: Path) -> Path:
    """`home`, or a copy of it below `directory` when the account may not enter the folder that the repository lies in."""
    directory.chmod(0o755)
    if account:
        probe = ["test", "-r", str(home / "bin" / "elasticsearch")]
        if subprocess.run(probe, cwd="/", check=False, user=account.pw_uid, group=account.pw_gid, extra_groups=[]).returncode:
            return Path(shutil.copytree(home, directory / "home"))
    return home


def _give(directory: Path, account: pwd.struct_passwd | None) -> None:
    if account:
        for path in (directory, *directory.glob("*"), *directory.glob("config/*")):
            os.chown(path, account.pw_uid, account.pw_gid)


def _configuration(server: ElasticsearchServer, port: int, extra: Mapping[str, str], *, security: bool, tls: bool) -> Path:
    directory = server.directory
    config = directory / "config"
    config.mkdir()
    settings = {
        "cluster.name": "forewarn-test",
        "node.name": "n1",
        "discovery.type": "single-node",
        "network.host": "127.0.0.1",  # on loopback, bootstrap checks such as vm.max_map_count only warn
        "http.port": str(port),
        "transport.port": "9300-9400",  # it takes the first of them that is free
        "path.data": str(directory / "data"),
        "path.logs": str(directory / "tmp"),
        "cluster.routing.allocation.disk.threshold_enabled": "false",
        "cluster.max_shards_per_node": "5000",
        "node.store.allow_mmap": "false",
        "xpack.security.enabled": str(security).lower(),  # must be explicit, else it configures TLS and a password itself
    }
    if security:
        settings["xpack.security.enrollment.enabled"] = "false"
    if tls:
        server.ca_certs = _certificate(config)
        settings |= {
            "xpack.security.http.ssl.enabled": "true",
            "xpack.security.http.ssl.key": str(config / "http.key"),
            "xpack.security.http.ssl.certificate": str(config / "http.crt"),
        }
    lines = [f"{name}: {value}\n" for name, value in (settings | dict(extra)).items()]
    (config / "elasticsearch.yml").write_text("".join(lines))
    (config / "log4j2.properties").write_text(_LOGGING)
    shipped = (server.home / "config" / "jvm.options").read_text().splitlines()
    unwanted = ("#", "-Xlog", "-XX:+HeapDump", "-XX:ErrorFile", "-XX:+UseG1GC")  # no files beside ours; one small heap
    options = [line for line in shipped if line and not line.startswith(unwanted)]
    (config / "jvm.options").write_text("\n".join([*options, "-XX:+UseSerialGC", ""]))
    return config


def _write_realm(config: Path, users: Users, roles: str) -> None:
    """The file realm as `elasticsearch-users` writes it, without three seconds of JVM for each user."""
    (config / "roles.yml").write_text(roles)
    (config / "role_mapping.yml").write_text("")
    (config / "users").write_text("".join(f"{name}:{_hashed(password)}\n" for name, (password, _) in users.items()))
    by_role: dict[str, list[str]] = {}
    for name, (_, role) in users.items():
        by_role.setdefault(role, []).append(name)
    (config / "users_roles").write_text("".join(f"{role}:{','.join(names)}\n" for role, names in by_role.items()))


def _hashed(password: str) -> str:
    salt = os.urandom(32)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 10_000, 32)
    return f"{{PBKDF2}}10000${_base64(salt)}${_base64(digest)}"


def _base64(content: bytes) -> str:
    return b64encode(content).decode()


def _certificate(config: Path) -> Path:
    openssl = shutil.which("openssl")
    if not openssl:
        raise ElasticsearchMissing("openssl is missing: it makes the certificate of the TLS tests (apt-get install openssl)")
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
               "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", "http.key", "-out", "http.crt"]  # fmt: skip
    subprocess.run(command, cwd=config, capture_output=True, check=True)
    return config / "http.crt"


def remove_everything(client: Elasticsearch, prefix: str) -> None:
    """Removes every index and template whose name starts with `prefix`."""
    every = f"{prefix}*"
    # Deleting by wildcard is refused by default: list first, delete by name.
    for index in client.indices.get(index=every, expand_wildcards="all", filter_path="*.aliases"):
        client.options(ignore_status=404).indices.delete(index=index)
    lenient = client.options(ignore_status=404)  # with a filter_path, no match is a 404 here
    templates = lenient.indices.get_index_template(name=every, filter_path="index_templates.name")
    for template in templates.get("index_templates", []):
        client.indices.delete_index_template(name=template["name"])
    components = lenient.cluster.get_component_template(name=every, filter_path="component_templates.name")
    for component in components.get("component_templates", []):
        client.cluster.delete_component_template(name=component["name"])


def main() -> None:
    """Runs a server in the foreground until Ctrl-C, SIGTERM, or until nobody holds a lock on `--while-locked`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, help="loopback port; the next free one above it if taken (default 9200)")
    parser.add_argument("--version", default=VERSION, help="version of the server (default %(default)s)")
    parser.add_argument("--announce", type=Path, help="file that gets the server's address as JSON")
    parser.add_argument("--while-locked", type=Path, help="ends when nobody holds a shared lock on this file any more")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        port = free_port(9200 if asked.port is None else asked.port)
        with running(asked.version, port=port, long_lived=not asked.while_locked) as server:
            try:
                if asked.announce:
                    ready = asked.announce.with_suffix(".new")
                    ready.write_text(json.dumps({"url": server.url, "pid": server.pid, "version": server.version}))
                    ready.rename(asked.announce)
                print(
                    f"Elasticsearch {server.version} is ready at {server.url} (process {server.pid}). Ctrl-C stops it.",
                    flush=True,
                )
                _wait(server, asked.while_locked)
            finally:
                for number in (signal.SIGINT, signal.SIGTERM):
                    signal.signal(number, signal.SIG_IGN)  # an impatient second Ctrl-C must not leave the server behind
    except ElasticsearchMissing as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        print("stopped")
    finally:
        if asked.announce:
            asked.announce.unlink(missing_ok=True)


def _wait(server: ElasticsearchServer, lock: Path | None) -> None:
    assert server.process
    if not lock:
        server.process.wait()
        raise ElasticsearchMissing(f"Elasticsearch ended by itself:\n{server._end_of_log()}")
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # comes when the last holder is gone, however it ended


if __name__ == "__main__":
    main()
