"""Bench `drain`: a full queue, workers of one second, six at a time: how long until all is done and recorded?"""

from __future__ import annotations

import math
import tempfile
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from scaler.bench.report import Figure, figure, ratios
from scaler.bench.stage import Options
from tests.bench.containers import CPU, Workload, run_raw, run_xargs
from tests.bench.daemon import Daemon, make_daemon
from tests.infra.choose import Broken
from tests.infra.engine import docker_engine
from tests.infra.images import worker_image
from tests.infra.rabbitmq import RabbitMQ, start_rabbitmq
from tests.infra.results import collect, drain_rabbitmq

WORK_S = 1.0
AT_ONCE = 6
INTERVAL_S = 30


@dataclass(slots=True, kw_only=True)
class _Runs:
    """What each repetition measured, seconds."""

    ours: list[float] = field(default_factory=list)
    xargs: list[float] = field(default_factory=list)
    raw: list[float] = field(default_factory=list)
    ideal: list[float] = field(default_factory=list)
    executions: list[float] = field(default_factory=list)


async def run(options: Options) -> Sequence[Figure]:
    """Measure; needs an engine and a broker."""
    engine = docker_engine()
    image = worker_image(engine)
    broker = start_rabbitmq()
    total = options.size(60, least=2 * AT_ONCE)
    runs = _Runs()
    try:
        for number in range(options.repeat):
            with tempfile.TemporaryDirectory(prefix="scaler-bench-") as folder:
                await _repetition(_Stage(broker, image, Path(folder), total), runs)
            options.say(
                f"drain {number + 1}/{options.repeat}: ours {runs.ours[-1]:.2f} s, "
                f"xargs {runs.xargs[-1]:.2f} s, ideal {runs.ideal[-1]:.2f} s"
            )
    finally:
        broker.close()
    return _figures(runs, total)


class _Stage:
    """One repetition's queue and the three ways to drain it."""

    def __init__(self, broker: RabbitMQ, image: str, folder: Path, total: int) -> None:
        name = f"bench-{uuid.uuid4().hex[:8]}"
        self.total = total
        self._broker = broker
        self._folder = folder
        self._queue, self._results = name, f"{name}-results"
        env = {
            "AMQP_URL": broker.amqp_url,
            "QUEUE": self._queue,
            "RESULT_QUEUE": self._results,
            "WORK": str(WORK_S),
            "WAIT": "2",
        }
        self.workload = Workload(image=image, env=env, network="host")

    async def open(self) -> None:
        await self._broker.declare(self._queue, self._results)

    async def close(self) -> None:
        await self._broker.delete(self._queue, self._results)

    async def fill(self, count: int) -> None:
        await self._broker.publish(self._queue, [f"message-{number}" for number in range(count)])

    async def check(self, count: int, *, strays: bool = False) -> int:
        """Give the number of workers that found nothing; each message must have been done exactly once."""
        drain = partial(drain_rabbitmq, self._broker.amqp_url, self._results)
        results = await collect(drain, reports=count, timeout_s=10)
        wanted = Counter(f"message-{number}" for number in range(count))
        if results.consumed != wanted or (results.empty and not strays):
            raise Broken(f"{count} messages, but done were {dict(results.consumed)}, empty {results.empty}")
        return results.empty

    async def raw(self) -> list[float]:
        """Measure what a container costs beyond its work when `AT_ONCE` begin together."""
        await self.fill(AT_ONCE)
        lives = await run_raw(self.workload, total=AT_ONCE, at_once=AT_ONCE)
        await self.check(AT_ONCE)
        return [life.ended_s - WORK_S for life in lives]

    async def xargs(self) -> float:
        await self.fill(self.total)
        took = await run_xargs(self.workload, total=self.total, at_once=AT_ONCE, folder=self._folder)
        await self.check(self.total)
        return took

    async def ours(self, runs: _Runs) -> None:
        """Drain with a real daemon: from its first sight of the job to the last execution recorded."""
        await self.fill(self.total)
        daemon = make_daemon(self._folder / "daemon", self._job())
        async with daemon.running():
            await daemon.until(
                lambda lines: _ended(lines) >= self.total, timeout_s=240, what=f"{self.total} executions"
            )
        empty = await self.check(self.total, strays=True)
        runs.ours.append(daemon.times("execution.ended")[self.total - 1 + empty] - _first_poll(daemon))
        runs.executions.append(float(_ended(daemon.lines())))

    def _job(self) -> dict[str, Any]:
        rule = {
            "name": "work",
            "type": "rabbitmq",
            "metadata": {"queueName": self._queue, "mode": "QueueLength", "value": "1"},
            "auth": [{"secretRef": "url", "triggerParameter": "host"}],
        }
        scale = {"pollingInterval": INTERVAL_S, "maxExecutions": AT_ONCE, "rules": [rule]}
        env = [{"name": name, "value": value} for name, value in self.workload.env.items()]
        container = {
            "name": "worker",
            "image": self.workload.image,
            "env": env,
            "resources": {"cpu": CPU, "memory": "256Mi"},
        }
        return {
            "name": "bench",
            "configuration": {
                "triggerType": "Event",
                "replicaTimeout": 60,
                "replicaRetryLimit": 0,
                "eventTriggerConfig": {"scale": scale},
                "secrets": [{"name": "url", "value": self._broker.amqp_url}],
            },
            "template": {"containers": [container]},
            "x-scaler": {"executor": "docker", "docker": {"network": "host"}},
        }


