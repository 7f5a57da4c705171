"""Names what an event execution was started for: the one rule that asked for the most."""

from __future__ import annotations

from scaler.model.decision import Decision
from scaler.model.execution import Cause, Trigger

BY_FLOOR = "minExecutions"


def asker(decision: Decision) -> Trigger:
    """Tell which rule a decision's launches are owed to, and its reading.

    Of several rules it is the one that by itself needs the most executions, the first of equals; where none needs
    any, the floor started them.
    """
    asking = [rule for rule in decision.rules if (rule.needed or 0) > 0]
    if not asking:
        return Trigger(kind=Cause.EVENT, by=BY_FLOOR)
    first = max(asking, key=lambda rule: rule.needed or 0)
    return Trigger(kind=Cause.EVENT, by=first.name, reading=first.value)
