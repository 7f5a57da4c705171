"""What the end of one replica means: its status, a reason, and whose trouble it was (docs/adr/0018).

A replica has failed by the app's fault only if its app, or what the job's author wrote, is known to have failed.
What nobody knows is `Unknown`: it never passes for a success, and is not held against the app.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from scaler.model.replica import Fault, ReplicaExit, ReplicaStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a replica is recorded to have ended. `fault` is None where nothing went wrong."""

    status: ReplicaStatus
    reason: str
    message: str = ""
    fault: Fault | None = None


def outcome_of(how: ReplicaExit, *, overran: timedelta | None, is_ending: bool) -> Outcome:
    """Judge the exit of a replica that was started.

    Args:
        how: what the executor tells.
        overran: the time limit, if the replica was stopped because it had used it up; a limit outweighs whatever
            code it left with.
        is_ending: the outcome of its execution was certain before, so that it was stopped, or had no more say.
    """
    judged = _judged(how, overran=overran, is_ending=is_ending)
    if how.restarted_at is None:
        return judged
    told = f"was restarted from outside at {how.restarted_at:%Y-%m-%dT%H:%M:%SZ}, so its work began more than once"
    return replace(judged, message=f"{judged.message}; {told}" if judged.message else told)


def _judged(how: ReplicaExit, *, overran: timedelta | None, is_ending: bool) -> Outcome:
    if overran is not None:
        text = f"ran longer than {overran.total_seconds():g} s and was stopped"
        return Outcome(status=ReplicaStatus.FAILED, reason="ReplicaTimeout", message=text, fault=Fault.APP)
    if how.code == 0:
        return Outcome(status=ReplicaStatus.SUCCEEDED, reason=how.reason, message=how.message)
    if is_ending:
        text = how.message or "stopped with its execution"
        return Outcome(status=ReplicaStatus.STOPPED, reason="Stopped", message=text)
    if fault_of(how) is Fault.INFRA:
        return Outcome(
            status=ReplicaStatus.UNKNOWN, reason=how.reason, message=how.message, fault=Fault.INFRA
        )
    return Outcome(status=ReplicaStatus.FAILED, reason=how.reason, message=how.message, fault=Fault.APP)


def fault_of(how: ReplicaExit) -> Fault | None:
    """Say whose trouble an exit was: the executor's word, else the app's if it left a code; None for a success."""
    if how.code == 0:
        return None
    if how.fault is not None:
        return how.fault
    return Fault.INFRA if how.code is None else Fault.APP


def refusal(reason: str, message: str, fault: Fault) -> Outcome:
    """Judge a launch that the executor refused; `Lost` means that it may have run all the same."""
    status = ReplicaStatus.UNKNOWN if reason == "Lost" else ReplicaStatus.FAILED
    return Outcome(status=status, reason=reason, message=message, fault=fault)


NEVER_STARTED = Outcome(
    status=ReplicaStatus.STOPPED, reason="NeverStarted", message="stopped before it was started"
)
