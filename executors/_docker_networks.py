"""Makes networks ahead and hands them to replicas, so that a start need not make one: `readyNetworks`.

Nothing here may hold up or fail a launch: whoever finds none goes without. One task makes and removes, one thing at a
time, so that a list of the engine is never compared while something is half made. After a kill the containers
themselves tell what is left: by their label, and by who has joined them.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import structlog
from aiodocker import DockerError
from aiodocker.containers import DockerContainer

from executors._docker_claim import delete, look
from executors._docker_conduct import ConductPorts
from executors._docker_config import ready_config
from executors._docker_errors import engine_call
from executors._docker_holder import ensure_holder
from executors._docker_images import Images
from executors._docker_members import Seen
from executors._docker_ready import Listed, Make, Stock, network_of
from executors._docker_watch import list_containers
from executors._kept import kept
from executors._labels import owner_filter, replica_of
from scaler.errors import ExecutorUnavailable, LaunchError
from scaler.model.names import LABEL_NETWORK
from scaler.model.replica import ReplicaSpec

_log = structlog.get_logger(__name__)
_CONTAINER = "container:"
_GONE = re.compile(
    r"cannot join network|joining network namespace|no such container|not.running container", re.IGNORECASE
)
_OTHER_FAULTS = frozenset({"Lost", "ImageNotFound", "Conflict"})
_LOOK_S = 30.0
_ASK_AGAIN_S = 5.0
_GOODBYE_S = 12.0


class ReadyNetworks:
    """Holders that wait for replicas. `run` must be running meanwhile; `open_networks` sees to that."""

    def __init__(self, ports: ConductPorts, images: Images) -> None:
        self._client = ports.client
        self._images = images
        self._settings = ports.settings
        self._limits = ports.limits
        self._instance = ports.instance
        self._stock = Stock(ports.settings.ready_networks)
        self._nudge = asyncio.Event()
        self._is_look_due = True
        self._is_closing = False
        self._failed: set[str] = set()

    @contextmanager
    def joining(self, spec: ReplicaSpec) -> Iterator[str | None]:
        """Give the holder whose network a replica may join while it is launched, or None."""
        network = network_of(spec)
        holder = network and self._stock.take(network, spec.job, spec.replica_id)
        try:
            yield holder
        except BaseException:
            self._look_soon()  # nobody may ever ask for it again
            raise
        finally:
            self._stock.launched(spec.replica_id)
            self._nudge.set()

    async def is_gone(self, holder: str | None, fault: LaunchError) -> bool:
        """Say whether a launch failed for want of the network that it had joined, now or in an earlier attempt.

        Raises:
            ExecutorUnavailable: the engine does not tell.
        """
        if not _GONE.search(str(fault)):
            if holder is None or fault.reason in _OTHER_FAULTS:
                return False
            found = await look(self._client, holder, self._limits)
            if found is not None and found["State"]["Running"]:
                return False
        self._stock.lost(holder)
        self._look_soon()
        return True

    def give_back(self, replica_id: str, found: dict[str, Any]) -> None:
        """Take back what a replica had that was removed; `found` is how the engine described its container."""
        if self._stock.give_back(replica_id, asyncio.get_running_loop().time()):
            self._nudge.set()
        elif str(found["HostConfig"].get("NetworkMode")).startswith(_CONTAINER):
            self._look_soon()

    def _look_soon(self) -> None:
        self._is_look_due = True
        self._nudge.set()

    # behind the launches

    async def run(self) -> None:
        """Make, remove and compare until closed; without `readyNetworks` until nothing is left of former times."""
        while not self._is_closing:
            self._nudge.clear()
            try:
                left = await self._look() if self._is_look_due else 1
                await self._work()
            except (DockerError, ExecutorUnavailable):
                self._is_look_due = True  # something may have been made whose answer we missed
                await asyncio.sleep(_ASK_AGAIN_S)
                continue
            if not self._settings.ready_networks and not left:
                return
            try:
                async with asyncio.timeout(_LOOK_S):
                    await self._nudge.wait()
            except TimeoutError:
                self._is_look_due = True

    async def _look(self) -> int:
        """Compare with the engine, remove what nobody uses; give how many holders are left."""
        self._is_look_due = False
        settled = self._stock.settled()
        listed = await self._list()
        strays = self._stock.compare(listed, settled)
        for one in strays:
            await self._delete(one)
        return sum(one.is_holder for one in listed) - len(strays)

    async def _list(self) -> list[Listed]:
        found = await list_containers(self._client, owner_filter(self._instance), self._limits)
        return [_listed(one, self._instance) for one in found]

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._is_closing and (step := self._stock.next(loop.time())) is not None:
            if not isinstance(step, Make):
                await self._delete(step.holder)
                continue
            try:
                holder = await self._make(step.network)
            except (DockerError, LaunchError) as exc:
                self._stock.failed(step.network, loop.time())
                self._tell(step.network, str(exc))
            else:
                self._stock.made(holder, step.network, loop.time())
                self._failed.discard(step.network)

    async def _make(self, network: str) -> str:
        """Create and start one; what cannot be started is removed again."""
        named = self._settings.holder_image
        image = await ensure_holder(self._client, named, self._limits)
        config = ready_config(image, network, self._instance)
        name = f"scaler-network-{uuid.uuid4().hex[:12]}"
        try:
            container = await self._create(name, config)
        except DockerError as exc:
            if exc.status != 404 or named is None:
                raise
            await self._images.pull(named, ())
            container = await self._create(name, config)
        try:
            async with engine_call(f"start of {name}", self._limits.create_s):
                await container.start()
        except DockerError:
            with suppress(DockerError):  # the reason to tell is the first one
                await delete(container, self._limits)
            raise
        return container.id

    async def _create(self, name: str, config: dict[str, Any]) -> DockerContainer:
        async with engine_call(f"creation of {name}", self._limits.create_s):
            return await self._client.containers.create(config, name=name)

    async def _delete(self, holder: str) -> None:
        await delete(self._client.containers.container(holder), self._limits)

    def _tell(self, network: str, fault: str) -> None:
        if network not in self._failed:
            self._failed.add(network)
            _log.warning(
                "docker.no_ready_network",
                network=network,
                fault=fault.strip(),
                consequence="replicas make their own",
            )

    async def close(self, runner: asyncio.Task[None]) -> None:
        """Let the step under way end, then remove what nobody uses, all within `_GOODBYE_S`."""
        self._is_closing = True
        self._nudge.set()
        await asyncio.wait({runner}, timeout=_GOODBYE_S)
        runner.cancel()
        await asyncio.wait({runner})
        if not runner.cancelled() and runner.exception() is not None:
            _log.error("docker.networks_failed", exc_info=runner.exception())
        with suppress(TimeoutError):
            async with asyncio.timeout(_GOODBYE_S):
                await self._dismiss(self._stock.unused())

    async def _dismiss(self, holders: Iterable[str]) -> None:
        """Remove all at once: an engine that is busy takes its time for each."""
        async with asyncio.TaskGroup() as group:
            for one in holders:
                group.create_task(self._try_to_delete(one), name=f"docker/network-end:{one[:12]}")

    async def _try_to_delete(self, holder: str) -> None:
        with suppress(DockerError, ExecutorUnavailable):  # the next start removes what is left
            await self._delete(holder)


def _listed(one: DockerContainer, instance: str) -> Listed:
    mode = str((one["HostConfig"] or {}).get("NetworkMode") or "")
    return Listed(
        seen=Seen(id=one.id, state=one["State"]),
        is_holder=LABEL_NETWORK in one["Labels"],
        joins=mode.removeprefix(_CONTAINER) if mode.startswith(_CONTAINER) else None,
        replica=replica_of(one["Labels"], instance),
    )


@asynccontextmanager
async def open_networks(ports: ConductPorts, images: Images) -> AsyncIterator[ReadyNetworks]:
    """Have networks made for as long as the context is open."""
    networks = ReadyNetworks(ports, images)
    runner = asyncio.create_task(kept(networks.run, "networks"), name="docker/networks")
    try:
        yield networks
    finally:
        await networks.close(runner)
