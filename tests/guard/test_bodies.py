"""What a container may be made of: the executor's own bodies pass unchanged, every attack is refused with a reason."""

from __future__ import annotations

from typing import Any

import pytest

from executors._docker_config import ready_config
from scaler.guard.body import check_create, check_volume, joining, must_be_own_holder
from scaler.guard.grants import Grants, Refused
from scaler.guard.policy import read_json
from scaler.model.names import LABEL_INSTANCE, LABEL_NETWORK, LABEL_PLAN
from tests.guard.bodies import GRANTS, INSTANCE, OURS, bind, body, resolve

IN_MEMORY = {
    "Labels": OURS,
    "NoCopy": True,
    "DriverConfig": {
        "Name": "local",
        "Options": {"type": "tmpfs", "device": "tmpfs", "o": "size=16m,mode=0755"},
    },
}


def refusal(given: Any, grants: Grants = GRANTS) -> str:
    with pytest.raises(Refused) as caught:
        check_create(given, grants, resolve)
    return str(caught.value)


def test_the_executors_own_body_passes_as_it_is() -> None:
    given = body()
    checked = check_create(given, GRANTS, resolve)
    assert (checked.body, checked.joined, checked.volumes) == (given, None, {})


ATTACKS: dict[str, tuple[dict[str, Any], str]] = {
    "privileged": (body(Privileged=True), "HostConfig.Privileged"),
    "privileged in another case": (body(privileged=True), "HostConfig.privileged"),
    "the host's network by a Kelvin sign": (
        body(top={"HostConfig": {**body()["HostConfig"], "Networ\u212aMode": "host"}}),
        "HostConfig.Networ\u212aMode",
    ),
    "the host's processes": (body(PidMode="host"), "HostConfig.PidMode"),
    "processes of another container": (body(PidMode="container:db"), "HostConfig.PidMode"),
    "the host's memory": (body(IpcMode="host"), "HostConfig.IpcMode"),
    "memory of another container": (body(IpcMode="container:db"), "HostConfig.IpcMode"),
    "the host's name": (body(UTSMode="host"), "HostConfig.UTSMode"),
    "the host's users": (body(UsernsMode="host"), "HostConfig.UsernsMode"),
    "the host's control groups": (body(CgroupnsMode="host"), "HostConfig.CgroupnsMode"),
    "the host's network": (body(NetworkMode="host"), "--allow-network host"),
    "a network that is not granted": (body(NetworkMode="db-net"), "--allow-network db-net"),
    "two networks": (
        body(top={"NetworkingConfig": {"EndpointsConfig": {"db-net": {}}}}),
        "--allow-network db-net",
    ),
    "a fixed address": (
        body(top={"NetworkingConfig": {"EndpointsConfig": {"orders": {"IPAMConfig": {"IPv4Address": "1"}}}}}),
        "only Aliases",
    ),
    "a capability": (body(CapAdd=["SYS_ADMIN"]), "HostConfig.CapAdd"),
    "a device": (body(Devices=[{"PathOnHost": "/dev/sda"}]), "HostConfig.Devices"),
    "a device by rule": (body(DeviceCgroupRules=["b 8:* rwm"]), "HostConfig.DeviceCgroupRules"),
    "a device by request": (body(DeviceRequests=[{"Count": -1}]), "HostConfig.DeviceRequests"),
    "no seccomp": (body(SecurityOpt=["no-new-privileges", "seccomp=unconfined"]), "HostConfig.SecurityOpt"),
    "no apparmor": (body(SecurityOpt=["no-new-privileges", "apparmor:unconfined"]), "HostConfig.SecurityOpt"),
    "new privileges": (body(SecurityOpt=[]), "no-new-privileges"),
    "new privileges by its option": (body(SecurityOpt=["no-new-privileges:false"]), "HostConfig.SecurityOpt"),
    "a control group's parent": (body(CgroupParent="/"), "HostConfig.CgroupParent"),
    "another runtime": (body(Runtime="mine"), "HostConfig.Runtime"),
    "settings of the kernel": (body(Sysctls={"kernel.core_pattern": "|/x"}), "HostConfig.Sysctls"),
    "nothing masked": (body(MaskedPaths=["/none"]), "HostConfig.MaskedPaths"),
    "volumes of another container": (body(VolumesFrom=["db"]), "HostConfig.VolumesFrom"),
    "the old form of binds": (body(Binds=["/:/host"]), "HostConfig.Binds"),
    "a port of the host": (body(PortBindings={"22/tcp": [{"HostPort": "22"}]}), "HostConfig.PortBindings"),
    "all ports": (body(PublishAllPorts=True), "HostConfig.PublishAllPorts"),
    "a life after ours": (body(RestartPolicy={"Name": "always"}), "HostConfig.RestartPolicy"),
    "a life after ours in another case": (body(RestartPolicy={"name": "always"}), "HostConfig.RestartPolicy"),
    "a log to the network": (body(LogConfig={"Type": "syslog", "Config": {}}), "HostConfig.LogConfig"),
    "a log option": (
        body(LogConfig={"Type": "json-file", "Config": {"syslog-address": "x"}}),
        "HostConfig.LogConfig",
    ),
    "a key of a later engine": (body(HostRoot="/"), "HostConfig.HostRoot"),
    "a key of a later engine on top": (body(top={"Rootfs": "/"}), "Rootfs"),
    "no label": (body(top={"Labels": {}}), LABEL_INSTANCE),
    "labels in another case": (
        {**{k: v for k, v in body().items() if k != "Labels"}, "labels": OURS},
        "labels",
    ),
    "a hidden second HostConfig": (body(top={"hostConfig": {"Privileged": True}}), "hostConfig"),
    "the engine's socket": (body(Mounts=[bind("/run/docker.sock")]), "the engine's own socket"),
    "the folder of the engine's socket": (body(Mounts=[bind("/run")]), "the engine's own socket"),
    "a granted folder that holds it": (body(Mounts=[bind("/srv/data")]), "the engine's own socket"),
    "the host's root": (body(Mounts=[bind("/")]), "the engine's own socket"),
    "a folder that is not granted": (body(Mounts=[bind("/etc")]), "--allow-mount /etc"),
    "a folder that only begins like one": (body(Mounts=[bind("/srv/database")]), "--allow-mount"),
    "a link that leads out": (body(Mounts=[bind("/srv/data/way-out")]), "--allow-mount /etc"),
    "a folder that cannot be seen": (body(Mounts=[bind("/unseen/data")]), "cannot be seen by the guard"),
    "a relative folder": (body(Mounts=[bind("srv/data/x")]), "absolute"),
    "writing where reading is granted": (body(Mounts=[bind("/srv/data/fixed/x")]), "read-only"),
    "shared propagation": (
        body(Mounts=[bind("/srv/data/x", BindOptions={"Propagation": "rshared"})]),
        "BindOptions",
    ),
    "a mount over the root": (body(Mounts=[bind("/srv/data/x", "/")]), "not the root"),
    "a mount over the root with dots": (body(Mounts=[bind("/srv/data/x", "/a/..")]), "not the root"),
    "a source in another case": (
        body(Mounts=[{"Type": "tmpfs", "Target": "/x", "source": "/"}]),
        "source",
    ),
    "a mount of another type": (body(Mounts=[{"Type": "image", "Source": "x", "Target": "/x"}]), "Type"),
    "a volume that is a folder of the host": (
        body(
            Mounts=[
                {
                    "Type": "volume",
                    "Source": "v",
                    "Target": "/x",
                    "VolumeOptions": {
                        "DriverConfig": {"Options": {"type": "none", "o": "bind", "device": "/"}}
                    },
                }
            ]
        ),
        "VolumeOptions.DriverConfig",
    ),
    "a volume in memory with a folder in its options": (
        body(
            Mounts=[
                {
                    "Type": "volume",
                    "Source": "v",
                    "Target": "/x",
                    "VolumeOptions": {
                        "DriverConfig": {
                            "Name": "local",
                            "Options": {"type": "tmpfs", "device": "tmpfs", "o": "size=1m,mode=0755,bind"},
                        }
                    },
                }
            ]
        ),
        "VolumeOptions.DriverConfig",
    ),
    "a bound of storage that says more": (body(StorageOpt={"size": "1", "dm.x": "y"}), "StorageOpt"),
    "a volume that is a path": (
        body(Mounts=[{"Type": "volume", "Source": "/etc", "Target": "/x"}]),
        "no name",
    ),
    "memory with options": (
        body(Mounts=[{"Type": "tmpfs", "Target": "/x", "TmpfsOptions": {"Options": [["exec"]]}}]),
        "TmpfsOptions",
    ),
    "memory with a mode that is no number": (
        body(Mounts=[{"Type": "tmpfs", "Target": "/x", "TmpfsOptions": {"Mode": True}}]),
        "TmpfsOptions",
    ),
    "no HostConfig": ({"Image": "x", "Labels": OURS}, "HostConfig"),
    "no object": ([], "body"),  # type: ignore[dict-item]
}


