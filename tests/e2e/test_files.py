"""Edits of job files under a running daemon: they apply at once and touch nothing that runs."""

from __future__ import annotations

import time
from typing import Any

from tests.e2e.daemon import Daemon
from tests.e2e.jobs import end_of, manual_job
from tests.e2e.work import containers
from tests.infra.engine import Engine

SOON_S = 2.0


def states(engine: Engine, job: str) -> list[str]:
    """Give the states of a job's containers."""
    return [one.split()[-1] for one in containers(engine, job)]


async def started(daemon: Daemon, engine: Engine, job: str) -> str:
    """Start the job by hand and wait until its container runs."""
    execution = (await daemon.cli("job", "start", job)).strip()
    await daemon.until(lambda: states(engine, job) == ["running"], what="its container runs", timeout_s=15)
    return execution


async def test_the_first_answer_after_a_start_knows_every_job(worker_image: str, daemon: Daemon) -> None:
    names = {daemon.write(manual_job(worker_image, "true")).stem for _ in range(20)}

    await daemon.start()

    assert {job["name"] for job in daemon.client.live_jobs()} == names


async def test_an_edit_applies_within_two_seconds_and_touches_no_running_execution(
    docker_engine: Engine, worker_image: str, daemon: Daemon
) -> None:
    job = manual_job(worker_image, "sleep 5; echo old")
    name = job["name"]
    daemon.write(job)
    await daemon.start()
    execution = await started(daemon, docker_engine, name)
    before = containers(docker_engine, name)

    job["properties"]["template"]["containers"][0]["command"] = ["echo", "new"]
    job["properties"]["configuration"]["replicaTimeout"] = 1
    edited = time.monotonic()
    daemon.write(job)
    await daemon.until(
        lambda: daemon.client.live_job(name)["generation"] == 2, what="generation 2", timeout_s=10
    )
    applied_s = time.monotonic() - edited
    after = containers(docker_engine, name)
    fresh = (await daemon.cli("job", "start", name, "--wait")).splitlines()[0]
    end = await end_of(daemon, name, execution)

    assert applied_s < SOON_S
    assert after == before
    assert await daemon.cli("execution", "logs", name, fresh) == "new\n"
    assert end == ("Succeeded", "Completed", [0])
    assert await daemon.cli("execution", "logs", name, execution) == "old\n"


async def test_a_broken_edit_keeps_the_job_as_it_was_and_says_so(
    docker_engine: Engine, worker_image: str, daemon: Daemon
) -> None:
    job = manual_job(worker_image, "echo still here")
    name = job["name"]
    path = daemon.write(job)
    await daemon.start()
    good = path.read_text()

    path.write_text(good.replace('"replicaTimeout": 60', '"replicaTimeout": "soon"'))
    broken_at = time.monotonic()
    await daemon.until(
        lambda: bool(daemon.client.live_job(name)["fileFault"]), what="the fault", timeout_s=10
    )
    noticed_s = time.monotonic() - broken_at
    shown = await daemon.cli("job", "show", name)
    health: dict[str, Any] = await daemon.ask(lambda client: client.health())
    execution = (await daemon.cli("job", "start", name, "--wait")).splitlines()[0]
    path.write_text(good)
    await daemon.until(lambda: not daemon.client.live_job(name)["fileFault"], what="no fault", timeout_s=10)

    assert noticed_s < SOON_S
    assert "File fault" in shown
    assert "replicaTimeout" in shown
    assert len(health["fileFaults"]) == 1
    assert str(path) in health["fileFaults"][0]
    assert await daemon.cli("execution", "logs", name, execution) == "still here\n"
    assert (await daemon.ask(lambda client: client.health()))["fileFaults"] == []


async def test_deleting_a_file_removes_the_job_and_lets_its_executions_end(
    docker_engine: Engine, worker_image: str, daemon: Daemon
) -> None:
    other = manual_job(worker_image, "true")
    job = manual_job(worker_image, "sleep 4; echo ended by itself")
    name = job["name"]
    daemon.write(other)
    path = daemon.write(job)
    await daemon.start()
    await daemon.until(lambda: len(daemon.client.live_jobs()) == 2, what="both jobs", timeout_s=10)
    execution = await started(daemon, docker_engine, name)

    path.unlink()
    deleted_at = time.monotonic()
    await daemon.until(lambda: len(daemon.client.live_jobs()) == 1, what="one job", timeout_s=10)
    removed_s = time.monotonic() - deleted_at
    running = states(docker_engine, name)
    gone = await daemon.cli("job", "show", name, code=1)
    await daemon.until(lambda: containers(docker_engine, name) == [], what="it ends", timeout_s=20)
    daemon.write(job)
    await daemon.until(lambda: len(daemon.client.live_jobs()) == 2, what="the job is back", timeout_s=10)

    assert removed_s < SOON_S
    assert running == ["running"]
    assert f"no job '{name}'" in gone
    assert await end_of(daemon, name, execution) == ("Succeeded", "Completed", [0])
    assert await daemon.cli("execution", "logs", name, execution) == "ended by itself\n"
