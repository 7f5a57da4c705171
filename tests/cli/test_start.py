"""`scaler job start` with parts of the template replaced, and what the executor says of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest

from scaler.cli.start import Parts, override
from tests.cli.conftest import Daemon, Run
from tests.cli.running import running

PICKY = """\
name: picky
properties:
  configuration: {triggerType: Schedule, replicaTimeout: 60, scheduleTriggerConfig: {cronExpression: "0 0 1 1 *"}}
  template:
    containers:
      - {name: main, command: ["sh", "-c", "echo $WORD"], env: [{name: WORD, value: own}]}
x-scaler: {executor: process}
"""

CONTAINED = """\
name: contained
properties:
  configuration: {triggerType: Manual, replicaTimeout: 60}
  template: {containers: [{name: main, image: "worker:1"}]}
"""


def _resources(daemon: Daemon, run: Run, *words: str) -> tuple[float, int]:
    result = run("job", "start", "orders", *words)
    assert result.exit_code == 0, result.stderr
    template = daemon.control.started[-1][1]
    assert template is not None
    resources = template.container.resources
    return resources.cpu, resources.memory_bytes


def test_sizes_are_replaced_one_by_one(daemon: Daemon, run: Run) -> None:
    assert _resources(daemon, run, "--cpu", "2") == (2.0, 1 << 30)
    assert _resources(daemon, run, "--memory", "4Gi") == (0.5, 4 << 30)
    assert _resources(daemon, run, "--cpu", "0.25", "--memory", "512Mi") == (0.25, 512 << 20)
    refused = run("job", "start", "orders", "--memory", "much")
    assert (refused.exit_code, "got 'much'" in refused.stderr) == (2, True)


def test_variables_are_named_as_az_names_them(daemon: Daemon, run: Run) -> None:
    assert run("job", "start", "orders", "--env-vars", "LEVEL=2", "--env-vars", "NEW=1").exit_code == 0
    template = daemon.control.started[-1][1]
    assert template is not None
    assert [(v.name, v.value) for v in template.container.env] == [
        ("MODE", "live"),
        ("LEVEL", "2"),
        ("NEW", "1"),
    ]


def test_a_container_that_is_named_alone_must_be_there(daemon: Daemon, run: Run) -> None:
    result = run("job", "start", "orders", "--container-name", "nope")
    assert (result.exit_code, "no container 'nope'; there are: main" in result.stderr) == (2, True)
    assert daemon.control.started == []
    assert run("job", "start", "orders", "--container-name", "main").exit_code == 0
    assert daemon.control.started == [("orders", None)]


def test_a_file_replaces_the_whole_template(daemon: Daemon, run: Run, tmp_path: Path) -> None:
    once = tmp_path / "once.yaml"
    once.write_text("containers:\n- name: main\n  args: [--day, 2026-11-01]\n  resources: {cpu: 1}\n")
    assert run("job", "start", "orders", "--yaml", str(once)).exit_code == 0
    template = daemon.control.started[-1][1]
    assert template is not None
    container = template.container
    assert container.image == "worker:1"  # a missing image is the job's
    assert (container.command, container.args, container.env) == ((), ("--day", "2026-11-01"), ())
    assert (container.resources.cpu, container.resources.memory_bytes) == (1.0, 1 << 30)


@pytest.mark.parametrize(
    ("text", "words", "message"),
    [
        ("containers: [", (), "once.yaml:1:"),
        ("- a\n", (), "write one document with 'containers:' at its top"),
        ("containers: [{name: main}]\nvolumes: [{name: data}]\n", (), "volumes: volumes stay the job's"),
        ("container: []\n", (), "did you mean 'containers'?"),
        ("containers: [{name: main, image: '${NOT_THERE}'}]\n", (), "NOT_THERE"),
        ("containers: []\n", ("--image", "x"), "give no other part beside it"),
    ],
)
def test_a_file_that_is_no_template_starts_nothing(
    daemon: Daemon, run: Run, tmp_path: Path, text: str, words: tuple[str, ...], message: str
) -> None:
    once = tmp_path / "once.yaml"
    once.write_text(text)
    result = run("job", "start", "orders", "--yaml", str(once), *words)
    assert result.exit_code == 2
    assert message in result.stderr
    assert daemon.control.started == []


def test_the_executor_checks_an_override_as_it_checks_a_job_file(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        (daemon.jobs / "picky.yaml").write_text(PICKY)
        (daemon.jobs / "contained.yaml").write_text(CONTAINED)
        daemon.until(lambda: len(daemon.client.live_jobs()) == 3, timeout_s=90)
        command = [sys.executable, "-m", "scaler", "--state-dir", str(daemon.state)]

        def scaler(*words: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run([*command, *words], capture_output=True, text=True, timeout=60, check=False)

        refused = scaler("job", "start", "contained", "--image", "Not An Image")
        text = "containers[0].image: got 'Not An Image', which is no image"
        assert (refused.returncode, text in refused.stderr) == (2, True), refused.stderr
        refused = scaler("job", "start", "picky", "--image", "other")
        text = "containers[0].image: no image is run here"
        assert (refused.returncode, text in refused.stderr) == (2, True), refused.stderr
        assert daemon.client.executions("picky") == []
        done = scaler("-o", "json", "job", "start", "picky", "--env-vars", "WORD=given", "--wait")
        assert done.returncode == 0, done.stderr  # a scheduled job may be started by hand as well
        name = json.loads(done.stdout)["name"]
        assert scaler("execution", "logs", "picky", name).stdout.endswith("given\n")


def test_the_other_containers_of_a_job_stay_as_they_are() -> None:
    own = {
        "containers": [
            {"name": "main", "image": "worker:1", "env": [{"name": "A", "value": "1"}], "volumeMounts": []},
            {"name": "log", "image": "logger:1"},
        ],
        "initContainers": [{"name": "first", "image": "init:1", "command": ["prepare"]}],
        "volumes": [],
    }
    resource = {"properties": {"template": own}}
    assert override(resource, Parts(image="worker:2")) == {
        "containers": [
            {"name": "main", "image": "worker:2", "env": [{"name": "A", "value": "1"}]},
            {"name": "log", "image": "logger:1"},
        ],
        "initContainers": [{"name": "first", "image": "init:1", "command": ["prepare"]}],
    }
    changed = override(resource, Parts(container_name="log", args=("-v",)))
    assert changed is not None
    assert changed["containers"][1] == {"name": "log", "image": "logger:1", "args": ["-v"]}
    with pytest.raises(click.BadParameter, match="no container 'other'; there are: main, log"):
        override(resource, Parts(container_name="other"))
