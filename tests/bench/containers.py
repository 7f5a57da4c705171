"""The same container without us: the engine's API called directly, and the `docker` command line.

Both give the container the limits and switches that the product gives it, or they would measure another one.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiodocker import Docker

from executors._docker_config import container_config
from executors._docker_settings import parse_settings
from scaler.model.job import DockerOptions, ProcessOptions, Resources
from scaler.model.replica import ReplicaSpec
from scaler.model.secret import Secret
from tests.infra.choose import Broken

CPU = 1.0
MEMORY_BYTES = 256 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What runs in the container. No command: what the image says."""

    image: str
    env: Mapping[str, str]
    network: str
    command: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """One container's times, seconds: until started, until its end was told, until removed."""

    started_s: float
    ended_s: float
    removed_s: float


def spec_of(workload: Workload, number: int) -> ReplicaSpec:
    """Give what the product would hand its executor."""
    name = f"bench-{uuid.uuid4().hex[:8]}-{number}"
    return ReplicaSpec(
        replica_id=name,
        execution_id=name,
        job="bench",
        image=workload.image,
        command=workload.command,
        args=(),
        env={key: Secret(value) for key, value in workload.env.items()},
        labels={},
        resources=Resources(cpu=CPU, memory_bytes=MEMORY_BYTES),
        docker=DockerOptions(network=workload.network),
        process=ProcessOptions(),
        registries=(),
    )


async def run_raw(workload: Workload, *, total: int, at_once: int) -> list[Life]:
    """Create, start, await and remove `total` containers, `at_once` at any time, each with four API calls."""
    settings = parse_settings({})
    gate = asyncio.Semaphore(at_once)

    async def one(client: Docker, number: int) -> Life:
        spec = spec_of(workload, number)
        async with gate:
            clock = asyncio.get_running_loop().time
            began = clock()
            made = await client.containers.create(
                container_config(spec, settings, "bench"), name=spec.replica_id
            )
            await made.start()
            started = clock()
            answer: Any = await made.wait()
            ended = clock()
            await made.delete(force=True, v=True)
            if answer["StatusCode"] != 0:
                raise Broken(f"container {spec.replica_id} ended with code {answer['StatusCode']}")
            return Life(started_s=started - began, ended_s=ended - began, removed_s=clock() - began)

    async with Docker() as client, asyncio.TaskGroup() as group:
        await client.version()
        tasks = [group.create_task(one(client, number)) for number in range(total)]
        await asyncio.wait(tasks)
    return [task.result() for task in tasks]


def docker_run(workload: Workload) -> Sequence[str]:
    """Give the command line of one such container."""
    flags = ["--rm", "--init", "--network", workload.network, "--cpus", str(CPU)]
    flags += ["--memory", str(MEMORY_BYTES), "--memory-swap", str(MEMORY_BYTES), "--pids-limit", "512"]
    flags += ["--security-opt", "no-new-privileges", "--log-opt", "max-size=10m", "--log-opt", "max-file=2"]
    for name, value in workload.env.items():
        flags += ["--env", f"{name}={value}"]
    return ["docker", "run", *flags, workload.image, *workload.command]


async def run_xargs(workload: Workload, *, total: int, at_once: int, folder: Path) -> float:
    """Let xargs run `docker run` that often; give the seconds in all."""
    log = folder / "xargs.log"
    with log.open("wb") as out:
        began = asyncio.get_running_loop().time()
        process = await asyncio.create_subprocess_exec(
            "xargs", "-P", str(at_once), "-I", "{}", *docker_run(workload),
            stdin=asyncio.subprocess.PIPE, stdout=out, stderr=out,
        )  # fmt: skip
        await process.communicate("".join(f"{number}\n" for number in range(total)).encode())
        took = asyncio.get_running_loop().time() - began
    if process.returncode != 0:
        raise Broken(f"xargs ended with code {process.returncode}:\n{log.read_text()[-2000:]}")
    return took
