"""Single executions by the command line: started, followed, stopped, retried, timed out, refused."""

from __future__ import annotations

import asyncio
import subprocess
import time

from tests.e2e.conftest import Source
from tests.e2e.daemon import SCALER, Daemon
from tests.e2e.jobs import is_final, manual_job, outcome
from tests.e2e.test_files import started
from tests.e2e.work import Work, containers
from tests.infra.engine import Engine


async def test_stopping_an_execution_ends_its_container_and_is_recorded_as_stopped(
    docker_engine: Engine, worker_image: str, daemon: Daemon
) -> None:
    job = manual_job(worker_image, "echo begun; exec sleep 60", retry=3)
    name = job["name"]
    daemon.write(job)
    await daemon.start()
    execution = await started(daemon, docker_engine, name)

    said = await daemon.cli("execution", "stop", name, execution)
    await daemon.until(lambda: is_final(daemon, name, execution), what="its end", timeout_s=15)
    shown = await daemon.json("execution", "show", name, execution)

    assert said == f"{execution}: stop requested\n"
    assert outcome(shown) == ("Stopped", "Stopped", [143])
    assert await daemon.cli("execution", "stop", name, execution) == f"{execution}: already Stopped\n"
    assert await daemon.cli("execution", "logs", name, execution) == "begun\n"
    await daemon.until(lambda: containers(docker_engine, name) == [], what="nothing left", timeout_s=10)


async def test_a_followed_log_comes_line_by_line_and_ends_with_the_execution(
    docker_engine: Engine, worker_image: str, daemon: Daemon
) -> None:
    job = manual_job(worker_image, "for i in 1 2 3 4; do echo line $i; sleep 1; done")
    name = job["name"]
    daemon.write(job)
    await daemon.start()
    execution = await started(daemon, docker_engine, name)
    command = [str(SCALER), "--state-dir", str(daemon.state), "execution", "logs", name, execution, "-f"]
    follower = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert follower.stdout is not None

    first = await asyncio.to_thread(follower.stdout.readline)
    is_running = not await asyncio.to_thread(is_final, daemon, name, execution)
    rest = await asyncio.to_thread(follower.stdout.read)
    code = await asyncio.to_thread(follower.wait, 10)
    await daemon.until(lambda: is_final(daemon, name, execution), what="its end", timeout_s=15)

    assert (first, is_running, rest, code) == ("line 1\n", True, "line 2\nline 3\nline 4\n", 0)
    assert await daemon.cli("execution", "logs", name, execution) == first + rest
    assert await daemon.cli("execution", "logs", name, execution, "--tail", "1") == "line 4\n"


async def test_a_failing_execution_is_tried_as_often_as_its_retry_limit_says(
    docker_engine: Engine, worker_image: str, daemon: Daemon
) -> None:
    job = manual_job(worker_image, "exit 7", retry=2)
    name = job["name"]
    daemon.write(job)
    await daemon.start()

    said = await daemon.cli("job", "start", name, "--wait", code=1)
    execution = said.splitlines()[0]

    shown = await daemon.json("execution", "show", name, execution)
    assert outcome(shown) == ("Failed", "BackoffLimitExceeded", [7, 7, 7])
    await daemon.until(lambda: containers(docker_engine, name) == [], what="nothing left", timeout_s=10)


async def test_a_replica_that_takes_too_long_is_ended(
    docker_engine: Engine, worker_image: str, daemon: Daemon
) -> None:
    job = manual_job(worker_image, "exec sleep 60", timeout_s=2)
    name = job["name"]
    daemon.write(job)
    await daemon.start()

    begun = time.monotonic()
    execution = (await daemon.cli("job", "start", name, "--wait", code=1)).splitlines()[0]
    took_s = time.monotonic() - begun

    assert outcome(await daemon.json("execution", "show", name, execution)) == (
        "Failed", "ReplicaTimeout", [143]
    )  # fmt: skip
    assert 2.0 <= took_s < 10.0
    await daemon.until(lambda: containers(docker_engine, name) == [], what="nothing left", timeout_s=10)


async def test_a_start_by_hand_may_override_command_and_variables_without_changing_the_job(
    docker_engine: Engine, worker_image: str, daemon: Daemon
) -> None:
    job = manual_job(worker_image, "echo $GREETING $NAME", env={"GREETING": "hello", "NAME": "job"})
    name = job["name"]
    daemon.write(job)
    await daemon.start()

    plain = (await daemon.cli("job", "start", name, "--wait")).splitlines()[0]
    other = (await daemon.cli("job", "start", name, "--wait", "--env", "NAME=override")).splitlines()[0]
    command = "sh -c 'echo $GREETING from another command'"
    third = (await daemon.cli("job", "start", name, "--wait", "--command", command)).splitlines()[0]

    assert await daemon.cli("execution", "logs", name, plain) == "hello job\n"
    assert await daemon.cli("execution", "logs", name, other) == "hello override\n"
    assert await daemon.cli("execution", "logs", name, third) == "hello from another command\n"
    assert (await daemon.ask(lambda client: client.live_job(name)))["generation"] == 1
    assert containers(docker_engine, name) == []


async def test_an_image_that_cannot_be_had_fails_with_growing_pauses_and_the_queue_is_left_alone(
    source: Source, docker_engine: Engine, daemon: Daemon
) -> None:
    work = Work(queue=source("amqp"), image="127.0.0.1:1/nobody/nothing:1", interval_s=1, most=2)
    await work.create()
    await work.send(6)
    daemon.write(work.document())
    await daemon.start()

    def holds_back() -> bool:
        decision = daemon.client.live_job(work.name)["lastDecision"]
        return decision is not None and decision["reason"] == "LaunchBackoff"

    await daemon.until(holds_back, what="launches are held back", timeout_s=120)
    shown = await daemon.cli("job", "show", work.name)
    executions = await daemon.ask(lambda client: client.executions(work.name))

    ended = [one for one in executions if one["properties"]["status"] != "Processing"]
    assert {outcome(one)[:2] for one in ended} == {("Failed", "ImagePullFailed")}
    assert {one["properties"]["fault"] for one in ended} == {"infra"}, "no registry answers there"
    assert 1 <= len(ended) <= 2
    assert "LaunchBackoff" in shown
    assert await work.queue.left(work.source) == 6
    assert containers(docker_engine, work.name) == []
