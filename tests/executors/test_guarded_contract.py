"""The docker executor keeps its contract through the guard, which refuses what goes beyond it, on a real engine."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from executors.docker import open_docker
from scaler.errors import LaunchError
from scaler.model.job import Resources
from scaler.model.names import LABEL_INSTANCE, LABEL_NETWORK, LABEL_PLAN, LABEL_REPLICA
from scaler.model.pod import VolumeMount
from scaler.model.replica import ContainerSpec, PodSpec, ReplicaSpec, VolumeSpec
from scaler.model.secret import Secret
from scaler.ports.executor import Executor, ExecutorContext
from scaler.testing.executor_contract import ExecutorContract, lines_of, make_spec, soon
from tests.executors._guarded import guarded
from tests.guard.bodies import OURS
from tests.infra.engine import Engine


class TestDockerExecutorThroughTheGuard(ExecutorContract):
    image: str

    @pytest.fixture
    async def executor(
        self, context: ExecutorContext, docker_engine: Engine, worker_image: str
    ) -> AsyncIterator[Executor]:
        self.image = worker_image
        async with (
            guarded(docker_engine) as (path, guard),
            open_docker({"host": f"unix://{path}"}, context) as executor,
        ):
            yield executor
            assert guard.refused == frozenset()  # events are hints: without them all would pass, only later

    def spec(self, command: list[str], *, instance: str = "contract") -> ReplicaSpec:
        return make_spec(command, image=self.image, instance=instance)


class Caller:
    """Sends requests as they are, also those that no client library would."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def ask(self, method: str, target: str, body: Any = None) -> tuple[int, str]:
        """Send one request by hand; give the status and the body."""
        data = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {target} HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        async with asyncio.timeout(60):
            reader, writer = await asyncio.open_unix_connection(self._path)
            writer.write(head.encode() + data)
            answer = await reader.read()
            writer.close()
        first, _, rest = answer.partition(b"\r\n\r\n")
        return int(first.split()[1]), rest.decode()


@pytest.fixture
async def caller(docker_engine: Engine) -> AsyncIterator[Caller]:
    """Somebody who has the guard's socket and means no good."""
    async with guarded(docker_engine) as (path, _):
        yield Caller(path)


@pytest.fixture
async def stranger(docker_engine: Engine, worker_image: str) -> AsyncIterator[str]:
    """A container that is not ours."""
    name = f"stranger-{uuid.uuid4().hex[:8]}"
    with docker_engine.client() as client:
        made = client.containers.create(worker_image, ["true"], name=name, environment={"KEY": "canary"})
        yield name
        made.remove(force=True, v=True)


async def test_a_strangers_container_is_out_of_reach(
    caller: Caller, stranger: str, docker_engine: Engine
) -> None:
    with docker_engine.client() as client:
        full = client.containers.get(stranger).id
    for method, target in (
        ("POST", "/start"),
        ("POST", "/stop"),
        ("POST", "/kill"),
        ("POST", "/wait"),
        ("GET", "/logs?stdout=1"),
        ("GET", "/stats?stream=0"),
        ("PUT", "/archive?path=/"),
        ("DELETE", ""),
    ):
        for name in (stranger, full, full[:12]):
            status, text = await caller.ask(method, f"/containers/{name}{target}")
            assert (status, "not one of the daemon's" in text) == (403, True), (method, target, text)
    status, text = await caller.ask("GET", f"/containers/{stranger}/json")
    assert (status, json.loads(text)["Config"], "canary" in text) == (200, {"Labels": {}}, False)
    status, text = await caller.ask("GET", '/containers/json?all=1&filters={"name":["stranger-"]}')
    assert (status, json.loads(text)) == (200, [])


async def test_a_container_may_join_no_strangers_network(
    caller: Caller, stranger: str, worker_image: str
) -> None:
    status, text = await caller.ask(
        "POST",
        "/containers/create",
        {
            "Image": worker_image,
            "Labels": OURS,
            "HostConfig": {
                "SecurityOpt": ["no-new-privileges"],
                "NetworkMode": f"container:{stranger}",
            },
        },
    )
    assert (status, "not one of the daemon's" in text) == (403, True)


