"""Bench `rules`: a thousand rules on one broker whose questions can be asked together, beside clients of their own.

Relays between the two and the broker count connections and requests. They run in the bench's own process.
"""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from scaler.bench.report import Figure, figure, ratios
from scaler.bench.stage import Options
from tests.bench.ticks import INTERVAL_S, SECONDS, WARM_UP_S, event_job, polled_by_daemon
from tests.infra.choose import Broken
from tests.infra.kafka import Kafka, native_kafka
from tests.infra.paths import REPOSITORY
from tests.infra.process import free_ports
from tests.infra.rabbitmq import start_rabbitmq
from tests.scalers.kafka_kit import CountingProxy
from tests.scalers.rabbitmq_kit import Relay, with_port

RULES: Final = 1000
CLIENTS: Final = 100
"""Independent clients; figures are given for each rule and poll, so fewer of them do."""
_AT_ONCE: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """What passed a relay so far."""

    requests: int
    connections: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A broker with things to ask for, reached through a relay that counts."""

    kind: str
    url: str
    names: Sequence[str]
    rule: Callable[[str], dict[str, Any]]
    count: Callable[[], Counters]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """CPU seconds and requests for each rule and poll, and connections in all."""

    cpu_s: float
    requests: float
    connections: float


async def run(options: Options) -> Sequence[Figure]:
    """Measure both brokers; needs them."""
    rules = options.size(RULES)
    figures: list[Figure] = []
    for source in (_rabbitmq, _kafka):
        async with source(rules) as opened:
            figures += await _compare(opened, options)
    return figures


async def _compare(source: Source, options: Options) -> Sequence[Figure]:
    ours: list[Cost] = []
    theirs: list[Cost] = []
    clients = options.size(CLIENTS, least=10)
    for number in range(options.repeat):
        theirs.append(await _independent(source, clients))
        ours.append(await _shared(source))
        options.say(
            f"rules {number + 1}/{options.repeat}, {source.kind}: ours {ours[-1].cpu_s * 1e3:.3f} ms a poll, "
            f"independent {theirs[-1].cpu_s * 1e3:.3f} ms"
        )
    how = f"{len(source.names)} rules polled every {INTERVAL_S} s, {SECONDS:g} s after {WARM_UP_S:g} s"
    apart = f"{clients} clients that share nothing, the same cadence"
    kind = source.kind
    return [
        figure(f"{kind}: CPU", [c.cpu_s * 1e3 for c in ours], "ms", f"daemon, for each rule and poll; {how}", goal=0.1),
        figure(f"{kind}: CPU, independent", [c.cpu_s * 1e3 for c in theirs], "ms", f"asking only; {apart}"),
        figure(
            f"{kind}: CPU to independent", ratios([c.cpu_s for c in ours], [c.cpu_s for c in theirs]), "x",
            "the daemon also decides and records",
        ),
        figure(
            f"{kind}: requests to independent",
            ratios([c.requests for c in ours], [c.requests for c in theirs]), "x",
            "for each rule and poll, counted at the relay", goal=0.05,
        ),
        figure(f"{kind}: requests a tick", [c.requests * len(source.names) for c in ours], "", "of all rules"),
        figure(f"{kind}: requests, independent", [c.requests for c in theirs], "", "for each client and poll"),
        figure(f"{kind}: connections", [c.connections for c in ours], "", "opened by the daemon in all", goal=1),
    ]  # fmt: skip


async def _shared(source: Source) -> Cost:
    """Let the daemon poll."""
    jobs = [
        event_job(f"bench-{number}", source.rule(name), url=source.url)
        for number, name in enumerate(source.names)
    ]
    opened, begun = source.count().connections, source.count()

    def begin() -> None:
        nonlocal begun
        begun = source.count()

    polling = await polled_by_daemon(jobs, start=begin)
    ended = source.count()
    return Cost(
        cpu_s=polling.cpu_s,
        requests=(ended.requests - begun.requests) / polling.ticks,
        connections=ended.connections - opened,
    )


async def _independent(source: Source, clients: int) -> Cost:
    """Let the independent clients poll, in a process of their own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.independent", cwd=REPOSITORY,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    asked = {
        "kind": source.kind,
        "url": source.url,
        "names": list(source.names[:clients]),
        "interval_s": INTERVAL_S,
        "warm_up_s": WARM_UP_S,
        "seconds": SECONDS,
    }
    before = source.count()
    out, _ = await process.communicate(json.dumps(asked).encode())
    if process.returncode != 0:
        raise Broken(f"the independent clients ended with code {process.returncode}")
    answer, after = json.loads(out), source.count()
    polls = answer["ticks"] * (WARM_UP_S + SECONDS) / SECONDS
    return Cost(
        cpu_s=answer["cpu_s"],
        requests=(after.requests - before.requests) / polls,
        connections=after.connections - before.connections,
    )


@asynccontextmanager
async def _rabbitmq(rules: int) -> AsyncIterator[Source]:
    """One queue for each rule in a vhost, by the management API."""
    broker = start_rabbitmq()
    try:
        names = [f"bench-{uuid.uuid4().hex[:8]}-{number}" for number in range(rules)]
        await broker.declare(*names)
        async with Relay(broker.http_url) as relay:
            yield Source(
                kind="rabbitmq",
                url=with_port(broker.http_url, relay.port),
                names=names,
                rule=_queue_rule,
                count=lambda: Counters(requests=relay.http_requests, connections=relay.accepted),
            )
    finally:
        broker.close()


def _queue_rule(queue: str) -> dict[str, Any]:
    return {
        "name": "work",
        "type": "rabbitmq",
        "metadata": {"queueName": queue, "mode": "QueueLength", "value": "1"},
        "auth": [{"secretRef": "url", "triggerParameter": "host"}],
    }


@asynccontextmanager
async def _kafka(rules: int) -> AsyncIterator[Source]:
    """One group for each rule, all on one topic, each with a commit."""
    port, front = free_ports(2)
    broker = native_kafka(port=port, advertised_port=front)
    topic = f"bench-{uuid.uuid4().hex[:8]}"
    names = [f"{topic}-{number}" for number in range(rules)]
    try:
        async with CountingProxy(port, port=front) as proxy:
            through = Kafka(bootstrap=f"127.0.0.1:{front}", host=broker._host)
            await through.create(topic)
            await through.publish(topic, ["a"])
            await _commit_all(through, topic, names)
            yield Source(
                kind="kafka",
                url=through.bootstrap,
                names=names,
                rule=lambda group: {
                    "name": "work",
                    "type": "kafka",
                    "metadata": {
                        "bootstrapServers": through.bootstrap,
                        "consumerGroup": group,
                        "topic": topic,
                    },
                },
                count=lambda: Counters(requests=proxy.requests.total(), connections=proxy.accepted),
            )
    finally:
        broker.close()


async def _commit_all(broker: Kafka, topic: str, groups: Sequence[str]) -> None:
    waiting = iter(groups)

    async def worker() -> None:
        for group in waiting:
            await broker.commit(group, topic, {0: 1})

    async with asyncio.TaskGroup() as tasks:
        for _ in range(_AT_ONCE):
            tasks.create_task(worker())
