"""Bench `launch`: executions through engine, store and executor, beside the same processes and containers raw.

The work is `true`, so all that is left is what starting, recording and clearing away cost.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

from scaler.bench.report import Figure, figure, ratios
from scaler.bench.stage import Options
from scaler.engine.clock import SystemClock
from scaler.engine.crew import Crew
from scaler.engine.sessions import Sessions
from scaler.engine.supervisor import EnginePorts, Supervisor
from scaler.model.execution import ExecutionState, ExecutionStatus
from scaler.model.job import Container, DockerOptions, Job, ManualTrigger, Resources, Template
from scaler.observability.logs import configure_logs
from scaler.plugins import EXECUTORS
from scaler.ports.executor import ExecutorContext
from scaler.ports.store import Store
from scaler.store.sqlite import open_store
from scaler.wire.rules import resolve_rule
from tests.bench.containers import CPU, MEMORY_BYTES, Workload, run_raw
from tests.infra.choose import Broken
from tests.infra.engine import docker_engine
from tests.infra.images import base_image

PROCESSES, PROCESSES_AT_ONCE = 200, 8
CONTAINERS, CONTAINERS_AT_ONCE = 40, 4
WORK = "/bin/true"
_SHIM_LIKE = (sys.executable, "-I", "-S", "-X", "utf8", "-c", "pass")


async def run(options: Options) -> Sequence[Figure]:
    """Measure; the second half needs an engine."""
    configure_logs(level="error", form="json")
    total = options.size(PROCESSES)
    ours: list[float] = []
    spawned: list[float] = []
    python: list[float] = []
    for number in range(options.repeat):
        spawned.append(await _rate(total, _spawn_all(total, (WORK,))))
        ours.append(await _engine_rate("process", Container(name="main", command=(WORK,)), total))
        python.append(await _rate(total, _spawn_all(total, _SHIM_LIKE)))
        options.say(f"launch, processes {number + 1}/{options.repeat}: ours {ours[-1]:.1f}/s")
    how = f"{total} x {WORK}, {PROCESSES_AT_ONCE} at once"
    figures = [
        figure("process: cost to raw", ratios(spawned, ours), "x", f"spawn + wait / start to removed; {how}"),
        figure(
            "process: cost to python", ratios(python, ours), "x",
            "the same, the raw one being a Python that does nothing: the least a shim can cost",
        ),
        figure("process: executions", ours, "1/s", "engine, SQLite store and process executor in one process"),
        figure("process: raw", spawned, "1/s", "asyncio.create_subprocess_exec and wait"),
    ]  # fmt: skip
    return figures + await _containers(options)


async def _containers(options: Options) -> list[Figure]:
    image = base_image(docker_engine())
    total = options.size(CONTAINERS, least=8)
    workload = Workload(image=image, env={}, network="none", command=(WORK,))
    container = Container(
        name="main", image=image, command=(WORK,), resources=Resources(cpu=CPU, memory_bytes=MEMORY_BYTES)
    )
    ours: list[float] = []
    raw: list[float] = []
    await run_raw(workload, total=2, at_once=1)
    for number in range(options.repeat):
        raw.append(await _rate(total, run_raw(workload, total=total, at_once=CONTAINERS_AT_ONCE)))
        ours.append(await _engine_rate("docker", container, total))
        options.say(
            f"launch, containers {number + 1}/{options.repeat}: ours {ours[-1]:.2f}/s, raw {raw[-1]:.2f}/s"
        )
    how = f"{total} x {WORK}, {CONTAINERS_AT_ONCE} at once, network none"
    return [
        figure(
            "docker: cost to raw", ratios(raw, ours), "x",
            f"create, start, wait, remove by API / the same by engine and store; {how}",
        ),
        figure("docker: executions", ours, "1/s", "engine, SQLite store and docker executor in one process"),
        figure("docker: raw", raw, "1/s", "aiodocker, four calls a container, log not kept"),
    ]  # fmt: skip


async def _rate(total: int, work: Coroutine[Any, Any, object]) -> float:
    """Do the work and give how many of `total` things it did a second."""
    began = time.perf_counter()
    await work
    return total / (time.perf_counter() - began)


async def _spawn_all(total: int, argv: Sequence[str]) -> None:
    gate = asyncio.Semaphore(PROCESSES_AT_ONCE)

    async def one() -> None:
        async with gate:
            process = await asyncio.create_subprocess_exec(*argv)
            await process.wait()

    async with asyncio.TaskGroup() as group:
        for _ in range(total):
            group.create_task(one())


class _Watched:
    """A store that tells when nothing is left of an execution."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._over: dict[str, asyncio.Future[ExecutionStatus]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def over(self, execution_id: str) -> asyncio.Future[ExecutionStatus]:
        """Give the future of its end."""
        return self._over.setdefault(execution_id, asyncio.get_running_loop().create_future())

    async def apply(self, state: ExecutionState) -> None:
        await self._store.apply(state)
        execution = state.execution
        if execution.is_final and all(one.removed for one in state.replicas):
            self.over(execution.id).set_result(execution.status)


async def _engine_rate(executor: str, container: Container, total: int) -> float:
    """Start executions by hand, a bounded number at a time; the rate of those of which nothing is left."""
    job = Job(
        name="bench",
        trigger=ManualTrigger(),
        template=Template(container=container, docker=DockerOptions(network="none")),
        executor=executor,
        replica_timeout=timedelta(seconds=60),
    )
    at_once = PROCESSES_AT_ONCE if executor == "process" else CONTAINERS_AT_ONCE
    with tempfile.TemporaryDirectory(prefix="scaler-bench-") as folder:
        async with _engine(Path(folder), job) as (engine, store):
            await _execute(engine, store, 2, at_once)  # opens the executor
            return await _rate(total, _execute(engine, store, total, at_once))


async def _execute(engine: Supervisor, store: _Watched, total: int, at_once: int) -> None:
    gate = asyncio.Semaphore(at_once)

    async def one() -> None:
        async with gate:
            state = await engine.start("bench", None)
            status = await store.over(state.execution.id)
            if status is not ExecutionStatus.SUCCEEDED:
                raise Broken(f"execution {state.execution.id}: {status}")

    async with asyncio.TaskGroup() as group:
        for _ in range(total):
            group.create_task(one())


@asynccontextmanager
async def _engine(folder: Path, job: Job) -> AsyncIterator[tuple[Supervisor, _Watched]]:
    settings: Mapping[str, Any] = {}

    def open_executor(name: str) -> Any:
        places = folder / "state", folder / "logs"
        for place in places:
            place.mkdir(exist_ok=True)
        context = ExecutorContext(instance=f"bench{time.time_ns():x}", state_dir=places[0], log_dir=places[1])
        return EXECUTORS.load(name).open(settings, context)

    async with (
        open_store(folder / "scaler.db") as store,
        Sessions() as sessions,
        Crew(cast(Callable[[str], Any], open_executor), sessions) as crew,
        asyncio.TaskGroup() as tasks,
    ):
        watched = _Watched(store)
        engine = Supervisor(
            EnginePorts(
                clock=SystemClock(),
                store=cast(Store, watched),
                crew=crew,
                sessions=sessions,
                resolve=resolve_rule,
                instance="bench",
            )
        )
        tasks.create_task(engine.serve(), name="engine")
        await engine.ready()
        await engine.put(job)
        try:
            yield engine, watched
        finally:
            engine.close()
