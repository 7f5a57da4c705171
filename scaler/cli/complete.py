"""Names for the shell's completion; silent when no daemon answers, because Tab must never fail."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

from scaler.cli.options import given_state_dir
from scaler.errors import ScalerError

PATIENCE_S = 0.5


def complete_scaler(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Give the types of scalers that begin so."""
    from scaler.plugins import SCALERS

    return [CompletionItem(name) for name in SCALERS.known() if name.startswith(incomplete)]


def complete_job(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Give the names of the daemon's jobs that begin so."""
    from scaler.cli.client import Client
    from scaler.cli.options import DEFAULT_STATE_DIR

    with ctx.scope(cleanup=False):
        place = given_state_dir() or DEFAULT_STATE_DIR
    try:
        jobs = Client(place, connect_s=PATIENCE_S, answer_s=PATIENCE_S).live_jobs()
    except ScalerError:
        return []
    return [CompletionItem(item["name"]) for item in jobs if item["name"].startswith(incomplete)]
