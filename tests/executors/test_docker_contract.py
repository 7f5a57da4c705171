"""The docker executor keeps the contract of all executors, on a real engine."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from executors.docker import open_docker
from scaler.model.replica import ReplicaSpec
from scaler.ports.executor import Executor, ExecutorContext
from scaler.testing.executor_contract import ExecutorContract, make_spec
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
