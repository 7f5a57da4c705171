"""Checks what the daemon needs on this machine, and says of each thing whether it is there.

Asks the container engine by plain HTTP, so that the check works without any SDK installed.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scaler.cli import render
from scaler.cli.options import client_options, connect, state_dir, wants_json
from scaler.docker_address import find_address
from scaler.errors import ConfigError, DaemonUnreachable, ScalerError, StoreError

if TYPE_CHECKING:
    import http.client

PYTHON_MIN = (3, 11)
ENGINE_S = 3.0
"""How long the container engine may take to answer a ping."""
PROMISES_S = 90.0
"""How long the daemon may take to compare: an executor that hangs is given up after 15 s, perhaps twice."""
PROMISES_SHOWN = 10

CORE = ("aiohttp", "aiosqlite", "click", "cronsim", "pydantic", "ruamel.yaml", "structlog")
EXTRAS = {
    "azure-queue": "azure.storage.queue",
    "azure-servicebus": "azure.servicebus",
    "azure-identity": "azure.identity",
    "kafka": "aiokafka",
    "rabbitmq": "aio_pika",
    "docker": "aiodocker",
    "external": "grpc",
    "github-runner": "jwt",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line of the report. `state` is `ok`, `absent` (and not needed) or `broken`."""

    name: str
    state: str
    message: str


def _importable(module: str) -> bool:
    import importlib.util

    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def check_python() -> Check:
    """Check the interpreter's version."""
    version = ".".join(map(str, sys.version_info[:3]))
    good = sys.version_info[:2] >= PYTHON_MIN
    wanted = ".".join(map(str, PYTHON_MIN))
    text = version if good else f"{version} is too old; install Python {wanted} or newer"
    return Check(name="python", state="ok" if good else "broken", message=text)


def check_packages() -> Check:
    """Check the packages that are always needed."""
    missing = [name for name in CORE if not _importable(name)]
    if missing:
        text = f"missing: {', '.join(missing)}; run: pip install --force-reinstall queue-scaler"
        return Check(name="packages", state="broken", message=text)
    return Check(name="packages", state="ok", message=f"all {len(CORE)} are installed")


def check_extras() -> Iterator[Check]:
    """Check the SDKs, none of which is needed unless a job uses it."""
    for extra, module in EXTRAS.items():
        there = _importable(module)
        text = "installed" if there else f"not installed; run: pip install 'queue-scaler[{extra}]'"
        yield Check(name=f"extra {extra}", state="ok" if there else "absent", message=text)


def _engine() -> tuple[str, http.client.HTTPConnection]:
    """Give the engine's address and a connection to it.

    Raises:
        ConfigError: what names the address is wrong.
        ValueError: it is reached by TLS.
    """
    import http.client
    from urllib.parse import urlsplit

    from scaler.cli.client import UnixConnection

    address = find_address(None, os.environ).url
    parts = urlsplit(address)
    if parts.scheme == "unix":
        return address, UnixConnection(Path(parts.path), connect_s=ENGINE_S, answer_s=ENGINE_S)
    if parts.scheme != "https" and parts.hostname and not os.environ.get("DOCKER_TLS_VERIFY"):
        return address, http.client.HTTPConnection(parts.hostname, parts.port or 2375, timeout=ENGINE_S)
    raise ValueError(f"{address}: an engine behind TLS cannot be checked from here")


def check_engine(*, needed: bool) -> Check:
    """Check that the container engine answers a ping."""
    import http.client

    bad = "broken" if needed else "absent"
    try:
        address, connection = _engine()
    except ConfigError as exc:
        return Check(name="docker engine", state=bad, message=str(exc))
    except ValueError as exc:
        return Check(name="docker engine", state="absent", message=str(exc))
    try:
        connection.request("GET", "/_ping")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as exc:
        hint = "start it, or set DOCKER_HOST" + ("" if needed else " (not needed by the daemon that runs)")
        text = f"{address}: {getattr(exc, 'strerror', None) or type(exc).__name__}; {hint}"
        return Check(name="docker engine", state=bad, message=text)
    finally:
        connection.close()
    if status != 200:
        return Check(name="docker engine", state=bad, message=f"{address} answered with status {status}")
    return Check(name="docker engine", state="ok", message=f"answers at {address}")


def check_state_dir(place: Path) -> Check:
    """Check that the state directory can be written, or made."""
    folder = place.absolute()
    made = folder.is_dir()
    while not folder.exists():
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            text = str(place) if made else f"{place} will be made"
            return Check(name="state directory", state="ok", message=text)
    except OSError as exc:
        text = f"{folder}: {exc.strerror}; give another --state-dir"
        return Check(name="state directory", state="broken", message=text)