@pytest.mark.parametrize("name", ATTACKS)
def test_more_than_the_executor_asks_for_is_refused(name: str) -> None:
    given, word = ATTACKS[name]
    assert word in refusal(given)


def test_a_refusal_tells_no_value_of_the_environment() -> None:
    assert "hidden" not in refusal(body(top={"Env": ["KEY=hidden", 1]}))


@pytest.mark.parametrize(
    "host",
    [
        {"Privileged": False, "CapAdd": [], "Binds": None, "PidMode": "", "MaskedPaths": []},
        {"privileged": False, "OomScoreAdj": 0, "PortBindings": {}},
    ],
)
def test_unknown_names_that_say_nothing_are_left_out(host: dict[str, Any]) -> None:
    checked = check_create(body(**host), GRANTS, resolve)
    assert checked.body["HostConfig"] == body()["HostConfig"]


def test_what_is_granted_passes() -> None:
    given = body(
        NetworkMode="orders",
        CapDrop=["ALL"],
        Mounts=[
            bind("/srv/data/in"),
            bind("/srv/data/fixed/in", "/fixed", ReadOnly=True),
            {"Type": "volume", "Source": "shared", "Target": "/v", "VolumeOptions": {"Labels": OURS}},
            {"Type": "volume", "Source": "made-before", "Target": "/w"},
            {"Type": "tmpfs", "Target": "/tmp", "TmpfsOptions": {"SizeBytes": 1 << 20}},
            {"Type": "volume", "Source": "keys", "Target": "/keys", "VolumeOptions": IN_MEMORY},
        ],
        StorageOpt={"size": "1073741824"},
    )
    checked = check_create(given, GRANTS, resolve)
    assert checked.body["HostConfig"] == given["HostConfig"]
    assert checked.volumes == {"shared": True, "made-before": False, "keys": True}


