"""Writes for everybody: what has queued up while the disk was busy shares one transaction.

A commit waits for the disk, which takes as long for a hundred records as for one. So hundreds of executions
that change at once cost a few commits, and each of them still knows that its record is durable. A batch is one
visit to the thread that owns the connection: a visit for each statement costs more than the statement.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from scaler.errors import StoreError

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
"""Statements of one request. Runs in the writer's thread: it may touch nothing but what it was made with."""

_BATCH = 256  # requests in one transaction: bounds what one failed commit takes with it
_QUEUE = 4096  # requests waiting; beyond it, callers wait to hand theirs in


@dataclass(frozen=True, slots=True, eq=False)
class _Request:
    work: Work[Any]
    done: asyncio.Future[Any]


class Writer:
    """The only one that writes. `run` is its loop; `write` hands a request in."""

    def __init__(self, connection: sqlite3.Connection, thread: ThreadPoolExecutor, path: Path) -> None:
        self._connection = connection
        self._thread = thread
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
        loop = asyncio.get_running_loop()
        works = [request.work for request in batch]
        try:
            results = await loop.run_in_executor(self._thread, _transact, self._connection, works)
        except sqlite3.Error as exc:
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
            if isinstance(result, Exception):
                request.done.set_exception(self._refusal(result))
            else:
                request.done.set_result(result)

    def _refusal(self, exc: Exception) -> StoreError:
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


def _transact(connection: sqlite3.Connection, works: Sequence[Work[Any]]) -> list[Any]:
    """Do all requests in one transaction. One that is refused undoes only itself: its result is the error.

    Raises:
        sqlite3.Error: nothing of any of them is recorded.
    """
    results: list[Any] = []
    try:
        connection.execute("BEGIN IMMEDIATE")
        for work in works:
            connection.execute("SAVEPOINT request")
            try:
                results.append(work(connection))
            except (sqlite3.Error, StoreError) as exc:
                connection.execute("ROLLBACK TO request")
                results.append(exc)
            connection.execute("RELEASE request")
        connection.execute("COMMIT")
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return results
