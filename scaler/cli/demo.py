"""The command `demo`: plays the demo, shows how it goes, and says whether everything is accounted for."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from scaler.cli import render
from scaler.cli.options import output_option, wants_json

if TYPE_CHECKING:
    from scaler.demo.account import Tally
    from scaler.demo.stage import Bus, Stage
    from scaler.demo.story import Progress

LINE_EVERY_S = 1.0
"""How often progress is told where a line cannot be redrawn."""

_BAR = 20


class Teller:
    """Tells how it goes: one line that is redrawn on a terminal, else a line a second if anything changed."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._redraws = stream.isatty()
        self._open_line = False
        self._last = ""
        self._at = float("-inf")

    def step(self, text: str) -> None:
        """Tell what begins now."""
        self.close()
        self._stream.write(f"{text}\n")
        self._stream.flush()

    def progress(self, now: Progress) -> None:
        """Show the figures."""
        text = _progress_text(now)
        if self._redraws:
            room = shutil.get_terminal_size().columns - 1
            shown = f"{text}  {_bar(now)} {now.seconds:4.0f} s"[:room]
            self._stream.write(f"\r{shown}\x1b[K")
            self._open_line = True
        elif text != self._last and now.seconds - self._at >= LINE_EVERY_S:
            self._stream.write(f"{now.seconds:4.0f} s  {text}\n")
            self._last, self._at = text, now.seconds
        self._stream.flush()

    def close(self) -> None:
        """End the line that is being redrawn."""
        if self._open_line:
            self._stream.write("\n")
            self._stream.flush()
            self._open_line = False


def _progress_text(now: Progress) -> str:
    return f"queue {now.left:>3} | running {now.live}/{now.max_executions} | done {now.ended}/{now.messages}"


def _bar(now: Progress) -> str:
    filled = min(_BAR, _BAR * now.ended // now.messages)
    return "[" + "#" * filled + "." * (_BAR - filled) + "]"


def _body(tally: Tally, faults: tuple[str, ...]) -> dict[str, Any]:
    """Write the summary as `-o json` prints it."""
    return {
        "messages": {
            "sent": len(tally.sent),
            "completed": len(tally.done),
            "left": tally.left,
            "deadLettered": tally.dead,
        },
        "executions": {"total": tally.executions, "byStatus": dict(tally.statuses)},
        "peakRunning": tally.peak,
        "maxExecutions": tally.max_executions,
        "seconds": round(tally.seconds, 1),
        "faults": list(faults),
    }


def _summary(tally: Tally, faults: tuple[str, ...]) -> None:
    if wants_json():
        render.print_json(_body(tally, faults))
        return
    by_status = ", ".join(f"{number} {status}" for status, number in tally.statuses.items() if number)
    click.echo()
    render.pairs(
        [
            ("messages sent", len(tally.sent)),
            ("completed", len(tally.done)),
            ("left in the queue", tally.left),
            ("executions", f"{tally.executions} ({by_status or 'none'})"),
            ("most at once", f"{tally.peak} of at most {tally.max_executions}"),
            ("time", f"{tally.seconds:.1f} s"),
        ]
    )
    if not faults:
        click.echo("\nEvery message was done exactly once.")


def _complain(faults: tuple[str, ...], *, kept: bool) -> None:
    for fault in faults:
        click.echo(f"not accounted for: {fault}", err=True)
    if faults and not kept:
        click.echo("Run it again with --dir DIR to keep the job file, the logs and the records.", err=True)


def _invite(stage: Stage, bus: Bus) -> None:
    """Tell what may be tried while everything goes on running."""
    state, folder = shlex.quote(str(stage.state_dir)), stage.folder
    send = " ".join(map(shlex.quote, [sys.executable, str(folder / "send.py"), "20"]))
    lines = (
        f"\nStill running. Job file: {stage.job_file}",
        f"State directory:         {stage.state_dir}",
        f"Connection string:       {bus.connection_string}",
        "\nTry, in another terminal:",
        f"  export SCALER_STATE_DIR={state}",
        "  scaler job list",
        "  scaler why demo",
        "  scaler execution list demo",
        f"  export QUEUE=demo SERVICEBUS_CONNECTION_STRING={shlex.quote(bus.connection_string)}",
        f"  {send}    sends 20 more",
        f"  edit {stage.job_file} or {folder / 'worker.py'}, and send again",
        "\nCtrl-C ends it.",
    )
    for line in lines:
        click.echo(line, err=wants_json())


def _play(messages: int, max_executions: int, folder: Path | None, *, keep: bool) -> int:
    """Play the demo and give its exit code."""
    from scaler.cli.client import Client
    from scaler.demo.account import find_faults
    from scaler.demo.signals import Interrupted, Signals
    from scaler.demo.stage import Stage
    from scaler.demo.story import Plan, Story, View, require_sdk

    require_sdk()
    teller = Teller(sys.stderr if wants_json() else sys.stdout)
    plan = Plan(messages=messages, max_executions=max_executions)
    with Signals() as signals, Stage(folder) as stage:
        story = Story(plan, stage, signals, Client, View(step=teller.step, progress=teller.progress))
        try:
            bus = story.start()
            tally = story.drain(bus)
        except Interrupted as exc:
            teller.close()
            click.echo("Interrupted; stopping everything.", err=True)
            return exc.exit_code
        finally:
            teller.close()
        faults = find_faults(tally)
        _summary(tally, faults)
        _complain(faults, kept=keep or folder is not None)
        if keep:
            _invite(stage, bus)
            _wait(stage, signals)
        return 1 if faults else 0


def _wait(stage: Stage, signals: Any) -> None:
    """Wait for Ctrl-C, or for the end of what runs."""
    from scaler.demo.signals import Interrupted

    try:
        while True:
            stage.check()
            signals.pause(1.0)
    except Interrupted:
        click.echo("\nStopping everything.", err=True)


@click.command(
    epilog="\b\nExamples:\n  scaler demo\n  scaler demo --messages 200 --max 10\n  scaler demo --keep --dir ./demo\n"
)
@output_option
@click.option(
    "--messages",
    type=click.IntRange(1, 1000),
    default=50,
    show_default=True,
    metavar="N",
    help="How many messages to send.",
)
@click.option(
    "--max",
    "max_executions",
    type=click.IntRange(1, 100),
    default=5,
    show_default=True,
    metavar="N",
    help="How many executions may run at once.",
)
@click.option("--keep", is_flag=True, help="Leave everything running at the end, until Ctrl-C.")
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Work in this new or empty folder and keep it.  [default: a temporary one]",
)
@click.pass_context
def demo(ctx: click.Context, messages: int, max_executions: int, folder: Path | None, *, keep: bool) -> None:
    """Flood a queue with messages and watch executions drain it.

    Needs neither Azure nor Docker: it starts a development broker that speaks Azure Service Bus, a daemon
    with one job, and sends the messages; each is taken by an execution that runs a small worker as a local
    process. At the end it counts: exit code 1 if a single message or execution is not accounted for.
    Ctrl-C stops all of it.
    """
    ctx.exit(_play(messages, max_executions, folder, keep=keep))
