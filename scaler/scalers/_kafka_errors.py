"""What Kafka's error codes and the client's exceptions mean for a poll, in words without credentials."""

from __future__ import annotations

import socket
import ssl
from typing import Final

from aiokafka.errors import (  # type: ignore[import-untyped]
    IllegalSaslStateError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
    for_code,
)

from scaler.errors import PollError
from scaler.scalers._kafka_login import MECHANISMS, Address, Cluster, show

UNKNOWN_TOPIC: Final = 3
LEADER_NOT_AVAILABLE: Final = 5
REPLICA_NOT_AVAILABLE: Final = 9
_LEADERLESS: Final = frozenset({5, 6, 7, 8, 9, 13, 56, 74, 76, 78})
_COORDINATOR: Final = frozenset({14, 15, 16})
_TLS_HINT: Final = "check ca, the host name and that the listener is a TLS one"
_PLAIN_HINT: Final = "is it running, and does that listener take what tls and sasl say?"


def coded(origin: str, subject: str, code: int) -> PollError:
    """Say what an error code of the broker means for `subject` (a topic, a partition or a group)."""
    where = f"{origin}: {subject}"
    if code == UNKNOWN_TOPIC:
        text = f"{where}: does not exist; create it or correct topic (polling creates none)"
        return PollError(text, transient=False, reason="EntityNotFound")
    if code in (17, 24):
        return PollError(f"{where}: no legal name; correct it", transient=False, reason="EntityNotFound")
    if code in (29, 30, 31):
        text = f"{where}: access was refused; grant the user Describe on the topic and the group"
        return PollError(text, transient=False, reason="AuthorizationFailed")
    if code in _COORDINATOR:
        text = f"{where}: the broker that keeps its commits is loading or moving"
        return PollError(text, reason="CoordinatorUnavailable")
    if code in _LEADERLESS:
        return PollError(f"{where}: has no leader now; is a broker down?", reason="LeaderUnavailable")
    return PollError(
        f"{where}: the broker answered error {code} ({for_code(code).__name__})", reason="ServiceError"
    )


def too_old(origin: str) -> PollError:
    """Say that the broker does not know a request."""
    text = f"{origin}: the broker does not know the requests this scaler needs; Kafka 0.11 or newer is needed"
    return PollError(text, transient=False, reason="BrokerTooOld")


def _tls_fault(cluster: Cluster, exc: BaseException) -> str:
    """Say what TLS failed on; empty if it was something else."""
    tls = _find(exc, ssl.SSLError)
    if isinstance(tls, ssl.SSLError):
        return f"TLS failed: {_tls_reason(tls)}; {_TLS_HINT}"
    cut = isinstance(exc, ConnectionResetError | ConnectionAbortedError) and not exc.strerror
    if cluster.tls and cut:  # so the event loop tells an end within the handshake
        return "the broker ended the TLS handshake; is this a TLS port? else give tls: disable"
    return ""


def refused(cluster: Cluster, address: Address, exc: BaseException) -> PollError:
    """Say why no connection came about, or why it was lost. The broker's own words may name the user."""
    where = f"{cluster.origin}: broker {show(address)}"
    tls = _tls_fault(cluster, exc)
    if tls:
        return PollError(f"{where}: {tls}", transient=False, reason="TlsFailed")
    mechanism = MECHANISMS.get(cluster.sasl, "")
    if isinstance(exc, UnsupportedSaslMechanismError):
        text = f"{where}: the listener does not offer {mechanism}; correct sasl"
        return PollError(text, transient=False, reason="AuthenticationFailed")
    if isinstance(exc, IllegalSaslStateError):
        text = f"{where}: the listener takes no SASL; remove sasl or name another port"
        return PollError(text, transient=False, reason="AuthenticationFailed")
    if isinstance(exc, ValueError | KeyError | AssertionError) and mechanism:
        text = f"{where}: what it answered to the login by {mechanism} is wrong; is it the right broker?"
        return PollError(text, transient=False, reason="AuthenticationFailed")
    if isinstance(exc, SaslAuthenticationFailed):
        text = f"{where}: the login by {mechanism} was refused; check username and password"
        return PollError(text, transient=False, reason="AuthenticationFailed")
    if isinstance(exc, TimeoutError):
        return PollError(f"{where}: no answer in time; is it overloaded or cut off?", reason="Timeout")
    if isinstance(exc, socket.gaierror | UnicodeError):
        return PollError(f"{where}: the host name is not known", reason="Unreachable")
    if isinstance(exc, OSError) and exc.strerror:
        return PollError(f"{where}: cannot connect: {exc.strerror}", reason="Unreachable")
    return PollError(f"{where}: the broker closed the connection; {_PLAIN_HINT}", reason="Unreachable")


def _find(exc: BaseException | None, kind: type[BaseException]) -> BaseException | None:
    while exc is not None and not isinstance(exc, kind):
        exc = exc.__cause__
    return exc


def _tls_reason(exc: ssl.SSLError) -> str:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return exc.verify_message
    return str(exc.reason or "no TLS was spoken").replace("_", " ").lower()
