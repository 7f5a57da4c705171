"""`scaler drain`: wait for what runs, with nothing new beside it, of some jobs or of the whole daemon."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import click

from scaler.cli.complete import complete_job
from scaler.cli.options import connect, state_dir, state_dir_option
from scaler.errors import DaemonUnreachable

if TYPE_CHECKING:
    from scaler.cli.client import Client

LOOK_S = 0.3
"""How often it is looked whether anything is left."""
_ROUNDED = timedelta(seconds=1)
"""The API tells times in milliseconds, records are finer."""


def _moments(timeout_s: int | None) -> Iterator[None]:
    """Come round again and again, until the time is over."""
    end = None if timeout_s is None else time.monotonic() + timeout_s
    while end is None or time.monotonic() < end:
        yield
        time.sleep(LOOK_S)


def _left(client: Client, job: str) -> int:
    live = client.live_job(job)
    return int(live["running"]) + int(live["runningOther"])


def _count(number: int) -> str:
    return f"{number} execution{'' if number == 1 else 's'}"


def _drain_jobs(client: Client, names: tuple[str, ...], timeout_s: int | None) -> bool:
    """Suspend the jobs and wait until nothing of them runs; False if the time is over before."""
    jobs = [str(client.suspend(name)["name"]) for name in names]
    told: dict[str, int] = {}
    for _ in _moments(timeout_s):
        for job in jobs:
            left = told[job] if told.get(job) == 0 else _left(client, job)
            if left != told.get(job):
                state = (
                    f"waiting for {_count(left)}"
                    if left
                    else f"drained; 'scaler job resume {job}' lets it start"
                )
                click.echo(f"{job}: {state}", err=bool(left))
            told[job] = left
        if not any(told.values()):
            return True
    running = ", ".join(f"{job} ({_count(left)})" for job, left in told.items() if left)
    click.echo(f"Error: not drained within {timeout_s} s: {running}; nothing new of them starts", err=True)
    return False


def _drain_daemon(client: Client, timeout_s: int | None) -> bool:
    """Ask the daemon to drain, and wait until it is gone; False if it has left something behind."""
    health, told = client.drain(timeout_s), None
    begun = health["draining"]["at"]
    try:
        for _ in _moments(None):
            state = health["draining"]
            if state is None:  # another daemon has taken over already
                break
            if state["unfinished"] != told:
                told = state["unfinished"]
                click.echo(f"waiting for {_count(told)}", err=True)
            health = client.health()
    except DaemonUnreachable:
        pass
    return _tell_end(_left_of(begun, told))


def _left_of(begun: str, told: int | None) -> int:
    """Count what was there when the drain began and has no recorded end.

    The daemon may have ended between two looks, at its time or by a signal: its records know. Where they cannot be
    read, what it told last counts.
    """
    from scaler.cli.records import left_behind

    left = left_behind(state_dir(), datetime.fromisoformat(begun) + _ROUNDED)
    return left if left is not None else told or 0


def _tell_end(left: int) -> bool:
    if not left:
        click.echo("the daemon has ended")
        return True
    run, go, them = ("runs", "it goes", "it") if left == 1 else ("run", "they go", "them")
    text = f"{_count(left)} still {run}; {go} on under the executor, and the next daemon takes {them} over"
    click.echo(f"Error: the daemon has ended, but {text}", err=True)
    return False


@click.command(epilog="\b\nExamples:\n  scaler drain\n  scaler drain --timeout 600\n  scaler drain orders\n")
@state_dir_option
@click.argument("jobs", nargs=-1, metavar="[JOB...]", shell_complete=complete_job)
@click.option("--timeout", type=click.IntRange(1, 31_536_000), metavar="SECONDS", help="Wait no longer.")
@click.option("--no-wait", is_flag=True, help="Only ask the daemon to drain; it goes on by itself.")
@click.pass_context
def drain(ctx: click.Context, jobs: tuple[str, ...], timeout: int | None, no_wait: bool) -> None:
    """Let nothing new start, and wait until everything that runs has ended.

    Without JOB the daemon starts nothing more, waits for all that runs, and ends; after the time of --timeout it
    ends all the same, and what is left runs on for the next daemon to take over. With JOB these jobs are suspended
    and stay so, the daemon goes on. Exit code 1 if something still runs after the time.
    """
    client = connect()
    if jobs:
        if no_wait:
            raise click.UsageError("--no-wait is for the whole daemon; 'scaler job suspend' does not wait")
        ctx.exit(0 if _drain_jobs(client, jobs, timeout) else 1)
    if no_wait:
        left = client.drain(timeout)["draining"]["unfinished"]
        click.echo(f"the daemon drains: {_count(left)} to wait for")
        return
    ctx.exit(0 if _drain_daemon(client, timeout) else 1)
