"""Options that several commands share, accepted before the command and behind it; the last one wins."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from scaler.cli.client import Client

F = TypeVar("F", bound=Callable[..., Any])

STATE_DIR_VARIABLE = "SCALER_STATE_DIR"
DEFAULT_STATE_DIR = Path(".scaler")
_STATE_DIR = "scaler.state_dir"
_OUTPUT = "scaler.output"


class Number(click.FloatRange):
    """A number between bounds. `nan` lies between none, although no comparison says so."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it."""
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"{value!r} is not a valid number.", param, ctx)
        return number


def _keep(key: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def keep(ctx: click.Context, _param: click.Parameter, value: Any) -> None:
        if value is not None:
            ctx.meta[key] = value

    return keep


def state_dir_option(command: F) -> F:
    """Add `--state-dir`."""
    return click.option(
        "--state-dir",
        type=click.Path(path_type=Path, file_okay=False),
        callback=_keep(_STATE_DIR),
        expose_value=False,
        metavar="DIR",
        help=f"Where the daemon keeps its state and socket.  [default: ${STATE_DIR_VARIABLE} or ./.scaler]",
    )(command)


def output_option(command: F) -> F:
    """Add `-o table|json`."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(["table", "json"]),
        callback=_keep(_OUTPUT),
        expose_value=False,
        help="How to print.  [default: table]",
    )(command)


def client_options(command: F) -> F:
    """Add what every command takes that asks the daemon."""
    return state_dir_option(output_option(command))


def given_state_dir() -> Path | None:
    """Give the state directory of the command line or the environment; None if neither says one."""
    kept = click.get_current_context().meta.get(_STATE_DIR)
    if isinstance(kept, Path):
        return kept
    text = os.environ.get(STATE_DIR_VARIABLE)
    return Path(text) if text else None


def state_dir() -> Path:
    """Give the state directory, by default `./.scaler`."""
    return given_state_dir() or DEFAULT_STATE_DIR


def wants_json() -> bool:
    """Say whether JSON is asked for."""
    return click.get_current_context().meta.get(_OUTPUT) == "json"


def connect(*, answer_s: float | None = None) -> Client:
    """Make a client of the daemon on the state directory, which waits so long for answers; asks nothing yet."""
    from scaler.cli.client import ANSWER_S, Client

    return Client(state_dir(), answer_s=ANSWER_S if answer_s is None else answer_s)
