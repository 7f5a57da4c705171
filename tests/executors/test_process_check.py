"""What a process cannot be given is refused by file, line and column, and again at a launch; never ignored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from executors.process import open_executor
from scaler.config.load import load_paths
from scaler.errors import LaunchError
from scaler.model.job import Resources
from scaler.model.replica import ContainerSpec, PodSpec
from scaler.ports.executor import ExecutorContext
from scaler.testing.executor_contract import make_spec, soon

JOB = """\
name: by-hand
configuration:
  triggerType: Manual
  replicaTimeout: 60
x-scaler: {executor: process}
template:
  initContainers:
    - {name: fetch, command: [date]}
  volumes:
    - name: data
  containers:
    - name: work
      image: example/worker:1
      command: [date]
      resources: {ephemeralStorage: 3Gi}
      volumeMounts: [{volumeName: data, mountPath: /data}]
      probes:
        - {type: Liveness, tcpSocket: {port: 80}}
    - {name: proxy, command: [date]}
"""


def test_each_thing_is_refused_where_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("job.yaml").write_text(JOB)
    result = load_paths(["job.yaml"], env={})
    told = {
        "8:5: template.initContainers": "a process has no init containers; do their work in the command",
        "10:5: template.volumes": "a process has no volumes of its own; it uses folders of this machine",
        "13:14: template.containers[0].image": "no image is run here, the command is; remove it",
        "16:21: template.containers[0].volumeMounts": "a process sees the folders of this machine; remove it",
        "18:9: template.containers[0].probes": "a process is not probed; replicaTimeout ends one that hangs; remove it",
        "19:7: template.containers[1]": "a replica is one process here; make it another job",
    }
    assert [str(fault) for fault in result.faults] == [
        f"job.yaml:{place}: {text}, or run the job with executor: docker" for place, text in told.items()
    ]


def test_storage_that_is_not_bounded_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    head, _, _ = JOB.partition("template:")
    container = "{command: [date], resources: {ephemeralStorage: 3Gi}}"
    Path("job.yaml").write_text(f"{head}template: {{containers: [{container}]}}\n")
    result = load_paths(["job.yaml"], env={})
    assert result.faults == ()
    assert [str(one).partition(": ")[2] for one in result.warnings] == [
        "template.containers[0].resources.ephemeralStorage: not enforced for a process"
    ]


async def test_a_launch_that_brings_more_than_a_process_is_refused(tmp_path: Path) -> None:
    one = ContainerSpec(name="a", image=None, command=("date",), args=(), env={}, resources=Resources())
    spec = replace(make_spec(["date"]), pod=PodSpec(containers=(one, replace(one, name="b"))))
    context = ExecutorContext(instance="i", state_dir=tmp_path / "state", log_dir=tmp_path / "logs")
    async with open_executor({}, context) as executor:
        with pytest.raises(LaunchError) as caught:
            await soon(executor.launch(spec))
        assert caught.value.reason == "NotSupported"
        assert await soon(executor.owned()) == ()
