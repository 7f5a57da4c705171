"""Lists the scalers that this installation knows, and what each can be told."""

from __future__ import annotations

from typing import Any

import click

from scaler.cli import render
from scaler.cli.complete import complete_scaler
from scaler.cli.options import output_option, wants_json


def _summary(name: str) -> tuple[bool, str]:
    """Give whether the scaler can be used, and its line; or what is missing."""
    from scaler.errors import ConfigError
    from scaler.plugins import SCALERS

    try:
        return True, SCALERS.load(name).summary
    except ConfigError as exc:
        return False, str(exc)


def _list() -> None:
    from scaler.plugins import SCALERS

    entries = [(name, *_summary(name)) for name in SCALERS.known()]
    if wants_json():
        render.print_json([{"type": n, "installed": ok, "summary": text} for n, ok, text in entries])
        return
    rows = [(name, text if ok else f"not usable: {text}") for name, ok, text in entries]
    render.table(("TYPE", "SUMMARY"), rows, empty="No scaler is installed.")


def _describe(name: str) -> dict[str, Any]:
    from scaler.plugins import SCALERS
    from scaler.wire.metadata import describe

    scaler = SCALERS.load(name)
    return {"type": name, "summary": scaler.summary, "parameters": describe(scaler.metadata)}


@click.command(
    epilog="\b\nExamples:\n  scaler scalers\n  scaler scalers azure-queue\n  scaler scalers kafka -o json\n"
)
@output_option
@click.argument("type_", metavar="[TYPE]", required=False, shell_complete=complete_scaler)
def scalers(type_: str | None) -> None:
    """List the known scalers; with TYPE, its parameters.

    FROM says where a value may come from: the rule's metadata, its auth (a secret of the job), or a
    variable of the container that `<parameter>FromEnv` names.
    """
    if type_ is None:
        _list()
        return
    found = _describe(type_)
    if wants_json():
        render.print_json(found)
        return
    click.echo(f"{found['type']}: {found['summary']}\n")
    keys = ("parameter", "default", "from", "example", "description")
    rows = [tuple(row[key] for key in keys) for row in found["parameters"]]
    render.table(tuple(key.upper() for key in keys), rows, empty="It takes no parameters.")
