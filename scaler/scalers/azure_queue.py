"""Trigger `azure-queue`: messages of one Azure Storage queue.

Source: KEDA's scaler `azure-queue`. Beyond it, the messages that workers hold (invisible ones) are told
apart, so that none of them starts an execution of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, ClassVar, Final, Literal

from azure.core.exceptions import HttpResponseError
from azure.storage.queue.aio import QueueClient
from pydantic import Field, ValidationInfo, field_validator, model_validator

from scaler.errors import PollError
from scaler.model.sample import Sample
from scaler.ports.scaler import MoveOrder, MoverType, NoteRequest, Scaler, ScalerContext, ScalerType, Suspect
from scaler.scalers._azure_clouds import PUBLIC, QUEUE_SUFFIXES, host_suffix, read_cloud, read_suffix
from scaler.scalers._azure_errors import Subject, azure_errors
from scaler.scalers._azure_queue_move import SUFFIX, move_poison
from scaler.scalers._azure_storage import StorageSession, open_storage
from scaler.scalers._azure_strings import StorageAccount, read_storage
from scaler.wire.metadata import KedaInt, SecretStr, Sources, TriggerMetadata

PEEK_MAX: Final = 32
"""The service shows at most so many visible messages at once."""


class Metadata(TriggerMetadata):
    """Parameters of `azure-queue`."""

    examples: ClassVar[Mapping[str, str]] = {
        "queueName": "orders",
        "connection": "AccountName=acct;AccountKey=…;EndpointSuffix=core.windows.net",
        "accountName": "acct", "cloud": "AzureUSGovernmentCloud",
        "endpointSuffix": "queue.core.example",
    }  # fmt: skip

    queue_name: str = Field(description="The queue.")
    queue_length: Annotated[KedaInt, Field(gt=0)] = Field(
        default=5, description="Target: messages that one execution takes. At least 1."
    )
    activation_queue_length: KedaInt = Field(
        default=0, description="Executions start only while the number of messages is above this."
    )
    queue_length_strategy: Literal["all", "visibleonly"] = Field(
        default="all",
        description="`all` counts every message, `visibleonly` leaves out those that workers hold or that are "
        "delayed, as long as fewer than 32 are visible.",
    )
    connection: Annotated[SecretStr | None, Sources("AME")] = Field(
        default=None,
        description="Connection string of the storage account, with account key or SAS. Needed without "
        "identity; not used with one.",
    )
    account_name: str | None = Field(
        default=None, description="The storage account. Needed with identity; not used without."
    )
    cloud: str = Field(
        default=PUBLIC,
        description="`AzurePublicCloud`, `AzureUSGovernmentCloud`, `AzureChinaCloud`, `AzureGermanCloud` or "
        "`Private`. A connection string carries its own address.",
    )
    endpoint_suffix: str | None = Field(
        default=None,
        description="Ending of the host name of queue storage. Needed, and used only, with cloud `Private`.",
    )

    @model_validator(mode="before")
    @classmethod
    def _look_at_absent_keys(cls, given: dict[str, str]) -> dict[str, str | None]:
        """Have the checks below run for keys that are not given, under the keys' own names."""
        return {"endpointSuffix": None, **given}

    @field_validator("connection")
    @classmethod
    def _connection_is_readable(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            read_storage(value.get_secret_value())
        return value

    @field_validator("cloud")
    @classmethod
    def _cloud_is_known(cls, value: str) -> str:
        return read_cloud(value)

    @field_validator("endpoint_suffix")
    @classmethod
    def _private_cloud_has_suffix(cls, value: str | None, info: ValidationInfo) -> str | None:
        return read_suffix(value, info.data.get("cloud"))


def account_of(meta: Metadata, identity: str | None) -> StorageAccount:
    """Give the account that the rule means: of the connection string, or with identity by its name."""
    if meta.connection is not None and identity is None:
        return read_storage(meta.connection.get_secret_value())
    suffix = host_suffix(QUEUE_SUFFIXES, meta.cloud, meta.endpoint_suffix)
    name = meta.account_name or ""
    return StorageAccount(url=f"https://{name}.{suffix}", name=name)


class AzureQueue:
    """One queue, read over a shared connection."""

    def __init__(self, session: StorageSession, meta: Metadata, subject: Subject, note: NoteRequest) -> None:
        self._session = session
        self._queue: QueueClient = session.queue(meta.queue_name)
        self._meta = meta
        self._subject = subject
        self._note = note

    async def poll(self) -> Sample:
        """Read the queue by the rule's strategy: one or two small requests."""
        with azure_errors(self._subject):
            async with asyncio.timeout(self._subject.timeout_s):
                if self._meta.queue_length_strategy == "visibleonly":
                    return await self._poll_visible()
                return await self._poll_all()

    async def _poll_all(self) -> Sample:
        """Count all; then look how many are visible, the rest being in the hands of workers."""
        count = await self._count()
        taken: float | None = 0.0
        if count > 0:
            visible = await self._refine(self._peek)
            taken = max(0, count - visible) if visible is not None and visible < PEEK_MAX else None
        return self._sample(count, includes_taken=True, taken=taken)

    async def _poll_visible(self) -> Sample:
        """Count the visible ones while the service shows them all; else all, as KEDA does."""
        visible = await self._peek()
        if visible >= PEEK_MAX:
            return self._sample(await self._count(), includes_taken=True, taken=None)
        count = await self._refine(self._count)
        taken = None if count is None else max(0, count - visible)
        return self._sample(visible, includes_taken=False, taken=taken)

    def _sample(self, value: int, *, includes_taken: bool, taken: float | None) -> Sample:
        active = value > self._meta.activation_queue_length
        return Sample(value=value, active=active, includes_taken=includes_taken, taken=taken)

    async def _count(self) -> int:
        properties = await self._session.ask(self._queue.get_queue_properties, self._note)
        count = properties.approximate_message_count
        if count is None:
            text = "the answer holds no message count; is this the address of an Azure queue service?"
            raise self._subject.fault(text, reason="CountMissing", transient=True)
        return int(count)

    async def _peek(self) -> int:
        messages = await self._session.ask(
            lambda: self._queue.peek_messages(max_messages=PEEK_MAX), self._note
        )
        return len(messages)

    async def _refine(self, read: Callable[[], Awaitable[int]]) -> int | None:
        """Read the second figure; where only the first one is allowed or readable, do without it."""
        try:
            return await read()
        except (HttpResponseError, PollError):
            return None


@asynccontextmanager
async def _opened(
    meta: Metadata, context: ScalerContext, rights: str
) -> AsyncIterator[tuple[StorageSession, Subject]]:
    """Give the connection that all rules of the same account and credentials share."""
    account = account_of(meta, context.identity)
    subject = Subject(
        name=f"queue '{meta.queue_name}' at {account.url}",
        missing="create it, or correct queueName",
        rights=rights,
        timeout_s=context.timeout_s,
    )
    key = ("azure-queue", account, context.identity)
    async with context.sessions.lease(
        key, lambda: open_storage(account, context.identity, context.timeout_s)
    ) as session:
        yield session, subject


@asynccontextmanager
async def open_scaler(meta: Metadata, context: ScalerContext) -> AsyncIterator[Scaler]:
    """Open the rule on the shared connection."""
    async with _opened(meta, context, _rights(context.identity)) as (session, subject):
        yield AzureQueue(session, meta, subject, context.note_request)


def refuse_move(meta: Metadata, to: str | None) -> str | None:
    """Say why poison messages cannot be moved."""
    if to == meta.queue_name:
        return f"to is the queue itself ({to}); name another one, or leave it out for {to}{SUFFIX}"
    return None


async def move(meta: Metadata, context: ScalerContext, order: MoveOrder) -> Suspect | None:
    """Move the poison message of the queue to another one."""
    rights = "moving messages needs the permissions r, a, u and p, and c to make the other queue"
    async with _opened(meta, context, rights) as (session, subject):
        with azure_errors(subject):
            return await move_poison(session, meta.queue_name, order, context.note_request)


def _rights(identity: str | None) -> str:
    if identity is None:
        return "check the key or SAS of the connection string (a SAS needs service q, permission r)"
    return f"give identity '{identity}' the role Storage Queue Data Reader on the account"


def source(meta: Metadata) -> str:
    """Give the queue service's host, and the account's path on an emulator."""
    return account_of(meta, None).url.partition("://")[2]


def check(meta: Metadata, identity: str | None) -> tuple[str, ...]:
    """Say whether credentials are missing."""
    if identity is None and meta.connection is None:
        return ("connection: missing; give it by auth or in metadata, or set the rule's identity",)
    if identity is not None and meta.account_name is None:
        return ("accountName: missing; with identity the storage account must be named",)
    return ()


SCALER = ScalerType(
    metadata=Metadata,
    target=lambda meta: float(meta.queue_length),
    open=open_scaler,
    source=source,
    summary="Messages of an Azure Storage queue",
    entities=lambda meta: frozenset({meta.queue_name}),
    check=check,
    mover=MoverType(refusal=refuse_move, move=move),
)
