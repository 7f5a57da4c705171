"""Each promise is told when it is broken, by the word and of the thing, and nothing is told of what is sound."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from scaler.model.decision import Bound, Decision, Occasion, Reason, RuleVerdict
from scaler.model.execution import ExecutionState, ExecutionStatus
from scaler.model.job import Combine, StrategyName
from scaler.model.replica import Fault, OwnedReplica, Replica, ReplicaHandle, ReplicaStatus
from scaler.planning.invariants import LIVE_PROMISES, Look, Promise, agreed, broken
from tests.planning.builders import NOW, execution_state


def _at(seconds: float) -> Any:
    return NOW + timedelta(seconds=seconds)


def _replica(name: str = "job-abc-1", *, begin: float = 1, end: float | None = 9, **fields: Any) -> Replica:
    if end is None:
        life: dict[str, Any] = {"status": ReplicaStatus.RUNNING}
    else:
        life = {
            "status": ReplicaStatus.SUCCEEDED,
            "exit_code": 0,
            "reason": "Completed",
            "ended_at": _at(end),
        }
    values = {"ordinal": 0, "attempt": 1, "started_at": _at(begin), **life, **fields}
    return Replica(id=name, execution_id="job-abc", **values)


def _failed(name: str, *, fault: Fault = Fault.APP, **fields: Any) -> Replica:
    return _replica(name, status=ReplicaStatus.FAILED, exit_code=1, reason="Error", fault=fault, **fields)


def _execution(
    *replicas: Replica, name: str = "job-abc", begin: float = 0, end: float | None = 10, **fields: Any
) -> ExecutionState:
    limits = {key: fields.pop(key) for key in ("parallelism", "completions", "retries") if key in fields}
    state = execution_state(**limits)
    if end is None:
        life: dict[str, Any] = {"status": ExecutionStatus.RUNNING}
    else:
        life = {"status": ExecutionStatus.SUCCEEDED, "reason": "Completed", "ended_at": _at(end)}
    values = {"id": name, "created_at": _at(begin), "started_at": _at(begin + 1), **life, **fields}
    return ExecutionState(execution=replace(state.execution, **values), replicas=replicas)


def _done(name: str = "job-abc", **fields: Any) -> ExecutionState:
    return _execution(_replica(f"{name}-1"), name=name, **fields)


def _decision(number: int, *, at: float = 0, most: int = 1, launch: int = 1, **fields: Any) -> Decision:
    values: dict[str, Any] = {
        "occasion": Occasion.TICK, "rules": (RuleVerdict(name="q", type="toy", value=1.0),), "running": 0,
        "combine": Combine.MAX, **fields,
    }  # fmt: skip
    return Decision(
        id=number, job="job", at=_at(at), strategy=StrategyName.AUTO, min_executions=0, max_executions=most,
        pending=0, ended_since=0, wanted=launch, waiting=launch, launch=launch, bound=Bound.NONE,
        reason=Reason.LAUNCHED, formula="", message="", **values,
    )  # fmt: skip


def _owned(name: str = "job-abc-1", *, ended: bool = False, age: float = 100) -> OwnedReplica:
    handle = ReplicaHandle(executor="docker", token=name)
    return OwnedReplica(replica_id=name, handle=handle, started=True, ended=ended, created_at=_at(100 - age))


def _look(*states: ExecutionState, **fields: Any) -> Look:
    return Look(now=_at(100), states=states, grace=timedelta(seconds=60), **fields)


UNREAD = RuleVerdict(name="down", type="toy", error="refused", error_reason="Unreachable")
READ = RuleVerdict(name="q", type="toy", value=3.0)

CASES: list[tuple[str, Look, list[tuple[Promise, str]]]] = [
    ("an execution that went well", _look(_done(), owned={"docker": (_owned(ended=True),)}), []),
    ("one that runs", _look(_execution(_replica(end=None), end=None), owned={"docker": (_owned(),)}), []),
    (
        "two after each other with a maximum of one",
        _look(
            _done("a", begin=0, end=10, decision_id=1),
            _done("b", begin=10, end=20, decision_id=2),
            decisions=(_decision(1), _decision(2, at=10)),
        ),
        [],
    ),
    (
        "two at once with a maximum of one",
        _look(
            _done("a", begin=0, end=10, decision_id=1),
            _done("b", begin=9, end=20, decision_id=2),
            decisions=(_decision(1), _decision(2, at=9)),
        ),
        [(Promise.MAX, "b")],
    ),
    (
        "two at once by a clock that was set back between them",
        _look(
            _done("a", begin=0, end=10, decision_id=1),
            _done("b", begin=9, end=20, decision_id=3),
            decisions=(_decision(1), _decision(2, at=30, launch=0), _decision(3, at=9)),
        ),
        [],
    ),
    (
        "a decision that launches more than there is room for",
        _look(decisions=(_decision(1, most=2, launch=2, running=1),)),
        [(Promise.MAX, "decision 1")],
    ),
    (
        "an end without a reason",
        _look(_done(reason="")),
        [(Promise.FINAL, "job-abc")],
    ),
    ("an end without a time", _look(_done(ended_at=None)), [(Promise.FINAL, "job-abc")]),
    (
        "an end while a replica runs",
        _look(_execution(_replica(), _replica("job-abc-2", begin=9, end=None), completions=2)),
        [(Promise.FINAL, "job-abc"), (Promise.COMPLETIONS, "job-abc")],
    ),
    (
        "a success whose exit code nobody saw",
        _look(_execution(_replica(exit_code=None))),
        [(Promise.FINAL, "job-abc-1")],
    ),
    (
        "an execution recorded twice",
        _look(_done(), _done()),
        [(Promise.TWICE, "job-abc"), (Promise.TWICE, "job-abc-1")],
    ),
    (
        "a replica that exists twice",
        _look(_execution(_replica(end=None), end=None), owned={"docker": (_owned(), _owned())}),
        [(Promise.TWICE, "job-abc-1")],
    ),
    ("a thing without a record", _look(owned={"docker": (_owned("x"),)}), [(Promise.ORPHAN, "x")]),
    ("a thing without a record yet", _look(owned={"docker": (_owned("x", age=59),)}), []),
    ("a thing without a record here", _look(owned={"docker": (_owned("x"),)}, whole=False), []),
    (
        "a replica that runs after its end",
        _look(_done(), owned={"docker": (_owned(),)}),
        [(Promise.LIVE, "job-abc-1")],
    ),
    (
        "more retries than allowed",
        _look(
            _execution(
                _failed("r1", end=2), _failed("r2", begin=2, end=3), _replica("r3", begin=3), retries=1
            )
        ),
        [(Promise.ATTEMPTS, "job-abc")],
    ),
    (
        "as many retries as allowed",
        _look(
            _execution(
                _failed("r1", end=2), _failed("r2", begin=2, end=3), _replica("r3", begin=3), retries=2
            )
        ),
        [],
    ),
    (
        "a restart after trouble of the engine",
        _look(_execution(_failed("r1", end=2, fault=Fault.INFRA), _replica("r2", begin=2))),
        [],
    ),
    (
        "more at once than parallelism",
        _look(_execution(_replica("r1"), _replica("r2", begin=8), completions=2)),
        [(Promise.PARALLELISM, "job-abc")],
    ),
    (
        "more completions than asked for",
        _look(_execution(_replica("r1"), _failed("r2", begin=9), _replica("r3", begin=9), retries=1)),
        [(Promise.ATTEMPTS, "job-abc"), (Promise.COMPLETIONS, "job-abc")],
    ),
    (
        "an end before the start",
        _look(_execution(_replica(begin=9, end=8))),
        [(Promise.TIMES, "job-abc-1")],
    ),
    (
        "a launch though no rule could be read",
        _look(decisions=(_decision(1, rules=(UNREAD,)),)),
        [(Promise.UNKNOWN, "decision 1")],
    ),
    ("a launch on the rule that could be read", _look(decisions=(_decision(1, rules=(UNREAD, READ)),)), []),
    (
        "a launch though the unread rule could lower the answer",
        _look(decisions=(_decision(1, rules=(UNREAD, READ), combine=Combine.MIN),)),
        [(Promise.UNKNOWN, "decision 1")],
    ),
]


@pytest.mark.parametrize(("look", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_is_broken_is_told_by_its_promise_and_its_subject(
    look: Look, expected: list[tuple[Promise, str]]
) -> None:
    assert [(one.promise, one.subject) for one in broken(look)] == expected


def test_every_promise_has_a_case_that_breaks_it() -> None:
    assert {promise for _name, _look, found in CASES for promise, _subject in found} == set(Promise)


def test_what_moves_is_told_only_if_two_looks_agree_and_what_stands_at_once() -> None:
    orphan = broken(_look(owned={"docker": (_owned("x"),)}))
    standing = broken(_look(_done(reason="")))
    other = broken(_look(owned={"docker": (_owned("y"),)}))

    assert orphan[0].promise in LIVE_PROMISES
    assert agreed((), orphan) == ()
    assert agreed(other, orphan) == ()
    assert agreed(orphan, orphan) == orphan
    assert agreed((), standing) == standing
    assert str(standing[0]) == "NotFinal job-abc: ended as Succeeded without reason"
