"""The compose files, without an engine: what they publish, build, mount and keep to themselves, and their preflight."""

from __future__ import annotations

import importlib.util
import re
import socket
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ruamel.yaml import YAML

from scaler.config.load import load_paths
from tests.docs.tree import ROOT

FOLDER = ROOT / "compose"
FILES = sorted(FOLDER.glob("*.yaml"))


def read(name: str) -> dict[str, Any]:
    return dict(YAML(typ="safe").load(FOLDER / name))


def services() -> dict[str, dict[str, Any]]:
    """Give all services, what `extends` takes from daemon.yaml included."""
    base = read("daemon.yaml")["services"]
    return base | {
        name: base.get(name, {}) | {key: value for key, value in service.items() if key != "extends"}
        for name, service in read("compose.yaml")["services"].items()
    }


def load_check() -> ModuleType:
    spec = importlib.util.spec_from_file_location("compose_check", FOLDER / "check.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


check = load_check()


@pytest.mark.parametrize("name", sorted(services()))
def test_every_image_can_be_replaced_and_what_is_built_or_mounted_is_there(name: str) -> None:
    service = services()[name]
    assert re.fullmatch(r"\$\{[A-Z_]+:-[\w./-]+:[\w.-]+\}", service["image"])
    build = service.get("build")
    assert build is None or (FOLDER / build["context"] / build["dockerfile"]).is_file()
    binds = [volume.split(":")[0] for volume in service.get("volumes", []) if volume.startswith("./")]
    assert [path for path in binds if not (FOLDER / path).exists()] == []


def test_ports_are_open_to_this_machine_only() -> None:
    ports = [port for service in services().values() for port in service.get("ports", [])]
    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_the_engines_socket_is_the_guards_alone() -> None:
    holders = [name for name, one in services().items() if "docker.sock" in str(one.get("volumes"))]
    assert holders == ["guard"]


@pytest.mark.parametrize("name", ["guard", "scaler", "devbroker"])
def test_our_own_services_have_no_rights(name: str) -> None:
    service = services()[name]
    assert (service["cap_drop"], service["read_only"]) == (["ALL"], True)
    assert service["security_opt"] == ["no-new-privileges"]


@pytest.mark.parametrize("recipe", ["Dockerfile", "worker/Dockerfile"])
def test_an_image_copies_what_exists_and_runs_as_nobody_special(recipe: str) -> None:
    text = (FOLDER / recipe).read_text()
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE)
    names = [name for line in copied for name in line.split()]
    let_through = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] == "!"]
    assert [name for name in names if not list(ROOT.glob(name))] == []
    assert [name for name in names if not any(name.startswith(one) for one in let_through)] == []
    assert re.search(r"^USER [1-9]\d+:[1-9]\d+$", text, re.MULTILINE)


def test_its_jobs_load() -> None:
    result = load_paths([FOLDER / "jobs"], env={"SECRETS_DIR": str(FOLDER / "secrets")})
    names = {job.job.name for job in result.jobs}
    assert ([str(fault) for fault in result.faults], result.warnings) == ([], ())
    assert names == {"hello", "rabbitmq", "azure-queue", "kafka", "azure-servicebus"}


def test_the_page_names_every_variable() -> None:
    page = (ROOT / "docs" / "howto" / "compose.md").read_text()
    text = "".join((FOLDER / name).read_text() for name in ("compose.yaml", "daemon.yaml", ".env"))
    names = set(re.findall(r"\$\{([A-Z_]+)", text)) | set(re.findall(r"^([A-Z_]+)=", text, re.MULTILINE))
    assert sorted(name for name in names if f"`{name}`" not in page) == []


# the preflight


def test_the_ports_and_images_of_the_chosen_profile_are_looked_at() -> None:
    text, values = (FOLDER / "compose.yaml").read_text(), {"KAFKA_PORT": "1234"}
    parts = list(check.services(text, frozenset({"devbroker"})))
    found = {port.variable: port.number for port in check.ports("".join(parts), values)}
    assert found["KAFKA_PORT"] == 1234
    assert len(found) == 6
    pulled = {image.variable for image in check.images(parts, values)}
    assert pulled == {"RABBITMQ_IMAGE", "AZURITE_IMAGE", "KAFKA_IMAGE", "PYTHON_IMAGE"}
    emulator = list(check.services(text, frozenset({"emulator"})))
    assert {"MSSQL_IMAGE", "SERVICEBUS_EMULATOR_IMAGE"} < {one.variable for one in check.images(emulator, {})}


