"""What a queue needs to know of whoever receives from it; the AMQP side implements it."""

import uuid
from typing import Protocol

VENDOR = "com.microsoft:"


class LinkError(Exception):
    """A refusal with its AMQP condition, e.g. `amqp:not-found`; the link or the message fails, no more."""

    def __init__(self, condition: str, text: str) -> None:
        """Make one; `condition` is what the SDK maps to an exception, `text` what its user reads."""
        super().__init__(text)
        self.condition = condition
        self.text = text


class Receiver(Protocol):
    """One receiving link of a client."""

    @property
    def takes_at_once(self) -> bool:
        """Receive-and-delete: the message is gone when it is sent."""

    @property
    def can_take(self) -> bool:
        """There is credit, a window and room in the connection for one more message."""

    @property
    def is_open(self) -> bool:
        """False once the link is detached or its connection is lost."""

    def deliver(self, token: uuid.UUID, payload: bytes) -> None:
        """Send one message; `token` is its lock."""

    def grant_session(self, session_id: str, locked_until: float) -> None:
        """Say which session was locked, until when (seconds since 1970)."""

    def refuse(self, error: LinkError) -> None:
        """End the link with an error."""
