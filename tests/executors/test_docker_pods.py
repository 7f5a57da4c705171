"""Replicas of several containers: order, ends, sidecars, volumes, probes, repeated launches. On a real engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import docker
import pytest

from executors.docker import open_docker
from scaler.errors import ExecutorUnavailable, LaunchError
from scaler.model.job import DockerOptions, Resources
from scaler.model.names import LABEL_INSTANCE
from scaler.model.pod import Probe, ProbeType, VolumeMount
from scaler.model.replica import ContainerSpec, PodSpec, ReplicaExit, ReplicaHandle, ReplicaSpec, VolumeSpec
from scaler.model.secret import Secret
from scaler.ports.executor import Executor, ExecutorContext
from scaler.testing.executor_contract import CANARY, GRACE, lines_of, make_spec, soon
from tests.executors._cuttable import CuttableSocket, cuttable_socket
from tests.infra.engine import Engine

INSTANCE = "docker-pod-tests"
SERVE = "exec python3 -m http.server --directory /tmp 8099"
FETCH = "python3 -c \"import urllib.request as u; u.urlopen('http://localhost:8099/').read()\""

Shell = Callable[..., ContainerSpec]


@pytest.fixture
def context(tmp_path: Path) -> ExecutorContext:
    return ExecutorContext(instance=INSTANCE, state_dir=tmp_path / "state", log_dir=tmp_path / "logs")


@pytest.fixture
def client(docker_engine: Engine) -> Iterator[docker.DockerClient]:
    with docker_engine.client() as client:
        yield client
        filters = {"label": f"{LABEL_INSTANCE}={INSTANCE}"}
        for left in client.containers.list(all=True, filters=filters):
            left.remove(force=True, v=True)
        for volume in client.volumes.list(filters=filters):
            volume.remove()


@pytest.fixture
async def executor(
    context: ExecutorContext, docker_engine: Engine, client: docker.DockerClient
) -> AsyncIterator[Executor]:
    async with open_docker({"host": docker_engine.url, "stopGrace": 1}, context) as executor:
        yield executor


@pytest.fixture
def shell(worker_image: str) -> Shell:
    def make(name: str, script: str, *mounts: VolumeMount, probes: tuple[Probe, ...] = ()) -> ContainerSpec:
        return ContainerSpec(
            name=name,
            image=worker_image,
            command=("sh", "-c", script),
            args=(),
            env={},
            resources=Resources(cpu=0.5, memory_bytes=128 << 20),
            mounts=mounts,
            probes=probes,
        )

    return make


def replica(pod: PodSpec, docker: DockerOptions | None = None) -> ReplicaSpec:
    first = pod.containers[0]
    return replace(
        make_spec(list(first.command), image=first.image, instance=INSTANCE),
        pod=pod,
        docker=docker or DockerOptions(),
    )


async def run(executor: Executor, spec: ReplicaSpec) -> tuple[ReplicaHandle, ReplicaExit]:
    handle = await soon(executor.launch(spec))
    return handle, await soon(executor.wait(handle), seconds=90)


async def log_of(executor: Executor, spec: ReplicaSpec, handle: ReplicaHandle | None) -> list[str]:
    return await lines_of(executor.logs(spec.replica_id, handle, tail=None, follow=False))


async def test_init_containers_go_first_share_volumes_and_localhost_and_sidecars_end_last(
    executor: Executor, client: docker.DockerClient, shell: Shell
) -> None:
    """The whole story on one replica: order, an empty folder, secrets, the network, the log, and nothing left."""
    data, keys = VolumeMount(volume="data", path="/data"), VolumeMount(volume="keys", path="/keys")
    see = "stat -c %a /keys/in/token; cat /keys/in/token | tr a-z A-Z"
    wait = f"until {FETCH} 2>/dev/null; do sleep 0.1; done"
    pod = PodSpec(
        init=(
            shell("one", "echo first > /data/order", data),
            shell("two", "echo second >> /data/order", data),
        ),
        containers=(
            shell("work", f"{wait}; cat /data/order; {see}", data, keys),
            shell("proxy", f"trap 'echo bye; exit 3' TERM; {SERVE[5:]} 2>/dev/null & wait"),
        ),
        sidecars=("proxy",),
        volumes=(VolumeSpec(name="data"), VolumeSpec(name="keys", files=(("in/token", Secret(CANARY)),))),
    )
    spec = replica(pod)
    handle, ended = await run(executor, spec)
    assert (ended.code, ended.reason) == (0, "Completed")
    live = await log_of(executor, spec, handle)
    assert [line for line in live if line.startswith("[work]")] == [
        "[work] first",
        "[work] second",
        "[work] 400",
        f"[work] {CANARY.upper()}",
    ]
    assert live[-1] == "[proxy] bye"
    found = [
        client.api.inspect_container(one["Id"])
        for one in client.api.containers(all=True, filters={"label": f"{LABEL_INSTANCE}={INSTANCE}"})
    ]
    assert len(found) == 5
    volumes = client.api.volumes(filters={"label": f"{LABEL_INSTANCE}={INSTANCE}"})["Volumes"]
    assert len(volumes) == 2
    assert CANARY not in f"{found} {volumes} {ended} {handle} {spec}"
    (owned,) = await soon(executor.owned())
    assert (owned.replica_id, owned.handle, owned.started, owned.ended) == (
        spec.replica_id,
        handle,
        True,
        True,
    )
    await soon(executor.remove(handle))
    await soon(executor.remove(handle))
    assert await soon(executor.owned()) == ()
    assert await log_of(executor, spec, None) == live
    assert (await soon(executor.wait(handle))).reason == "Lost"


async def test_an_init_container_that_fails_ends_the_replica_and_is_named(
    executor: Executor, shell: Shell
) -> None:
    pod = PodSpec(init=(shell("prepare", "exit 5"),), containers=(shell("work", "echo never"),))
    spec = replica(pod)
    handle, ended = await run(executor, spec)
    assert (ended.code, ended.reason, ended.message) == (5, "Error", "container prepare")
    assert await log_of(executor, spec, handle) == []


async def test_of_several_main_containers_the_first_that_fails_ends_the_others(
    executor: Executor, client: docker.DockerClient, shell: Shell
) -> None:
    pod = PodSpec(
        containers=(shell("good", "sleep 300"), shell("done", "exit 0"), shell("bad", "sleep 1; exit 7"))
    )
    spec = replica(pod)
    handle, ended = await run(executor, spec)
    assert (ended.code, ended.reason, ended.message) == (7, "Error", "container bad")
    assert await soon(executor.launch(spec)) == handle  # launching again starts nothing
    assert await soon(executor.wait(handle)) == ended
    assert client.containers.list(filters={"label": f"{LABEL_INSTANCE}={INSTANCE}"}) == []


async def test_a_stop_ends_init_containers_and_starts_nothing_more(executor: Executor, shell: Shell) -> None:
    script = "trap 'exit 0' TERM; echo ready; while :; do sleep 0.1; done"
    pod = PodSpec(init=(shell("prepare", script),), containers=(shell("work", "echo never"),))
    spec = replica(pod)
    handle = await soon(executor.launch(spec))
    async with asyncio.timeout(60):
        while "[prepare] ready" not in await log_of(executor, spec, handle):
            await asyncio.sleep(0.1)
    await soon(executor.stop(handle, GRACE))
    ended = await soon(executor.wait(handle))
    assert (ended.code, ended.reason) == (None, "Stopped")
    assert await log_of(executor, spec, handle) == ["[prepare] ready"]


async def test_an_executor_that_takes_over_goes_on_where_the_last_one_was(
    context: ExecutorContext, docker_engine: Engine, client: docker.DockerClient, shell: Shell
) -> None:
    """The daemon was killed while the first container ran: the next one starts the others, without any spec."""
    pod = PodSpec(init=(shell("prepare", "sleep 1"),), containers=(shell("work", "echo went on; exit 4"),))
    spec = replica(pod)
    async with open_docker({"host": docker_engine.url}, context) as first:
        await soon(first.launch(spec))
    async with open_docker({"host": docker_engine.url}, context) as second:
        (owned,) = await soon(second.owned())
        assert (owned.replica_id, owned.started, owned.ended) == (spec.replica_id, True, False)
        ended = await soon(second.wait(owned.handle))
        assert (ended.code, ended.reason, ended.message) == (4, "Error", "container work")
        assert await log_of(second, spec, owned.handle) == ["[work] went on"]


async def test_probes_fail_a_replica_that_never_starts_or_stops_answering(
    executor: Executor, shell: Shell
) -> None:
    quick = Probe(type=ProbeType.STARTUP, port=8099, period=timedelta(seconds=1), failure_threshold=2)
    get = replace(quick, type=ProbeType.LIVENESS, path="/alive", failure_threshold=2)
    silent = replica(PodSpec(containers=(shell("mute", "sleep 300", probes=(quick,)),)))
    script = f"touch /tmp/alive; (sleep 6; rm /tmp/alive) & {SERVE} 2>/dev/null"
    patient = replace(quick, failure_threshold=30)
    sick = replica(PodSpec(containers=(shell("sick", script, probes=(patient, get)),)))
    async with asyncio.TaskGroup() as group:
        runs = [group.create_task(run(executor, one)) for one in (silent, sick)]
    ends = [run.result()[1] for run in runs]
    assert [(end.reason, end.code) for end in ends] == [("StartupFailed", 143), ("LivenessFailed", 143)]
    assert "container mute: Startup probe of port 8099 failed 2 times in a row" in ends[0].message
    assert ends[1].message.endswith("failed 2 times in a row: GET /alive answered 404")


async def test_what_cannot_be_launched_leaves_nothing(
    executor: Executor, client: docker.DockerClient, shell: Shell
) -> None:
    bad = replace(shell("bad", "exit 0"), image="scaler-test-no-such-image:0")
    pod = PodSpec(
        containers=(shell("work", "exit 0", VolumeMount(volume="d", path="/d")), bad),
        volumes=(VolumeSpec(name="d"),),
    )
    with pytest.raises(LaunchError) as caught:
        await soon(executor.launch(replica(pod)))
    assert caught.value.reason == "ImagePullFailed"
    assert "scaler-test-no-such-image" in str(caught.value)
    assert await soon(executor.owned()) == ()


async def test_killed_after_any_call_a_launch_is_completed_by_the_next_one(
    context: ExecutorContext, docker_engine: Engine, client: docker.DockerClient, shell: Shell, tmp_path: Path
) -> None:
    """After each request to the engine in turn the daemon is gone; the next one starts everything just once."""
    keys, data = VolumeMount(volume="keys", path="/keys"), VolumeMount(volume="data", path="/data")
    pod = PodSpec(
        init=(shell("prepare", "echo once; echo made >> /data/file", data),),
        containers=(shell("work", "cat /data/file /keys/key", data, keys),),
        volumes=(VolumeSpec(name="data"), VolumeSpec(name="keys", files=(("key", Secret("text\n")),))),
    )
    calls = 0
    for number in range(5, 40):  # before the fifth, nothing is asked for that changes anything
        spec = replica(pod)
        async with cuttable_socket(tmp_path / f"{number}.sock", docker_engine.url) as proxy:
            calls = await _launch_until(number, spec, proxy, context)
        async with open_docker({"host": docker_engine.url}, context) as second:
            found = {one.replica_id: one for one in await soon(second.owned())}.get(spec.replica_id)
            handle = found.handle if found and found.started else await soon(second.launch(spec))
            ended = await soon(second.wait(handle))
            assert (ended.code, ended.reason) == (0, "Completed"), (number, ended)
            assert await log_of(second, spec, handle) == ["[prepare] once", "[work] made", "[work] text"], (
                number
            )
            await soon(second.remove(handle))
            assert await soon(second.owned()) == (), number
        if calls < number:
            break
    assert calls >= 10
    assert calls < 39
    assert client.volumes.list(filters={"label": f"{LABEL_INSTANCE}={INSTANCE}"}) == []


async def _launch_until(
    number: int, spec: ReplicaSpec, proxy: CuttableSocket, context: ExecutorContext
) -> int:
    """Launch through a socket that is cut once `number` requests went through it; say how many did."""

    def asked() -> int:
        return len([line for line in proxy.requests if "/events" not in line])

    async def cut() -> None:
        while asked() < number:
            await asyncio.sleep(0.001)
        await proxy.cut()

    async with open_docker({"host": proxy.url}, context) as first, asyncio.TaskGroup() as group:
        cutter = group.create_task(cut())
        with suppress(ExecutorUnavailable):
            await soon(first.launch(spec))
        done = asked()
        cutter.cancel()
    return done
