"""Faults of the engine and of what runs in it, on real containers, each with the reason that history promises."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.e2e.conftest import MakeDaemon
from tests.e2e.daemon import Daemon
from tests.e2e.jobs import end_of, manual_job
from tests.e2e.test_files import started
from tests.e2e.test_outages import events
from tests.e2e.work import containers
from tests.infra.engine import Engine

REPLICAS = 20
PROCESSES = 60
ONCE = '[ "$SCALER_REPLICA_ATTEMPT" = 2 ] || exec sleep 300'


def _replicas(shown: dict[str, Any]) -> list[tuple[str, str | None, str | None]]:
    """Give status, reason and fault of each replica."""
    return [
        (one["containers"][0]["status"], one.get("reason"), one.get("fault"))
        for one in shown["properties"]["detailedStatus"]["replicas"]
    ]


async def _begin(daemon: Daemon, job: str) -> str:
    return str((await daemon.ask(lambda client: client.start(job)))["name"])


async def _assert_all_well(daemon: Daemon) -> None:
    found = await daemon.ask(lambda client: client.inspection())
    assert (found["violations"], found["silentExecutors"]) == ([], [])


@pytest.mark.timeout(300)
async def test_an_engine_that_hangs_and_then_restarts_loses_no_exit_code_and_starts_nothing_twice(
    spare_engine: Engine, worker_image: str, make_daemon: MakeDaemon
) -> None:
    short = manual_job(worker_image, "sleep 3; exit 3")
    late = manual_job(worker_image, "exit 0")
    long = manual_job(worker_image, ONCE)
    daemon = make_daemon(spare_engine)
    for job in (short, late, long):
        daemon.write(job)
    await daemon.start()
    early = await started(daemon, spare_engine, short["name"])
    kept = await started(daemon, spare_engine, long["name"])

    with spare_engine.frozen():
        asked = await _begin(daemon, late["name"])
        await asyncio.sleep(5)  # the short one ends meanwhile
        during = await daemon.ask(lambda client: client.execution(late["name"], asked))
    ends = [
        await end_of(daemon, short["name"], early, timeout_s=120),
        await end_of(daemon, late["name"], asked, timeout_s=120),
    ]
    await asyncio.to_thread(spare_engine.restart)
    again = await end_of(daemon, long["name"], kept, timeout_s=120)
    shown = await daemon.json("execution", "show", long["name"], kept)
    await _assert_all_well(daemon)

    assert during["properties"]["status"] == "Processing", "nobody knows yet whether it runs"
    assert ends == [("Failed", "Error", [3]), ("Succeeded", "Completed", [0])]
    assert again[:2] == ("Succeeded", "Completed"), shown
    assert _replicas(shown) == [("Unknown", "EngineLost", "infra"), ("Succeeded", "Completed", None)]
    assert [containers(spare_engine, job["name"]) for job in (short, late, long)] == [[], [], []]


@pytest.mark.timeout(240)
async def test_twenty_running_containers_are_adopted_and_end_with_their_codes(
    docker_engine: Engine, worker_image: str, daemon: Daemon
) -> None:
    job = manual_job(worker_image, "exec sleep 300", timeout_s=400)
    job["properties"]["configuration"]["manualTriggerConfig"] = {
        "parallelism": REPLICAS, "replicaCompletionCount": REPLICAS,
    }  # fmt: skip
    job["properties"]["template"]["containers"][0]["resources"] = {"cpu": 0.25, "memory": "0.5Gi"}
    name = job["name"]
    daemon.write(job)
    await daemon.start()
    execution = await _begin(daemon, name)

    def running() -> list[str]:
        return sorted(row.split()[0] for row in containers(docker_engine, name) if row.endswith("running"))

    await daemon.until(lambda: len(running()) == REPLICAS, what="all run", timeout_s=90)
    before = await asyncio.to_thread(running)
    await daemon.kill()
    await daemon.start()
    await daemon.until(
        lambda: len(events(daemon, "replica.adopted")) == REPLICAS, what="all adopted", timeout_s=60
    )
    after = {row.split()[0] for row in await asyncio.to_thread(containers, docker_engine, name)}
    await daemon.ask(lambda client: client.stop(name, execution))
    end = await end_of(daemon, name, execution, timeout_s=120)
    await _assert_all_well(daemon)

    assert after == set(before), "nothing was started anew"
    assert end == ("Stopped", "Stopped", [143] * REPLICAS)


def _processes(engine: Engine, job: str) -> int:
    """Count the processes in the container of a job, if it runs."""
    row = next(iter(containers(engine, job)), "")
    if not row.endswith("running"):
        return 0
    with engine.client() as client:
        return len(client.api.top(row.split()[0])["Processes"])


@pytest.mark.timeout(240)
async def test_deaf_greedy_forking_and_flooding_containers_end_with_their_reasons(
    docker_engine: Engine, worker_image: str, make_daemon: MakeDaemon
) -> None:
    """At once on one daemon: none of them may hold up another."""
    fork = "(while :; do sleep 300 & done) 2> /dev/null; exec sleep 300"
    flood = "yes 0123456789012345678901234567890123456789 | head -c 100000000; echo; echo the end"
    deaf = manual_job(worker_image, "trap '' TERM; echo deaf; while :; do sleep 0.2; done")
    greedy = manual_job(worker_image, "tail /dev/zero")
    forking = manual_job(worker_image, fork, timeout_s=15)
    flooding = manual_job(worker_image, flood, timeout_s=150)
    greedy["properties"]["template"]["containers"][0]["resources"] = {"cpu": 0.5, "memory": "64Mi"}
    docker = {"pidsLimit": PROCESSES, "logMaxSize": "1m", "logMaxFile": 2}
    daemon = make_daemon(docker_engine, limits={"stopGrace": 1}, docker=docker)
    jobs = (deaf, greedy, forking, flooding)
    for job in jobs:
        daemon.write(job)
    await daemon.start()
    names = [await _begin(daemon, job["name"]) for job in jobs]

    def says_deaf() -> bool:
        with docker_engine.client() as client:
            row = next(iter(containers(docker_engine, deaf["name"])), "")
            return bool(row) and b"deaf" in client.api.logs(row.split()[0])

    def has_grown() -> bool:
        grown.append(_processes(docker_engine, forking["name"]))
        return grown[-1] >= PROCESSES - 10

    grown: list[int] = []
    await daemon.until(has_grown, what="it has grown", timeout_s=60)
    await daemon.until(says_deaf, what="it is deaf", timeout_s=60)
    await daemon.ask(lambda client: client.stop(deaf["name"], names[0]))
    ends = [
        await end_of(daemon, job["name"], name, timeout_s=180) for job, name in zip(jobs, names, strict=True)
    ]
    tail = await daemon.cli("execution", "logs", flooding["name"], names[3], "--tail", "1")
    await _assert_all_well(daemon)

    assert ends[0] == ("Stopped", "Stopped", [137])
    assert ends[1] == ("Failed", "OOMKilled", [137])
    assert max(grown) <= PROCESSES
    assert ends[2][:2] == ("Failed", "ReplicaTimeout")
    assert ends[3] == ("Succeeded", "Completed", [0])
    assert tail.endswith("the end\n")
    assert sum(file.stat().st_size for file in (daemon.state / "logs").iterdir()) < 4 << 20
    assert [containers(docker_engine, job["name"]) for job in jobs] == [[]] * 4
