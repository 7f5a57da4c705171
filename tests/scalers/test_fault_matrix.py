"""Each fault of each broker, through the real engine: its own reason, recovery by itself, and no harm to others.

A victim's broker gets a fault while rules beside it ask the same brokers. Everything happens in real time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from scaler.bench.report import percentile
from scaler.model.decision import RuleVerdict
from tests.infra.azurite import Azurite, other_azurite
from tests.infra.rabbitmq import RabbitMQ
from tests.scalers.fault_brokers import FAULTS, AzureQueue, KafkaBehind, Rabbit, Stage, Way
from tests.scalers.fault_kit import Scene, Victim, job_of, scene
from tests.scalers.rabbitmq_kit import Authority

REASONS = {
    "down": "Unreachable",
    "slow": "Timeout",
    "half-open": "Timeout",
    "wrong password": "AuthenticationFailed",
    "expired certificate": "TlsFailed",
    "deleted": "EntityNotFound",
}
NEIGHBOURS = 4
QUIET_S = 2.0
FAULTY_S = {"slow": 5.2, "half-open": 5.2}
"""Long enough for three polls that wait for their limit; then the source's circuit opens."""
BRIEFLY_S = 3.6
"""For faults that are told at once: seven polls."""
RECOVERED_WITHIN_S = 8.0
"""The circuit's longest pause after so short a fault, a poll and an interval, and some air."""
ATTEMPTS = 2
"""A stall of the machine does not come twice at the same place; one of ours does."""
NOISE_S = 0.05
"""Lateness below this, a tenth of the interval, is the machine's: tests share it."""


@pytest.fixture(scope="module")
def kafka_behind() -> Iterator[KafkaBehind]:
    broker = KafkaBehind()
    yield broker
    broker.close()


@pytest.fixture(scope="module")
def other() -> Iterator[list[Azurite]]:
    """Started by the one test that needs it."""
    started: list[Azurite] = []
    yield started
    for each in started:
        each.close()


@pytest.fixture
def ways(rabbitmq: RabbitMQ, kafka_behind: KafkaBehind, azurite: Azurite, other: list[Azurite]) -> list[Way]:
    def start_other() -> Azurite:
        other.append(other_azurite())
        return other[-1]

    return [
        Rabbit(rabbitmq, is_http=False),
        Rabbit(rabbitmq, is_http=True),
        kafka_behind,
        AzureQueue(azurite, start_other),
    ]


async def neighbours(ways: list[Way], queue: str, rabbitmq: RabbitMQ, azurite: Azurite) -> list:
    """Make rules that reach the brokers directly; their queues are empty."""
    name = f"{queue}-beside"
    await rabbitmq.declare(name)
    await azurite.create(name)
    kafka = next(way for way in ways if isinstance(way, KafkaBehind))
    await kafka.broker.create(name)
    return [
        job_of(f"beside-{index}-{number}", *way.neighbour(name))
        for index, way in enumerate(ways)
        for number in range(NEIGHBOURS)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What the victims' rules said during a fault, and p99 of the lateness of the others before and during it."""

    verdicts: dict[str, list[RuleVerdict]]
    quiet_s: float
    faulty_s: float

    @property
    def is_calm(self) -> bool:
        return self.faulty_s <= max(1.2 * self.quiet_s, NOISE_S)


async def _fault(fault: str, victims: list[Victim], others: list[str], live: Scene) -> Story:
    """Be quiet, let the fault begin, watch, end it, and wait until all is well by itself."""
    clock = asyncio.get_running_loop().time
    began = clock()
    await asyncio.sleep(QUIET_S)
    quiet = live.asked.lateness(others, began)
    for victim in victims:
        await victim.begin()
    since, began = live.clock.now(), clock()
    await asyncio.sleep(FAULTY_S.get(fault, BRIEFLY_S))
    faulty = live.asked.lateness(others, began)
    verdicts = {victim.name: await live.verdicts(victim.name, since) for victim in victims}
    for victim in victims:
        await victim.end()
    async with asyncio.TaskGroup() as group:
        for victim in victims:
            group.create_task(live.until_well(victim, victim.value_after, within_s=RECOVERED_WITHIN_S))
    return Story(verdicts=verdicts, quiet_s=percentile(quiet, 0.99), faulty_s=percentile(faulty, 0.99))


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_has_its_reason_within_two_polls_and_ends_by_itself_and_delays_no_other_rule(
    fault: str,
    ways: list[Way],
    rabbitmq: RabbitMQ,
    azurite: Azurite,
    queue_name: str,
    tmp_path: Path,
) -> None:
    async with AsyncExitStack() as stack:
        victims: list[Victim] = []
        for index, way in enumerate(ways):
            folder = tmp_path / str(index)
            folder.mkdir()
            stage = Stage(stack=stack, authority=Authority(folder), queue=f"{queue_name}-{index}")
            victims.append(await way.victim(fault, stage))
        beside = await neighbours(ways, queue_name, rabbitmq, azurite)
        jobs = [job_of(v.name, v.type, v.metadata, v.auth) for v in victims]
        live = await stack.enter_async_context(scene(tmp_path, *beside, *jobs))
        for victim in victims:
            await live.until_well(victim, victim.value, within_s=5)
        names = [job.name for job in beside]
        for _ in range(ATTEMPTS):
            story = await _fault(fault, victims, names, live)
            if story.is_calm:
                break
        unwell = {name: live.error_of(name) for name in names}

    for name, found in story.verdicts.items():
        said = [verdict.error_reason or verdict.value for verdict in found]
        assert REASONS[fault] in said[:2], (name, said)
        assert set(said[2:]) == {REASONS[fault]}, (name, [v.error for v in found])
        if fault == "expired certificate":
            assert "certificate has expired" in str(found[-1].error), found[-1].error
    assert {name: error for name, error in unwell.items() if error} == {}
    assert story.is_calm, f"quiet {story.quiet_s * 1e3:.1f} ms, during {story.faulty_s * 1e3:.1f} ms"
