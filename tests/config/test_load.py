"""Loading files and folders: what comes out, whole."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from pathlib import Path

import pytest

from scaler.config.load import Fault, LoadResult, load_paths
from scaler.model.job import (
    AuthRef,
    Combine,
    Container,
    DockerOptions,
    EnvVar,
    EventTrigger,
    Job,
    ManualTrigger,
    ProcessOptions,
    Registry,
    Resources,
    ScaleRule,
    ScheduleTrigger,
    Strategy,
    StrategyName,
    Template,
)
from scaler.model.secret import Secret
from tests.config.toys import EXECUTORS, SCALERS

MANUAL = """\
name: {name}
configuration:
  triggerType: Manual
  replicaTimeout: 60
template:
  containers:
    - image: example.com/worker:1
"""
FULL = """\
id: /subscriptions/x
systemData: {createdBy: me}
name: orders
location: North Europe
tags: {version: 1.10}
properties:
  environmentId: /subscriptions/x/env
  workloadProfileName: null
  configuration:
    triggerType: EVENT
    replicaTimeout: ${TIMEOUT:-90}
    replicaRetryLimit: 2
    manualTriggerConfig: null
    eventTriggerConfig:
      parallelism: 2
      replicaCompletionCount: "3"
      scale:
        pollingInterval: 5
        minExecutions: 1
        maxExecutions: 7
        rules:
          - name: first
            type: toy
            identity: system
            metadata: {queueName: 007, queueLength: 2}
            auth: [{secretRef: address, triggerParameter: host}]
    secrets: [{name: address, value: "${ADDRESS}", keyVaultUrl: "", identity: ""}]
    registries: [{server: ghcr.io, username: me, passwordSecretRef: password, identity: ""}]
    dapr: null
  template:
    initContainers: []
    volumes: null
    containers:
      - name: worker
        image: ghcr.io/me/worker:1
        command: [sleep]
        args: [5, true]
        env: [{name: URL, secretRef: address}, {name: PLAIN, value: 1.50}, {name: EMPTY, value: ""}]
        resources: {cpu: "0.25", memory: 512Mi, ephemeralStorage: 1Gi}
        probes: []
x-scaler:
  docker: {network: net, mounts: ["/a:/b:ro"], user: 1000, readOnly: true}
  process: {cwd: sub, cpuSeconds: 9, memory: 1Gi}
  scalingStrategy:
    strategy: custom
    customScalingQueueLengthDeduction: 1
    customScalingRunningJobPercentage: "0.5"
    multipleScalersCalculation: sum
  refill: false
  secrets: [{name: password, file: pw.txt}, {name: extra, env: EXTRA}]
"""


def _load(*paths: Path | str, **env: str) -> LoadResult:
    return load_paths(paths, env=env, scalers=SCALERS, executors=EXECUTORS)


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


MOUNTED = """\
name: bus
properties:
  configuration:
    triggerType: Event
    replicaTimeout: 60
    eventTriggerConfig:
      scale:
        rules:
          - name: first
            type: toy
            metadata: {queueName: q, queueLength: "2"}
            auth: [{secretRef: bus, triggerParameter: host}]
  template:
    containers:
      - name: worker
        image: worker
        env: [{name: BUS, secretRef: bus}]
x-scaler:
  secrets:
    - name: bus
      file: %s
"""


def test_a_secret_of_compose_or_swarm_is_a_file_that_rule_and_container_take_by_name(tmp_path: Path) -> None:
    """They are mounted as files of root's, by an absolute name; some mounts are links to a folder of the day."""
    (tmp_path / "secrets" / "..today").mkdir(parents=True)
    mounted = tmp_path / "secrets" / "bus"
    (tmp_path / "secrets" / "..today" / "bus").write_text("canary=1;canary=2\n")
    mounted.symlink_to("..today/bus")
    (tmp_path / "job.yaml").write_text(MOUNTED % mounted)
    result = _load(tmp_path / "job.yaml")
    assert result.faults == ()
    (loaded,) = result.jobs
    assert loaded.job.secrets == {"bus": Secret("canary=1;canary=2")}
    assert isinstance(loaded.job.trigger, EventTrigger)
    (auth,) = loaded.job.trigger.rules[0].auth
    assert (auth.secret, auth.parameter) == ("bus", "host")
    assert "canary" not in repr(result)


