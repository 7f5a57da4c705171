"""Answers of brokers that a healthy cluster does not give: error codes, figures left out, faults of our own."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import pytest

from scaler.errors import PollError
from scaler.scalers import _kafka_round, _kafka_session
from scaler.scalers._kafka_brokers import Brokers
from scaler.scalers._kafka_errors import coded
from scaler.scalers._kafka_login import Address, Cluster
from scaler.scalers._kafka_offsets import END, Offsets, Place, Topic
from scaler.scalers._kafka_round import Answer, PartitionState, Question, answer_all
from scaler.scalers._kafka_session import KafkaSession
from scaler.scalers._kafka_wire import Wanted

AT: Address = ("b", 9092)
ORDERS = Question(group="g", topics=("t",))


def fault(code: int) -> PollError:
    return coded("kafka://b:9092", "group 'g'", code)


def offsets(first: int, second: int) -> Offsets:
    return {("t", 0): first, ("t", 1): second}


@dataclass
class Scripted:
    """A cluster of one topic with two partitions, 10 messages each; the group has committed 3 of each."""

    keeper: Address | PollError = AT
    leaders: dict[int, Address | PollError] = field(default_factory=lambda: {0: AT, 1: AT})
    committed: Offsets | PollError = field(default_factory=lambda: offsets(3, 3))
    ends: Offsets = field(default_factory=lambda: offsets(10, 10))
    starts: Offsets = field(default_factory=lambda: offsets(0, 5))

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def coordinators(_brokers: Brokers, groups: Collection[str]) -> dict[str, Address | PollError]:
            return dict.fromkeys(groups, self.keeper)

        async def layout(_brokers: Brokers, topics: Collection[str]) -> dict[str, Topic | PollError]:
            return dict.fromkeys(topics, Topic(leaders=self.leaders))

        async def commits(
            _brokers: Brokers, _keepers: object, wanted: Mapping[str, Wanted]
        ) -> dict[str, Offsets | PollError]:
            found = self.keeper if isinstance(self.keeper, PollError) else self.committed
            return dict.fromkeys(wanted, found)

        async def log_offsets(_brokers: Brokers, places: Mapping[Place, Address], which: int) -> Offsets:
            known = self.ends if which == END else self.starts
            return {place: known[place] for place in places if place in known}

        for call in (coordinators, layout, commits, log_offsets):
            monkeypatch.setattr(_kafka_round, call.__name__, call)


def brokers() -> Brokers:
    return Brokers(Cluster(servers=(AT,)), patience_s=1)


async def answer(question: Question = ORDERS) -> Answer:
    return (await answer_all(brokers(), (question,)))[question]


def state(partition: int, **more: int | None) -> PartitionState:
    known = {"committed": 3, "end": 10, "start": (0, 5)[partition]}
    return PartitionState(topic="t", partition=partition, **{**known, **more})


async def test_all_figures_of_a_healthy_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    Scripted().install(monkeypatch)
    assert await answer() == (state(0), state(1))


async def test_an_end_that_one_partition_lacks_is_passed_on_as_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Scripted(ends={("t", 0): 10}).install(monkeypatch)
    assert await answer() == (state(0), state(1, end=None, start=None))


@pytest.mark.parametrize(
    ("script", "reason", "transient"),
    [
        (Scripted(ends={}), "BadAnswer", True),
        (Scripted(committed={("t", 0): 3}), "BadAnswer", True),
        (Scripted(committed={("t", 0): 3, ("t", 1): fault(29)}), "AuthorizationFailed", False),
        (Scripted(committed=fault(30)), "AuthorizationFailed", False),
        (Scripted(committed=fault(14)), "CoordinatorUnavailable", True),
        (Scripted(keeper=fault(15)), "CoordinatorUnavailable", True),
        (Scripted(committed=fault(16)), "CoordinatorUnavailable", True),
        (Scripted(committed=fault(24)), "EntityNotFound", False),
        (Scripted(leaders={0: AT, 1: fault(5)}), "LeaderUnavailable", True),
        (Scripted(ends={("t", 0): 10, ("t", 1): fault(6)}), "LeaderUnavailable", True),
        (Scripted(starts={("t", 0): fault(3)}), "EntityNotFound", False),
        (Scripted(committed=fault(-1)), "ServiceError", True),
    ],
)
async def test_what_cannot_be_read_is_an_error_and_never_a_zero(
    monkeypatch: pytest.MonkeyPatch, script: Scripted, reason: str, transient: bool
) -> None:
    script.install(monkeypatch)
    found = await answer()
    assert isinstance(found, PollError)
    assert (found.reason, found.transient) == (reason, transient)


async def test_a_partition_without_a_leader_concerns_only_rules_that_ask_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Scripted(leaders={0: AT, 1: fault(5)}).install(monkeypatch)
    first = Question(group="g", topics=("t",), partitions=frozenset({0}))
    found = await answer_all(brokers(), (ORDERS, first))
    assert isinstance(found[ORDERS], PollError)
    assert found[first] == (state(0),)


@pytest.mark.parametrize(("from_start", "start"), [(True, 5), (False, None)])
async def test_the_start_is_asked_for_only_where_it_counts(
    monkeypatch: pytest.MonkeyPatch, from_start: bool, start: int | None
) -> None:
    Scripted(committed={("t", 0): 10, ("t", 1): -1}).install(monkeypatch)
    found = await answer(Question(group="g", topics=("t",), from_start=from_start))
    assert found == (state(0, committed=10, start=None), state(1, committed=None, start=start))


async def test_a_fault_of_our_own_reaches_whoever_waits_and_the_next_round_begins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def broken(_brokers: Brokers, _questions: object) -> Mapping[Question, Answer]:
        raise KeyError("ours")

    def now() -> dt.datetime:
        return dt.datetime(2026, 1, 1, tzinfo=dt.UTC)

    session = KafkaSession(brokers(), timeout_s=1, now=now)
    with monkeypatch.context() as patch:
        patch.setattr(_kafka_session, "answer_all", broken)
        with pytest.raises(KeyError, match="ours"):
            await session.read(ORDERS)
    Scripted().install(monkeypatch)
    reading = await session.read(ORDERS)
    await session.aclose()
    assert (reading.partitions, reading.asked_at) == ((state(0), state(1)), now())
