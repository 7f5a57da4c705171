"""The docker executor keeps the contract of all executors, on a real engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, cast

import pytest

from executors.docker import open_docker
from scaler.model.pod import VolumeMount
from scaler.model.replica import ContainerSpec, PodSpec, ReplicaHandle, ReplicaSpec, VolumeSpec
from scaler.ports.executor import Executor, ExecutorContext
from scaler.testing.executor_contract import ExecutorContract, make_spec, soon
from tests.executors._holders import holders, wait_for_holders
from tests.infra.engine import Engine


class TestDockerExecutor(ExecutorContract):
    image: str

    @pytest.fixture
    async def executor(
        self, context: ExecutorContext, docker_engine: Engine, worker_image: str
    ) -> AsyncIterator[Executor]:
        self.image = worker_image
        async with open_docker({"host": docker_engine.url}, context) as executor:
            yield executor

    def spec(self, command: list[str], *, instance: str = "contract") -> ReplicaSpec:
        return make_spec(command, image=self.image, instance=instance)


class Podded:
    """The docker executor, given a volume with everything it launches, so that a holder is needed."""

    def __init__(self, inner: Executor) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def launch(self, spec: ReplicaSpec) -> ReplicaHandle:
        """Launch it as the only container of a replica that has a volume."""
        only = ContainerSpec(
            name="main",
            image=spec.image,
            command=spec.command,
            args=spec.args,
            env=spec.env,
            resources=spec.resources,
            mounts=(VolumeMount(volume="data", path="/data"),),
        )
        pod = PodSpec(containers=(only,), volumes=(VolumeSpec(name="data"),))
        return await self._inner.launch(replace(spec, pod=pod))


class TestDockerExecutorWithAHolder(TestDockerExecutor):
    """The same promises for replicas that are more than one plain container."""

    @pytest.fixture
    async def executor(
        self, context: ExecutorContext, docker_engine: Engine, worker_image: str
    ) -> AsyncIterator[Executor]:
        self.image = worker_image
        async with open_docker({"host": docker_engine.url}, context) as executor:
            yield cast("Executor", Podded(executor))


class TestDockerExecutorWithReadyNetworks(TestDockerExecutor):
    """The same promises for replicas that join a network which was there before them."""

    @pytest.fixture
    async def executor(
        self, context: ExecutorContext, docker_engine: Engine, worker_image: str
    ) -> AsyncIterator[Executor]:
        self.image = worker_image
        async with open_docker({"host": docker_engine.url, "readyNetworks": 2}, context) as executor:
            await self.run_one(executor)
            with docker_engine.client() as client:
                await wait_for_holders(client, context.instance, 2)
            yield executor
        with docker_engine.client() as client:
            assert holders(client, context.instance) == []

    async def run_one(self, executor: Executor) -> None:
        handle, _ = await self.run(executor, self.spec(["true"]))
        await soon(executor.remove(handle))
