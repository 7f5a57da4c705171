"""What only the docker executor does at launch: names, images, limits, refusals. On a real engine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import docker
import pytest

from executors.docker import open_docker
from scaler.errors import ExecutorUnavailable, LaunchError
from scaler.model.job import DockerOptions, Registry, Resources
from scaler.model.names import LABEL_INSTANCE, LABEL_REPLICA
from scaler.model.replica import ReplicaSpec
from scaler.model.secret import Secret
from scaler.ports.executor import Executor, ExecutorContext
from scaler.testing.executor_contract import CANARY, lines_of, make_spec, soon
from tests.executors._cuttable import cuttable_socket
from tests.executors._registry import PASSWORD, USER, tiny_registry
from tests.infra.engine import Engine

INSTANCE = "docker-launch-tests"
MISSING = "scaler-test-no-such-image:0"


@pytest.fixture
def context(tmp_path: Path) -> ExecutorContext:
    return ExecutorContext(instance=INSTANCE, state_dir=tmp_path, log_dir=tmp_path / "logs")


@pytest.fixture
def client(docker_engine: Engine) -> Iterator[docker.DockerClient]:
    with docker_engine.client() as client:
        yield client
        for left in client.containers.list(all=True, filters={"label": f"{LABEL_INSTANCE}={INSTANCE}"}):
            left.remove(force=True, v=True)


@pytest.fixture
async def executor(
    context: ExecutorContext, docker_engine: Engine, client: docker.DockerClient
) -> AsyncIterator[Executor]:
    async with open_docker({"host": docker_engine.url}, context) as executor:
        yield executor


@pytest.fixture
def spec(worker_image: str) -> ReplicaSpec:
    return make_spec(["sleep", "60"], image=worker_image, instance=INSTANCE)


async def refusal(executor: Executor, spec: ReplicaSpec) -> LaunchError:
    with pytest.raises(LaunchError) as caught:
        await soon(executor.launch(spec))
    return caught.value


async def test_a_container_gets_name_labels_and_limits(
    executor: Executor, client: docker.DockerClient, spec: ReplicaSpec
) -> None:
    wanted = replace(
        spec,
        env={"TOKEN": Secret(CANARY)},
        resources=Resources(cpu=0.25, memory_bytes=64 << 20),
        docker=DockerOptions(network="none", user="1000:1000", read_only=True),
    )
    handle = await soon(executor.launch(wanted))
    found = client.api.inspect_container(handle.token)
    host = found["HostConfig"]
    assert found["Name"] == f"/{wanted.replica_id}"
    assert wanted.labels.items() <= found["Config"]["Labels"].items()
    assert found["Config"]["Labels"][LABEL_INSTANCE] == INSTANCE
    assert f"TOKEN={CANARY}" in found["Config"]["Env"]
    assert {key: host[key] for key in ("NanoCpus", "Memory", "MemorySwap", "PidsLimit", "NetworkMode")} == {
        "NanoCpus": 250_000_000,
        "Memory": 64 << 20,
        "MemorySwap": 64 << 20,
        "PidsLimit": 512,
        "NetworkMode": "none",
    }
    assert (host["SecurityOpt"], host["ReadonlyRootfs"], host["Init"]) == (["no-new-privileges"], True, True)
    assert (host["AutoRemove"], host["Binds"], host["Privileged"]) == (False, None, False)
    assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "2"}}
    assert found["Config"]["User"] == "1000:1000"


async def test_too_much_memory_is_told_as_such(executor: Executor, spec: ReplicaSpec) -> None:
    greedy = ("python3", "-c", "b = b'x' * (1 << 28)")
    small = replace(spec, command=greedy, resources=Resources(cpu=1, memory_bytes=32 << 20))
    ended = await soon(executor.wait(await soon(executor.launch(small))))
    assert (ended.code, ended.reason, ended.message) == (
        137,
        "OOMKilled",
        "used more than its 32 MiB of memory",
    )


async def test_a_bound_of_storage_holds_or_is_refused_by_name(
    context: ExecutorContext, docker_engine: Engine, client: docker.DockerClient, spec: ReplicaSpec
) -> None:
    """Which of the two depends on the engine's file system."""
    bounded = replace(spec, resources=Resources(storage_bytes=1 << 30))
    async with open_docker({"host": docker_engine.url, "storageLimit": True}, context) as executor:
        refused, token = "", ""
        try:
            token = (await soon(executor.launch(bounded))).token
        except LaunchError as exc:
            refused = exc.reason
        if token:
            host = client.api.inspect_container(token)["HostConfig"]
            assert host["StorageOpt"] == {"size": str(1 << 30)}
        else:
            assert (refused, await soon(executor.owned())) == ("StorageLimitUnsupported", ())


