"""The store over SQLite: one connection writes in groups, another reads what is committed."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiosqlite

from scaler.errors import StoreError
from scaler.model.audit import AuditEntry, AuditPage, AuditQuery
from scaler.model.decision import Decision
from scaler.model.execution import FINAL, LEGAL, ExecutionState, ExecutionStatus
from scaler.model.history import ExecutionQuery
from scaler.model.retention import Expired, Pruning
from scaler.ports.store import Page
from scaler.store import audit, listing, rows
from scaler.store.lock import hold_lock
from scaler.store.opening import explain, load_queries, make_file, open_reading, open_writing
from scaler.store.writer import Writer


class SqliteStore:
    """Records in one SQLite file. See `scaler.ports.store.Store` for the promises."""

    def __init__(self, path: Path, reader: aiosqlite.Connection, writer: Writer) -> None:
        self._path = path
        self._reader = reader
        self._writer = writer
        self._sql = load_queries()

    async def execution(self, job: str, execution_id: str) -> ExecutionState | None:
        """Find one execution. See the port."""
        found = await self._read("find_execution", {"job": job, "id": execution_id})
        return next(iter(rows.read_states(found)), None)

    async def executions(
        self,
        job: str,
        *,
        limit: int = 100,
        cursor: str | None = None,
        statuses: frozenset[ExecutionStatus] | None = None,
    ) -> Page:
        """List a job's executions, newest first; new ones never move what a cursor gives. See the port."""
        return await self.find(ExecutionQuery(job=job, statuses=statuses), limit=limit, cursor=cursor)

    async def find(self, query: ExecutionQuery, *, limit: int = 100, cursor: str | None = None) -> Page:
        """List the executions that are asked for, newest first. See the port."""
        if limit < 1:
            raise StoreError(f"a page of {limit} executions; ask for at least 1")
        if query.statuses == frozenset():
            return Page(items=(), cursor=None)
        found = await self._fetch(*listing.page_statement(query, cursor, limit))
        states = rows.read_states(found)
        if len(states) <= limit:
            return Page(items=tuple(states), cursor=None)
        kept = tuple(states[:limit])
        last = next(row for row in found if row["id"] == kept[-1].execution.id)
        return Page(items=kept, cursor=rows.cursor_behind(last["created_at"], last["seq"]))

    async def ended_counts(self) -> dict[str, int]:
        """Count the ended executions of each job that has some."""
        return {row["job"]: row["number"] for row in await self._read("count_ended", {})}

    async def expired(self, pruning: Pruning, *, limit: int) -> tuple[Expired, ...]:
        """List executions that a pruning names and that may go. See the port."""
        found: dict[str, list[str]] = {}
        for job, surplus in pruning.surplus:
            asked = {"job": job, "surplus": surplus, "limit": limit - len(found)}
            found |= {row["id"]: [] for row in await self._read("surplus_executions", asked)}
            if len(found) >= limit:
                break
        if pruning.before is not None:
            old = {"before": rows.time_text(pruning.before), "limit": limit}
            found |= {row["id"]: [] for row in await self._read("old_executions", old)}
        names = list(found)[:limit]
        for row in await self._read("replicas_of", {"executions": json.dumps(names)}):
            found[row["execution_id"]].append(row["id"])
        return tuple(Expired(execution=name, replicas=tuple(found[name])) for name in names)

    async def decisions(self, job: str, *, limit: int = 50) -> tuple[Decision, ...]:
        """List a job's latest decisions. See the port."""
        found = await self._read("list_decisions", {"job": job, "limit": max(0, limit)})
        return tuple(rows.read_decision(row) for row in found)

    async def status_counts(self, job: str) -> dict[ExecutionStatus, int]:
        """Count a job's executions by status; a status that none has is left out."""
        found = await self._read("count_statuses", {"job": job})
        return {ExecutionStatus(row["status"]): row["number"] for row in found}

    async def unfinished(self) -> tuple[ExecutionState, ...]:
        """List what still needs work, oldest first. See the port."""
        return tuple(rows.read_states(await self._read("list_unfinished", {})))

    async def recall(self, key: str) -> str | None:
        """Give the text kept under a key, or None."""
        found = await self._read("get_note", {"key": key})
        return str(found[0]["value"]) if found else None

    async def audit(self, query: AuditQuery, *, limit: int = 100, cursor: str | None = None) -> AuditPage:
        """List what was done and by whom, newest first. See the port."""
        sql, asked = audit.page_statement(query, cursor, limit)
        return audit.read_page(await self._fetch(sql, asked), limit)

    async def note(self, *entries: AuditEntry) -> None:
        """Record who did what. See the port."""
        await self._writer.write(lambda connection: self._put_audit(connection, entries))

    def _put_audit(self, connection: sqlite3.Connection, entries: tuple[AuditEntry, ...]) -> None:
        connection.executemany(self._sql["insert_audit"], audit.entry_rows(entries))

    async def begin(self, states: tuple[ExecutionState, ...], *, by: tuple[AuditEntry, ...] = ()) -> None:
        """Record new executions and who began them, all or none. See the port."""

        def work(connection: sqlite3.Connection) -> None:
            for state in states:
                try:
                    connection.execute(self._sql["insert_execution"], rows.execution_row(state.execution))
                except sqlite3.IntegrityError as exc:
                    raise StoreError(f"execution {state.execution.id}: is already recorded") from exc
                self._put_replicas(connection, state)
            self._put_audit(connection, by)

        await self._writer.write(work)

    async def apply(self, state: ExecutionState) -> None:
        """Record the next state of an execution. See the port."""

        def work(connection: sqlite3.Connection) -> None:
            self._check(connection, state)
            connection.execute(self._sql["update_execution"], rows.execution_row(state.execution))
            self._put_replicas(connection, state)

        await self._writer.write(work)

    def _put_replicas(self, connection: sqlite3.Connection, state: ExecutionState) -> None:
        connection.executemany(self._sql["upsert_replica"], rows.replica_rows(state))

    def _check(self, connection: sqlite3.Connection, state: ExecutionState) -> None:
        """Refuse a state that may not follow the recorded one."""
        key = {"job": state.execution.job, "id": state.execution.id}
        found = connection.execute(self._sql["find_status"], key).fetchall()
        if not found:
            raise StoreError(
                f"execution {state.execution.id}: is not recorded under job {state.execution.job}"
            )
        before, after = ExecutionStatus(found[0]["status"]), state.execution.status
        if before is not after and after not in LEGAL[before]:
            raise StoreError(f"execution {state.execution.id}: {after} may not follow {before}")
        if before in FINAL:
            whole = connection.execute(self._sql["find_execution"], key).fetchall()
            (recorded,) = rows.read_states(whole)
            if not _only_removes(recorded, state):
                raise StoreError(f"execution {state.execution.id}: has ended as {before}; it may not change")

    async def decide(self, decision: Decision) -> int:
        """Record a decision and give its id."""
        row = rows.decision_row(decision)

        def work(connection: sqlite3.Connection) -> int:
            done = connection.execute(self._sql["insert_decision"], row)
            assert done.lastrowid is not None
            return done.lastrowid

        return await self._writer.write(work)

    async def prune(
        self, executions: Collection[str], *, decisions: int | None = None, entries: int | None = None
    ) -> None:
        """Drop executions with all that belongs to them. See the port."""
        doomed = {"executions": json.dumps(list(executions))}

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(self._sql["delete_executions"], doomed)
            connection.execute(self._sql["delete_audit_of_executions"], doomed)
            if entries is not None:
                connection.execute(self._sql["delete_audit"], {"entries": entries})
            if decisions is not None:
                connection.execute(self._sql["delete_decisions"], {"keep": decisions})

        await self._writer.write(work)

    async def remember(self, key: str, value: str, *, by: tuple[AuditEntry, ...] = ()) -> None:
        """Keep one small text under a key, and who caused it."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(self._sql["set_note"], {"key": key, "value": value})
            self._put_audit(connection, by)

        await self._writer.write(work)

    async def _read(self, name: str, parameters: Mapping[str, Any]) -> list[sqlite3.Row]:
        """Run one named statement, which sees one moment of the file."""
        return await self._fetch(self._sql[name], parameters)

    async def _fetch(self, sql: str, parameters: Mapping[str, Any]) -> list[sqlite3.Row]:
        try:
            with explain(self._path):
                return list(await self._reader.execute_fetchall(sql, parameters))
        except ValueError as exc:  # what aiosqlite says of a closed connection
            raise StoreError(f"{self._path}: the store is closed") from exc


def _only_removes(before: ExecutionState, after: ExecutionState) -> bool:
    """Whether nothing changes but that remains of replicas are now removed."""

    def same(state: ExecutionState) -> ExecutionState:
        return replace(
            state, replicas=tuple(replace(one, removed=True, removed_at=None) for one in state.replicas)
        )

    returned = any(
        old.removed and not new.removed for old, new in zip(before.replicas, after.replicas, strict=False)
    )
    return same(before) == same(after) and not returned


@asynccontextmanager
async def open_store(path: Path, *, is_locked: bool = False) -> AsyncIterator[SqliteStore]:
    """Open the records of one daemon, made if they are not there. Leaving it writes what is queued.

    `is_locked` says that the caller holds the lock already.

    Raises:
        StoreError: another daemon has them open, the file is damaged or of a newer release, or the folder
            cannot be written to. The text says what to do.
    """
    with nullcontext() if is_locked else hold_lock(path):
        make_file(path)
        async with _connections(path) as (reader, connection, thread):
            writer = Writer(connection, thread, path)
            task = asyncio.create_task(writer.run(), name="store/writer")
            try:
                yield SqliteStore(path, reader, writer)
            finally:
                await writer.close()
                await task


@asynccontextmanager
async def _connections(
    path: Path,
) -> AsyncIterator[tuple[aiosqlite.Connection, sqlite3.Connection, ThreadPoolExecutor]]:
    """Open the reading and the writing connection of a sound, up-to-date file, and the thread that writes."""
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="store") as thread:
        writing = await loop.run_in_executor(thread, open_writing, path)
        try:
            with explain(path):
                reading = await open_reading(path)
            try:
                yield reading, writing, thread
            finally:
                await reading.close()
        finally:
            await loop.run_in_executor(thread, writing.close)
