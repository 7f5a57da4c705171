"""Carries calls over to the engine, after the policy has judged them and what they refer to was found to be ours.

A container is passed on by its full id, whatever name it was asked for by: a name may change hands between our look
and the engine's. The engine gets requests that are written by us; of the client's nothing is copied but what the
policy recognized.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import structlog
from aiohttp import web
from yarl import URL

from scaler.guard.body import Checked, check_create, check_volume, joining, must_be_own_holder
from scaler.guard.grants import Grants, Refused
from scaler.guard.policy import (
    Call,
    Subject,
    must_be_holder,
    must_be_open_network,
    own_filters,
    read_json,
    recognize,
)

log = structlog.get_logger(__name__)

MAX_BODY = 1 << 20
"""Bytes that the description of a container or volume may have: the limit of aiohttp's low-level server."""
ANSWER_S = 150.0
"""How long the engine may take for a call that is no stream: longer than any limit of the daemon itself."""
_SMALL_PIECE = 1 << 16
_IDS_KEPT = 10_000
_PASSED_ON = ("Content-Type", "Api-Version", "Docker-Experimental", "Ostype", "X-Docker-Container-Path-Stat")


def follow_links(path: str) -> str | None:
    """Give a path with its links followed, or None if it is not to be seen from here."""
    try:
        return os.path.realpath(path, strict=True)
    except OSError:
        return None


