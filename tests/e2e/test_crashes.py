"""Crashes of the daemon: what runs goes on, what it left is taken up, and no message is worked on twice."""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.e2e.conftest import Source
from tests.e2e.daemon import Daemon
from tests.e2e.jobs import end_of, manual_job
from tests.e2e.proof import assert_each_once, settled, watched
from tests.e2e.work import Work, containers, size
from tests.infra.engine import Engine

KILLS = 20


@pytest.mark.timeout(400)
@pytest.mark.parametrize("kind", size(["amqp"], ["amqp", "http", "azure"]))
async def test_twenty_kills_at_random_moments_of_a_flood_neither_lose_nor_repeat_a_message(
    kind: str, source: Source, docker_engine: Engine, worker_image: str, daemon: Daemon
) -> None:
    work = Work(queue=source(kind), image=worker_image, interval_s=2, env={"WORK": "1"})
    await work.create()
    await work.send(16)
    daemon.write(work.document())
    seed = random.randrange(1 << 32)
    moments = random.Random(seed)
    left: list[int] = []

    async with watched(docker_engine, work) as sampler:
        for _ in range(KILLS):
            await daemon.start()
            await asyncio.sleep(moments.uniform(0.0, 1.3))
            await daemon.kill()
            left.append(await work.queue.left(work.source))
            await work.send(
                max(0, 16 - left[-1])
            )  # more than a round works off: each kill falls into a flood
        await daemon.start()
        account = await settled(daemon, work, docker_engine, timeout_s=200)
    found = await daemon.ask(lambda client: client.inspection())

    print(f"seed {seed}, left at each kill: {left}")
    assert_each_once(account, work)
    assert found["violations"] == []
    assert sampler.peak <= 8
    assert min(left) > 0, "every kill was to fall into the flood"


async def test_exit_codes_are_known_after_a_crash_whether_the_end_came_before_or_after_the_restart(
    docker_engine: Engine, worker_image: str, daemon: Daemon
) -> None:
    job = manual_job(worker_image, "sleep ${SECONDS_TO_END:-2}; exit 3", retry=0)
    name = job["name"]
    daemon.write(job)
    await daemon.start()
    early = (await daemon.cli("job", "start", name, "--env", "SECONDS_TO_END=1")).strip()
    late = (await daemon.cli("job", "start", name, "--env", "SECONDS_TO_END=6")).strip()

    def both_run() -> bool:
        return len(containers(docker_engine, name)) == 2

    await daemon.until(both_run, what="both containers exist", timeout_s=15)
    await daemon.kill()

    def early_ended() -> bool:
        return any(state.endswith("exited") for state in containers(docker_engine, name))

    await daemon.until(early_ended, what="the early one ends unwatched", timeout_s=15)
    await daemon.start()

    assert await end_of(daemon, name, early) == ("Failed", "Error", [3])
    assert await end_of(daemon, name, late) == ("Failed", "Error", [3])
    await daemon.until(lambda: containers(docker_engine, name) == [], what="nothing left", timeout_s=10)


async def test_a_polite_end_leaves_containers_running_and_the_next_start_takes_them_up(
    docker_engine: Engine, worker_image: str, daemon: Daemon
) -> None:
    job = manual_job(worker_image, "sleep 4; echo done")
    name = job["name"]
    daemon.write(job)
    await daemon.start()
    execution = (await daemon.cli("job", "start", name)).strip()
    await daemon.until(
        lambda: [c.split()[-1] for c in containers(docker_engine, name)] == ["running"],
        what="the container runs", timeout_s=15,
    )  # fmt: skip

    code = await daemon.stop()
    running = [c.split()[-1] for c in containers(docker_engine, name)]
    await daemon.start()

    assert (code, running) == (0, ["running"])
    assert await end_of(daemon, name, execution) == ("Succeeded", "Completed", [0])
    assert await daemon.cli("execution", "logs", name, execution) == "done\n"
