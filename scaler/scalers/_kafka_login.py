"""How a Kafka cluster is reached: servers, TLS and SASL, as one value by which connections are shared."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from scaler.scalers._tls import Tls

DEFAULT_PORT: Final = 9092
Address = tuple[str, int]


class Sasl(StrEnum):
    """KEDA's words for the ways of logging in."""

    NONE = "none"
    PLAIN = "plaintext"
    SCRAM_256 = "scram_sha256"
    SCRAM_512 = "scram_sha512"
    OAUTH = "oauthbearer"
    GSSAPI = "gssapi"
    AWS = "aws_msk_iam"


MECHANISMS: Final = {
    Sasl.PLAIN: "PLAIN",
    Sasl.SCRAM_256: "SCRAM-SHA-256",
    Sasl.SCRAM_512: "SCRAM-SHA-512",
    Sasl.OAUTH: "OAUTHBEARER",
    Sasl.GSSAPI: "GSSAPI",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSource:
    """Where tokens are got, and what is sent beside them."""

    uri: str
    scopes: str = ""
    extensions: tuple[tuple[str, str], ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Servers to begin with, and the login that all of its brokers take."""

    servers: tuple[Address, ...]
    tls: Tls | None = None
    sasl: Sasl = Sasl.NONE
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    token: TokenSource | None = None
    service: str = "kafka"

    @property
    def origin(self) -> str:
        """The servers, for messages."""
        return "kafka://" + ",".join(show(server) for server in self.servers)

    @property
    def protocol(self) -> str:
        """Kafka's word for the pair of TLS and SASL."""
        if self.sasl is Sasl.NONE:
            return "SSL" if self.tls else "PLAINTEXT"
        return "SASL_SSL" if self.tls else "SASL_PLAINTEXT"


def show(address: Address) -> str:
    """Write an address as people do."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_servers(text: str) -> tuple[Address, ...]:
    """Read a comma list of `host`, `host:port` or `[v6]:port`; repeated ones count once.

    Raises:
        ValueError: an entry is none of these.
    """
    return tuple(dict.fromkeys(_parse_server(item.strip()) for item in text.split(",")))


def _parse_server(item: str) -> Address:
    if "://" in item:
        raise ValueError(f"got '{item}'; write host:port without a scheme")
    if item.startswith("["):
        host, closed, port = item[1:].partition("]")
        port = port.removeprefix(":") if closed else "?"
    elif item.count(":") > 1:
        raise ValueError(f"got '{item}'; write an IPv6 address in brackets, such as [::1]:9092")
    else:
        host, _, port = item.partition(":")
    number = int(port) if port.isascii() and port.isdigit() else (0 if port else DEFAULT_PORT)
    if not host or any(mark in host for mark in " /@") or not 0 < number < 65536:
        raise ValueError(f"got '{item}'; write host:port, several with commas")
    return host, number


def read_extensions(text: str) -> tuple[tuple[str, str], ...]:
    """Read `key=value,key=value`.

    Raises:
        ValueError: an item is no such pair, by RFC 7628.
    """
    pairs = []
    for item in (part.strip() for part in text.split(",") if part.strip()):
        key, equals, value = item.partition("=")
        if not equals or not key.isalpha() or key == "auth" or not value.isprintable():
            raise ValueError("write key=value,key=value; a key has letters only and is not 'auth'")
        pairs.append((key, value))
    return tuple(pairs)
