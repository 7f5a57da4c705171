"""What the end of a replica means: the table of docs/adr/0018, row by row."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from scaler.model.replica import Fault, ReplicaExit, ReplicaStatus
from scaler.planning.outcome import NEVER_STARTED, Outcome, outcome_of, refusal

APP, INFRA = Fault.APP, Fault.INFRA
SUCCEEDED, FAILED = ReplicaStatus.SUCCEEDED, ReplicaStatus.FAILED
STOPPED, UNKNOWN = ReplicaStatus.STOPPED, ReplicaStatus.UNKNOWN
LIMIT = timedelta(seconds=5)


def _exit(code: int | None, reason: str, fault: Fault | None = None) -> ReplicaExit:
    return ReplicaExit(code=code, reason=reason, message="why", fault=fault)


_ROWS = [
    # by itself
    (_exit(0, "Completed"), SUCCEEDED, "Completed", None),
    (_exit(3, "Error"), FAILED, "Error", APP),
    (_exit(139, "Signaled"), FAILED, "Signaled", APP),
    (_exit(137, "OOMKilled"), FAILED, "OOMKilled", APP),
    (_exit(152, "CpuLimit"), FAILED, "CpuLimit", APP),
    # by trouble of what runs it
    (_exit(None, "Lost"), UNKNOWN, "Lost", INFRA),
    (_exit(None, "RemovedFromOutside"), UNKNOWN, "RemovedFromOutside", INFRA),
    (_exit(137, "RemovedFromOutside", INFRA), UNKNOWN, "RemovedFromOutside", INFRA),
    (_exit(143, "EngineLost", INFRA), UNKNOWN, "EngineLost", INFRA),
    # an executor's word outweighs what a missing code would mean, and a success outweighs its word
    (_exit(None, "Error", APP), FAILED, "Error", APP),
    (_exit(0, "Completed", INFRA), SUCCEEDED, "Completed", None),
]


@pytest.mark.parametrize(("how", "status", "reason", "fault"), _ROWS)
def test_an_exit_by_itself_is_judged_by_its_code_and_the_executors_word(
    how: ReplicaExit, status: ReplicaStatus, reason: str, fault: Fault | None
) -> None:
    judged = outcome_of(how, overran=None, is_ending=False)
    assert judged == Outcome(status=status, reason=reason, message="why", fault=fault)


@pytest.mark.parametrize("how", [row[0] for row in _ROWS])
@pytest.mark.parametrize("is_ending", [False, True])
def test_a_time_limit_outweighs_whatever_it_left_with(how: ReplicaExit, *, is_ending: bool) -> None:
    judged = outcome_of(how, overran=LIMIT, is_ending=is_ending)
    assert (judged.status, judged.reason, judged.fault) == (FAILED, "ReplicaTimeout", APP)
    assert judged.message == "ran longer than 5 s and was stopped"


@pytest.mark.parametrize("how", [row[0] for row in _ROWS])
def test_what_ends_after_the_outcome_is_certain_was_stopped_unless_it_succeeded(how: ReplicaExit) -> None:
    judged = outcome_of(how, overran=None, is_ending=True)
    expected = (SUCCEEDED, "Completed", None) if how.code == 0 else (STOPPED, "Stopped", None)
    assert (judged.status, judged.reason, judged.fault) == expected


def test_a_stop_that_left_no_word_says_that_it_was_one() -> None:
    judged = outcome_of(ReplicaExit(code=143, reason="Signaled"), overran=None, is_ending=True)
    assert judged.message == "stopped with its execution"


@pytest.mark.parametrize("code", [0, 3, None])
@pytest.mark.parametrize("overran", [None, LIMIT])
@pytest.mark.parametrize("is_ending", [False, True])
def test_a_restart_from_outside_is_told_with_every_end_and_changes_nothing_else(
    code: int | None, overran: timedelta | None, *, is_ending: bool
) -> None:
    plain = ReplicaExit(code=code, reason="Error")
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    before = outcome_of(plain, overran=overran, is_ending=is_ending)
    told = outcome_of(replace(plain, restarted_at=at), overran=overran, is_ending=is_ending)
    note = "was restarted from outside at 2026-03-01T12:00:00Z, so its work began more than once"
    assert told == replace(before, message=f"{before.message}; {note}" if before.message else note)


@pytest.mark.parametrize(
    ("reason", "fault", "status"),
    [
        ("CommandNotFound", APP, FAILED),
        ("ImagePullFailed", APP, FAILED),
        ("ImagePullFailed", INFRA, FAILED),
        ("Lost", INFRA, UNKNOWN),
    ],
)
def test_a_refused_launch_is_a_failure_unless_it_may_have_run(
    reason: str, fault: Fault, status: ReplicaStatus
) -> None:
    judged = refusal(reason, "why", fault)
    assert judged == Outcome(status=status, reason=reason, message="why", fault=fault)


def test_what_was_stopped_before_its_start_is_nobodys_fault() -> None:
    assert (NEVER_STARTED.status, NEVER_STARTED.reason, NEVER_STARTED.fault) == (
        STOPPED,
        "NeverStarted",
        None,
    )
