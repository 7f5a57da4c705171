"""Makes the TLS context of a Kafka cluster from PEM texts."""

from __future__ import annotations

import ssl
import tempfile
from pathlib import Path

from scaler.errors import PollError
from scaler.scalers._kafka_login import Cluster, KafkaTls


def build_context(cluster: Cluster) -> ssl.SSLContext | None:
    """Make the context, None for plain connections. Reads and writes files: call it in a thread.

    Raises:
        PollError: `TlsFailed`, when a PEM text cannot be read.
    """
    tls = cluster.tls
    if tls is None:
        return None
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.ca:
        try:
            context.load_verify_locations(cadata=tls.ca)
        except (ssl.SSLError, ValueError) as exc:
            raise _unreadable(cluster, "ca is not a PEM certificate") from exc
    if tls.cert:
        try:
            _load_pair(context, tls)
        except (ssl.SSLError, ValueError, OSError) as exc:
            raise _unreadable(cluster, "cert, key and keyPassword do not fit together") from exc
    return context


def _load_pair(context: ssl.SSLContext, tls: KafkaTls) -> None:
    """Load certificate and key; the ssl module reads files only, so they live in a private folder meanwhile."""
    with tempfile.TemporaryDirectory(prefix="scaler-tls-") as folder:
        cert, key = Path(folder) / "cert.pem", Path(folder) / "key.pem"
        cert.write_text(tls.cert)
        key.touch(mode=0o600)
        key.write_text(tls.key)
        # An empty password, given as such, keeps the library from asking for one on the terminal.
        context.load_cert_chain(cert, key, password=tls.key_password)


def _unreadable(cluster: Cluster, what: str) -> PollError:
    text = f"{cluster.origin}: {what}; give PEM texts, with their BEGIN and END lines, by auth"
    return PollError(text, transient=False, reason="TlsFailed")
