"""`scaler job start`: an execution by hand, as the job has it or with parts of its template replaced."""

from __future__ import annotations

import os
import shlex
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scaler.cli import render
from scaler.cli.complete import complete_job
from scaler.cli.options import client_options, connect, wants_json

if TYPE_CHECKING:
    from scaler.cli.client import Client

LOOK_S = 0.3
"""How often `--wait` looks."""

FINAL = frozenset({"Succeeded", "Failed", "Stopped", "Unknown"})
_OVERRIDABLE = ("name", "image", "command", "args", "env", "resources")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the options name; empty or None means that nothing was named."""

    image: str | None = None
    container_name: str | None = None
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    cpu: float | None = None
    memory: str | None = None


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
            raise click.BadParameter(f"'{text}' is not NAME=VALUE", param_hint="--env-vars")
        secret = value.removeprefix("secretref:")
        found[name] = {"name": name} | ({"value": value} if secret == value else {"secretRef": secret})
    return found


def override(resource: dict[str, Any], parts: Parts) -> dict[str, Any] | None:
    """Make the template to send: the job's own with parts of one container replaced; None if no part is given.

    The API's override replaces the whole template; what the user doesn't name must be sent along.
    """
    if parts == Parts():
        return None
    own = resource["properties"]["template"]
    containers = [_repeatable(one) for one in own["containers"]]
    if parts == Parts(container_name=parts.container_name):  # it changes nothing, and gives nothing a name
        _named(containers, parts.container_name)
        return None
    container = containers[_meant(containers, parts.container_name)]
    container |= _changes(container, parts)
    init = [_repeatable(one) for one in own.get("initContainers") or []]
    return {"containers": containers} | ({"initContainers": init} if init else {})


def _repeatable(container: dict[str, Any]) -> dict[str, Any]:
    return {key: container[key] for key in _OVERRIDABLE if container.get(key) is not None}


def _meant(containers: list[dict[str, Any]], name: str | None) -> int:
    """Find the container that the options are about; the only one may be given another name."""
    return 0 if name is None or len(containers) == 1 else _named(containers, name)


def _named(containers: list[dict[str, Any]], name: str | None) -> int:
    names = [str(one.get("name")) for one in containers]
    if name not in names:
        raise click.BadParameter(
            f"no container '{name}'; there are: {', '.join(names)}", param_hint="--container-name"
        )
    return names.index(name)


def _changes(container: dict[str, Any], parts: Parts) -> dict[str, Any]:
    found: dict[str, Any] = {}
    found |= {"name": parts.container_name} if parts.container_name else {}
    found |= {"image": parts.image} if parts.image is not None else {}
    found |= {"command": _words(parts.command)} if parts.command else {}
    found |= {"args": _words(parts.args)} if parts.args else {}
    if parts.env:
        kept = {item["name"]: item for item in container.get("env") or []}
        found["env"] = list((kept | _variables(parts.env)).values())
    sizes = {"cpu": parts.cpu, "memory": parts.memory}
    if given := {key: size for key, size in sizes.items() if size is not None}:
        found["resources"] = dict(container.get("resources") or {}) | given
    return found


def _from_file(path: Path) -> object:
    """Read the template that `--yaml` names: `containers:` at the top, as az takes it."""
    from scaler.config.source import UnreadableText, decode, read_documents

    try:
        documents, broken = read_documents(decode(path.read_bytes()), os.environ)
    except UnreadableText as exc:
        raise click.BadParameter(f"{path}: {exc.message}", param_hint="--yaml") from exc
    faults = [broken] if broken else [fault for document in documents for fault in document.faults]
    if faults:
        place = faults[0].position
        text = f"{path}:{place.line}:{place.column}: {faults[0].message}"
        raise click.BadParameter(text, param_hint="--yaml")
    if len(documents) != 1 or not isinstance(documents[0].value, dict):
        text = f"{path}: write one document with 'containers:' at its top"
        raise click.BadParameter(text, param_hint="--yaml")
    return documents[0].value


@click.command(
    epilog="\b\nExamples:\n  scaler job start orders\n  scaler job start orders --wait --env-vars DRY_RUN=1\n"
    "  scaler job start report --image worker:2 --command \"python main.py\" --args '--day 2026-11-01'\n"
    "  scaler job start report --cpu 2 --memory 4Gi\n  scaler job start report --yaml once.yaml\n"
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
    "--env-vars",
    "--env",
    "env",
    multiple=True,
    metavar="NAME=VALUE",
    help="Set a variable (NAME=secretref:SECRET too).",
)
@click.option("--cpu", type=float, metavar="CORES", help="Cores instead of the job's.")
@click.option("--memory", metavar="SIZE", help="Memory instead of the job's, such as 0.5Gi.")
@click.option(
    "--container-name", metavar="NAME", help="The container that is meant; the first one by default."
)
@click.option(
    "--yaml",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Take the whole template from a file, with 'containers:' at its top.",
)
@click.option("--wait", is_flag=True, help="Wait for its end: exit code 0 if it succeeded, 1 otherwise.")
@click.pass_context
def start(ctx: click.Context, /, name: str, yaml: Path | None, wait: bool, **named: Any) -> None:
    """Start one execution of the job NAME, whatever its trigger, and print the execution's name.

    What no option names stays as the job has it, the job itself is not changed. With --yaml the file's template
    replaces the job's as a whole, as in Container Apps: variables and limits that it does not repeat are gone, a
    missing image is the job's. Secrets, registries, volumes, retries and time limits are the job's always.
    """
    client, parts = connect(), Parts(**named)
    if yaml is not None and parts != Parts():
        raise click.UsageError("--yaml holds the whole template; give no other part beside it")
    template = override(client.job(name), parts) if yaml is None else _from_file(yaml)
    started = client.start(name, template)
    if wants_json():
        render.print_json({"id": started["id"], "name": started["name"]})
    else:
        click.echo(started["name"])
    if wait:
        ctx.exit(_wait(client, name, started["name"]))


def _wait(client: Client, job: str, execution: str) -> int:
    while True:
        properties = client.execution(job, execution)["properties"]
        if properties["status"] in FINAL:
            break
        time.sleep(LOOK_S)
    because = properties.get("message") or properties.get("reason")
    click.echo(f"{properties['status']}{f': {because}' if because else ''}", err=True)
    return 0 if properties["status"] == "Succeeded" else 1