async def test_a_container_made_but_not_started_is_started(
    executor: Executor, client: docker.DockerClient, spec: ReplicaSpec
) -> None:
    """The daemon died between the two calls: the next launch finishes the work."""
    made = client.api.create_container(
        spec.image,
        ["sh", "-c", "exit 8"],
        name=spec.replica_id,
        labels={LABEL_INSTANCE: INSTANCE, LABEL_REPLICA: spec.replica_id},
    )
    (before,) = await soon(executor.owned())
    assert (before.replica_id, before.started, before.ended) == (spec.replica_id, False, False)
    handle = await soon(executor.launch(spec))
    assert handle.token == made["Id"]
    assert (await soon(executor.wait(handle))).code == 8


async def test_a_strangers_container_of_that_name_is_left_alone(
    executor: Executor, client: docker.DockerClient, spec: ReplicaSpec
) -> None:
    stranger = client.api.create_container(spec.image, ["true"], name=spec.replica_id)
    try:
        error = await refusal(executor, spec)
        assert error.reason == "Conflict"
        assert f"docker rm {spec.replica_id}" in str(error)
        assert client.api.inspect_container(stranger["Id"])["State"]["Status"] == "created"
        assert await soon(executor.owned()) == ()
    finally:
        client.api.remove_container(stranger["Id"])


async def test_a_missing_image_is_its_own_failure(executor: Executor, spec: ReplicaSpec) -> None:
    error = await refusal(executor, replace(spec, image=MISSING))
    assert error.reason == "ImagePullFailed"
    assert MISSING in str(error)


async def test_without_pulling_a_missing_image_is_told(
    context: ExecutorContext, docker_engine: Engine, spec: ReplicaSpec
) -> None:
    async with open_docker({"host": docker_engine.url, "pullPolicy": "never"}, context) as executor:
        error = await refusal(executor, replace(spec, image=MISSING))
    assert error.reason == "ImageNotFound"


async def test_five_launches_share_one_pull_with_the_jobs_password(
    context: ExecutorContext, docker_engine: Engine, client: docker.DockerClient, tmp_path: Path
) -> None:
    async with (
        tiny_registry() as registry,
        cuttable_socket(tmp_path / "engine.sock", docker_engine.url) as proxy,
        open_docker({"host": proxy.url}, context) as executor,
    ):
        login = (Registry(server=registry.server, username=USER, password_secret="pw"), Secret(PASSWORD))
        try:
            specs = [
                replace(make_spec(["/nothing"], image=registry.image, instance=INSTANCE), registries=(login,))
                for _ in range(5)
            ]
            async with asyncio.TaskGroup() as group:
                launches = [group.create_task(soon(executor.launch(one))) for one in specs]
            ends = [await soon(executor.wait(launch.result())) for launch in launches]
            pulls = [line for line in proxy.requests if "/images/create" in line]
            assert (len(pulls), registry.manifests_asked) == (1, 1)
            assert [end.code for end in ends] == [
                127
            ] * 5  # pulled and started; there is no such program in it
            assert ends[0].message == "the command could not be run, or was not found in the image"
        finally:
            for launch in launches:
                await soon(executor.remove(launch.result()))
            client.images.remove(registry.image, force=True)


async def test_a_wrong_password_is_not_told(executor: Executor, spec: ReplicaSpec) -> None:
    async with tiny_registry() as registry:
        login = (Registry(server=registry.server, username=USER, password_secret="pw"), Secret(CANARY))
        error = await refusal(executor, replace(spec, image=registry.image, registries=(login,)))
    assert error.reason == "ImagePullFailed"
    assert registry.image in str(error)
    assert CANARY not in f"{error!r} {error.__cause__!r} {error.__context__!r}"