def test_a_secret_that_the_service_was_not_granted_is_told_with_its_place(tmp_path: Path) -> None:
    name = "/run/secrets/scaler-test-not-there"
    (tmp_path / "job.yaml").write_text(MOUNTED % name)
    (fault,) = _load(tmp_path / "job.yaml").faults
    assert str(fault) == (
        f"{tmp_path}/job.yaml:21:13: x-scaler.secrets[0].file: no file '{name}'; "
        "grant that secret to the daemon's service in its compose or stack file"
    )


def test_a_full_file_becomes_the_whole_job(tmp_path: Path) -> None:
    _write(tmp_path / "pw.txt", "s3cret\n")
    file = _write(tmp_path / "orders.yaml", FULL)
    result = _load(file, ADDRESS="amqp://u:p@h", EXTRA="more")
    assert result.faults == ()
    (loaded,) = result.jobs
    secrets = {"address": Secret("amqp://u:p@h"), "password": Secret("s3cret"), "extra": Secret("more")}
    rule = ScaleRule(
        name="first",
        type="toy",
        identity="system",
        metadata={"queueName": "007", "queueLength": "2"},
        auth=(AuthRef(parameter="host", secret="address"),),
    )
    container = Container(
        name="worker",
        image="ghcr.io/me/worker:1",
        command=("sleep",),
        args=("5", "true"),
        env=(
            EnvVar(name="URL", secret_ref="address"),
            EnvVar(name="PLAIN", value="1.50"),
            EnvVar(name="EMPTY", value=""),
        ),
        resources=Resources(cpu=0.25, memory_bytes=512 << 20, storage_bytes=1 << 30),
    )
    assert loaded.job == Job(
        name="orders",
        trigger=EventTrigger(
            rules=(rule,),
            min_executions=1,
            max_executions=7,
            polling_interval=timedelta(seconds=5),
            strategy=Strategy(name=StrategyName.CUSTOM, queue_length_deduction=1, running_percentage=0.5),
            combine=Combine.SUM,
            refill=False,
        ),
        template=Template(
            container=container,
            docker=DockerOptions(network="net", mounts=("/a:/b:ro",), user="1000", read_only=True),
            process=ProcessOptions(cwd=str(tmp_path / "sub"), cpu_seconds=9, memory_bytes=1 << 30),
            registries=(Registry(server="ghcr.io", username="me", password_secret="password"),),
        ),
        replica_timeout=timedelta(seconds=90),
        replica_retry_limit=2,
        parallelism=2,
        replica_completion_count=3,
        secrets=secrets,
        document=loaded.job.document,
    )
    assert result.secret_files == (str(tmp_path / "pw.txt"),)
    assert (loaded.file, loaded.line, loaded.column) == (str(file), 3, 7)


def test_the_document_has_defaults_and_no_secret(tmp_path: Path) -> None:
    _write(tmp_path / "pw.txt", "s3cret\n")
    (loaded,) = _load(_write(tmp_path / "a.yaml", FULL), ADDRESS="amqp://u:p@h", EXTRA="more-of-it").jobs
    text = loaded.job.document
    assert [word for word in ("s3cret", "amqp://", "more-of-it") if word in text] == []
    document = json.loads(text)
    config = document["properties"]["configuration"]
    assert config["triggerType"] == "Event"
    assert config["manualTriggerConfig"] is None
    assert config["scheduleTriggerConfig"] is None
    assert config["secrets"] == [{"name": "address"}, {"name": "password"}, {"name": "extra"}]
    assert document["tags"] == {"version": "1.10"}
    assert document["properties"]["template"]["containers"][0]["resources"] == {
        "cpu": 0.25,
        "memory": "0.5Gi",
        "ephemeralStorage": "1Gi",
    }
    assert document["x-scaler"]["secrets"] == [
        {"name": "password", "file": "pw.txt"},
        {"name": "extra", "env": "EXTRA"},
    ]