@pytest.mark.parametrize(
    "labels",
    [
        {LABEL_INSTANCE: "another", LABEL_NETWORK: "bridge"},
        {LABEL_INSTANCE: "another", LABEL_PLAN: "{}"},
        {**OURS, LABEL_REPLICA: "orders-1"},
        {LABEL_NETWORK: "bridge"},
    ],
    ids=["another daemon's ready one", "another daemon's holder", "our own replica's", "nobody's"],
)
async def test_a_container_joins_no_network_but_that_of_a_holder_of_its_own_daemon(
    caller: Caller, docker_engine: Engine, worker_image: str, labels: dict[str, str]
) -> None:
    def joining(container: str) -> dict[str, Any]:
        host = {"SecurityOpt": ["no-new-privileges"], "NetworkMode": f"container:{container}"}
        return {"Image": worker_image, "Labels": OURS, "HostConfig": host}

    with docker_engine.client() as client:
        made = client.containers.create(worker_image, ["true"], labels=labels)
        own = client.containers.create(worker_image, ["true"], labels={**OURS, LABEL_NETWORK: "bridge"})
        try:
            for name in (made.id, made.name, made.id[:12]):
                status, text = await caller.ask("POST", "/containers/create", joining(name))
                assert (status, "refused by the guard" in text) == (403, True)
            status, text = await caller.ask("POST", "/containers/create", joining(own.name))
            assert status == 201
            joined = client.containers.get(json.loads(text)["Id"])
            assert joined.attrs["HostConfig"]["NetworkMode"] == f"container:{own.id}"
            joined.remove()
        finally:
            made.remove()
            own.remove()


@pytest.mark.parametrize(
    ("target", "host"),
    [
        ("/containers/create", {"Privileged": True}),
        ("/v1.41/containers/create", {"Binds": ["/:/host"]}),
        ("/containers/create", {"Mounts": [{"Type": "bind", "Source": "/etc", "Target": "/x"}]}),
        ("/v1.41/containers/x/exec", {}),
        ("//containers/create", {}),
        ("/containers/%63reate", {}),
    ],
)
async def test_nothing_forbidden_reaches_the_engine(
    caller: Caller, worker_image: str, target: str, host: dict[str, Any]
) -> None:
    body = {
        "Image": worker_image,
        "Labels": OURS,
        "HostConfig": {"SecurityOpt": ["no-new-privileges"], **host},
    }
    status, text = await caller.ask("POST", target, body)
    assert (status, json.loads(text)["message"].startswith("refused by the guard: ")) == (403, True)


async def test_strangers_volumes_are_neither_mounted_nor_removed(
    caller: Caller, docker_engine: Engine, worker_image: str
) -> None:
    name = f"scaler-test-{uuid.uuid4().hex[:8]}"
    mount = {"Type": "volume", "Source": name, "Target": "/x", "VolumeOptions": {"Labels": OURS}}
    host = {"SecurityOpt": ["no-new-privileges"], "Mounts": [mount]}
    with docker_engine.client() as client:
        volume = client.volumes.create(name)
        try:
            body = {"Image": worker_image, "Labels": OURS, "HostConfig": host}
            assert (await caller.ask("POST", "/containers/create", body))[0] == 403
            assert (await caller.ask("DELETE", f"/volumes/{name}"))[0] == 403
            assert (await caller.ask("POST", "/volumes/create", {"Name": name, "Labels": OURS}))[0] == 403
            async with guarded(docker_engine, volumes=("scaler-test-*",)) as (path, _):
                status, text = await Caller(path).ask("POST", "/containers/create", body)
                assert status == 201
                client.containers.get(json.loads(text)["Id"]).remove()
                assert (await Caller(path).ask("GET", f"/volumes/{name}"))[0] == 200
                status, text = await Caller(path).ask("DELETE", f"/volumes/{name}?force=1")
                assert (status, "not one of the daemon's" in text) == (403, True)
        finally:
            volume.remove(force=True)
    assert (await caller.ask("POST", "/volumes/create", {"Name": name, "Labels": OURS}))[0] == 201
    assert (await caller.ask("DELETE", f"/volumes/{name}"))[0] == 204


