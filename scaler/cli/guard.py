"""The command `guard`: a socket for the daemon before that of the Docker engine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from scaler.docker_address import find_address
from scaler.errors import ConfigError, ExecutorUnavailable

if TYPE_CHECKING:
    from scaler.guard.grants import MountGrant

_READ_ONLY = ":ro"
_CHECK_S = 10.0


def _mode(_ctx: click.Context, _param: click.Parameter, value: str) -> int:
    try:
        mode = int(value, 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o777:
        raise click.BadParameter(f"'{value}' is no mode of a file; give one such as 660")
    return mode


def _mount(text: str) -> MountGrant:
    from scaler.guard.grants import MountGrant
    from scaler.guard.proxy import follow_links

    path = text.removesuffix(_READ_ONLY)
    if not path.startswith("/"):
        raise ConfigError(
            f"--allow-mount: got '{text}'; give an absolute path, with :ro behind it if you like"
        )
    real = follow_links(path)
    if real is None:
        raise ConfigError(
            f"--allow-mount: {path} cannot be seen from here; make it, or give the guard's container that folder "
            "at the same path"
        )
    return MountGrant(path=real, read_only=text.endswith(_READ_ONLY))


def _ask(listen: Path) -> None:
    """Ask a guard for a sign of life of the engine.

    Raises:
        ExecutorUnavailable: none came.
    """
    import http.client

    from scaler.cli.client import UnixConnection

    connection = UnixConnection(listen, connect_s=_CHECK_S, answer_s=_CHECK_S)
    try:
        connection.request("GET", "/_ping")
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as exc:
        raise ExecutorUnavailable(f"{listen}: no guard answers: {exc}") from exc
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise ExecutorUnavailable(f"{listen}: {text}")
    click.echo("the engine answers")


@click.command(
    epilog="\b\nExamples:\n"
    "  scaler guard --listen /run/guard/guard.sock\n"
    "  scaler guard --listen /run/guard/guard.sock --allow-network orders --allow-mount /srv/data:ro\n"
    "  DOCKER_HOST=unix:///run/guard/guard.sock scaler run jobs/\n"
)
@click.option(
    "--docker-host",
    metavar="ADDRESS",
    help="The engine.  [default: as `docker` chooses: DOCKER_HOST, context]",
)
@click.option(
    "--listen",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    metavar="SOCKET",
    help="The unix socket to make; the daemon gets it in place of the engine's.",
)
@click.option(
    "--mode",
    callback=_mode,
    default="660",
    show_default=True,
    metavar="OCTAL",
    help="Who may use that socket, as the mode of a file.",
)
@click.option(
    "--allow-mount",
    "mounts",
    multiple=True,
    metavar="PATH[:ro]",
    help="A host folder that containers may mount, with all below it; repeatable.",
)
@click.option(
    "--allow-network",
    "networks",
    multiple=True,
    metavar="NAME",
    help="A network that containers may join besides the default bridge; repeatable.",
)
@click.option(
    "--allow-volume",
    "volumes",
    multiple=True,
    metavar="NAME",
    help="A named volume that containers may mount, with * and ? for any text; repeatable.",
)
@click.option(
    "--check", is_flag=True, help="Ask the guard that listens there whether the engine answers; 1 if not."
)
@click.option(
    "--instance", metavar="ID", help="Let only this daemon's containers be touched.  [default: any daemon's]"
)
def guard(
    docker_host: str | None,
    listen: Path,
    mode: int,
    mounts: tuple[str, ...],
    networks: tuple[str, ...],
    volumes: tuple[str, ...],
    check: bool,
    instance: str | None,
) -> None:
    """Stand between a daemon and the Docker engine.

    Lets through the calls that the docker executor makes, for containers that bear a daemon's label, and checks
    what a new container may have: nothing privileged, no namespace or device of the host, no added capability, no
    folder that is not granted. Everything else is refused with a reason. Logs to standard error; TERM ends it.
    """
    if check:
        _ask(listen)
        return
    import asyncio

    from scaler.guard.grants import Grants
    from scaler.guard.serve import GuardOptions, engine_socket, run_guard
    from scaler.observability.logs import configure_logs

    engine = find_address(docker_host, os.environ).url
    sockets = {engine_socket(engine), "/run/docker.sock", "/var/run/docker.sock", os.path.realpath(listen)}
    grants = Grants(
        mounts=tuple(_mount(text) for text in mounts),
        networks=frozenset(networks),
        volumes=volumes,
        instance=instance,
        engine_paths=tuple(sorted(path for path in sockets if path)),
    )
    configure_logs(level="info", form="console")
    asyncio.run(run_guard(GuardOptions(engine=engine, listen=listen, mode=mode, grants=grants)))
