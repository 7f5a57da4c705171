"""Kafka's requests as plain questions: who keeps a group's commits, who leads a topic, where a log ends.

Errors stay with the group, the topic or the partition they belong to.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from aiokafka.protocol.commit import OffsetFetchRequest  # type: ignore[import-untyped]
from aiokafka.protocol.coordination import FindCoordinatorRequest  # type: ignore[import-untyped]
from aiokafka.protocol.metadata import MetadataRequest  # type: ignore[import-untyped]
from aiokafka.protocol.offset import OffsetRequest  # type: ignore[import-untyped]

from scaler.errors import PollError
from scaler.scalers._kafka_brokers import Brokers
from scaler.scalers._kafka_errors import LEADER_NOT_AVAILABLE, REPLICA_NOT_AVAILABLE, coded, too_old
from scaler.scalers._kafka_login import Address
from scaler.scalers._kafka_wire import (
    FIND_COORDINATOR,
    METADATA,
    OFFSET_FETCH,
    FetchCommits,
    FindCoordinators,
    Wanted,
)

K = TypeVar("K")
T = TypeVar("T")
Place = tuple[str, int]
"""A topic and a partition."""
Offsets = dict[Place, int | PollError]
Leaders = dict[int, Address | PollError]
END: Final = -1
START: Final = -2
_READ_UNCOMMITTED: Final = 0
_MANY_GROUPS: Final = 8
_MANY_KEYS: Final = 4
_CREATES_NONE: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """The partitions of a topic, each with its leader."""

    leaders: Leaders


async def outcomes(calls: Mapping[K, Awaitable[T]]) -> dict[K, T | PollError]:
    """Make all calls at once; one that fails spoils no other."""
    found: dict[K, T | PollError] = {}

    async def run(key: K, call: Awaitable[T]) -> None:
        try:
            found[key] = await call
        except PollError as exc:
            found[key] = exc

    async with asyncio.TaskGroup() as group:
        for key, call in calls.items():
            group.create_task(run(key, call))
    return found


async def coordinators(brokers: Brokers, groups: Collection[str]) -> dict[str, Address | PollError]:
    """Find the brokers that keep the commits of groups."""

    async def call(address: Address) -> list[tuple[str, Address, int]]:
        if await brokers.speaks(address, FIND_COORDINATOR, _MANY_KEYS):
            rows = (await brokers.ask(address, FindCoordinators(sorted(groups)))).coordinators
            return [(group, (host, port), error) for group, _, host, port, error, *_ in rows]
        alone = [(group, await brokers.ask(address, FindCoordinatorRequest(group, 0))) for group in groups]
        return [(group, (one.host, one.port), one.error_code) for group, one in alone]

    found: dict[str, Address | PollError] = {group: _left_out(brokers.origin, group) for group in groups}
    for group, address, error in await brokers.any(call):
        found[group] = coded(brokers.origin, f"group '{group}'", error) if error else address
    return found


def _left_out(origin: str, group: str) -> PollError:
    return PollError(f"{origin}: group '{group}': the broker's answer lacks it", reason="BadAnswer")


async def layout(brokers: Brokers, topics: Collection[str]) -> dict[str, Topic | PollError]:
    """Find the partitions of topics and their leaders; creates none."""
    request = MetadataRequest(sorted(topics), allow_auto_topic_creation=False)

    async def call(address: Address) -> Any:
        if not await brokers.speaks(address, METADATA, _CREATES_NONE):
            raise too_old(brokers.origin)
        return await brokers.ask(address, request)

    answer = await brokers.any(call)
    nodes: dict[int, Address] = {node: (host, port) for node, host, port, *_ in answer.brokers}
    brokers.learn(tuple(nodes.values()))
    found: dict[str, Topic | PollError] = {}
    for error, topic, _, partitions in answer.topics:
        if error:
            found[topic] = coded(brokers.origin, f"topic '{topic}'", error)
        else:
            found[topic] = Topic(leaders=_leaders(brokers.origin, topic, partitions, nodes))
    return found


def _leaders(origin: str, topic: str, rows: Iterable[Any], nodes: Mapping[int, Address]) -> Leaders:
    leaders: Leaders = {}
    for error, partition, leader, *_ in rows:
        code = 0 if error == REPLICA_NOT_AVAILABLE else error
        if not code and leader not in nodes:
            code = LEADER_NOT_AVAILABLE
        leaders[partition] = _partition_fault(origin, (topic, partition), code) if code else nodes[leader]
    return leaders


async def commits(
    brokers: Brokers, keepers: Mapping[str, Address | PollError], wanted: Mapping[str, Wanted]
) -> dict[str, Offsets | PollError]:
    """Read committed offsets of groups from their coordinators; -1 means none."""
    found: dict[str, Offsets | PollError] = {group: _left_out(brokers.origin, group) for group in wanted}
    by_address: dict[Address, dict[str, Wanted]] = defaultdict(dict)
    for group, places in wanted.items():
        keeper = keepers[group]
        if isinstance(keeper, PollError):
            found[group] = keeper
        else:
            by_address[keeper][group] = places
    calls = {address: _commits(brokers, address, groups) for address, groups in by_address.items()}
    for address, answer in (await outcomes(calls)).items():
        if isinstance(answer, PollError):
            found |= dict.fromkeys(by_address[address], answer)
        else:
            found |= answer
    return found


async def _commits(
    brokers: Brokers, address: Address, wanted: Mapping[str, Wanted]
) -> dict[str, Offsets | PollError]:
    if await brokers.speaks(address, OFFSET_FETCH, _MANY_GROUPS):
        answer = await brokers.ask(address, FetchCommits(wanted))
        return {
            group: _committed(brokers.origin, group, error, topics)
            for group, topics, error, *_ in answer.groups
        }
    found: dict[str, Offsets | PollError] = {}
    for group, places in wanted.items():
        listed = None if places is None else [(topic, list(rows)) for topic, rows in places.items()]
        one = await brokers.ask(address, OffsetFetchRequest(group, listed))
        found[group] = _committed(brokers.origin, group, getattr(one, "error_code", 0), one.topics)
    return found


def _committed(origin: str, group: str, code: int, topics: Iterable[Any]) -> Offsets | PollError:
    if code:
        return coded(origin, f"group '{group}'", code)
    offsets: Offsets = {}
    for topic, partitions, *_ in topics:
        for partition, offset, *rest in partitions:
            error = rest[-1] if isinstance(rest[-1], int) else rest[-2]  # newer answers end in tagged fields
            offsets[topic, partition] = (
                coded(origin, f"group '{group}', topic '{topic}'", error) if error else offset
            )
    return offsets


async def log_offsets(brokers: Brokers, places: Mapping[Place, Address], which: int) -> Offsets:
    """Read the `END` or the `START` of logs from their leaders."""
    by_address: dict[Address, dict[str, list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
    for (topic, partition), leader in places.items():
        by_address[leader][topic].append((partition, which))
    calls = {
        address: brokers.ask(address, OffsetRequest(-1, _READ_UNCOMMITTED, list(topics.items())))
        for address, topics in by_address.items()
    }
    offsets: Offsets = {}
    for address, answer in (await outcomes(calls)).items():
        if isinstance(answer, PollError):
            asked = by_address[address].items()
            offsets.update({(topic, row[0]): answer for topic, rows in asked for row in rows})
            continue
        for topic, partitions in answer.topics:
            for partition, error, _, offset in partitions:
                place = (topic, partition)
                offsets[place] = _partition_fault(brokers.origin, place, error) if error else offset
    return offsets


def _partition_fault(origin: str, place: Place, code: int) -> PollError:
    return coded(origin, f"topic '{place[0]}', partition {place[1]}", code)
