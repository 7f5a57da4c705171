"""Commands that read job files: `run` and `validate`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from scaler.cli import render
from scaler.cli.options import given_state_dir, output_option, state_dir_option, wants_json

PATHS = click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(path_type=Path))
SETTINGS = click.option(
    "--settings",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The daemon's settings file.",
)


@click.command(
    epilog="\b\nExamples:\n  scaler run jobs/\n  scaler run jobs/ --settings scaler.yaml --state-dir /var/lib/scaler\n"
)
@state_dir_option
@PATHS
@SETTINGS
@click.option(
    "--record",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Record what each decision is made on, for `scaler simulate --trace FILE`.",
)
@click.option(
    "--standby", is_flag=True, help="Wait while another daemon is on the state directory, then take over."
)
@click.option(
    "--drain/--no-drain",
    default=None,
    help="When told to stop, wait for what runs first.  [default: as the settings say, else no]",
)
@click.pass_context
def run(
    ctx: click.Context,
    paths: tuple[Path, ...],
    settings: Path | None,
    record: Path | None,
    standby: bool,
    drain: bool | None,
) -> None:
    """Run the daemon on the job files (or folders of job files) at PATH until it is told to stop.

    Changes of the files are taken over while it runs. It logs to standard error. TERM, Ctrl-C or the end of
    its terminal (HUP) ends it; executions that run then go on, and the next daemon on the same state directory
    takes them over. With --drain it starts nothing more and waits for them first; a second signal ends it at once.

    One daemon works on a state directory. A second one ends with exit code 4 and says which works; with --standby
    it waits, and takes over within a second when the first one ends, however that ends.
    """
    import asyncio

    from scaler.daemon import DaemonOptions
    from scaler.daemon import run as run_daemon

    options = DaemonOptions(
        paths=paths,
        settings=settings,
        state_dir=given_state_dir(),
        record=record,
        standby=standby,
        drain=drain,
    )
    ctx.exit(asyncio.run(run_daemon(options)))


@click.command(
    epilog="\b\nExamples:\n  scaler validate jobs/\n  scaler validate jobs/orders.yaml --settings scaler.yaml -o json\n"
)
@output_option
@PATHS
@SETTINGS
@click.pass_context
def validate(ctx: click.Context, paths: tuple[Path, ...], settings: Path | None) -> None:
    """Check the job files at PATH and list every fault, one a line on standard error.

    Exit code 2 if there is any. Nothing is polled, nothing is started. With --settings, what the settings
    say of the executors is checked too. With -o json: a list of the faults on standard output.
    """
    from scaler.config.load import load_paths
    from scaler.config.settings import load_settings

    executors = load_settings(settings, env=os.environ).executors if settings else {}
    result = load_paths(paths, env=os.environ, executor_settings=executors)
    if wants_json():
        names = ("line", "column", "where", "message")
        render.print_json(
            [{"path": f.file} | {name: getattr(f, name) for name in names} for f in result.faults]
        )
    else:
        for fault in result.faults:
            click.echo(str(fault), err=True)
    for warning in result.warnings:
        click.echo(f"warning: {warning}", err=True)
    if not wants_json():
        click.echo(_summary(len(result.jobs), len(result.faults)), err=bool(result.faults))
    ctx.exit(2 if result.faults else 0)


def _summary(jobs: int, faults: int) -> str:
    good = f"{jobs} {'job' if jobs == 1 else 'jobs'} without a fault"
    return f"{faults} {'fault' if faults == 1 else 'faults'}, {good}"
