"""Joins AMQP links to entities: who may attach where, what a message or an outcome does there."""

import re
import uuid
from typing import Any
from urllib.parse import unquote

from scaler.devbroker.amqp_types import Described, Symbol
from scaler.devbroker.entities import Queue, Settlement
from scaler.devbroker.link import Link, Node, describe_error
from scaler.devbroker.management import manage
from scaler.devbroker.message import BATCH_FORMAT, parse_message, split_batch
from scaler.devbroker.namespace import Entity, Namespace, Topic
from scaler.devbroker.performatives import Disposition, Outcome
from scaler.devbroker.receiver import VENDOR, LinkError
from scaler.devbroker.requests import (
    CBS_WORDING,
    MANAGEMENT_WORDING,
    Replies,
    Reply,
    ReplyNode,
    Request,
    RequestNode,
)
from scaler.devbroker.sas import Grant, Keys, TokenError, audience_path

_URL_PREFIX = re.compile(r"^[a-z]+://[^/]*/")
_MANAGEMENT = re.compile(r"(?i)/\$management$")
_SESSION_FILTER = VENDOR + "session-filter"
_TICKS_AT_1970 = 621355968000000000  # .NET counts 100 ns steps from the year 1
_SETTLED = 1
_FILTER_FIELD, _SOURCE_FIELDS = 7, 11
_DEFAULT_SESSION_WAIT_MS = 60000


class SenderNode(Node):
    """Behind a link on which a client sends messages to an entity."""

    def __init__(self, link: Link, entity: Entity) -> None:
        """Stand behind `link`."""
        self._link, self._entity = link, entity

    def attached(self) -> None:
        """Accept the link."""
        self._link.accept()

    def message(self, payload: bytes, message_format: int) -> None:
        """Store one message, or all those of a batch."""
        if self._entity.is_deleted:
            raise LinkError("amqp:not-found", f"The messaging entity '{self._entity.name}' was deleted.")
        encoded = split_batch(payload) if message_format == BATCH_FORMAT else [payload]
        for message in [parse_message(one) for one in encoded]:
            self._entity.put(message)


class ReceiverNode(Node):
    """Behind a link on which a client receives from a queue; it is the queue's `Receiver`."""

    def __init__(self, link: Link, queue: Queue) -> None:
        """Stand behind `link`.

        Raises:
            LinkError: The queue requires sessions and the link asks for none.
        """
        self._link, self._queue = link, queue
        self._is_answered = False
        if queue.settings.requires_session and _SESSION_FILTER not in link.request.source_filter:
            text = (
                "It is not possible for an entity that requires sessions to create a non-sessionful receiver."
            )
            raise LinkError("amqp:not-allowed", text)

    def attached(self) -> None:
        """Accept the link, or wait for the session it asks for."""
        if self._queue.settings.requires_session:
            self._queue.sessions.accept(self, self._wanted_session(), self._session_wait_s())
            return
        self._is_answered = True
        self._queue.attach(self)
        self._link.accept()

    def _wanted_session(self) -> str | None:
        wanted = self._link.request.source_filter[_SESSION_FILTER]
        value = wanted.value if isinstance(wanted, Described) else wanted
        return str(value) if value is not None else None

    def _session_wait_s(self) -> float:
        wait_ms = self._link.request.properties.get(VENDOR + "timeout", _DEFAULT_SESSION_WAIT_MS)
        return min(wait_ms, 2**32) / 1000 if isinstance(wait_ms, int) else _DEFAULT_SESSION_WAIT_MS / 1000

    def detached(self) -> None:
        """Leave the queue."""
        self._queue.detach(self)

    def credit_given(self) -> None:
        """Have the queue hand out what waits."""
        self._queue.pump()

    def settled(self, token: uuid.UUID, disposition: Disposition) -> Described | None:
        """Tell the queue what the receiver decided and echo it, as the SDK expects."""
        details = disposition.details
        reason = description = None
        echo = Described(disposition.outcome, [])
        match disposition.outcome:
            case Outcome.ACCEPTED:
                how = Settlement.COMPLETED
            case Outcome.RELEASED:
                how = Settlement.RELEASED
            case Outcome.REJECTED:
                how = Settlement.DEAD_LETTERED
                reason, description = _dead_letter_texts(details.get(0))
            case Outcome.MODIFIED:
                undeliverable_here = details.flag(1)
                how = Settlement.DEFERRED if undeliverable_here else Settlement.ABANDONED
                echo = Described(Outcome.MODIFIED, [True, undeliverable_here])
            case _:
                return None
        if self._queue.settle(token, how, reason=reason, description=description):
            return echo
        lost = describe_error(VENDOR + "message-lock-lost", "The lock supplied is invalid.")
        return Described(Outcome.REJECTED, [lost])

    # -- the queue's side

    @property
    def takes_at_once(self) -> bool:
        """Receive-and-delete is a link whose deliveries are settled from the start."""
        return self._link.request.sender_settle_mode == _SETTLED

    @property
    def can_take(self) -> bool:
        """The link is open, has credit, and its session and connection have room."""
        return self._link.is_open and self._link.credit > 0 and self._link.session.has_room

    @property
    def is_open(self) -> bool:
        """The link is attached."""
        return self._link.is_open

    def deliver(self, token: uuid.UUID, payload: bytes) -> None:
        """Send one message; the delivery tag is the lock token as a little-endian GUID."""
        self._link.send(token.bytes_le, payload, token=None if self.takes_at_once else token)

    def grant_session(self, session_id: str, locked_until: float) -> None:
        """Accept the link: the source's filter names the session, a property the end of its lock."""
        self._is_answered = True
        source: list[Any] = [None] * _SOURCE_FIELDS
        source[0] = self._link.request.address
        source[_FILTER_FIELD] = {Symbol(_SESSION_FILTER): session_id}
        ticks = int(locked_until * 10**7) + _TICKS_AT_1970
        self._link.accept(source=source, properties={Symbol(VENDOR + "locked-until-utc"): ticks})

    def refuse(self, error: LinkError) -> None:
        """End the link with an error, whether its attach was answered or not."""
        if self._is_answered:
            self._link.detach(error)
        else:
            self._link.refuse(error)


