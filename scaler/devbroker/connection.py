"""One AMQP 1.0 connection of a client: framing, handshake, sessions.

The bytes come from anyone. A frame above the limit, a value that is no AMQP, a performative out of
order: the connection is closed with an error, alone, and never holds more than one frame in memory.
"""

import asyncio
import logging
import struct
from collections.abc import Callable, Sequence
from typing import Any

from scaler.devbroker.amqp_decode import decode, raw_items
from scaler.devbroker.amqp_encode import encode_section
from scaler.devbroker.amqp_types import NULL, AmqpError, Described, Symbol, SymbolArray, UByte, UInt, UShort
from scaler.devbroker.clock import Clock, Timer
from scaler.devbroker.link import describe_error
from scaler.devbroker.performatives import (
    FIELD_COUNTS,
    Attach,
    Begin,
    Code,
    Disposition,
    Fields,
    Flow,
    Open,
    Transfer,
)
from scaler.devbroker.session import MAX_LINKS, Route, Session

_log = logging.getLogger(__name__)

MAX_FRAME_BYTES = 65536
MAX_SESSIONS = 255
HANDSHAKE_S = 20.0
_PRODUCT = "scaler-devbroker"
_SASL_HEADER, _AMQP_HEADER = b"AMQP\x03\x01\x00\x00", b"AMQP\x00\x01\x00\x00"
_SASL_MECHANISMS, _SASL_INIT, _SASL_OUTCOME = 0x40, 0x41, 0x44
_AMQP_FRAME, _SASL_FRAME = 0, 1
_EMPTY_FRAME = b"\x00\x00\x00\x08\x02\x00\x00\x00"
_MIN_HEARTBEAT_S = 0.25
_WINDOW = 0x7FFFFFFF
_LARGEST_OUTPUT_FRAME = 1 << 20


