"""One AMQP link, seen from the broker, and what stands behind it.

A `Link` knows credit, transfers and attach/detach frames. What a message or an outcome means is
decided by its `Node`: an entity, `$cbs`, or a `$management` address.
"""

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from scaler.devbroker.amqp_types import Described, Raw, Symbol, UByte, UInt, ULong
from scaler.devbroker.performatives import Attach, Code, Disposition, Transfer
from scaler.devbroker.receiver import LinkError

if TYPE_CHECKING:
    from scaler.devbroker.session import Session

MAX_MESSAGE_BYTES = 1 << 20
_FULL_CREDIT = 1000
_ERROR, _SOURCE = 0x1D, 0x28
_WORD = 0xFFFFFFFF


def describe_error(condition: str, text: str) -> Described:
    """Build the AMQP error a peer gets to read."""
    return Described(_ERROR, [Symbol(condition), text, None])


class Node:
    """What stands behind a link; the base does nothing and takes no messages."""

    def attached(self) -> None:
        """Answer the attach: accept or refuse the link, now or later."""

    def detached(self) -> None:
        """Take leave of the link; it is closed or its connection is lost."""

    def credit_given(self) -> None:
        """Send what waits: the peer takes more."""

    def message(self, payload: bytes, message_format: int) -> None:
        """Take one message.

        Raises:
            LinkError: The message is refused, the link stays.
        """
        raise LinkError("amqp:not-allowed", "this link takes no messages")

    def settled(self, token: uuid.UUID, disposition: Disposition) -> Described | None:
        """Act on what became of a delivery and give the state to answer with; None leaves it open."""


class Link:
    """One link; `we_send` when the client receives."""

    def __init__(self, session: "Session", attach: Attach) -> None:
        """Make the link a client asked for; nothing is answered yet."""
        self.session = session
        self.request = attach
        self.handle = attach.handle
        self.we_send = attach.peer_receives
        self.credit = 0
        self.delivery_count = 0
        self.is_open = True
        self.node = Node()
        self._partial = bytearray()
        self._first_frame: Transfer | None = None

    # -- life

    def accept(
        self, *, source: list[Any] | None = None, properties: Mapping[Symbol, Any] | None = None
    ) -> None:
        """Answer the attach; `source` replaces the echo of the client's own."""
        raw_source: Described | Raw = self.request.raw_source
        if source is not None:
            raw_source = Described(_SOURCE, source)
        self._answer(raw_source, self.request.raw_target, dict(properties or {}))
        if not self.we_send:
            self._grant()

    def refuse(self, error: LinkError) -> None:
        """Answer an attach with null addresses and end the link at once."""
        self._answer(None, None, None)
        self.detach(error)

    def detach(self, error: LinkError | None = None) -> None:
        """End the link from our side."""
        if not self.is_open:
            return
        self.session.forget(self)
        detail = describe_error(error.condition, error.text) if error else None
        self.session.send(Code.DETACH, [UInt(self.handle), True, detail])
        self.closed()

    def closed(self) -> None:
        """Tell the node, once, that the link is gone."""
        if self.is_open:
            self.is_open = False
            self._partial.clear()
            self.node.detached()

    def _answer(
        self, source: Described | Raw | None, target: Raw | None, properties: dict[Symbol, Any] | None
    ) -> None:
        request = self.request
        modes = [UByte(request.sender_settle_mode & 0xFF), UByte(request.receiver_settle_mode & 0xFF)]
        first_count = UInt(0) if self.we_send else None
        fields: list[Any] = [
            request.name,
            UInt(self.handle),
            not self.we_send,
            *modes,
            source,
            target,
            None,
            False,
        ]
        fields += [first_count, ULong(MAX_MESSAGE_BYTES), None, None, properties]
        self.session.send(Code.ATTACH, fields)

    # -- credit

    def _grant(self) -> None:
        self.credit = _FULL_CREDIT
        self.session.send_flow(self)

    def take_credit(self, *, peer_count: int, credit: int) -> None:
        """Set our credit from a flow; deliveries the peer has not seen yet are taken off."""
        in_flight = (self.delivery_count - peer_count) & _WORD
        self.credit = max(credit - in_flight, 0)

    def drain(self) -> None:
        """Use up the credit that is left, as a draining peer asks."""
        if self.credit:
            self.delivery_count = (self.delivery_count + self.credit) & _WORD
            self.credit = 0
            self.session.send_flow(self, drain=True)

    # -- transfers

    def send(self, tag: bytes, payload: bytes, *, token: uuid.UUID | None = None) -> None:
        """Send one message; without a lock `token` it is sent settled."""
        self.credit -= 1
        self.delivery_count = (self.delivery_count + 1) & _WORD
        self.session.send_message(self, tag, payload, token)

    def receive(self, frame: Transfer, payload: bytes) -> None:
        """Take one frame of a message and, with the last one, the message."""
        if frame.aborted:
            self._partial.clear()
            self._first_frame = None
            return
        if self._first_frame is None:
            self._first_frame = frame
        self._partial += payload
        if len(self._partial) > MAX_MESSAGE_BYTES:
            text = f"message is larger than {MAX_MESSAGE_BYTES} bytes"
            self.detach(LinkError("amqp:link:message-size-exceeded", text))
        elif self.credit <= 0:
            self.detach(LinkError("amqp:link:transfer-limit-exceeded", "message sent without credit"))
        elif not frame.more:
            self._complete(self._first_frame)

    def _complete(self, first: Transfer) -> None:
        payload = bytes(self._partial)
        self._partial.clear()
        self._first_frame = None
        self.credit -= 1
        self.delivery_count = (self.delivery_count + 1) & _WORD
        error = None
        try:
            self.node.message(payload, first.message_format)
        except LinkError as exc:
            error = describe_error(exc.condition, exc.text)
        if not first.settled and first.delivery_id is not None:
            self.session.answer_transfer(first.delivery_id, error)
        if self.is_open and self.credit < _FULL_CREDIT // 2:
            self._grant()
