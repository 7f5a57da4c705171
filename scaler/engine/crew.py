"""The executors in use: each opened once, by name, when the first job needs it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Self

from scaler.engine.sessions import Sessions
from scaler.model.replica import Health
from scaler.ports.executor import Executor

OpenExecutor = Callable[[str], AbstractAsyncContextManager[Executor]]
"""Opens the executor of a name; raises ConfigError for one that is unknown or lacks its package."""


class Crew:
    """Opens executors on demand and keeps them open until the end. Use as an async context manager."""

    def __init__(self, open_executor: OpenExecutor, sessions: Sessions) -> None:
        self._open = open_executor
        self._sessions = sessions
        self._stack = AsyncExitStack()
        self._ready: dict[str, Executor] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self._stack.aclose()

    async def get(self, name: str) -> Executor:
        """Give the executor of that name.

        Raises:
            ConfigError: no such executor, or its package is not installed.
        """
        if name not in self._ready:
            lease = self._sessions.lease(("executor", name), lambda: self._open(name))
            self._ready[name] = await self._stack.enter_async_context(lease)
        return self._ready[name]

    async def health(self) -> tuple[tuple[str, Health], ...]:
        """Ask each open executor whether it can work."""
        return tuple([(name, await self._ready[name].fingerprint()) for name in sorted(self._ready)])

    def names(self) -> tuple[str, ...]:
        """Names of the open executors."""
        return tuple(sorted(self._ready))
