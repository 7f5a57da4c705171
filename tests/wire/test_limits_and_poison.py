"""`x-scaler.priority`, `weight` and `poison`: what is read, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from scaler.model.job import Poison
from scaler.wire.job import read_job


def _job(own: dict[str, Any]) -> dict[str, Any]:
    scale = {"rules": [{"name": "q", "type": "azure-queue", "metadata": {"queueName": "orders"}}]}
    return {
        "name": "orders",
        "properties": {
            "configuration": {
                "triggerType": "Event",
                "replicaTimeout": 60,
                "eventTriggerConfig": {"scale": scale},
            },
            "template": {"containers": [{"name": "w", "image": "example/w:1"}]},
        },
        "x-scaler": own,
    }


def test_they_are_read_and_have_defaults_that_stand_in_no_document() -> None:
    given = read_job(_job({"priority": 5, "weight": "2.5", "poison": {"moveAfter": 3, "to": "dead"}}))
    assert given.faults == ()
    assert given.job is not None
    job = given.job.to_model(secrets={}, folder="/")
    assert (job.priority, job.weight, job.poison) == (5, 2.5, Poison(move_after=3, to="dead"))
    plain = read_job(_job({})).job
    assert plain is not None
    job = plain.to_model(secrets={}, folder="/")
    assert (job.priority, job.weight, job.poison) == (0, 1.0, None)
    assert "priority" not in job.document


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({"weight": 0}, "got '0'; write a number from 0.001 to 1000000, such as 2"),
        ({"weight": "much"}, "got 'much'; write a number such as 0.5"),
        ({"priority": -1}, "got -1; write 0 or more"),
        ({"poison": {"moveAfter": 0}}, "got 0; write 1 or more"),
        ({"poison": {"to": " "}}, "got an empty text; write one, or leave it out"),
    ],
)
def test_what_makes_no_sense_is_refused(own: dict[str, Any], said: str) -> None:
    assert [fault.message for fault in read_job(_job(own)).faults] == [said]
