"""The life of one execution: promises under any order of events, and the rules one by one."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.model.execution import LEGAL, ExecutionState, ExecutionStatus
from scaler.model.replica import Fault, ReplicaExit, ReplicaHandle, ReplicaStatus
from scaler.planning.advance import (
    Begun,
    ExecutionEvent,
    Exited,
    Launched,
    LaunchRefused,
    NeverStarted,
    StartReplica,
    StopReplica,
    StopRequested,
    TimedOut,
    advance,
)
from scaler.planning.retries import INFRA_RESTARTS, failures
from tests.planning.builders import NOW, execution_state

HANDLE = ReplicaHandle(executor="docker", token="c1")


def _ids() -> Callable[[], str]:
    numbers = itertools.count(1)
    return lambda: f"job-abc-{next(numbers):05d}"


class Life:
    """Feeds events to one execution and keeps what came out."""

    def __init__(self, state: ExecutionState) -> None:
        self.state = state
        self.actions: list[object] = []
        self._ids = _ids()
        self._now = NOW

    def take(self, event: ExecutionEvent) -> Life:
        self._now += timedelta(seconds=1)
        step = advance(self.state, event, self._now, self._ids)
        self.state, self.actions = step.state, list(step.actions)
        return self

    def begin(self) -> Life:
        return self.take(Begun())

    def launched(self, index: int = -1) -> Life:
        return self.take(Launched(replica_id=self.state.replicas[index].id, handle=HANDLE))

    def exited(self, code: int | None, index: int = -1, reason: str = "Error") -> Life:
        how = ReplicaExit(code=code, reason="Completed" if code == 0 else reason)
        return self.take(Exited(replica_id=self.state.replicas[index].id, exit=how))

    @property
    def status(self) -> ExecutionStatus:
        return self.state.execution.status


def test_one_replica_that_ends_well_is_a_success() -> None:
    life = Life(execution_state()).begin()
    assert [type(a) for a in life.actions] == [StartReplica]
    assert life.status is ExecutionStatus.PROCESSING
    assert life.launched().status is ExecutionStatus.RUNNING
    assert life.exited(0).status is ExecutionStatus.SUCCEEDED
    assert life.state.execution.reason == "Completed"
    assert life.state.execution.ended_at is not None


@pytest.mark.parametrize(
    ("told_s", "ended_s"),
    [(2.5, 2.5), (None, 3), (99, 3), (-50, 2)],  # launched at 2, heard of at 3; clocks may differ
)
def test_it_ended_when_the_backend_says_so_as_far_as_that_is_possible(
    told_s: float | None, ended_s: float
) -> None:
    life = Life(execution_state()).begin().launched()
    at = None if told_s is None else NOW + timedelta(seconds=told_s)
    life.take(
        Exited(replica_id=life.state.replicas[0].id, exit=ReplicaExit(code=0, reason="Completed", at=at))
    )
    assert life.state.replicas[0].ended_at == NOW + timedelta(seconds=ended_s)
    assert life.state.execution.ended_at == NOW + timedelta(seconds=ended_s)


def test_without_retries_the_reason_is_that_of_the_replica() -> None:
    life = Life(execution_state()).begin().launched().exited(137, reason="OOMKilled")
    assert (life.status, life.state.execution.reason) == (ExecutionStatus.FAILED, "OOMKilled")
    assert "exit code 137" in life.state.execution.message


def test_a_failed_replica_is_replaced_while_retries_are_left() -> None:
    life = Life(execution_state(retries=1)).begin().launched().exited(1)
    assert life.status is ExecutionStatus.RUNNING
    assert [type(a) for a in life.actions] == [StartReplica]
    assert [r.attempt for r in life.state.replicas] == [1, 2]
    life.launched().exited(1)
    assert (life.status, life.state.execution.reason) == (ExecutionStatus.FAILED, "BackoffLimitExceeded")


def test_parallelism_never_exceeds_the_completions_still_missing() -> None:
    life = Life(execution_state(parallelism=8, completions=3)).begin()
    assert len(life.state.live) == 3
    life.launched(0).launched(1).launched(2).exited(0, 0)
    assert (life.actions, len(life.state.live)) == ([], 2)


def test_completions_beyond_the_parallelism_run_one_after_the_other() -> None:
    life = Life(execution_state(parallelism=2, completions=3)).begin().launched(0).launched(1)
    life.exited(0, 0)
    assert [type(a) for a in life.actions] == [StartReplica]
    assert [(r.ordinal, r.attempt) for r in life.state.replicas] == [(0, 1), (1, 1), (2, 1)]


def test_when_retries_are_used_up_the_other_replicas_are_ended_first() -> None:
    life = Life(execution_state(parallelism=2, completions=2)).begin().launched(0).launched(1)
    life.exited(1, 0)
    assert life.status is ExecutionStatus.RUNNING
    assert life.actions == [StopReplica(replica_id=life.state.replicas[1].id)]
    life.exited(143, 1)
    assert life.status is ExecutionStatus.FAILED
    assert [r.status for r in life.state.replicas] == [ReplicaStatus.FAILED, ReplicaStatus.STOPPED]


def test_a_timeout_stops_the_replica_and_fails_it_whatever_code_it_leaves_with() -> None:
    life = Life(execution_state(timeout_s=5)).begin().launched()
    life.take(TimedOut(replica_id=life.state.replicas[0].id))
    assert life.actions == [StopReplica(replica_id=life.state.replicas[0].id)]
    assert life.exited(0).status is ExecutionStatus.FAILED
    assert life.state.execution.reason == "ReplicaTimeout"


def test_a_stop_ends_as_stopped_once_the_replica_is_gone() -> None:
    life = Life(execution_state(retries=3)).begin().launched().take(StopRequested())
    assert (life.status, len(life.actions)) == (ExecutionStatus.RUNNING, 1)
    assert life.exited(143).status is ExecutionStatus.STOPPED


def test_what_is_lost_is_started_again_without_costing_a_retry_until_its_own_budget_is_used_up() -> None:
    life = Life(execution_state(retries=0)).begin()
    for _ in range(INFRA_RESTARTS):
        life.launched().exited(None, reason="Lost")
        assert (life.status, [type(a) for a in life.actions]) == (ExecutionStatus.RUNNING, [StartReplica])
    life.launched().exited(None, reason="Lost")
    verdict = life.state.execution.verdict
    assert verdict is not None
    assert (life.status, verdict.reason, verdict.fault) == (ExecutionStatus.UNKNOWN, "Lost", Fault.INFRA)
    assert {r.status for r in life.state.replicas} == {ReplicaStatus.UNKNOWN}
    assert "6 failures of what runs its replicas, 5 are made up for" in verdict.message


def test_a_success_after_a_loss_is_a_success() -> None:
    life = Life(execution_state()).begin().launched().exited(None, reason="Lost").launched().exited(0)
    assert life.status is ExecutionStatus.SUCCEEDED


def test_the_budgets_are_counted_apart() -> None:
    life = Life(execution_state(retries=1)).begin()
    for code in (None, 1, None):
        life.launched().exited(code)
    assert life.status is ExecutionStatus.RUNNING
    life.launched().exited(1)
    assert (life.status, life.state.execution.reason) == (ExecutionStatus.FAILED, "BackoffLimitExceeded")
    assert [r.fault for r in life.state.replicas] == [Fault.INFRA, Fault.APP, Fault.INFRA, Fault.APP]


def test_each_failure_of_a_slot_doubles_the_pause_before_the_next_attempt() -> None:
    life = Life(execution_state(retries=9)).begin()
    for _ in range(9):
        life.launched().exited(1)
    pauses = [(r.not_before - r.created_at) for r in life.state.replicas[1:] if r.not_before and r.created_at]
    assert [pause.total_seconds() for pause in pauses] == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_completion_that_failed_waits_while_the_next_one_starts_at_once() -> None:
    life = Life(execution_state(parallelism=1, completions=2, retries=1)).begin().launched().exited(1)
    life.launched().exited(0)
    first, again, second = life.state.replicas
    assert (first.ordinal, again.ordinal, second.ordinal) == (0, 0, 1)
    assert (first.not_before, again.not_before is None, second.not_before) == (None, False, None)


def test_a_stop_during_the_pause_ends_what_never_started() -> None:
    life = Life(execution_state(retries=1)).begin().launched().exited(1).take(StopRequested())
    waiting = life.state.replicas[1]
    assert life.actions == [StopReplica(replica_id=waiting.id)]
    life.take(NeverStarted(replica_id=waiting.id))
    assert (life.status, life.state.replicas[1].reason) == (ExecutionStatus.STOPPED, "NeverStarted")
    assert life.state.replicas[1].started_at is None


def test_a_launch_that_passing_trouble_refuses_is_tried_again_and_fails_once_that_is_known_to_be_all() -> (
    None
):
    life = Life(execution_state()).begin()
    for _ in range(INFRA_RESTARTS + 1):
        assert life.status is ExecutionStatus.PROCESSING
        refused = LaunchRefused(
            replica_id=life.state.replicas[-1].id, reason="ImagePullFailed", message="503", fault=Fault.INFRA
        )
        life.take(refused)
    assert (life.status, life.state.execution.reason) == (ExecutionStatus.FAILED, "ImagePullFailed")
    assert life.state.execution.verdict is not None
    assert life.state.execution.verdict.fault is Fault.INFRA


def test_the_phases_of_a_replica_are_kept() -> None:
    life = Life(execution_state()).begin()
    asked_at = NOW + timedelta(seconds=1.5)
    life.take(Launched(replica_id=life.state.replicas[0].id, handle=HANDLE, asked_at=asked_at)).exited(0)
    (replica,) = life.state.replicas
    moments = (replica.created_at, replica.launched_at, replica.started_at, replica.ended_at)
    assert moments == (
        NOW + timedelta(seconds=1), asked_at, NOW + timedelta(seconds=2), NOW + timedelta(seconds=3),
    )  # fmt: skip


def test_a_refused_launch_is_not_retried() -> None:
    life = Life(execution_state(retries=5)).begin()
    refused = LaunchRefused(
        replica_id=life.state.replicas[0].id, reason="ImagePullFailed", message="no such image"
    )
    life.take(refused)
    assert (life.status, life.state.execution.reason) == (ExecutionStatus.FAILED, "ImagePullFailed")


def test_taking_up_an_execution_again_starts_what_was_only_recorded() -> None:
    life = Life(execution_state()).begin()
    first = life.state.replicas[0]
    life.begin()
    assert life.actions == [StartReplica(replica=first)]
    assert len(life.state.replicas) == 1


_events = st.lists(
    st.tuples(
        st.sampled_from(
            ["launch", "ok", "fail", "lost", "timeout", "stop", "refuse", "busy", "never", "begin"]
        ),
        st.integers(0, 5),
    ),
    max_size=40,
)


def _event(kind: str, state: ExecutionState, index: int) -> ExecutionEvent:
    if kind == "begin" or not state.replicas:
        return Begun()
    if kind == "stop":
        return StopRequested()
    rid = state.replicas[index % len(state.replicas)].id
    exits = {"ok": 0, "fail": 3, "lost": None}
    if kind in exits:
        return Exited(replica_id=rid, exit=ReplicaExit(code=exits[kind], reason="Error"))
    if kind == "launch":
        return Launched(replica_id=rid, handle=HANDLE)
    if kind == "timeout":
        return TimedOut(replica_id=rid)
    if kind == "never":
        return NeverStarted(replica_id=rid)
    fault = Fault.INFRA if kind == "busy" else Fault.APP
    return LaunchRefused(replica_id=rid, reason="StartFailed", message="x", fault=fault)


def _assert_within_budgets(state: ExecutionState, retries: int) -> None:
    """Nothing is started anew once a budget is passed; those beyond it were live when it was."""
    beside = state.execution.parallelism - 1
    assert len(failures(state.replicas, Fault.APP)) <= retries + 1 + beside
    assert len(failures(state.replicas, Fault.INFRA)) <= INFRA_RESTARTS + 1 + beside


def _assert_never_a_lie(state: ExecutionState) -> None:
    """Success needs its completions, failure somebody known to be at fault, unknown something not known."""
    status, verdict = state.execution.status, state.execution.verdict
    by = {fault: len(failures(state.replicas, fault)) for fault in Fault}
    if status is ExecutionStatus.SUCCEEDED:
        done = sum(r.status is ReplicaStatus.SUCCEEDED for r in state.replicas)
        assert done >= state.execution.replica_completion_count
    if status is ExecutionStatus.FAILED:
        assert verdict is not None
        assert verdict.fault is not None
        assert by[verdict.fault] > 0
    if status is ExecutionStatus.UNKNOWN:
        assert any(r.status is ReplicaStatus.UNKNOWN for r in state.replicas)
        assert by[Fault.INFRA] > INFRA_RESTARTS


@given(st.integers(1, 3), st.integers(1, 4), st.integers(0, 2), _events)
def test_under_any_events_the_limits_hold_and_the_end_is_final(
    parallelism: int, completions: int, retries: int, events: list[tuple[str, int]]
) -> None:
    life = Life(execution_state(parallelism=parallelism, completions=completions, retries=retries)).begin()
    for kind, index in events:
        before = life.state
        event = _event(kind, before, index)
        life.take(event)
        was, now = before.execution.status, life.state.execution.status
        assert now is was or now in LEGAL[was]
        assert len(life.state.live) <= parallelism
        assert len({r.ordinal for r in life.state.live}) == len(life.state.live)
        _assert_within_budgets(life.state, retries)
        _assert_never_a_lie(life.state)
        if life.state.execution.is_final:
            assert life.state.live == ()
            assert life.state.execution.reason
            assert life.state.execution.ended_at is not None
        if was in LEGAL and not LEGAL[was]:
            assert life.state == before
        again = life.state
        if not isinstance(event, Begun | StopRequested):
            life.take(event)
            assert life.state == again


@given(st.integers(1, 3), st.integers(1, 4), st.integers(0, 2), st.lists(st.booleans(), min_size=1))
def test_every_execution_ends(parallelism: int, completions: int, retries: int, luck: list[bool]) -> None:
    life = Life(execution_state(parallelism=parallelism, completions=completions, retries=retries)).begin()
    outcomes = itertools.cycle(luck)
    for _ in range(completions + retries + 2):
        for replica in life.state.live:
            index = life.state.replicas.index(replica)
            life.launched(index).exited(0 if next(outcomes) else 1, index)
    assert life.state.execution.is_final
    succeeded = sum(r.status is ReplicaStatus.SUCCEEDED for r in life.state.replicas)
    assert (life.status is ExecutionStatus.SUCCEEDED) == (succeeded >= completions)


def test_a_record_of_any_number_of_completions_takes_no_more_memory_than_its_replicas() -> None:
    """Records outlive bounds of job files: a list of all slots would take 200 MB here."""
    life = Life(execution_state(parallelism=2, completions=5_000_000)).begin()
    life.launched(0).launched(1)
    tracemalloc.start()
    try:
        life.exited(0, index=0, reason="Completed")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [r.ordinal for r in life.state.replicas] == [0, 1, 2]
    assert peak < 1 << 20
