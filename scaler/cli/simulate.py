"""The command `simulate`: decides a recorded run again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from scaler.cli import render
from scaler.cli.options import output_option, wants_json

if TYPE_CHECKING:
    from scaler.trace.verify import Replay

SHOWN = 10
"""Differences that the table shows."""


@click.command(epilog="\b\nExamples:\n  scaler simulate --trace trace.jsonl --verify\n")
@output_option
@click.option(
    "--trace",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="What `scaler run --record FILE` wrote.",
)
@click.option(
    "--verify", is_flag=True, required=True, expose_value=False, help="Decide it all again and compare."
)
@click.pass_context
def simulate(ctx: click.Context, trace: Path) -> None:
    """Decide a recorded run again, on the recorded inputs, and compare.

    Exit code 1 if a decision comes out otherwise than it was recorded; the first differences are shown.
    """
    from scaler.trace.read import read_trace
    from scaler.trace.verify import replay

    ctx.exit(tell_replay(replay(read_trace(trace))))


def tell_replay(found: Replay) -> int:
    """Print what a replay found; give the exit code."""
    if wants_json():
        render.print_json(
            {
                "decisions": found.decisions,
                "launches": found.launches,
                "dropped": found.dropped,
                "torn": found.torn,
                "differences": [
                    {
                        name: getattr(item, name)
                        for name in ("place", "job", "at", "field", "recorded", "replayed", "formula")
                    }
                    for item in found.differences
                ],
            }
        )
        return 1 if found.differences else 0
    for item in found.differences[:SHOWN]:
        click.echo(
            f"{item.place}: {item.job} at {item.at}: {item.field} was {item.recorded}, is {item.replayed} now "
            f"({item.formula})",
            err=True,
        )
    count = len(found.differences)
    same = (
        "all come out the same" if not count else f"{count} {'comes' if count == 1 else 'come'} out otherwise"
    )
    click.echo(f"{found.decisions} decisions, {found.launches} launches: {same}", err=bool(count))
    if found.dropped or found.torn:
        click.echo(
            f"The trace is not whole: {found.dropped} lines were not written, {found.torn} were cut off.",
            err=True,
        )
    return 1 if count else 0