async def _repetition(stage: _Stage, runs: _Runs) -> None:
    await stage.open()
    try:
        raw = await stage.raw()
        runs.xargs.append(await stage.xargs())
        raw += await stage.raw()
        await stage.ours(runs)
        raw += await stage.raw()
    finally:
        await stage.close()
    runs.raw.append(median(raw))
    runs.ideal.append(_rounds(stage.total) * (WORK_S + runs.raw[-1]))


def _rounds(total: int) -> int:
    return math.ceil(total / AT_ONCE)


def _ended(lines: Sequence[dict[str, Any]]) -> int:
    return sum(line["event"] == "execution.ended" for line in lines)


def _first_poll(daemon: Daemon) -> float:
    """The job is polled in the moment in which it is added."""
    return daemon.times("job.added")[0]


def _figures(runs: _Runs, total: int) -> list[Figure]:
    strict = [(_rounds(total) - 1) * INTERVAL_S + WORK_S + raw for raw in runs.raw]
    size = f"{total} messages of {WORK_S:g} s, {AT_ONCE} at a time, AMQP, pollingInterval {INTERVAL_S}"
    return [
        figure("to ideal", ratios(runs.ours, runs.ideal), "x", f"drain / ideal; {size}", goal=1.2),
        figure("to xargs", ratios(runs.ours, runs.xargs), "x", "drain / xargs of the same run", goal=1.0),
        figure("xargs to ideal", ratios(runs.xargs, runs.ideal), "x", "what the command line itself reaches"),
        figure("drain", runs.ours, "s", "job's first poll to last execution recorded, by the daemon's log"),
        figure("ideal", runs.ideal, "s", f"{_rounds(total)} x ({WORK_S:g} s + raw container time)"),
        figure(
            "raw container", runs.raw, "s",
            f"median of create to end, {AT_ONCE} at once by API, less the work; before, between and after",
        ),
        figure("xargs", runs.xargs, "s", f"xargs -P {AT_ONCE} docker run --rm, same worker, same limits"),
        figure("executions", runs.executions, "", f"executions that the daemon used for {total} messages"),
        figure(
            "refill: false", ratios(strict, runs.ideal), "x",
            f"computed, not run: {_rounds(total)} ticks of {INTERVAL_S} s, to ideal",
        ),
    ]  # fmt: skip