async def test_the_daemon_is_told_what_would_allow_it(
    docker_engine: Engine, worker_image: str, tmp_path: Path
) -> None:
    for name in ("state", "logs"):
        (tmp_path / name).mkdir()
    context = ExecutorContext(instance="contract", state_dir=tmp_path / "state", log_dir=tmp_path / "logs")
    spec = make_spec(["true"], image=worker_image)
    settings: dict[str, Any] = {"allowedMounts": [str(tmp_path)]}
    async with (
        guarded(docker_engine) as (path, _),
        open_docker({"host": f"unix://{path}", **settings}, context) as one,
    ):
        mounting = replace(spec, docker=replace(spec.docker, mounts=(f"{tmp_path}:/data",)))
        with pytest.raises(LaunchError, match=f"allow it by --allow-mount {tmp_path}"):
            await one.launch(mounting)


@pytest.fixture
def context(tmp_path: Path) -> ExecutorContext:
    return ExecutorContext(instance="contract", state_dir=tmp_path / "state", log_dir=tmp_path / "logs")


async def test_where_no_holder_may_be_loaded_several_containers_pass_once_it_is_there(
    docker_engine: Engine, worker_image: str, context: ExecutorContext
) -> None:
    mounts = (VolumeMount(volume="keys", path="/keys"), VolumeMount(volume="data", path="/data"))
    main = ContainerSpec(
        name="main", image=worker_image, command=("cat", "/data/key"), args=(), env={}, resources=Resources(),
        mounts=mounts,
    )  # fmt: skip
    first = replace(main, name="first", command=("cp", "/keys/key", "/data"))
    volumes = (VolumeSpec(name="keys", files=(("key", Secret("text")),)), VolumeSpec(name="data"))
    pod = PodSpec(init=(first,), containers=(main,), volumes=volumes)
    spec = replace(make_spec(["true"], image=worker_image), pod=pod)
    async with guarded(docker_engine, holders=frozenset()) as (path, guard):
        async with open_docker({"host": f"unix://{path}"}, context) as executor:
            await _without_holder(docker_engine, executor, spec)
            async with open_docker({"host": docker_engine.url}, context) as direct:
                await run_once(direct, replace(spec, replica_id=f"{spec.replica_id}-direct"))
            assert await run_once(executor, spec) == ["[main] text"]
        assert {line for line in guard.refused if "holder" not in line} == set()


async def _without_holder(engine: Engine, executor: Executor, spec: ReplicaSpec) -> None:
    with engine.client() as client:
        for image in client.images.list("scaler-holder"):
            client.images.remove(image.id, force=True)
    with pytest.raises(LaunchError, match=r"holder.*executors\.docker\.holderImage") as caught:
        await soon(executor.launch(spec))
    assert caught.value.reason == "HolderMissing"


async def run_once(executor: Executor, spec: ReplicaSpec) -> list[str]:
    """Run a replica to its success; give its log."""
    handle = await soon(executor.launch(spec))
    assert (await soon(executor.wait(handle))).code == 0
    lines = await lines_of(executor.logs(spec.replica_id, handle, tail=None, follow=False))
    await soon(executor.remove(handle))
    return lines


async def test_an_engine_that_is_down_is_no_refusal(tmp_path: Path) -> None:
    gone = Engine(f"unix://{tmp_path}/no-engine.sock")
    async with (
        guarded(gone) as (path, _),
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session,
    ):
        async with session.get("http://engine/version") as answer:
            assert (answer.status, "does not answer" in (await answer.json())["message"]) == (503, True)
