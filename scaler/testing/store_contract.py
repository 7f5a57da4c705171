"""What every store must do, as a test suite: subclass `StoreContract` and give it a `store`.

    class TestMine(StoreContract):
        @pytest.fixture
        async def store(self, tmp_path): ...            # an open, empty store

`make_state` and `make_decision` build records in which no field has its default, so that a field which a
store forgets is noticed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from scaler.errors import StoreError
from scaler.model.decision import Bound, Decision, Occasion, Reason, RuleVerdict
from scaler.model.execution import (
    FINAL,
    LEGAL,
    Cause,
    Execution,
    ExecutionState,
    ExecutionStatus,
    Trigger,
    Verdict,
)
from scaler.model.job import (
    Combine,
    Container,
    DockerOptions,
    EnvVar,
    ProcessOptions,
    Registry,
    Resources,
    StrategyName,
    Template,
)
from scaler.model.replica import Fault, Replica, ReplicaHandle, ReplicaStatus, Usage
from scaler.model.share import Share
from scaler.ports.store import Store

START = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
STATUSES = tuple(LEGAL)
TEMPLATE = Template(
    container=Container(
        name="main",
        image="example/worker:1",
        command=("work", "--one"),
        args=("ä", ""),
        env=(EnvVar(name="PLAIN", value="5"), EnvVar(name="TOKEN", secret_ref="token")),
        resources=Resources(cpu=0.25, memory_bytes=3 << 29),
    ),
    docker=DockerOptions(network="net", mounts=("/a:/b:ro",), user="1000", read_only=True),
    process=ProcessOptions(cwd="/srv", cpu_seconds=60, memory_bytes=1 << 30),
    registries=(Registry(server="example", username="me", password_secret="pull"),),
)


def make_state(name: str, *, job: str = "invoices", at: int = 0, replicas: int = 1) -> ExecutionState:
    """Build a new execution, `at` seconds after `START`, with pending replicas."""
    execution = Execution(
        id=name,
        job=job,
        generation=3,
        cause=Cause.EVENT,
        template=TEMPLATE,
        executor="process",
        replica_timeout=timedelta(seconds=90, microseconds=7),
        replica_retry_limit=2,
        parallelism=4,
        replica_completion_count=5,
        created_at=START + timedelta(seconds=at),
        decision_id=17,
        share=Share(key="orders/3", value=2.5, env=(("PARTITION", "3"), ("TOPIC", "orders"))),
        trigger=Trigger(kind=Cause.EVENT, by="orders", reading=7.5),
        template_hash="sha256:5f70",
    )
    fresh = tuple(
        Replica(
            id=f"{name}-{n}",
            execution_id=name,
            ordinal=n,
            attempt=1,
            created_at=execution.created_at,
            not_before=execution.created_at + timedelta(milliseconds=200),
        )
        for n in range(replicas)
    )
    return ExecutionState(execution=execution, replicas=fresh)


def ended(state: ExecutionState, status: ExecutionStatus, *, removed: bool = True) -> ExecutionState:
    """Build the final state of an execution, every field set."""
    later = state.execution.created_at + timedelta(seconds=1)
    execution = replace(
        state.execution,
        status=status,
        started_at=later,
        ended_at=later + timedelta(seconds=5),
        verdict=Verdict(status=status, reason="Why", message="because", fault=Fault.APP),
        reason="Why",
        message="because",
    )
    replicas = tuple(
        replace(
            one,
            status=ReplicaStatus.FAILED,
            handle=ReplicaHandle(executor="process", token=f"token-{one.id}"),
            started_at=later,
            ended_at=later + timedelta(seconds=4),
            exit_code=143,
            reason="Signaled",
            message="ended by SIGTERM",
            timed_out=True,
            removed=removed,
            launched_at=later - timedelta(milliseconds=250),
            removed_at=later + timedelta(seconds=6) if removed else None,
            fault=Fault.APP,
            usage=Usage(cpu_seconds=1.25, peak_memory_bytes=5 << 20),
            image_digest="sha256:0a1b",
        )
        for one in state.replicas
    )
    return ExecutionState(execution=execution, replicas=replicas)


def make_decision(job: str = "invoices", *, message: str = "three more") -> Decision:
    """Build a decision, every field set."""
    verdicts = (
        RuleVerdict(
            name="queue", type="azure-queue", value=7.5, taken=2.0, active=True, target=2.5, needed=3
        ),
        RuleVerdict(name="topic", type="kafka", error="no answer", error_reason="Unreachable"),
    )
    return Decision(
        job=job,
        at=START,
        occasion=Occasion.REFILL,
        rules=verdicts,
        strategy=StrategyName.EAGER,
        combine=Combine.SUM,
        min_executions=1,
        max_executions=9,
        running=4,
        pending=2,
        ended_since=1,
        wanted=8,
        waiting=3,
        launch=3,
        bound=Bound.MAX,
        reason=Reason.LAUNCHED,
        formula="ceil(7.5 / 2.5) = 3",
        message=message,
    )


class StoreContract:
    """The promises of `scaler.ports.store.Store`, each as a test."""

    @pytest.fixture
    async def store(self) -> AsyncIterator[Store]:
        """Open an empty store. Override."""
        raise NotImplementedError
        yield

    # writing and finding

    async def test_what_begins_is_found_as_it_was(self, store: Store) -> None:
        state = make_state("a", replicas=3)
        await store.begin((state,))
        assert await store.execution("invoices", "a") == state

    async def test_every_field_of_an_end_is_kept(self, store: Store) -> None:
        state = make_state("a", replicas=2)
        await store.begin((state,))
        final = ended(state, ExecutionStatus.FAILED)
        await store.apply(final)
        assert await store.execution("invoices", "a") == final

    async def test_an_unknown_name_is_none(self, store: Store) -> None:
        await store.begin((make_state("a"),))
        assert await store.execution("invoices", "b") is None
        assert await store.execution("other", "a") is None

    async def test_beginning_twice_is_refused_and_changes_nothing(self, store: Store) -> None:
        await store.begin((make_state("a"),))
        with pytest.raises(StoreError, match="execution a: is already recorded"):
            await store.begin((make_state("b"), make_state("a", replicas=3)))
        assert await store.execution("invoices", "b") is None
        assert await store.execution("invoices", "a") == make_state("a")

    async def test_replicas_may_be_added_and_keep_their_order(self, store: Store) -> None:
        state = make_state("a", replicas=1)
        await store.begin((state,))
        retry = Replica(id="a-0-again", execution_id="a", ordinal=0, attempt=2)
        grown = replace(state, replicas=(*state.replicas, retry))
        await store.apply(grown)
        assert await store.execution("invoices", "a") == grown

    async def test_an_execution_without_replicas_is_fine(self, store: Store) -> None:
        await store.begin((make_state("a", replicas=0),))
        assert await store.execution("invoices", "a") == make_state("a", replicas=0)

    # transitions

    @pytest.mark.parametrize(("before", "after"), list(product(STATUSES, STATUSES)))
    async def test_only_legal_transitions_are_recorded(
        self, store: Store, before: ExecutionStatus, after: ExecutionStatus
    ) -> None:
        state = make_state("a")
        await store.begin((state,))
        first = replace(state, execution=replace(state.execution, status=before))
        await store.apply(first)
        second = replace(state, execution=replace(state.execution, status=after))
        if before is after or after in LEGAL[before]:
            await store.apply(second)
            assert await store.execution("invoices", "a") == second
        else:
            with pytest.raises(StoreError, match=f"execution a: {after} may not follow {before}"):
                await store.apply(second)
            assert await store.execution("invoices", "a") == first

    async def test_what_has_ended_changes_no_more(self, store: Store) -> None:
        state = make_state("a", replicas=2)
        final = ended(state, ExecutionStatus.SUCCEEDED)
        await store.begin((state,))
        await store.apply(final)
        changed = replace(final, execution=replace(final.execution, message="another"))
        grown = replace(final, replicas=(*final.replicas, replace(final.replicas[0], id="new")))
        back = replace(final, replicas=(replace(final.replicas[0], removed=False), final.replicas[1]))
        for bad in (changed, grown, back, replace(final, replicas=final.replicas[:1])):
            with pytest.raises(StoreError, match="has ended as Succeeded; it may not change"):
                await store.apply(bad)
        assert await store.execution("invoices", "a") == final

    async def test_what_has_ended_may_still_lose_its_remains(self, store: Store) -> None:
        state = make_state("a", replicas=2)
        final = ended(state, ExecutionStatus.FAILED, removed=False)
        await store.begin((state,))
        await store.apply(final)
        await store.apply(final)
        one = replace(final, replicas=(replace(final.replicas[0], removed=True), final.replicas[1]))
        await store.apply(one)
        assert await store.unfinished() == (one,)
        await store.apply(ended(state, ExecutionStatus.FAILED))
        assert await store.unfinished() == ()

    async def test_applying_what_never_began_is_refused(self, store: Store) -> None:
        with pytest.raises(StoreError, match="execution a: is not recorded under job invoices"):
            await store.apply(make_state("a"))

    # lists

    async def test_unfinished_are_listed_oldest_first(self, store: Store) -> None:
        states = [make_state(name, job=f"job-{name}", at=at) for name, at in (("b", 2), ("a", 1), ("c", 3))]
        await store.begin(tuple(states))
        await store.apply(ended(states[0], ExecutionStatus.STOPPED))
        await store.apply(ended(states[2], ExecutionStatus.STOPPED, removed=False))
        found = await store.unfinished()
        assert found == (states[1], ended(states[2], ExecutionStatus.STOPPED, removed=False))

    async def test_executions_are_listed_newest_first(self, store: Store) -> None:
        names = [("a", 5), ("b", 9), ("c", 5), ("d", 1)]
        await store.begin(tuple(make_state(name, at=at, replicas=2) for name, at in names))
        await store.begin((make_state("e", job="other"),))
        page = await store.executions("invoices")
        assert [state.execution.id for state in page.items] == ["b", "c", "a", "d"]
        assert page.items[0] == make_state("b", at=9, replicas=2)
        assert page.cursor is None

    async def test_paging_is_stable_while_new_ones_arrive(self, store: Store) -> None:
        await store.begin(tuple(make_state(f"old-{n}", at=n // 3) for n in range(10)))
        seen: list[str] = []
        cursor: str | None = None
        for turn in range(4):
            page = await store.executions("invoices", limit=3, cursor=cursor)
            seen += [state.execution.id for state in page.items]
            cursor = page.cursor
            await store.begin((make_state(f"new-{turn}", at=100 + turn),))
        assert (seen, cursor) == ([f"old-{n}" for n in reversed(range(10))], None)

    async def test_a_page_that_is_just_full_is_the_last(self, store: Store) -> None:
        await store.begin(tuple(make_state(f"e{n}", at=n) for n in range(3)))
        assert (await store.executions("invoices", limit=3)).cursor is None
        assert (await store.executions("nobody")).items == ()

    @pytest.mark.parametrize("cursor", ["nonsense", "", "MjAyNg", "%%%"])
    async def test_a_cursor_that_is_not_ours_is_an_error(self, store: Store, cursor: str) -> None:
        with pytest.raises(ValueError, match="not one of ours"):
            await store.executions("invoices", cursor=cursor)

    async def test_an_empty_page_cannot_be_asked_for(self, store: Store) -> None:
        with pytest.raises(StoreError, match="at least 1"):
            await store.executions("invoices", limit=0)

    async def test_lists_and_counts_go_by_status(self, store: Store) -> None:
        states = [make_state(f"e{n}", at=n) for n in range(5)]
        await store.begin(tuple(states))
        await store.apply(ended(states[1], ExecutionStatus.FAILED))
        await store.apply(ended(states[3], ExecutionStatus.SUCCEEDED))
        wanted = frozenset({ExecutionStatus.FAILED, ExecutionStatus.SUCCEEDED})
        page = await store.executions("invoices", limit=1, statuses=wanted)
        rest = await store.executions("invoices", limit=1, statuses=wanted, cursor=page.cursor)
        assert [s.execution.id for s in (*page.items, *rest.items)] == ["e3", "e1"]
        assert (await store.executions("invoices", statuses=frozenset())).items == ()
        assert await store.status_counts("invoices") == {
            ExecutionStatus.PROCESSING: 3,
            ExecutionStatus.FAILED: 1,
            ExecutionStatus.SUCCEEDED: 1,
        }
        assert await store.status_counts("nobody") == {}

    # decisions and notes

    async def test_decisions_are_listed_newest_first_with_their_ids(self, store: Store) -> None:
        ids = [await store.decide(make_decision(message=f"{n}")) for n in range(3)]
        other = await store.decide(make_decision("other"))
        assert len({*ids, other}) == 4
        assert await store.decisions("invoices", limit=2) == (
            replace(make_decision(message="2"), id=ids[2]),
            replace(make_decision(message="1"), id=ids[1]),
        )

    async def test_a_note_is_kept_until_it_is_replaced(self, store: Store) -> None:
        assert await store.recall("instance") is None
        await store.remember("instance", "one")
        await store.remember("instance", "two")
        await store.remember("other", "three")
        assert (await store.recall("instance"), await store.recall("other")) == ("two", "three")

    # many at once

    async def test_five_hundred_writes_at_once_are_all_kept(self, store: Store) -> None:
        states = [make_state(f"e{n:03}", at=n) for n in range(500)]

        async def live(state: ExecutionState) -> None:
            await store.begin((state,))
            running = replace(state.execution, status=ExecutionStatus.RUNNING)
            await store.apply(replace(state, execution=running))
            await store.apply(ended(state, ExecutionStatus.SUCCEEDED))

        async with asyncio.TaskGroup() as group:
            for state in states:
                group.create_task(live(state))
        assert await store.status_counts("invoices") == {ExecutionStatus.SUCCEEDED: 500}
        assert FINAL >= set(await store.status_counts("invoices"))

    async def test_a_refused_write_spares_its_neighbours(self, store: Store) -> None:
        async def begin(name: str) -> bool:
            try:
                await store.begin((make_state(name),))
            except StoreError:
                return False
            return True

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(begin(name)) for name in ("a", "b", "a", "c", "b", "d")]
        assert sorted(task.result() for task in tasks) == [False, False, True, True, True, True]
        assert await store.status_counts("invoices") == {ExecutionStatus.PROCESSING: 4}
