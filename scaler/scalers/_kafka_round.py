"""Answers the questions of all rules that poll at about the same time in a handful of requests.

Two at once: FindCoordinator, and Metadata of the topics. Then, for groups whose topics are not named, what they
have committed and the Metadata of that. Then at once: OffsetFetch to each coordinator, ListOffsets to each
leader. At last, only where something seems to wait, where these logs start.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from scaler.errors import PollError
from scaler.scalers._kafka_brokers import Brokers
from scaler.scalers._kafka_errors import UNKNOWN_TOPIC, coded
from scaler.scalers._kafka_login import Address
from scaler.scalers._kafka_offsets import (
    END,
    START,
    Offsets,
    Place,
    Topic,
    commits,
    coordinators,
    layout,
    log_offsets,
    outcomes,
)
from scaler.scalers._kafka_wire import Wanted

Keepers = dict[str, Address | PollError]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What one rule wants to know.

    Attributes:
        group: consumer group.
        topics: none means all for which the group has commits.
        partitions: only these of each topic; None for all.
        from_start: whether what follows no commit counts from the log's start (else nobody asks for it).
    """

    group: str
    topics: tuple[str, ...]
    partitions: frozenset[int] | None = None
    from_start: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionState:
    """Offsets of one partition; None: nothing committed, or the broker left the figure out."""

    topic: str
    partition: int
    committed: int | None
    end: int | None
    start: int | None = None


Answer = tuple[PartitionState, ...] | PollError


async def answer_all(brokers: Brokers, questions: tuple[Question, ...]) -> dict[Question, Answer]:
    """Answer all questions; a fault of one group, topic or partition reaches only those that asked for it.

    Raises:
        PollError: no broker answers at all.
    """
    return await _Round(brokers, questions).run()