async def test_the_password_of_docker_login_is_used(
    executor: Executor,
    client: docker.DockerClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with tiny_registry(delay_s=0) as registry:
        helper = tmp_path / "bin" / "docker-credential-scalertest"
        helper.parent.mkdir()
        answer = json.dumps({"ServerURL": registry.server, "Username": USER, "Secret": PASSWORD})
        helper.write_text(f"#!/bin/sh\ncat >/dev/null\necho '{answer}'\n")
        helper.chmod(0o755)
        (tmp_path / "config.json").write_text(json.dumps({"credHelpers": {registry.server: "scalertest"}}))
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
        monkeypatch.setenv("PATH", f"{helper.parent}:/usr/bin:/bin")
        spec = make_spec(["/nothing"], image=registry.image, instance=INSTANCE)
        handle = await soon(executor.launch(spec))
        assert (await soon(executor.wait(handle))).code == 127
        await soon(executor.remove(handle))
        client.images.remove(registry.image, force=True)


async def test_without_init_a_bad_command_is_refused_and_cleared_away(
    context: ExecutorContext, docker_engine: Engine, spec: ReplicaSpec
) -> None:
    async with open_docker({"host": docker_engine.url, "init": False}, context) as executor:
        error = await refusal(executor, replace(spec, command=("no-such-program",)))
        assert error.reason == "StartFailed"
        assert "no-such-program" in str(error)
        assert await soon(executor.owned()) == ()


async def test_a_missing_network_is_refused_and_cleared_away(executor: Executor, spec: ReplicaSpec) -> None:
    error = await refusal(executor, replace(spec, docker=DockerOptions(network="scaler-no-such-net")))
    assert error.reason == "NetworkNotFound"
    assert "scaler-no-such-net" in str(error)
    assert await soon(executor.owned()) == ()


async def test_a_user_that_the_image_does_not_know_is_refused(executor: Executor, spec: ReplicaSpec) -> None:
    error = await refusal(executor, replace(spec, docker=DockerOptions(user="nobody-such")))
    assert error.reason == "StartFailed"
    assert await soon(executor.owned()) == ()


async def test_mounts_need_a_setting(
    context: ExecutorContext,
    docker_engine: Engine,
    client: docker.DockerClient,
    spec: ReplicaSpec,
    tmp_path: Path,
) -> None:
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "note").write_text("read me\n")
    mounting = replace(
        spec,
        command=("sh", "-c", "cat /data/note; touch /data/new"),
        docker=DockerOptions(mounts=(f"{tmp_path}/given:/data:ro",)),
    )
    async with open_docker({"host": docker_engine.url}, context) as closed:
        assert (await refusal(closed, mounting)).reason == "MountNotAllowed"
    settings = {"host": docker_engine.url, "allowedMounts": [str(tmp_path / "given")]}
    async with open_docker(settings, context) as executor:
        handle = await soon(executor.launch(mounting))
        assert (await soon(executor.wait(handle))).code == 1
        lines = await lines_of(executor.logs(mounting.replica_id, handle, tail=None, follow=False))
        assert "read me" in lines
        assert any("Read-only file system" in line for line in lines)  # stderr: its order is the engine's
        missing = replace(mounting, docker=DockerOptions(mounts=(f"{tmp_path}/given/none:/data",)))
        await soon(executor.remove(handle))
        assert (await refusal(executor, missing)).reason == "MountFailed"


async def test_an_engine_that_is_not_there_is_unavailable(
    context: ExecutorContext, spec: ReplicaSpec
) -> None:
    async with open_docker({"host": f"unix://{context.state_dir}/none.sock"}, context) as executor:
        health = await executor.fingerprint()
        assert (health.ok, "none.sock" in health.message) == (False, True)
        for call in (executor.launch(spec), executor.owned()):
            with pytest.raises(ExecutorUnavailable):
                await soon(call)
