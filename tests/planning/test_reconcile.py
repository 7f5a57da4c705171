"""Records against reality: everything is decided once, nothing young is removed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from scaler.model.execution import ExecutionState
from scaler.model.replica import OwnedReplica, Replica, ReplicaHandle, ReplicaStatus
from scaler.planning.reconcile import Adopt, MarkLost, Relaunch, Remove, RemoveOrphan, reconcile
from tests.planning.builders import NOW, execution_state

GRACE = timedelta(seconds=60)


def _state(replica: Replica) -> ExecutionState:
    return replace(execution_state(), replicas=(replica,))


def _replica(status: ReplicaStatus, *, removed: bool = False) -> Replica:
    return Replica(id="r1", execution_id="job-abc", ordinal=0, attempt=1, status=status, removed=removed)


def _owned(
    replica_id: str = "r1", *, started: bool = True, ended: bool = False, age_s: float = 5
) -> OwnedReplica:
    return OwnedReplica(
        replica_id=replica_id,
        handle=ReplicaHandle(executor="docker", token=replica_id),
        started=started,
        ended=ended,
        created_at=NOW - timedelta(seconds=age_s),
    )


def _decide(replica: Replica, *owned: OwnedReplica) -> list[type]:
    return [type(f) for f in reconcile([_state(replica)], owned, NOW, GRACE)]


def test_what_was_started_is_adopted_even_if_its_start_was_not_recorded() -> None:
    assert _decide(_replica(ReplicaStatus.RUNNING), _owned()) == [Adopt]
    assert _decide(_replica(ReplicaStatus.PENDING), _owned()) == [Adopt]
    assert _decide(_replica(ReplicaStatus.RUNNING), _owned(ended=True)) == [Adopt]


def test_what_was_only_recorded_or_only_created_is_launched_under_the_same_id() -> None:
    assert _decide(_replica(ReplicaStatus.PENDING)) == [Relaunch]
    assert _decide(_replica(ReplicaStatus.PENDING), _owned(started=False)) == [Relaunch]


def test_what_ran_and_is_unknown_now_is_lost() -> None:
    assert _decide(_replica(ReplicaStatus.RUNNING)) == [MarkLost]


def test_what_has_ended_is_removed() -> None:
    assert _decide(_replica(ReplicaStatus.SUCCEEDED), _owned(ended=True)) == [Remove]
    assert _decide(_replica(ReplicaStatus.SUCCEEDED)) == [Remove]
    assert _decide(_replica(ReplicaStatus.SUCCEEDED, removed=True)) == []


def test_an_orphan_is_removed_only_beyond_the_grace() -> None:
    gone = _replica(ReplicaStatus.SUCCEEDED, removed=True)
    assert _decide(gone, _owned("other", age_s=59)) == []
    assert _decide(gone, _owned("other", age_s=60)) == [RemoveOrphan]


_names = st.sampled_from([f"r{i}" for i in range(8)])


@given(
    st.dictionaries(_names, st.tuples(st.sampled_from(list(ReplicaStatus)), st.booleans())),
    st.dictionaries(_names, st.tuples(st.booleans(), st.booleans(), st.floats(0, 200))),
)
def test_everything_owned_is_decided_exactly_once(
    recorded: dict[str, tuple[ReplicaStatus, bool]], held: dict[str, tuple[bool, bool, float]]
) -> None:
    replicas = tuple(
        replace(_replica(status, removed=removed), id=name) for name, (status, removed) in recorded.items()
    )
    owned = [_owned(n, started=s, ended=e, age_s=a) for n, (s, e, a) in held.items()]
    state = replace(execution_state(), replicas=replicas)
    findings = reconcile([state], owned, NOW, GRACE)
    subjects = [f.owned.replica_id if isinstance(f, RemoveOrphan) else f.replica.id for f in findings]
    assert len(subjects) == len(set(subjects))
    young = {o.replica_id for o in owned if NOW - o.created_at < GRACE and o.replica_id not in recorded}
    assert set(held) - set(subjects) == young
    orphans = {f.owned.replica_id for f in findings if isinstance(f, RemoveOrphan)}
    assert orphans == set(held) - set(recorded) - young
