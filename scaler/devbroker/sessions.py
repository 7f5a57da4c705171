"""Message sessions of one queue: who holds which session, who waits for one, what state each stores.

A session lock belongs to a link and ends with it; messages under it have no lock timer of their own.
"""

from typing import TYPE_CHECKING

from scaler.devbroker.clock import Timer
from scaler.devbroker.receiver import VENDOR, LinkError, Receiver

if TYPE_CHECKING:
    from scaler.devbroker.entities import Queue


class Sessions:
    """The session book of one queue."""

    def __init__(self, queue: "Queue") -> None:
        """Start with no session locked; `queue` is the owner."""
        self._queue = queue
        self._holders: dict[str, Receiver] = {}
        self._states: dict[str, bytes | None] = {}
        self._waiting: dict[Receiver, Timer] = {}

    @property
    def waiting(self) -> tuple[Receiver, ...]:
        """Receivers that wait for the next free session, longest first."""
        return tuple(self._waiting)

    def is_locked(self, session_id: str) -> bool:
        """Tell whether a receiver holds the session."""
        return session_id in self._holders

    def state(self, session_id: str) -> bytes | None:
        """Give the state stored with a session, None when there is none."""
        return self._states.get(session_id)

    def set_state(self, session_id: str, state: bytes | None) -> None:
        """Store the state of a session; None clears it."""
        if state is None:
            self._states.pop(session_id, None)
        else:
            self._states[session_id] = state

    def accept(self, receiver: Receiver, session_id: str | None, timeout_s: float) -> None:
        """Lock a session for a receiver: the one named, or the next free one within `timeout_s` seconds."""
        if session_id is None:
            timer = self._queue.clock.later(timeout_s, lambda: self._give_up(receiver))
            self._waiting[receiver] = timer
            self._queue.pump()
        elif session_id in self._holders:
            text = f"The requested session '{session_id}' cannot be accepted."
            receiver.refuse(LinkError(VENDOR + "session-cannot-be-locked", text))
        else:
            self._lock(receiver, session_id)

    def pump(self) -> None:
        """Serve the receivers that wait for a session, then hand messages to the holders."""
        for receiver in self.waiting:
            free = self._next_free()
            if free is None:
                break
            self._waiting.pop(receiver).cancel()
            if receiver.is_open:
                self._lock(receiver, free)
        for session_id, holder in tuple(self._holders.items()):
            self._queue.hand_session_messages(session_id, holder)

    def detach(self, receiver: Receiver) -> None:
        """End what a receiver held or waited for; its messages return uncounted."""
        timer = self._waiting.pop(receiver, None)
        if timer:
            timer.cancel()
        for session_id in [name for name, holder in self._holders.items() if holder is receiver]:
            del self._holders[session_id]
            self._queue.release_all(receiver)

    def _next_free(self) -> str | None:
        for message in self._queue.ready_messages():
            if message.session_id is not None and message.session_id not in self._holders:
                return message.session_id
        return None

    def _lock(self, receiver: Receiver, session_id: str) -> None:
        self._holders[session_id] = receiver
        until = self._queue.clock.now() + self._queue.settings.lock_duration_s
        receiver.grant_session(session_id, until)
        self._queue.attach(receiver)

    def _give_up(self, receiver: Receiver) -> None:
        if self._waiting.pop(receiver, None) is not None:
            receiver.refuse(LinkError(VENDOR + "timeout", "No session became available."))
