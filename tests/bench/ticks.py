"""Bench `ticks`: a thousand event jobs polled each second on one broker, beside a bare loop that only asks.

The bare loop is another process with one connection and as many channels as the product uses; it sends the same
questions on the same cadence and does nothing with the answers.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scaler.bench.report import Figure, figure, ratios
from scaler.bench.stage import Options
from scaler.cli.client import Client
from scaler.rig.daemon import Daemon, Plan, cpu_s
from tests.infra.choose import Broken
from tests.infra.paths import REPOSITORY
from tests.infra.rabbitmq import RabbitMQ, start_rabbitmq

JOBS = 1000
INTERVAL_S = 1
SECONDS = 15.0
WARM_UP_S = 4.0
LOAD_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Polling:
    """What one side did: CPU seconds a poll, polls a second and jobs, lateness of ticks in seconds."""

    cpu_s: float
    share: float
    late_p50_s: float
    late_p99_s: float
    ticks: int = 0


async def run(options: Options) -> Sequence[Figure]:
    """Measure; needs a broker."""
    broker = start_rabbitmq()
    jobs = options.size(JOBS)
    queues = [f"bench-{uuid.uuid4().hex[:8]}-{number}" for number in range(jobs)]
    jobs_of = [
        event_job(f"bench-{number}", _rule(queue), url=broker.amqp_url) for number, queue in enumerate(queues)
    ]
    ours: list[Polling] = []
    bare: list[Polling] = []
    try:
        await broker.declare(*queues)
        for number in range(options.repeat):
            bare.append(await _bare(broker, queues))
            ours.append(await polled_by_daemon(jobs_of))
            options.say(
                f"ticks {number + 1}/{options.repeat}: ours {ours[-1].cpu_s * 1e3:.2f} ms a poll, "
                f"bare {bare[-1].cpu_s * 1e3:.2f} ms"
            )
        await broker.delete(*queues)
    finally:
        broker.close()
    how = f"{jobs} jobs, one queue each, polled every {INTERVAL_S} s by AMQP, {SECONDS:g} s after {WARM_UP_S:g} s"
    return [
        figure(
            "CPU per poll to bare", ratios([o.cpu_s for o in ours], [b.cpu_s for b in bare]), "x",
            f"user and system time of the process / polls made; {how}",
        ),
        figure("CPU per poll", [o.cpu_s * 1e3 for o in ours], "ms", "the daemon: poll, decide, record"),
        figure("CPU per poll, bare", [b.cpu_s * 1e3 for b in bare], "ms", "aio-pika, passive declares only"),
        figure(
            "lateness p99 to bare", ratios([o.late_p99_s for o in ours], [b.late_p99_s for b in bare]), "x",
            "from when a tick is due to when it is served; the daemon's own figure",
        ),
        figure("lateness p50", [o.late_p50_s * 1e3 for o in ours], "ms", "the daemon"),
        figure("lateness p99", [o.late_p99_s * 1e3 for o in ours], "ms", "the daemon; its latest 10,000 ticks"),
        figure("lateness p99, bare", [b.late_p99_s * 1e3 for b in bare], "ms", "the bare loop, all ticks"),
        figure("ticks served", [o.share * 100 for o in ours], "%", "of those that were due; the rest was skipped"),
        figure("ticks served, bare", [b.share * 100 for b in bare], "%", "the bare loop"),
    ]  # fmt: skip


# --- the daemon -------------------------------------------------------------------------------------------


async def polled_by_daemon(
    jobs: Sequence[dict[str, Any]], *, start: Callable[[], None] = lambda: None, profile: Path | None = None
) -> Polling:
    """Run the daemon with these jobs and measure it; `start` is called when measuring begins."""
    with tempfile.TemporaryDirectory(prefix="scaler-bench-") as folder:
        daemon = Daemon(Plan(folder=Path(folder), profile=profile), Client)
        daemon.write_together("jobs", jobs)
        daemon.start()
        try:
            await asyncio.to_thread(daemon.loaded, len(jobs), LOAD_S)
            await asyncio.sleep(WARM_UP_S)
            before, cpu = await asyncio.to_thread(daemon.api.health), cpu_s(daemon.pid)
            start()
            await asyncio.sleep(SECONDS)
            after, cpu_after = await asyncio.to_thread(daemon.api.health), cpu_s(daemon.pid)
        finally:
            await asyncio.to_thread(daemon.stop)
    ticks = after["ticks"] - before["ticks"]
    seconds = after["uptimeSeconds"] - before["uptimeSeconds"]
    if ticks < 1:
        raise Broken("the daemon served no tick")
    late = after["latenessSeconds"]
    return Polling(
        cpu_s=(cpu_after - cpu) / ticks,
        ticks=ticks,
        share=ticks * INTERVAL_S / len(jobs) / seconds,
        late_p50_s=late["p50"],
        late_p99_s=late["p99"],
    )


def _rule(queue: str) -> dict[str, Any]:
    return {
        "name": "work",
        "type": "rabbitmq",
        "metadata": {"queueName": queue, "mode": "QueueLength", "value": "1"},
        "auth": [{"secretRef": "url", "triggerParameter": "host"}],
    }


def event_job(name: str, rule: dict[str, Any], *, url: str) -> dict[str, Any]:
    """Make a job of one rule, with an address as its secret."""
    return {
        "name": name,
        "configuration": {
            "triggerType": "Event",
            "replicaTimeout": 60,
            "eventTriggerConfig": {"scale": {"pollingInterval": INTERVAL_S, "rules": [rule]}},
            "secrets": [{"name": "url", "value": url}],
        },
        "template": {"containers": [{"name": "worker", "command": ["true"]}]},
        "x-scaler": {"executor": "process"},
    }


# --- the bare loop ----------------------------------------------------------------------------------------


async def _bare(broker: RabbitMQ, queues: Sequence[str]) -> Polling:
    """Run the bare loop in a process of its own and take its answer."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.bare_ticks", cwd=REPOSITORY,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    asked = {
        "url": broker.amqp_url,
        "queues": list(queues),
        "interval_s": INTERVAL_S,
        "warm_up_s": WARM_UP_S,
        "seconds": SECONDS,
    }
    out, _ = await process.communicate(json.dumps(asked).encode())
    if process.returncode != 0:
        raise Broken(f"the bare loop ended with code {process.returncode}")
    return Polling(**json.loads(out))
