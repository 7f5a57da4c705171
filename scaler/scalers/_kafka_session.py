"""Gathers what rules ask of one cluster into rounds: one at a time, each for all that asked meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from scaler.errors import PollError
from scaler.ports.scaler import NoteRequest, unnoted
from scaler.scalers._kafka_brokers import Brokers, hush
from scaler.scalers._kafka_login import Cluster
from scaler.scalers._kafka_round import PartitionState, Question, answer_all
from scaler.scalers._kafka_token import open_tokens
from scaler.scalers._single_flight import Gathering

_SHARE: Final = 3
"""A silent broker may cost a third of a poll's time, so that a round ends before those who wait give up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupReading:
    """Offsets that one round read, and when it began."""

    partitions: tuple[PartitionState, ...]
    asked_at: datetime


Waiting = dict[Question, list[asyncio.Future[GroupReading]]]


class KafkaSession:
    """Rounds over the connections of one cluster."""

    def __init__(self, brokers: Brokers, *, timeout_s: float, now: Callable[[], datetime]) -> None:
        self._brokers = brokers
        self._timeout_s = timeout_s
        self._now = now
        self._waiting: Waiting = {}
        self._rounds: asyncio.Task[None] | None = None
        self._note: NoteRequest = unnoted
        self._gathering = Gathering()

    async def read(self, question: Question, note: NoteRequest = unnoted) -> GroupReading:
        """Get an answer from the next round, which begins at once if none is running.

        `note` is awaited if this is the first question of the round; who asks meanwhile joins it.

        Raises:
            PollError: the cluster, or the group, topic or partition asked for, could not be read.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[GroupReading] = loop.create_future()
        if not self._waiting:
            self._note = note
        self._waiting.setdefault(question, []).append(answer)
        if self._rounds is None:
            self._rounds = loop.create_task(self._run(), name="kafka-rounds")
        return await answer

    async def aclose(self) -> None:
        """End the round that is running; who waits is told so."""
        if self._rounds is not None:
            self._rounds.cancel()
            await asyncio.wait([self._rounds])

    async def _run(self) -> None:
        asked: Waiting = {}
        try:
            while self._waiting:
                await self._gathering.wait()
                refusal = await self._turn()
                asked, self._waiting = self._waiting, {}
                if refusal is None:
                    await self._round(asked)
                    continue
                for futures in asked.values():
                    _fail(futures, refusal)
        finally:
            closed = PollError(f"{self._brokers.origin}: the connection was closed", reason="Unreachable")
            for question in {**asked, **self._waiting}:
                _fail(asked.get(question, []) + self._waiting.get(question, []), closed)
            self._waiting = {}
            self._rounds = None

    async def _turn(self) -> PollError | None:
        """Wait until the cluster may be asked; why not, if it may not."""
        try:
            await self._note()
        except PollError as exc:
            return exc
        return None

    async def _round(self, asked: Waiting) -> None:
        asked_at = self._now()
        questions = tuple(q for q, futures in asked.items() if not all(f.done() for f in futures))
        if not questions:
            return
        try:
            async with asyncio.timeout(self._timeout_s):
                answers = await answer_all(self._brokers, questions)
        except TimeoutError:
            text = f"{self._brokers.origin}: no answer within {self._timeout_s:g} s; is a broker overloaded?"
            answers = dict.fromkeys(questions, PollError(text, reason="Timeout"))
        except Exception as exc:  # noqa: BLE001 - fence: whoever waits learns of it, and the next round can begin
            for question in questions:
                _fail(asked[question], exc)
            return
        self._gathering.learn(sum(map(len, asked.values())))
        for question, answer in answers.items():
            if isinstance(answer, PollError):
                _fail(asked[question], answer)
                continue
            for future in asked[question]:
                if not future.done():
                    future.set_result(GroupReading(partitions=answer, asked_at=asked_at))


def _fail(futures: list[asyncio.Future[GroupReading]], error: Exception) -> None:
    for future in futures:
        if not future.done():
            future.set_exception(error)


@asynccontextmanager
async def open_session(
    cluster: Cluster, timeout_s: float, now: Callable[[], datetime]
) -> AsyncIterator[KafkaSession]:
    """Give a session, and close it with its connections. Nothing is connected before the first question."""
    hush()
    async with AsyncExitStack() as stack:
        tokens = await stack.enter_async_context(open_tokens(cluster, timeout_s))
        brokers = Brokers(cluster, patience_s=timeout_s / _SHARE, tokens=tokens)
        stack.push_async_callback(brokers.aclose)
        session = KafkaSession(brokers, timeout_s=timeout_s, now=now)
        stack.push_async_callback(session.aclose)
        yield session
