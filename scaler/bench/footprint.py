"""Bench `footprint`: what the daemon takes while it does nothing, and how long it takes to be there."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from scaler.bench.report import Figure, figure, ratios
from scaler.bench.stage import Options, Stage
from scaler.errors import ConfigError
from scaler.plugins import SCALERS
from scaler.rig.daemon import Daemon, Plan, cpu_s, process_container, rss_bytes, spool_job
from scaler.rig.spool import Spool

JOBS: Final = 1000
SETTLE_S: Final = 4.0
WATCHED_S: Final = 30.0
RULES: Final[Mapping[str, tuple[Mapping[str, str], tuple[str, str] | None]]] = {
    "azure-queue": (
        {"queueName": "work"},
        (
            "connection",
            "AccountName=nobody;AccountKey=a2V5;QueueEndpoint=http://127.0.0.1:9/nobody",
        ),
    ),
    "azure-servicebus": (
        {"queueName": "work"},
        ("connection", "Endpoint=sb://127.0.0.1:9;SharedAccessKeyName=nobody;SharedAccessKey=a2V5"),
    ),
    "kafka": ({"bootstrapServers": "127.0.0.1:9", "consumerGroup": "work", "topic": "work"}, None),
    "rabbitmq": (
        {"queueName": "work", "mode": "QueueLength", "value": "1"},
        ("host", "amqp://nobody:nothing@127.0.0.1:9/"),
    ),
}
"""Kinds with an SDK: metadata, and the parameter that is a secret."""

_MIB: Final = 1 << 20
_LIBRARIES: Final = (
    "asyncio, sqlite3, aiohttp.web, aiosqlite, click, cronsim, pydantic, ruamel.yaml, structlog"
)
BARE: Final = (sys.executable, "-c", f"import {_LIBRARIES}")
"""The interpreter with what the daemon is made of, and nothing to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """A daemon that does nothing: seconds until it was ready, memory in bytes, processor seconds a minute."""

    ready_s: float
    memory: int
    cpu_s: float


def run(stage: Stage) -> Sequence[Figure]:
    """Measure; needs nothing."""
    options, jobs = stage.options, stage.options.size(JOBS)
    bare: list[float] = []
    one: list[Idle] = []
    many: list[Idle] = []
    used: dict[str, list[float]] = {}
    for number in range(options.repeat):
        bare.append(seconds_of(BARE))
        folder = stage.room(f"run-{number}")
        one.append(_spools(stage, folder / "one", 1))
        many.append(_spools(stage, folder / "many", jobs))
        for label, kinds in _kinds(options).items():
            idle = _idle(stage, folder / label, [rule_job(kind) for kind in kinds])
            used.setdefault(label, []).append(idle.memory / _MIB)
        options.say(
            f"footprint {number + 1}/{options.repeat}: {one[-1].memory / _MIB:.1f} MiB, "
            f"ready in {one[-1].ready_s:.2f} s"
        )
    return _figures(one, many, bare, used, jobs)


def _figures(
    one: Sequence[Idle],
    many: Sequence[Idle],
    bare: Sequence[float],
    used: Mapping[str, Sequence[float]],
    jobs: int,
) -> Sequence[Figure]:
    ready = [idle.ready_s for idle in one]
    each = [(m.memory - o.memory) / (jobs - 1) / 1024 for m, o in zip(many, one, strict=True)]
    python, minute = Path(sys.executable).name, "user and system time, polled every 30 s"
    return [
        figure("idle memory", [i.memory / _MIB for i in one], "MiB", f"resident, one job; {_installed()}", goal=80),
        figure("memory a job", each, "KiB", f"{jobs} jobs polled every 30 s, less that of one", goal=64),
        figure("ready to bare", ratios(ready, bare), "x", "until the API answers / python -c 'import ...'", goal=3),
        figure("ready", ready, "s", "from starting the process to the first answer that knows the job"),
        figure("bare", bare, "s", f"{python} -c 'import {_LIBRARIES}'"),
        figure("idle CPU", [i.cpu_s for i in one], "s/min", f"one job; {minute}"),
        figure(f"idle CPU, {jobs} jobs", [i.cpu_s for i in many], "s/min", minute),
        *(
            figure(f"memory, {label}", memory, "MiB", "resident, a rule whose source does not answer")
            for label, memory in used.items()
        ),
    ]  # fmt: skip


def seconds_of(command: Sequence[str]) -> float:
    """Run a command to its end."""
    began = time.perf_counter()
    subprocess.run(command, check=True, timeout=60, env=os.environ)  # noqa: S603 - our own words
    return time.perf_counter() - began


# --- jobs -------------------------------------------------------------------------------------------------


def rule_job(kind: str) -> dict[str, Any]:
    """Make a job of one rule whose source does not answer: nobody listens where it points. Pure."""
    metadata, secret = RULES[kind]
    configuration: dict[str, Any] = {"triggerType": "Event", "replicaTimeout": 60}
    rule: dict[str, Any] = {"name": "work", "type": kind, "metadata": metadata}
    if secret is not None:
        parameter, value = secret
        rule["auth"] = [{"secretRef": "address", "triggerParameter": parameter}]
        configuration["secrets"] = [{"name": "address", "value": value}]
    configuration["eventTriggerConfig"] = {"scale": {"pollingInterval": 30, "rules": [rule]}}
    return {
        "name": kind,
        "configuration": configuration,
        "template": {"containers": [{"name": "worker", "command": ["true"]}]},
        "x-scaler": {"executor": "process"},
    }


def _kinds(options: Options) -> Mapping[str, Sequence[str]]:
    """Give the kinds that are installed, each alone and all together; if it is to be quick, only all together."""
    kinds = [kind for kind in RULES if _has(kind)]
    alone = {} if options.quick else {kind: [kind] for kind in kinds}
    return {**alone, "all of these" if alone else "with " + ", ".join(kinds): kinds} if kinds else {}


def _has(kind: str) -> bool:
    try:
        SCALERS.load(kind)
    except ConfigError:
        return False
    return True


def _installed() -> str:
    kinds = [kind for kind in RULES if _has(kind)]
    return f"not used, but installed: {', '.join(kinds) or 'no extra'}"


def _spools(stage: Stage, folder: Path, jobs: int) -> Idle:
    spool = Spool(folder / "spool")
    container, extension = process_container(spool.folder)
    scale = {"pollingInterval": 30, "maxExecutions": 1}
    made = [
        spool_job(f"job-{n}", spool.folder, scale=scale, container=container, extension=extension)
        for n in range(jobs)
    ]
    return _idle(stage, folder / "daemon", made)


def _idle(stage: Stage, folder: Path, jobs: Sequence[Mapping[str, Any]]) -> Idle:
    """Start a daemon with these jobs and look at it after a rest."""
    daemon = Daemon(Plan(folder=folder), stage.connect)
    daemon.write(*jobs)
    began = time.perf_counter()
    with daemon.running():
        took = time.perf_counter() - began
        time.sleep(SETTLE_S / (2 if stage.options.quick else 1))
        used, seconds = cpu_s(daemon.pid), WATCHED_S / (10 if stage.options.quick else 1)
        time.sleep(seconds)
        return Idle(
            ready_s=took,
            memory=rss_bytes(daemon.pid),
            cpu_s=(cpu_s(daemon.pid) - used) * 60 / seconds,
        )