def test_the_smallest_job_takes_every_default(tmp_path: Path) -> None:
    (loaded,) = _load(_write(tmp_path / "a.yaml", MANUAL.format(name="tiny"))).jobs
    assert loaded.job == Job(
        name="tiny",
        trigger=ManualTrigger(),
        template=Template(
            container=Container(name="tiny", image="example.com/worker:1"),
            process=ProcessOptions(cwd=str(tmp_path)),
        ),
        replica_timeout=timedelta(seconds=60),
        document=loaded.job.document,
    )


def test_a_schedule_takes_names_of_days(tmp_path: Path) -> None:
    text = MANUAL.format(name="a").replace("Manual", "schedule")
    text = text.replace(
        "template:", "  scheduleTriggerConfig: {cronExpression: 0 6 * JAN mon-fri}\ntemplate:"
    )
    (loaded,) = _load(_write(tmp_path / "a.yaml", text)).jobs
    assert loaded.job.trigger == ScheduleTrigger(cron="0 6 * JAN mon-fri")


def test_folders_are_read_in_depth_and_in_order_without_hidden_files(tmp_path: Path) -> None:
    for name in ("b.yaml", "a.yml", "sub/c.yaml"):
        _write(tmp_path / name, MANUAL.format(name=Path(name).stem))
    for name in (".hidden.yaml", ".git/d.yaml", "notes.txt"):
        _write(tmp_path / name, "nothing: here")
    result = _load(tmp_path, tmp_path / "b.yaml")
    assert result.faults == ()
    assert [loaded.job.name for loaded in result.jobs] == ["a", "b", "c"]
    assert result.files == tuple(str(tmp_path / name) for name in ("a.yml", "b.yaml", "sub/c.yaml"))


def test_mounted_config_maps_count_each_file_once(tmp_path: Path) -> None:
    _write(tmp_path / "..2026" / "a.yaml", MANUAL.format(name="a"))
    (tmp_path / "..data").symlink_to("..2026")
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    result = _load(tmp_path)
    assert [loaded.job.name for loaded in result.jobs] == ["a"]
    assert result.faults == ()


def test_one_faulty_document_leaves_the_others(tmp_path: Path) -> None:
    file = _write(tmp_path / "a.yaml", f"{MANUAL.format(name='good')}---\nname: bad\nproperties: 5\n")
    result = _load(file)
    assert [loaded.job.name for loaded in result.jobs] == ["good"]
    assert result.faults == (
        Fault(
            file=str(file),
            line=10,
            column=13,
            where="properties",
            message="got '5'; write a mapping of 'key: value' lines",
            job="bad",
        ),
    )


def test_the_same_name_in_two_files_is_refused_in_both_places(tmp_path: Path) -> None:
    one = _write(tmp_path / "1.yaml", MANUAL.format(name="twin"))
    two = _write(tmp_path / "2.yaml", MANUAL.format(name="twin"))
    result = _load(tmp_path)
    assert result.jobs == ()
    assert [str(fault) for fault in result.faults] == [
        f"{one}:1:7: name: the job 'twin' is declared at {two}:1:7 too; rename one",
        f"{two}:1:7: name: the job 'twin' is declared at {one}:1:7 too; rename one",
    ]


def test_a_path_that_does_not_exist_is_one_line(tmp_path: Path) -> None:
    result = _load(tmp_path / "no.yaml")
    assert [str(fault) for fault in result.faults] == [
        f"{tmp_path}/no.yaml: no such file or folder; correct the path"
    ]


def test_an_empty_folder_is_a_warning(tmp_path: Path) -> None:
    result = _load(tmp_path)
    assert result.faults == ()
    assert [str(w) for w in result.warnings] == [
        f"{tmp_path}: no *.yaml or *.yml file in it; put job files there"
    ]


def test_no_permission_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = _write(tmp_path / "a.yaml", "name: a")

    def refuse(*_args: object, **_kwargs: object) -> None:
        raise PermissionError(13, "Permission denied", str(file))

    monkeypatch.setattr("builtins.open", refuse)
    result = _load(file)
    assert [str(f) for f in result.faults] == [
        f"{file}: no permission to read it; allow it to the daemon's user"
    ]


