"""The command `audit`: who or what did something, and what."""

from __future__ import annotations

import click

from scaler.cli import render
from scaler.cli.complete import complete_job
from scaler.cli.options import client_options, connect, wants_json


@click.command(
    epilog="\b\nExamples:\n  scaler audit --since 24h\n  scaler audit --job orders --action execution.stopped\n"
    "  scaler audit --by file -o json\n"
)
@client_options
@click.option("--job", metavar="JOB", shell_complete=complete_job, help="Only what was done to this job.")
@click.option("--execution", metavar="NAME", help="Only what was done to this execution.")
@click.option("--by", metavar="WHO", help="Only by WHO, such as cli:alice, 'rule orders', schedule or file.")
@click.option("--action", metavar="WHAT", help="Only this action, such as job.changed or execution.started.")
@click.option("--since", metavar="TIME", help="Only since then: 24h (ago), a day, or a time.")
@click.option("--until", metavar="TIME", help="Only before then.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    metavar="N",
    help="Only the newest N.",
)
def audit(limit: int, **asked: str | None) -> None:
    """List who or what created, changed, started and stopped, newest first."""
    query = {name: value for name, value in asked.items() if value}
    found = list(connect().audit(limit=limit, **query))
    if wants_json():
        render.print_json(found)
        return
    rows = [
        (
            render.clock_text(entry["at"]),
            entry["by"],
            entry["action"],
            entry["job"],
            entry["execution"],
            entry["detail"],
        )
        for entry in found
    ]
    render.table(("TIME", "BY", "ACTION", "JOB", "EXECUTION", "MORE"), rows, empty="No entry fits.")
