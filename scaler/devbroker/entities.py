"""Queues, subscriptions and their dead-letter queues: what is stored, who holds it, what becomes of it.

The rules are those of Azure Service Bus: a peek-locked or deferred message still counts as active, a
lock outlives the connection of its holder, a delivery that fails counts, and the message that failed
`max_delivery_count` times moves to the dead-letter queue. Nothing here knows AMQP links or HTTP.
"""

import heapq
import logging
import uuid
from collections import OrderedDict
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

from scaler.devbroker.clock import Clock, Timer
from scaler.devbroker.message import Message, MessageState
from scaler.devbroker.receiver import LinkError, Receiver
from scaler.devbroker.sessions import Sessions

_log = logging.getLogger(__name__)

DEAD_LETTER_SUFFIX = "/$DeadLetterQueue"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings:
    """What the management API can set on a queue or a subscription.

    Attributes:
        lock_duration_s: Seconds a peek-lock lasts unless renewed; above 0, at most 300 as in the service.
        max_delivery_count: Failed deliveries after which a message is dead-lettered; 1 to 2000.
        default_ttl_s: Seconds a message lives at most; None means for ever.
        requires_session: Only session receivers may attach.
        dead_letter_on_expiry: Expired messages go to the dead-letter queue, else they vanish.
    """

    lock_duration_s: float = 60.0
    max_delivery_count: int = 10
    default_ttl_s: float | None = None
    requires_session: bool = False
    dead_letter_on_expiry: bool = False

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ValueError: A value is out of range; the text says which, the value and the range.
        """
        if not 0 < self.lock_duration_s <= 300:
            raise ValueError(f"LockDuration: {self.lock_duration_s:g} s; use more than 0 s, at most PT5M")
        if not 1 <= self.max_delivery_count <= 2000:
            raise ValueError(f"MaxDeliveryCount: {self.max_delivery_count}; use 1 to 2000")
        if self.default_ttl_s is not None and self.default_ttl_s <= 0:
            raise ValueError(f"DefaultMessageTimeToLive: {self.default_ttl_s:g} s; use more than 0 s")


class Settlement(StrEnum):
    """What a receiver decided; values as `$management` spells them, `defered` included."""

    COMPLETED = "completed"
    ABANDONED = "abandoned"
    DEFERRED = "defered"
    DEAD_LETTERED = "suspended"
    RELEASED = "released"


class Lock(NamedTuple):
    """A message in a receiver's hands. `timer` is None under a session lock, which has no end of its own."""

    message: Message
    timer: Timer | None
    was_deferred: bool
    holder: Receiver | None


class _Ready(NamedTuple):
    sequence_number: int
    identity: int  # breaks ties in the heap; messages have no order
    message: Message


