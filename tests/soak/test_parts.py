"""What follows executions, and what heals poison."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scaler.errors import DaemonUnreachable, NotFound
from scaler.rig.spool import Spool
from scaler.soak import follow
from scaler.soak.finish import heal
from tests.soak.kit import BEGUN, good


def body(name: str, status: str, reason: str = "") -> dict[str, Any]:
    """An execution as the API tells it."""
    replica = {
        "name": f"{name}-abcde",
        "reason": reason,
        "times": {"created": "2027-01-15T08:00:01.500+00:00"},
    }
    return {
        "name": name,
        "id": f"/subscriptions/0/resourceGroups/local/providers/Microsoft.App/jobs/fast/executions/{name}",
        "properties": {"status": status, "reason": reason, "detailedStatus": {"replicas": [replica]}},
    }


class Api:
    """Answers with what it is given; an execution that it does not have is gone."""

    def __init__(self, *listed: dict[str, Any], single: dict[str, Any] | Exception | None = None) -> None:
        self.listed, self.single = list(listed), single

    def executions(self, _job: str | None, *, limit: int) -> list[Any]:
        return self.listed[:limit]

    def execution(self, _job: str, name: str) -> Any:
        if isinstance(self.single, Exception):
            raise self.single
        return self.single or body(name, "Succeeded", "Completed")


def test_an_execution_is_followed_to_its_end() -> None:
    notes = good(0)
    follow.look(Api(body("fast-a", "Running")), notes)  # type: ignore[arg-type]
    assert (notes.ran["fast-a"].is_final, notes.ran["fast-a"].job) == (False, "fast")
    assert notes.ran["fast-a"].begun_at == BEGUN + 1.5
    follow.look(Api(), notes)  # type: ignore[arg-type]
    assert notes.ran["fast-a"].reason == "Completed"
    assert (notes.changed, notes.unseen) == ([], [])


def test_a_second_end_is_noted() -> None:
    notes = good(0)
    for status, reason in (("Failed", "Error"), ("Failed", "Error"), ("Succeeded", "Completed")):
        follow.look(Api(body("fast-a", status, reason)), notes)  # type: ignore[arg-type]
    assert notes.changed == ["fast-a"]


def test_an_execution_that_is_gone_before_its_end_is_noted() -> None:
    notes = good(0)
    follow.look(Api(body("fast-a", "Running")), notes)  # type: ignore[arg-type]
    with pytest.raises(DaemonUnreachable):
        follow.look(Api(single=DaemonUnreachable("down")), notes)  # type: ignore[arg-type]
    assert notes.unseen == []
    follow.look(Api(single=NotFound("gone")), notes)  # type: ignore[arg-type]
    assert notes.unseen == ["fast-a"]


def test_poison_that_waits_is_healed_and_nothing_else_is_touched(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.put(["a-1", "a-2"], poison=True)
    spool.put(["a-3"], think_s=2)
    (tmp_path / "ready" / "a-1").rename(tmp_path / "ready" / "~a-1")
    (tmp_path / "ready" / "a-2").rename(tmp_path / "taken" / "a-2@r")
    heal(spool, {"a-1", "a-2"})
    assert (tmp_path / "ready" / "~a-1").read_text() == "0 0 0 0\n"
    assert (tmp_path / "taken" / "a-2@r").read_text() == "0 -1 0 0\n"
    assert (tmp_path / "ready" / "a-3").read_text() == "2 0 0 0\n"
    assert spool.names() == {"a-1": 1, "a-2": 1, "a-3": 1}