class _Round:
    def __init__(self, brokers: Brokers, questions: tuple[Question, ...]) -> None:
        self._brokers = brokers
        self._questions = questions
        self._topics: dict[str, Topic | PollError] = {}
        self._keepers: Keepers = {}
        self._learnt: dict[str, Offsets | PollError] = {}
        self._commits: dict[str, Offsets | PollError] = {}
        self._ends: Offsets = {}
        self._starts: Offsets = {}

    async def run(self) -> dict[Question, Answer]:
        await self._find()
        await self._learn()
        places = {question: self._places(question) for question in self._questions}
        await self._read(places)
        states = {question: self._states(question, places[question]) for question in self._questions}
        await self._read_starts(states)
        return {question: self._with_starts(answer) for question, answer in states.items()}

    async def _find(self) -> None:
        groups = {question.group for question in self._questions}
        named = {topic for question in self._questions for topic in question.topics}
        async with asyncio.TaskGroup() as tasks:
            keepers = tasks.create_task(outcomes({"keepers": coordinators(self._brokers, groups)}))
            if named:
                await self._look(named)
        found = keepers.result()["keepers"]
        self._keepers = dict.fromkeys(groups, found) if isinstance(found, PollError) else dict(found)

    async def _look(self, topics: set[str]) -> None:
        found = (await outcomes({"layout": layout(self._brokers, topics)}))["layout"]
        self._topics |= dict.fromkeys(topics, found) if isinstance(found, PollError) else found

    async def _learn(self) -> None:
        """Ask for everything that groups without named topics have committed, and for those topics."""
        everything: dict[str, Wanted] = {q.group: None for q in self._questions if not q.topics}
        if not everything:
            return
        self._learnt = await commits(self._brokers, self._keepers, everything)
        topics = {
            topic
            for offsets in self._learnt.values()
            if not isinstance(offsets, PollError)
            for topic, _ in offsets
        } - self._topics.keys()
        if topics:
            await self._look(topics)

    def _places(self, question: Question) -> dict[Place, Address] | PollError:
        """List the partitions that a question is about, with their leaders."""
        topics: tuple[str, ...] | PollError = question.topics or self._committed_topics(question.group)
        if isinstance(topics, PollError):
            return topics
        found: dict[Place, Address] = {}
        for name in topics:
            topic = self._topics.get(name) or coded(self._brokers.origin, f"topic '{name}'", UNKNOWN_TOPIC)
            if isinstance(topic, PollError):
                if not question.topics and topic.reason == "EntityNotFound":
                    continue  # deleted since the commit
                return topic
            for partition, leader in topic.leaders.items():
                if question.partitions is None or partition in question.partitions:
                    if isinstance(leader, PollError):
                        return leader
                    found[name, partition] = leader
        return found or self._none_of(question, topics)

    def _none_of(self, question: Question, topics: tuple[str, ...]) -> PollError:
        numbers = ", ".join(str(number) for number in sorted(question.partitions or ()))
        text = f"{self._brokers.origin}: topic '{', '.join(topics)}': has no partition of {numbers or 'any number'}"
        return PollError(f"{text}; correct partitionLimitation", transient=False, reason="EntityNotFound")

    def _committed_topics(self, group: str) -> tuple[str, ...] | PollError:
        offsets = self._learnt[group]
        if isinstance(offsets, PollError):
            return offsets
        topics = tuple(sorted({topic for topic, _ in offsets}))
        if topics:
            return topics
        text = f"{self._brokers.origin}: group '{group}': has committed nothing, so its topics are not known"
        return PollError(f"{text}; give topic", transient=False, reason="EntityNotFound")

    async def _read(self, places: Mapping[Question, dict[Place, Address] | PollError]) -> None:
        ends: dict[Place, Address] = {}
        wanted: defaultdict[str, defaultdict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
        for question, asked in places.items():
            if isinstance(asked, PollError):
                continue
            ends |= asked
            if question.topics:
                for topic, partition in asked:
                    wanted[question.group][topic].add(partition)
        lists: dict[str, Wanted] = {
            group: {topic: sorted(numbers) for topic, numbers in topics.items()}
            for group, topics in wanted.items()
        }
        async with asyncio.TaskGroup() as tasks:
            commit_task = tasks.create_task(commits(self._brokers, self._keepers, lists))
            end_task = tasks.create_task(log_offsets(self._brokers, ends, END))
        self._commits, self._ends = commit_task.result(), end_task.result()

    def _states(self, question: Question, places: dict[Place, Address] | PollError) -> Answer:
        if isinstance(places, PollError):
            return places
        offsets = (self._commits if question.topics else self._learnt)[question.group]
        if isinstance(offsets, PollError):
            return offsets
        found = []
        for topic, partition in sorted(places):
            place = (topic, partition)
            committed = offsets.get(place, None if question.topics else -1)
            end = self._ends.get(place)
            fault = next((word for word in (committed, end) if isinstance(word, PollError)), None)
            if fault:
                return fault
            if committed is None:
                return self._left_out(question.group, place)
            known = committed if isinstance(committed, int) and committed >= 0 else None
            state = PartitionState(
                topic=topic,
                partition=partition,
                committed=known,
                end=end if isinstance(end, int) and end >= 0 else None,
            )
            found.append(state)
        if all(state.end is None for state in found):
            return self._left_out(question.group, min(places))
        return tuple(found)

    def _left_out(self, group: str, place: Place) -> PollError:
        where = f"{self._brokers.origin}: group '{group}', topic '{place[0]}', partition {place[1]}"
        return PollError(f"{where}: the broker's answer lacks it", reason="BadAnswer")

    async def _read_starts(self, states: Mapping[Question, Answer]) -> None:
        """Ask where logs start, but only of partitions in which something may wait."""
        places: dict[Place, Address] = {}
        for question, answer in states.items():
            for state in () if isinstance(answer, PollError) else answer:
                begin = state.committed if state.committed is not None else 0
                asks = state.committed is not None or question.from_start
                topic = self._topics[state.topic]
                if asks and begin < (state.end or 0) and isinstance(topic, Topic):
                    leader = topic.leaders[state.partition]
                    if not isinstance(leader, PollError):
                        places[state.topic, state.partition] = leader
        if places:
            self._starts = await log_offsets(self._brokers, places, START)

    def _with_starts(self, answer: Answer) -> Answer:
        if isinstance(answer, PollError):
            return answer
        found = []
        for state in answer:
            start = self._starts.get((state.topic, state.partition))
            if isinstance(start, PollError):
                return start
            found.append(
                PartitionState(
                    topic=state.topic,
                    partition=state.partition,
                    committed=state.committed,
                    end=state.end,
                    start=start,
                )
            )
        return tuple(found)