class Connection(asyncio.Protocol):
    """The server side of one connection."""

    def __init__(
        self, clock: Clock, route: Route, *, on_made: "Notice", on_lost: "Notice", name: str = _PRODUCT
    ) -> None:
        """Wait for a client.

        Args:
            clock: Makes the heartbeat and the handshake limit.
            route: Finds the node behind a link, or raises `LinkError`.
            on_made: Called with the connection when it is established.
            on_lost: Called with the connection when it is gone and its links are detached.
            name: Container id the client gets to see.
        """
        self._clock, self._route, self._name = clock, route, name
        self._on_made, self._on_lost = on_made, on_lost
        self._input = bytearray()
        self._sessions: dict[int, Session] = {}
        self._opened = False
        self._timer: Timer | None = None  # handshake limit, then heartbeat
        self._transport: asyncio.Transport
        self.remote_frame_bytes = 512
        self.is_writable = True

    # -- transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the handshake's clock."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._timer = self._clock.later(HANDSHAKE_S, self.abort)
        self._on_made(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Detach every link."""
        self.is_writable = False
        if self._timer:
            self._timer.cancel()
        self._close_sessions()
        self._on_lost(self)

    def pause_writing(self) -> None:
        """Stop for a client that does not read: send no messages and read no requests."""
        self.is_writable = False
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on: the client reads again."""
        self.is_writable = True
        self._transport.resume_reading()
        for session in tuple(self._sessions.values()):
            session.credit_links()

    def abort(self) -> None:
        """Drop the connection without a word."""
        self._transport.abort()

    def _close_sessions(self) -> None:
        sessions = tuple(self._sessions.values())
        self._sessions.clear()
        for session in sessions:
            session.close()

    # -- output

    def send(self, channel: int, code: Code, fields: Sequence[Any], payload: bytes = b"") -> None:
        """Send one performative, all fields written: old SDKs need the trailing nulls."""
        _log.debug("-> %d %s %r +%d", channel, code.name, fields, len(payload))
        padded = [*fields, *[None] * (FIELD_COUNTS[code] - len(fields))]
        self._write(_AMQP_FRAME, channel, encode_section(code, padded) + payload)

    def _write(self, kind: int, channel: int, body: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(struct.pack(">IBBH", len(body) + 8, 2, kind, channel) + body)

    def _fail(self, condition: str, text: str) -> None:
        _log.info("closing a connection: %s: %s", condition, text)
        self._input.clear()
        self.send(0, Code.CLOSE, [describe_error(condition, text)])
        self._transport.close()

    # -- input

    def data_received(self, data: bytes) -> None:
        """Act on every whole frame; this is the fence between a client's bytes and the broker."""
        self._input += data
        try:
            while not self._transport.is_closing() and self._step():
                pass
        except AmqpError as exc:
            self._fail("amqp:connection:framing-error", str(exc))
        except Exception:  # noqa: BLE001  declared fence: one client never takes the broker down
            _log.exception("a fault of the broker; closing the connection that met it")
            self._fail("amqp:internal-error", "the broker met a fault of its own, see its log")

    def _step(self) -> bool:
        """Take one protocol header or frame off the input; false when none is complete."""
        if len(self._input) < 8:
            return False
        if self._input[:4] == b"AMQP":
            header = bytes(self._input[:8])
            del self._input[:8]
            self._answer_header(header)
            return True
        size, offset, kind, channel = struct.unpack_from(">IBBH", self._input)
        if not 8 <= size <= MAX_FRAME_BYTES or not 8 <= offset * 4 <= size:
            raise AmqpError(f"frame of {size} bytes, data at {offset * 4}; at most {MAX_FRAME_BYTES}")
        if len(self._input) < size:
            return False
        frame = bytes(self._input[offset * 4 : size])
        del self._input[:size]
        if frame:
            self._take_frame(kind, channel, frame)
        return True

    def _answer_header(self, header: bytes) -> None:
        if self._opened:
            raise AmqpError("protocol header after open")
        if header == _SASL_HEADER:
            self._transport.write(_SASL_HEADER)
            mechanisms = SymbolArray(("ANONYMOUS", "MSSBCBS", "PLAIN", "EXTERNAL"))
            self._write(_SASL_FRAME, 0, encode_section(_SASL_MECHANISMS, [mechanisms]))
        elif header == _AMQP_HEADER:
            self._transport.write(_AMQP_HEADER)
        else:
            self._transport.write(_SASL_HEADER)  # the protocol wants: say what we speak, then close
            self._transport.close()

    def _take_frame(self, kind: int, channel: int, frame: bytes) -> None:
        performative, end = decode(frame)
        if not isinstance(performative, Described) or not isinstance(performative.value, list):
            raise AmqpError("frame without a performative")
        if kind == _SASL_FRAME:
            if performative.code == _SASL_INIT:
                self._write(_SASL_FRAME, 0, encode_section(_SASL_OUTCOME, [UByte(0), None]))
            return
        try:
            code = Code(performative.code)
        except ValueError as exc:
            raise AmqpError(f"unknown performative {performative.code!r}") from exc
        _log.debug("<- %d %s %r +%d", channel, code.name, performative.value, len(frame) - end)
        self._dispatch(channel, code, Fields(performative.value), frame, end)

    def _dispatch(self, channel: int, code: Code, fields: Fields, frame: bytes, end: int) -> None:
        if code is Code.OPEN:
            self._open(Open.read(fields))
        elif code is Code.CLOSE:
            self.send(0, Code.CLOSE, [None])
            self._transport.close()
        elif not self._opened:
            raise AmqpError(f"{code.name} before open")
        elif code is Code.BEGIN:
            self._begin(channel, Begin.read(fields))
        elif session := self._sessions.get(channel):
            self._in_session(session, code, fields, frame, end)

    def _open(self, peer: Open) -> None:
        if self._opened:
            raise AmqpError("second open")
        self._opened = True
        if self._timer:
            self._timer.cancel()
        self.remote_frame_bytes = min(peer.max_frame_bytes, _LARGEST_OUTPUT_FRAME)
        limits = [UInt(MAX_FRAME_BYTES), UShort(MAX_SESSIONS - 1)]
        properties = {Symbol("product"): _PRODUCT}
        self.send(0, Code.OPEN, [self._name, None, *limits, None, None, None, None, None, properties])
        if peer.idle_timeout_ms:
            self._beat(max(peer.idle_timeout_ms / 2000, _MIN_HEARTBEAT_S))

    def _beat(self, period_s: float) -> None:
        if not self._transport.is_closing():
            if self.is_writable:  # a client that does not read gets no pile of heartbeats
                self._transport.write(_EMPTY_FRAME)
            self._timer = self._clock.later(period_s, lambda: self._beat(period_s))

    def _begin(self, channel: int, begin: Begin) -> None:
        if channel in self._sessions or len(self._sessions) >= MAX_SESSIONS:
            raise AmqpError(f"session on channel {channel} exists already, or too many sessions")
        self._sessions[channel] = Session(self, channel, begin, self._route)
        window = [UInt(1), UInt(_WINDOW), UInt(_WINDOW)]
        self.send(channel, Code.BEGIN, [UShort(channel), *window, UInt(MAX_LINKS - 1), None, None, {}])

    def _in_session(self, session: Session, code: Code, fields: Fields, frame: bytes, end: int) -> None:
        if code is Code.ATTACH:
            raw = raw_items(frame, decode(frame, 1)[1]) + [NULL] * 7
            session.on_attach(Attach.read(fields, raw[5], raw[6]))
        elif code is Code.FLOW:
            session.on_flow(Flow.read(fields))
        elif code is Code.TRANSFER:
            session.on_transfer(Transfer.read(fields), frame[end:])
        elif code is Code.DISPOSITION:
            session.on_disposition(Disposition.read(fields))
        elif code is Code.DETACH:
            session.on_detach(fields.number(0), closed=fields.flag(1))
        elif code is Code.END:
            del self._sessions[session.channel]
            session.close()
            self.send(session.channel, Code.END, [None])


Notice = Callable[[Connection], None]
