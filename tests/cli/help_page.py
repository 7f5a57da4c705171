"""Writes the page of the command line's help; `python -m tests.cli.help_page` renews it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
from click.testing import CliRunner

from scaler.cli.main import cli

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "cli.md"
MARK = "<!-- From here on: the program's own help; renew it by `python -m tests.cli.help_page`. -->"
ELSEWHERE = frozenset({"demo"})
"""Commands whose help has a page of its own."""


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Give the words of every command, each group before its commands."""
    ctx = click.Context(group)
    for name in group.list_commands(ctx):
        if name in ELSEWHERE:
            continue
        yield (*path, name)
        command = group.get_command(ctx, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


def section(path: tuple[str, ...]) -> str:
    """Write one command's help, 80 columns wide."""
    result = CliRunner().invoke(cli, [*path, "--help"], prog_name="scaler", terminal_width=80)
    title = " ".join(("scaler", *path))
    return f"## `{title}`\n\n```text\n{result.stdout.rstrip()}\n```\n"


def help_text() -> str:
    """Write all of it."""
    return "\n".join([section(()), *map(section, commands(cli))])


def main() -> None:
    """Renew the page; what stands above the mark is kept."""
    head = PAGE.read_text().split(MARK)[0]
    PAGE.write_text(f"{head}{MARK}\n\n{help_text()}")


if __name__ == "__main__":
    main()
