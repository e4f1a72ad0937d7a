"""How to reach an Elasticsearch: addresses, credentials, certificates, patience.

Owns: ElasticSettings. Values only; `config` makes it, `elastic.py` alone turns it into a client. Its repr shows no secrets.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ElasticSettings:
    """One cluster. At most one of `api_key` and (`username`, `password`) is set; none of them means no authentication."""

    hosts: tuple[str, ...]
    """URLs with scheme, host and port, as the client wants them."""
    api_key: str | None = field(default=None, repr=False)
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_certs: str | None = None
    """A file with the certificates of the authority that signed the servers' ones."""
    verify_certs: bool = True
    fingerprint: str | None = None
    """SHA-256 of the server's own certificate, in hex without colons."""
    request_timeout: int = 60_000
    """Milliseconds a request may take."""
