"""Writes what a run came to: JSON for programs, and one HTML file that needs nothing else. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from scaler.load.account import Notes, Outcome, total
from scaler.load.plan import Plan
from scaler.rig.charts import BLUE, GREEN, GREY, ORANGE, Line, chart
from scaler.rig.page import page

_NOTE = (
    "Wait: from sending a message to its worker being ready. Ideal: the drain if free slots had taken messages as they "
    "came, each for as long as executions took on average. Wasted: executions beyond one for each message done. Poison "
    "messages are in no column but executions and wasted."
)
_COLUMNS = (
    ("sent", "sent"),
    ("done", "done"),
    ("duplicates", "duplicates"),
    ("lost", "lost"),
    ("executions", "executions"),
    ("wasted", "wasted"),
)


def report_body(
    plan: Plan, notes: Sequence[Notes], outcomes: Sequence[Outcome], *, begun: str
) -> dict[str, Any]:
    """Write the report as JSON has it."""
    return {
        "begun": begun,
        "plan": {
            "count": plan.count,
            "rate": plan.rate,
            "burst": plan.burst,
            "sizeBytes": plan.size,
            "poisonShare": plan.poison,
            "poisonMessages": plan.poisoned,
            "thinkSeconds": plan.think_s,
        },
        "sumsUp": all(one.sums_up for one in outcomes),
        "total": dict(total(outcomes)),
        "jobs": [
            {**outcome_body(one), "samples": [_sample(sample) for sample in note.samples]}
            for note, one in zip(notes, outcomes, strict=True)
        ],
    }


def outcome_body(one: Outcome) -> dict[str, Any]:
    """Write the sums of one job."""
    return {
        "job": one.job,
        "kind": one.kind,
        "sent": one.sent,
        "done": one.done,
        "duplicates": one.duplicates,
        "lost": one.lost,
        "poison": {"messages": one.poison, "tries": one.poison_tries},
        "executions": {
            "total": one.executions,
            "byStatus": dict(one.statuses),
            "wasted": one.wasted,
            "foundNoMessage": one.empty,
        },
        "peakRunning": one.peak,
        "maxExecutions": one.max_executions,
        "waitSeconds": {"p50": _rounded(one.wait_p50_s), "p99": _rounded(one.wait_p99_s)},
        "drainSeconds": _rounded(one.drain_s),
        "idealSeconds": _rounded(one.ideal_s),
        "workSeconds": _rounded(one.work_s),
        "drainToIdeal": _rounded(ratio(one)),
        "interrupted": one.interrupted,
        "faults": list(one.faults),
        "sumsUp": one.sums_up,
    }


def ratio(one: Outcome) -> float | None:
    """Give how many times the ideal the drain took."""
    return one.drain_s / one.ideal_s if one.drain_s is not None and one.ideal_s else None


def report_page(plan: Plan, notes: Sequence[Notes], outcomes: Sequence[Outcome], *, begun: str) -> str:
    """Write the report as one page."""
    rate = "as fast as the broker takes them" if plan.rate is None else f"{plan.rate:g} a second"
    bursts = f", {plan.burst} at a time" if plan.burst > 1 else ""
    asked = (
        f"{begun}: {plan.count} messages to each job, {rate}{bursts}; {plan.poisoned} of them poison; "
        f"{plan.think_s:g} s of work in each; at least {plan.size} bytes."
    )
    parts = [
        f"<p>{escape(asked)}</p>",
        _table(outcomes),
        f'<p class="note">{_NOTE}</p>',
        *(_section(note, one) for note, one in zip(notes, outcomes, strict=True)),
    ]
    return page("Scaler load report", "Load report", parts)


def _table(outcomes: Sequence[Outcome]) -> str:
    names = [
        *(title for _, title in _COLUMNS),
        "peak / max",
        "wait p50",
        "wait p99",
        "drain",
        "ideal",
        "drain/ideal",
    ]
    head = "".join(f"<th>{name}</th>" for name in ("job", *names))
    rows = "".join(f"<tr>{_row(one)}</tr>" for one in outcomes)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _row(one: Outcome) -> str:
    bad = {"lost": one.lost > 0}
    cells = [f"<td>{escape(one.job)}</td>"]
    cells += [
        f'<td class="bad">{getattr(one, key)}</td>' if bad.get(key) else f"<td>{getattr(one, key)}</td>"
        for key, _ in _COLUMNS
    ]
    peak = f"{'?' if one.peak is None else one.peak} / {one.max_executions}"
    above = ' class="bad"' if (one.peak or 0) > one.max_executions else ""
    cells.append(f"<td{above}>{peak}</td>")
    cells += [
        f"<td>{seconds(value)}</td>" for value in (one.wait_p50_s, one.wait_p99_s, one.drain_s, one.ideal_s)
    ]
    found = ratio(one)
    cells.append(f"<td>{'?' if found is None else f'{found:.2f}'}</td>")
    return "".join(cells)


def _section(note: Notes, one: Outcome) -> str:
    samples = note.samples
    progress = chart(
        "Messages",
        [
            Line(label="sent", colour=GREY, points=[(each.at_s, each.sent) for each in samples]),
            Line(label="done", colour=GREEN, points=[(each.at_s, each.done) for each in samples]),
            Line(label="depth", colour=BLUE, points=[(each.at_s, each.depth) for each in samples]),
        ],
    )
    end = samples[-1].at_s if samples else 1.0
    limit = [(0.0, float(note.max_executions)), (end, float(note.max_executions))]
    running = chart(
        "Executions that run",
        [
            Line(label="most allowed", colour=GREY, points=limit, dashed=True),
            Line(
                label="running",
                colour=ORANGE,
                points=[(each.at_s, each.running) for each in samples],
                stepped=True,
            ),
        ],
    )
    words = [f'<p class="bad">{escape(fault)}</p>' for fault in one.faults]
    if one.interrupted:
        words.append('<p class="bad">Interrupted: what was not done by then counts as lost.</p>')
    ends = ", ".join(f"{number} {status}" for status, number in sorted(one.statuses.items())) or "none"
    facts = f"Executions: {ends}; {one.empty} found no message; poison was tried {one.poison_tries} times."
    return (
        f"<h2>{escape(one.job)} <span class='note'>({escape(one.kind)})</span></h2>{''.join(words)}"
        f"<p>{escape(facts)}</p>{progress}{running}"
    )


def seconds(value: float | None) -> str:
    """Write seconds for people."""
    return "?" if value is None else f"{value:.1f} s"


def _sample(sample: Any) -> dict[str, Any]:
    return {
        "atSeconds": _rounded(sample.at_s),
        "sent": sample.sent,
        "done": sample.done,
        "depth": sample.depth,
        "running": sample.running,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
