"""Writes what a soak came to: JSON for programs, one HTML page with charts, and a table for terminals. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any, Final

from scaler.rig.charts import BLUE, GREEN, GREY, ORANGE, RED, Line, chart
from scaler.rig.page import page
from scaler.soak.account import Verdict, account
from scaler.soak.growth import MIB, Judged, growth, verdict
from scaler.soak.notes import Notes, Sample

SHOWN: Final = 20
"""Breaches of one promise that people are shown; the JSON has all."""

_WORDS: Final = {True: "kept", False: "BROKEN", None: "not judged"}


def verdicts(notes: Notes) -> tuple[Verdict, ...]:
    """Judge everything."""
    return (*account(notes), *map(verdict, growth(notes)))


def is_sound(found: Sequence[Verdict]) -> bool:
    """Say whether no promise was broken and nothing grows."""
    return all(one.ok is not False for one in found)


def in_words(found: Sequence[Verdict]) -> str:
    """Sum up in a sentence; what could not be judged is not praised."""
    broken, open_ones = (sum(one.ok is ok for one in found) for ok in (False, None))
    if broken:
        return f"{broken} of {len(found)} promises were broken."
    if open_ones:
        return f"No promise was broken; {open_ones} of {len(found)} could not be judged."
    return "All promises were kept and nothing grows."


def body(facts: Mapping[str, str], notes: Notes) -> dict[str, Any]:
    """Write the report as JSON has it."""
    plan, found = notes.plan, verdicts(notes)
    return {
        "facts": dict(facts),
        "begun": notes.begun,
        "seed": plan.seed,
        "minutes": plan.seconds / 60,
        "executors": list(plan.executors),
        "seconds": round(notes.ended, 1),
        "interrupted": notes.interrupted,
        "sound": is_sound(found),
        "verdicts": [
            {"name": one.name, "ok": one.ok, "text": one.text, "breaches": list(one.breaches)}
            for one in found
        ],
        "figures": figures(notes),
        "slopes": [_slope(one) for one in growth(notes)],
        "deeds": [
            {"at": round(one.at_s, 1), "deed": one.act.deed.value, "subject": one.subject, "note": one.note}
            for one in notes.acts
        ],
        "starts": [round(at, 1) for at in notes.starts],
        "loadUntil": round(notes.load_until, 1),
        "samples": [_sample(one) for one in notes.samples],
        "lateness": [{"at": round(at, 1), "p99": round(late, 3)} for at, late in notes.lateness],
    }


def figures(notes: Notes) -> dict[str, Any]:
    """Count what happened."""
    words = Counter(word for word, _replica, _message in notes.journal)
    return {
        "messages": sum(len(send.names) for send in notes.sent),
        "done": sum(map(len, notes.done.values())),
        "cameBack": len(notes.returned),
        "failedAsTold": words["failed"],
        "foundNoMessage": words["empty"],
        "executions": dict(Counter(ran.status for ran in notes.ran.values())),
        "reasons": dict(Counter(ran.reason for ran in notes.ran.values())),
        "replicas": sum(len(ran.replicas) for ran in notes.ran.values()),
        "deeds": dict(Counter(one.act.deed.value for one in notes.acts)),
        "inspections": notes.looks,
        "latenessSecondsP99": round(max((late for _, late in notes.lateness), default=0.0), 3),
    }


def _slope(one: Judged) -> dict[str, Any]:
    row, found = one.row, one.slope
    told: dict[str, Any] = {
        "name": row.name,
        "unit": f"{row.unit or '1'}/min",
        "since": round(one.since, 1),
        "until": round(one.until, 1),
        "why": row.bound.why,
    }
    if found is not None:
        told |= {
            "flat": found.is_flat,
            "slope": round(found.per_minute, 4),
            "noise": round(found.noise, 4),
            "noiseCouldShow": round(found.pretended, 4),
            "bound": round(found.bound, 4),
            "points": found.points,
        }
    return told


def _sample(one: Sample) -> dict[str, Any]:
    return {
        "at": round(one.at_s, 1),
        "rss": one.rss,
        "fds": one.fds,
        "threads": one.threads,
        "db": one.db,
        "wal": one.wal,
        "logs": one.logs,
        "other": one.other,
        "waiting": one.waiting,
        "done": one.done,
        "workers": one.workers,
    }


# --- for people -------------------------------------------------------------------------------------------


def rows(found: Sequence[Verdict]) -> list[tuple[str, str, str]]:
    """Lay verdicts out as rows: promise, verdict, what was seen."""
    return [(one.name, _WORDS[one.ok], one.text) for one in found]


def report_page(facts: Mapping[str, str], notes: Notes) -> str:
    """Write the report as one page."""
    found, plan = verdicts(notes), notes.plan
    asked = (
        f"{notes.begun}: {plan.seconds / 60:g} minutes of load, seed {plan.seed}, {' and '.join(plan.executors)}, "
        f"{len(plan.jobs) + len(plan.manual) + len(plan.scheduled)} jobs, {len(notes.acts)} deeds."
    )
    parts = [
        f"<p>{escape(asked)}</p>",
        f"<p{_mark(is_bad=not is_sound(found))}>{in_words(found)}</p>",
        _verdict_table(found),
        *_breaches(found),
        "<h2>Over time</h2>",
        *_charts(notes),
        "<h2>Slopes</h2>",
        _slope_table(growth(notes)),
        "<h2>Deeds</h2>",
        _table(
            ("deed", "how often"), [(name, str(number)) for name, number in figures(notes)["deeds"].items()]
        ),
        "<h2>This run</h2>",
        _table(("what", "is"), list(facts.items())),
    ]
    return page("Scaler soak report", "Soak report", parts)


def _mark(*, is_bad: bool) -> str:
    return ' class="bad"' if is_bad else ""


def _table(names: Sequence[str], cells: Sequence[Sequence[str]], bad: Sequence[bool] = ()) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    marks = bad or [False] * len(cells)
    lines = "".join(
        f"<tr{_mark(is_bad=mark)}>{''.join(f'<td>{escape(cell)}</td>' for cell in line)}</tr>"
        for line, mark in zip(cells, marks, strict=True)
    )
    return f'<div class="scroll"><table class="text"><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>'


def _verdict_table(found: Sequence[Verdict]) -> str:
    return _table(("promise", "verdict", "what was seen"), rows(found), [one.ok is False for one in found])


def _breaches(found: Sequence[Verdict]) -> list[str]:
    lines = []
    for one in found:
        if one.breaches:
            shown = "".join(f"<li>{escape(text)}</li>" for text in one.breaches[:SHOWN])
            more = len(one.breaches) - SHOWN
            rest = f"<li>and {more} more</li>" if more > 0 else ""
            lines.append(f"<h2>{escape(one.name)}</h2><ul>{shown}{rest}</ul>")
    return lines


def _slope_table(found: Sequence[Judged]) -> str:
    lines = [
        (
            one.row.name,
            "?" if one.slope is None else f"{one.slope.per_minute:+.3f} {one.row.unit}",
            "?" if one.slope is None else f"{one.slope.pretended:.3f}",
            "?" if one.slope is None else f"{one.slope.bound:.3f}",
            one.row.bound.why,
        )
        for one in found
    ]
    return _table(("row", "a minute", "noise could show", "bound", "why this bound"), lines)


def _charts(notes: Notes) -> list[str]:
    def line(label: str, colour: str, of: Callable[[Sample], float | None]) -> Line:
        return Line(label=label, colour=colour, points=[(one.at_s, of(one)) for one in notes.samples])

    def mib(label: str, colour: str, of: Callable[[Sample], int | None]) -> Line:
        return line(label, colour, lambda one: None if (value := of(one)) is None else value / MIB)

    lateness = Line(label="p99", colour=ORANGE, points=list(notes.lateness))
    return [
        chart("Memory of the daemon, MiB", [mib("resident", BLUE, lambda one: one.rss)]),
        chart(
            "File descriptors and threads",
            [
                line("descriptors", BLUE, lambda one: one.fds),
                line("threads", ORANGE, lambda one: one.threads),
            ],
        ),
        chart(
            "Disk, MiB",
            [
                mib("database", BLUE, lambda one: one.db),
                mib("WAL", ORANGE, lambda one: one.wal),
                mib("logs", GREEN, lambda one: one.logs),
                mib("other", GREY, lambda one: one.other),
            ],
        ),
        chart(
            "Messages that wait, and workers",
            [line("waiting", GREY, lambda one: one.waiting), line("workers", GREEN, lambda one: one.workers)],
        ),
        chart("Lateness of ticks, seconds", [lateness]),
        chart("Messages done", [line("done", RED, lambda one: one.done)]),
    ]
