"""The containers of one bench: bare ones, those of its daemon, and their removal however the bench ends."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from scaler.bench.stage import Stage
from scaler.errors import ScalerError
from scaler.model.names import LABEL_JOB
from scaler.rig.bare_engine import BareEngine, Life, bare_engine
from scaler.rig.daemon import Daemon, Plan, RigError, env_list, spool_job
from scaler.rig.engine_events import EngineEvents
from scaler.rig.spool import MOUNT, WORKER, Spool

LABEL: Final = "io.scaler.bench"
"""What every bare container bears, so that it can be removed."""

RESOURCES: Final = {"cpu": 1.0, "memory": "256Mi"}
_COMMAND: Final = ("/bin/sh", f"{MOUNT}/{WORKER}")
_KEPT: Final = ("Image", "Env", "Entrypoint", "Cmd", "User", "StopTimeout")
_T = TypeVar("_T")
PATIENCE_S: Final = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bout:
    """A number of containers one after the other, some at once: seconds in all, and the life of each."""

    seconds: float
    lives: Sequence[Life]

    @property
    def rate(self) -> float:
        """Containers a second."""
        return len(self.lives) / self.seconds

    @property
    def starts_s(self) -> list[float]:
        """Seconds from the call that creates to the answer that it is started."""
        return [life.started - life.begun for life in self.lives]


class Yard:
    """Made by `open_yard`; what it starts is gone when that is left."""

    def __init__(self, engine: BareEngine, image: str, runner: asyncio.Runner, folder: Path) -> None:
        self.engine = engine
        self.image = image
        self.mark = uuid.uuid4().hex[:8]
        self._runner = runner
        self._folder = folder
        self._count = 0
        self._model: dict[str, Any] = {}
        self._labels = [f"{LABEL}={self.mark}"]

    def do(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run something on the bench's loop."""
        return self._runner.run(work)

    def clear(self) -> None:
        """Remove every container of this bench; its daemons must have ended."""
        for label in self._labels:
            self.do(self.engine.remove_all(label))

    # a queue and its job

    def spool(self, messages: int = 0, *, think_s: float = 0.0) -> Spool:
        """Make a queue with so many messages."""
        self._count += 1
        spool = Spool(self._folder / f"spool-{self._count}")
        spool.put(names(messages), think_s=think_s)
        return spool

    def job(self, spool: Spool, scale: Mapping[str, Any], **env: object) -> dict[str, Any]:
        """Make a job whose workers take messages of a spool as containers; it has a name of its own."""
        extension = {"executor": "docker", "docker": {"mounts": [f"{spool.folder}:{MOUNT}"]}}
        container: dict[str, Any] = {"image": self.image, "command": list(_COMMAND), "resources": RESOURCES}
        if env:
            container["env"] = env_list(env)
        name = f"bench-{self.mark}-{spool.folder.name.rpartition('-')[2]}"
        self._labels.append(f"{LABEL_JOB}={name}")
        return spool_job(name, spool.folder, scale=scale, container=container, extension=extension)

    def events(self, job: Mapping[str, Any]) -> EngineEvents:
        """Follow what the engine tells of a job's containers."""
        return EngineEvents(f"{LABEL_JOB}={job['name']}")

    def bare_events(self) -> EngineEvents:
        """Follow what the engine tells of bare containers."""
        return EngineEvents(self._labels[0])

    def plan(self, folder: Path, **docker: object) -> Plan:
        """Plan a daemon whose jobs may mount the bench's folders."""
        return Plan(
            folder=folder,
            settings={"executors": {"docker": {"allowedMounts": [str(self._folder)], **docker}}},
        )

    # bare containers

    def learn(self, daemon: Daemon) -> None:
        """Let the daemon make one container, and remember how: bare ones are to be the same."""
        spool = self.spool(1, think_s=1.0)
        job = self.job(spool, {"pollingInterval": 1, "maxExecutions": 1})
        with self.events(job) as events:
            daemon.write(job)
            daemon.until(lambda: events.moments("start"), timeout_s=PATIENCE_S, what="a first container")
            (name,) = events.moments("start")
            self._model = body_of(self.do(self.engine.call("GET", f"/containers/{name}/json")))
            daemon.until(lambda: events.are_gone(1), timeout_s=PATIENCE_S, what="its end")

    def body(self, spool: Spool, **host: object) -> dict[str, Any]:
        """Give the body that creates such a container on a spool; `host` changes settings of its host part."""
        mount = {**self._model["HostConfig"]["Mounts"][0], "Source": str(spool.folder)}
        return {
            **self._model,
            "Labels": {LABEL: self.mark},
            "HostConfig": {**self._model["HostConfig"], "Mounts": [mount], **host},
        }

    def bout(self, body: Mapping[str, Any], total: int, *, at_once: int) -> Bout:
        """Create, start, await and remove `total` bare containers, `at_once` at any time.

        Raises:
            RigError: one of them failed.
        """
        return self.do(self._bout(body, total, at_once))

    async def _bout(self, body: Mapping[str, Any], total: int, at_once: int) -> Bout:
        clock = asyncio.get_running_loop().time
        numbers, lives = iter(range(total)), []
        self._count += 1
        prefix = f"bench-{self.mark}-{self._count}"

        async def lane() -> None:
            lives.extend([await self.engine.life(f"{prefix}-{number}", body) for number in numbers])

        began = clock()
        try:
            async with asyncio.TaskGroup() as lanes:
                for number in range(at_once):
                    lanes.create_task(lane(), name=f"lane-{number}")
        except ExceptionGroup as group:
            fault = group.exceptions[0]
            raise fault if isinstance(fault, ScalerError) else group from None
        return Bout(seconds=clock() - began, lives=lives)

    def drained(self, total: int, *, at_once: int, think_s: float = 0.0) -> Bout:
        """Drain a full spool with bare containers; each message must have been done."""
        spool = self.spool(total, think_s=think_s)
        bout = self.bout(self.body(spool), total, at_once=at_once)
        check_done(spool, total)
        return bout


