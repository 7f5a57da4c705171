"""The compose files and the image are well-formed; nothing here builds or starts them, and the page says so."""

from __future__ import annotations

import re
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
    return {name: service for path in FILES for name, service in read(path.name)["services"].items()}


def test_there_are_brokers_and_the_daemon() -> None:
    assert set(services()) == {"rabbitmq", "azurite", "devbroker", "scaler"}


@pytest.mark.parametrize("name", sorted(services()))
def test_a_service_names_its_image_and_files_that_exist(name: str) -> None:
    service = services()[name]
    assert service["image"]
    build = service.get("build")
    assert build is None or (FOLDER / build["context"] / build["dockerfile"]).is_file()
    binds = [volume.split(":")[0] for volume in service.get("volumes", []) if volume.startswith("./")]
    assert [path for path in binds if not (FOLDER / path).exists()] == []


def test_ports_are_open_to_this_machine_only() -> None:
    ports = [port for service in services().values() for port in service.get("ports", [])]
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_the_image_copies_what_exists_and_is_let_through() -> None:
    text = (FOLDER / "Dockerfile").read_text()
    copied = [
        name for line in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE) for name in line.split()
    ]
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert [name for name in copied if not (ROOT / name).exists() or f"!{name}" not in ignored] == []
    assert "pyproject.toml" in copied


def test_its_jobs_load() -> None:
    result = load_paths([FOLDER / "jobs"], env={})
    assert ([str(fault) for fault in result.faults], [job.job.name for job in result.jobs]) == ([], ["hello"])


def test_the_page_says_that_they_are_not_tested() -> None:
    assert "**Not tested:**" in (ROOT / "docs" / "howto" / "run-as-a-service.md").read_text()
