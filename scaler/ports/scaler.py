"""What a scaler plugin is: typed metadata, a target, and something that can be polled."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

from scaler.model.sample import Sample

M = TypeVar("M")
T = TypeVar("T")

NoteRequest = Callable[[], Awaitable[None]]
"""Awaited by a scaler just before each round trip that it makes for a rule: it waits until the source may be asked."""


async def unnoted() -> None:
    """Count no request, and let it go at once."""


class Scaler(Protocol):
    """An opened source."""

    async def poll(self) -> Sample:
        """Read the source once.

        No retry, no sleep, no cache of old figures inside. May join a request that another rule has in
        flight on the same session: then `Sample.as_of` is the start of that request.

        Raises:
            PollError: with `reason` and `transient` set.
        """
        ...


class SessionPool(Protocol):
    """Connections shared by all rules that name the same address and credentials."""

    def lease(
        self, key: Hashable, open_session: Callable[[], AbstractAsyncContextManager[T]]
    ) -> AbstractAsyncContextManager[T]:
        """Give the session of `key`, opened by the first lease and closed after the last.

        An error of `open_session` reaches every lease that waits for it. `key` may hold secrets; it is
        never shown.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalerContext:
    """What a scaler gets beside its metadata.

    Attributes:
        job, rule: names, for connection names and messages.
        timeout_s: how long one poll may take in all, seconds.
        identity: `system` or an id for azure-identity; None without.
        note_request: to be awaited before each round trip, which may be asked to wait for its turn; one that
            several rules share counts for the rule that started it. Connecting and logging in do not count.
            Raises PollError (`BudgetExhausted`) if the turn does not come in time.
        sessions: shared connections.
        now: the clock, aware UTC.
    """

    job: str
    rule: str
    timeout_s: float
    sessions: SessionPool
    now: Callable[[], datetime]
    identity: str | None = None
    note_request: NoteRequest = unnoted


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """A message that explains all failures: its id (never its body), how often it was delivered, where it goes."""

    message_id: str
    deliveries: int
    to: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveOrder:
    """What may be moved.

    Attributes:
        least: deliveries below which no message is touched.
        to: name of the queue; None: where the broker puts dead letters.
        before: awaited with the message once it is held, before it is moved: its record is kept first.
        looks: how often a message of that key was held by us before; the broker counts each as a delivery.
        hold: awaited with the key as soon as a message is held, so that this is never forgotten.
    """

    least: int
    to: str | None
    before: Callable[[Suspect], Awaitable[None]]
    looks: Callable[[str], int]
    hold: Callable[[str], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class MoverType(Generic[M]):
    """Moves a poison message out of a source.

    Attributes:
        refusal: why it cannot for these parameters and this target queue; None if it can.
        move: moves the one message that was delivered at least so often and stands first; None if there is none, or
            several. A message is in one of the two places at every moment. Raises PollError.
    """

    refusal: Callable[[M, str | None], str | None]
    move: Callable[[M, ScalerContext, MoveOrder], Awaitable[Suspect | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalerType(Generic[M]):
    """The plugin: a module constant `SCALER`.

    Attributes:
        metadata: the pydantic model of the parameters (a subclass of `TriggerMetadata`).
        target: messages one execution is expected to take, > 0.
        open: a context manager that gives a `Scaler` and closes whatever it opened.
        source: the address without secrets, by which polls are paced and faults are grouped.
        check: faults that only the metadata and the identity together show; texts, or nothing.
        summary: one line for `scaler scalers`.
        shares: the parameter by which the metadata asks that samples carry shares, or None; a job with such a
            rule has no other rule.
        entities: names of what is counted (queues, topics), without their host; empty if that cannot be told
            from the parameters, as with a pattern. An execution begun for others holds none of their messages.
        mover: moves poison messages out of the source; None where it has no count of deliveries.
    """

    metadata: type[M]
    target: Callable[[M], float]
    open: Callable[[M, ScalerContext], AbstractAsyncContextManager[Scaler]]
    source: Callable[[M], str]
    summary: str
    check: Callable[[M, str | None], tuple[str, ...]] = field(default=lambda _meta, _identity: ())
    shares: Callable[[M], str | None] = field(default=lambda _meta: None)
    entities: Callable[[M], frozenset[str]] = field(default=lambda _meta: frozenset())
    mover: MoverType[M] | None = None


AnyScalerType = ScalerType[Any]
ParameterSources = Mapping[str, str]
