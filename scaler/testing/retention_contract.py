"""What every store must do when the past is cut: subclass `RetentionContract` and give it a `store`."""

from __future__ import annotations

from datetime import timedelta

from scaler.model.audit import AuditAction, AuditEntry, AuditQuery
from scaler.model.execution import ExecutionStatus
from scaler.model.history import ExecutionQuery
from scaler.model.retention import Expired, Pruning
from scaler.ports.store import Store
from scaler.testing.store_contract import START, ended, make_decision, make_state

SUCCEEDED = ExecutionStatus.SUCCEEDED


async def names(store: Store) -> list[str]:
    """Give the ids of all executions, newest first."""
    return [state.execution.id for state in (await store.find(ExecutionQuery(), limit=1000)).items]


class RetentionContract:
    """The suite. `store` is a fixture of the subclass."""

    async def test_the_oldest_ended_ones_of_a_job_are_its_surplus(self, store: Store) -> None:
        states = [make_state(f"{job}-{n}", job=job, at=n, replicas=2) for job in "ab" for n in range(4)]
        await store.begin(tuple(states))
        for state in states:
            if state.execution.id not in ("a-0", "b-3"):
                await store.apply(ended(state, SUCCEEDED))
        assert await store.ended_counts() == {"a": 3, "b": 3}
        plan = Pruning(surplus=(("a", 1), ("b", 2)))
        found = await store.expired(plan, limit=10)
        assert found == (
            Expired(execution="a-1", replicas=("a-1-0", "a-1-1")),
            Expired(execution="b-0", replicas=("b-0-0", "b-0-1")),
            Expired(execution="b-1", replicas=("b-1-0", "b-1-1")),
        )
        assert await store.expired(plan, limit=2) == found[:2]
        await store.prune(tuple(one.execution for one in found), decisions=0, entries=0)
        assert sorted(await names(store)) == ["a-0", "a-2", "a-3", "b-2", "b-3"]
        assert await store.ended_counts() == {"a": 2, "b": 1}
        assert await store.status_counts("b") == {SUCCEEDED: 1, ExecutionStatus.PROCESSING: 1}

    async def test_those_that_ended_before_a_moment_are_old_whenever_they_began(self, store: Store) -> None:
        states = [make_state(f"e-{n}", at=n, replicas=0) for n in range(4)]
        await store.begin(tuple(states))
        for state in states[:3]:
            await store.apply(ended(state, SUCCEEDED))  # each six seconds after it was created
        found = await store.expired(Pruning(before=START + timedelta(seconds=8)), limit=10)
        assert [one.execution for one in found] == ["e-0", "e-1"]

    async def test_what_runs_or_has_remains_is_neither_named_nor_dropped(self, store: Store) -> None:
        left, runs = make_state("left", replicas=2), make_state("runs")
        await store.begin((left, runs))
        await store.apply(ended(left, SUCCEEDED, removed=False))
        everything = Pruning(surplus=(("invoices", 9),), before=START + timedelta(days=1))
        assert await store.expired(everything, limit=10) == ()
        await store.prune(("left", "runs", "unknown"), decisions=9, entries=9)
        assert sorted(await names(store)) == ["left", "runs"]
        await store.apply(ended(left, SUCCEEDED))
        assert [one.execution for one in await store.expired(everything, limit=10)] == ["left"]

    async def test_one_that_is_named_twice_is_dropped_once(self, store: Store) -> None:
        await store.begin((make_state("a", replicas=0),))
        await store.apply(ended(make_state("a", replicas=0), SUCCEEDED))
        both = Pruning(surplus=(("invoices", 1),), before=START + timedelta(days=1))
        assert await store.expired(both, limit=10) == (Expired(execution="a", replicas=()),)

    async def test_the_audit_of_an_execution_goes_with_it_and_the_rest_is_bounded(self, store: Store) -> None:
        def entry(number: int, execution: str | None) -> AuditEntry:
            at = START + timedelta(seconds=number)
            return AuditEntry(at=at, by="file", action=AuditAction.JOB_CHANGED, job="j", execution=execution)

        for name in ("a", "b"):
            await store.begin((make_state(name, replicas=0),))
        await store.apply(ended(make_state("a", replicas=0), SUCCEEDED))
        await store.note(entry(1, None), entry(2, "a"), entry(3, None), entry(4, "b"), entry(5, None))
        await store.prune(("a", "b"), decisions=9, entries=2)
        left = [one.id for one in (await store.audit(AuditQuery())).items]
        assert left == [5, 4, 3]
        await store.prune((), decisions=9, entries=2)
        assert len((await store.audit(AuditQuery())).items) == 3

    async def test_decisions_are_bounded_and_no_id_is_given_twice(self, store: Store) -> None:
        ids = [await store.decide(make_decision(job)) for job in ("invoices", "other") * 3]
        await store.prune((), decisions=1, entries=9)
        assert [one.id for one in await store.decisions("invoices")] == [ids[4]]
        assert [one.id for one in await store.decisions("other")] == [ids[5]]
        await store.prune((), decisions=0, entries=9)
        assert await store.decide(make_decision()) > max(ids)
