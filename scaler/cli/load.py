"""The command `load`: floods brokers, shows how executions drain them, and leaves a report."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scaler.cli import render
from scaler.cli.lazy import INTERRUPTED
from scaler.cli.options import Number, client_options, connect, wants_json
from scaler.cli.report_files import must_be_writable, write_report
from scaler.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scaler.load.account import Notes, Outcome
    from scaler.load.flood import Target
    from scaler.load.plan import Plan


def _connection(variable: str) -> str:
    """Find what connects to a broker: in a variable, or in the file that another one names."""
    found = os.environ.get(variable)
    if found:
        return found
    file = os.environ.get(f"{variable}_FILE")
    if not file:
        raise ConfigError(
            f"{variable}: not set; set it to what connects to the broker, or {variable}_FILE to a file"
        )
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except OSError as exc:
        raise ConfigError(f"{variable}_FILE: {file}: {exc.strerror}") from exc


def _targets(kinds: Sequence[str], queue: str, results: str) -> list[Target]:
    from scaler.load.flood import Target
    from scaler.model.secret import Secret
    from scaler.plugins import FEEDS
    from scaler.ports.feed import FeedPlace

    targets: list[Target] = []
    for text in kinds:
        kind, _, job = text.partition("=")
        feed = FEEDS.load(kind)
        if any(one.kind == kind for one in targets):
            raise ConfigError(
                f"{kind}: named twice, but both would send to '{queue}' and take each other's reports from "
                f"'{results}'; run the command twice, with other queues"
            )
        place = FeedPlace(connection=Secret(_connection(feed.variable)), queue=queue, results=results)
        targets.append(Target(kind=kind, job=job or kind, feed=feed, place=place))
    return targets


async def _flood(targets: Sequence[Target], plan: Plan, show: Any) -> list[Notes]:
    import asyncio

    from scaler.engine.clock import SystemClock
    from scaler.load.flood import Stage, flood_all
    from scaler.turn import ending_signals

    stage = Stage(daemon=connect(), clock=SystemClock(), show=show)
    loop = asyncio.get_running_loop()
    numbers = ending_signals()

    def stop() -> None:
        stage.stop.set()
        for number in numbers:
            loop.remove_signal_handler(number)  # a second one ends at once, without a report

    for number in numbers:
        loop.add_signal_handler(number, stop)
    return await flood_all(targets, plan, stage)


def _hush_libraries() -> None:
    """Keep the brokers' clients from writing between the lines; what fails is told by us."""
    if not os.environ.get("SCALER_DEBUG"):
        logging.getLogger().addHandler(logging.NullHandler())


def _summary(outcomes: Sequence[Outcome]) -> None:
    from scaler.load.report import ratio, seconds

    names = (
        "JOB",
        "SENT",
        "DONE",
        "DUPLICATES",
        "LOST",
        "WASTED",
        "PEAK",
        "WAIT P50",
        "WAIT P99",
        "DRAIN",
        "IDEAL",
        "DRAIN/IDEAL",
    )
    render.table(
        names,
        [
            (
                one.job,
                one.sent,
                one.done,
                one.duplicates,
                one.lost,
                one.wasted,
                f"{'?' if one.peak is None else one.peak}/{one.max_executions}",
                seconds(one.wait_p50_s),
                seconds(one.wait_p99_s),
                seconds(one.drain_s),
                seconds(one.ideal_s),
                "?" if (found := ratio(one)) is None else f"{found:.2f}",
            )
            for one in outcomes
        ],
    )
    for one in outcomes:
        for fault in one.faults:
            click.echo(f"{one.job}: {fault}", err=True)


