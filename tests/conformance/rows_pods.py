"""`properties.template`: init containers, further containers, volumes and probes."""

from __future__ import annotations

from typing import Any

from tests.conformance.place import Body, Place, faults, load, manual, properties
from tests.conformance.table import elsewhere, row

DOCKER = ("docker",)


def templated(**members: Any) -> Body:
    """Give a small job of the docker executor with these members of `template`."""
    container = {"name": "main", "image": "example/worker:1"}
    document = manual(properties={"template": {"containers": [container], **members}})
    return document | {"x-scaler": {"executor": "docker"}}


def probed(**members: Any) -> Body:
    """Give such a job with one probe."""
    probe = {"type": "Liveness", "tcpSocket": {"port": 80}, **members}
    return templated(containers=[{"name": "main", "image": "example/worker:1", "probes": [probe]}])


def _volumes(document: Body) -> list[Body]:
    found = properties(document)["template"]["volumes"]
    assert isinstance(found, list)
    return found


@row("1.3", "`initContainers` are like containers, but have no probes.")
def init_containers_have_no_probes() -> None:
    plain = {"name": "first", "image": "example/first:1", "args": ["a"]}
    found = properties(templated(initContainers=[plain]))["template"]["initContainers"]
    assert {key: found[0][key] for key in plain} == plain
    assert "probes: unknown key" in faults(templated(initContainers=[{**plain, "probes": []}]))


@row(
    "1.3",
    "Init containers run one after another before the containers, and `EmptyDir` is a folder that all share.",
    executors=DOCKER,
)
def init_containers_run_in_order(place: Place) -> None:
    document = place.job("cat /data/order")
    template = document["properties"]["template"]
    mounted = {**template["containers"][0], "volumeMounts": [{"volumeName": "data", "mountPath": "/data"}]}
    template["volumes"] = [{"name": "data"}]
    template["initContainers"] = [
        {**mounted, "name": word, "command": ["sh", "-c", f"echo {word} >> /data/order"], "args": []}
        for word in ("one", "two")
    ]
    template["containers"] = [mounted]
    name = mounted["name"]
    assert place.printed(document) == [f"[{name}] one", f"[{name}] two"]


@row("1.3", "A volume's `storageType` is `EmptyDir` when left out.")
def empty_dir_is_the_default() -> None:
    assert _volumes(templated(volumes=[{"name": "data"}])) == [{"name": "data", "storageType": "EmptyDir"}]


@row(
    "1.3",
    "A volume of `Secret` has `secrets` of `secretRef` and `path`; none given means all.",
    executors=DOCKER,
)
def secret_volumes_are_files(place: Place) -> None:
    document = place.job("cat /keys/one /keys/two")
    document["properties"]["configuration"]["secrets"] = [
        {"name": "one", "value": "first\n"},
        {"name": "two", "value": "second\n"},
    ]
    template = document["properties"]["template"]
    template["volumes"] = [{"name": "keys", "storageType": "Secret"}]
    template["containers"][0]["volumeMounts"] = [{"volumeName": "keys", "mountPath": "/keys"}]
    assert place.printed(document) == ["first", "second"]


@row(
    "1.3",
    "A volume may be an `AzureFile` or `NfsAzureFile`, with `storageName` and `mountOptions`.",
    differs="refused: mount the share on the host and name it under `x-scaler.docker.mounts`",
)
def file_shares_are_refused() -> None:
    for kind in ("AzureFile", "NfsAzureFile"):
        volume = {"name": "share", "storageType": kind, "storageName": "x"}
        assert "x-scaler.docker.mounts" in faults(templated(volumes=[volume]))


@row("1.3", "A mount has `volumeName`, `mountPath` and `subPath`.")
def mounts_are_answered() -> None:
    mount = {"volumeName": "data", "mountPath": "/data", "subPath": "in"}
    container = {"name": "main", "image": "example/worker:1", "volumeMounts": [mount]}
    document = templated(containers=[container], volumes=[{"name": "data"}])
    assert properties(document)["template"]["containers"][0]["volumeMounts"] == [mount]


@row(
    "1.3",
    "A probe asks by `httpGet` or `tcpSocket`; period 10, timeout 1, failure threshold 3 when left out.",
)
def probes_have_defaults() -> None:
    found = properties(probed())["template"]["containers"][0]["probes"][0]
    assert (found["type"], found["tcpSocket"]) == ("Liveness", {"port": 80})
    assert (found["periodSeconds"], found["timeoutSeconds"], found["failureThreshold"]) == (10, 1, 3)
    assert "keep one of the two" in faults(probed(httpGet={"port": 80}))


@row("1.3", "Period and timeout of a probe are 1 to 240 s, its thresholds 1 to 10, its grace 0 to 3600 s.")
def probes_have_bounds() -> None:
    bounds = {
        "periodSeconds": (1, 240),
        "timeoutSeconds": (1, 240),
        "failureThreshold": (1, 10),
        "terminationGracePeriodSeconds": (0, 3600),
    }
    for key, (least, most) in bounds.items():
        for good in (least, most):
            assert faults(probed(**{key: good})) == "", (key, good)
        for bad in (least - 1, most + 1):
            assert key in faults(probed(**{key: bad})), (key, bad)


elsewhere(
    "1.3",
    "A failed startup or liveness probe fails the replica.",
    "tests/executors/test_docker_pods.py::test_probes_fail_a_replica_that_never_starts_or_stops_answering",
)


@row(
    "1.3", "A probe may be of type `Readiness`.", differs="accepted and not used: nothing is routed to a job"
)
def readiness_is_a_warning() -> None:
    loaded = load(probed(type="Readiness"))
    assert loaded.faults == ()
    assert "not used" in str(loaded.warnings[0])
