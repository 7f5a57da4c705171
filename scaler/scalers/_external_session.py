"""One gRPC channel to one external scaler, shared by all rules with the same address and TLS settings.

It asks and gives plain values; what they mean for a rule is decided elsewhere.
"""

from __future__ import annotations

import asyncio
import os
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

# Its core writes each failed handshake to stderr; failures reach the user as the rule's fault.
_given = os.environ.get("GRPC_VERBOSITY")
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
import grpc  # type: ignore[import-untyped]  # noqa: E402
import grpc.aio  # type: ignore[import-untyped]  # noqa: E402
from cryptography import x509  # noqa: E402

if _given is None:
    del os.environ["GRPC_VERBOSITY"]  # not for the programs that executors start

from scaler.errors import PollError  # noqa: E402
from scaler.scalers import _external_protocol as wire  # noqa: E402

_OPTIONS: Final = (
    ("grpc.use_local_subchannel_pool", 1),  # a channel opened anew must not inherit the old one's back-off
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 10_000),  # also how long connecting may take; a poll ends before
    ("grpc.max_reconnect_backoff_ms", 1000),
)
_TLS_WORDS: Final = ("handshak", "SSL_ERROR", "erification check failed", "ertificate")
_TLS_REASON: Final = re.compile(r"OPENSSL_internal:([A-Z_]+)(: [a-z][a-z ]+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """What two rules must have in common to share a channel. The texts are PEM, empty if not given."""

    address: str
    is_tls: bool
    verify: bool = True
    ca: str = ""
    cert: str = field(default="", repr=False)
    key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Who asks: the job and what its rule says, which may hold secrets."""

    job: str
    namespace: str
    metadata: tuple[tuple[str, str], ...] = field(repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def message(self) -> Any:
        """Make the message of it."""
        return wire.ScaledObjectRef(
            name=self.job, namespace=self.namespace, scalerMetadata=dict(self.metadata)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A metric's name with its target, or with its value."""

    name: str
    number: float


class ExternalSession:
    """The client. `timeout_s` of each call is the deadline that the server is told."""

    def __init__(self, channel: Any, server: Server) -> None:
        self._channel = channel
        self._server = server

    async def specs(self, who: Reference, *, timeout_s: float) -> list[Figure]:
        """Ask for the metrics with their targets; of both numbers the float wins if it is above 0.

        Raises:
            PollError: see `_failed`.
        """
        answer = await self._ask(
            "GetMetricSpec", who.message(), wire.GetMetricSpecResponse, who, timeout_s=timeout_s
        )
        return [
            Figure(name=spec.metricName, number=_pick(spec.targetSizeFloat, spec.targetSize))
            for spec in answer.metricSpecs
        ]

    async def values(self, who: Reference, metric: str, *, timeout_s: float) -> list[Figure]:
        """Ask for the values of one metric; of both numbers the float wins if it is above 0.

        Raises:
            PollError: see `_failed`.
        """
        request = wire.GetMetricsRequest(scaledObjectRef=who.message(), metricName=metric)
        answer = await self._ask("GetMetrics", request, wire.GetMetricsResponse, who, timeout_s=timeout_s)
        return [
            Figure(name=value.metricName, number=_pick(value.metricValueFloat, value.metricValue))
            for value in answer.metricValues
        ]

    async def is_active(self, who: Reference, *, timeout_s: float) -> bool:
        """Ask whether there is work.

        Raises:
            PollError: see `_failed`.
        """
        answer = await self._ask("IsActive", who.message(), wire.IsActiveResponse, who, timeout_s=timeout_s)
        return bool(answer.result)

    async def _ask(self, method: str, request: Any, answer: Any, who: Reference, *, timeout_s: float) -> Any:
        call = self._channel.unary_unary(
            f"/{wire.SERVICE}/{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=answer.FromString,
        )
        try:
            return await call(request, timeout=timeout_s)
        except grpc.aio.AioRpcError as exc:
            raise _failed(exc, f"{self._server.address}, {method}", who.secrets, timeout_s) from exc


def _pick(new: float, old: int) -> float:
    return new if new > 0 else float(old)


_CODES: Final[dict[Any, tuple[str, bool, str]]] = {
    grpc.StatusCode.UNAUTHENTICATED: (
        "AuthenticationFailed",
        False,
        "check tlsClientCert and tlsClientKey, or what the scaler asks for in metadata",
    ),
    grpc.StatusCode.PERMISSION_DENIED: ("AuthorizationFailed", False, "give this client the right to ask"),
    grpc.StatusCode.NOT_FOUND: ("EntityNotFound", False, "correct the names in the rule's metadata"),
    grpc.StatusCode.RESOURCE_EXHAUSTED: ("Throttled", True, "poll less often"),
    grpc.StatusCode.UNIMPLEMENTED: (
        "BadAnswer",
        False,
        "no externalscaler.ExternalScaler service answers there; correct scalerAddress",
    ),
    grpc.StatusCode.INVALID_ARGUMENT: ("BadRequest", False, "correct the rule's metadata"),
    grpc.StatusCode.FAILED_PRECONDITION: ("BadRequest", False, "correct the rule's metadata"),
    grpc.StatusCode.OUT_OF_RANGE: ("BadRequest", False, "correct the rule's metadata"),
}


def _failed(exc: Any, where: str, secrets: tuple[str, ...], timeout_s: float) -> PollError:
    """Say what a status means; what the server wrote is repeated without the secrets that it was sent."""
    code, said = exc.code(), _masked(exc.details() or "", secrets)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        text = f"{where}: no answer within {timeout_s:g} s; is the external scaler up?"
        return PollError(text, reason="Timeout")
    if code is grpc.StatusCode.UNAVAILABLE:
        return _unavailable(where, said)
    if code is grpc.StatusCode.INTERNAL and "deserializing" in said:
        text = f"{where}: the answer cannot be read; is this an external scaler of KEDA's protocol?"
        return PollError(text, reason="BadAnswer")
    told = f"{code.name} ({said})" if said else code.name
    reason, is_transient, hint = _CODES.get(code, ("ServiceError", True, "see the external scaler's log"))
    return PollError(f"{where}: {told}; {hint}", transient=is_transient, reason=reason)


def _unavailable(where: str, said: str) -> PollError:
    if any(word in said for word in _TLS_WORDS):
        found = _TLS_REASON.search(said)
        why = "the certificate or a PEM text was not taken"
        if found:
            why = found[1].replace("_", " ").lower() + (found[2] or "")
        text = f"{where}: TLS failed: {why}; check caCert, tlsClientCert, tlsClientKey and the host name"
        return PollError(text, transient=False, reason="TlsFailed")
    why = said.rpartition(": ")[2] if said else "no reason given"
    if "timed out" in why:  # it takes connections and says nothing
        return PollError(f"{where}: {why}; is the external scaler up, and is it one?", reason="Timeout")
    text = f"{where}: cannot be reached ({why}); check scalerAddress and enableTLS, and that the scaler runs"
    return PollError(text, reason="Unreachable")


def _masked(text: str, secrets: tuple[str, ...]) -> str:
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text.partition("\n")[0][:300]


@asynccontextmanager
async def open_external(server: Server, timeout_s: float) -> AsyncIterator[ExternalSession]:
    """Give a session, and close its channel afterwards. Nothing is asked yet.

    Raises:
        PollError: with `verify` off, when the certificate cannot be fetched.
    """
    if not server.is_tls:
        channel = grpc.aio.insecure_channel(server.address, options=_OPTIONS)
    else:
        options: tuple[tuple[str, int | str], ...] = _OPTIONS
        root = server.ca.encode() or None
        if not server.verify:
            root, name = await _pin(server.address, timeout_s)
            options = (*_OPTIONS, ("grpc.ssl_target_name_override", name))
        pair = (server.key.encode() or None, server.cert.encode() or None)
        credentials = grpc.ssl_channel_credentials(root, *pair)
        channel = grpc.aio.secure_channel(server.address, credentials, options=options)
    try:
        yield ExternalSession(channel, server)
    finally:
        await channel.close()


async def _pin(address: str, timeout_s: float) -> tuple[bytes, str]:
    """Fetch the server's certificate unchecked, to trust just this one: gRPC cannot leave the check out."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    host, _, port = address.rpartition("/")[2].rpartition(":")
    try:
        async with asyncio.timeout(timeout_s):
            _reader, writer = await asyncio.open_connection(host.strip("[]"), int(port), ssl=context)
    except TimeoutError as exc:
        raise PollError(f"{address}: no answer within {timeout_s:g} s", reason="Timeout") from exc
    except ssl.SSLError as exc:
        text = f"{address}: TLS failed: {(exc.reason or 'no TLS').replace('_', ' ').lower()}; check the port"
        raise PollError(text, transient=False, reason="TlsFailed") from exc
    except OSError as exc:
        why = exc.strerror or type(exc).__name__
        raise PollError(
            f"{address}: cannot be reached ({why}); is the scaler up?", reason="Unreachable"
        ) from exc
    try:
        found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    finally:
        writer.transport.abort()
    return ssl.DER_cert_to_PEM_cert(found).encode(), _name_of(found, address)


def _name_of(certificate: bytes, address: str) -> str:
    """Give a name that the certificate is good for; any will do."""
    try:
        parsed = x509.load_der_x509_certificate(certificate)
        names = [str(name.value) for name in parsed.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]
        for extension in parsed.extensions:
            if isinstance(extension.value, x509.SubjectAlternativeName):
                names = [
                    *map(str, extension.value.get_values_for_type(x509.DNSName)),
                    *map(str, extension.value.get_values_for_type(x509.IPAddress)),
                ]
    except ValueError as exc:
        text = f"{address}: TLS failed: the server's certificate cannot be read"
        raise PollError(text, transient=False, reason="TlsFailed") from exc
    return names[0].replace("*", "any", 1) if names else address