def test_a_joined_container_is_told_and_then_named_by_its_id() -> None:
    checked = check_create(body(NetworkMode="container:first"), GRANTS, resolve)
    assert checked.joined == "first"
    assert joining(checked.body, "0123abcd")["HostConfig"]["NetworkMode"] == "container:0123abcd"
    assert "name a container" in refusal(body(NetworkMode="container:../x"))


def test_only_a_holder_of_the_same_daemon_is_joined() -> None:
    must_be_own_holder("a", {**OURS, LABEL_NETWORK: "bridge"}, OURS)
    must_be_own_holder("a", {**OURS, LABEL_PLAN: "{}"}, OURS)
    for held in ({**OURS}, {LABEL_INSTANCE: "other", LABEL_NETWORK: "bridge"}, {LABEL_NETWORK: "bridge"}):
        with pytest.raises(Refused, match="'a' holds no network for this daemon"):
            must_be_own_holder("a", held, OURS)


def test_the_body_of_a_ready_network_passes_and_none_on_a_network_that_is_not_granted() -> None:
    given = ready_config("scaler-holder:1-amd64", "orders", INSTANCE)
    assert check_create(given, GRANTS, resolve).body == given
    assert "--allow-network db" in refusal(ready_config("scaler-holder:1-amd64", "db", INSTANCE))


def test_one_daemon_may_be_singled_out() -> None:
    check_create(body(), Grants(instance=INSTANCE), resolve)
    assert f"{LABEL_INSTANCE}=other" in refusal(body(), Grants(instance="other"))


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"Name": "v"}, LABEL_INSTANCE),
        ({"Name": "v", "Labels": OURS, "DriverOpts": {"type": "none", "device": "/"}}, "DriverOpts"),
        ({"Name": "v", "Labels": OURS, "driveropts": {"type": "none"}}, "driveropts"),
        ({"Name": "v", "Labels": OURS, "Driver": "nfs"}, "Driver"),
    ],
)
def test_a_volume_is_a_plain_one_with_our_label(given: dict[str, Any], word: str) -> None:
    with pytest.raises(Refused) as caught:
        check_volume(given, GRANTS)
    assert word in str(caught.value)
    plain = {"Name": "v", "Labels": OURS, "Driver": "local"}
    assert check_volume({**plain, "DriverOpts": {}}, GRANTS) == plain


@pytest.mark.parametrize(
    "text", ['{"a": 1, "a": 2}', "{", '{"a": NaN}', "[" * 100_000, b"\xff\xfe\xfa"], ids=range(5)
)
def test_json_is_read_strictly(text: str | bytes) -> None:
    with pytest.raises(Refused):
        read_json(text, "body")
