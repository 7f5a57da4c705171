"""Writes for everybody: what has queued up while the disk was busy shares one transaction.

A commit waits for the disk, which takes as long for a hundred records as for one. So hundreds of executions
that change at once cost a few commits, and each of them still knows that its record is durable.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite

from scaler.errors import StoreError

T = TypeVar("T")
Work = Callable[[aiosqlite.Connection], Awaitable[T]]

_BATCH = 256  # requests in one transaction: bounds what one failed commit takes with it
_QUEUE = 4096  # requests waiting; beyond it, callers wait to hand theirs in


@dataclass(frozen=True, slots=True, eq=False)
class _Request:
    work: Work[Any]
    done: asyncio.Future[Any]


class Writer:
    """The only one that writes. `run` is its loop; `write` hands a request in."""

    def __init__(self, connection: aiosqlite.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._queue: asyncio.Queue[_Request | None] = asyncio.Queue(_QUEUE)
        self._open = True
        self.commits = 0

    async def write(self, work: Work[T]) -> T:
        """Do `work` in a transaction and return once it is durable.

        A request that is cancelled before its turn is not written; one whose turn has come is.

        Raises:
            StoreError: `work` refused, or writing failed; nothing of the request is recorded then.
        """
        if not self._open:
            raise StoreError(f"{self._path}: the store is closed")
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        await self._queue.put(_Request(work, done))
        return await done

    async def close(self) -> None:
        """Take no more; `run` ends when what is in the queue is written."""
        self._open = False
        await self._queue.put(None)

    async def run(self) -> None:
        """Write batch after batch until closed."""
        batch: list[_Request] = []
        is_last = False
        try:
            while not is_last:
                batch, is_last = await self._next_batch()
                await self._write_batch([request for request in batch if not request.done.done()])
        finally:
            self._open = False
            fault = StoreError(f"{self._path}: the store was closed before this was written")
            self._fail(batch, fault)
            while not self._queue.empty():
                late = self._queue.get_nowait()
                self._fail([] if late is None else [late], fault)
                await asyncio.sleep(0)  # lets those in that waited for room

    async def _next_batch(self) -> tuple[list[_Request], bool]:
        batch: list[_Request] = []
        request = await self._queue.get()
        while request is not None:
            batch.append(request)
            if self._queue.empty() or len(batch) >= _BATCH:
                return batch, False
            request = self._queue.get_nowait()
        return batch, True

    async def _write_batch(self, batch: list[_Request]) -> None:
        if not batch:
            return
        try:
            results = await self._transact(batch)
        except sqlite3.Error as exc:
            if self._connection.in_transaction:
                await self._connection.execute("ROLLBACK")
            fault = StoreError(
                f"{self._path}: writing failed: {exc}; see whether the disk is full or failing"
            )
            fault.__cause__ = exc
            self._fail(batch, fault)
            return
        self.commits += 1
        for request, result in zip(batch, results, strict=True):
            if request.done.done():
                continue
            if isinstance(result, StoreError):
                request.done.set_exception(result)
            else:
                request.done.set_result(result)

    async def _transact(self, batch: list[_Request]) -> list[Any]:
        """Do all requests in one transaction; one that is refused undoes only itself."""
        await self._connection.execute("BEGIN IMMEDIATE")
        results: list[Any] = []
        for request in batch:
            await self._connection.execute("SAVEPOINT request")
            try:
                results.append(await request.work(self._connection))
            except (sqlite3.Error, StoreError) as exc:
                await self._connection.execute("ROLLBACK TO request")
                results.append(self._refusal(exc))
            await self._connection.execute("RELEASE request")
        await self._connection.execute("COMMIT")
        return results

    def _refusal(self, exc: sqlite3.Error | StoreError) -> StoreError:
        if isinstance(exc, StoreError):
            return exc
        fault = StoreError(f"{self._path}: {exc}")
        fault.__cause__ = exc
        return fault

    @staticmethod
    def _fail(batch: list[_Request], fault: StoreError) -> None:
        for request in batch:
            if not request.done.done():
                request.done.set_exception(fault)
