"""Ready networks on a real engine: who joins what, what others see of it, and what is left after every end."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import docker
import pytest

from executors.docker import open_docker
from scaler.errors import ExecutorUnavailable
from scaler.model.job import DockerOptions
from scaler.model.names import LABEL_INSTANCE
from scaler.model.replica import ReplicaHandle, ReplicaSpec
from scaler.ports.executor import Executor, ExecutorContext
from scaler.testing.executor_contract import lines_of, make_spec, soon
from tests.executors._cuttable import cuttable_socket
from tests.executors._guarded import guarded
from tests.executors._holders import holders, wait_for_holders
from tests.infra.engine import Engine


@pytest.fixture
def context(tmp_path: Path) -> ExecutorContext:
    name = f"networks-{uuid.uuid4().hex[:8]}"
    return ExecutorContext(instance=name, state_dir=tmp_path / "state", log_dir=tmp_path / "logs")


@pytest.fixture
def client(docker_engine: Engine, context: ExecutorContext) -> Iterator[docker.DockerClient]:
    with docker_engine.client() as client:
        yield client
        filters = {"label": f"{LABEL_INSTANCE}={context.instance}"}
        for left in client.containers.list(all=True, filters=filters):
            left.remove(force=True, v=True)
        for network in client.networks.list(filters=filters):
            network.remove()


class Site:
    """What the tests do again and again on one engine, for one daemon."""

    def __init__(self, client: docker.DockerClient, context: ExecutorContext, image: str, url: str) -> None:
        self.client = client
        self.context = context
        self.url = url
        self._image = image

    def spec(self, script: str, *, job: str = "one", network: str | None = None) -> ReplicaSpec:
        plain = make_spec(["sh", "-c", script], image=self._image, instance=self.context.instance)
        return replace(plain, job=job, docker=DockerOptions(network=network))

    @asynccontextmanager
    async def executor(self, size: int, url: str | None = None) -> AsyncIterator[Executor]:
        settings = {"host": url or self.url, "readyNetworks": size, "stopGrace": 1}
        async with open_docker(settings, self.context) as executor:
            yield executor

    @asynccontextmanager
    async def ready(
        self, size: int, *, network: str | None = None, url: str | None = None
    ) -> AsyncIterator[Executor]:
        """Open an executor whose stock is full."""
        async with self.executor(size, url) as executor:
            await self.run(executor, self.spec("exit 0", job="first", network=network))
            await wait_for_holders(self.client, self.context.instance, size)
            yield executor

    async def run(self, executor: Executor, spec: ReplicaSpec) -> list[str]:
        """Run a replica to its success and remove it; give its log."""
        handle = await soon(executor.launch(spec))
        assert (await soon(executor.wait(handle))).code == 0
        lines = await lines_of(executor.logs(spec.replica_id, handle, tail=None, follow=False))
        await soon(executor.remove(handle))
        return lines

    def joined(self, handle: ReplicaHandle) -> str | None:
        """Give the holder that a replica has joined."""
        mode = self.client.api.inspect_container(handle.token)["HostConfig"]["NetworkMode"]
        return mode.removeprefix("container:") if mode.startswith("container:") else None

    def holders(self) -> set[str]:
        return {one["Id"] for one in holders(self.client, self.context.instance)}

    async def none_left(self) -> None:
        """Wait until no holder is there."""
        await wait_for_holders(self.client, self.context.instance, 0)


@pytest.fixture
def site(
    client: docker.DockerClient, context: ExecutorContext, worker_image: str, docker_engine: Engine
) -> Site:
    return Site(client, context, worker_image, docker_engine.url)


async def test_a_ready_network_is_joined_by_one_replica_at_a_time_of_one_job_and_the_others_go_without(
    site: Site,
) -> None:
    async with site.ready(1) as executor:
        (holder,) = site.holders()
        first, second = site.spec("sleep 60"), site.spec("exit 0")
        handle = await soon(executor.launch(first))
        assert site.joined(handle) == holder
        other = await soon(executor.launch(second))
        assert site.joined(other) is None
        assert {one.replica_id for one in await soon(executor.owned())} == {
            first.replica_id,
            second.replica_id,
        }
        await soon(executor.stop(handle, timedelta(0)))
        assert (await soon(executor.wait(handle))).code in {137, 143}
        await soon(executor.remove(handle))
        strange = await soon(executor.launch(site.spec("exit 0", job="two")))
        again = await soon(executor.launch(site.spec("exit 0")))
        assert (site.joined(strange), site.joined(again)) == (None, holder)
    assert site.holders() == {holder}  # a container that has not been removed stands on it
    async with site.executor(0) as executor:
        for one in await soon(executor.owned()):
            await soon(executor.remove(one.handle))
        await site.none_left()


async def test_a_dead_one_costs_no_launch(site: Site) -> None:
    async with site.ready(2) as executor:
        for one in site.holders():
            site.client.api.kill(one)
        handle = await soon(executor.launch(site.spec("exit 3")))
        assert ((await soon(executor.wait(handle))).code, site.joined(handle)) == (3, None)
        await wait_for_holders(site.client, site.context.instance, 2)
        for one in site.holders():
            site.client.api.remove_container(one, force=True)
        handle = await soon(executor.launch(site.spec("exit 4")))
        assert ((await soon(executor.wait(handle))).code, site.joined(handle)) == (4, None)


async def test_an_end_is_told_though_the_holder_was_removed_meanwhile(site: Site) -> None:
    async with site.ready(1) as executor:
        handle = await soon(executor.launch(site.spec("sleep 2; echo done; exit 7")))
        site.client.api.remove_container(site.joined(handle), force=True)
        ended = await soon(executor.wait(handle))
        assert (ended.code, ended.reason) == (7, "Error")
        await soon(executor.remove(handle))
        await wait_for_holders(site.client, site.context.instance, 1)


async def test_names_are_found_on_networks_of_ones_own(site: Site, worker_image: str) -> None:
    label = {LABEL_INSTANCE: site.context.instance}
    network = site.client.networks.create(site.context.instance, labels=label)
    peer = f"peer-{site.context.instance}"
    site.client.containers.run(
        worker_image, ["sleep", "120"], name=peer, network=network.name, labels=label, detach=True
    )
    async with site.ready(1, network=network.name) as executor:
        (holder,) = site.holders()
        script = f"getent hosts {peer}; hostname"
        lines = await site.run(executor, site.spec(script, network=network.name))
        assert (peer in lines[0], lines[1]) == (True, holder[:12])
    assert site.holders() == set()


async def test_a_network_that_is_not_there_fails_the_launch_as_ever_and_is_not_tried_again_and_again(
    site: Site,
) -> None:
    async with site.executor(1) as executor:
        for _ in range(2):
            with pytest.raises(Exception, match="not found"):
                await soon(executor.launch(site.spec("exit 0", network="no-such-network")))
        assert site.holders() == set()


async def test_those_of_a_killed_daemon_stay_under_their_replicas_and_go_after_them(site: Site) -> None:
    """The next daemon has the setting off, and still leaves nothing."""
    async with cut_off(site, 2) as (executor, cut):
        handle = await soon(executor.launch(site.spec("echo on; sleep 60; exit 0")))
        holder = site.joined(handle)
        await cut()
    assert len(site.holders()) == 2
    async with site.executor(0) as executor:
        await wait_for_holders(site.client, site.context.instance, 1)
        assert site.holders() == {holder}
        (owned,) = await soon(executor.owned())
        assert (owned.handle, owned.started, owned.ended) == (handle, True, False)
        await soon(executor.stop(handle, timedelta(0)))
        await soon(executor.wait(handle))
        await soon(executor.remove(handle))
        await site.none_left()


@asynccontextmanager
async def cut_off(site: Site, size: int) -> AsyncIterator[tuple[Executor, Any]]:
    """Give an executor with a full stock, and what cuts it off from its engine for ever, as a kill does."""
    path = site.context.state_dir.parent / "cut.sock"
    async with cuttable_socket(path, site.url) as proxy:
        async with site.ready(size, url=proxy.url) as executor:
            yield executor, proxy.cut


@pytest.mark.timeout(900)  # some dozen daemons, on a machine that may be loaded
async def test_killed_after_any_call_nothing_runs_twice_and_no_network_is_left(
    site: Site, tmp_path: Path
) -> None:
    """Two replicas one after the other, so that the second may join; after each request in turn the daemon is gone."""
    for number in range(3, 60):
        specs = [site.spec("echo once"), site.spec("echo once")]
        done = await two_until(number, site, specs, tmp_path)
        async with site.executor(number % 2) as second:
            owned = {one.replica_id: one for one in await soon(second.owned())}
            for spec in specs:
                found = owned.get(spec.replica_id)
                if found is None and (site.context.log_dir / f"{spec.replica_id}.log").exists():
                    continue  # it was removed before
                handle = found.handle if found and found.started else await soon(second.launch(spec))
                ended = await soon(second.wait(handle))
                assert (ended.code, ended.reason) == (0, "Completed"), (number, ended)
                log = await lines_of(second.logs(spec.replica_id, handle, tail=None, follow=False))
                assert log == ["once"], number
                await soon(second.remove(handle))
            assert await soon(second.owned()) == (), number
        async with site.executor(0):
            await site.none_left()
        if done < number:
            break
    assert 12 < number < 59


async def two_until(number: int, site: Site, specs: list[ReplicaSpec], folder: Path) -> int:
    """Launch two, the second on a network of the first's job, and remove the first; cut after `number` requests.

    Gives how many there were.
    """
    async with cuttable_socket(folder / f"{number}.sock", site.url) as proxy:

        def asked() -> int:
            return len([line for line in proxy.requests if "/events" not in line])

        async def cut() -> None:
            while asked() < number:
                await asyncio.sleep(0.001)
            await proxy.cut()

        async with site.executor(1, proxy.url) as first, asyncio.TaskGroup() as group:
            cutter = group.create_task(cut())
            with suppress(ExecutorUnavailable):
                handle = await soon(first.launch(specs[0]))
                while not cutter.done() and "running" not in [
                    one["State"] for one in holders(site.client, site.context.instance)
                ]:
                    await asyncio.sleep(0.05)
                await soon(first.launch(specs[1]))
                await soon(first.remove(handle))
            done = asked()
            cutter.cancel()
    return done


async def test_through_the_guard_it_works_as_it_does_without(site: Site, docker_engine: Engine) -> None:
    async with guarded(docker_engine, instance=site.context.instance) as (path, guard):
        async with site.ready(1, url=f"unix://{path}") as executor:
            (holder,) = site.holders()
            assert await site.run(executor, site.spec("hostname")) == [holder[:12]]
            assert await site.run(executor, site.spec("hostname")) == [holder[:12]]
            site.client.api.remove_container(holder, force=True)
            assert await site.run(executor, site.spec("echo alone")) == ["alone"]
        assert (guard.refused, site.holders()) == (frozenset(), set())
