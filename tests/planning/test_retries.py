"""Which failures an execution makes up for: budgets, pauses, and the verdict when one is used up."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.model.execution import ExecutionState, ExecutionStatus
from scaler.model.replica import Fault, Replica, ReplicaStatus
from scaler.planning.retries import INFRA_RESTARTS, LONGEST_PAUSE, back_off, exhausted, failures
from tests.planning.builders import execution_state

APP, INFRA = Fault.APP, Fault.INFRA
FAILED, UNKNOWN = ReplicaStatus.FAILED, ReplicaStatus.UNKNOWN
OK = ReplicaStatus.SUCCEEDED
MANY = INFRA_RESTARTS + 1


def _state(retries: int, *ends: tuple[ReplicaStatus, Fault | None]) -> ExecutionState:
    replicas = tuple(
        Replica(
            id=f"r{number}", execution_id="job-abc", ordinal=0, attempt=number + 1, status=status,
            reason="Why", fault=fault,
        )
        for number, (status, fault) in enumerate(ends)
    )  # fmt: skip
    return replace(execution_state(retries=retries), replicas=replicas)


@pytest.mark.parametrize(
    ("retries", "ends", "expected"),
    [
        (0, [], None),
        (0, [(OK, None)], None),
        (0, [(FAILED, APP)], (ExecutionStatus.FAILED, "Why", APP)),
        (1, [(FAILED, APP)], None),
        (1, [(FAILED, APP)] * 2, (ExecutionStatus.FAILED, "BackoffLimitExceeded", APP)),
        (0, [(UNKNOWN, INFRA)] * INFRA_RESTARTS, None),
        (0, [(UNKNOWN, INFRA)] * MANY, (ExecutionStatus.UNKNOWN, "Why", INFRA)),
        (0, [(FAILED, INFRA)] * MANY, (ExecutionStatus.FAILED, "Why", INFRA)),
        (0, [(UNKNOWN, INFRA), *[(FAILED, INFRA)] * INFRA_RESTARTS], (ExecutionStatus.UNKNOWN, "Why", INFRA)),
        (2, [*[(UNKNOWN, INFRA)] * INFRA_RESTARTS, *[(FAILED, APP)] * 2], None),
        (9, [*[(FAILED, APP)] * 9, *[(UNKNOWN, INFRA)] * MANY], (ExecutionStatus.UNKNOWN, "Why", INFRA)),
        # both at once: the app is known to have failed
        (0, [(FAILED, APP), *[(UNKNOWN, INFRA)] * MANY], (ExecutionStatus.FAILED, "Why", APP)),
        # records of a release that kept no faults
        (1, [(FAILED, None), (UNKNOWN, None)], None),
        (0, [(FAILED, None)], (ExecutionStatus.FAILED, "Why", APP)),
    ],
)
def test_each_budget_ends_the_execution_by_itself(
    retries: int,
    ends: list[tuple[ReplicaStatus, Fault | None]],
    expected: tuple[ExecutionStatus, str, Fault] | None,
) -> None:
    verdict = exhausted(_state(retries, *ends))
    assert (None if verdict is None else (verdict.status, verdict.reason, verdict.fault)) == expected


@given(
    st.integers(0, 3),
    st.lists(st.tuples(st.sampled_from([FAILED, UNKNOWN, OK]), st.sampled_from([APP, INFRA])), max_size=12),
)
def test_only_a_fault_of_the_app_makes_it_fail_where_something_ran(
    retries: int, ends: list[tuple[ReplicaStatus, Fault]]
) -> None:
    told = [(status, None if status is OK else INFRA if status is UNKNOWN else by) for status, by in ends]
    state = _state(retries, *told)
    verdict = exhausted(state)
    if verdict is None:
        assert len(failures(state.replicas, APP)) <= retries
        assert len(failures(state.replicas, INFRA)) <= INFRA_RESTARTS
    elif verdict.status is ExecutionStatus.FAILED and verdict.fault is INFRA:
        assert not any(status is UNKNOWN for status, _ in told)
    elif verdict.status is ExecutionStatus.FAILED:
        assert len(failures(state.replicas, APP)) > retries


def test_the_pause_doubles_up_to_its_longest() -> None:
    assert [back_off(number).total_seconds() for number in range(9)] == [0, 1, 2, 4, 8, 16, 32, 60, 60]
    assert back_off(10_000) == LONGEST_PAUSE
