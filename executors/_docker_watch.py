"""Learns how containers ended: one stream of events as a hint, inspection and a regular list as the truth.

Events may be lost (the engine restarts, a connection breaks), so nothing is believed because of one:
it only makes us look at once instead of at the next comparison. There is one watcher an executor,
whatever the number of waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import aiohttp
import structlog
from aiodocker import Docker, DockerError
from aiodocker.containers import DockerContainer

from executors._docker_errors import engine_call
from executors._docker_exit import ENDED, ended_by_a_stranger, exit_of, moment, vanished
from executors._docker_settings import Limits
from executors._docker_usage import UsageSampler
from executors._kept import kept
from executors._labels import owner_filter
from scaler.errors import ExecutorUnavailable
from scaler.model.replica import ReplicaExit

_log = structlog.get_logger(__name__)
_INSPECTORS = 4
_FIRST_BACKOFF_S = 0.1


class Watcher:
    """Resolves waits. `run` must be running meanwhile; `open_watcher` sees to that."""

    def __init__(self, client: Docker, *, instance: str, limits: Limits) -> None:
        self._client = client
        self._filters = owner_filter(instance)
        self._limits = limits
        self.usage = UsageSampler(client, limits)
        self._waits: dict[str, asyncio.Future[ReplicaExit]] = {}
        self._to_look: asyncio.Queue[str] = asyncio.Queue()
        self._queued: set[str] = set()
        self._compare_now = asyncio.Event()
        self._outages = 0
        self._is_outage = False
        self._seen_alive: dict[str, int] = {}  # in which outage's time each container was seen to run
        self._down_since: datetime | None = None
        self._told: dict[str, ReplicaExit] = {}
        self._last_seen: dict[str, dict[str, Any]] = {}  # how the engine described each that has ended
        self._held: set[str] = set()
        self._began: dict[
            str, datetime
        ] = {}  # when the engine had started each container when we looked first
        self._restarted: dict[str, datetime] = {}
        self._stopping: set[str] = set()
        self._runner: asyncio.Task[None] | None = None

    async def wait(self, container: str, *, is_measured: bool = True) -> ReplicaExit:
        """Wait for a container's end; one that has ended or is unknown is told at once.

        `is_measured` says whether it matters what the container uses.

        Raises:
            ExecutorUnavailable: the watcher itself has ended.
        """
        if container in self._told:
            return self._told[container]
        future = self._waits.get(container)
        if future is None:
            future = asyncio.get_running_loop().create_future()
            self._waits[container] = future
            if is_measured:
                self.usage.follow(container)
        self._look_at(container)
        runner = self._runner
        if runner is None:
            raise ExecutorUnavailable("docker: the executor is closed")
        either: set[asyncio.Future[Any]] = {future, runner}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if future.done():
            return future.result()
        raise ExecutorUnavailable("docker: the watcher has ended; restart the daemon")

    def has_started(self, container: str) -> None:
        """Note that we started a container just now: what ends it from here on, we look on."""
        self._seen_alive[container] = self._outages

    def last_seen(self, container: str) -> dict[str, Any] | None:
        """Give the engine's full description of a container whose end was told, as it was then; None without one."""
        return self._last_seen.get(container)

    def is_stopping(self, container: str) -> None:
        """Note that we ended, or are about to end, a container: its end is no surprise."""
        self._stopping.add(container)

    def forget(self, container: str) -> None:
        """Drop what is known of a container that was removed, unless its end is still to be told."""
        if container not in self._waits:
            self._told.pop(container, None)
            self._last_seen.pop(container, None)
            self._seen_alive.pop(container, None)
            self._held.discard(container)
            self._stopping.discard(container)
            self._began.pop(container, None)
            self._restarted.pop(container, None)

    def watch(self, runner: asyncio.Task[None]) -> None:
        """Tell which task runs `run`, so that waits end when it does."""
        self._runner = runner

    async def run(self) -> None:
        """Follow events, compare, inspect; until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_events(), name="docker/events")
            group.create_task(self._compare(), name="docker/compare")
            group.create_task(self.usage.run(), name="docker/usage")
            for number in range(_INSPECTORS):
                group.create_task(self._inspect_queued(), name=f"docker/inspect-{number}")

    def _look_at(self, container: str) -> None:
        if container in self._waits and container not in self._queued:
            self._queued.add(container)
            self._to_look.put_nowait(container)

    # hints

    async def _follow_events(self) -> None:
        pause = _FIRST_BACKOFF_S
        while True:
            began = asyncio.get_running_loop().time()
            fault, is_refused = await self._read_events()
            self._went_down(fault, is_refused=is_refused)
            if asyncio.get_running_loop().time() - began > self._limits.backoff_s:
                pause = _FIRST_BACKOFF_S
            await asyncio.sleep(pause)
            pause = min(pause * 2, self._limits.backoff_s)

    async def _read_events(self) -> tuple[str, bool]:
        """Read one stream to its end; say why it ended, and whether an engine that is there refused it."""
        subscriber = self._client.events.subscribe(create_task=False)  # type: ignore[no-untyped-call]
        filters = {**self._filters, "type": ["container"], "event": ["die", "destroy"]}
        async with asyncio.TaskGroup() as group:
            reader = group.create_task(self._publish_events(filters), name="docker/event-stream")
            self._compare_now.set()  # what ended before this stream began, no event will tell
            while (event := await subscriber.get()) is not None:
                self._look_at(str(event.get("id", "")))
        return reader.result()

    async def _publish_events(self, filters: dict[str, list[str]]) -> tuple[str, bool]:
        try:
            await self._client.events.run(filters=filters)
        except DockerError as exc:
            return exc.message, exc.status < 500
        except (aiohttp.ClientError, ConnectionError, TimeoutError, ValueError) as exc:
            return str(exc) or type(exc).__name__, False
        return "the engine closed the stream of events", False

    # truth

    async def _compare(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._limits.reconcile_s):
                    await self._compare_now.wait()
            except TimeoutError:
                pass
            self._compare_now.clear()
            if self._waits or self._down_since is not None:
                await self._compare_once()

    async def _compare_once(self) -> None:
        awaited = set(self._waits)
        try:
            listed = await list_containers(self._client, self._filters, self._limits)
        except (DockerError, ExecutorUnavailable) as exc:
            self._went_down(str(exc))
            return
        self._came_up()
        live = {str(one["Id"]) for one in listed if one["State"] not in ENDED}
        self._seen_alive |= dict.fromkeys(awaited & live, self._outages)
        for container in awaited - live:
            self._look_at(container)

    async def _inspect_queued(self) -> None:
        while True:
            container = await self._to_look.get()
            self._queued.discard(container)
            if container in self._waits:
                await self._settle(container)

    async def _settle(self, container: str) -> None:
        try:
            found = await inspect(self._client, container, self._limits)
        except (DockerError, ExecutorUnavailable) as exc:
            self._went_down(str(exc))  # the next comparison looks again
            return
        seen = self._seen_alive.get(container)
        if found is None:
            ended: ReplicaExit | None = vanished(was_seen=seen is not None)
        else:
            self._note_restart(container, found)
            was_watched = container in self._stopping or (seen is not None and seen == self._outages)
            ended = exit_of(found, unwatched=not was_watched)
        if ended is None:
            self._seen_alive[container] = self._outages
        elif not ended_by_a_stranger(ended) or self._has_waited(container):
            if found is not None:
                self._last_seen[container] = found
            self._resolve(container, ended)

    def _note_restart(self, container: str, found: dict[str, Any]) -> None:
        """Notice that somebody started a container anew: we start each once only, and no engine does by itself."""
        began = moment(str(found["State"].get("StartedAt") or ""))
        known = self._restarted.get(container) or self._began.get(container)
        if began is None or began == known:
            return
        if known is None:
            self._began[container] = began
            return
        self._restarted[container] = began
        self._held.discard(container)  # the end that we waited over was not its last
        _log.warning(
            "docker.restarted_from_outside", container=container, consequence="its work began more than once"
        )

    def _has_waited(self, container: str) -> bool:
        """Whether an end that nobody here asked for was looked at again after a while.

        An engine that goes down ends its containers first and answers for a little longer: what it ended looks
        like killed by somebody, until it is gone.
        """
        if container in self._stopping or container in self._held:
            return True
        self._held.add(container)
        asyncio.get_running_loop().call_later(self._limits.goodbye_s, self._look_at, container)
        return False

    def _resolve(self, container: str, ended: ReplicaExit) -> None:
        usage = self.usage.end(container)
        ended = replace(ended, usage=usage, restarted_at=self._restarted.get(container))
        self._told[container] = ended
        future = self._waits.pop(container, None)
        if future is not None and not future.done():
            future.set_result(ended)

    # log on change

    def _went_down(self, fault: str, *, is_refused: bool = False) -> None:
        if not is_refused and not self._is_outage:
            self._outages += 1
            self._is_outage = True
        if self._down_since is None:
            self._down_since = datetime.now(UTC)
            _log.warning(
                "docker.engine_unreachable", fault=fault, consequence="ends of replicas are told later"
            )

    def _came_up(self) -> None:
        self._is_outage = False
        if self._down_since is not None:
            seconds = (datetime.now(UTC) - self._down_since).total_seconds()
            self._down_since = None
            _log.info("docker.engine_back", down_s=round(seconds, 1))


@asynccontextmanager
async def open_watcher(client: Docker, *, instance: str, limits: Limits) -> AsyncIterator[Watcher]:
    """Run a watcher for as long as the context is open."""
    watcher = Watcher(client, instance=instance, limits=limits)
    runner = asyncio.create_task(kept(watcher.run, "watcher"), name="docker/watcher")
    watcher.watch(runner)
    try:
        yield watcher
    finally:
        runner.cancel()
        await asyncio.wait({runner})


async def list_containers(
    client: Docker, filters: dict[str, list[str]], limits: Limits
) -> list[DockerContainer]:
    """List the containers that match, in any state: the engine's summaries."""
    async with engine_call("list of containers", limits.inspect_s):
        return await client.containers.list(all=True, filters=filters)


async def inspect(client: Docker, container: str, limits: Limits) -> dict[str, Any] | None:
    """Give the engine's full description of a container (id or name), or None if there is none."""
    try:
        async with engine_call(f"inspection of {container}", limits.inspect_s):
            return await client.containers.container(container).show()
    except DockerError as exc:
        if exc.status == 404:
            return None
        raise
