"""Pulls images: one pull at a time for an image, however many launches wait for it."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog
from aiodocker import Docker, DockerError

from executors._docker_credentials import HUB, HUB_NAMES, CredentialsFailed, host_of, login_of
from executors._docker_errors import engine_call, is_of_the_definition, without_secrets
from scaler.errors import ExecutorUnavailable, LaunchError
from scaler.model.job import Registry
from scaler.model.secret import Secret

_log = structlog.get_logger(__name__)

Credentials = tuple[tuple[Registry, Secret], ...]
_Key = tuple[str, tuple[tuple[str, str, Secret], ...]]


class Images:
    """Fetches images into one engine. Close it, or pulls go on after the executor."""

    def __init__(self, client: Docker, *, timeout_s: float) -> None:
        self._client = client
        self._timeout_s = timeout_s
        self._pulls: dict[_Key, asyncio.Task[None]] = {}

    async def pull(self, image: str, credentials: Credentials) -> None:
        """Pull an image, or wait for the pull that is under way; cancelling one waiter stops no other.

        Raises:
            LaunchError: the registry or the engine refused (`ImagePullFailed`).
            ExecutorUnavailable: the engine does not answer.
        """
        key = (image, tuple((one.server, one.username, secret) for one, secret in credentials))
        task = self._pulls.get(key)
        if task is None:
            task = asyncio.create_task(self._pull(image, credentials), name=f"docker/pull:{image}")
            self._pulls[key] = task
            task.add_done_callback(lambda done: self._forget(key, done))
        await asyncio.shield(task)

    async def close(self) -> None:
        """Cancel the pulls under way and wait for their end."""
        tasks = list(self._pulls.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _forget(self, key: _Key, task: asyncio.Task[None]) -> None:
        self._pulls.pop(key, None)
        if not task.cancelled():
            task.exception()  # looked at, so that a failure nobody waits for any more is no warning

    async def _pull(self, image: str, credentials: Credentials) -> None:
        secrets = [secret for _, secret in credentials]
        try:
            auth = await find_auth(image, credentials)
            async with engine_call(f"pull of {image}", self._timeout_s, asks_registry=True):
                async for _ in self._client.images.pull(full_name(image), auth=auth, stream=True):
                    pass
        except DockerError as exc:
            text = without_secrets(exc.message.strip(), secrets)
            passing = not is_of_the_definition(text)
            raise LaunchError(f"image {image}: {text}", reason="ImagePullFailed", passing=passing) from None
        except ExecutorUnavailable as exc:
            if isinstance(exc.__cause__, TimeoutError):
                message = f"image {image}: not pulled within {self._timeout_s:g} s"
                raise LaunchError(message, reason="ImagePullFailed", passing=True) from exc
            raise
        _log.info("docker.image_pulled", image=image)


def registry_of(image: str) -> str:
    """Give the registry's host that an image name means; without one it is Docker Hub."""
    head, slash, _ = image.partition("/")
    if slash and ("." in head or ":" in head or head == "localhost"):
        return HUB if head in HUB_NAMES else head
    return HUB


def full_name(image: str) -> str:
    """Give the image's name with its registry, which credentials need; tag and digest stay as they are."""
    head, _, rest = image.partition("/")
    if registry_of(image) != HUB:
        return image
    path = rest if head in HUB_NAMES else image
    return f"{HUB}/{path if '/' in path else f'library/{path}'}"


async def find_auth(image: str, credentials: Credentials) -> dict[str, Any] | None:
    """Give credentials for the image's registry: the job's, else those of the user's docker login.

    Raises:
        LaunchError: a credential helper failed (`ImagePullFailed`).
    """
    registry = registry_of(image)
    for one, secret in credentials:
        if host_of(one.server) == registry:
            return {"username": one.username, "password": secret.reveal(), "serveraddress": one.server}
    try:
        return await login_of(registry)
    except CredentialsFailed as exc:
        text = f"image {image}: {exc}"
        raise LaunchError(text, reason="ImagePullFailed", passing=True) from None
