"""The management API over HTTP: create, read, change, delete and list entities, with their counts.

Routes are matched on the raw path, because a queue name may hold a quoted slash (`a%2Fb`).
"""

from collections.abc import MutableMapping, Sequence
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from scaler.devbroker.atom import (
    Description,
    parse_description,
    render_entry,
    render_error,
    render_feed,
    render_namespace,
)
from scaler.devbroker.entities import Queue, QueueSettings
from scaler.devbroker.namespace import Entity, Namespace, Topic
from scaler.devbroker.sas import Keys, TokenError

_ATOM_XML = "application/atom+xml"
_DEFAULT_PAGE, _MAX_PAGE = 100, 1000


class _Refusal(Exception):
    """A request answered with an error status."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


class AdminApi:
    """Answers the management requests for one namespace."""

    def __init__(self, namespace: Namespace, keys: Keys) -> None:
        """Serve `namespace`; without keys any authorization header is good."""
        self._namespace, self._keys = namespace, keys

    def application(self) -> web.Application:
        """Build the aiohttp application."""
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._handle)
        return app

    async def _handle(self, request: web.Request) -> web.Response:
        try:
            return await self._answer(request)
        except _Refusal as exc:
            body = render_error(exc.status, exc.detail)
            return web.Response(body=body, status=exc.status, content_type="application/xml")

    async def _answer(self, request: web.Request) -> web.Response:
        raw_path = request.rel_url.raw_path.strip("/")
        if raw_path == "health":
            return web.json_response({"status": "healthy", "message": "Service is healthy."})
        self._authorize(request)
        parts = [unquote(part) for part in raw_path.split("/")]
        match [part.lower() for part in parts]:
            case ["$namespaceinfo"]:
                return _xml(render_namespace())
            case ["$resources", "queues"]:
                queues = self._namespace.queues
                return _page(request, [(queues[key].name, queues[key]) for key in sorted(queues)])
            case ["$resources", "topics"]:
                topics = self._namespace.topics
                return _page(request, [(topics[key].name, topics[key]) for key in sorted(topics)])
            case [_, "subscriptions"]:
                found = self._topic(parts[0]).subscriptions
                return _page(request, [(found[key].short_name, found[key]) for key in sorted(found)])
            case [_, "subscriptions", _]:
                return await self._subscription(request, self._topic(parts[0]), parts[2])
            case [_, "subscriptions", _, *_]:
                raise _Refusal(501, "the development broker has no subscription rules; every message matches")
        return await self._queue_or_topic(request, "/".join(parts))

    def _authorize(self, request: web.Request) -> None:
        header = request.headers.get("Authorization")
        if not header:
            raise _Refusal(401, "Missing authorization header")
        try:
            grant = self._keys.grant(header, self._namespace.clock.now())
        except TokenError as exc:
            raise _Refusal(401, str(exc)) from exc
        if not grant.may_all:
            raise _Refusal(401, "Manage,EntityRead claims required for this operation.")

    def _topic(self, name: str) -> Topic:
        topic = self._namespace.topics.get(name.lower())
        if topic is None:
            raise _Refusal(404, f"Topic {name} not found")
        return topic

    async def _subscription(self, request: web.Request, topic: Topic, name: str) -> web.Response:
        found = topic.subscriptions.get(name.lower())
        if request.method == "PUT":
            _check_put(request, found, name)
            settings = (await _description(request)).settings
            entity = found or self._namespace.add_subscription(topic, name, settings)
            return _put(entity, name, settings)
        return _get_or_delete(request, found, name, topic.subscriptions)

    async def _queue_or_topic(self, request: web.Request, name: str) -> web.Response:
        namespace, key = self._namespace, name.lower()
        found = namespace.queues.get(key) or namespace.topics.get(key)
        if request.method == "PUT":
            _check_put(request, found, name)
            wanted = await _description(request)
            if found is None and not key:
                raise _Refusal(400, "an entity needs a name")
            entity = found or (namespace.add_topic(name) if wanted.is_topic else namespace.add_queue(name))
            return _put(entity, name, wanted.settings)
        if isinstance(found, Topic):
            return _get_or_delete(request, found, name, namespace.topics)
        return _get_or_delete(request, found, name, namespace.queues)


def _check_put(request: web.Request, found: Entity | None, name: str) -> None:
    if found is not None and "If-Match" not in request.headers:
        raise _Refusal(409, f"Entity {name} already exists")


async def _description(request: web.Request) -> Description:
    try:
        return parse_description(await request.read())
    except ValueError as exc:
        raise _Refusal(400, str(exc)) from exc


def _put(entity: Entity, name: str, settings: QueueSettings) -> web.Response:
    if isinstance(entity, Queue):
        entity.update(settings)
    return _xml(render_entry(entity, name), status=201)


def _get_or_delete(
    request: web.Request, found: Entity | None, name: str, table: MutableMapping[str, Any]
) -> web.Response:
    if found is None:
        raise _Refusal(404, f"Entity {name} not found")
    if request.method == "GET":
        return _xml(render_entry(found, name))
    if request.method != "DELETE":
        raise _Refusal(405, f"method {request.method} is not allowed; use GET, PUT or DELETE")
    found.delete()
    del table[name.lower()]
    return web.Response()


def _page(request: web.Request, entities: Sequence[tuple[str, Entity]]) -> web.Response:
    skip, top = _number(request, "$skip", 0), _number(request, "$top", _DEFAULT_PAGE)
    return _xml(render_feed(entities, skip=skip, top=min(top, _MAX_PAGE)))


def _number(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name, "")
    if text and (not text.isdecimal() or len(text) > 9):
        raise _Refusal(400, f"{name}: '{text}' is no whole number")
    return int(text) if text else default


def _xml(body: bytes, *, status: int = 200) -> web.Response:
    return web.Response(body=body, status=status, content_type=_ATOM_XML)