class Queue:
    """A queue, a subscription, or a dead-letter sub-queue."""

    def __init__(
        self, name: str, clock: Clock, settings: QueueSettings | None = None, *, has_dead_letters: bool = True
    ) -> None:
        """Make an empty queue. `has_dead_letters` is false only for a dead-letter queue itself."""
        self.name = name
        self.clock = clock
        self.settings = settings or QueueSettings()
        self.created = clock.now()
        self.is_deleted = False
        self.sessions = Sessions(self)
        self.scheduled: dict[int, Message] = {}
        self.deferred: dict[int, Message] = {}
        self.locked: dict[uuid.UUID, Lock] = {}
        self._ready: list[_Ready] = []
        self._mortal = 0  # ready messages that can expire; spares the scan when there are none
        self._receivers: OrderedDict[Receiver, None] = OrderedDict()
        self._pump_timer: Timer | None = None
        self._last_number = 0
        self.dead_letters: Queue | None = None
        if has_dead_letters:
            self.dead_letters = Queue(name + DEAD_LETTER_SUFFIX, clock, has_dead_letters=False)
            self.update(self.settings)

    # -- figures

    @property
    def active_count(self) -> int:
        """Messages that count as active: ready, locked and deferred."""
        self._drop_expired()
        return len(self._ready) + len(self.locked) + len(self.deferred)

    @property
    def dead_letter_count(self) -> int:
        """Messages in the dead-letter queue."""
        return self.dead_letters.active_count if self.dead_letters else 0

    @property
    def total_count(self) -> int:
        """Every message held, dead letters included."""
        return self.active_count + len(self.scheduled) + self.dead_letter_count

    def ready_messages(self) -> list[Message]:
        """Messages nobody holds, oldest first."""
        return [item.message for item in sorted(self._ready)]

    # -- messages in

    def put(self, message: Message) -> int:
        """Store a message and give its sequence number; a future `due` schedules it."""
        self._last_number += 1
        message.sequence_number, message.enqueued = self._last_number, self.clock.now()
        number = message.sequence_number
        if message.due > self.clock.now():
            message.state = MessageState.SCHEDULED
            self.scheduled[number] = message
            self.clock.later(message.due - self.clock.now(), lambda: self._become_due(number))
        else:
            self._make_ready(message)
        return number

    def cancel_scheduled(self, number: int) -> None:
        """Forget a scheduled message; harmless when it is gone already."""
        self.scheduled.pop(number, None)

    def _become_due(self, number: int) -> None:
        message = self.scheduled.pop(number, None)
        if message is not None:
            message.enqueued = self.clock.now()
            self._make_ready(message)

    def _make_ready(self, message: Message) -> None:
        message.state, message.locked_until = MessageState.ACTIVE, 0.0
        heapq.heappush(self._ready, _Ready(message.sequence_number, id(message), message))
        self._mortal += self._can_expire(message)
        self.pump_soon()

    # -- time to live

    def _can_expire(self, message: Message) -> bool:
        return bool(message.ttl_s or self.settings.default_ttl_s)

    def _is_expired(self, message: Message) -> bool:
        limits = [ttl for ttl in (message.ttl_s, self.settings.default_ttl_s) if ttl]
        return bool(limits) and message.enqueued + min(limits) <= self.clock.now()

    def _drop_expired(self) -> None:
        if not self._mortal:
            return
        for item in [item for item in self._ready if self._is_expired(item.message)]:
            self._take(item)
            if self.dead_letters and self.settings.dead_letter_on_expiry:
                self.dead_letter(
                    item.message, "TTLExpiredException", "The message expired and was dead lettered."
                )

    def _take(self, item: _Ready) -> None:
        self._ready.remove(item)
        heapq.heapify(self._ready)
        self._mortal -= self._can_expire(item.message)

    # -- locks and settlement

    def lock(
        self,
        message: Message,
        token: uuid.UUID,
        *,
        was_deferred: bool = False,
        holder: Receiver | None = None,
    ) -> None:
        """Put a message in a receiver's hands for the lock duration."""
        duration_s = self.settings.lock_duration_s
        message.locked_until = self.clock.now() + duration_s
        timer = None
        if not self.settings.requires_session:
            timer = self.clock.later(duration_s, lambda: self._lock_expired(token))
        self.locked[token] = Lock(message, timer, was_deferred, holder)

    def _lock_expired(self, token: uuid.UUID) -> None:
        if self.settle(token, Settlement.ABANDONED):
            _log.info("%s: lock %s expired", self.name, token)

    def renew(self, token: uuid.UUID) -> float | None:
        """Lengthen a lock: its new end in seconds since 1970, None when the lock is lost."""
        held = self.locked.get(token)
        if held is None:
            return None
        if held.timer:
            held.timer.cancel()
        self.lock(held.message, token, was_deferred=held.was_deferred, holder=held.holder)
        return held.message.locked_until

    def settle(
        self,
        token: uuid.UUID,
        how: Settlement,
        *,
        reason: str | None = None,
        description: str | None = None,
    ) -> bool:
        """End a lock the way the receiver decided; false when the lock was lost before."""
        held = self.locked.pop(token, None)
        if held is None:
            return False
        if held.timer:
            held.timer.cancel()
        if how is Settlement.RELEASED:
            self._make_ready(held.message)
        elif how is Settlement.ABANDONED:
            self._abandon(held)
        elif how is Settlement.DEFERRED:
            self._defer(held.message)
        elif how is Settlement.DEAD_LETTERED:
            self.dead_letter(held.message, reason, description)
        return True

    def _abandon(self, held: Lock) -> None:
        message = held.message
        message.delivery_count += 1
        if held.was_deferred:
            self._defer(message)
        elif self.dead_letters and message.delivery_count >= self.settings.max_delivery_count:
            attempts = self.settings.max_delivery_count
            text = f"Message could not be consumed after {attempts} delivery attempts."
            self.dead_letter(message, "MaxDeliveryCountExceeded", text)
        else:
            self._make_ready(message)

    def _defer(self, message: Message) -> None:
        message.state, message.locked_until = MessageState.DEFERRED, 0.0
        self.deferred[message.sequence_number] = message

    def dead_letter(self, message: Message, reason: str | None, description: str | None) -> None:
        """Move a message to the dead-letter queue; a dead-letter queue keeps its own."""
        if self.dead_letters is None:
            self._make_ready(message)
            return
        for name, value in (("DeadLetterReason", reason), ("DeadLetterErrorDescription", description)):
            if value:
                message.add_application_property(name, value)
        message.ttl_s = None  # dead letters do not expire
        message.due = 0.0
        self.dead_letters.put(message)

    def peek(self, start: int, count: int) -> list[Message]:
        """Show up to `count` messages from sequence number `start` on, in any state, taking none."""
        self._drop_expired()
        every = [item.message for item in self._ready]
        every += [held.message for held in self.locked.values()]
        every += [*self.deferred.values(), *self.scheduled.values()]
        wanted = (message for message in every if message.sequence_number >= start)
        return sorted(wanted, key=lambda message: message.sequence_number)[:count]

    # -- messages out

    def attach(self, receiver: Receiver) -> None:
        """Let a receiver take part in the round robin."""
        self._receivers[receiver] = None

    def detach(self, receiver: Receiver) -> None:
        """Forget a receiver. Its locks stay, as in the service; a session lock ends with it."""
        self._receivers.pop(receiver, None)
        self.sessions.detach(receiver)

    def pump_soon(self) -> None:
        """Hand messages out in the next turn of the loop; many calls make one."""
        if self._pump_timer is None:
            self._pump_timer = self.clock.later(0.0, self._pump_now)

    def _pump_now(self) -> None:
        self._pump_timer = None
        self.pump()

    def pump(self) -> None:
        """Hand ready messages to receivers that can take one, in turn."""
        self._drop_expired()
        if self.settings.requires_session:
            self.sessions.pump()
            return
        while self._ready:
            receiver = next((one for one in self._receivers if one.can_take), None)
            if receiver is None:
                return
            self._receivers.move_to_end(receiver)
            message = heapq.heappop(self._ready).message
            self._mortal -= self._can_expire(message)
            self._hand(message, receiver)

    def hand_session_messages(self, session_id: str, receiver: Receiver) -> None:
        """Hand the ready messages of one session to the receiver that locked it, oldest first."""
        for item in sorted(item for item in self._ready if item.message.session_id == session_id):
            if not receiver.can_take:
                return
            self._take(item)
            self._hand(item.message, receiver)

    def release_all(self, holder: Receiver) -> None:
        """Give back, uncounted, everything a receiver holds."""
        for token in [token for token, held in self.locked.items() if held.holder is holder]:
            self.settle(token, Settlement.RELEASED)

    def _hand(self, message: Message, receiver: Receiver) -> None:
        token = uuid.uuid4()
        if not receiver.takes_at_once:
            self.lock(message, token, holder=receiver)
        receiver.deliver(token, message.encode())

    # -- life of the queue

    def update(self, settings: QueueSettings) -> None:
        """Change the settings; locks already given keep their end."""
        self.settings = settings
        self._mortal = sum(self._can_expire(item.message) for item in self._ready)
        if self.dead_letters:
            self.dead_letters.update(
                replace(settings, requires_session=False, default_ttl_s=None, dead_letter_on_expiry=False)
            )

    def delete(self) -> None:
        """Drop every message and end every receiver's link with an error."""
        self.is_deleted = True
        if self.dead_letters:
            self.dead_letters.delete()
        for held in self.locked.values():
            if held.timer:
                held.timer.cancel()
        self._ready, self._mortal = [], 0
        for store in (self.scheduled, self.deferred, self.locked):
            store.clear()
        gone = LinkError("amqp:not-found", f"The messaging entity '{self.name}' was deleted.")
        for receiver in [*self._receivers, *self.sessions.waiting]:
            receiver.refuse(gone)


class Subscription(Queue):
    """A subscription: a queue that a topic fills."""

    def __init__(self, topic: str, name: str, clock: Clock, settings: QueueSettings | None = None) -> None:
        """Make an empty subscription called `name` of `topic`."""
        super().__init__(f"{topic}/Subscriptions/{name}", clock, settings)
        self.short_name = name
