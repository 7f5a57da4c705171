"""A local server that answers as GitHub's REST API does, and what opens the scaler on it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from scaler.engine.sessions import Sessions
from scaler.errors import PollError
from scaler.ports.scaler import Scaler, ScalerContext
from scaler.scalers.github_runner import SCALER, Metadata
from scaler.wire.metadata import validate

Job = tuple[str, list[str]]


class Github:
    """`runs` maps a repository to its runs: id -> (status, jobs); a job is (status, labels)."""

    def __init__(self) -> None:
        self.runs: dict[str, dict[int, tuple[str, list[Job]]]] = {}
        self.archived: set[str] = set()
        self.page_size = 100
        self.links = True
        self.headers: dict[str, str] = {}
        self.fault: tuple[int, Any] | None = None
        self.fault_at = ""
        self.delay_s = 0.0
        self.tokens = {"canary-pat", "canary-installation"}
        self.expires_in = timedelta(hours=1)
        self.asked: list[str] = []
        self.unchanged = 0
        self.installations = 0
        self.public_key: Any = None
        self.claims: list[dict[str, Any]] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path_qs)
        await asyncio.sleep(self.delay_s)
        if self.fault is not None and self.fault_at in request.path_qs:
            status, body = self.fault
            return web.json_response(body, status=status, headers=self.headers)
        assert request.headers["Accept"] == "application/vnd.github+json"
        assert request.headers["X-GitHub-Api-Version"] == "2022-11-28"
        if request.headers.get("Authorization", "").removeprefix("Bearer ") not in self.tokens:
            return web.json_response({"message": "Bad credentials"}, status=401)
        found = self._find(request)
        if found is None:
            return web.json_response({"message": "Not Found"}, status=404)
        return self._paged(request, *found)

    def _find(self, request: web.Request) -> tuple[str | None, list[Any]] | None:
        parts = request.path.strip("/").split("/")
        if parts[0] in ("orgs", "users") and parts[1:] == ["octo", "repos"]:
            return None, [
                {"id": n, "name": name, "full_name": f"octo/{name}", "archived": name in self.archived,
                 "disabled": False, "private": True}
                for n, name in enumerate(self.runs)
            ]  # fmt: skip
        if parts[:2] != ["repos", "octo"] or parts[2] not in self.runs:
            return None
        runs = self.runs[parts[2]]
        if parts[-1] == "runs":
            wanted = request.query["status"]
            return "workflow_runs", [
                {"id": number, "name": "CI", "status": status, "conclusion": None, "event": "push"}
                for number, (status, _jobs) in runs.items()
                if status == wanted
            ]
        if int(parts[-2]) not in runs:
            return None
        return "jobs", [
            {"id": n, "run_id": int(parts[-2]), "status": status, "labels": labels, "runner_name": None}
            for n, (status, labels) in enumerate(runs[int(parts[-2])][1])
        ]

    def _paged(self, request: web.Request, key: str | None, rows: list[Any]) -> web.Response:
        page, size = int(request.query["page"]), min(self.page_size, int(request.query["per_page"]))
        shown = rows[(page - 1) * size : page * size]
        body = json.dumps({"total_count": len(rows), key: shown} if key else shown)
        etag = f'W/"{hashlib.sha256(body.encode()).hexdigest()}"'
        headers = {"ETag": etag, **self.headers}
        if self.links and page * size < len(rows):
            following = request.url.update_query(page=page + 1)
            headers["Link"] = f'<{following}>; rel="next", <{request.url}>; rel="last"'
        if request.headers.get("If-None-Match") == etag:
            self.unchanged += 1
            return web.Response(status=304, headers={"ETag": etag, **self.headers})
        return web.Response(text=body, content_type="application/json", headers=headers)

    async def install(self, request: web.Request) -> web.Response:
        if self.fault is not None and self.fault_at == "token":
            return web.json_response(self.fault[1], status=self.fault[0], headers=self.headers)
        signed = request.headers["Authorization"].removeprefix("Bearer ")
        try:
            claims = jwt.decode(signed, self.public_key, algorithms=["RS256"], options={"verify_iat": False})
        except jwt.PyJWTError:
            return web.json_response({"message": "A JSON web token could not be decoded"}, status=401)
        self.claims.append(claims)
        if request.match_info["id"] != "42":
            return web.json_response({"message": "Not Found"}, status=404)
        self.installations += 1
        expires = (datetime.now(UTC) + self.expires_in).strftime("%Y-%m-%dT%H:%M:%SZ")
        return web.json_response({"token": "canary-installation", "expires_at": expires}, status=201)


@asynccontextmanager
async def serving(github: Github) -> AsyncIterator[Github]:
    """Serve on this machine; `github.url` is the API's base."""
    app = web.Application()
    app.router.add_post("/app/installations/{id}/access_tokens", github.install)
    app.router.add_get("/{tail:.*}", github.answer)
    server = TestServer(app)
    await server.start_server()
    github.url = str(server.make_url("")).rstrip("/")
    try:
        yield github
    finally:
        await server.close()


PAT = {"personalAccessToken": "canary-pat"}
BASE = {"owner": "octo", "runnerScope": "org"}


class Clock:
    """A wall clock that can be moved."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


def parameters(metadata: dict[str, str], auth: dict[str, str]) -> Metadata:
    built, faults = validate(Metadata, metadata, auth, {})
    assert faults == ()
    assert isinstance(built, Metadata)
    return built


@asynccontextmanager
async def opened(
    github: Github,
    metadata: dict[str, str] | None = None,
    auth: dict[str, str] | None = None,
    *,
    pool: Any = None,
    timeout_s: float = 5.0,
    clock: Clock | None = None,
) -> AsyncIterator[Scaler]:
    meta = parameters({**BASE, "githubApiURL": github.url, **(metadata or {})}, auth or PAT)
    async with contextlib.AsyncExitStack() as stack:
        used = pool if pool is not None else await stack.enter_async_context(Sessions())
        context = ScalerContext(job="j", rule="r", timeout_s=timeout_s, sessions=used, now=clock or Clock())
        yield await stack.enter_async_context(SCALER.open(meta, context))


@contextmanager
def failing(reason: str, *, transient: bool) -> Iterator[Any]:
    with pytest.raises(PollError) as caught:
        yield caught
    assert (caught.value.reason, caught.value.transient) == (reason, transient), str(caught.value)
    assert "canary" not in str(caught.value)
