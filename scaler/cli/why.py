"""Explains decisions in plain sentences: what was read, what was calculated, which limit held."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import click

from scaler.cli import render
from scaler.cli.complete import complete_job
from scaler.cli.holding import held_text
from scaler.cli.options import client_options, connect, wants_json

MOST_KEYS = 20
"""Shares that a sentence names."""

_OCCASIONS = {
    "Tick": "on schedule",
    "Refill": "because an execution ended",
    "LookAgain": "to look again after a start",
    "Room": "because a limit of the daemon has room again",
    "Plan": "for a plan only",
    "Schedule": "by its schedule",
    "Suspend": "when it was suspended",
    "Poison": "before a message was moved",
}

_REASONS = {
    "NoWork": "there was no work",
    "BelowActivation": "no source was above its activation threshold",
    "AllClaimed": "executions that already run or start cover all the work",
    "AtMaxExecutions": "maxExecutions was reached",
    "MinExecutions": "minExecutions asked for it",
    "UnknownCount": "a source could not be read, and an unknown count never counts as zero",
    "NoTarget": "no rule gave a target",
    "ExecutorUnavailable": "the executor did not answer",
    "BackingOff": "executions failed lately, and their messages are held back a while",
    "Overlap": "an earlier scheduled execution had not ended",
    "Missed": "due times passed while nobody looked",
    "AtGlobalLimit": "a limit of the whole daemon was reached",
    "FairShare": "the room that is left is other jobs' share",
    "LaunchRate": "the daemon may begin no more executions at this moment",
    "TooLarge": "one execution is larger than a limit of the whole daemon",
    "Suspended": "the job is suspended",
    "PoisonMoved": "a message whose executions fail was moved out of the way",
    "LaunchBackoff": "launches failed lately, and the next try waits a little",
}


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:g}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def rule_sentence(rule: dict[str, Any]) -> str:
    """Say what one rule read."""
    head = f"Rule '{rule['name']}' ({rule['type']})"
    if rule["error"]:
        return f"{head} could not be read: {rule['error']}"
    least = "at least " if rule.get("lowerBound") else ""
    text = f"{head} read {least}{_number(rule['value'])}"
    if rule["taken"]:
        text += f", {_number(rule['taken'])} of them held by workers"
    if not rule["active"]:
        return f"{text}: not active."
    executions = _count(rule["needed"] or 0, "execution")
    if rule.get("shares") is not None:
        return f"{text}: active; work in {rule['needed']} of {_count(rule['shares'], 'share')}, an execution each."
    return f"{text}: active; at {_number(rule['target'])} per execution that is {executions}."


def _bound_sentence(decision: dict[str, Any]) -> str | None:
    bound = decision["bound"]
    if bound == "maxExecutions":
        wanting = decision["waiting"]
        return f"The limit maxExecutions = {decision['maxExecutions']} held ({wanting} were waiting)."
    if bound == "minExecutions":
        return f"The floor minExecutions = {decision['minExecutions']} held."
    if bound == "breaker":
        return "The breaker held messages back whose executions failed ('scaler job reset' forgets that)."
    if bound == "fairShare":
        return "Other jobs that wait have less than their share of 'limits.global', so the room is theirs."
    if bound.startswith("limits.global."):
        return f"The setting {bound} of the daemon held ({decision['waiting']} were waiting)."
    if bound == "claims":
        return "The number was cut to the work that no running execution holds yet."
    return None


def _share_sentences(decision: dict[str, Any]) -> Iterator[str]:
    """Say which parts of a source were handed out, and which are in an execution's hands."""
    for keys, what in ((decision.get("handed"), "Handed out"), (decision.get("held"), "Held already")):
        if keys:
            more = f" and {len(keys) - MOST_KEYS} more" if len(keys) > MOST_KEYS else ""
            yield f"{what}: {', '.join(keys[:MOST_KEYS])}{more}."


def _outcome(decision: dict[str, Any]) -> str:
    launch, reason = decision["launch"], decision["reason"]
    because = _REASONS.get(reason)
    if reason == "NoWork" and any(rule["error"] for rule in decision["rules"]):
        because = "there was no work in the sources that could be read"
    if launch:
        tail = f": {because}" if because else ""
        return f"Started {_count(launch, 'execution')} ({reason}{tail})."
    return f"Started nothing ({reason}{f': {because}' if because else ''})."


def sentences(decision: dict[str, Any], *, outcome: bool = True) -> Iterator[str]:
    """Explain one decision (as the API writes it), a sentence a line; with or without what was started."""
    yield from (rule_sentence(rule) for rule in decision["rules"])
    if decision["occasion"] in ("Schedule", "Suspend", "Poison"):
        message = str(decision["message"])
        yield f"{message[:1].upper()}{message[1:]}"
        return
    running = _count(decision["running"], "execution")
    ended = decision["endedSince"]
    since = f", and {ended} had ended since the reading began" if ended else ""
    yield f"{running} had not ended, {decision['pending']} of them without a running replica{since}."
    if decision["formula"] not in ("", "none"):
        combined = f", rules combined by {decision['combine']}" if len(decision["rules"]) > 1 else ""
        yield f"Strategy {decision['strategy']}{combined}: {decision['formula']}"
    yield from _share_sentences(decision)
    bound = _bound_sentence(decision)
    if bound:
        yield bound
    if outcome:
        yield _outcome(decision)
    if decision["message"]:
        yield str(decision["message"])


def _silence(live: dict[str, Any]) -> str:
    name, moment = live["name"], render.clock_text(live["nextPoll"])
    if live["triggerType"] == "Manual":
        return f"'{name}' starts by hand only (trigger Manual): 'scaler job start {name}'."
    if live["triggerType"] == "Schedule":
        cron = live["trigger"].get("cronExpression")
        return f"'{name}' starts at the times of '{cron}' (UTC), next at {moment}; no queue is read."
    return f"'{name}' has not been evaluated yet; next poll: {moment}."


def _age(text: str) -> str:
    moment = render.read_time(text)
    return "" if moment is None else f" ({render.span_text(datetime.now(UTC) - moment)} ago)"


@click.command(
    epilog="\b\nExamples:\n  scaler why orders\n  scaler why orders --limit 1\n  scaler why orders -o json\n"
)
@client_options
@click.argument("job", shell_complete=complete_job)
@click.option(
    "-n", "--limit", type=click.IntRange(1, 1000), default=3, metavar="N", help="How many decisions.",
    show_default=True,
)  # fmt: skip
def why(job: str, limit: int) -> None:
    """Explain the latest decisions of JOB, newest first.

    Each one says what the sources read, the arithmetic, which limit held, and what was started.
    """
    client = connect()
    decisions = client.decisions(job, limit)
    if wants_json():
        render.print_json(decisions)
        return
    live = client.live_job(job)
    if live["fileFault"]:
        click.echo(f"The last edit of the file was not applied: {live['fileFault']}\n")
    if live["suspended"]:
        click.echo(
            f"Suspended: nothing starts by event, schedule or hand ({held_text(live['suspended'])}); "
            f"'scaler job resume {live['name']}' ends that.\n"
        )
    if not decisions:
        click.echo(_silence(live))
    for number, decision in enumerate(decisions):
        occasion = _OCCASIONS.get(decision["occasion"], decision["occasion"])
        blank = "\n" if number else ""
        click.echo(f"{blank}{render.clock_text(decision['at'])}{_age(decision['at'])}, {occasion}:")
        for sentence in sentences(decision):
            click.echo(f"  {sentence}")
