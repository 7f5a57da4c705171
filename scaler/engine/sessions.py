"""Connections shared by rules: opened by the first lease of a key, closed after the last.

Every session lives in a task of its own, because what it opens (task groups, cancel scopes, sockets)
must be closed by the task that opened it, while leases come and go in the tasks of the rules.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Self, TypeVar

import structlog

T = TypeVar("T")
log = structlog.get_logger(__name__)

CLOSE_S = 5.0
"""How long a session may take to close before it is abandoned, seconds."""


class _Session:
    """One open (or opening) session and how many leases it has."""

    def __init__(self) -> None:
        self.ready: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.ready.add_done_callback(lambda f: f.cancelled() or f.exception())
        self.released = asyncio.Event()
        self.leases = 0
        self.task: asyncio.Task[None] | None = None


class Sessions:
    """The pool. Use as an async context manager; leaving it closes whatever is open."""

    def __init__(self) -> None:
        self._open: dict[Hashable, _Session] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        for session in list(self._open.values()):
            session.released.set()
        self._open.clear()
        if self._tasks:
            _done, hanging = await asyncio.wait(self._tasks, timeout=CLOSE_S)
            for task in hanging:
                task.cancel()
            if hanging:
                await asyncio.wait(hanging, timeout=1.0)

    @asynccontextmanager
    async def lease(
        self, key: Hashable, open_session: Callable[[], AbstractAsyncContextManager[T]]
    ) -> AsyncIterator[T]:
        """Give the session of `key`; an error while opening reaches every lease that waits for it."""
        session = self._open.get(key)
        if session is None:
            session = self._start(key, open_session)
        session.leases += 1
        try:
            opened: T = await asyncio.shield(session.ready)
            yield opened
        finally:
            session.leases -= 1
            if session.leases == 0:
                self._release(key, session)

    def _start(self, key: Hashable, open_session: Callable[[], AbstractAsyncContextManager[Any]]) -> _Session:
        session = _Session()
        self._open[key] = session
        task = asyncio.get_running_loop().create_task(self._hold(key, session, open_session), name="session")
        session.task = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return session

    def _release(self, key: Hashable, session: _Session) -> None:
        if self._open.get(key) is session:
            del self._open[key]
        session.released.set()
        if not session.ready.done() and session.task is not None:
            session.task.cancel()

    async def _hold(
        self,
        key: Hashable,
        session: _Session,
        open_session: Callable[[], AbstractAsyncContextManager[Any]],
    ) -> None:
        """Open, keep until released, close. A fence: errors go to the leases or into the log."""
        try:
            async with open_session() as opened:
                if not session.ready.done():
                    session.ready.set_result(opened)
                await session.released.wait()
        except Exception as exc:  # noqa: BLE001 - fence: whatever a client library raises
            if session.ready.done():
                log.debug("session.close_failed", error=type(exc).__name__)
            else:
                session.ready.set_exception(exc)
        finally:
            if not session.ready.done():
                session.ready.cancel()
            if self._open.get(key) is session:
                del self._open[key]