def names(count: int) -> list[str]:
    """Name so many messages."""
    return [f"message-{number:05}" for number in range(count)]


def body_of(inspected: Mapping[str, Any]) -> dict[str, Any]:
    """Take from the engine's description of a container what creates another of that kind. Pure."""
    config = inspected["Config"]
    kept = {name: config[name] for name in _KEPT if config.get(name) is not None}
    return {**kept, "HostConfig": dict(inspected["HostConfig"])}


def check_done(spool: Spool, total: int) -> None:
    """See that each message was done once.

    Raises:
        RigError: one was not, or something else lies there.
    """
    depth = spool.depth()
    if depth.done != total or set(spool.names()) != set(names(total)) or depth.ready or depth.taken:
        raise RigError(
            f"{total} messages, but {depth.done} are done, {depth.taken} taken, {depth.ready} wait"
        )


def best_of(rates: Mapping[int, float]) -> int:
    """Give the number at once with the highest rate. Pure."""
    return max(rates, key=lambda at_once: rates[at_once])


def rates_of(measure: Callable[[int], float], choices: Sequence[int]) -> dict[int, float]:
    """Measure each number at once, up and down again: the machine's mood must not choose. Keeps the mean."""
    up = {at_once: measure(at_once) for at_once in choices}
    down = {at_once: measure(at_once) for at_once in reversed(choices)}
    return {at_once: (up[at_once] + down[at_once]) / 2 for at_once in choices}


@contextmanager
def open_yard(stage: Stage) -> Iterator[Yard]:
    """Find the engine and an image, and see to it that no container of the bench is left.

    Raises:
        RigError: no engine of this machine answers, or it has no such image.
    """
    folder = stage.room("spools")
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        try:
            engine = runner.run(stack.enter_async_context(bare_engine()))
            yard = Yard(engine, runner.run(engine.image(stage.options.image)), runner, folder)
            try:
                yield yard
            finally:
                yard.clear()
        finally:
            with suppress(RuntimeError):
                runner.run(stack.aclose())
