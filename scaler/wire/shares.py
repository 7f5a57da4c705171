"""What a job must be whose rule hands each execution its share: else two could work on one, or one on none."""

from __future__ import annotations

from collections.abc import Iterator

from scaler.model.job import StrategyName
from scaler.wire.base import read_number
from scaler.wire.faults import Node, WireFault


def check_shares(root: Node, rule: Node, parameter: str) -> Iterator[WireFault]:
    """List the faults of a job for one of its rules.

    Args:
        root: the document.
        rule: the rule that hands out shares.
        parameter: the key of its metadata that says so.
    """
    own = root["properties"]["configuration"]["eventTriggerConfig"]
    because = f"rule '{rule['name'].text}' has {parameter}, which hands each execution its part of the source"
    for other in own["scale"]["rules"]:
        if other.path != rule.path:
            yield other.fault(f"{because} and must be the only rule; make this one another job")
    strategy = root["x-scaler"]["scalingStrategy"]["strategy"]
    if strategy.is_set and strategy.text.lower() != StrategyName.AUTO:
        yield strategy.fault(f"{because}; remove the strategy, or write {StrategyName.AUTO}")
    for key in ("parallelism", "replicaCompletionCount"):
        if _number(own[key]) > 1:
            yield own[key].fault(f"{because}: to one replica; write 1")
    if _number(own["scale"]["minExecutions"]) > 0:
        yield own["scale"]["minExecutions"].fault(f"{because}, and none without work; write 0")


def _number(node: Node) -> float:
    try:
        return read_number(node.value or 0)
    except ValueError:
        return 0.0
