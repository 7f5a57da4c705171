"""The command `simulate`: tries settings out in virtual time, or decides a recorded run again."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scaler.cli import render
from scaler.cli.files import SETTINGS
from scaler.cli.options import Number, output_option, wants_json

if TYPE_CHECKING:
    from scaler.simulation.compose import SimulateOptions
    from scaler.simulation.result import JobResult, Outcome
    from scaler.trace.verify import Replay

SHOWN = 10
"""Differences that the table shows."""
QUIET_S = 2.0
"""Progress is told from then on: once a second where a line can be redrawn, else each ten seconds."""
COLUMNS = (
    "SETTINGS", "JOB", "MESSAGES", "DONE", "DRAIN", "WAIT P50", "WAIT P99", "PEAK", "EXECUTIONS", "WASTED", "FAILED",
    "RUN S", "VCPU S", "GIB S", "COST",
)  # fmt: skip

EPILOG = """\b
Examples:
  scaler simulate orders.yaml --rate 1000@0s --work 30s
  scaler simulate orders.yaml --rate 600/h@9h-17h --work lognormal:20s..3m --for 24h \\
      --set maxExecutions=5 --set maxExecutions=20,pollingInterval=5
  scaler simulate jobs/ --rate orders=10/m --rate mails=500@8h+2/m --fail 2% --poison 0.1% -o json
  scaler simulate jobs/ --trace trace.jsonl --set maxExecutions=4
  scaler simulate --trace trace.jsonl --verify

