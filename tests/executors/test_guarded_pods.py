"""Replicas of several containers through the guard: holder, volumes in memory, files, probes, and nothing refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import docker
import pytest

from executors._docker_holder import _NAME, _archive
from executors.docker import open_docker
from scaler.ports.executor import Executor, ExecutorContext
from tests.executors._guarded import guarded
from tests.executors.test_docker_pods import (
    client,
    context,
    shell,
    test_init_containers_go_first_share_volumes_and_localhost_and_sidecars_end_last,
)
from tests.infra.engine import Engine

__all__ = [  # found by name: what these tests are run with, and the story that is run once more
    "client",
    "context",
    "shell",
    "test_init_containers_go_first_share_volumes_and_localhost_and_sidecars_end_last",
]


@pytest.fixture
async def executor(
    context: ExecutorContext,
    docker_engine: Engine,
    client: docker.DockerClient,
) -> AsyncIterator[Executor]:
    """The executor of that story, behind the guard."""
    async with (
        guarded(docker_engine) as (path, guard),
        open_docker({"host": f"unix://{path}", "stopGrace": 1}, context) as executor,
    ):
        yield executor
        assert guard.refused == frozenset()


async def test_the_holder_can_be_loaded_and_no_other_image(docker_engine: Engine) -> None:
    holder, other = (_archive(name, "amd64") for name in (f"{_NAME}:1-amd64", "python:3.11-slim"))

    def load(path: Path) -> None:
        with Engine(f"unix://{path}").client() as through:
            assert [image.tags for image in through.images.load(holder)] == [[f"{_NAME}:1-amd64"]]
            with pytest.raises(docker.errors.APIError, match="not the executor's own holder"):
                through.images.load(other)

    async with guarded(docker_engine) as (path, _):
        await asyncio.to_thread(load, path)
