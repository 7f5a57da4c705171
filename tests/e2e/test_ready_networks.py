"""The daemon is killed at random moments while containers join networks that it made ahead."""

from __future__ import annotations

import asyncio
import random
import sqlite3

import pytest

from tests.e2e.conftest import MakeDaemon
from tests.e2e.jobs import end_of, manual_job
from tests.e2e.work import containers
from tests.executors._holders import holders
from tests.infra.engine import Engine

KILLS = 10


@pytest.mark.timeout(500)
async def test_kills_at_random_moments_leave_no_network_and_no_start_is_repeated(
    docker_engine: Engine, worker_image: str, make_daemon: MakeDaemon
) -> None:
    daemon = make_daemon(docker_engine, docker={"readyNetworks": 2})
    job = manual_job(worker_image, "echo once")
    del job["x-scaler"]["docker"]["network"]
    daemon.write(job)
    seed = random.randrange(1 << 32)
    moments = random.Random(seed)
    print(f"seed {seed}")
    started = []
    for _ in range(KILLS):
        await daemon.start()
        started += [(await daemon.cli("job", "start", job["name"])).strip() for _ in range(2)]
        await asyncio.sleep(moments.uniform(0.0, 2.0))
        await daemon.kill()
    await daemon.start()
    started.append(
        (await daemon.cli("job", "start", job["name"])).strip()
    )  # networks are made from a launch on
    for execution in started:
        assert await end_of(daemon, job["name"], execution) == ("Succeeded", "Completed", [0])
        assert await daemon.cli("execution", "logs", job["name"], execution) == "once\n"
    await daemon.until(
        lambda: containers(docker_engine, job["name"]) == [], what="nothing left", timeout_s=20
    )
    found = await daemon.ask(lambda client: client.inspection())
    assert found["violations"] == []
    with sqlite3.connect(daemon.state / "scaler.db") as records:
        (instance,) = records.execute("SELECT value FROM notes WHERE key = 'instance'").fetchone()
    with docker_engine.client() as client:
        await daemon.until(lambda: 0 < len(holders(client, instance)) <= 2, what="ready ones", timeout_s=60)
        await daemon.stop()
        assert holders(client, instance) == []
