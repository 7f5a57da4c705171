"""Which rule an execution is owed to."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scaler.model.decision import RuleVerdict
from scaler.model.execution import Cause, Trigger
from scaler.planning.asker import asker
from scaler.testing.store_contract import make_decision


def rule(name: str, needed: int | None, value: float | None = None) -> RuleVerdict:
    return RuleVerdict(name=name, type="toy", value=value, needed=needed)


@pytest.mark.parametrize(
    ("rules", "by", "reading"),
    [
        ([rule("a", 2, 20.0)], "a", 20.0),
        ([rule("a", 2, 20.0), rule("b", 3, 3.0)], "b", 3.0),
        ([rule("a", 2, 20.0), rule("b", 2, 3.0)], "a", 20.0),
        ([rule("a", None), rule("b", 1, 1.0)], "b", 1.0),
        ([rule("a", 0, 0.0), rule("b", None)], "minExecutions", None),
        ([], "minExecutions", None),
    ],
)
def test_an_execution_is_owed_to_the_rule_that_needs_the_most_and_else_to_the_floor(
    rules: list[RuleVerdict], by: str, reading: float | None
) -> None:
    trigger = asker(replace(make_decision(), rules=tuple(rules)))
    assert trigger == Trigger(kind=Cause.EVENT, by=by, reading=reading)
