"""The tree of commands, and the last fence: whatever happens, a user's mistake shows no traceback.

Nothing heavy is imported here: `scaler --help` must answer at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress

import click

from scaler.cli.lazy import INTERRUPTED, LazyGroup
from scaler.cli.options import output_option, state_dir_option

COMMANDS = {
    "run": ("scaler.cli.files:run", "Run the daemon on job files."),
    "validate": ("scaler.cli.files:validate", "Check job files and list every fault."),
    "plan": ("scaler.cli.plan:plan", "Poll once and say what would start and why."),
    "probe": ("scaler.cli.probe:probe", "Ask each source once and say what is wrong with it."),
    "simulate": (
        "scaler.cli.simulate:simulate",
        "Try settings out in virtual time; decide a recorded run again.",
    ),
    "job": ("scaler.cli.jobs:job", "List, show, start and suspend jobs."),
    "execution": ("scaler.cli.executions:execution", "List, show and stop executions, read their logs."),
    "drain": ("scaler.cli.drain:drain", "Let nothing start and wait for what runs, then end the daemon."),
    "why": ("scaler.cli.why:why", "Explain the latest decisions of a job."),
    "audit": ("scaler.cli.audit:audit", "List who or what did something, and what."),
    "scalers": ("scaler.cli.scalers:scalers", "List the known scalers, or the parameters of one."),
    "doctor": ("scaler.cli.doctor:doctor", "Check what the daemon needs on this machine."),
    "guard": ("scaler.cli.guard:guard", "Guard the Docker engine's socket."),
    "load": ("scaler.cli.load:load", "Flood brokers and report how executions drain them."),
    "bench": ("scaler.cli.bench:bench", "Measure the daemon beside the bare engine."),
    "soak": ("scaler.cli.soak:soak", "Run load with faults and judge promises and growth."),
    "demo": ("scaler.cli.demo:demo", "Flood a queue and watch executions drain it."),
    "completion": ("scaler.cli.completion:completion", "Print the completion script of a shell."),
}

EPILOG = """\b
Examples:
  scaler run jobs/                  start the daemon on a folder of job files
  scaler job list                   ask it what it does
  scaler why orders                 ask it for its reasons

\b
Exit codes: 0 done, 1 failed, 2 wrong use or file, 3 no daemon answers, 4 another daemon is on the state directory.
"""


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@state_dir_option
@output_option
@click.version_option(package_name="queue-scaler", prog_name="scaler")
def cli() -> None:
    """Azure Container Apps jobs, anywhere Docker runs.

    `run` polls the sources of your job files and starts an execution for each piece of work. The commands
    `job`, `execution` and `why` ask the daemon that runs on a state directory.
    """


def _open_closed_streams() -> None:
    """Give closed standard streams (`>&-`) a place to go, so that no file of ours takes their number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
            stream = open(number, "w" if number else "r", encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)


def _hush_stdout() -> None:
    """Keep the interpreter from complaining about a closed pipe when it flushes at its end."""
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, sys.stdout.fileno())
    os.close(sink)


def _complain(line: str) -> None:
    """Write to standard error, unless that is what is broken."""
    with suppress(OSError):
        click.echo(line, err=True)


def _unexpected(exc: Exception) -> int:
    if os.environ.get("SCALER_DEBUG"):
        import traceback

        traceback.print_exc()
        return 1
    text = " ".join(str(exc).split())
    _complain(f"Error: unexpected {type(exc).__name__}: {text}")
    _complain("This is a fault of ours; run with SCALER_DEBUG=1 for the traceback.")
    return 1


def _system_error(exc: OSError) -> int:
    """Tell what the system refused: a full disk behind standard output, a folder that cannot be written to."""
    if os.environ.get("SCALER_DEBUG"):
        return _unexpected(exc)
    if isinstance(exc, FileNotFoundError) and exc.filename is None:  # what a path is made absolute by
        _complain("Error: the working directory was removed; change to one that exists")
        return 2
    place = f"{exc.filename}: " if exc.filename else ""
    _complain(f"Error: {place}{exc.strerror or exc}")
    return 1


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code; never raises."""
    _open_closed_streams()
    try:
        try:
            cli.main(args=None if args is None else list(args), prog_name="scaler")
        finally:
            sys.stdout.flush()
    except SystemExit as exc:
        return exc.code if isinstance(exc.code, int) else int(exc.code is not None)
    except BrokenPipeError:
        _hush_stdout()
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as exc:
        _hush_stdout()
        return _system_error(exc)
    except Exception as exc:  # noqa: BLE001 - the last fence: a user sees no traceback
        return _unexpected(exc)
    return 0
