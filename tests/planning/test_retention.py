"""What of the history has to go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.model.retention import CONTAINER_APPS, DEFAULT_RETENTION, KeptLog, Pruning, Retention
from scaler.planning.retention import plan_logs, plan_pruning

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (Retention(executions=None), Pruning()),
        (Retention(executions=3), Pruning(surplus=(("b", 1), ("c", 7)))),
        (
            Retention(executions=9, age=timedelta(days=2)),
            Pruning(surplus=(("c", 1),), before=NOW - timedelta(days=2)),
        ),
        (DEFAULT_RETENTION, Pruning()),
        (CONTAINER_APPS, Pruning()),
    ],
)
def test_a_policy_names_the_surplus_of_each_job_and_a_moment(policy: Retention, expected: Pruning) -> None:
    assert plan_pruning(policy, {"c": 10, "a": 3, "b": 4}, NOW) == expected


def test_container_apps_keep_a_hundred_ended_executions_of_a_job() -> None:
    assert plan_pruning(CONTAINER_APPS, {"j": 101}, NOW) == Pruning(surplus=(("j", 1),))


SIZES = st.lists(st.integers(0, 50), max_size=12)


@given(SIZES, st.integers(0, 200), st.sets(st.integers(0, 11)))
def test_logs_beyond_the_bound_go_oldest_first_and_those_of_live_replicas_stay(
    sizes: list[int], most: int, live: set[int]
) -> None:
    logs = [KeptLog(replica=f"r{n:02}", size_bytes=size, at=float(n)) for n, size in enumerate(sizes)]
    alive = {f"r{n:02}" for n in live}
    doomed = plan_logs(reversed(logs), most_bytes=most, live=alive)
    assert not alive & set(doomed)
    may_go = [log.replica for log in logs if log.replica not in alive]
    assert list(doomed) == may_go[: len(doomed)]
    left = sum(log.size_bytes for log in logs if log.replica not in doomed)
    assert left <= most or len(doomed) == len(may_go)
    if doomed:
        last = next(log for log in logs if log.replica == doomed[-1])
        assert left + last.size_bytes > most
    assert plan_logs(logs, most_bytes=None, live=alive) == ()
