"""The parts of the docker executor that need no engine: settings, mounts, names, certificates, arithmetic."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiodocker import DockerError

from executors._docker_config import mount_fault
from executors._docker_endpoint import find_endpoint
from executors._docker_errors import engine_call, is_of_the_definition, launch_error
from executors._docker_exit import exit_of, vanished
from executors._docker_images import full_name, registry_of
from executors._docker_settings import PullPolicy, parse_settings
from executors._labels import labels_of, owner_filter, replica_of
from executors._limiter import Climb, Limiter
from executors.docker import EXECUTOR, check
from scaler.errors import ConfigError, ExecutorUnavailable
from scaler.model.job import Container, DockerOptions, Job, ManualTrigger, Template
from scaler.model.names import LABEL_INSTANCE, LABEL_REPLICA
from scaler.model.replica import Fault, ReplicaExit
from scaler.plugins import EXECUTORS
from scaler.testing.executor_contract import make_spec

# settings


def test_the_plugin_is_found_by_its_name() -> None:
    assert EXECUTORS.load("docker") is EXECUTOR


def test_defaults_are_closed_and_bounded() -> None:
    settings = parse_settings({})
    assert (settings.host, settings.allowed_mounts, settings.pids_limit) == (None, (), 512)
    assert (settings.log_max_size, settings.log_max_file, settings.init) == ("10m", 2, True)
    assert (settings.pull_policy, settings.max_concurrent_launches) == (PullPolicy.IF_NOT_PRESENT, 16)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"pidLimit": 5}, "executors.docker.pidLimit: unknown setting; did you mean 'pidsLimit'?"),
        ({"pidsLimit": 0}, "executors.docker.pidsLimit: got 0; give a whole number of at least 1"),
        ({"pidsLimit": True}, "executors.docker.pidsLimit: got True; give a whole number of at least 1"),
        ({"logMaxSize": "10 MB"}, "executors.docker.logMaxSize: got '10 MB'; give a number and k, m or g"),
        ({"allowedMounts": "/srv"}, "executors.docker.allowedMounts: got '/srv'; give a list of absolute"),
        ({"allowedMounts": ["srv"]}, "executors.docker.allowedMounts: got ['srv']; give a list of absolute"),
        ({"allowedVolumes": ["/a"]}, "executors.docker.allowedVolumes: got ['/a']; give a list of names"),
        ({"storageLimit": 1}, "executors.docker.storageLimit: got 1; give true or false"),
        ({"holderImage": " "}, "executors.docker.holderImage: got ' '; give the name of an image"),
        ({"pullPolicy": "Always"}, "executors.docker.pullPolicy: got 'Always'; give ifNotPresent, always or"),
        ({"init": "yes"}, "executors.docker.init: got 'yes'; give true or false"),
        ({"host": "ssh://far"}, "executors.docker.host: got 'ssh://far'; give an address that begins with"),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_settings(settings)
    assert str(caught.value).startswith(text)


# mounts


@pytest.mark.parametrize(
    ("mount", "fault"),
    [
        ("{root}/open/x:/data", None),
        ("{root}/open:/data:ro", None),
        ("{root}/openly:/data", "is not below a folder"),
        ("{root}/open/../closed:/data", "is not below a folder"),
        ("{root}/open/link:/data", "is not below a folder"),
        ("{root}/open:/", "root cannot be replaced"),
        ("{root}/open:/data:rshared", "got the option 'rshared'"),
        ("cache:/data", None),
        ("team-a:/data:ro", None),
        ("other:/data", "volume other is not among executors.docker.allowedVolumes (cache, team-*)"),
        ("{root}/open", "write it as /host/path"),
    ],
)
def test_a_mount_is_allowed_below_its_folder_only(tmp_path: Path, mount: str, fault: str | None) -> None:
    for name in ("open", "openly", "closed"):
        (tmp_path / name).mkdir()
    (tmp_path / "open" / "link").symlink_to(tmp_path / "closed")
    allowed = {"allowedMounts": [str(tmp_path / "open")], "allowedVolumes": ["cache", "team-*"]}
    found = mount_fault(mount.format(root=tmp_path), parse_settings(allowed))
    assert (found is None) == (fault is None)
    assert (fault or "") in (found or "")


def test_check_names_each_refused_mount() -> None:
    job = Job(
        name="reader",
        trigger=ManualTrigger(),
        template=Template(
            container=Container(name="main", image="a"),
            docker=DockerOptions(mounts=("/srv/a:/a", "/etc:/b")),
        ),
        replica_timeout=timedelta(minutes=1),
    )
    assert check(job, {"allowedMounts": ["/srv"]}) == (
        (
            "x-scaler.docker.mounts[1]",
            "host path /etc is not below a folder of executors.docker.allowedMounts (/srv)",
        ),
    )


# names


@pytest.mark.parametrize(
    ("image", "registry", "full"),
    [
        ("alpine", "docker.io", "docker.io/library/alpine"),
        ("alpine:3.20", "docker.io", "docker.io/library/alpine:3.20"),
        ("me/app@sha256:00", "docker.io", "docker.io/me/app@sha256:00"),
        ("docker.io/me/app", "docker.io", "docker.io/me/app"),
        ("index.docker.io/me/app", "docker.io", "docker.io/me/app"),
        ("localhost/app", "localhost", "localhost/app"),
        ("127.0.0.1:5000/app:1", "127.0.0.1:5000", "127.0.0.1:5000/app:1"),
        ("mine.azurecr.io/team/app:2", "mine.azurecr.io", "mine.azurecr.io/team/app:2"),
    ],
)
def test_an_image_name_tells_its_registry(image: str, registry: str, full: str) -> None:
    assert (registry_of(image), full_name(image)) == (registry, full)


def test_our_labels_win_and_lead_back() -> None:
    spec = replace(make_spec(["true"]), labels={LABEL_INSTANCE: "other", "team": "blue"})
    labels = labels_of(spec, "me")
    assert (labels["team"], labels[LABEL_INSTANCE], labels[LABEL_REPLICA]) == ("blue", "me", spec.replica_id)
    assert (replica_of(labels, "me"), replica_of(labels, "other")) == (spec.replica_id, None)
    assert owner_filter("me") == {"label": [f"{LABEL_INSTANCE}=me"]}


# the engine's address


def test_the_setting_wins_over_the_environment() -> None:
    assert find_endpoint("unix:///a.sock", {"DOCKER_HOST": "unix:///b.sock"}).url == "unix:///a.sock"
    assert find_endpoint(None, {"DOCKER_HOST": "unix:///b.sock"}).url == "unix:///b.sock"


def test_the_current_docker_context_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from docker.context.config import get_context_id

    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    env = {"DOCKER_CONFIG": str(tmp_path)}
    (tmp_path / "config.json").write_text(json.dumps({"currentContext": "far"}))
    meta = tmp_path / "contexts" / "meta" / get_context_id("far")
    meta.mkdir(parents=True)
    endpoints = {"docker": {"Host": "unix:///far.sock", "SkipTLSVerify": False}}
    (meta / "meta.json").write_text(json.dumps({"Name": "far", "Metadata": {}, "Endpoints": endpoints}))
    assert find_endpoint(None, env).url == "unix:///far.sock"
    with pytest.raises(ConfigError, match="DOCKER_CONTEXT: got 'near'; no such docker context"):
        find_endpoint(None, env | {"DOCKER_CONTEXT": "near"})


def test_missing_certificates_are_named(tmp_path: Path) -> None:
    env = {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(tmp_path)}
    with pytest.raises(ConfigError, match=r"ca\.pem.*No such file"):
        find_endpoint("tcp://far:2376", env)
    assert find_endpoint("unix:///a.sock", env).tls is None


def test_an_address_by_ssh_is_refused_with_a_way_out() -> None:
    with pytest.raises(ConfigError, match="forward a remote socket"):
        find_endpoint(None, {"DOCKER_HOST": "ssh://me@far"})


# how a container ended


def described(**state: Any) -> dict[str, Any]:
    full = {"Status": "exited", "ExitCode": 0, "OOMKilled": False, "Error": ""} | state
    return {"State": full, "HostConfig": {"Memory": 64 << 20}, "Image": ""}


@pytest.mark.parametrize(
    ("state", "ended"),
    [
        ({"Status": "running"}, None),
        ({"Status": "created"}, None),
        ({}, ReplicaExit(code=0, reason="Completed")),
        ({"OOMKilled": True}, ReplicaExit(code=0, reason="Completed")),
        ({"ExitCode": 2}, ReplicaExit(code=2, reason="Error")),
        ({"ExitCode": 2, "Error": "odd"}, ReplicaExit(code=2, reason="Error", message="odd")),
        ({"ExitCode": 143}, ReplicaExit(code=143, reason="Signaled", message="ended by SIGTERM")),
        ({"ExitCode": 255}, ReplicaExit(code=255, reason="Error")),
        (
            {"ExitCode": 137, "OOMKilled": True},
            ReplicaExit(code=137, reason="OOMKilled", message="used more than its 64 MiB of memory"),
        ),
    ],
)
def test_the_end_is_read_from_the_state(state: dict[str, Any], ended: ReplicaExit | None) -> None:
    assert exit_of(described(**state)) == ended


@pytest.mark.parametrize(
    ("state", "unwatched", "reason", "fault"),
    [
        ({"ExitCode": 137}, True, "EngineLost", Fault.INFRA),
        ({"ExitCode": 143}, True, "EngineLost", Fault.INFRA),
        ({"ExitCode": 255}, True, "EngineLost", Fault.INFRA),
        ({"ExitCode": 137, "OOMKilled": True}, True, "OOMKilled", None),
        ({"ExitCode": 3}, True, "Error", None),
        ({"ExitCode": 0}, True, "Completed", None),
        ({"ExitCode": 137}, False, "Signaled", None),
        ({"ExitCode": 137, "Status": "removing"}, False, "RemovedFromOutside", Fault.INFRA),
        ({"ExitCode": 137, "Status": "dead"}, True, "RemovedFromOutside", Fault.INFRA),
        ({"ExitCode": 3, "Status": "removing"}, False, "Error", None),
        ({"ExitCode": 0, "Status": "removing"}, False, "Completed", None),
    ],
)
def test_the_engines_trouble_and_a_removal_are_told_from_the_apps_end(
    state: dict[str, Any], reason: str, fault: Fault | None, *, unwatched: bool
) -> None:
    ended = exit_of(described(**state), unwatched=unwatched)
    assert ended is not None
    assert (ended.code, ended.reason, ended.fault) == (state["ExitCode"], reason, fault)


def test_the_image_that_ran_is_told() -> None:
    ended = exit_of(described() | {"Image": "sha256:0a1b"})
    assert ended is not None
    assert ended.image_digest == "sha256:0a1b"


def test_what_the_engine_does_not_know_was_removed_if_it_was_seen_to_run() -> None:
    told = [(how.code, how.reason, how.fault) for how in (vanished(was_seen=seen) for seen in (True, False))]
    assert told == [(None, "RemovedFromOutside", Fault.INFRA), (None, "Lost", Fault.INFRA)]


# the limiter


def _rounds(rule: Climb, rate: Callable[[int], float], launches: int = 200) -> list[int]:
    """Give the bounds while the engine gets through so many a second, whatever is asked of it at once."""
    bounds = []
    for _ in range(launches):
        rule.observe(rule.bound / rate(rule.bound), in_flight=rule.bound)
        bounds.append(rule.bound)
    return bounds


def test_the_bound_doubles_while_the_engine_gets_through_as_many_although_each_takes_longer() -> None:
    bounds = _rounds(Climb(upper=16, start=4), lambda _bound: 5.0, 8)
    assert bounds == [4, 8, 8, 8, 8, 16, 16, 16]


def test_an_engine_that_gets_less_done_when_asked_for_more_is_asked_for_less() -> None:
    bounds = _rounds(Climb(upper=16), lambda bound: 10.0 if bound <= 10 else 2.0, 400)
    assert (max(bounds), max(bounds[100:]) <= 11) == (16, True)


def test_a_rate_that_is_neither_good_nor_bad_changes_nothing_but_that_growth_is_slow_from_then_on() -> None:
    rule = Climb(upper=64, start=4)
    assert _rounds(rule, lambda _bound: 10.0, 2)[-1] == 8
    assert set(_rounds(rule, lambda _bound: 6.0, 20)) == {8}
    assert _rounds(rule, lambda _bound: 10.0, 12)[-1] == 9


def test_an_engine_in_trouble_is_left_at_least_so_many() -> None:
    rule = Climb(upper=16, start=16, least=4)
    _rounds(rule, lambda _bound: 10.0, 16)
    seconds = 0.5
    for _ in range(200):
        seconds *= 1.05
        rule.observe(rule.bound * seconds, in_flight=rule.bound)
    assert rule.bound == 4


def test_latencies_that_scatter_by_themselves_do_not_hold_the_bound_down() -> None:
    rule = Climb(upper=16, least=4)
    bounds = set()
    for number in range(200):
        rule.observe((0.2, 0.9, 2.0)[number % 3], in_flight=rule.bound)
        bounds.add(rule.bound)
    assert bounds == {8, 16}


def test_an_idle_engine_teaches_nothing_about_a_higher_bound() -> None:
    rule = Climb(upper=32)
    for _ in range(40):
        rule.observe(0.2, in_flight=1)
    assert rule.bound == 8


async def test_no_more_than_the_bound_go_in_and_a_cancelled_one_frees_its_place() -> None:
    limiter = Limiter(Climb(upper=2))
    inside = most = 0

    async def work() -> None:
        nonlocal inside, most
        async with limiter.slot():
            inside += 1
            most = max(most, inside)
            try:
                await asyncio.sleep(0.01)
            finally:
                inside -= 1

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work()) for _ in range(10)]
        await asyncio.sleep(0.005)
        tasks[0].cancel()
        tasks[5].cancel()
        tasks[9].cancel()
    assert (most, inside, sum(task.cancelled() for task in tasks)) == (2, 0, 3)
    async with asyncio.timeout(1), limiter.slot():
        pass


# errors


@pytest.mark.parametrize(
    ("message", "asks_registry", "expected"),
    [
        ("dial tcp 127.0.0.1:5000: connect: connection refused", False, ExecutorUnavailable),
        ("dial tcp 127.0.0.1:5000: connect: connection refused", True, DockerError),
        ("context deadline exceeded", True, DockerError),
        ("connection error: dial unix /run/containerd.sock: connection refused", True, ExecutorUnavailable),
        ("context canceled", True, ExecutorUnavailable),
        (
            "failed to update store for object type *libnetwork.endpoint: open : no such file",
            False,
            ExecutorUnavailable,
        ),
        ("no space left on device", False, DockerError),
    ],
)
async def test_the_engines_own_trouble_is_told_from_what_a_registry_answers(
    message: str, asks_registry: bool, expected: type[Exception]
) -> None:
    with pytest.raises(expected):
        async with engine_call("call", 1, asks_registry=asks_registry):
            raise DockerError(500, message)


def test_a_start_that_the_engine_did_not_survive_is_lost_not_refused() -> None:
    message = "AlreadyExists: task 4f00c2: already exists: unknown"
    exc = DockerError(500, message)
    error = launch_error(exc, replica_id="r1", image="x", secrets=())
    assert (error.reason, error.passing) == ("Lost", True)
    assert "already exists" in str(error)


@pytest.mark.parametrize(
    ("message", "passing"),
    [
        ("write /var/lib/docker/x: no space left on device", True),
        ("error creating overlay mount: too many open files", True),
        ('exec: "nope": executable file not found in $PATH', False),
        ("invalid mount config", False),
    ],
)
def test_a_refusal_for_want_of_room_may_pass(message: str, *, passing: bool) -> None:
    error = launch_error(DockerError(500, message), replica_id="r1", image="x", secrets=())
    assert error.passing is passing


@pytest.mark.parametrize(
    ("words", "theirs"),
    [
        ("manifest for example.io/x:2 not found: manifest unknown: manifest unknown", True),
        ("pull access denied for x, repository does not exist or may require 'docker login'", True),
        ("Get https://example.io/v2/: unauthorized: authentication required", True),
        ("no matching manifest for linux/arm64 in the manifest list entries", True),
        ("invalid reference format: repository name must be lowercase", True),
        ("dial tcp 127.0.0.1:1: connect: connection refused", False),
        ("dial tcp: lookup example.io: no such host", False),
        ("received unexpected HTTP status: 503 Service Unavailable", False),
        ("net/http: TLS handshake timeout", False),
        ("toomanyrequests: You have reached your pull rate limit", False),
    ],
)
def test_what_the_job_names_wrongly_is_told_from_a_registry_in_trouble(words: str, *, theirs: bool) -> None:
    assert is_of_the_definition(words) is theirs
