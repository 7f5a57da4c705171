"""The command `job logs`: lines of all kept logs of a job."""

from __future__ import annotations

import click

from scaler.cli.complete import complete_job
from scaler.cli.log_text import print_pieces, search_options
from scaler.cli.options import client_options, connect


@click.command(
    epilog="\b\nExamples:\n  scaler job logs orders --search 'connection refused' --since 24h\n"
    "  scaler job logs orders --status failed --search 'E[0-9]+' --regex\n"
)
@client_options
@click.argument("job", shell_complete=complete_job)
@search_options
@click.option("--status", multiple=True, metavar="STATUS", help="Only logs of such executions.")
@click.option(
    "--since", metavar="TIME", help="Only of those created since then: 24h (ago), a day, or a time."
)
@click.option("--until", metavar="TIME", help="Only of those created before then.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    metavar="N",
    help="Only the first N lines.",
)
def logs(
    job: str,
    search: dict[str, str],
    status: tuple[str, ...],
    since: str | None,
    until: str | None,
    limit: int,
) -> None:
    """Print lines of all kept logs of JOB, newest execution first, each behind its execution's name."""
    given = {"status": ",".join(status), "since": since, "until": until, "limit": str(limit)}
    print_pieces(connect().job_logs(job, **search, **{name: text for name, text in given.items() if text}))
