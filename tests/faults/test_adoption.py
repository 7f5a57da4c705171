"""A daemon that starts beside running replicas takes all of them up at once, however many there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.adoption import Counting, adopted, leave_running

REPLICAS = 1000


@pytest.mark.parametrize("recorded", [True, False], ids=["started-on-record", "killed-before-that"])
async def test_a_thousand_running_replicas_are_adopted_with_one_list_and_hardly_a_commit(
    recorded: bool, tmp_path: Path
) -> None:
    executor = Counting(REPLICAS)
    await leave_running(tmp_path / "scaler.db", executor, REPLICAS, recorded=recorded)

    found = await adopted(tmp_path / "scaler.db", executor)
    await executor.close()

    assert (found.waits, found.lists) == (REPLICAS, 1)
    assert set(executor.launches.values()) == {1}
    assert found.commits == 0 if recorded else found.commits <= REPLICAS / 10  # writes share transactions
    assert found.seconds < 60  # far above the goal of `tests.bench adopt`: machines differ
