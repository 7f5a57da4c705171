"""The Docker engine without us: its API called as plainly as it goes, which is what we are measured against."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp

from scaler.docker_address import find_address
from scaler.errors import ScalerError
from scaler.rig.daemon import RigError
from scaler.rig.image import archive, tag_of

PATIENCE_S: Final = 120.0
_REMOVALS: Final = 50
_REMOVAL_PAUSE_S: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """One container's moments, seconds of the loop's clock: begun, started, ended, removed."""

    begun: float
    started: float
    ended: float
    removed: float


class BareEngine:
    """Calls of the engine's API, by their HTTP paths."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self._http = http

    async def call(self, method: str, path: str, body: object = None, **query: str) -> Any:
        """Send one call and give the body of its answer.

        Raises:
            RigError: the engine refuses, or does not answer.
        """
        try:
            async with self._http.request(method, f"http://engine{path}", json=body, params=query) as answer:
                if answer.status >= 400:
                    raise RigError(f"the engine refused {method} {path}: {(await answer.text()).strip()}")
                return (
                    await answer.json() if answer.content_type == "application/json" else await answer.read()
                )
        except (aiohttp.ClientError, OSError, TimeoutError) as exc:
            raise RigError(
                f"the engine does not answer: {exc}; is Docker running, and may you use its socket?"
            ) from exc

    async def life(self, name: str, body: Mapping[str, Any]) -> Life:
        """Create, start, await and remove one container: four calls.

        Raises:
            RigError: it ended with another code than 0.
        """
        clock = asyncio.get_running_loop().time
        begun = clock()
        made = await self.call("POST", "/containers/create", body, name=name)
        place = f"/containers/{made['Id']}"
        await self.call("POST", f"{place}/start")
        started = clock()
        code = (await self.call("POST", f"{place}/wait"))["StatusCode"]
        ended = clock()
        await self.call("DELETE", place, force="true", v="true")
        if code != 0:
            raise RigError(f"container {name} ended with code {code}")
        return Life(begun=begun, started=started, ended=ended, removed=clock())

    async def image(self, given: str | None) -> str:
        """Give the image to measure with: the one that is named, else one made of this machine's shell.

        Raises:
            RigError: the named one is not there.
        """
        if given is not None:
            try:
                await self.call("GET", f"/images/{given}/json")
            except RigError as exc:
                raise RigError(f"--image {given}: {exc}; is it there? docker pull {given}") from exc
            return given
        packed = await asyncio.to_thread(archive)
        tag = tag_of(packed)
        try:
            await self.call("GET", f"/images/{tag}/json")
        except RigError:
            await self._import(packed, tag)
        return tag

    async def _import(self, packed: bytes, tag: str) -> None:
        query = {"fromSrc": "-", "repo": tag.partition(":")[0], "tag": tag.partition(":")[2]}
        url = "http://engine/images/create"
        async with self._http.post(url, data=packed, params=query) as answer:
            text = await answer.text()
        if answer.status >= 400 or '"error"' in text:
            raise RigError(f"the engine takes no image: {text.strip()}")

    async def remove_all(self, label: str) -> int:
        """Remove every container that bears the label, those included that a call under way still makes; give how many.

        Raises:
            RigError: some cannot be removed.
        """
        removed: set[str] = set()
        quiet = 0
        for _ in range(_REMOVALS):
            query = {"all": "true", "filters": json.dumps({"label": [label]})}
            listed = await self.call("GET", "/containers/json", **query)
            quiet = 0 if listed else quiet + 1
            if quiet > 1:
                return len(removed)
            for one in listed:
                removed.add(one["Id"])
                with suppress(RigError):  # it is being removed already, or was: the next list tells
                    await self.call("DELETE", f"/containers/{one['Id']}", force="true", v="true")
            await asyncio.sleep(_REMOVAL_PAUSE_S)
        raise RigError(f"containers with the label {label} cannot be removed")


def engine_socket() -> str:
    """Give the path of the socket on which the engine listens, as the docker command would find it.

    Raises:
        RigError: it is on another machine, whose folders this one does not see.
    """
    url = find_address(None, os.environ).url
    if not url.startswith("unix://"):
        raise RigError(
            f"the engine is reached over a network ({url}); measure on its own machine, by its unix socket"
        )
    return urlsplit(url).path


@asynccontextmanager
async def bare_engine() -> AsyncIterator[BareEngine]:
    """Open the engine of this machine.

    Raises:
        RigError: it is on another machine, or does not answer.
    """
    connector = aiohttp.UnixConnector(engine_socket(), limit=0)
    patience = aiohttp.ClientTimeout(total=PATIENCE_S)
    async with aiohttp.ClientSession(connector=connector, timeout=patience) as http:
        engine = BareEngine(http)
        await engine.call("GET", "/version")
        yield engine


async def answers() -> bool:
    """Say whether this machine has an engine that answers."""
    try:
        async with bare_engine():
            return True
    except ScalerError:
        return False
