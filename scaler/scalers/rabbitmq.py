"""Trigger `rabbitmq`: messages of a queue, by AMQP or by the management API.

Source: KEDA docs, scaler `rabbitmq-queue`, and its behaviour on live brokers. What was a fault there and is
not repeated here is listed on the page docs/scalers/rabbitmq.md.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import BeforeValidator, Field, SecretStr, model_validator

from scaler.errors import PollError
from scaler.model.sample import Sample
from scaler.ports.scaler import MoverType, Scaler, ScalerContext, ScalerType
from scaler.scalers._http_auth import ClientCredentials, Credentials, WorkloadIdentity
from scaler.scalers._rabbitmq_address import Address, parse_address
from scaler.scalers._rabbitmq_amqp import AmqpSession, open_amqp
from scaler.scalers._rabbitmq_counts import Mode, Operation, measure, merge
from scaler.scalers._rabbitmq_http import Ask, Counted, Endpoint, HttpSession, Pattern, open_http
from scaler.scalers._rabbitmq_move import move_poison, refuse_move
from scaler.scalers._tls import Tls
from scaler.wire.metadata import KedaBool, KedaFloat, KedaInt, Sources, TriggerMetadata

DEFAULT_TARGET: Final = 20.0
MAX_NAME_BYTES: Final = 255
STATISTICS_LAG: Final = timedelta(seconds=5)
"""How old the broker's statistics may be: it gathers them every 5 s."""

_UNITS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PIECE: Final = r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h)"


def _read_duration(value: object) -> object:
    """Read whole milliseconds or text such as `1m30s`; the result is in seconds."""
    if not isinstance(value, str):
        return value
    if re.fullmatch(r"[0-9]+", value):
        return int(value) / 1000
    if re.fullmatch(f"(?:{_PIECE})+", value):
        return sum(float(number) * _UNITS[unit] for number, unit in re.findall(_PIECE, value))
    raise ValueError(f"got '{value}'; write whole milliseconds or a duration such as 5s")


Duration = Annotated[float, BeforeValidator(_read_duration)]
AUTH: Final = Sources("A")


