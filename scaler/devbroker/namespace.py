"""The entities of one broker, found by the path that links and URLs name; letter case does not matter."""

import re

from scaler.devbroker.clock import Clock, Timer
from scaler.devbroker.entities import DEAD_LETTER_SUFFIX, Queue, QueueSettings, Subscription
from scaler.devbroker.message import Message, MessageState

_SUBSCRIPTION = re.compile(r"(.+)/subscriptions/([^/]+)")


class Topic:
    """Copies each message to all its subscriptions; there are no filters but the one that takes all."""

    def __init__(self, name: str, clock: Clock) -> None:
        """Make a topic without subscriptions."""
        self.name = name
        self.created = clock.now()
        self.is_deleted = False
        self.subscriptions: dict[str, Subscription] = {}
        self._clock = clock
        self._scheduled: dict[int, tuple[Message, Timer]] = {}
        self._last_number = 0

    @property
    def scheduled_count(self) -> int:
        """Messages that wait for their time."""
        return len(self._scheduled)

    def put(self, message: Message) -> int:
        """Give the message to every subscription, at once or when it is due; return its number."""
        self._last_number += 1
        number, wait_s = self._last_number, message.due - self._clock.now()
        if wait_s > 0:
            message.state, message.sequence_number = MessageState.SCHEDULED, number
            self._scheduled[number] = message, self._clock.later(wait_s, lambda: self._become_due(number))
        else:
            self._copy_out(message)
        return number

    def cancel_scheduled(self, number: int) -> None:
        """Forget a scheduled message; harmless when it is gone already."""
        if found := self._scheduled.pop(number, None):
            found[1].cancel()

    def delete(self) -> None:
        """Drop the topic's scheduled messages and its subscriptions with theirs."""
        self.is_deleted = True
        for number in tuple(self._scheduled):
            self.cancel_scheduled(number)
        for subscription in self.subscriptions.values():
            subscription.delete()
        self.subscriptions.clear()

    def _become_due(self, number: int) -> None:
        self._copy_out(self._scheduled.pop(number)[0])

    def _copy_out(self, message: Message) -> None:
        message.due = 0.0
        for subscription in self.subscriptions.values():
            subscription.put(message.copy())


Entity = Queue | Topic


class Namespace:
    """All queues and topics of one broker, in memory."""

    def __init__(self, clock: Clock) -> None:
        """Start empty; `clock` is shared by all entities."""
        self.clock = clock
        self.queues: dict[str, Queue] = {}
        self.topics: dict[str, Topic] = {}

    def add_queue(self, name: str, settings: QueueSettings | None = None) -> Queue:
        """Make a queue, or give the one that has the name already."""
        return self.queues.setdefault(name.lower(), Queue(name, self.clock, settings))

    def add_topic(self, name: str) -> Topic:
        """Make a topic, or give the one that has the name already."""
        return self.topics.setdefault(name.lower(), Topic(name, self.clock))

    def add_subscription(
        self, topic: Topic, name: str, settings: QueueSettings | None = None
    ) -> Subscription:
        """Make a subscription, or give the one that has the name already."""
        fresh = Subscription(topic.name, name, self.clock, settings)
        return topic.subscriptions.setdefault(name.lower(), fresh)

    def find(self, path: str) -> Entity | None:
        """Find `queue`, `topic` or `topic/Subscriptions/name`, or the dead-letter queue of one."""
        wanted = path.strip("/").lower()
        entity_path = wanted.removesuffix(DEAD_LETTER_SUFFIX.lower()).removesuffix("/$transfer")
        entity = self._find_entity(entity_path)
        if wanted == entity_path:
            return entity
        return entity.dead_letters if isinstance(entity, Queue) else None

    def _find_entity(self, path: str) -> Entity | None:
        match = _SUBSCRIPTION.fullmatch(path)
        if match is None:
            return self.queues.get(path) or self.topics.get(path)
        topic = self.topics.get(match[1])
        return topic.subscriptions.get(match[2]) if topic else None
