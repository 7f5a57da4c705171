"""The command `plan`: one look at every source, and what the daemon would do about it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scaler.cli import render
from scaler.cli.files import PATHS
from scaler.cli.options import output_option, wants_json
from scaler.cli.why import sentences

if TYPE_CHECKING:
    from scaler.model.decision import Decision


def planned_body(decision: Decision) -> dict[str, Any]:
    """Write what would happen to one job, as `-o json` prints it."""
    return {
        "job": decision.job,
        "rules": [
            {
                "name": rule.name,
                "type": rule.type,
                "value": rule.value,
                "active": rule.active,
                "target": rule.target,
                "error": rule.error,
                "lowerBound": rule.lower_bound,
            }
            for rule in decision.rules
        ],
        "launch": decision.launch,
        "reason": decision.reason.value,
    }


def _tell(decision: Decision) -> None:
    from scaler.api.views import decision_body

    noun = "execution" if decision.launch == 1 else "executions"
    click.echo(f"{decision.job}: would start {decision.launch} {noun} ({decision.reason.value})")
    lines = list(sentences(decision_body(decision), outcome=False))
    for line in lines:
        click.echo(f"  {line}")


def _show(decisions: Sequence[Decision]) -> None:
    if wants_json():
        render.print_json([planned_body(decision) for decision in decisions])
        return
    if not decisions:
        click.echo("No job with the trigger Event: nothing to poll.", err=True)
    for decision in decisions:
        _tell(decision)


@click.command(epilog="\b\nExamples:\n  scaler plan jobs/\n  scaler plan jobs/orders.yaml -o json\n")
@output_option
@PATHS
def plan(paths: tuple[Path, ...]) -> None:
    """Poll every source of the job files at PATH once, and say what would start and why.

    Needs no daemon and launches nothing; it counts as if no execution ran.
    """
    import asyncio

    from scaler.preview import plan_once

    planned = asyncio.run(plan_once(paths, os.environ))
    _show([entry.decision for entry in planned])
