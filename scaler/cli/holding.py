"""Commands that hold jobs back and let them go: suspend and resume."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from scaler.cli import render
from scaler.cli.complete import complete_job
from scaler.cli.options import client_options, connect, wants_json

NAMES = click.argument("names", nargs=-1, metavar="NAME...", shell_complete=complete_job)
ALL = click.option("--all", "is_all", is_flag=True, help="All jobs that the daemon has now.")


def held_text(suspended: dict[str, Any]) -> str:
    """Say by whom and since when a job is suspended."""
    return f"by {suspended['by']} since {render.clock_text(suspended['at'])}"


def _chosen(names: tuple[str, ...], is_all: bool) -> list[str]:
    if bool(names) == is_all:
        raise click.UsageError("name jobs, or give --all")
    return [str(live["name"]) for live in connect().live_jobs()] if is_all else list(names)


def _each(names: tuple[str, ...], is_all: bool, call: Callable[[str], Any], done: str) -> None:
    """Make the call for each job and tell of it; the first that is refused ends it."""
    found = [call(name) for name in _chosen(names, is_all)]
    if wants_json():
        render.print_json(found)
        return
    for resource in found:
        click.echo(f"{resource['name']}: {done}")


@click.command(epilog="\b\nExamples:\n  scaler job suspend orders\n  scaler job suspend --all\n")
@client_options
@NAMES
@ALL
def suspend(names: tuple[str, ...], is_all: bool) -> None:
    """Let nothing of the jobs start, by event, schedule or hand, until they are resumed.

    What runs goes on. A suspension holds over restarts of the daemon and edits of the job's file. With -o json:
    the jobs as Container Apps resources.
    """
    _each(names, is_all, connect().suspend, "suspended")


@click.command(epilog="\b\nExamples:\n  scaler job resume orders\n  scaler job resume --all\n")
@client_options
@NAMES
@ALL
def resume(names: tuple[str, ...], is_all: bool) -> None:
    """Let suspended jobs start executions again; a job that is not suspended is left as it is.

    An event job reads its sources at once. Of a schedule's times that passed meanwhile, those are made up for that
    its catchUp names. With -o json: the jobs as Container Apps resources.
    """
    _each(names, is_all, connect().resume, "resumed")
