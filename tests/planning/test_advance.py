"""The life of one execution: promises under any order of events, and the rules one by one."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.model.execution import LEGAL, ExecutionState, ExecutionStatus
from scaler.model.replica import ReplicaExit, ReplicaHandle, ReplicaStatus
from scaler.planning.advance import (
    Begun,
    ExecutionEvent,
    Exited,
    Launched,
    LaunchRefused,
    StartReplica,
    StopReplica,
    StopRequested,
    TimedOut,
    advance,
)
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
    assert life.state.replicas[2].ordinal == 0


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


def test_an_exit_code_that_is_not_known_is_never_a_success() -> None:
    life = Life(execution_state()).begin().launched().exited(None, reason="Lost")
    assert (life.status, life.state.execution.reason) == (ExecutionStatus.FAILED, "Lost")
    assert life.state.replicas[0].status is ReplicaStatus.UNKNOWN


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
        st.sampled_from(["launch", "ok", "fail", "lost", "timeout", "stop", "refuse", "begin"]),
        st.integers(0, 5),
    ),
    max_size=25,
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
    return LaunchRefused(replica_id=rid, reason="StartFailed", message="x")


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
        failed = [r for r in life.state.replicas if r.status in (ReplicaStatus.FAILED, ReplicaStatus.UNKNOWN)]
        assert len(life.state.replicas) <= completions + retries + 1 + len(failed)
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
