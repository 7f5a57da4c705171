"""A store that forgets: the same promises as the real one, for tests and for trying things out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import replace

from scaler.errors import StoreError
from scaler.model.audit import AuditEntry, AuditPage, AuditQuery
from scaler.model.decision import Decision
from scaler.model.execution import FINAL, LEGAL, ExecutionState, ExecutionStatus
from scaler.model.history import ExecutionQuery
from scaler.model.retention import Expired, Pruning
from scaler.ports.store import Page


class MemoryStore:
    """Keeps records in dictionaries. It passes `StoreContract`, as the real store does."""

    def __init__(self) -> None:
        self._states: dict[str, ExecutionState] = {}
        self._arrival: dict[str, int] = {}
        self._arrived = 0
        self._decisions: list[Decision] = []
        self._decided = 0
        self._notes: dict[str, str] = {}
        self._entries: list[AuditEntry] = []
        self._noted = 0

    def _newest_first(self, job: str) -> list[ExecutionState]:
        own = [state for state in self._states.values() if state.execution.job == job]
        return sorted(own, key=self._age, reverse=True)

    def _age(self, state: ExecutionState) -> tuple[float, int]:
        return state.execution.created_at.timestamp(), self._arrival[state.execution.id]

    async def execution(self, job: str, execution_id: str) -> ExecutionState | None:
        """Find one execution."""
        found = self._states.get(execution_id)
        return found if found is not None and found.execution.job == job else None

    async def executions(
        self,
        job: str,
        *,
        limit: int = 100,
        cursor: str | None = None,
        statuses: frozenset[ExecutionStatus] | None = None,
    ) -> Page:
        """List a job's executions, newest first."""
        return await self.find(ExecutionQuery(job=job, statuses=statuses), limit=limit, cursor=cursor)

    async def find(self, query: ExecutionQuery, *, limit: int = 100, cursor: str | None = None) -> Page:
        """List the executions that are asked for, newest first."""
        if limit < 1:
            raise StoreError(f"a page of {limit} executions; ask for at least 1")
        before = _read_cursor(cursor)
        found = [
            state
            for state in sorted(self._states.values(), key=self._age, reverse=True)
            if query.fits(state.execution) and (before is None or self._age(state) < before)
        ]
        kept = tuple(found[:limit])
        if len(found) <= limit:
            return Page(items=kept, cursor=None)
        at, arrival = self._age(kept[-1])
        return Page(items=kept, cursor=f"{at!r}|{arrival}")

    async def decisions(self, job: str, *, limit: int = 50) -> tuple[Decision, ...]:
        """List a job's latest decisions, newest first."""
        own = [decision for decision in reversed(self._decisions) if decision.job == job]
        return tuple(own[: max(0, limit)])

    async def status_counts(self, job: str) -> dict[ExecutionStatus, int]:
        """Count a job's executions by status."""
        counts: dict[ExecutionStatus, int] = {}
        for state in self._newest_first(job):
            counts[state.execution.status] = counts.get(state.execution.status, 0) + 1
        return counts

    async def audit(self, query: AuditQuery, *, limit: int = 100, cursor: str | None = None) -> AuditPage:
        """List what was done and by whom, newest first."""
        if limit < 1:
            raise StoreError(f"a page of {limit} entries; ask for at least 1")
        before = _read_cursor(cursor)
        found = [
            entry
            for entry in sorted(self._entries, key=_entry_age, reverse=True)
            if _is_asked(query, entry) and (before is None or _entry_age(entry) < before)
        ]
        kept = tuple(found[:limit])
        if len(found) <= limit:
            return AuditPage(items=kept, cursor=None)
        at, number = _entry_age(kept[-1])
        return AuditPage(items=kept, cursor=f"{at!r}|{number}")

    async def note(self, *entries: AuditEntry) -> None:
        """Record who did what."""
        for entry in entries:
            self._noted += 1
            self._entries.append(replace(entry, id=self._noted))

    async def begin(self, states: tuple[ExecutionState, ...], *, by: tuple[AuditEntry, ...] = ()) -> None:
        """Record new executions and who began them, all or none."""
        ids = [state.execution.id for state in states]
        for number, name in enumerate(ids):
            if name in self._states or name in ids[:number]:
                raise StoreError(f"execution {name}: is already recorded")
        for state in states:
            self._arrived += 1
            self._arrival[state.execution.id] = self._arrived
            self._states[state.execution.id] = state
        await self.note(*by)

    async def apply(self, state: ExecutionState) -> None:
        """Record the next state of an execution."""
        recorded = await self.execution(state.execution.job, state.execution.id)
        if recorded is None:
            raise StoreError(
                f"execution {state.execution.id}: is not recorded under job {state.execution.job}"
            )
        before, after = recorded.execution.status, state.execution.status
        if before is not after and after not in LEGAL[before]:
            raise StoreError(f"execution {state.execution.id}: {after} may not follow {before}")
        if before in FINAL and not _only_removes(recorded, state):
            raise StoreError(f"execution {state.execution.id}: has ended as {before}; it may not change")
        self._states[state.execution.id] = state

    async def unfinished(self) -> tuple[ExecutionState, ...]:
        """List executions that still need work, oldest first."""
        found = [
            state
            for state in self._states.values()
            if not state.execution.is_final or any(not replica.removed for replica in state.replicas)
        ]
        return tuple(sorted(found, key=self._age))

    async def decide(self, decision: Decision) -> int:
        """Record a decision and give its id."""
        self._decided += 1
        self._decisions.append(replace(decision, id=self._decided))
        return self._decided

    async def ended_counts(self) -> dict[str, int]:
        """Count the ended executions of each job that has some."""
        return dict(Counter(s.execution.job for s in self._states.values() if s.execution.is_final))

    async def expired(self, pruning: Pruning, *, limit: int) -> tuple[Expired, ...]:
        """List executions that a pruning names and that may go."""
        ended = sorted((s for s in self._states.values() if s.execution.is_final), key=self._age)
        named: list[ExecutionState] = []
        for job, surplus in pruning.surplus:
            named += [state for state in ended if state.execution.job == job][:surplus]
        if pruning.before is not None:
            before = pruning.before
            named += [s for s in ended if (s.execution.ended_at or s.execution.created_at) < before]
        found = {s.execution.id: tuple(r.id for r in s.replicas) for s in named if _may_go(s)}
        return tuple(Expired(execution=name, replicas=ids) for name, ids in list(found.items())[:limit])

    async def prune(
        self, executions: Collection[str], *, decisions: int | None = None, entries: int | None = None
    ) -> None:
        """Drop executions with all that belongs to them; one with replicas not yet removed stays."""
        for name in executions:
            if name in self._states and _may_go(self._states[name]):
                del self._states[name], self._arrival[name]
                self._entries = [entry for entry in self._entries if entry.execution != name]
        if entries is not None:
            others = [entry.id for entry in self._entries if entry.execution is None]
            doomed = set(others[: max(0, len(others) - entries)])
            self._entries = [entry for entry in self._entries if entry.id not in doomed]
        if decisions is not None:
            self._trim(decisions)

    def _trim(self, decisions: int) -> None:
        for job in {decision.job for decision in self._decisions}:
            old = {one.id for one in [one for one in reversed(self._decisions) if one.job == job][decisions:]}
            self._decisions = [one for one in self._decisions if one.id not in old]

    async def remember(self, key: str, value: str, *, by: tuple[AuditEntry, ...] = ()) -> None:
        """Keep one small text under a key, and who caused it."""
        self._notes[key] = value
        await self.note(*by)

    async def recall(self, key: str) -> str | None:
        """Give the text kept under a key, or None."""
        return self._notes.get(key)


def _may_go(state: ExecutionState) -> bool:
    return state.execution.is_final and all(replica.removed for replica in state.replicas)


def _entry_age(entry: AuditEntry) -> tuple[float, int]:
    return entry.at.timestamp(), entry.id or 0


def _is_asked(query: AuditQuery, entry: AuditEntry) -> bool:
    wanted = (query.job, query.execution, query.by, query.action)
    given = (entry.job, entry.execution, entry.by, entry.action)
    same = all(want is None or want == got for want, got in zip(wanted, given, strict=True))
    since, until = query.since, query.until
    return same and (since is None or since <= entry.at) and (until is None or entry.at < until)


def _read_cursor(cursor: str | None) -> tuple[float, int] | None:
    if cursor is None:
        return None
    try:
        at, arrival = cursor.split("|")
        return float(at), int(arrival)
    except ValueError as exc:
        raise ValueError(f"cursor {cursor!r}: not one of ours; begin again without a cursor") from exc


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
