"""Commands about jobs: list, show, start."""

from __future__ import annotations

import shlex
import time
from typing import TYPE_CHECKING, Any

import click

from scaler.cli import render
from scaler.cli.complete import complete_job
from scaler.cli.holding import held_text
from scaler.cli.lazy import LazyGroup
from scaler.cli.options import client_options, connect, wants_json

if TYPE_CHECKING:
    from scaler.cli.client import Client

LOOK_S = 0.3
"""How often `--wait` looks."""

FINAL = frozenset({"Succeeded", "Failed", "Stopped", "Unknown"})
_OVERRIDABLE = ("name", "image", "command", "args", "env", "resources")


@click.group(
    cls=LazyGroup,
    lazy={
        "list": ("scaler.cli.jobs:list_jobs", "List the jobs and how they are."),
        "show": ("scaler.cli.jobs:show", "Show one job."),
        "start": ("scaler.cli.jobs:start", "Start one execution of a job by hand."),
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


def _words(texts: tuple[str, ...]) -> list[str]:
    try:
        return [word for text in texts for word in shlex.split(text)]
    except ValueError as exc:
        raise click.UsageError(f"cannot split into words: {exc}") from exc


def _variables(texts: tuple[str, ...]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"'{text}' is not NAME=VALUE", param_hint="--env")
        secret = value.removeprefix("secretref:")
        found[name] = {"name": name} | ({"value": value} if secret == value else {"secretRef": secret})
    return found


def override(
    resource: dict[str, Any],
    *,
    image: str | None,
    command: tuple[str, ...],
    args: tuple[str, ...],
    env: tuple[str, ...],
) -> dict[str, Any] | None:
    """Make the template to send: the job's container with the given parts replaced; None if none is given.

    The API's override replaces the whole container; what the user doesn't name must be sent along.
    """
    if image is None and not command and not args and not env:
        return None
    job_container = resource["properties"]["template"]["containers"][0]
    container = {key: job_container[key] for key in _OVERRIDABLE if job_container.get(key) is not None}
    if image is not None:
        container["image"] = image
    if command:
        container["command"] = _words(command)
    if args:
        container["args"] = _words(args)
    if env:
        kept = {item["name"]: item for item in container.get("env") or []}
        container["env"] = list((kept | _variables(env)).values())
    return {"containers": [container]}


@click.command(
    epilog="\b\nExamples:\n  scaler job start orders\n  scaler job start orders --wait --env DRY_RUN=1\n"
    "  scaler job start report --image worker:2 --command \"python main.py\" --args '--day 2026-11-01'\n"
)
@client_options
@click.argument("name", shell_complete=complete_job)
@click.option("--image", help="Run this image instead of the job's.")
@click.option(
    "--command", multiple=True, metavar="WORDS", help="Command instead of the job's, split as sh does."
)
@click.option(
    "--args", multiple=True, metavar="WORDS", help="Arguments instead of the job's, split as sh does."
)
@click.option(
    "--env", multiple=True, metavar="NAME=VALUE", help="Set a variable (NAME=secretref:SECRET too)."
)
@click.option("--wait", is_flag=True, help="Wait for its end: exit code 0 if it succeeded, 1 otherwise.")
@click.pass_context
def start(
    ctx: click.Context,
    name: str,
    image: str | None,
    command: tuple[str, ...],
    args: tuple[str, ...],
    env: tuple[str, ...],
    wait: bool,
) -> None:
    """Start one execution of the job NAME and print the execution's name.

    What no option names stays as the job has it; the job itself is not changed.
    """
    client = connect()
    template = override(client.job(name), image=image, command=command, args=args, env=env)
    started = client.start(name, template)
    if wants_json():
        render.print_json({"id": started["id"], "name": started["name"]})
    else:
        click.echo(started["name"])
    if wait:
        ctx.exit(_wait(client, name, started["name"]))


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


def _wait(client: Client, job: str, execution: str) -> int:
    while True:
        properties = client.execution(job, execution)["properties"]
        if properties["status"] in FINAL:
            break
        time.sleep(LOOK_S)
    because = properties.get("message") or properties.get("reason")
    click.echo(f"{properties['status']}{f': {because}' if because else ''}", err=True)
    return 0 if properties["status"] == "Succeeded" else 1
