"""What must hold of the records, of what executors hold, and of the decisions, at whatever moment one looks.

One checker for tests, for long runs and for `scaler doctor`. It reads nothing and repairs nothing: it says which
promise is broken, of what, and how it was seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from scaler.model.decision import Decision, Occasion
from scaler.model.execution import Cause, Execution, ExecutionState, ExecutionStatus
from scaler.model.job import Combine
from scaler.model.replica import Fault, OwnedReplica, Replica, ReplicaStatus
from scaler.planning.retries import INFRA_RESTARTS, failures


class Promise(StrEnum):
    """The promises that are checked, by the word under which a broken one is told."""

    MAX = "AboveMax"
    FINAL = "NotFinal"
    TWICE = "Twice"
    ORPHAN = "Orphan"
    LIVE = "LiveAfterEnd"
    ATTEMPTS = "Attempts"
    PARALLELISM = "Parallelism"
    COMPLETIONS = "Completions"
    TIMES = "Times"
    UNKNOWN = "LaunchOnUnknown"


LIVE_PROMISES = frozenset({Promise.ORPHAN, Promise.LIVE, Promise.TWICE})
"""Those that compare two lists which are read one after the other: a single look may catch them between steps."""


Spans = list[tuple[datetime, datetime]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A promise that does not hold: of what (the id of an execution, replica or decision), and how it was seen."""

    promise: Promise
    subject: str
    message: str

    def __str__(self) -> str:
        return f"{self.promise} {self.subject}: {self.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What was found at one moment.

    Attributes:
        states: executions with all their replicas, in any order.
        decisions: decisions, in any order. An execution whose decision is not among them is not compared
            with a maximum, and nothing is known of a clock that was set back.
        owned: by executor what it holds; an executor that did not answer is left out, which is not "nothing".
        now, grace: an owned replica without a record is an orphan once it is older than `grace`.
        whole: whether `states` are all that the store has; if not, what has no record here may have one there.
    """

    now: datetime
    states: tuple[ExecutionState, ...]
    decisions: tuple[Decision, ...] = ()
    owned: Mapping[str, tuple[OwnedReplica, ...]] = field(default_factory=dict)
    grace: timedelta = timedelta(0)
    whole: bool = True


def broken(look: Look) -> tuple[Violation, ...]:
    """Name everything that does not hold, in the order of the promises; empty if all is well."""
    doubtful = _set_back(look.decisions)
    found = [
        *_above_max(look, doubtful),
        *(violation for state in look.states for violation in _of_execution(state, doubtful)),
        *_same_ids(look),
        *_of_owned(look),
        *(violation for decision in look.decisions for violation in _of_decision(decision)),
    ]
    order = list(Promise)
    return tuple(sorted(found, key=lambda one: (order.index(one.promise), one.subject)))


def agreed(first: Iterable[Violation], second: Iterable[Violation]) -> tuple[Violation, ...]:
    """Keep of two looks what the second shows, without what only one of them saw of things that move."""
    before = {(one.promise, one.subject) for one in first}
    return tuple(
        one for one in second if one.promise not in LIVE_PROMISES or (one.promise, one.subject) in before
    )


# --- the maximum ------------------------------------------------------------------------------------------


def _above_max(look: Look, doubtful: Spans) -> Iterator[Violation]:
    """Count, whenever an event execution was begun, those that had not ended; for what its decision allowed."""
    decisions = {one.id: one for one in look.decisions}
    by_job: dict[str, list[Execution]] = {}
    for state in look.states:
        if state.execution.cause is Cause.EVENT:
            by_job.setdefault(state.execution.job, []).append(state.execution)
    for executions in by_job.values():
        for began, live in _live_at_begin(executions):
            decision = decisions.get(began.decision_id) if began.decision_id is not None else None
            if decision is None or _touches(doubtful, began.created_at, began.created_at):
                continue
            if live > decision.max_executions:
                text = f"{live} unfinished executions of {began.job} when it was begun, "
                text += f"maxExecutions was {decision.max_executions}"
                yield Violation(promise=Promise.MAX, subject=began.id, message=text)


def _live_at_begin(executions: list[Execution]) -> Iterator[tuple[Execution, int]]:
    """Give each execution with how many, itself included, had not ended when it was begun."""
    moments: list[tuple[datetime, int, Execution | None]] = [(e.created_at, 1, e) for e in executions]
    moments += [(e.ended_at, 0, None) for e in executions if e.ended_at is not None]
    live = 0
    for _at, _kind, began in sorted(moments, key=lambda item: item[:2]):  # who ends at that moment makes room
        live += 1 if began else -1
        if began:
            yield began, live


def _set_back(decisions: Iterable[Decision]) -> Spans:
    """Spans of time that the clock showed twice: what is dated there cannot be put in order."""
    in_order = sorted((one for one in decisions if one.id is not None), key=lambda one: one.id or 0)
    spans: Spans = []
    latest: datetime | None = None
    for one in in_order:
        if latest is not None and one.at < latest:
            spans.append((one.at, latest))
        latest = max(one.at, latest) if latest else one.at
    return spans


def _touches(spans: Spans, begin: datetime, end: datetime) -> bool:
    return any(begin <= last and first <= end for first, last in spans)


# --- one execution ----------------------------------------------------------------------------------------


def _of_execution(state: ExecutionState, doubtful: Spans) -> Iterator[Violation]:
    yield from _outcome(state)
    for replica in state.replicas:
        yield from _replica_outcome(replica)
    yield from _attempts(state)
    if not _touches(doubtful, state.execution.created_at, state.execution.ended_at or _LAST):
        yield from _at_once(state)
    yield from _completions(state)
    yield from _times(state)


_LAST = datetime.max.replace(tzinfo=UTC)


def _violation(promise: Promise, subject: str, message: str) -> Iterator[Violation]:
    yield Violation(promise=promise, subject=subject, message=message)


def _outcome(state: ExecutionState) -> Iterator[Violation]:
    execution = state.execution
    if not execution.is_final:
        if execution.ended_at is not None:
            yield from _violation(
                Promise.FINAL, execution.id, f"is {execution.status} and has an end, {execution.ended_at}"
            )
        return
    lacks = [name for name, there in (("reason", execution.reason), ("end", execution.ended_at)) if not there]
    if lacks:
        yield from _violation(
            Promise.FINAL, execution.id, f"ended as {execution.status} without {' or '.join(lacks)}"
        )
    verdict = execution.verdict
    if verdict is not None and verdict.status is not execution.status:
        yield from _violation(
            Promise.FINAL, execution.id, f"ended as {execution.status}, was judged {verdict.status}"
        )
    for replica in state.live:
        yield from _violation(
            Promise.FINAL, execution.id, f"ended, and its replica {replica.id} is {replica.status}"
        )


def _replica_outcome(replica: Replica) -> Iterator[Violation]:
    if not replica.is_final:
        return
    if not replica.reason or replica.ended_at is None:
        yield from _violation(Promise.FINAL, replica.id, f"ended as {replica.status} without reason or end")
    if replica.status is ReplicaStatus.SUCCEEDED and replica.exit_code != 0:
        code = "an unknown code" if replica.exit_code is None else f"code {replica.exit_code}"
        yield from _violation(Promise.FINAL, replica.id, f"is Succeeded with {code}")


def _attempts(state: ExecutionState) -> Iterator[Violation]:
    """Each replica beyond the completions replaces one that failed, and none beyond a budget is replaced."""
    execution = state.execution
    by_app = min(len(failures(state.replicas, Fault.APP)), execution.replica_retry_limit)
    by_infra = min(len(failures(state.replicas, Fault.INFRA)), INFRA_RESTARTS)
    most = execution.replica_completion_count + by_app + by_infra
    if len(state.replicas) > most:
        text = f"{len(state.replicas)} replicas; {execution.replica_completion_count} completions, "
        text += f"{by_app} retries and {by_infra} restarts allow {most}"
        yield Violation(promise=Promise.ATTEMPTS, subject=execution.id, message=text)


def _at_once(state: ExecutionState) -> Iterator[Violation]:
    execution = state.execution
    moments = [(r.started_at, 1) for r in state.replicas if r.started_at is not None]
    moments += [(r.ended_at, 0) for r in state.replicas if r.started_at and r.ended_at is not None]
    live = peak = 0
    for _at, begins in sorted(moments):
        live += 1 if begins else -1
        peak = max(peak, live)
    peak = max(peak, len(state.live))
    if peak > execution.parallelism:
        yield Violation(
            promise=Promise.PARALLELISM,
            subject=execution.id,
            message=f"{peak} replicas at once; parallelism is {execution.parallelism}",
        )


def _completions(state: ExecutionState) -> Iterator[Violation]:
    execution = state.execution
    done = sum(r.status is ReplicaStatus.SUCCEEDED for r in state.replicas)
    wanted = execution.replica_completion_count
    if execution.status is ExecutionStatus.SUCCEEDED and done < wanted:
        text = f"is Succeeded with {done} of {wanted} completions"
        yield Violation(promise=Promise.COMPLETIONS, subject=execution.id, message=text)
    if done > wanted:
        yield Violation(
            promise=Promise.COMPLETIONS, subject=execution.id, message=f"{done} completions of {wanted}"
        )


def _times(state: ExecutionState) -> Iterator[Violation]:
    execution = state.execution
    for name, started, ended in (
        (execution.id, execution.started_at, execution.ended_at),
        *((r.id, r.started_at, r.ended_at) for r in state.replicas),
    ):
        if started is not None and ended is not None and ended < started:
            yield Violation(
                promise=Promise.TIMES, subject=name, message=f"ended {ended}, before its start {started}"
            )


# --- between them -----------------------------------------------------------------------------------------


def _same_ids(look: Look) -> Iterator[Violation]:
    executions = Counter(state.execution.id for state in look.states)
    replicas = Counter(replica.id for state in look.states for replica in state.replicas)
    for name, number in [*executions.items(), *replicas.items()]:
        if number > 1:
            yield Violation(promise=Promise.TWICE, subject=name, message=f"recorded {number} times")


def _of_owned(look: Look) -> Iterator[Violation]:
    records = {r.id: (state.execution, r) for state in look.states for r in state.replicas}
    held = Counter(thing.replica_id for things in look.owned.values() for thing in things)
    for name, number in held.items():
        if number > 1:
            yield Violation(promise=Promise.TWICE, subject=name, message=f"{number} things of this id exist")
    for executor, things in look.owned.items():
        for thing in things:
            record = records.get(thing.replica_id)
            if record is None:
                if look.whole and look.now - thing.created_at >= look.grace:
                    text = f"{executor} holds it, no record speaks of it"
                    yield Violation(promise=Promise.ORPHAN, subject=thing.replica_id, message=text)
            elif thing.started and not thing.ended and (record[0].is_final or record[1].is_final):
                text = f"runs on {executor}; recorded as {record[1].status} of an execution that is "
                yield Violation(
                    promise=Promise.LIVE, subject=thing.replica_id, message=f"{text}{record[0].status}"
                )


# --- decisions --------------------------------------------------------------------------------------------


def _of_decision(decision: Decision) -> Iterator[Violation]:
    if decision.launch == 0 or decision.occasion is Occasion.SCHEDULE:
        return
    subject = f"decision {decision.id}"
    if decision.running + decision.launch > decision.max_executions:
        text = f"launched {decision.launch} beside {decision.running}, maxExecutions was {decision.max_executions}"
        yield Violation(promise=Promise.MAX, subject=subject, message=text)
    unread = [rule.name for rule in decision.rules if rule.error is not None]
    lowering = decision.combine in (Combine.MIN, Combine.AVG)
    if unread and (lowering or len(unread) == len(decision.rules)):
        text = f"launched {decision.launch} though {', '.join(unread)} could not be read"
        yield Violation(promise=Promise.UNKNOWN, subject=subject, message=text)
