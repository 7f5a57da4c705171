"""Commands about jobs: list, show, reset."""

from __future__ import annotations

from typing import Any

import click

from scaler.cli import render
from scaler.cli.complete import complete_job
from scaler.cli.holding import held_text
from scaler.cli.lazy import LazyGroup
from scaler.cli.options import client_options, connect, wants_json


@click.group(
    cls=LazyGroup,
    lazy={
        "list": ("scaler.cli.jobs:list_jobs", "List the jobs and how they are."),
        "show": ("scaler.cli.jobs:show", "Show one job."),
        "start": ("scaler.cli.start:start", "Start one execution of a job by hand."),
        "logs": ("scaler.cli.job_logs:logs", "Print lines of all kept logs of a job."),
        "reset": ("scaler.cli.jobs:reset", "Forget a job's failures: try at once what is held back."),
        "suspend": ("scaler.cli.holding:suspend", "Let nothing of a job start until it is resumed."),
        "resume": ("scaler.cli.holding:resume", "Let a suspended job start executions again."),
    },
    epilog="\b\nExamples:\n  scaler job list\n  scaler job start orders --wait\n",
)
@client_options
def job() -> None:
    """List, show, start, suspend, resume and reset jobs."""


def _condition(live: dict[str, Any], name: str) -> str:
    found = next((item for item in live["conditions"] if item["type"] == name), None)
    if found is None:
        return "-"
    return str(found["status"]) if found["status"] == "True" else f"{found['status']} ({found['reason']})"


def _last(live: dict[str, Any]) -> str:
    last = live["lastDecision"]
    return "-" if last is None else f"{last['reason']} at {render.clock_text(last['at'])}"


@click.command(epilog="\b\nExamples:\n  scaler job list\n  scaler job list -o json\n")
@client_options
def list_jobs() -> None:
    """List the jobs of the daemon and how they are.

    RUNNING counts the executions that have not ended; PENDING says how many of those have no running replica
    yet, so it is contained in RUNNING. Faults of job files, which may keep a job out of the list, follow on
    standard error.

    With -o json: the jobs as Container Apps resources.
    """
    client = connect()
    if wants_json():
        render.print_json(client.jobs())
        return
    columns = ("NAME", "TRIGGER", "READY", "ACTIVE", "RUNNING", "PENDING", "LAST DECISION")
    rows = [
        (
            live["name"],
            live["triggerType"],
            _condition(live, "Ready") + (" (FileFault)" if live["fileFault"] else ""),
            _condition(live, "Active"),
            live["running"] + live["runningOther"],
            live["pending"],
            _last(live),
        )
        for live in client.live_jobs()
    ]
    render.table(columns, rows, empty="The daemon has no jobs.")
    for text in client.health()["fileFaults"]:
        for line in text.splitlines():
            click.echo(f"fault: {line}", err=True)


@click.command(epilog="\b\nExamples:\n  scaler job show orders\n  scaler job show orders -o json\n")
@client_options
@click.argument("name", shell_complete=complete_job)
def show(name: str) -> None:
    """Show the job NAME: definition, state, and executions by status.

    With -o json: the job as a Container Apps resource.
    """
    client = connect()
    if wants_json():
        render.print_json(client.job(name))
        return
    live = client.live_job(name)
    counts = client.counts(live["name"])["counts"]
    render.pairs(
        [
            ("Name", live["name"]),
            ("Trigger", live["triggerType"]),
            *[(_title(key), _plain(value)) for key, value in live["trigger"].items()],
            ("Executor", live["executor"]),
            *([("File fault", f"last edit not applied: {live['fileFault']}")] if live["fileFault"] else []),
            *([("Suspended", held_text(live["suspended"]))] if live.get("suspended") else []),
            ("Generation", live["generation"]),
            ("Running", live["running"]),
            ("Pending", live["pending"]),
            ("Running otherwise", live["runningOther"]),
            *[(c["type"], f"{c['status']}: {c['reason']} {c['message']}") for c in live["conditions"]],
            (
                "Next start" if live["triggerType"] == "Schedule" else "Next poll",
                render.clock_text(live["nextPoll"]),
            ),
            ("Last decision", _last(live)),
            ("Executions", ", ".join(f"{k} {n}" for k, n in counts.items() if n) or "none yet"),
        ]
    )


def _title(key: str) -> str:
    words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in key)
    return words[:1].upper() + words[1:]


def _plain(value: object) -> object:
    if isinstance(value, list):
        return ", ".join(f"{rule['name']} ({rule['type']})" for rule in value)
    return value


@click.command(epilog="\b\nExamples:\n  scaler job reset orders\n  scaler job reset orders -o json\n")
@client_options
@click.argument("name", shell_complete=complete_job)
def reset(name: str) -> None:
    """Forget the failures of the job NAME: what its breaker holds back is tried at once.

    With -o json: the job as it lives now.
    """
    live = connect().reset(name)
    if wants_json():
        render.print_json(live)
    else:
        click.echo(f"{live['name']}: failures are forgotten")