def test_variables_are_read_as_compose_reads_them(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text(
        "# one\nexport A=\"1\" # mine\nB='2'\n C = 3 # three\nD=a#b\nE=\nF\nG=amqp://u:p@h/?x=1\nH: 8\nA2=x y\n"
    )
    read = {
        "A": "1",
        "B": "2",
        "C": "3",
        "D": "a#b",
        "E": "",
        "G": "amqp://u:p@h/?x=1",
        "H": "8",
        "A2": "x y",
    }
    assert check.settings([file], {}) == read
    assert check.settings([file], {"A": "9"}) == {**read, "A": "9"}


def test_a_port_that_two_brokers_want_is_told() -> None:
    wanted = [check.Port("KAFKA_PORT", 5), check.Port("AZURITE_PORT", 5), check.Port("RABBITMQ_PORT", 6)]
    assert list(check.shared_ports(wanted)) == [
        "port 5: wanted by KAFKA_PORT and AZURITE_PORT; choose others in compose/.env"
    ]
    (told,) = check.shared_ports([check.Port("SERVICEBUS_PORT", 5)] * 2)
    assert "set one of their profiles only" in told


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"COMPOSE_PROFILES": "devbroker"}, []),
        ({"COMPOSE_PROFILES": ""}, []),
        ({"COMPOSE_PROFILES": "emulator", "ACCEPT_EULA": "Y"}, []),
        ({"COMPOSE_PROFILES": "devbrokr"}, ["no profile 'devbrokr'; there are devbroker, emulator"]),
        ({"COMPOSE_PROFILES": "emulator"}, ["ACCEPT_EULA=Y in compose/.env"]),
    ],
    ids=range(5),
)
def test_a_profile_that_starts_nothing_is_told(values: dict[str, str], told: list[str]) -> None:
    found = list(check.profile_faults(values, frozenset({"devbroker", "emulator"})))
    assert [word in fault for word, fault in zip(told, found, strict=True)] == [True] * len(told)


def test_an_engine_that_the_guard_would_not_be_given_is_told() -> None:
    own = {"DOCKER_HOST": "unix:///run/user/7/docker.sock"}
    assert "set DOCKER_SOCKET=/run/user/7/docker.sock" in check.other_engine(own)
    assert check.other_engine({**own, "DOCKER_SOCKET": "/run/user/7/docker.sock"}) is None
    assert check.other_engine({"DOCKER_HOST": "unix:///var/run/docker.sock"}) is None
    assert check.other_engine({"DOCKER_HOST": "tcp://engine:2375"}) is None
    assert check.other_engine({}) is None


def test_of_a_project_that_is_half_up_only_its_own_ports_may_be_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = '{"Name": "a", "Publishers": [{"PublishedPort": 9092}, {"PublishedPort": 0}]}'
    for printed in (f"{row}\n{row}", f"[{row}]"):
        monkeypatch.setenv("PATH", fake_docker(tmp_path, f"echo '{printed}'")["PATH"])
        assert check.own_ports(("docker", "compose")) == {9092, 0}


def test_a_taken_port_is_named_with_its_variable_and_a_free_one() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        fault = check.port_fault(check.Port("KAFKA_PORT", taken))
    found = re.fullmatch(rf"port {taken} \(KAFKA_PORT\): .*; .* in compose/\.env: KAFKA_PORT=(\d+)", fault)
    assert found is not None
    assert check.port_fault(check.Port("KAFKA_PORT", int(found[1]))) is None


def test_a_socket_that_cannot_be_used_is_told_with_what_to_do(tmp_path: Path) -> None:
    assert "start the Docker engine" in check.socket_fault(tmp_path / "none.sock")
    (tmp_path / "file").touch()
    assert "is no socket" in check.socket_fault(tmp_path / "file")


def fake_docker(folder: Path, script: str) -> dict[str, str]:
    """Put a program named docker on an otherwise empty path."""
    program = folder / "docker"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return {"PATH": str(folder)}


@pytest.mark.parametrize(
    ("script", "told"),
    [
        (None, "the command is not installed"),
        ("echo 'Cannot connect to the Docker daemon'; exit 1", "start it (sudo systemctl start docker)"),
        ("echo 'permission denied while trying to connect'; exit 1", "usermod -aG docker"),
        ('[ "$1" = version ] && echo 20.10.24 || exit 1', "install the package docker-compose-plugin"),
        (
            '[ "$1" = version ] && echo 20.10.24 || echo 2.6.1',
            "version 2.6 is too old; install 2.20 or newer",
        ),
        (
            'case "$*" in *config*) echo invalid hostPort: x; exit 1;; *) echo 2.40.3;; esac',
            "variables cannot be used (invalid hostPort: x); correct compose/.env",
        ),
    ],
)
def test_each_error_on_the_way_says_what_to_do(tmp_path: Path, script: str | None, told: str) -> None:
    env = {"PATH": str(tmp_path)} if script is None else fake_docker(tmp_path, script)
    done = subprocess.run(
        [sys.executable, str(FOLDER / "check.py")],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr.count("\n"), told in done.stderr) == (1, 1, True), done.stderr


def test_an_image_that_cannot_be_had_is_told_with_its_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = '[ "$1" = pull ] || exit 1; echo no such host; exit 1'
    monkeypatch.setenv("PATH", fake_docker(tmp_path, script)["PATH"])
    fault = check.image_fault(check.Image("KAFKA_IMAGE", "apache/kafka:1"))
    assert "cannot be pulled (no such host); name another by KAFKA_IMAGE" in fault
    assert "python compose/standins/build.py" in fault
