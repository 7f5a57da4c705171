"""Makes TLS contexts from PEM texts, for the scalers whose parameters hold such texts."""

from __future__ import annotations

import asyncio
import ssl
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from scaler.errors import PollError


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """How to trust a server and how to prove who we are; PEM texts, empty means not given."""

    verify: bool = True
    ca: str = ""
    cert: str = field(default="", repr=False)
    key: str = field(default="", repr=False)
    key_password: str = field(default="", repr=False)


async def tls_context(tls: Tls | None, origin: str) -> ssl.SSLContext | None:
    """Make the context of an encrypted connection, None for a plain one. `origin` names the server in errors.

    Raises:
        PollError: `TlsFailed`, when a PEM text cannot be read.
    """
    if tls is None:
        return None
    return await asyncio.to_thread(_build, tls, origin)


def _build(tls: Tls, origin: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.ca:
        try:
            context.load_verify_locations(cadata=tls.ca)
        except (ssl.SSLError, ValueError) as exc:
            raise _unreadable(origin, "ca is not a PEM certificate") from exc
    if tls.cert:
        try:
            _load_pair(context, tls)
        except (ssl.SSLError, ValueError, OSError) as exc:
            raise _unreadable(origin, "cert, key and keyPassword do not fit together") from exc
    return context


def _load_pair(context: ssl.SSLContext, tls: Tls) -> None:
    """Load certificate and key; the ssl module reads files only, so they live in a private folder meanwhile."""
    with tempfile.TemporaryDirectory(prefix="scaler-tls-") as folder:
        cert, key = Path(folder) / "cert.pem", Path(folder) / "key.pem"
        cert.write_text(tls.cert)
        key.touch(mode=0o600)
        key.write_text(tls.key)
        # An empty password, given as such, keeps the library from asking for one on the terminal.
        context.load_cert_chain(cert, key, password=tls.key_password)


def _unreadable(origin: str, what: str) -> PollError:
    text = f"{origin}: {what}; give PEM texts, with their BEGIN and END lines, by auth"
    return PollError(text, transient=False, reason="TlsFailed")
