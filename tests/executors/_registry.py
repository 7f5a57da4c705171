"""An image registry of one tiny image, which asks for a name and a password and counts what it is asked."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import json
import tarfile
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

USER, PASSWORD = "puller", "canary-registry-pa55word"
_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG = "application/vnd.docker.container.image.v1+json"
_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


class TinyRegistry:
    """Serves `tiny:1`; each manifest takes `delay_s`, so that several launches can come in meanwhile."""

    def __init__(self, *, delay_s: float) -> None:
        self.delay_s = delay_s
        self.port = 0
        self.manifests_asked = 0
        tar = io.BytesIO()
        with tarfile.open(fileobj=tar, mode="w") as archive:
            archive.addfile(tarfile.TarInfo("hello"), io.BytesIO(b""))
        layer = gzip.compress(tar.getvalue(), mtime=0)
        rootfs = {"type": "layers", "diff_ids": [_digest(tar.getvalue())]}
        config = json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs}).encode()
        self._blobs = {_digest(one): one for one in (layer, config)}
        self._manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": _MANIFEST,
                "config": {"mediaType": _CONFIG, "size": len(config), "digest": _digest(config)},
                "layers": [{"mediaType": _LAYER, "size": len(layer), "digest": _digest(layer)}],
            }
        ).encode()

    @property
    def server(self) -> str:
        """Give host and port, as a job names its registry."""
        return f"127.0.0.1:{self.port}"

    @property
    def image(self) -> str:
        """Give the full name of the one image."""
        return f"{self.server}/tiny:1"

    async def answer(self, request: web.Request) -> web.Response:
        """Answer any request under /v2/."""
        wanted = "Basic " + b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if request.headers.get("Authorization") != wanted:
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="tiny"'})
        kind, _, what = request.path.removeprefix("/v2/").removeprefix("tiny/").partition("/")
        if kind == "manifests" and what in ("1", _digest(self._manifest)):
            self.manifests_asked += request.method == "HEAD"
            await asyncio.sleep(self.delay_s)
            headers = {"Docker-Content-Digest": _digest(self._manifest)}
            return web.Response(body=self._manifest, content_type=_MANIFEST, headers=headers)
        if kind == "blobs" and what in self._blobs:
            return web.Response(body=self._blobs[what], content_type="application/octet-stream")
        return web.Response(status=200 if request.path == "/v2/" else 404)


@asynccontextmanager
async def tiny_registry(*, delay_s: float = 0.5) -> AsyncIterator[TinyRegistry]:
    """Run a registry on a free port of this machine; the engine needs no TLS for 127.0.0.1."""
    registry = TinyRegistry(delay_s=delay_s)
    app = web.Application()
    app.router.add_route("*", "/{any:.*}", registry.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    registry.port = runner.addresses[0][1]
    try:
        yield registry
    finally:
        await runner.cleanup()
