"""Bench `network`: what of a container's start goes into its network, told by starts with others or a ready one."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from statistics import median
from typing import Any, Final

from scaler.bench.report import Figure, figure, ratios
from scaler.bench.stage import Stage
from scaler.rig.bare_engine import BareEngine, bare_engine
from scaler.rig.daemon import RigError

ALONE: Final = 30
EACH: Final = 4
"""Containers that each of those at once starts, one after the other."""
AT_ONCE: Final = (4, 8)
WAYS: Final = ("bridge", "none", "host", "joined", "replaced")
"""The baseline first. `joined`: the network of a ready container, used again; `replaced`: used once, then made anew."""

_WORDS: Final = {
    "none": "no network",
    "host": "the host's network",
    "joined": "a ready one's, used again",
    "replaced": "a ready one's, made anew after each",
}
_LABEL: Final = "io.scaler.bench=network"
_ONCE_MORE_S: Final = 0.5
_HOLD: Final = ["/bin/sleep", "86400"]
_MEMORY: Final = 128 << 20
_LIMITS: Final[Mapping[str, Any]] = {
    "Memory": _MEMORY,
    "MemorySwap": _MEMORY,
    "NanoCpus": 500_000_000,
    "PidsLimit": 512,
    "SecurityOpt": ["no-new-privileges"],
    "Init": True,
    "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "2"}},
}


def run(stage: Stage) -> Sequence[Figure]:
    """Measure; needs a Docker engine on this machine. Whatever ends it, nothing that it made is left."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        asyncio.run(_remove_all())  # what one that was killed has left
        return asyncio.run(_measure(stage))
    finally:
        interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while asyncio.run(_remove_all()):  # again, for the engine may still have been making some
            time.sleep(_ONCE_MORE_S)
        signal.signal(signal.SIGINT, interrupt)
        signal.signal(signal.SIGTERM, before)


class Trial:
    """Starts containers in each of the ways and keeps how long that took."""

    def __init__(self, engine: BareEngine, image: str, say: Callable[[str], None]) -> None:
        self._engine = engine
        self._image = image
        self._say = say
        self._number = 0
        self.latency: dict[str, list[float]] = {way: [] for way in WAYS}
        self.rate: dict[tuple[str, int], list[float]] = {}

    async def repeat(self, alone: int, each: int) -> None:
        """Do everything once: the ways take turns container by container, then group by group."""
        async with self._holders(max(AT_ONCE)) as ready:
            latency: dict[str, list[float]] = {way: [] for way in WAYS}
            for _ in range(alone):
                for way in WAYS:
                    latency[way].append(await self._one(way, ready))
            for way in WAYS:
                self.latency[way].append(median(latency[way]))
            for width in AT_ONCE:
                for way in WAYS:
                    self.rate.setdefault((way, width), []).append(await self._many(way, width, each, ready))
        texts = [f"{way} {self.latency[way][-1] * 1000:.0f} ms" for way in WAYS]
        self._say(f"network: {', '.join(texts)}")

    async def _many(self, way: str, width: int, each: int, ready: asyncio.Queue[str]) -> float:
        """Give the containers a second, from creation to removal, of so many at once."""

        async def some() -> None:
            for _ in range(each):
                await self._one(way, ready)

        clock = asyncio.get_running_loop().time
        begun = clock()
        async with asyncio.TaskGroup() as group:
            for _ in range(width):
                group.create_task(some())
        return width * each / (clock() - begun)

    async def _one(self, way: str, ready: asyncio.Queue[str]) -> float:
        """Give the seconds from creation to the answer to the start."""
        if way not in ("joined", "replaced"):
            return await self._life(way)
        holder = await ready.get()
        try:
            return await self._life(f"container:{holder}")
        finally:
            if way == "replaced":
                await self._engine.call("DELETE", f"/containers/{holder}", force="true", v="true")
                holder = await self._hold()
            ready.put_nowait(holder)

    async def _life(self, network: str) -> float:
        body = self._body(["/bin/true"], {**_LIMITS, "NetworkMode": network})
        life = await self._engine.life(self._name(), body)
        return life.started - life.begun

    @asynccontextmanager
    async def _holders(self, count: int) -> AsyncIterator[asyncio.Queue[str]]:
        ready: asyncio.Queue[str] = asyncio.Queue()
        for _ in range(count):
            ready.put_nowait(await self._hold())
        yield ready
        while not ready.empty():
            await self._engine.call("DELETE", f"/containers/{ready.get_nowait()}", force="true", v="true")

    async def _hold(self) -> str:
        """Make a container that only waits, on the bridge."""
        body = self._body(_HOLD, {"NetworkMode": "bridge", "LogConfig": {"Type": "none"}})
        made = await self._engine.call("POST", "/containers/create", body, name=self._name())
        await self._engine.call("POST", f"/containers/{made['Id']}/start")
        return str(made["Id"])

    def _name(self) -> str:
        self._number += 1
        return f"scaler-bench-network-{self._number}"

    def _body(self, command: Sequence[str], host: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "Image": self._image,
            "Entrypoint": list(command),
            "Labels": dict([_LABEL.split("=")]),
            "HostConfig": dict(host),
        }


async def _measure(stage: Stage) -> Sequence[Figure]:
    options = stage.options
    async with bare_engine() as engine:
        trial = Trial(engine, await engine.image(options.image), options.say)
        for _ in range(options.repeat):
            await trial.repeat(options.size(ALONE, least=3), options.size(EACH))
    return _figures(trial)


async def _remove_all() -> int:
    """Remove what bears our label; give how many that were. -1: not all of them, as some were just going."""
    async with bare_engine() as engine:
        try:
            return await engine.remove_all(_LABEL)
        except RigError:
            return -1


def _figures(trial: Trial) -> Sequence[Figure]:
    found = [one for way in WAYS[1:] for one in _ratios(trial, way)]
    how = "create and start, alone; median of each repetition"
    found += [figure(f"{way} alone", trial.latency[way], "s", how) for way in WAYS]
    found += [
        figure(f"bridge, {width} at once", trial.rate["bridge", width], "1/s", "rate of the baseline")
        for width in AT_ONCE
    ]
    return found


def _ratios(trial: Trial, way: str) -> Iterator[Figure]:
    """Compare one way with the baseline."""
    what = _WORDS[way]
    yield figure(
        f"{way}, start",
        ratios(trial.latency[way], trial.latency["bridge"]),
        "x",
        f"create and start, alone: {what} / bridge",
    )
    for width in AT_ONCE:
        yield figure(
            f"{way}, {width} at once",
            ratios(trial.rate[way, width], trial.rate["bridge", width]),
            "x",
            f"rate from creation to removal: {what} / bridge",
        )