def check_records(place: Path) -> Check:
    """Check the records as `scaler run` would, where no daemon has them open."""
    from scaler.cli.records import FILE, look_at_records

    name = "records"
    try:
        is_whole = look_at_records(place)
    except StoreError as exc:
        return Check(name=name, state="broken", message=str(exc))
    if not (place / FILE).exists():
        return Check(name=name, state="absent", message="none yet; the daemon makes them")
    text = (
        "sound" if is_whole else "sound as far as they were looked at in the time; 'scaler run' looks at all"
    )
    return Check(name=name, state="ok", message=f"{place / FILE}: {text}")


def _record_checks(health: dict[str, Any] | None, *, running: bool) -> Iterator[Check]:
    """Check the records, by the daemon that runs, or else their file; not for a health check."""
    if running:
        return
    if health is not None:
        yield check_promises()
    elif check_packages().state == "ok":
        yield check_records(state_dir())


def check_daemon(*, needed: bool = False) -> tuple[Check, dict[str, Any] | None]:
    """Check whether a daemon answers, and how it is; gives its health, if it told it."""
    try:
        health: dict[str, Any] = connect().health()
    except DaemonUnreachable as exc:
        return Check(name="daemon", state="broken" if needed else "absent", message=str(exc)), None
    except ScalerError as exc:
        return Check(name="daemon", state="broken", message=str(exc)), None
    sick = [f"executor {e['name']}: {e['message']}" for e in health["executors"] if not e["ok"]]
    faults = [*sick, *health["fileFaults"]]
    text = f"version {health['version']}, up {health['uptimeSeconds']:.0f} s" + "".join(
        f"; {f}" for f in faults
    )
    text += _usage_text(health.get("usage") or {})
    return Check(name="daemon", state="ok" if health["ok"] else "broken", message=text), health


def _usage_text(usage: dict[str, Any]) -> str:
    """Say how much is taken of the limits that all jobs share, where there are any."""
    parts = [
        f"{usage[key]['used'] / unit:g} of {usage[key]['limit'] / unit:g} {noun}"
        for key, unit, noun in (
            ("executions", 1, "executions"),
            ("cpu", 1, "cores"),
            ("memoryBytes", 1 << 30, "Gi"),
        )
        if usage.get(key, {}).get("limit") is not None
    ]
    if usage.get("waiting"):
        parts.append(f"waiting for room: {', '.join(usage['waiting'])}")
    return f"; taken: {', '.join(parts)}" if parts else ""


def check_promises() -> Check:
    """Have the daemon compare its records with what executors hold."""
    from scaler.cli.client import RequestFailed

    name = "records"
    try:
        found: dict[str, Any] = connect(answer_s=PROMISES_S).inspection()
    except ScalerError as exc:
        is_old = isinstance(exc, RequestFailed) and exc.status == 404
        text = "the daemon is of a release that cannot compare them" if is_old else str(exc)
        return Check(name=name, state="absent" if is_old else "broken", message=text)
    broken = [f"{one['promise']} {one['subject']}: {one['message']}" for one in found["violations"]]
    text = f"{found['executions']} executions and {found['decisions']} decisions looked at"
    if found["silentExecutors"]:
        text += f"; not compared with {', '.join(found['silentExecutors'])}, which gives no answer"
    hint = "this is a fault of scaler, please report it with the daemon's log"
    return Check(
        name=name,
        state="broken" if broken else "ok",
        message="; ".join([*broken[:PROMISES_SHOWN], hint]) if broken else f"{text}; all is as it should be",
    )


def _needs_engine(health: dict[str, Any] | None) -> bool:
    """Docker is the default executor; a daemon that runs without it shows that it is not needed here."""
    return (
        health is None
        or any(entry["name"] == "docker" for entry in health["executors"])
        or any(fault.startswith("executor docker:") for fault in health["fileFaults"])
    )


@click.command(
    epilog="\b\nExamples:\n  scaler doctor\n"
    "  scaler doctor --state-dir /var/lib/scaler -o json\n  scaler doctor --running\n"
)
@client_options
@click.option(
    "--running",
    is_flag=True,
    help="A health check: a daemon that doesn't answer is broken; no records are compared.",
)
@click.pass_context
def doctor(ctx: click.Context, running: bool) -> None:
    """Check what the daemon needs on this machine.

    Looks at Python, packages and extras, the Docker engine (found as `docker` finds it), the state
    directory, the records in it and the daemon. A daemon that runs compares its records with what its executors
    hold, and tells what doesn't fit. Exit code 1 if something needed is broken; a daemon that doesn't run is not,
    unless with --running.
    """
    daemon, health = check_daemon(needed=running)
    checks = [
        check_python(),
        check_packages(),
        *check_extras(),
        check_engine(needed=_needs_engine(health)),
        check_state_dir(state_dir()),
        *_record_checks(health, running=running),
        daemon,
    ]
    if wants_json():
        render.print_json([{"name": c.name, "state": c.state, "message": c.message} for c in checks])
    else:
        render.table(("CHECK", "STATE", "MESSAGE"), [(c.name, c.state, c.message) for c in checks])
    ctx.exit(1 if any(check.state == "broken" for check in checks) else 0)
