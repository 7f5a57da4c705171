"""Commands about executions: list, show, stop, logs."""

from __future__ import annotations

from typing import Any

import click

from scaler.cli import render
from scaler.cli.complete import complete_job
from scaler.cli.lazy import LazyGroup
from scaler.cli.log_text import print_pieces, search_options
from scaler.cli.options import client_options, connect, wants_json


@click.group(
    cls=LazyGroup,
    lazy={
        "list": ("scaler.cli.executions:list_executions", "List the executions of a job, newest first."),
        "show": ("scaler.cli.executions:show", "Show one execution and its replicas."),
        "stop": ("scaler.cli.executions:stop", "Ask an execution to stop."),
        "logs": ("scaler.cli.executions:logs", "Print the log of an execution."),
    },
    epilog="\b\nExamples:\n  scaler execution list orders\n  scaler execution logs orders orders-br3gnpe -f\n",
)
@client_options
def execution() -> None:
    """List, show and stop executions, read their logs."""


@click.command(
    epilog="\b\nExamples:\n  scaler execution list orders --limit 5 -o json\n"
    "  scaler execution list --status failed --since 24h\n  scaler execution list orders --by cli:alice\n"
)
@client_options
@click.argument("job", required=False, shell_complete=complete_job)
@click.option("--status", multiple=True, metavar="STATUS", help="Only those; may be given several times.")
@click.option("--trigger", metavar="KIND", help="Only those started so: Event, Schedule or Manual.")
@click.option("--by", metavar="WHO", help="Only those started by this rule or caller, or by 'schedule'.")
@click.option("--reason", metavar="WORD", help="Only those that ended for this reason, such as OOMKilled.")
@click.option("--since", metavar="TIME", help="Only those created since then: 24h (ago), a day, or a time.")
@click.option("--until", metavar="TIME", help="Only those created before then.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the newest N.")
def list_executions(job: str | None, limit: int | None, status: tuple[str, ...], **asked: str | None) -> None:
    """List the executions of JOB, or of all jobs, that are kept, newest first.

    With -o json: a list of Container Apps resources.
    """
    query = {name: value for name, value in asked.items() if value}
    if status:
        query["status"] = ",".join(status)
    found = connect().executions(job, limit=limit, **query)
    if wants_json():
        render.print_json(found)
        return
    columns = ("NAME", "STATUS", "STARTED", "DURATION", "REASON")
    rows = [_row(item) for item in found]
    empty = "No execution fits." if query or job is None else f"'{job}' has no executions yet."
    render.table(columns, rows, empty=empty)


def _row(item: dict[str, Any]) -> tuple[object, ...]:
    properties = item["properties"]
    return (
        item["name"],
        properties["status"],
        render.clock_text(properties.get("startTime")),
        render.ran_for(properties),
        properties.get("reason"),
    )


@click.command(
    epilog="\b\nExamples:\n  scaler execution show orders orders-br3gnpe\n"
    "  scaler execution show orders orders-br3gnpe -o json\n"
)
@client_options
@click.argument("job", shell_complete=complete_job)
@click.argument("execution")
def show(job: str, execution: str) -> None:
    """Show EXECUTION of JOB: its outcome, what it ran, and its replicas."""
    item = connect().execution(job, execution)
    if wants_json():
        render.print_json(item)
        return
    properties = item["properties"]
    containers = (properties.get("template") or {}).get("containers") or [{}]
    words = [*(containers[0].get("command") or []), *(containers[0].get("args") or [])]
    render.pairs(
        [
            ("Name", item["name"]),
            ("Status", properties["status"]),
            ("Reason", properties.get("reason")),
            ("Message", properties.get("message")),
            ("Started", render.clock_text(properties.get("startTime"))),
            ("Ended", render.clock_text(render.ended_at(properties))),
            ("Duration", render.ran_for(properties)),
            ("Image", containers[0].get("image")),
            ("Command", " ".join(words)),
            *([("Share", properties["share"])] if "share" in properties else []),
            *([("Trigger", _trigger(properties["trigger"]))] if "trigger" in properties else []),
            *([("Fault", properties["fault"])] if "fault" in properties else []),
        ]
    )
    click.echo()
    rows = [_replica_row(replica) for replica in _replicas(properties)]
    columns = ("REPLICA", "TRY", "STATUS", "EXIT CODE", "WAITED", "RAN", "CPU", "MEMORY", "FAULT", "MORE")
    render.table(columns, rows, empty="No replica yet.")


