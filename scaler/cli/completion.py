"""Prints the script that teaches a shell to complete `scaler` commands."""

from __future__ import annotations

import os
from pathlib import Path

import click

SHELLS = ("bash", "zsh", "fish")


@click.command(
    epilog='\b\nExamples:\n  eval "$(scaler completion bash)"         in ~/.bashrc\n'
    '  eval "$(scaler completion zsh)"          in ~/.zshrc\n'
    "  scaler completion fish > ~/.config/fish/completions/scaler.fish\n"
)
@click.argument("shell", type=click.Choice(SHELLS), required=False)
@click.pass_context
def completion(ctx: click.Context, shell: str | None) -> None:
    """Print the completion script of SHELL; by default that of the shell in $SHELL."""
    from click.shell_completion import get_completion_class

    name = shell or Path(os.environ.get("SHELL", "")).name
    found = get_completion_class(name) if name in SHELLS else None
    if found is None:
        raise click.UsageError(f"the shell '{name}' is not known; name one of {', '.join(SHELLS)}")
    click.echo(found(ctx.find_root().command, {}, "scaler", "_SCALER_COMPLETE").source())