def test_a_file_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    result = _load(_write(tmp_path / "a.yaml", "#" * (1 << 20) + "##"))
    assert [f.message for f in result.faults] == ["1048577 bytes or more; job files have at most 1048576"]


def test_resources_that_azure_refuses_are_a_warning(tmp_path: Path) -> None:
    text = MANUAL.format(name="a") + "      resources: {cpu: 0.2, memory: 100Mi}\n"
    result = _load(_write(tmp_path / "a.yaml", text))
    assert result.faults == ()
    assert [(w.line, w.where) for w in result.warnings] == [(8, "template.containers[0].resources")]


def test_a_parameter_may_come_from_a_variable_of_the_container(tmp_path: Path) -> None:
    text = FULL.replace("auth: [{secretRef: address, triggerParameter: host}]", "").replace(
        "queueLength: 2}", "hostFromEnv: URL}"
    )
    _write(tmp_path / "pw.txt", "x")
    result = _load(_write(tmp_path / "a.yaml", text), ADDRESS="amqp://u:p@h", EXTRA="more")
    assert result.faults == ()


def test_loading_again_gives_the_same_result(tmp_path: Path) -> None:
    file = _write(tmp_path / "a.yaml", MANUAL.format(name="a"))
    assert _load(file) == _load(os.fspath(file))


def test_a_variable_that_is_no_utf8_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(MANUAL.format(name="orders").replace("example.com/worker:1", "${IMAGE}"))
    result = load_paths([path], env={"IMAGE": os.fsdecode(b"worker\xff")}, executors=EXECUTORS)
    message = "holds the character U+DCFF, which no program can be given; remove it"
    assert [fault.message for fault in result.faults] == [message]


def test_a_fault_is_one_line_that_can_be_printed_whatever_the_file_is_called(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff\x1b\n.yaml")
    path.write_text("name: [")
    result = load_paths([path], env={})
    (line,) = [str(fault) for fault in result.faults]
    assert line.isprintable()
    assert "\\udcff\\x1b\\n.yaml:1:" in line


def test_what_az_shows_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    shown = "resourceGroup: group\n" + MANUAL.format(name="orders") + "      imageType: ContainerImage\n"
    path.write_text(shown)
    result = load_paths([path], env={}, executors=EXECUTORS)
    assert [str(fault) for fault in result.faults] == []
    assert [loaded.job.name for loaded in result.jobs] == ["orders"]


def test_a_name_that_many_files_declare_is_told_with_two_of_them(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"{number:02}.yaml").write_text(IMAGE_JOB.format("worker:1"))
    faults = load_paths([str(tmp_path)], env={}).faults
    assert len(faults) == 20
    assert faults[5].message == (
        f"the job 'good' is declared at {tmp_path}/00.yaml:1:7, {tmp_path}/01.yaml:1:7 and 17 more too; rename one"
    )


IMAGE_JOB = """\
name: good
properties:
  configuration: {{triggerType: Manual, replicaTimeout: 60}}
  template:
    containers:
      - name: main
        image: {}
"""


@pytest.mark.parametrize(
    "image",
    [
        "worker",
        "worker:1",
        "library/a_b/c__d/e---f.g:Tag_1.2-3",
        "localhost:5000/x",
        "'[::1]:5000/x'",
        "REG.example.com:443/a/b:latest@sha256:" + "a" * 64,
        "0123456789ab",
    ],
)
def test_every_image_that_docker_takes_is_taken(tmp_path: Path, image: str) -> None:
    (tmp_path / "job.yaml").write_text(IMAGE_JOB.format(image))
    assert load_paths([str(tmp_path)], env={}).faults == ()


@pytest.mark.parametrize(
    "image", ["UPPER/!!", "i\\nx", "Worker", "a:b:c", "a//b", " a", "a@sha256:12", "https://a/b"]
)
def test_an_image_that_docker_would_refuse_is_told_at_its_place(tmp_path: Path, image: str) -> None:
    (tmp_path / "job.yaml").write_text(IMAGE_JOB.format(f'"{image}"'))
    (fault,) = load_paths([str(tmp_path)], env={}).faults
    assert (fault.line, fault.column) == (7, 16)
    assert "which is no image; write [registry/]name[:tag][@digest]" in fault.message
