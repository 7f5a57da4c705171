"""What a job must be whose poison messages are moved: one source, that counts deliveries."""

from __future__ import annotations

from collections.abc import Iterator

from scaler.ports.scaler import AnyScalerType
from scaler.wire.faults import Node, WireFault
from scaler.wire.metadata import TriggerMetadata


def check_poison(
    root: Node, rule: Node, resolved: tuple[AnyScalerType, TriggerMetadata]
) -> Iterator[WireFault]:
    """List what keeps the poison messages of one of a job's rules from being moved."""
    own = root["x-scaler"]["poison"]
    if not own.is_set:
        return
    rules = list(root["properties"]["configuration"]["eventTriggerConfig"]["scale"]["rules"])
    if len(rules) > 1:
        if rule.path == rules[0].path:
            text = "with several rules nobody knows whose message an execution had; make each rule a job, or remove it"
            yield own.fault(text, at_key=True)
        return
    scaler, metadata = resolved
    if scaler.mover is None:
        text = f"a source of type {rule['type'].text} does not count deliveries, so no message is known to be poison"
        yield own.fault(f"{text}; remove it", at_key=True)
        return
    refusal = scaler.mover.refusal(metadata, own["to"].text or None)
    if refusal is not None:
        yield own.fault(refusal, at_key=True)