@click.command(
    epilog="\b\nExamples:\n"
    "  RABBITMQ_URL=amqp://localhost/ scaler load rabbitmq=orders --queue orders --count 500\n"
    "  scaler load kafka rabbitmq --count 200 --rate 20 --burst 10 --think 0.5 --out reports\n"
    "  scaler load azure-queue --poison 0.05 --size 4096 -o json\n"
)
@client_options
@click.argument("kinds", nargs=-1, required=True, metavar="KIND[=JOB]...")
@click.option(
    "--queue",
    default="jobs",
    show_default=True,
    metavar="NAME",
    help="Queue or topic that the jobs take from.",
)
@click.option(
    "--results",
    default="results",
    show_default=True,
    metavar="NAME",
    help="Queue or topic that workers report to.",
)
@click.option(
    "--count",
    type=click.IntRange(1, 100_000),
    default=100,
    show_default=True,
    metavar="N",
    help="Messages to each job.",
)
@click.option(
    "--rate",
    type=Number(0, min_open=True),
    metavar="R",
    help="Messages a second.  [default: all at once]",
)
@click.option(
    "--burst",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="N",
    help="With --rate: so many messages at a time.",
)
@click.option(
    "--size",
    type=click.IntRange(0, 200_000),
    default=0,
    metavar="BYTES",
    help="Least size of a message.  [default: as it is]",
)
@click.option(
    "--poison",
    type=Number(0, 1),
    default=0.0,
    metavar="SHARE",
    help="Share of messages that fail whenever they are tried, for two minutes.  [default: 0]",
)
@click.option(
    "--think",
    type=Number(0),
    default=0.0,
    metavar="S",
    help="Seconds of work in a message.  [default: 0]",
)
@click.option(
    "--timeout",
    type=Number(0, min_open=True),
    default=600.0,
    show_default=True,
    metavar="S",
    help="Longest time that the run may take.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("reports"),
    show_default=True,
    metavar="DIR",
    help="Folder of the report: load.html and load.json.",
)
@click.pass_context
def load(
    ctx: click.Context,
    /,
    kinds: tuple[str, ...],
    queue: str,
    results: str,
    out: Path,
    **asked: Any,
) -> None:
    """Flood the queues of jobs and follow how executions drain them.

    KIND is rabbitmq, kafka, azure-queue or azure-servicebus; JOB the job on it, called like the kind if it is left out.
    Workers must report each message that they have done, as the sample workers of compose/worker do. What connects is
    taken from RABBITMQ_URL, KAFKA_BOOTSTRAP, AZURE_STORAGE_CONNECTION_STRING and SERVICEBUS_CONNECTION_STRING.

    The report is written in any case, also after Ctrl-C (exit code 130). Exit code 1 if a message was lost or more
    executions ran than may.
    """
    import asyncio
    from datetime import UTC, datetime

    from scaler.cli.load_view import View
    from scaler.load.account import account
    from scaler.load.plan import Plan
    from scaler.load.report import report_body, report_page

    if asked["burst"] > 1 and asked["rate"] is None:
        raise click.UsageError("--burst says how many at a time; say how many a second too: --rate")
    plan = Plan(
        count=asked["count"],
        rate=asked["rate"],
        burst=asked["burst"],
        size=asked["size"],
        poison=asked["poison"],
        think_s=asked["think"],
        timeout_s=asked["timeout"],
    )
    begun = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    view = View(plan)
    targets = _targets(kinds, queue, results)
    must_be_writable(out)
    _hush_libraries()
    try:
        notes = asyncio.run(_flood(targets, plan, view.show))
    finally:
        view.close()
    outcomes = [account(one, think_s=plan.think_s) for one in notes]
    body = report_body(plan, notes, outcomes, begun=begun)
    written = write_report(out, "load", report_page(plan, notes, outcomes, begun=begun), body)
    if wants_json():
        render.print_json(body)
    else:
        _summary(outcomes)
        click.echo(f"\nReport: {written[0]} and {written[1]}")
    interrupted = any(one.interrupted for one in outcomes)
    ctx.exit(INTERRUPTED if interrupted else 0 if body["sumsUp"] else 1)
