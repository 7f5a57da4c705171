"""Builds stand-ins of the images that compose.yaml names, where no image registry can be reached.

They are made of packages of Debian, PyPI, npm and Maven, answer to the same variables and ports as the official images,
and bear the label `standin`. Wanted: Docker, and for the base `mmdebstrap`, for Kafka `mvn`, on a Debian machine.

    python compose/standins/build.py
    cd compose && docker compose --env-file .env --env-file standins/standins.env up --detach --wait

Python's standard library only. An image that is there is not built again.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ENV_FILE = HERE / "standins.env"
BASE, PYTHON = "debian:bookworm-slim", "python:3.11-slim"
STANDINS = {
    "RABBITMQ_IMAGE": "scaler-standin/rabbitmq:3",
    "AZURITE_IMAGE": "scaler-standin/azurite:3.35.0",
    "KAFKA_IMAGE": "scaler-standin/kafka:4.3.1",
}
_KAFKA_POM = """\
<project><modelVersion>4.0.0</modelVersion><groupId>standin</groupId><artifactId>kafka</artifactId><version>1</version>
<packaging>pom</packaging><dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>4.3.1</version></dependency>
<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
</dependencies></project>
"""
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
_CA = "/etc/ssl/host-ca.crt"
_CA_VARIABLES = (
    "PIP_CERT",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "npm_config_cafile",
)


class Failed(Exception):
    """A step failed; the text says which, and what it printed last."""


def run(*command: str, timeout_s: float = 900) -> str:
    """Run a command to its end; give what it printed."""
    try:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except OSError as exc:
        raise Failed(f"{command[0]}: {exc.strerror}; install it") from exc
    except subprocess.TimeoutExpired as exc:
        raise Failed(f"{' '.join(command[:3])}: not done within {timeout_s:g} s") from exc
    if done.returncode != 0:
        raise Failed(f"{' '.join(command[:3])} ended with {done.returncode}:\n{done.stdout[-2000:]}")
    return done.stdout


def is_there(image: str) -> bool:
    """Say whether the engine has an image."""
    return (
        subprocess.run(("docker", "image", "inspect", image), capture_output=True, check=False).returncode
        == 0
    )


def base() -> str:
    """Make sure of the Debian image that all stand on; give its name."""
    standin = "scaler-standin/debian:bookworm"
    if is_there(BASE) or is_there(standin):
        return BASE if is_there(BASE) else standin
    with tempfile.TemporaryDirectory(prefix="standin-") as folder:
        archive = str(Path(folder) / "base.tar")
        run("sh", str(HERE / "base.sh"), archive)
        settings = " ".join(f"{name}={_CA}" for name in _CA_VARIABLES)
        changes = [f"--change=ENV {settings}", '--change=CMD ["bash"]', "--change=LABEL standin=debian"]
        run("docker", "import", *changes, archive, standin)
    return standin


def python(on: str) -> str:
    """Make sure of the Python image; give its name."""
    standin = "scaler-standin/python:3.11"
    if is_there(PYTHON) or is_there(standin):
        return PYTHON if is_there(PYTHON) else standin
    with tempfile.TemporaryDirectory(prefix="standin-") as folder:
        recipe = ("--file", str(HERE / "python.Dockerfile"), "--label", "standin=python")
        run("docker", "build", "--tag", standin, "--build-arg", f"BASE={on}", *recipe, folder)
    return standin


def build(name: str, tag: str, args: dict[str, str], more: Callable[[Path], None] | None = None) -> None:
    """Build the recipe of a folder, with files that `more` adds to it."""
    if is_there(tag):
        return
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="standin-") as folder:
        context = Path(folder) / name
        shutil.copytree(HERE / name, context)
        if more is not None:
            more(context)
        words = [f"--build-arg={key}={value}" for key, value in args.items()]
        run("docker", "build", "--tag", tag, *words, str(context))
    print(f"{tag}: built in {time.monotonic() - began:.0f} s", flush=True)


def kafka_libraries(context: Path) -> None:
    """Fetch Kafka's JARs."""
    pom = context / "pom.xml"
    pom.write_text(_KAFKA_POM, encoding="utf-8")
    run(
        "mvn",
        "-q",
        "-B",
        "-f",
        str(pom),
        _COPY,
        "-DincludeScope=runtime",
        f"-DoutputDirectory={context / 'libs'}",
    )


def build_all() -> dict[str, str]:
    """Build what is missing; give the variables for compose."""
    os.environ["DOCKER_BUILDKIT"] = "0"  # the classic builder: no plugin, and it leaves no cache of its own
    on = base()
    with_python = python(on)
    with ThreadPoolExecutor(3) as pool:
        steps = [
            pool.submit(build, "rabbitmq", STANDINS["RABBITMQ_IMAGE"], {"BASE": on}),
            pool.submit(build, "azurite", STANDINS["AZURITE_IMAGE"], {"BASE": on, "PYTHON": with_python}),
            pool.submit(build, "kafka", STANDINS["KAFKA_IMAGE"], {"BASE": on}, kafka_libraries),
        ]
        for step in steps:
            step.result()
    return {"PYTHON_IMAGE": with_python, **STANDINS}


def main(arguments: Sequence[str]) -> int:
    """Build, and write the variables to a file; give the exit code."""
    target = Path(arguments[0]) if arguments else ENV_FILE
    try:
        found = build_all()
    except Failed as exc:
        print(f"stand-ins: {exc}", file=sys.stderr)
        return 1
    target.write_text("".join(f"{name}={value}\n" for name, value in found.items()), encoding="utf-8")
    print(f"{target}: give it to docker compose by --env-file, behind .env")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
