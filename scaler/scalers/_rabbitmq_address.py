"""Where a RabbitMQ broker is: reads the `host` URL once, so that nothing else has to take URLs apart.

Texts of errors made here never contain a part of the URL: an unescaped password may stand anywhere in it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from scaler.scalers._tls import Tls

_PORTS: Final = {"amqp": 5672, "amqps": 5671, "http": 80, "https": 443}
_ENCRYPTED: Final = {"amqp": "amqps", "http": "https"}
_ESCAPE = "percent-encode special characters of user and password"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """One broker as one rule names it.

    Attributes:
        scheme: `amqp`, `amqps`, `http` or `https`.
        prefix: what stands before `/api` (management API only), still percent-encoded.
        vhost: its plain name, decoded.
        user: None means not given, with the password.
        tls: None exactly when the scheme is a plain one.
    """

    scheme: str
    host: str
    port: int
    prefix: str = ""
    vhost: str = "/"
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    tls: Tls | None = None

    @property
    def is_http(self) -> bool:
        """Whether the management API is asked."""
        return self.scheme.startswith("http")

    @property
    def origin(self) -> str:
        """The address for people: scheme, host, port and prefix, without credentials."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.prefix}"


def parse_address(
    url: str,
    *,
    vhost_name: str = "",
    username: str = "",
    password: str = "",
    tls_enabled: bool = False,
    tls: Tls | None = None,
) -> Address:
    """Read a `host` URL together with the parameters that override parts of it.

    `tls_enabled` turns a plain scheme into the encrypted one: the scheme alone never keeps it plain.

    Raises:
        ValueError: with a text for people.
    """
    parts = _split(url)
    is_http = parts.scheme.startswith("http")
    scheme = _ENCRYPTED.get(parts.scheme, parts.scheme) if tls_enabled else parts.scheme
    host = parts.hostname or ("" if is_http else "localhost")
    if not host:
        raise ValueError(f"no host name in the URL; write {parts.scheme}://<host>:<port>/<vhost>")
    prefix, vhost = _http_path(parts.path) if is_http else ("", unquote(parts.path[1:]) or "/")
    given = username and password
    return Address(
        scheme=scheme,
        host=host,
        port=_port(parts) or _PORTS[scheme],
        prefix=prefix,
        vhost=vhost_name or vhost,
        user=username if given else _decoded(parts.username),
        password=password if given else _decoded(parts.password),
        tls=(tls or Tls()) if scheme in _ENCRYPTED.values() else None,
    )


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError(f"not a URL; {_ESCAPE}") from None
    if parts.scheme not in _PORTS:
        raise ValueError("not an amqp://, amqps://, http:// or https:// URL")
    if parts.query or parts.fragment or "?" in url or "#" in url:
        raise ValueError(f"the URL has a '?' or '#', which is not supported; {_ESCAPE}")
    return parts


def _port(parts: SplitResult) -> int | None:
    try:
        return parts.port
    except ValueError:
        raise ValueError(f"the port of the URL is not a number from 0 to 65535; {_ESCAPE}") from None


def _decoded(text: str | None) -> str | None:
    return None if text is None else unquote(text)


def _http_path(path: str) -> tuple[str, str]:
    """Split at the last slash: prefix and vhost. Decoded once; `%252F` too is the default vhost."""
    prefix, _, last = path.rpartition("/")
    vhost = unquote(last)
    return prefix.rstrip("/"), "/" if vhost.upper() in ("", "/", "%2F") else vhost
