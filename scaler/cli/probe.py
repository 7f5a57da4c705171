"""The command `probe`: asks each rule's source once, and tells what is wrong where one does not answer."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scaler.cli import render
from scaler.cli.advice import NETWORK_WORDS, Advice, Look, advise
from scaler.cli.files import PATHS
from scaler.cli.options import output_option, wants_json
from scaler.model.sample import PollFailure, Sample

if TYPE_CHECKING:
    from scaler.preview import ProbedRule

Answer = tuple["ProbedRule", Sequence[Look]]
"""A rule's answer, and what the network showed where there was none."""

NAMES = ("JOB", "RULE", "TYPE", "SOURCE")
FIGURES = ("VALUE", "TAKEN", "ACTIVE", "TARGET", "MS", "REQUESTS")


def probed_body(rule: ProbedRule, looks: Sequence[Look]) -> dict[str, Any]:
    """Write one rule's answer, as `-o json` prints it."""
    sample = rule.reading if isinstance(rule.reading, Sample) else None
    return {
        "job": rule.job,
        "rule": rule.rule,
        "type": rule.type,
        "source": rule.source,
        "value": sample.value if sample else None,
        "taken": sample.taken if sample else None,
        "active": sample.active if sample else None,
        "target": rule.target,
        "openMs": _ms(rule.open_s),
        "latencyMs": _ms(rule.poll_s),
        "requests": rule.requests,
        "lowerBound": sample.lower_bound if sample else None,
        "failure": _failure_body(rule.reading, looks) if isinstance(rule.reading, PollFailure) else None,
    }


def _failure_body(failure: PollFailure, looks: Sequence[Look]) -> dict[str, Any]:
    advice = advise(failure.reason, looks)
    return {
        "reason": failure.reason,
        "message": failure.message,
        "transient": failure.transient,
        "check": advice.check,
        "advice": advice.text,
        "network": [{"host": look.host, "port": look.port, "finding": look.finding} for look in looks],
    }


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)


def _row(rule: ProbedRule) -> tuple[object, ...]:
    names = (rule.job, rule.rule, rule.type, rule.source)
    costs = (rule.target, _ms(rule.poll_s), rule.requests)
    if isinstance(rule.reading, PollFailure):
        return (*names, None, None, None, *costs, rule.reading.reason)
    sample = rule.reading
    result = "ok" if sample.lower_bound is None else "at least"
    return (*names, sample.value, sample.taken, "yes" if sample.active else "no", *costs, result)


def _tell(rule: ProbedRule, failure: PollFailure, advice: Advice) -> None:
    click.echo(f"\n{rule.job}, rule {rule.rule}: {failure.reason}: {failure.message}")
    click.echo(f"  Check first ({advice.check}): {advice.text}.")


def _tell_least(rule: ProbedRule, sample: Sample) -> None:
    if sample.lower_bound is not None:
        click.echo(f"\n{rule.job}, rule {rule.rule}: at least {sample.value:g}: {sample.lower_bound}")


def _show(answers: Sequence[Answer]) -> None:
    if wants_json():
        render.print_json([probed_body(rule, looks) for rule, looks in answers])
        return
    empty = "No job with the trigger Event: nothing to ask."
    render.table((*NAMES, *FIGURES, "RESULT"), [_row(rule) for rule, _looks in answers], empty=empty)
    for rule, looks in answers:
        if isinstance(rule.reading, PollFailure):
            _tell(rule, rule.reading, advise(rule.reading.reason, looks))
        else:
            _tell_least(rule, rule.reading)


async def _ask(paths: Sequence[Path], rule: str | None) -> list[Answer]:
    from scaler.preview import probe_once

    probed = await probe_once(paths, os.environ, rule=rule)
    looks = await _look(sorted({each.source for each in probed if each.source and _is_unclear(each)}))
    return [(each, looks.get(each.source or "", ()) if _is_unclear(each) else ()) for each in probed]


def _is_unclear(rule: ProbedRule) -> bool:
    return isinstance(rule.reading, PollFailure) and rule.reading.reason in NETWORK_WORDS


async def _look(sources: Sequence[str]) -> dict[str, tuple[Look, ...]]:
    """Look at all places of the sources at the same time, at each once."""
    import asyncio

    from scaler.cli.reach import look_at, places

    named = {source: places(source) for source in sources}
    async with asyncio.TaskGroup() as tasks:
        looking = {
            place: tasks.create_task(look_at(*place), name=f"look:{place[0]}:{place[1]}")
            for place in {place for each in named.values() for place in each}
        }
    return {source: tuple(looking[place].result() for place in each) for source, each in named.items()}


@click.command(
    epilog="\b\nExamples:\n"
    "  scaler probe jobs/\n"
    "  scaler probe jobs/orders.yaml --rule queue\n"
    "  scaler probe jobs/ -o json\n"
)
@output_option
@PATHS
@click.option("--rule", metavar="NAME", help="Ask only the rules of this name.")
@click.pass_context
def probe(ctx: click.Context, paths: tuple[Path, ...], rule: str | None) -> None:
    """Ask the source of each scale rule of the job files at PATH once, and show what it answered.

    All at the same time, over connections shared as in the daemon. Needs no daemon and launches nothing. MS
    is how long the poll took, connecting included; REQUESTS how many round trips it made, where logins do
    not count, and what several rules share counts for the first. Where no answer came it says what to check
    first. Exit code 1 if a rule failed.
    """
    import asyncio

    answers = asyncio.run(_ask(paths, rule))
    _show(answers)
    ctx.exit(1 if any(isinstance(each.reading, PollFailure) for each, _looks in answers) else 0)