def _trigger(trigger: dict[str, Any]) -> str:
    reading = f", which read {trigger['reading']:g}" if "reading" in trigger else ""
    return f"{trigger['kind']}, by {trigger['by']}{reading}"


def _replicas(properties: dict[str, Any]) -> list[dict[str, Any]]:
    return list((properties.get("detailedStatus") or {}).get("replicas") or [])


def _replica_row(replica: dict[str, Any]) -> tuple[object, ...]:
    container = (replica.get("containers") or [{}])[0]
    usage, times = replica.get("usage") or {}, replica.get("times") or {}
    seconds, peak = usage.get("cpuSeconds"), usage.get("peakMemoryBytes")
    return (
        replica.get("name"),
        replica.get("attempt"),
        container.get("status"),
        container.get("code"),
        render.between(times.get("created"), times.get("started")),
        render.between(times.get("started"), times.get("ended")),
        None if seconds is None else f"{seconds:.2f}s",
        None if peak is None else f"{peak / (1 << 20):.1f}Mi",
        replica.get("fault"),
        container.get("additionalInformation"),
    )


@click.command(
    epilog="\b\nExamples:\n  scaler execution stop orders orders-br3gnpe\n  scaler execution stop orders --all\n"
)
@client_options
@click.argument("job", shell_complete=complete_job)
@click.argument("execution", required=False)
@click.option("--all", "is_all", is_flag=True, help="All of the job that have not ended.")
def stop(job: str, execution: str | None, is_all: bool) -> None:
    """Ask EXECUTION of JOB to stop, or all of them; one that has ended is left as it is.

    Doesn't wait: its replicas get the time that the daemon grants for ending. An event job goes on with what its
    queue holds: 'scaler job suspend' first keeps it from that.
    """
    if (execution is None) != is_all:
        raise click.UsageError("name an execution, or give --all")
    items = [connect().stop(job, execution)] if execution is not None else connect().stop_all(job)
    if wants_json():
        render.print_json(items if is_all else items[0])
        return
    for item in items:
        status = item["properties"]["status"]
        is_over = status in ("Succeeded", "Failed", "Stopped", "Unknown")
        click.echo(f"{item['name']}: {f'already {status}' if is_over else 'stop requested'}")
    if not items:
        click.echo("Nothing runs.")


@click.command(
    epilog="\b\nExamples:\n  scaler execution logs orders orders-br3gnpe --tail 20\n"
    "  scaler execution logs orders orders-br3gnpe --follow\n"
    "  scaler execution logs orders orders-br3gnpe --search 'time(out|d out)' --regex\n"
)
@client_options
@click.argument("job", shell_complete=complete_job)
@click.argument("execution")
@click.option("-f", "--follow", is_flag=True, help="Go on until the execution ends.")
@click.option(
    "--tail", type=click.IntRange(min=0), metavar="N", help="Begin with the last N lines of a replica."
)
@click.option("--replica", metavar="NAME", help="Only the log of this replica.")
@search_options
def logs(
    job: str, execution: str, follow: bool, tail: int | None, replica: str | None, search: dict[str, str]
) -> None:
    """Print the log of EXECUTION of JOB, one replica after the other, or the lines that are searched for.

    Lines such as '[scaler: 4096 bytes of this log were cut]' tell what is missing.
    """
    query = search | ({"replica": replica} if replica else {})
    print_pieces(connect().logs(job, execution, tail=tail, follow=follow, **query))
