"""The whole decision of one evaluation as one pure step, so that a recorded one can be made again.

Whatever bears on how many executions are launched is a field of `Inputs`; the engine gathers them, and hands the same
value to the recorder of traces. What is not in it cannot have had an effect.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from scaler.model.decision import Occasion
from scaler.model.job import EventTrigger
from scaler.model.sample import Sample
from scaler.planning import breaker
from scaler.planning.answer import Plan
from scaler.planning.capacity import Cut, restrict
from scaler.planning.counts import Counts
from scaler.planning.plan import SETTLE, RuleReading, plan

_MARGIN = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """All that a decision depends on.

    Attributes:
        job, generation: which definition of which job.
        readings: what each rule's source said, and what is known of messages in hands (`takings`).
        counts: this job's event executions at `at`.
        at: the moment of the decision.
        occasion: why the job was evaluated.
        hold: why none may be launched now, or None.
        breaker: where the job's breaker stands at `at`.
        cut: what the limits of the whole daemon leave of what is planned, where they leave less.
    """

    job: str
    trigger: EventTrigger
    readings: tuple[RuleReading, ...]
    counts: Counts
    at: datetime
    occasion: Occasion
    generation: int = 1
    hold: str | None = None
    breaker: breaker.Breaker = breaker.CLOSED
    cut: Cut | None = None


def decide(inputs: Inputs) -> Plan:
    """Plan, then cut to what the breaker and the limits of the daemon let through."""
    planned = plan(inputs.trigger, inputs.readings, inputs.counts, inputs.at, hold=inputs.hold)
    return restrict(breaker.brake(planned, inputs.breaker, inputs.at), inputs.cut)


def trimmed(inputs: Inputs) -> Inputs:
    """Leave out ends that no reading reaches back to: they change no decision, and there may be thousands."""
    samples = [item.reading for item in inputs.readings if isinstance(item.reading, Sample)]
    moments = [sample.as_of or inputs.at for sample in samples]
    since = min([*moments, inputs.at]) - SETTLE - _MARGIN
    counts = inputs.counts
    kept = tuple(at for at in counts.ended if at >= since)
    return replace(
        inputs,
        counts=replace(
            counts,
            ended=kept,
            forgotten=counts.forgotten + len(counts.ended) - len(kept),
            released=tuple(item for item in counts.released if item[1] >= since),
        ),
    )
