"""Services from their official images: only if the image is here, or a registry answers at once."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass, field

import requests
from docker.errors import DockerException, ImageNotFound  # type: ignore[import-untyped]
from docker.models.containers import Container  # type: ignore[import-untyped]

from tests.infra.choose import Broken, Unavailable
from tests.infra.engine import Engine, running_engine

os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")  # its image is one more to pull; we end ours

LABEL = "scaler-test.service"
_REGISTRY_PATIENCE_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """An official image, the ports to publish (container to host), its command and environment."""

    image: str
    ports: dict[int, int]
    command: str | None = None
    env: dict[str, str] = field(default_factory=dict)
    hostname: str | None = None


class OfficialContainer:
    """One container of an official image; the same stop, kill and start as a local process has."""

    def __init__(self, container: Container) -> None:
        self._container = container

    def start(self) -> None:
        """Start the stopped container again, with its data and ports."""
        self._container.start()

    def stop(self) -> None:
        """Stop it politely, with 15 seconds of grace."""
        self._container.stop(timeout=15)

    def kill(self) -> None:
        """Kill it at once; its data stay."""
        self._container.kill()

    def run(self, program: str, *words: str) -> str:
        """Run a program in it and return what it printed."""
        code, printed = self._container.exec_run([program, *words])
        if code:
            raise Broken(f"{program} ended with code {code}: {printed.decode()}")
        return str(printed.decode())

    def close(self) -> None:
        """Remove it with its volumes."""
        self._container.remove(force=True, v=True)


def run_official(offer: Offer) -> OfficialContainer:
    """Start a container by testcontainers, ports published on 127.0.0.1 only.

    Raises:
        Unavailable: no engine runs, or the image is neither here nor to be had within 2 seconds.
    """
    engine = running_engine()
    if engine is None:
        raise Unavailable("no Docker engine runs")
    if not is_local(engine.url, offer.image) and not registry_has(engine, offer.image):
        raise Unavailable(f"{offer.image} is not here and no registry answers")
    from testcontainers.core.container import DockerContainer

    settings = {"environment": {**os.environ, "DOCKER_HOST": engine.url}}
    wanted = DockerContainer(offer.image, docker_client_kw=settings, command=offer.command)
    for inner, outer in offer.ports.items():
        wanted.ports[f"{inner}/tcp"] = ("127.0.0.1", outer)  # type: ignore[assignment]
    wanted = wanted.with_envs(**offer.env).with_kwargs(
        hostname=offer.hostname, labels={LABEL: offer.image}, network="bridge"
    )
    try:
        started = wanted.start()
    except (DockerException, requests.RequestException) as exc:
        wanted.stop()
        raise Unavailable(f"{offer.image}: {exc}") from exc
    return OfficialContainer(started.get_wrapped_container())


@functools.cache
def is_local(url: str, image: str) -> bool:
    """Tell whether the engine has the image already; asked once per session."""
    with Engine(url).client() as client:
        try:
            client.images.get(image)
        except ImageNotFound:
            return False
        return True


def registry_has(engine: Engine, image: str) -> bool:
    """Tell whether the image's registry answers for it within 2 seconds; asked once per session."""
    return _registry_has(engine.url, image)


@functools.cache
def _registry_has(url: str, image: str) -> bool:
    try:
        with Engine(url).client(timeout_s=_REGISTRY_PATIENCE_S) as client:
            client.api.inspect_distribution(image)
    except (DockerException, requests.RequestException):
        return False
    return True
