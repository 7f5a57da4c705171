"""Bench `network`: what of a start goes into the container's network, and what networks made ahead save of it."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final

from scaler.bench.feed import Feed, open_feed
from scaler.bench.report import Figure, figure, ratios
from scaler.bench.stage import Options, Stage
from scaler.bench.yard import PATIENCE_S, Yard, open_yard
from scaler.model.names import LABEL_INSTANCE, LABEL_NETWORK
from scaler.rig.daemon import Daemon

ALONE: Final = 30
EACH: Final = 4
"""Containers that each of those at once starts, one after the other."""
AT_ONCE: Final = (4, 8)
MESSAGES: Final = 48
SAMPLES: Final = 10
WAYS: Final = {
    "bridge": "the default bridge",
    "none": "no network",
    "host": "the host's network",
    "joined": "a ready one's, used again",
    "replaced": "a ready one's, made anew after each",
}
"""The baseline first."""
READY: Final = 8
_REST_S: Final = 1.5
_HOLD: Final = ("/bin/sleep", "86400")


@dataclass(slots=True, kw_only=True)
class Starts:
    """By way: seconds of a start alone, and containers a second from creation to removal, so many at once."""

    alone: dict[str, list[float]] = field(default_factory=lambda: {way: [] for way in WAYS})
    rates: dict[tuple[str, int], list[float]] = field(
        default_factory=lambda: {(way, width): [] for way in WAYS for width in AT_ONCE}
    )


@dataclass(slots=True, kw_only=True)
class Ours:
    """Of one daemon by repetition: seconds from a decision to the start, and messages a second."""

    starts: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)


def run(stage: Stage) -> Sequence[Figure]:
    """Measure; needs an engine."""
    options, bare, plain, ready = stage.options, Starts(), Ours(), Ours()
    with open_yard(stage) as yard, _fed(stage, yard, 0) as without:
        body = yard.body(yard.spool())
        for _ in range(options.repeat):
            yard.do(Trial(yard, body).repeat(bare, options))
            options.say(", ".join(f"{way} {bare.alone[way][-1] * 1e3:.0f} ms" for way in WAYS))
        with _fed(stage, yard, READY) as given:
            for number in range(options.repeat):
                sides = ((without, plain), (given, ready))
                for feed, ours in sides if number % 2 == 0 else reversed(sides):
                    _measure(feed, ours, options)
                options.say(f"daemon: {plain.rates[-1]:.2f}/s, with ready ones {ready.rates[-1]:.2f}/s")
    return [*_figures(bare), *_figures_of_ours(plain, ready, options)]


class Trial:
    """Bare containers in each of the ways."""

    def __init__(self, yard: Yard, body: Mapping[str, Any]) -> None:
        self._yard = yard
        self._body = body
        self._number = 0

    async def repeat(self, found: Starts, options: Options) -> None:
        """Do everything once: the ways take turns container by container, then group by group."""
        ready: asyncio.Queue[str] = asyncio.Queue()
        for _ in range(max(AT_ONCE)):
            ready.put_nowait(await self._hold())
        alone: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(options.size(ALONE, least=3)):
            for way, seconds in alone.items():
                seconds.append(await self._one(way, ready))
        for way, seconds in alone.items():
            found.alone[way].append(median(seconds))
        for (way, width), rates in found.rates.items():
            rates.append(await self._many(way, width, options.size(EACH), ready))
        while not ready.empty():
            await self._remove(ready.get_nowait())

    async def _many(self, way: str, width: int, each: int, ready: asyncio.Queue[str]) -> float:
        """Give the containers a second, from creation to removal, of so many at once."""

        async def some() -> None:
            for _ in range(each):
                await self._one(way, ready)

        clock = asyncio.get_running_loop().time
        begun = clock()
        async with asyncio.TaskGroup() as group:
            for number in range(width):
                group.create_task(some(), name=f"lane-{number}")
        return width * each / (clock() - begun)

    async def _one(self, way: str, ready: asyncio.Queue[str]) -> float:
        """Give the seconds from creation to the answer to the start."""
        if way not in ("joined", "replaced"):
            return await self._life(way)
        holder = await ready.get()
        seconds = await self._life(f"container:{holder}")
        if way == "replaced":
            await self._remove(holder)
            holder = await self._hold()
        ready.put_nowait(holder)
        return seconds

    async def _life(self, network: str) -> float:
        body = {**self._body, "HostConfig": {**self._body["HostConfig"], "NetworkMode": network}}
        life = await self._yard.engine.life(self._name(), body)
        return life.started - life.begun

    async def _hold(self) -> str:
        """Make a container that only waits, on the bridge."""
        host = {"NetworkMode": "bridge", "LogConfig": {"Type": "none"}}
        body = {"Image": self._yard.image, "Entrypoint": list(_HOLD), "HostConfig": host}
        body["Labels"] = self._body["Labels"]
        made = await self._yard.engine.call("POST", "/containers/create", body, name=self._name())
        await self._yard.engine.call("POST", f"/containers/{made['Id']}/start")
        return str(made["Id"])

    async def _remove(self, container: str) -> None:
        await self._yard.engine.call("DELETE", f"/containers/{container}", force="true", v="true")

    def _name(self) -> str:
        self._number += 1
        return f"bench-{self._yard.mark}-network-{self._number}"


@contextmanager
def _fed(stage: Stage, yard: Yard, ready: int) -> Iterator[Feed]:
    """Run a daemon with so many ready networks until they are there, and give it a job."""
    with ExitStack() as stack:
        plan = yard.plan(stage.folder / f"daemon-{ready}", readyNetworks=ready)
        daemon = Daemon(plan, stage.connect)
        stack.callback(_remove_rest, yard, daemon)
        stack.enter_context(daemon.running())
        yard.learn(daemon)
        label = f"{LABEL_INSTANCE}={_instance(daemon)}"
        daemon.until(lambda: _count(yard, label) >= ready, timeout_s=PATIENCE_S, what=f"{ready} networks")
        yield stack.enter_context(open_feed(yard, daemon, at_most=max(AT_ONCE)))


def _count(yard: Yard, label: str) -> int:
    """Count the networks that a daemon has ready."""
    filters = f'{{"label":["{LABEL_NETWORK}","{label}"],"status":["running"]}}'
    return len(yard.do(yard.engine.call("GET", "/containers/json", filters=filters)))


def _instance(daemon: Daemon) -> str:
    """Read what marks the daemon's containers; '' if it had not come so far."""
    path = daemon.state_dir / "scaler.db"
    if not path.exists():
        return ""
    with closing(sqlite3.connect(path)) as records:
        found = records.execute("SELECT value FROM notes WHERE key = 'instance'").fetchone()
    return str(found[0]) if found else ""


