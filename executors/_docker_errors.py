"""The edge to the engine: bounds each call in time and turns "does not answer" into `ExecutorUnavailable`.

An answer that says no stays a `DockerError` for the caller, who knows what was asked.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import aiohttp
from aiodocker import DockerError

from scaler.errors import ExecutorUnavailable, LaunchError
from scaler.model.secret import Secret

_NOT_CONNECTED = 900  # aiodocker's own status
_PASSING = re.compile(
    r"transport is closing|connection refused|context (canceled|deadline)|connection error|shutting down"
    r"|containerd.*(not running|unavailable)"
    r"|failed to update store for object|database not open",  # of an engine that is closing its own files
    re.IGNORECASE,
)
_OWN_TROUBLE = re.compile(r"transport is closing|context canceled|shutting down|containerd", re.IGNORECASE)
_EXHAUSTED = re.compile(
    r"no space left|disk quota exceeded|too many open files|cannot allocate memory|input/output error"
    r"|resource temporarily unavailable",
    re.IGNORECASE,
)
_DEFINITION = re.compile(
    r"not found|unknown|denied|unauthorized|forbidden|authentication required|no basic auth|does not exist"
    r"|invalid reference|invalid repository|must be lowercase|no matching manifest|no such image|unsupported",
    re.IGNORECASE,
)
_SHORTEST_SECRET = 6  # hiding "5" or "true" would garble messages


@asynccontextmanager
async def engine_call(what: str, timeout_s: float, *, asks_registry: bool = False) -> AsyncIterator[None]:
    """Run calls to the engine within `timeout_s` seconds.

    Args:
        what: names the calls in errors.
        timeout_s: seconds that all of them may take.
        asks_registry: the engine itself asks another: that one's refusal or silence is an answer, told as it is.

    Raises:
        ExecutorUnavailable: no connection, no answer in time, or the engine says that it is going down.
        DockerError: the engine answered with an error about the thing asked for.
    """
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError as exc:
        raise ExecutorUnavailable(f"docker: {what}: no answer within {timeout_s:g} s") from exc
    except DockerError as exc:
        passing = _OWN_TROUBLE if asks_registry else _PASSING
        if exc.status in (_NOT_CONNECTED, 502, 503, 504) or (
            exc.status == 500 and passing.search(exc.message)
        ):
            raise ExecutorUnavailable(f"docker: {what}: {exc.message}") from exc
        raise
    except (aiohttp.ClientError, ConnectionError) as exc:
        raise ExecutorUnavailable(f"docker: {what}: {str(exc) or type(exc).__name__}") from exc


def without_secrets(text: str, secrets: Iterable[Secret]) -> str:
    """Put stars in place of secret values of some length."""
    for secret in secrets:
        value = secret.reveal()
        if len(value) >= _SHORTEST_SECRET:
            text = text.replace(value, str(secret))
    return text


def launch_error(
    exc: DockerError, *, replica_id: str, image: str | None, secrets: Iterable[Secret]
) -> LaunchError:
    """Say why a container could not be created or started, with a stable reason."""
    message, reason = without_secrets(exc.message.strip(), secrets), _reason(exc)
    passing = reason == "Lost" or bool(_EXHAUSTED.search(message))
    return LaunchError(f"replica {replica_id}, image {image}: {message}", reason=reason, passing=passing)


def is_of_the_definition(pull_fault: str) -> bool:
    """Whether a registry's words say that the job names what is not there or not for it; else it may pass."""
    return bool(_DEFINITION.search(pull_fault))


def _reason(exc: DockerError) -> str:
    message = exc.message.lower()
    if re.search(r"task \S+ already exists|task \S+: already exists", message):
        return "Lost"  # the engine died while it started this container: whether it ran is not known
    if re.search(r"network \S+ not found|no such network", message):
        return "NetworkNotFound"
    if "bind source path" in message or "bind mount" in message:
        return "MountFailed"
    if "executable file not found" in message or "no such file or directory" in message:
        return "StartFailed"
    if "storage-opt" in message or "storage opt" in message:
        return "StorageLimitUnsupported"
    if exc.status == 404 and "no such image" in message:
        return "ImageNotFound"
    if exc.status == 400:
        return "InvalidContainer" if "oci runtime" not in message else "StartFailed"
    return "StartFailed"
