"""What the datasource is told: tokens, limits, and where it listens.

Owns: DatasourceSettings, Listen, and the rule that a service without tokens stays on loopback. Values only; made by `wiring.py`
from the configuration, or by a test. All durations are milliseconds.
"""

from dataclasses import dataclass
from ipaddress import ip_address

from forewarn.detector import DAY
from forewarn.errors import ConfigError


@dataclass(frozen=True, slots=True)
class DatasourceSettings:
    """The datasource's slice of the configuration. Without `tokens` and `users` everybody is let in."""

    tokens: tuple[str, ...] = ()
    """Accepted as bearer tokens, and as the password of basic auth under any user name."""
    users: tuple[tuple[str, str], ...] = ()
    """(name, password) pairs for basic auth."""
    max_range: int = 31 * DAY
    max_points: int = 50_000
    """Most rows (times x series) that one request may be answered with."""
    max_buckets: int = 250_000
    """Most stored buckets that one request may read before they are thinned out."""
    max_annotations: int = 500
    max_ahead: int = 7 * DAY
    """How far beyond the last tick the stored models are asked for a forecast."""
    cache_for: int = 5_000
    """How long an answer may be repeated; 0 switches all caching off."""
    stale_after: int = 60 * 60_000
    """How far behind the asked range the last tick may be before the alert state is refused."""
    public_url: str = ""

    def __post_init__(self) -> None:
        if any(not token.strip() for token in self.tokens):
            raise ConfigError("datasource.tokens", "a token is empty; leave the setting out to run without tokens")
        if any(not name or not password for name, password in self.users):
            raise ConfigError("datasource.users", "every user needs a name and a password")
        for name in ("max_range", "max_points", "max_buckets", "max_annotations"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"datasource.{name}", f"expected more than 0, got {getattr(self, name)}")

    @property
    def protected(self) -> bool:
        """Whether a request needs credentials."""
        return bool(self.tokens or self.users)


@dataclass(frozen=True, slots=True)
class Listen:
    """Where the service listens: one host and one port (0: any free one)."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Listen":
        """Reads `host:port`, `[v6 address]:port` or `:port` (all addresses); ConfigError for anything else."""
        host, colon, port = text.strip().rpartition(":")
        bracketed = host.startswith("[") and host.endswith("]")
        if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65535 or (":" in host and not bracketed):
            raise ConfigError("datasource.listen", f"expected host:port such as 127.0.0.1:8080, got {text!r}")
        return cls(host.strip("[]") or "0.0.0.0", int(port))  # noqa: S104 - ":8080" means all addresses, as in other servers

    @property
    def loopback(self) -> bool:
        """Whether only this machine can connect."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def require_protection(listen: Listen, settings: DatasourceSettings) -> None:
    """Raises ConfigError if others than this machine could connect and no token is asked of them."""
    if not settings.protected and not listen.loopback:
        raise ConfigError(
            "datasource.tokens",
            f"needed because the service listens on {listen}, where other machines can connect; "
            "set a token, or listen on 127.0.0.1",
        )
