"""One AMQP session: its links, its transfer window, and the deliveries not settled yet."""

import uuid
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from scaler.devbroker.amqp_types import AmqpError, Described, UInt
from scaler.devbroker.link import Link, Node
from scaler.devbroker.performatives import Attach, Begin, Code, Disposition, Flow, Outcome, Transfer
from scaler.devbroker.receiver import LinkError

if TYPE_CHECKING:
    from scaler.devbroker.connection import Connection

MAX_LINKS = 255
_WINDOW = 0x7FFFFFFF
_WORD = 0xFFFFFFFF
_TRANSFER_OVERHEAD_BYTES = 128  # frame header and all transfer fields but the payload, rounded up

Route = Callable[[Link], Node]


class _Unsettled(NamedTuple):
    link: Link
    token: uuid.UUID


class Session:
    """One session of a connection."""

    def __init__(self, connection: "Connection", channel: int, begin: Begin, route: Route) -> None:
        """Answer a begin; `route` finds the node of each link attached later."""
        self.connection = connection
        self.channel = channel
        self._route = route
        self._next_incoming = begin.next_outgoing_id
        self._next_outgoing = 1
        self._remote_window = begin.incoming_window
        self._links: dict[int, Link] = {}
        self._unsettled: dict[int, _Unsettled] = {}

    @property
    def has_room(self) -> bool:
        """The peer's window is open and the connection is not waiting for a slow reader."""
        return self._remote_window > 0 and self.connection.is_writable

    def credit_links(self) -> None:
        """Let every sending link go on: a window or the connection opened."""
        for link in tuple(self._links.values()):
            if link.we_send and link.credit > 0:
                link.node.credit_given()

    def close(self) -> None:
        """Tell every link that it is gone."""
        links = tuple(self._links.values())
        self._links.clear()
        self._unsettled.clear()
        for link in links:
            link.closed()

    def forget(self, link: Link) -> None:
        """Drop a link that ends, and its unsettled deliveries."""
        if self._links.get(link.handle) is link:
            del self._links[link.handle]
        for number in [number for number, one in self._unsettled.items() if one.link is link]:
            del self._unsettled[number]

    # -- output

    def send(self, code: Code, fields: Sequence[Any], payload: bytes = b"") -> None:
        """Send one performative on this session."""
        self.connection.send(self.channel, code, fields, payload)

    def send_flow(self, link: Link | None = None, *, drain: bool = False) -> None:
        """Send the window, and the credit of `link` when given."""
        fields: list[Any] = [
            UInt(self._next_incoming),
            UInt(_WINDOW),
            UInt(self._next_outgoing),
            UInt(_WINDOW),
        ]
        if link is not None:
            fields += [UInt(link.handle), UInt(link.delivery_count), UInt(max(link.credit, 0))]
            fields += [None, drain, False, None]
        self.send(Code.FLOW, fields)

    def send_message(self, link: Link, tag: bytes, payload: bytes, token: uuid.UUID | None) -> None:
        """Send one message in as many frames as the peer's frame size asks for."""
        number = self._next_outgoing
        if token is not None:
            self._unsettled[number] = _Unsettled(link, token)
        room = self.connection.remote_frame_bytes - _TRANSFER_OVERHEAD_BYTES
        for start in range(0, max(len(payload), 1), room):
            more = start + room < len(payload)
            fields = [UInt(link.handle), UInt(number), tag, UInt(0), token is None, more]
            self.send(Code.TRANSFER, fields, payload[start : start + room])
            self._next_outgoing = (self._next_outgoing + 1) & _WORD
            self._remote_window -= 1

    def answer_transfer(self, delivery_id: int, error: Described | None) -> None:
        """Settle a message the peer sent: accepted, or rejected with an error."""
        state = Described(Outcome.REJECTED, [error]) if error else Described(Outcome.ACCEPTED, [])
        self._send_disposition(delivery_id, state, we_receive=True)

    def _send_disposition(self, number: int, state: Described, *, we_receive: bool) -> None:
        fields = [we_receive, UInt(number), UInt(number), True, state, False]
        self.send(Code.DISPOSITION, fields)

    # -- input

    def on_attach(self, attach: Attach) -> None:
        """Make a link and let its node answer."""
        if attach.handle in self._links:
            raise AmqpError(f"handle {attach.handle} is in use")
        if len(self._links) >= MAX_LINKS:
            raise AmqpError(f"more than {MAX_LINKS} links in one session")
        link = self._links[attach.handle] = Link(self, attach)
        try:
            link.node = self._route(link)
        except LinkError as error:
            link.refuse(error)
        else:
            link.node.attached()

    def on_detach(self, handle: int, *, closed: bool) -> None:
        """End a link the peer detached; an answer to our own detach finds none."""
        link = self._links.get(handle)
        if link is None:
            return
        self.forget(link)
        link.closed()
        self.send(Code.DETACH, [UInt(handle), closed, None])

    def on_flow(self, flow: Flow) -> None:
        """Take window and credit."""
        seen = self._next_outgoing if flow.next_incoming_id is None else flow.next_incoming_id
        in_flight = (self._next_outgoing - seen) & _WORD
        self._remote_window = flow.incoming_window - in_flight
        link = self._links.get(flow.handle) if flow.handle is not None else None
        if link is None:
            self.credit_links()
        elif link.we_send:
            link.take_credit(peer_count=flow.delivery_count, credit=flow.credit)
            link.node.credit_given()
            if flow.drain and link.is_open:
                link.drain()
        if flow.echo:
            self.send_flow(link)

    def on_transfer(self, frame: Transfer, payload: bytes) -> None:
        """Pass a frame of a message on to its link."""
        self._next_incoming = (self._next_incoming + 1) & _WORD
        link = self._links.get(frame.handle)
        if link is None:
            return
        if link.we_send:
            raise AmqpError("transfer on a link that receives")
        link.receive(frame, payload)

    def on_disposition(self, disposition: Disposition) -> None:
        """Settle the deliveries named; the range is the peer's claim, so only ours are walked."""
        if not disposition.peer_receives:
            return
        if disposition.outcome is None and not disposition.settled:
            return
        first, last = disposition.first, disposition.last
        numbers = [first] if first == last else [n for n in self._unsettled if first <= n <= last]
        for number in numbers:
            self._settle(number, disposition)

    def _settle(self, number: int, disposition: Disposition) -> None:
        found = self._unsettled.get(number)
        if found is None:
            return
        answer = found.link.node.settled(found.token, disposition)
        if answer is not None or disposition.settled:
            self._unsettled.pop(number, None)
        if answer is not None and not disposition.settled:
            self._send_disposition(number, answer, we_receive=False)  # settle mode "second" waits for it
