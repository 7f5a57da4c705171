"""The compose project on a real engine, from `make up` to `make down`, as the README tells it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.infra.choose import Unavailable, absent
from tests.infra.compose import Project, project
from tests.infra.engine import Engine
from tests.infra.paths import COMPOSE
from tests.infra.process import wait_until

pytestmark = pytest.mark.timeout(1200)


LONELY = """\
name: lonely
properties:
  configuration:
    triggerType: Manual
    replicaTimeout: 600
    manualTriggerConfig: {}
  template:
    containers:
      - {name: first, image: "${WORKER_IMAGE}", command: [sleep, "500"]}
      - {name: second, image: "${WORKER_IMAGE}", command: [sleep, "500"]}
"""
"""A job of somebody's on the engine's own bridge, two containers a replica, that is in no hurry."""


@pytest.fixture(scope="module")
def stack(docker_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The project, up, with one job more."""
    if not docker_engine.url.startswith("unix://"):
        absent("docker", "the compose project needs the engine's unix socket")
    try:
        with project(docker_engine) as made:
            jobs = tmp_path_factory.mktemp("compose") / "jobs"
            shutil.copytree(COMPOSE / "jobs", jobs)
            (jobs / "lonely.yaml").write_text(LONELY)
            jobs.chmod(0o755)
            made.env["SCALER_JOBS"] = str(jobs)
            made.make("up")
            yield made
    except Unavailable as exc:
        absent("docker", f"compose: {exc}")


def ready(stack: Project) -> dict[str, str]:
    """Give the column READY of each job."""
    rows = (line.split() for line in stack.scaler("job", "list").splitlines()[1:])
    return {row[0]: row[2] for row in rows if len(row) > 2}


def test_all_services_come_up_healthy_and_every_job_can_read_its_broker(stack: Project) -> None:
    wanted = dict.fromkeys(
        ("azure-queue", "hello", "kafka", "lonely", "rabbitmq", "azure-servicebus"), "True"
    )
    wait_until(lambda: ready(stack) == wanted, timeout_s=120, what="all jobs ready", interval_s=1)
    assert '"state": "broken"' not in stack.scaler("doctor", "--running", "-o", "json")


def test_the_daemon_has_no_socket_but_the_guards_and_no_rights(stack: Project) -> None:
    with_socket = stack.compose(
        "exec", "-T", "scaler", "sh", "-c", "id -u; ls /var/run/docker.sock; touch /opt/x; true"
    ).lower()
    assert "10001" in with_socket.splitlines()
    assert "no such file" in with_socket
    assert "read-only file system" in with_socket
    assert "guard.refused" not in stack.compose("logs", "guard")


def test_a_job_by_hand_runs_through_the_guard_and_leaves_nothing(stack: Project) -> None:
    assert "Succeeded" in stack.scaler("job", "start", "hello", "--wait")
    log = stack.scaler("execution", "list", "hello", "-o", "json")
    name = json.loads(log)[0]["name"]
    assert "hello from" in stack.scaler("execution", "logs", "hello", name)


def test_a_flood_of_all_four_brokers_drains_and_sums_up(stack: Project, tmp_path: Path) -> None:
    kinds = ["rabbitmq", "azure-queue", "kafka", "azure-servicebus"]
    wanted = "--count 8 --think 0.1 --timeout 500 " + " ".join(kinds)
    told = stack.make("flood", timeout_s=560, LOAD=wanted, REPORTS=str(tmp_path))
    body = json.loads((tmp_path / "load.json").read_text())
    assert (body["sumsUp"], [job["job"] for job in body["jobs"]]) == (True, kinds), told
    for job in body["jobs"]:
        assert (job["sent"], job["done"], job["lost"]) == (8, 8, 0)
        assert 1 <= job["peakRunning"] <= job["maxExecutions"] == 4
    assert (tmp_path / "load.html").read_text().count("<svg") == 8
    assert "guard.refused" not in stack.compose("logs", "guard")


def test_down_leaves_nothing_not_even_what_runs_on_another_network(
    stack: Project, docker_engine: Engine
) -> None:
    stack.scaler("job", "start", "lonely")
    with docker_engine.client() as client:

        def running() -> int:
            return len(client.containers.list(filters={"label": "io.scaler.job=lonely"}, ignore_removed=True))

        wait_until(
            lambda: running() == 3, timeout_s=60, what="two containers and what holds them", interval_s=1
        )
        stack.make("down")
        assert (stack.left(), running()) == ([], 0)
