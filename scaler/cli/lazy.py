"""A group whose commands are imported when they are used, so that `scaler --help` stays instant."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from typing import Any, cast

import click

from scaler.errors import ScalerError

INTERRUPTED = 130
"""What a shell expects of a program that ended by Ctrl-C (128 + SIGINT)."""


class CommandFailed(click.ClickException):
    """One of our errors on its way out: printed as one text, ending with the error's exit code."""

    def __init__(self, error: ScalerError) -> None:
        super().__init__(str(error) or error.code)
        self.exit_code = error.exit_code  # type: ignore[misc]  # click reads it here


class LazyGroup(click.Group):
    """Knows its commands as `name -> ("module:attribute", short help)`, in the order of the help."""

    def __init__(self, *args: Any, lazy: Mapping[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lazy = dict(lazy)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List names without importing."""
        return [*self.lazy, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command of that name."""
        if cmd_name not in self.lazy:
            return super().get_command(ctx, cmd_name)
        module, attribute = self.lazy[cmd_name][0].split(":")
        try:
            command = getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as exc:
            if exc.name != module:
                raise
            raise click.ClickException(f"'{cmd_name}' is not part of this installation") from exc
        return cast(click.Command, command)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; for a wrong name the nearest one is suggested."""
        if args[0].startswith("-") or self.get_command(ctx, args[0]) is not None or ctx.resilient_parsing:
            return super().resolve_command(ctx, args)
        near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(self.list_commands(ctx))}"
        raise click.UsageError(f"no such command '{args[0]}'; {hint}", ctx=ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from the texts given, without importing."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_where, text) in self.lazy.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; our errors become one text and their exit code."""
        try:
            return super().invoke(ctx)
        except ScalerError as exc:
            raise CommandFailed(exc) from exc
        except KeyboardInterrupt:
            click.echo(err=True)
            raise click.exceptions.Exit(INTERRUPTED) from None