class _NotFound(Exception):
    """The engine does not know the container or volume; carries its answer."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Guard:
    """Answers every request on the guard's socket."""

    def __init__(self, engine: aiohttp.ClientSession, base: str, grants: Grants) -> None:
        self._engine = engine
        self._base = base
        self._grants = grants
        self._ours: OrderedDict[str, None] = OrderedDict()
        self._refused: set[str] = set()

    @property
    def refused(self) -> frozenset[str]:
        """Give what was refused, each text once."""
        return frozenset(self._refused)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Judge a request and pass it on, or say why not."""
        try:
            call = recognize(request.method, request.raw_path, request.headers)
            return await self._judge(call, request)
        except Refused as exc:
            self._tell(str(exc))
            return _says(403, f"refused by the guard: {exc}")
        except _NotFound as exc:
            return _says(404, exc.message)
        except (aiohttp.ClientError, ConnectionError, TimeoutError) as exc:
            return _says(503, f"guard: the Docker engine does not answer: {str(exc) or type(exc).__name__}")

    def _tell(self, text: str) -> None:
        """Log what was refused, each text once."""
        if text not in self._refused and len(self._refused) < _IDS_KEPT:
            self._refused.add(text)
            log.warning("guard.refused", what=text)

    async def _judge(self, call: Call, request: web.BaseRequest) -> web.StreamResponse:
        subject = call.route.subject
        if subject in (Subject.LIST, Subject.EVENTS):
            events = subject is Subject.EVENTS
            filters = own_filters(call.query.get("filters", ""), self._grants, events=events)
            return await self._pass(request, call, call.target(query={**call.query, "filters": filters}))
        if subject is Subject.CREATE:
            return await self._create(call, request)
        if subject in (Subject.CONTAINER, Subject.INSPECTION):
            return await self._container(call, request)
        if subject is Subject.VOLUME_CREATE:
            body = check_volume(read_json(await _bytes_of(request), "body"), self._grants)
            await self._must_be_our_volume(str(body.get("Name") or ""), is_made=True)
            return await self._pass(request, call, call.target(), body=json.dumps(body).encode())
        if subject is Subject.IMAGE_LOAD:
            archive = await _bytes_of(request)
            must_be_holder(archive, self._grants)
            return await self._pass(request, call, call.target(), body=archive)
        if subject is Subject.VOLUME:
            is_removed = call.route.method == "DELETE"
            await self._must_be_our_volume(call.name, is_made=False, is_removed=is_removed)
        if subject is Subject.NETWORK:
            must_be_open_network(call.name, self._grants)
        return await self._pass(request, call, call.target())

    async def _create(self, call: Call, request: web.BaseRequest) -> web.StreamResponse:
        checked: Checked = await asyncio.to_thread(
            check_create, read_json(await _bytes_of(request), "body"), self._grants, follow_links
        )
        body = checked.body
        for name, is_made in checked.volumes.items():
            await self._must_be_our_volume(name, is_made=is_made)
        if checked.joined is not None:
            found = await self._found(checked.joined)
            self._must_be_ours(checked.joined, found)
            must_be_own_holder(checked.joined, found["Config"]["Labels"], body["Labels"])
            body = joining(body, found["Id"])
        return await self._pass(request, call, call.target(), body=json.dumps(body).encode())

    async def _container(self, call: Call, request: web.BaseRequest) -> web.StreamResponse:
        if call.name in self._ours:
            return await self._pass(request, call, call.target())
        found = await self._found(call.name)
        if call.route.subject is Subject.INSPECTION and not self._grants.owns(found["Config"]["Labels"]):
            return web.json_response(_strange(found))
        self._must_be_ours(call.name, found)
        self._remember(found["Id"])
        return await self._pass(request, call, call.target(name=found["Id"]))

    def _remember(self, container: str) -> None:
        self._ours[container] = None  # ids are never given twice, and labels never change
        while len(self._ours) > _IDS_KEPT:
            self._ours.popitem(last=False)

    def _must_be_ours(self, name: str, found: Mapping[str, Any]) -> None:
        if not self._grants.owns(found["Config"]["Labels"]):
            raise Refused(f"container '{name}': not one of the daemon's; no setting allows it")

    async def _must_be_our_volume(self, name: str, *, is_made: bool, is_removed: bool = False) -> None:
        """Refuse a volume that is somebody else's.

        `is_made`: one that is absent is made with our label. `is_removed`: that it may be mounted is not enough.
        """
        if (not name and is_made) or (self._grants.opens_volume(name) and not is_removed):
            return  # the engine makes up a name, or everybody may have it
        try:
            found = await self._ask(f"/volumes/{name}")
        except _NotFound:
            if is_made:
                return
            raise
        if not self._grants.owns(found.get("Labels")):
            raise Refused(f"volume '{name}': not one of the daemon's; no setting allows it")

    async def _found(self, name: str) -> dict[str, Any]:
        return await self._ask(f"/containers/{name}/json")

    async def _ask(self, path: str) -> dict[str, Any]:
        async with (
            asyncio.timeout(ANSWER_S),
            self._engine.get(URL(f"{self._base}{path}", encoded=True)) as answer,
        ):
            body = await answer.json(content_type=None)
        if answer.status == 404:
            raise _NotFound(str(body.get("message")))
        if answer.status != 200:
            raise aiohttp.ClientError(f"status {answer.status}: {body.get('message')}")
        return dict(body)

    # over to the engine

    async def _pass(
        self, request: web.BaseRequest, call: Call, target: str, *, body: bytes | None = None
    ) -> web.StreamResponse:
        """Make the call. `body` is what was judged; without one, what the route has of its own is streamed."""
        headers: dict[str, str] = {}
        data: bytes | AsyncIterator[bytes] | None = body
        if call.route.subject is Subject.ENGINE and "X-Registry-Auth" in request.headers:
            headers["X-Registry-Auth"] = request.headers["X-Registry-Auth"]
        if call.route.body:
            headers["Content-Type"] = call.route.body
            if body is None:  # files for a container of ours
                data = request.content.iter_chunked(_SMALL_PIECE)
        url = URL(f"{self._base}{target}", encoded=True)
        limit = None if call.route.long else ANSWER_S
        async with (
            asyncio.timeout(limit),
            self._engine.request(call.route.method, url, headers=headers, data=data) as answer,
        ):
            return await self._stream(request, answer)

    async def _stream(self, request: web.BaseRequest, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        headers = {name: answer.headers[name] for name in _PASSED_ON if name in answer.headers}
        response = web.StreamResponse(status=answer.status, headers=headers)
        if answer.status not in (204, 304):
            length = answer.headers.get("Content-Length")
            if length is not None:
                response.content_length = int(length)
        await response.prepare(request)
        async for piece in answer.content.iter_any():
            await response.write(piece)
        await response.write_eof()
        return response


async def _bytes_of(request: web.BaseRequest) -> bytes:
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise Refused(f"body: more than {MAX_BODY >> 20} MiB") from None


def _strange(found: Mapping[str, Any]) -> dict[str, Any]:
    """Tell of somebody else's container only that it is there: enough to see that a name is taken."""
    return {
        "Id": found["Id"],
        "Name": found["Name"],
        "State": {"Status": found["State"]["Status"]},
        "Config": {"Labels": {}},
    }


def _says(status: int, message: str) -> web.Response:
    return web.json_response({"message": message}, status=status)
