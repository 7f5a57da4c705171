"""Trigger `azure-servicebus`: active messages of a Service Bus queue or subscription, or of several.

Source: KEDA's scaler `azure-servicebus`. The number comes from the management API, as KEDA's does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any, ClassVar, Literal

import re2  # type: ignore[import-untyped]
from pydantic import Field, ValidationInfo, field_validator, model_validator

from scaler.model.sample import Sample
from scaler.ports.scaler import MoveOrder, MoverType, Scaler, ScalerContext, ScalerType, Suspect
from scaler.scalers._azure_bus_admin import admin_host
from scaler.scalers._azure_bus_entity import Ask, Counted, Entity, read_count
from scaler.scalers._azure_bus_move import move_poison
from scaler.scalers._azure_bus_peek import amqp_host, open_client
from scaler.scalers._azure_bus_session import BusSession, Login, open_session
from scaler.scalers._azure_clouds import PUBLIC, SERVICE_BUS_SUFFIXES, host_suffix, read_cloud, read_suffix
from scaler.scalers._azure_errors import Subject, azure_errors
from scaler.scalers._azure_strings import BusNamespace, read_bus
from scaler.wire.metadata import KedaBool, KedaInt, SecretStr, Sources, TriggerMetadata


def compile_pattern(text: str) -> Any:
    """Compile a pattern of RE2, KEDA's own: no pattern takes more time than the name is long.

    Raises:
        re2.error: it is none.
    """
    options = re2.Options()
    options.log_errors = False
    return re2.compile(text, options=options)


class Metadata(TriggerMetadata):
    """Parameters of `azure-servicebus`."""

    examples: ClassVar[Mapping[str, str]] = {
        "topicName": "orders", "subscriptionName": "mail", "queueName": "orders",
        "connection": "Endpoint=sb://shop.servicebus.windows.net/;SharedAccessKeyName=…;SharedAccessKey=…",
        "namespace": "shop", "cloud": "AzureUSGovernmentCloud", "endpointSuffix": "servicebus.example",
        "adminPort": "5300",
    }  # fmt: skip

    topic_name: str | None = Field(
        default=None, description="The topic of the subscription; together with `subscriptionName`."
    )
    subscription_name: str | None = Field(
        default=None,
        description="The subscription; with `useRegex` a pattern of the whole name.",
    )
    queue_name: str | None = Field(
        default=None,
        description="The queue, in place of topic and subscription; with `useRegex` a pattern of the whole "
        "name.",
    )
    message_count: Annotated[KedaInt, Field(gt=0)] = Field(
        default=5, description="Target: messages that one execution takes. At least 1."
    )
    activation_message_count: KedaInt = Field(
        default=0, description="Executions start only while the number of messages is above this."
    )
    connection: Annotated[SecretStr | None, Sources("AE")] = Field(
        default=None,
        description="Connection string of the namespace, with the right Manage; with Listen alone the number is "
        "a lower bound. Needed without identity; not used with one.",
    )
    namespace: str | None = Field(
        default=None, description="Name of the namespace. Needed with identity; not used without."
    )
    use_regex: KedaBool = Field(
        default=False,
        description="Whether `queueName` or `subscriptionName` is a regular expression. It tells upper from "
        "lower case and must match the whole name.",
    )
    operation: Literal["sum", "max", "avg"] = Field(
        default="sum", description="With `useRegex`: how the matches' numbers become one; `avg` rounds down."
    )
    cloud: str = Field(
        default=PUBLIC,
        description="`AzurePublicCloud`, `AzureUSGovernmentCloud`, `AzureChinaCloud`, `AzureGermanCloud` or "
        "`Private`. A connection string carries its own address.",
    )
    endpoint_suffix: str | None = Field(
        default=None,
        description="Ending of the host name of Service Bus. Needed, and used only, with cloud `Private`.",
    )
    admin_port: Annotated[KedaInt, Field(ge=1, le=65535)] | None = Field(
        default=None,
        description="Ours, not KEDA's: port of the management API. Without it, that of the connection "
        "string's Endpoint, or 5300 for an emulator (`UseDevelopmentEmulator=true`).",
    )

    @model_validator(mode="before")
    @classmethod
    def _look_at_absent_keys(cls, given: dict[str, str]) -> dict[str, str | None]:
        """Have the checks below run for keys that are not given, under the keys' own names."""
        return {"subscriptionName": None, "queueName": None, "endpointSuffix": None, **given}

    @field_validator("subscription_name")
    @classmethod
    def _subscription_has_topic(cls, value: str | None, info: ValidationInfo) -> str | None:
        topic = info.data.get("topic_name")
        if topic is not None and value is None:
            raise ValueError("missing; topicName needs subscriptionName, a topic itself holds no messages")
        if topic is None and value is not None:
            raise ValueError("needs topicName; a queue has no subscriptions")
        return value

    @field_validator("queue_name")
    @classmethod
    def _queue_or_topic(cls, value: str | None, info: ValidationInfo) -> str | None:
        if "subscription_name" not in info.data:
            return value  # already at fault
        topic = info.data.get("topic_name")
        if value is None and topic is None:
            raise ValueError("missing; give queueName, or topicName and subscriptionName")
        if value is not None and topic is not None:
            raise ValueError("not together with topicName; write two rules to read both")
        return value

    @field_validator("connection")
    @classmethod
    def _connection_is_readable(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            read_bus(value.get_secret_value())
        return value

    @field_validator("use_regex")
    @classmethod
    def _pattern_is_readable(cls, value: bool, info: ValidationInfo) -> bool:
        names = ("queue_name", "subscription_name")
        pattern = next((info.data[name] for name in names if info.data.get(name)), "") if value else ""
        try:
            compile_pattern(pattern)
        except re2.error as exc:
            told = exc.args[0].decode(errors="replace") if exc.args else "it cannot be read"
            raise ValueError(f"'{pattern}' is not a regular expression of RE2: {told}") from exc
        return value

    @field_validator("cloud")
    @classmethod
    def _cloud_is_known(cls, value: str) -> str:
        return read_cloud(value)

    @field_validator("endpoint_suffix")
    @classmethod
    def _private_cloud_has_suffix(cls, value: str | None, info: ValidationInfo) -> str | None:
        return read_suffix(value, info.data.get("cloud"))


def namespace_of(meta: Metadata, identity: str | None) -> BusNamespace:
    """Give the namespace that the rule means: of the connection string, or with identity by its name."""
    if meta.connection is not None and identity is None:
        return read_bus(meta.connection.get_secret_value())
    suffix = host_suffix(SERVICE_BUS_SUFFIXES, meta.cloud, meta.endpoint_suffix)
    name = (meta.namespace or "").removesuffix(f".{suffix}")
    return BusNamespace(host=f"{name}.{suffix}")


class AzureServiceBus:
    """What one rule counts, read over a shared connection."""

    def __init__(self, session: BusSession, meta: Metadata, ask: Ask) -> None:
        self._session = session
        self._meta = meta
        self._ask = ask

    async def poll(self) -> Sample:
        """Read the active messages: one request, with `useRegex` one for each hundred entities.

        Rules that ask at the same moment share the pages of a list where that takes fewer requests.
        """
        subject = self._ask.subject
        with azure_errors(subject):
            async with asyncio.timeout(subject.timeout_s):
                counted = await (self._count_matches() if self._meta.use_regex else self._count_one())
        return Sample(
            value=counted.value,
            active=counted.value > self._meta.activation_message_count,
            includes_taken=True,
            taken=None,
            as_of=counted.asked_at,
            lower_bound=counted.lower_bound,
        )

    async def _count_one(self) -> Counted:
        return await self._session.one(_one(self._meta), self._ask)

    async def _count_matches(self) -> Counted:
        meta = self._meta
        pattern = compile_pattern(meta.subscription_name or meta.queue_name or "")
        listing = await self._session.counts.every(meta.topic_name, self._ask)
        counts = [
            read_count(row, self._ask.subject) for row in listing.rows.values() if pattern.fullmatch(row.name)
        ]
        return Counted(value=combine(counts, meta.operation), asked_at=listing.asked_at)


def combine(counts: list[int], operation: str) -> int:
    """Make one number of the matches' counts; 0 without matches."""
    if not counts:
        return 0
    if operation == "max":
        return max(counts)
    return sum(counts) // len(counts) if operation == "avg" else sum(counts)


@asynccontextmanager
async def open_scaler(meta: Metadata, context: ScalerContext) -> AsyncIterator[Scaler]:
    """Open the rule on the connection that it shares with all rules of the same namespace and credentials."""
    login, subject = _login(meta, context), _subject(meta, context)
    async with context.sessions.lease(
        ("azure-servicebus", login), lambda: open_session(login, context.timeout_s, context.now)
    ) as session:
        yield AzureServiceBus(session, meta, Ask(subject=subject, note=context.note_request))


def _login(meta: Metadata, context: ScalerContext) -> Login:
    namespace = namespace_of(meta, context.identity)
    return Login(namespace=namespace, identity=context.identity, admin_port=meta.admin_port)


def _subject(meta: Metadata, context: ScalerContext) -> Subject:
    return Subject(
        name=f"{_entity(meta)} at {_login(meta, context).host}",
        missing="create it, or correct the names in the rule",
        rights=_rights(context.identity),
        timeout_s=context.timeout_s,
    )


def refuse_move(meta: Metadata, to: str | None) -> str | None:
    """Say why poison messages cannot be moved."""
    if meta.use_regex:
        return "a rule with useRegex has several queues; make each one a job, or remove it"
    if to is not None:
        return "Service Bus moves messages to the dead-letter queue of their own queue or subscription; remove 'to'"
    return None


async def move(meta: Metadata, context: ScalerContext, order: MoveOrder) -> Suspect | None:
    """Move the poison message into the dead-letter queue."""
    login = _login(meta, context)
    host = amqp_host(login.namespace, login.admin_port)
    async with open_client(login.namespace, host, login.identity) as client:
        return await move_poison(client, _one(meta), order, _subject(meta, context), context.now())


def _one(meta: Metadata) -> Entity:
    name = (meta.queue_name if meta.topic_name is None else meta.subscription_name) or ""
    return Entity(name=name, topic=meta.topic_name)


def _entity(meta: Metadata) -> str:
    if meta.topic_name is None:
        return f"queues '{meta.queue_name}'" if meta.use_regex else f"queue '{meta.queue_name}'"
    kind = "subscriptions" if meta.use_regex else "subscription"
    return f"{kind} '{meta.subscription_name}' of topic '{meta.topic_name}'"


def _rights(identity: str | None) -> str:
    if identity is None:
        return "check the key of the connection string; its policy needs the right Manage"
    return f"give identity '{identity}' the role Azure Service Bus Data Owner on the namespace"


def entities(meta: Metadata) -> frozenset[str]:
    """Name the queue or subscription; a pattern names none."""
    if meta.use_regex:
        return frozenset()
    return frozenset({meta.queue_name or f"{meta.topic_name}/{meta.subscription_name}"})


def source(meta: Metadata) -> str:
    """Give host and port of the management API."""
    return admin_host(namespace_of(meta, None), meta.admin_port)


def check(meta: Metadata, identity: str | None) -> tuple[str, ...]:
    """Say whether credentials are missing."""
    if identity is None and meta.connection is None:
        return ("connection: missing; give it by auth, or set the rule's identity",)
    if identity is not None and meta.namespace is None:
        return ("namespace: missing; with identity the Service Bus namespace must be named",)
    return ()


SCALER = ScalerType(
    metadata=Metadata,
    target=lambda meta: float(meta.message_count),
    open=open_scaler,
    source=source,
    summary="Active messages of an Azure Service Bus queue or subscription",
    entities=entities,
    check=check,
    mover=MoverType(refusal=refuse_move, move=move),
)