def _remove_rest(yard: Yard, daemon: Daemon) -> None:
    """Remove what the daemon leaves if it is killed: nobody will start it again, as it does for others."""
    if instance := _instance(daemon):
        yard.do(yard.engine.remove_all(f"{LABEL_INSTANCE}={instance}"))


def _measure(feed: Feed, ours: Ours, options: Options) -> None:
    """Put messages one at a time, then many at once."""
    begun = len(feed.begun())
    starts = []
    for _ in range(options.size(SAMPLES, least=3)):
        feed.put()
        starts.append(feed.next_start())
        feed.rest()
        time.sleep(_REST_S)
    decided = [one.decided for one in feed.begun()[begun:]]
    ours.starts.append(median(start - at for start, at in zip(starts, decided, strict=True)))
    known = feed.events.moments("create").keys()
    total = options.size(MESSAGES, least=8)
    feed.put(total)
    feed.rest()
    created = [at for name, at in feed.events.moments("create").items() if name not in known]
    ours.rates.append(total / (max(feed.events.moments("destroy").values()) - min(created)))
    for _ in created:
        feed.next_start()
    time.sleep(_REST_S)


def _figures(bare: Starts) -> list[Figure]:
    found = [one for way in WAYS if way != "bridge" for one in _ratios(bare, way)]
    how = "create and start of a bare container, alone; median of each repetition"
    found += [figure(f"{way} alone", bare.alone[way], "s", how) for way in WAYS]
    found += [
        figure(f"bridge, {width} at once", bare.rates["bridge", width], "1/s", "rate of the baseline")
        for width in AT_ONCE
    ]
    return found


def _ratios(bare: Starts, way: str) -> Iterator[Figure]:
    """Compare one way with the baseline."""
    how = f"create and start, alone: {WAYS[way]} / bridge"
    yield figure(f"{way}, start", ratios(bare.alone[way], bare.alone["bridge"]), "x", how)
    for width in AT_ONCE:
        runs = ratios(bare.rates[way, width], bare.rates["bridge", width])
        how = f"rate from creation to removal: {WAYS[way]} / bridge"
        yield figure(f"{way}, {width} at once", runs, "x", how)


def _figures_of_ours(plain: Ours, ready: Ours, options: Options) -> list[Figure]:
    with_without = f"the daemon with readyNetworks: {READY} / without"
    size = f"{options.size(MESSAGES, least=8)} messages of 0 s, {max(AT_ONCE)} at once"
    start = "decision to started, alone"
    return [
        figure("ours, start", ratios(ready.starts, plain.starts), "x", f"{start}: {with_without}"),
        figure(
            "ours, drain", ratios(ready.rates, plain.rates), "x", f"messages a second: {with_without}; {size}"
        ),
        figure("ours alone, without", plain.starts, "s", start),
        figure("ours alone, with", ready.starts, "s", start),
        figure(
            "ours, drain without", plain.rates, "1/s", "first creation to last removal, by the engine's clock"
        ),
        figure("ours, drain with", ready.rates, "1/s", "the same"),
    ]
