"""The command `bench`: measures the product beside its baselines."""

from __future__ import annotations

import shlex
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scaler.cli import render
from scaler.cli.options import output_option, wants_json
from scaler.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence


def _names(_ctx: click.Context, _param: click.Parameter, given: Sequence[str]) -> Sequence[str]:
    from difflib import get_close_matches

    from scaler.bench.run import BENCHES

    for name in given:
        if name not in BENCHES:
            near = get_close_matches(name, BENCHES, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(BENCHES)}"
            raise click.BadParameter(f"no bench '{name}'; {hint}")
    return given or tuple(BENCHES)


def _image(_ctx: click.Context, _param: click.Parameter, given: str | None) -> str | None:
    from scaler.wire.checks import image_fault

    if given is not None and (fault := image_fault(given)):
        raise click.BadParameter(fault)
    return given


def _show(facts: Any, found: Any) -> None:
    from scaler.bench import report

    if wants_json():
        render.print_json(report.body(facts, found))
    else:
        click.echo(report.page(facts, found))


def _recorded(path: Path) -> None:
    from scaler.bench.report import read_body

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"--from {path}: {getattr(exc, 'strerror', None) or 'is no text'}") from exc
    _show(*read_body(text, f"--from {path}"))


def _clean_up_when_ended() -> None:
    """Make each way of ending it an interrupt, from which containers and daemons are removed.

    A shell lets what it starts in the background ignore the one that the keyboard sends. With its terminal it ends too.
    """
    from scaler.turn import ending_signals

    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in {*ending_signals()} - {signal.SIGINT}:
        signal.signal(number, lambda *_: signal.raise_signal(signal.SIGINT))


@click.command(
    epilog="\b\nExamples:\n  scaler bench\n  scaler bench footprint --repeat 3\n"
    "  scaler bench -o json > mine.json\n  scaler bench --from mine.json\n"
)
@output_option
@click.argument("names", nargs=-1, metavar="[NAME]...", callback=_names)
@click.option(
    "--repeat",
    type=click.IntRange(1, 100),
    default=1,
    show_default=True,
    metavar="N",
    help="Repetitions, in each of which baseline and product take turns; medians are shown.",
)
@click.option("--quick", is_flag=True, help="A tenth of the size: shows that it works, not how fast it is.")
@click.option(
    "--image",
    metavar="IMAGE",
    callback=_image,
    help="Image with a shell to measure containers with.  [default: made of this machine's shell]",
)
@click.option(
    "--from",
    "recorded",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Measure nothing; show what '-o json' wrote to a file.",
)
@click.pass_context
def bench(
    ctx: click.Context,
    names: Sequence[str],
    repeat: int,
    image: str | None,
    recorded: Path | None,
    *,
    quick: bool,
) -> None:
    """Measure the daemon beside the bare Docker engine, bare processes and bare timers, as ratios.

    Each bench starts daemons of its own in temporary folders and removes all that it made. Those with containers need
    a Docker engine on this machine. Let nothing else run meanwhile. Seconds belong to a machine, ratios to the product.

    Exit code 1 if a bench could not be run, never because of a figure.
    """
    if recorded is not None:
        _recorded(recorded)
        return
    from datetime import UTC, datetime

    from scaler.bench.run import run_all
    from scaler.bench.stage import Options
    from scaler.cli.client import Client
    from scaler.rig.machine import facts

    _clean_up_when_ended()
    about = facts(shlex.join(["scaler", *sys.argv[1:]]), datetime.now(UTC))
    options = Options(repeat=repeat, quick=quick, image=image, say=lambda line: click.echo(line, err=True))
    found, failed = run_all(names, options, Client)
    _show(about, found)
    ctx.exit(1 if failed else 0)
