"""A compose project of somebody's own takes the daemon by the lines that the README shows."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.infra.choose import Unavailable, absent
from tests.infra.compose import docker_config
from tests.infra.paths import REPOSITORY

JOB = """\
name: mine
properties:
  configuration:
    triggerType: Manual
    replicaTimeout: 60
    manualTriggerConfig: {}
  template:
    containers: [{name: mine, image: mine:1}]
"""


def shown() -> str:
    """Give the lines of the README."""
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    found = re.search(r"```yaml\n(# compose\.yaml of yours\n.*?)```", text, re.DOTALL)
    assert found is not None
    return found[1].replace("../scaler/compose", str(REPOSITORY / "compose"))


def config(folder: Path, text: str) -> dict[str, Any]:
    """Let docker compose read a project."""
    try:
        place = docker_config()
    except Unavailable as exc:
        absent("docker", f"compose: {exc}")
    (folder / "compose.yaml").write_text(text + "services:\n  web:\n    image: web:1\n")
    (folder / "jobs").mkdir()
    (folder / "jobs" / "mine.yaml").write_text(JOB)
    env = {**os.environ, "PWD": str(folder)} | ({} if place is None else {"DOCKER_CONFIG": str(place)})
    done = subprocess.run(
        ["docker", "compose", "config", "--format", "json"],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture
def project(tmp_path: Path) -> dict[str, Any]:
    """A project of somebody's, with the lines of the README."""
    folder = tmp_path / "shop"
    folder.mkdir()
    return config(folder, shown())


def test_its_services_stand_beside_the_daemon_and_its_guard(project: dict[str, Any]) -> None:
    assert set(project["services"]) == {"web", "guard", "scaler"}
    assert project["services"]["scaler"]["build"]["context"] == str(REPOSITORY)


def test_the_daemon_reads_the_projects_jobs(project: dict[str, Any], tmp_path: Path) -> None:
    mounts = {one["target"]: one["source"] for one in project["services"]["scaler"]["volumes"]}
    assert mounts["/etc/scaler/jobs"] == str(tmp_path / "shop" / "jobs")


def test_replicas_may_join_the_projects_network_and_no_other(project: dict[str, Any]) -> None:
    network = project["networks"]["default"]["name"]
    assert network == "shop_default"
    assert project["services"]["scaler"]["environment"]["SCALER_NETWORK"] == network
    granted = [word for word in project["services"]["guard"]["command"] if "allow-network" in word]
    assert granted == [f"--allow-network={network}"]
