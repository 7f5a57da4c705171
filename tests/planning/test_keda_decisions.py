"""Our four KEDA strategies against decisions recorded from KEDA's own code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scaler.model.job import Combine, EventTrigger, ScaleRule, Strategy, StrategyName
from scaler.model.sample import Sample
from scaler.planning.answer import Plan
from scaler.planning.counts import Counts
from scaler.planning.plan import RuleReading, plan
from tests.planning.builders import NOW

CASES = [
    json.loads(line)
    for line in (Path(__file__).parent / "data" / "keda_decisions.jsonl").read_text().splitlines()
]


def _strategy(said: dict[str, Any]) -> Strategy:
    try:
        percentage = float(said.get("customScalingRunningJobPercentage") or "")
    except ValueError:
        percentage = None
    known = said.get("strategy") in {name.value for name in StrategyName}
    return Strategy(
        name=StrategyName(said["strategy"]) if known else StrategyName.DEFAULT,
        queue_length_deduction=said.get("customScalingQueueLengthDeduction") or 0,
        running_percentage=percentage,
    )


def _ours(case: dict[str, Any]) -> Plan:
    trigger = EventTrigger(
        rules=(),
        min_executions=case["minReplicaCount"],
        max_executions=case["maxReplicaCount"],
        strategy=_strategy(case["scalingStrategy"]),
        combine=Combine(case.get("multipleScalersCalculation") or "max"),
    )
    readings = tuple(
        RuleReading(
            rule=ScaleRule(name=str(i), type="toy"),
            target=rule["target"],
            reading=Sample(value=rule["value"], active=rule["active"]),
        )
        for i, rule in enumerate(case["rules"])
    )
    return plan(trigger, readings, Counts(running=case["running"], pending=case["pending"]), NOW)


def test_the_file_holds_the_recorded_decisions() -> None:
    assert len(CASES) == 2000
    assert sum(len(case["rules"]) == 1 for case in CASES) == 1331


def test_with_one_rule_every_decision_is_kedas_cut_to_the_maximum() -> None:
    wrong = []
    for case in (c for c in CASES if len(c["rules"]) == 1):
        expected = min(case["create"], max(0, case["maxReplicaCount"] - case["running"]))
        if _ours(case).launch != expected:
            wrong.append((case, _ours(case).launch, expected))
    assert wrong == []


def test_with_several_rules_a_difference_comes_only_from_combining_executions_instead_of_messages() -> None:
    """Where targets and rounding cannot matter the answers are equal; elsewhere ours may differ."""
    differing, unexplained = 0, []
    for case in (c for c in CASES if len(c["rules"]) > 1):
        kedas = min(case["create"], max(0, case["maxReplicaCount"] - case["running"]))
        if _ours(case).launch == kedas:
            continue
        differing += 1
        active = [r for r in case["rules"] if r["active"]]
        whole = all(r["target"] and r["value"] % r["target"] == 0 for r in active)
        same_target = len({r["target"] for r in active}) <= 1
        if whole and same_target:
            unexplained.append(case)
    assert unexplained == []
    assert differing == 8


@pytest.mark.parametrize(
    ("value", "maximum", "running", "pending", "created"),
    [(10, 3, 1, 0, 2), (10, 3, 2, 0, 1), (10, 3, 1, 1, 2), (10, 100, 1, 0, 9), (4, 3, 5, 0, 0)],
)
def test_kedas_table_of_the_default_strategy(
    value: int, maximum: int, running: int, pending: int, created: int
) -> None:
    case = {
        "minReplicaCount": 0,
        "maxReplicaCount": maximum,
        "running": running,
        "pending": pending,
        "rules": [{"value": value, "target": 1, "active": True}],
        "scalingStrategy": {"strategy": "default"},
    }
    assert _ours(case).launch == created
