"""The request and reply pattern shared by `$cbs` and `$management`.

A client attaches two links to the same address and names the request's message-id as the reply's
correlation-id; the id goes back as the bytes it came in, because clients compare its type too.
"""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from scaler.devbroker.amqp_decode import decode, raw_items, sections
from scaler.devbroker.amqp_encode import encode_section
from scaler.devbroker.amqp_types import NULL, Int, Raw, Symbol
from scaler.devbroker.link import Link, Node
from scaler.devbroker.message import APPLICATION, PROPERTIES

_VALUE = 0x77
_CORRELATION_ID = 5


class BadRequest(Exception):
    """Raise when a request lacks a field or has one of the wrong type; answered with status 400."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request: its application properties, its body value, its encoded message-id."""

    properties: Mapping[Any, Any]
    body: Any
    message_id: Raw

    def _typed(self, name: str, kind: type) -> Any:
        value = self.body.get(name) if isinstance(self.body, dict) else None
        if not isinstance(value, kind) or isinstance(value, bool):
            raise BadRequest(f"{name}: {kind.__name__} wanted, got {type(value).__name__}")
        return value

    def number(self, name: str) -> int:
        """Give a number from the body."""
        return int(self._typed(name, int))

    def text(self, name: str) -> str:
        """Give a string from the body."""
        return str(self._typed(name, str))

    def maybe_text(self, name: str) -> str | None:
        """Give a string from the body, None when it is absent."""
        return self.text(name) if isinstance(self.body, dict) and self.body.get(name) is not None else None

    def maybe_bytes(self, name: str) -> bytes | None:
        """Give bytes from the body, None when they are absent."""
        if isinstance(self.body, dict) and self.body.get(name) is None:
            return None
        return bytes(self._typed(name, bytes))

    def items(self, name: str, kind: type) -> list[Any]:
        """Give a list or an array from the body, all of its items of one type."""
        values = self._typed(name, list)
        if not all(isinstance(value, kind) for value in values):
            raise BadRequest(f"{name}: every item has to be a {kind.__name__}")
        return list(values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What goes back. `condition` is the error condition, None on success; status codes are HTTP's."""

    status: int = 200
    description: str = "OK"
    body: Any = None
    condition: str | None = None


@dataclass(frozen=True, slots=True)
class Wording:
    """How a reply's status is spelled: `$cbs` and `$management` differ."""

    status: str
    description: str


CBS_WORDING = Wording("status-code", "status-description")
MANAGEMENT_WORDING = Wording("statusCode", "statusDescription")
Replies = dict[str, Link]


class ReplyNode(Node):
    """The link on which the replies of one address go out; `replies` is the connection's list of them."""

    def __init__(self, link: Link, path: str, replies: Replies) -> None:
        """Stand behind `link`."""
        self._link, self._path, self._replies = link, path, replies

    def attached(self) -> None:
        """Accept the link and make it known to its request link."""
        self._replies[self._path] = self._link
        self._link.accept()

    def detached(self) -> None:
        """Send no more replies here."""
        if self._replies.get(self._path) is self._link:
            del self._replies[self._path]


class RequestNode(Node):
    """The link on which the requests of one address come in."""

    def __init__(
        self,
        link: Link,
        path: str,
        replies: Replies,
        *,
        answer: Callable[[Request], Reply],
        wording: Wording,
    ) -> None:
        """Stand behind `link`; `answer` does what a request asks."""
        self._link, self._path, self._replies = link, path, replies
        self._answer, self._wording = answer, wording

    def attached(self) -> None:
        """Accept the link."""
        self._link.accept()

    def message(self, payload: bytes, message_format: int) -> None:
        """Answer one request; without a reply link the answer is lost, as in the service."""
        request = _parse_request(payload)
        try:
            reply = self._answer(request)
        except BadRequest as exc:
            reply = Reply(status=400, description=str(exc), condition="amqp:invalid-field")
        out = self._replies.get(self._path)
        if out is not None:
            out.send(uuid.uuid4().bytes, _encode_reply(reply, request.message_id, self._wording))


def _parse_request(payload: bytes) -> Request:
    values = {code: value for code, value, _ in sections(payload)}
    properties = raw_items(values[PROPERTIES]) if PROPERTIES in values else []
    application = decode(values[APPLICATION])[0] if APPLICATION in values else {}
    return Request(
        properties=application if isinstance(application, dict) else {},
        body=decode(values[_VALUE])[0] if _VALUE in values else None,
        message_id=properties[0] if properties else NULL,
    )


def _encode_reply(reply: Reply, message_id: Raw, wording: Wording) -> bytes:
    application: dict[str, Any] = {wording.status: Int(reply.status), wording.description: reply.description}
    if reply.condition:
        application["errorCondition"] = Symbol(reply.condition)
    correlation: list[Any] = [None] * _CORRELATION_ID + [message_id]
    out = encode_section(PROPERTIES, correlation)
    return out + encode_section(APPLICATION, application) + encode_section(_VALUE, reply.body)