class Metadata(TriggerMetadata):
    """Parameters of the trigger. Empty text means not given."""

    examples: ClassVar[Mapping[str, str]] = {
        "queueName": "orders", "host": "amqp://user:password@mq:5672/", "value": "5",
        "queueLength": "5", "vhostName": "sales", "timeout": "5s", "username": "scaler",
        "ca": "-----BEGIN CERTIFICATE----- …", "cert": "-----BEGIN CERTIFICATE----- …",
        "key": "-----BEGIN PRIVATE KEY----- …", "tls": "enable",
        "workloadIdentityResource": "api://broker", "oauthTokenURI": "https://login.example.com/token",
        "clientID": "scaler", "scopes": "rabbitmq.read", "endpointParams": "audience=rabbitmq",
    }  # fmt: skip

    queue_name: str = Field(description="Queue, or with `useRegex` a pattern over the names of all queues")
    host: Annotated[SecretStr, Sources("MAE")] = Field(
        description="`amqp(s)://user:password@host:port/vhost` or `http(s)://user:password@host:port/vhost`"
    )
    protocol: Annotated[Literal["auto", "http", "amqp"], Sources("MA")] = Field(
        default="auto", description="`auto` goes by the scheme of `host`"
    )
    mode: Mode = Field(default=Mode.UNKNOWN, description="What is measured; see above. Goes with `value`")
    value: KedaFloat = Field(default=0.0, description="Target of one execution in the unit of `mode`")
    queue_length: KedaInt = Field(
        default=0, description="Older form of `mode: QueueLength` with `value`: messages per execution"
    )
    activation_value: KedaFloat = Field(default=0.0, description="Active only above this")
    vhost_name: Annotated[str, Sources("MA")] = Field(
        default="", description="Plain name of the vhost, in place of the one in `host`"
    )
    exclude_unacknowledged: KedaBool = Field(default=False, description="HTTP: count ready messages only")
    use_regex: KedaBool = Field(
        default=False, description="HTTP: `queueName` is a pattern (PCRE, case-insensitive, unanchored)"
    )
    page_size: Annotated[KedaInt, Field(ge=1, le=500)] = Field(
        default=100, description="HTTP with `useRegex`: queues per page, 1 to 500; all pages are read"
    )
    operation: Operation = Field(
        default=Operation.SUM, description="With `useRegex`: `sum`, `avg` or `max` over the queues"
    )
    timeout: Duration = Field(
        default=0.0,
        description="HTTP: limit of one poll, milliseconds or `5s`; never more than the daemon allows",
    )
    username: Annotated[SecretStr, Sources("AE")] = Field(
        default=SecretStr(""), description="User, in place of the one in `host`; with `password` only"
    )
    password: Annotated[SecretStr, Sources("AE")] = Field(default=SecretStr(""), description="Its password")
    tls: Annotated[Literal["enable", "disable"], AUTH] = Field(
        default="disable",
        description="`enable` turns `amqp://` into `amqps://` and `http://` into `https://`",
    )
    ca: Annotated[str, AUTH] = Field(
        default="", description="PEM text of a CA, trusted beside the system's ones"
    )
    cert: Annotated[SecretStr, AUTH] = Field(
        default=SecretStr(""), description="PEM text of the client certificate; with `key` only"
    )
    key: Annotated[SecretStr, AUTH] = Field(default=SecretStr(""), description="PEM text of its key")
    key_password: Annotated[SecretStr, AUTH] = Field(
        default=SecretStr(""), description="Password of an encrypted `key`"
    )
    unsafe_ssl: KedaBool = Field(default=False, description="Checks neither certificate nor host name")
    workload_identity_resource: Annotated[str, AUTH] = Field(
        default="", description="HTTP: Entra resource whose token is sent, as the rule's `identity`"
    )
    oauth_token_uri: Annotated[str, AUTH] = Field(
        default="",
        alias="oauthTokenURI",
        description="HTTP: where tokens for OAuth2 client credentials are got",
    )
    client_id: Annotated[SecretStr, AUTH] = Field(
        default=SecretStr(""), alias="clientID", description="OAuth2 client"
    )
    client_secret: Annotated[SecretStr, AUTH] = Field(default=SecretStr(""), description="Its secret")
    scopes: Annotated[str, AUTH] = Field(default="", description="OAuth2 scopes, comma separated")
    endpoint_params: Annotated[SecretStr, AUTH] = Field(
        default=SecretStr(""), description="Further fields of the token request, as `key=value&key=value`"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        faults = [*_pair_faults(self), *_trigger_faults(self), *_oauth_faults(self)]
        try:
            address = self.address
        except ValueError as exc:
            faults.append(f"host: {exc}")
        else:
            faults += _protocol_faults(self, address)
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @property
    def address(self) -> Address:
        """The broker that `host` and the parameters which override parts of it name.

        Raises:
            ValueError: only before validation is done.
        """
        return parse_address(
            self.host.get_secret_value(),
            vhost_name=self.vhost_name,
            username=self.username.get_secret_value(),
            password=self.password.get_secret_value(),
            tls_enabled=self.tls == "enable",
            tls=Tls(
                verify=not self.unsafe_ssl,
                ca=self.ca,
                cert=self.cert.get_secret_value(),
                key=self.key.get_secret_value(),
                key_password=self.key_password.get_secret_value(),
            ),
        )

    @property
    def measured(self) -> Mode:
        """The mode in force."""
        return Mode.QUEUE_LENGTH if self.mode is Mode.UNKNOWN else self.mode

    @property
    def target(self) -> float:
        """Messages (or the mode's unit) per execution, three decimals; 0 counts as not given."""
        return round(self.value or float(self.queue_length), 3) or DEFAULT_TARGET

    def credentials(self, identity: str | None) -> Credentials:
        """What the management API is told, None for the address's own user."""
        if self.oauth_token_uri:
            return ClientCredentials(
                token_uri=self.oauth_token_uri,
                client_id=self.client_id.get_secret_value(),
                client_secret=self.client_secret.get_secret_value(),
                scopes=self.scopes,
                endpoint_params=self.endpoint_params.get_secret_value(),
            )
        if self.workload_identity_resource:
            return WorkloadIdentity(resource=self.workload_identity_resource, identity=identity)
        return None


def _given(*secrets: SecretStr) -> list[bool]:
    return [bool(secret.get_secret_value()) for secret in secrets]


def _pair_faults(meta: Metadata) -> list[str]:
    faults = []
    if len(set(_given(meta.username, meta.password))) > 1:
        faults.append("username and password: give both or none")
    if len(set(_given(meta.cert, meta.key))) > 1:
        faults.append("cert and key: give both or none")
    return faults


def _trigger_faults(meta: Metadata) -> list[str]:
    has_mode, value = meta.mode is not Mode.UNKNOWN, meta.value or float(meta.queue_length)
    if meta.queue_length and (has_mode or meta.value):
        return ["queueLength: the older form; remove it, or remove mode and value"]
    if has_mode and not meta.value:
        return [f"mode {meta.mode}: needs a value greater than 0"]
    if meta.value and not has_mode:
        return [f"value: needs a mode; known: {', '.join(m for m in Mode if m is not Mode.UNKNOWN)}"]
    if value and round(value, 3) <= 0:
        key = "queueLength" if meta.queue_length else "value"
        return [f"{key}: got {value:g}; write a number of at least {'1' if meta.queue_length else '0.001'}"]
    return []


def _oauth_faults(meta: Metadata) -> list[str]:
    needed = [bool(meta.oauth_token_uri), *_given(meta.client_id, meta.client_secret)]
    extra = bool(meta.scopes) or any(_given(meta.endpoint_params))
    if not any(needed) and not extra:
        return []
    if not all(needed):
        return ["OAuth2: needs oauthTokenURI, clientID and clientSecret"]
    faults = []
    if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s#]*)?", meta.oauth_token_uri):
        faults.append("oauthTokenURI: not an http:// or https:// URL (without user and password)")
    if any(_given(meta.username, meta.password)):
        faults.append("OAuth2: excludes username and password; give one of the two")
    if meta.workload_identity_resource:
        faults.append("OAuth2: excludes workloadIdentityResource; give one of the two")
    return faults


def _protocol_faults(meta: Metadata, address: Address) -> list[str]:
    faults = []
    if meta.protocol != "auto" and (meta.protocol == "http") != address.is_http:
        kind = "an http:// or https://" if meta.protocol == "http" else "an amqp:// or amqps://"
        faults.append(f"protocol {meta.protocol}: host must be {kind} URL")
    if address.tls is None and (meta.ca or any(_given(meta.cert, meta.key))):
        faults.append(
            "ca, cert and key: the connection is plain; give tls: enable by auth, or host an encrypted scheme"
        )
    if not meta.use_regex and len(meta.queue_name.encode()) > MAX_NAME_BYTES:
        faults.append(f"queueName: longer than {MAX_NAME_BYTES} bytes, which no queue's name can be")
    if not address.is_http:
        faults += [
            f"{what}: needs the management API; write an http:// or https:// host"
            for what in _http_only(meta)
        ]
    return faults


def _http_only(meta: Metadata) -> list[str]:
    """List what was given and AMQP cannot do. KEDA minds a timeout only beside mode and value; so do we."""
    uses = {
        f"mode {meta.mode}": meta.measured is not Mode.QUEUE_LENGTH,
        "excludeUnacknowledged": meta.exclude_unacknowledged,
        "useRegex": meta.use_regex,
        "timeout": meta.timeout > 0 and meta.mode is not Mode.UNKNOWN,
        "workloadIdentityResource": bool(meta.workload_identity_resource),
        "OAuth2": bool(meta.oauth_token_uri),
    }
    return [what for what, is_used in uses.items() if is_used]


class AmqpQueue:
    """Counts ready messages; every consumer is taken to hold one execution's share."""

    def __init__(self, session: AmqpSession, meta: Metadata, context: ScalerContext) -> None:
        self._session = session
        self._meta = meta
        self._now = context.now
        self._note = context.note_request
        self._timeout_s = _limit(meta, context)

    async def poll(self) -> Sample:
        """Ask the broker for the queue."""
        asked_at = self._now()
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._note()
                declared = await self._session.declare(self._meta.queue_name)
        except TimeoutError as exc:
            raise _timeout(self._meta, self._timeout_s) from exc
        return Sample(
            value=float(declared.ready),
            active=declared.ready > self._meta.activation_value,
            includes_taken=False,
            taken=declared.consumers * self._meta.target,
            as_of=asked_at,
        )


class HttpQueue:
    """Counts ready and unacknowledged messages, or reads rates."""

    def __init__(self, session: HttpSession, meta: Metadata, context: ScalerContext) -> None:
        self._session = session
        self._meta = meta
        self._vhost = meta.address.vhost
        self._note = context.note_request
        self._timeout_s = _limit(meta, context)

    async def poll(self) -> Sample:
        """Ask the management API, or join who is asking."""
        try:
            async with asyncio.timeout(self._timeout_s):
                counted = await self._count()
        except TimeoutError as exc:
            raise _timeout(self._meta, self._timeout_s) from exc
        return _sample(self._meta, counted)

    async def _count(self) -> Counted:
        name, rates = self._meta.queue_name, self._meta.measured is not Mode.QUEUE_LENGTH
        ask = Ask(timeout_s=self._timeout_s, note=self._note)
        if self._meta.use_regex:
            pattern = Pattern(text=name, page_size=self._meta.page_size)
            return await self._session.matching(self._vhost, pattern, ask, rates=rates)
        if rates:
            return await self._session.statistics(self._vhost, name, ask)
        return await self._session.count(self._vhost, name, ask)


def _sample(meta: Metadata, counted: Counted) -> Sample:
    """Make the sample. A rate says nothing of messages held, so `taken` is unknown then."""
    queue = merge(counted.queues, meta.operation)
    ready_only = meta.exclude_unacknowledged
    measured = measure(meta.measured, queue, activation=meta.activation_value, ready_only=ready_only)
    as_of = counted.asked_at if queue.is_exact else counted.asked_at - STATISTICS_LAG
    if meta.measured is not Mode.QUEUE_LENGTH:
        return Sample(value=measured.value, active=measured.active, as_of=as_of)
    return Sample(
        value=measured.value,
        active=measured.active,
        includes_taken=not ready_only,
        taken=float(queue.unacknowledged if ready_only else min(queue.unacknowledged, queue.length)),
        as_of=as_of,
    )


def _limit(meta: Metadata, context: ScalerContext) -> float:
    return min(meta.timeout, context.timeout_s) if meta.timeout > 0 else context.timeout_s


def _timeout(meta: Metadata, timeout_s: float) -> PollError:
    return PollError(f"{source(meta)}: no answer within {timeout_s:g} s; is the broker up?", reason="Timeout")


@asynccontextmanager
async def open_scaler(meta: Metadata, context: ScalerContext) -> AsyncIterator[Scaler]:
    """Lease the broker's shared connection; nothing is asked before the first poll."""
    address = meta.address
    if not address.is_http:
        key = ("rabbitmq-amqp", address)
        async with context.sessions.lease(key, lambda: open_amqp(address, context.timeout_s)) as amqp:
            yield AmqpQueue(amqp, meta, context)
        return
    endpoint = Endpoint.of(address, meta.credentials(context.identity))
    key_http = ("rabbitmq-http", endpoint)
    async with context.sessions.lease(
        key_http, lambda: open_http(endpoint, context.timeout_s, context.now, address)
    ) as http:
        yield HttpQueue(http, meta, context)


def source(meta: Metadata) -> str:
    """The broker's address without credentials."""
    return meta.address.origin


def check(meta: Metadata, identity: str | None) -> tuple[str, ...]:
    """Say where an identity is given that nothing uses."""
    if identity and not meta.workload_identity_resource:
        return ("identity: used only with workloadIdentityResource, given by auth; remove it or give both",)
    return ()


SCALER: Final = ScalerType(
    metadata=Metadata,
    target=lambda meta: meta.target,
    open=open_scaler,
    source=source,
    check=check,
    summary="messages of a RabbitMQ queue, by AMQP or the management API",
    mover=MoverType(
        refusal=lambda meta, to: refuse_move(meta.address, meta.queue_name, to),
        move=lambda meta, _context, order: move_poison(meta.address, meta.queue_name, order),
    ),
    entities=lambda meta: frozenset() if meta.use_regex else frozenset({meta.queue_name}),
)
