"""Images for tests, built without an image registry where none can be reached.

Each tag is made once: a tag that exists is used as it is. The worker image's tag is the digest of its scripts, so
that two checkouts that share an engine do not take each other's.
Stand-ins bear the label `standin`, so that a test log tells what truly ran.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import docker  # type: ignore[import-untyped]
from docker.errors import BuildError, DockerException, ImageNotFound  # type: ignore[import-untyped]

from tests.infra.choose import Broken
from tests.infra.engine import Engine
from tests.infra.install import debian_package, run
from tests.infra.official import registry_has
from tests.infra.paths import DOCKERFILES, STANDINS, WORKER_SCRIPTS, locked

BASE = "debian:bookworm-slim"
PYTHON = "python:3.11-slim"
WORKER = "scaler-test-worker"
"""Name of the worker image; its tag is the digest of what is in it, so that two checkouts get along."""
_SDKS = ("aio-pika", "aiohttp", "aiokafka", "azure-storage-queue", "azure-servicebus")
_CA_VARIABLES = (
    "PIP_CERT",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "npm_config_cafile",
)


def worker_image(engine: Engine) -> str:
    """Return the tag of the worker image, building it and what it stands on if need be.

    Raises:
        Unavailable: there is no registry and no way to build a stand-in here.
        Broken: a build step failed.
    """
    requirements = " ".join(f"{name}=={version(name)}" for name in _SDKS)
    tag = f"{WORKER}:{_digest(requirements)}"
    with locked("images"), engine.client(timeout_s=300) as client:
        if not _is_there(client, tag):
            _python(engine, client)
            _build(client, tag, DOCKERFILES / "worker.Dockerfile", {"REQUIREMENTS": requirements}, {})
    return tag


def base_image(engine: Engine) -> str:
    """Return the tag of the Debian base image, pulled or built."""
    with locked("images"), engine.client(timeout_s=300) as client:
        _base(engine, client)
    return BASE


def python_image(engine: Engine) -> str:
    """Return the tag of the Python image, pulled or built."""
    with locked("images"), engine.client(timeout_s=300) as client:
        _python(engine, client)
    return PYTHON


def copy_image(tag: str, source: Engine, target: Engine) -> None:
    """Bring an image from one engine to another; no-op if the target has the very same image."""
    with locked("images"), source.client(timeout_s=300) as giver, target.client(timeout_s=300) as taker:
        wanted = giver.images.get(tag)
        try:
            if taker.images.get(tag).id == wanted.id:
                return
        except ImageNotFound:
            pass
        taker.images.load(wanted.save(named=tag))


def _base(engine: Engine, client: docker.DockerClient) -> None:
    _ensure(engine, client, BASE, lambda: _import_base(client))


def _python(engine: Engine, client: docker.DockerClient) -> None:
    def build() -> None:
        _base(engine, client)
        _build(client, PYTHON, STANDINS / "python.Dockerfile", {}, {"standin": "true"})

    _ensure(engine, client, PYTHON, build)


def _ensure(engine: Engine, client: docker.DockerClient, tag: str, build: Callable[[], None]) -> None:
    try:
        client.images.get(tag)
    except ImageNotFound:
        if registry_has(engine, tag):
            client.images.pull(*tag.split(":"))
        else:
            build()


def _import_base(client: docker.DockerClient) -> None:
    debian_package("mmdebstrap", "mmdebstrap")
    changes = [f"ENV {name}=/etc/ssl/host-ca.crt" for name in _CA_VARIABLES]
    changes += ['CMD ["bash"]', "LABEL standin=true"]
    with tempfile.TemporaryDirectory(prefix="scaler-base-") as folder:
        archive = Path(folder) / "base.tar"
        run(["sh", str(STANDINS / "base.sh"), str(archive)], timeout_s=300)
        repository, _, tag = BASE.partition(":")
        client.api.import_image_from_file(str(archive), repository=repository, tag=tag, changes=changes)


def _build(
    client: docker.DockerClient, tag: str, recipe: Path, args: dict[str, str], labels: dict[str, str]
) -> None:
    with tempfile.TemporaryDirectory(prefix="scaler-build-") as folder:
        context = Path(folder)
        shutil.copy(recipe, context / "Dockerfile")
        for script in WORKER_SCRIPTS.glob("*.py"):
            shutil.copy(script, context)
        try:
            client.images.build(
                path=folder,
                tag=tag,
                buildargs=args,
                labels=labels,
                rm=True,
                forcerm=True,
                network_mode="host",
            )
        except (BuildError, DockerException) as exc:
            raise Broken(f"image {tag}: {exc}") from exc


def _is_there(client: docker.DockerClient, tag: str) -> bool:
    try:
        client.images.get(tag)
    except ImageNotFound:
        return False
    return True


def _digest(requirements: str) -> str:
    content = hashlib.sha256(requirements.encode())
    for path in [DOCKERFILES / "worker.Dockerfile", *sorted(WORKER_SCRIPTS.glob("*.py"))]:
        content.update(path.name.encode() + path.read_bytes())
    return content.hexdigest()[:16]