\b
Exit codes: 0 done, 1 --verify found differences, 2 wrong use or file.
"""


@click.command(epilog=EPILOG)
@output_option
@click.argument("paths", nargs=-1, metavar="[PATH]...", type=click.Path(path_type=Path))
@click.option(
    "--trace",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Take arrivals, times and failures from what `scaler run --record` wrote.",
)
@click.option(
    "--verify", is_flag=True, help="Decide everything in the trace again and compare; needs no PATH."
)
@click.option(
    "--rate",
    "rates",
    multiple=True,
    metavar="SPEC",
    help="What comes in: [JOB[/RULE]=]10/m, 600/h@9h-17h, 1000@0s, or several joined by +. Repeatable.",
)
@click.option(
    "--set", "variants", multiple=True, metavar="[JOB/]KEY=VALUE,...", help="Settings to compare. Repeatable."
)
@click.option(
    "--for", "span", metavar="TIME", help="How long messages come in.  [default: the trace, else 24h]"
)
@click.option(
    "--work",
    metavar="TIMES",
    help="Time of a message: 30s, exp:30s, uniform:10s..60s, lognormal:20s..3m.  [default: the trace, else 30s]",
)
@click.option("--start", metavar="TIMES", help="Time of a start, likewise.  [default: the trace, else 1s]")
@click.option("--fail", metavar="SHARE", help="Executions that fail.  [default: the trace, else 0%]")
@click.option(
    "--poison", default="0%", metavar="SHARE", help="Messages whose every execution fails.  [default: 0%]"
)
@click.option(
    "--visibility",
    metavar="TIME",
    help="A taken message comes back after it.  [default: when its worker lets go of it]",
)
@click.option(
    "--max-deliveries",
    type=click.IntRange(0, 1_000_000),
    default=0,
    metavar="N",
    help="A message taken so often is dead-lettered.  [default: never]",
)
@click.option(
    "--partitions",
    type=click.IntRange(2, 10_000),
    default=8,
    metavar="N",
    help="Shares of a source that hands them out.  [default: 8]",
)
@click.option(
    "--take",
    type=click.IntRange(1, 1_000_000),
    metavar="N",
    help="Messages an execution takes.  [default: as the rule says]",
)
@click.option(
    "--patience", default="1s", metavar="TIME", help="A worker's wait for a message.  [default: 1s]"
)
@click.option("--poll", default="50ms", metavar="TIME", help="Time of reading a source.  [default: 50ms]")
@click.option("--price-cpu", type=Number(min=0), metavar="PRICE", help="Of a vCPU-second.")
@click.option("--price-memory", type=Number(min=0), metavar="PRICE", help="Of a GiB-second.")
@click.option(
    "--from", "begin", metavar="TIME", help="The first moment, for schedules, as 2026-01-01T00:00:00Z."
)
@click.option(
    "--down",
    "outages",
    multiple=True,
    metavar="FROM-UNTIL",
    help="The daemon is down meanwhile, as 2h-2h5m; what runs goes on and is adopted. Repeatable.",
)
@SETTINGS
@click.option(
    "--seed", type=int, default=1, metavar="N", help="Another one draws other chances.  [default: 1]"
)
@click.pass_context
def simulate(ctx: click.Context, /, **given: Any) -> None:
    """Run the job files at PATH in virtual time, and say what came of it.

    The engine, the planner and the breaker are the daemon's own; queues, replicas and time are simulated. Messages
    come from --rate or a recorded --trace. Nothing is polled, nothing is started. With --set, each set of settings is
    a row to compare; the same seed gives the same messages to each.

    With --verify, the recorded decisions are made again instead, and compared: exit code 1 if one comes out otherwise.
    """
    if given["verify"]:
        if given["trace"] is None or given["paths"] or given["rates"]:
            raise click.UsageError(
                "--verify compares a trace with itself: write --trace FILE --verify, and no PATH"
            )
        ctx.exit(_verify(given["trace"]))
    if not given["paths"]:
        raise click.UsageError("Missing argument 'PATH...': name the job files to simulate")
    if (given["trace"] is None) == (not given["rates"]):
        raise click.UsageError("write either --rate or --trace: where do messages come from?")
    from scaler.simulation.compose import simulate_files

    began = time.monotonic()
    outcomes = simulate_files(_options(given), os.environ, _teller(began))
    if wants_json():
        render.print_json([_body(outcome) for outcome in outcomes])
        return
    _show(outcomes, time.monotonic() - began)


def _verify(trace: Path) -> int:
    from scaler.trace.read import Trace
    from scaler.trace.verify import replay

    began = time.monotonic()
    tell = partial(_teller(began), f"deciding {trace.name}")
    found = replay(Trace(trace, tell))
    _clear(time.monotonic() - began)
    return tell_replay(found)


def _options(given: dict[str, Any]) -> SimulateOptions:
    from scaler.simulation.arrivals import read_rate
    from scaler.simulation.chance import read_share, read_span, read_spans
    from scaler.simulation.compose import SimulateOptions
    from scaler.simulation.queue import Habits
    from scaler.simulation.result import Price
    from scaler.simulation.variants import read_variant

    def maybe(read: Callable[[str, str], Any], name: str) -> Any:
        return None if given[name] is None else read(given[name], f"--{name if name != 'span' else 'for'}")

    cpu, memory = given["price_cpu"], given["price_memory"]
    priced = cpu is not None or memory is not None
    return SimulateOptions(
        paths=given["paths"],
        rates=tuple(read_rate(text) for text in given["rates"]),
        trace=given["trace"],
        variants=tuple(read_variant(text) for text in given["variants"]),
        span_s=maybe(_read_span_above_0, "span"),
        work=maybe(read_spans, "work"),
        start=maybe(read_spans, "start"),
        failing=maybe(read_share, "fail"),
        poison=read_share(given["poison"], "--poison"),
        patience_s=read_span(given["patience"], "--patience"),
        take=given["take"],
        poll_s=read_span(given["poll"], "--poll"),
        habits=Habits(
            visibility_s=maybe(_read_span_above_0, "visibility"),
            max_deliveries=given["max_deliveries"],
            parts=given["partitions"],
        ),
        price=Price(cpu_second=cpu or 0.0, gib_second=memory or 0.0) if priced else None,
        seed=given["seed"],
        begin=maybe(_read_moment, "begin"),
        settings=given["settings"],
        outages=_read_outages(given["outages"]),
    )


def _read_span_above_0(text: str, what: str) -> float:
    from scaler.errors import ConfigError
    from scaler.simulation.chance import read_span

    seconds = read_span(text, what)
    if not 0 < seconds <= 366 * 86_400:
        raise ConfigError(f"{what}: got '{text}'; write a time above 0 and up to 366d")
    return seconds


def _read_outages(texts: Sequence[str]) -> tuple[tuple[float, float], ...]:
    from scaler.errors import ConfigError
    from scaler.simulation.chance import read_span

    found: list[tuple[float, float]] = []
    for text in texts:
        begin, dash, end = text.partition("-")
        what = f"--down {text}"
        if not dash or read_span(end, what) <= read_span(begin, what):
            raise ConfigError(f"{what}: write two times after the beginning, such as 2h-2h5m or 30s-90s")
        found.append((read_span(begin, what), read_span(end, what)))
    if any(one[1] > other[0] for one, other in pairwise(sorted(found))):
        raise ConfigError("--down: the times overlap; write each outage once")
    return tuple(sorted(found))


def _read_moment(text: str, _what: str) -> datetime:
    from scaler.errors import ConfigError

    moment = render.read_time(text)
    if moment is None or moment.tzinfo is None:
        raise ConfigError(f"--from: got '{text}'; write a time with its zone, such as 2026-01-01T00:00:00Z")
    return moment


def _teller(began: float) -> Callable[[str, float], None]:
    """Tell progress on standard error, if it takes longer."""
    redraws, last = sys.stderr.isatty(), began + QUIET_S - (1.0 if sys.stderr.isatty() else 10.0)
    pause = 1.0 if redraws else 10.0

    def tell(what: str, share: float) -> None:
        nonlocal last
        if time.monotonic() - last >= pause:
            last = time.monotonic()
            text = f"{what}: {share:.0%}"
            click.echo(f"\r{text:<70}" if redraws else text, nl=not redraws, err=True)

    return tell


# --- printing ---------------------------------------------------------------------------------------------


def _clear(took_s: float) -> None:
    """Take away the line of progress."""
    if sys.stderr.isatty() and took_s > QUIET_S:
        click.echo(f"\r{'':<70}\r", nl=False, err=True)


def _show(outcomes: Sequence[Outcome], took_s: float) -> None:
    _clear(took_s)
    rows = [_row(outcome.settings, job) for outcome in outcomes for job in outcome.jobs]
    render.table(COLUMNS, rows)
    for outcome in outcomes:
        for job in outcome.jobs:
            for text in _remarks(job):
                click.echo(f"{outcome.settings}: {job.job}: {text}")
    days = sum(outcome.simulated_s for outcome in outcomes)
    click.echo(f"{render.span_text(timedelta(seconds=days))} of virtual time in {took_s:.1f} s", err=True)


def _row(settings: str, job: JobResult) -> tuple[object, ...]:
    return (
        settings, job.job, job.messages, job.done, _span(job.drain_s), _span(job.wait_p50_s), _span(job.wait_p99_s),
        job.peak, job.executions, job.wasted, job.failed, f"{job.execution_s:.0f}", f"{job.cpu_s:.0f}",
        f"{job.memory_gib_s:.0f}", None if job.cost is None else f"{job.cost:.4f}",
    )  # fmt: skip


def _span(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return f"{seconds:.1f}s" if seconds < 60 else render.span_text(timedelta(seconds=round(seconds)))


def _remarks(job: JobResult) -> list[str]:
    remarks = []
    if job.left:
        remarks.append(f"{job.left} messages were left at the end")
    if job.dead:
        remarks.append(f"{job.dead} messages were dead-lettered")
    if job.twice:
        remarks.append(
            f"{job.twice} times a message was worked on that was done already; --visibility is too short"
        )
    return remarks


_CAMEL = {
    "drain_s": "drainSeconds", "wait_p50_s": "waitP50Seconds", "wait_p99_s": "waitP99Seconds",
    "wait_max_s": "waitMaxSeconds", "execution_s": "executionSeconds", "cpu_s": "vcpuSeconds",
    "memory_gib_s": "gibSeconds",
}  # fmt: skip


def _body(outcome: Outcome) -> dict[str, Any]:
    """Write one set of settings, as `-o json` prints it."""
    jobs = [
        {
            _CAMEL.get(key, key): round(value, 6) if isinstance(value, float) else value
            for key, value in asdict(job).items()
        }
        for job in outcome.jobs
    ]
    return {"settings": outcome.settings, "simulatedSeconds": round(outcome.simulated_s, 6), "jobs": jobs}


def tell_replay(found: Replay) -> int:
    """Print what a replay found; give the exit code."""
    if wants_json():
        render.print_json(asdict(found))
        return 1 if found.differing else 0
    for item in found.differences[:SHOWN]:
        click.echo(
            f"{item.place}: {item.job} at {item.at}: {item.field} was {item.recorded}, is {item.replayed} now "
            f"({item.formula})",
            err=True,
        )
    count = found.differing
    verb = "comes" if count == 1 else "come"
    same = "all come out the same" if not count else f"{count} {verb} out otherwise"
    made = f"{found.decisions} {'decision' if found.decisions == 1 else 'decisions'}"
    launches = f"{found.launches} {'launch' if found.launches == 1 else 'launches'}"
    click.echo(f"{made}, {launches}: {same}", err=bool(count))
    if found.dropped or found.torn:
        click.echo(
            f"The trace is not whole: {found.dropped} lines were not written, {found.torn} were cut off.",
            err=True,
        )
    return 1 if count else 0
