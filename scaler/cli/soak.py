"""The command `soak`: mixed load with faults on a daemon of its own, and whether it kept what it promises."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from scaler.cli import render
from scaler.cli.lazy import INTERRUPTED
from scaler.cli.options import Number, output_option, wants_json
from scaler.cli.report_files import must_be_writable, write_report

if TYPE_CHECKING:
    from scaler.soak.notes import Notes
    from scaler.soak.plan import Plan

CONNECT_S, ANSWER_S = 5.0, 15.0
"""A daemon that is held for some seconds must not hold up the looks at it for longer."""


def _say(line: str) -> None:
    click.echo(line, err=True)


async def _run(plan: Plan, out: Path) -> Notes:
    import asyncio

    from scaler.cli.client import Client
    from scaler.soak.run import Options, soak
    from scaler.turn import ending_signals

    def connect(state_dir: Path) -> Client:
        return Client(state_dir, connect_s=CONNECT_S, answer_s=ANSWER_S)

    options = Options(plan=plan, connect=connect, say=_say, keep=out)
    loop = asyncio.get_running_loop()
    for number in ending_signals():
        loop.add_signal_handler(number, options.stop.set)
    return await soak(options)


def _summary(notes: Notes) -> None:
    from scaler.soak.report import SHOWN, rows, verdicts

    found = verdicts(notes)
    render.table(("PROMISE", "VERDICT", "SEEN"), rows(found))
    for one in found:
        for text in one.breaches[:SHOWN]:
            _say(f"{one.name}: {text}")
        if len(one.breaches) > SHOWN:
            _say(f"{one.name}: and {len(one.breaches) - SHOWN} more; soak.json has all")


@click.command(
    epilog="\b\nExamples:\n"
    "  scaler soak --minutes 3\n"
    "  scaler soak --minutes 30 --seed 7 --executor both --out reports\n"
    "  scaler soak --minutes 10 --no-faults -o json\n"
)
@output_option
@click.option(
    "--minutes",
    type=Number(0.1, 10_000),
    default=3.0,
    show_default=True,
    metavar="N",
    help="How long the load goes on; what waits then is worked off, which takes up to three more.",
)
@click.option(
    "--seed",
    type=int,
    metavar="S",
    help="What load and faults follow from.  [default: another one each time]",
)
@click.option(
    "--executor",
    type=click.Choice(["process", "docker", "both"]),
    help="What runs the workers.  [default: both if a Docker engine answers, else process]",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("reports"),
    show_default=True,
    metavar="DIR",
    help="Folder of the report: soak.html, soak.json and the daemon's log.",
)
@click.option("--no-faults", "calm", is_flag=True, help="Load alone: nothing is killed, held or hidden.")
@click.pass_context
def soak(
    ctx: click.Context, minutes: float, seed: int | None, executor: str | None, out: Path, *, calm: bool
) -> None:
    """Run mixed load with faults on a daemon of its own, and judge whether it kept its promises and did not grow.

    It needs no broker: queues are folders, in a temporary folder with all the rest, and the image of containers is made
    of this machine's shell. The daemon is killed and held, workers are killed, sources are hidden, jobs are edited,
    suspended and stopped. The seed decides when; run it again with the same one to meet the same again.

    The report is written in any case, also after Ctrl-C (exit code 130). Exit code 1 if a promise was broken or
    something grows.
    """
    import asyncio
    import secrets
    from datetime import UTC, datetime

    from scaler.rig.bare_engine import answers
    from scaler.rig.machine import facts
    from scaler.soak.plan import make_plan
    from scaler.soak.report import body, report_page

    must_be_writable(out)
    about = facts(shlex.join(["scaler", *sys.argv[1:]]), datetime.now(UTC))
    chosen = executor or ("both" if asyncio.run(answers()) else "process")
    plan = make_plan(
        seed=secrets.randbelow(1_000_000) if seed is None else seed,
        seconds=minutes * 60,
        executors=("process", "docker") if chosen == "both" else (chosen,),
        faults=not calm,
    )
    notes = asyncio.run(_run(plan, out))
    told = body(about, notes)
    written = write_report(out, "soak", report_page(about, notes), told)
    if wants_json():
        render.print_json(told)
    else:
        _summary(notes)
        click.echo(f"\nReport: {written[0]} and {written[1]}")
    ctx.exit(INTERRUPTED if notes.interrupted else 0 if told["sound"] else 1)