def _dead_letter_texts(error: Any) -> tuple[str | None, str | None]:
    fields = error.value if isinstance(error, Described) and isinstance(error.value, list) else []
    info = fields[2] if len(fields) > 2 and isinstance(fields[2], dict) else {}
    texts = [info.get(name) for name in ("DeadLetterReason", "DeadLetterErrorDescription")]
    reason, description = (text if isinstance(text, str) else None for text in texts)
    return reason, description


class Gatekeeper:
    """Finds the node behind each link of one connection and remembers what the client may reach."""

    def __init__(self, namespace: Namespace, keys: Keys) -> None:
        """Serve one connection; without keys any token is good and none is needed."""
        self._namespace, self._keys = namespace, keys
        self._replies: Replies = {}
        self._grants: dict[str, Grant] = {}  # by entity path

    def route(self, link: Link) -> Node:
        """Give the node a link asks for.

        Raises:
            LinkError: The entity is missing, or no valid token covers it.
        """
        path = unquote(_URL_PREFIX.sub("", link.request.address))
        if path == "$cbs":
            if link.we_send:
                return ReplyNode(link, path, self._replies)
            return RequestNode(link, path, self._replies, answer=self._put_token, wording=CBS_WORDING)
        entity_path = _MANAGEMENT.sub("", path)
        entity = self._find(entity_path)
        if entity_path == path:
            return self._entity_node(link, entity)
        if link.we_send:
            return ReplyNode(link, path, self._replies)

        def answer(request: Request) -> Reply:
            return manage(entity, request)

        return RequestNode(link, path, self._replies, answer=answer, wording=MANAGEMENT_WORDING)

    def _entity_node(self, link: Link, entity: Entity) -> Node:
        if not link.we_send:
            if not self._may_reach(entity.name.lower(), to_send=True):
                raise LinkError(
                    "amqp:unauthorized-access", "Unauthorized access. 'Send' claim(s) are required."
                )
            return SenderNode(link, entity)
        if isinstance(entity, Topic):
            raise _missing(entity.name)
        return ReceiverNode(link, entity)

    def _find(self, path: str) -> Entity:
        if not self._may_reach(path.lower()):
            raise LinkError("amqp:unauthorized-access", f"No valid token for '{path}'.")
        entity = self._namespace.find(path)
        if entity is None:
            raise _missing(path)
        return entity

    def _may_reach(self, path: str, *, to_send: bool = False) -> bool:
        if self._keys.takes_any:
            return True
        now = self._namespace.clock.now()
        live = (to for to, grant in self._grants.items() if grant.end > now and grant.may_all >= to_send)
        return any(not granted or path == granted or path.startswith(granted + "/") for granted in live)

    def _put_token(self, request: Request) -> Reply:
        audience = str(request.properties.get("name", ""))
        try:
            grant = self._keys.grant(str(request.body), self._namespace.clock.now())
        except TokenError as exc:
            return Reply(status=401, description=str(exc))
        self._grants[audience_path(audience)] = grant
        return Reply(status=202, description="Accepted")


def _missing(path: str) -> LinkError:
    return LinkError("amqp:not-found", f"The messaging entity '{path}' could not be found.")
