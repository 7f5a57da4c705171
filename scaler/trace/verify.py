"""Makes every decision of a trace again, by the planner that the engine uses, and compares."""

from __future__ import annotations

from dataclasses import dataclass

from scaler.planning.decide import decide
from scaler.planning.firing import Fired, fire, is_due
from scaler.trace.lines import Decided, Due, Outcome
from scaler.trace.read import Trace

COMPARED = ("launch", "handed", "wanted", "waiting", "bound", "reason")
DIFFERENCES_KEPT = 100
COMPARED_DUE = ("launch", "reason")


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One decision that comes out otherwise now."""

    place: str
    job: str
    at: str
    field: str
    recorded: str
    replayed: str
    formula: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What came of it.

    Attributes:
        launches: executions that the recorded decisions launched.
        differing: decisions that come out otherwise; `differences` are the first ones.
        dropped, torn: lines that the trace lacks.
    """

    decisions: int
    launches: int
    differing: int
    differences: tuple[Difference, ...]
    dropped: int
    torn: int


def replay(trace: Trace) -> Replay:
    """Decide again on everything that was recorded. All differences are counted, the first ones are kept."""
    differences: list[Difference] = []
    decisions = launches = differing = 0
    for placed in trace:
        if not isinstance(placed.entry, Decided | Due):
            continue
        decisions += 1
        launches += placed.entry.outcome.launch
        difference = _compare(placed.place, placed.entry)
        if difference is not None:
            differing += 1
            differences += [difference] if differing <= DIFFERENCES_KEPT else []
    return Replay(
        decisions=decisions, launches=launches, differing=differing, differences=tuple(differences),
        dropped=trace.dropped, torn=trace.torn,
    )  # fmt: skip


def _compare(place: str, entry: Decided | Due) -> Difference | None:
    before: Outcome | Fired = entry.outcome
    after: Outcome | Fired | None
    if isinstance(entry, Due):
        after = fire(entry.inputs) if is_due(entry.inputs) else None
        said = f"due {entry.inputs.due.isoformat()}, {entry.inputs.live} live"
    else:
        after = Outcome.of(decide(entry.inputs))
        said = after.formula
    for name in COMPARED if isinstance(entry, Decided) else COMPARED_DUE:
        recorded, replayed = getattr(before, name), getattr(after, name, None)
        if recorded != replayed:
            return Difference(
                place=place, job=entry.inputs.job, at=entry.inputs.at.isoformat(), field=name,
                recorded=str(recorded), replayed=str(replayed), formula=said,
            )  # fmt: skip
    return None
