"""Finds the credentials that `docker login` has left: in the configuration file, or with a program that it names.

Such a program (`docker-credential-NAME`) is not ours and may ask a network or a person: it gets a deadline, and is
ended with it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import os
import re
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

HUB = "docker.io"
HUB_NAMES = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
DEADLINE_S = 30.0
_HUB_KEY = "https://index.docker.io/v1/"  # under which docker login keeps Docker Hub
_TOKEN_USER = "<token>"  # noqa: S105 - what helpers write in place of a user to mark a token
_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_NOT_FOUND = re.compile(r"credentials not found|no credentials", re.IGNORECASE)
_ANSWER_MOST = 65_536
_SHOWN = 200

Auth = dict[str, Any]


class CredentialsFailed(Exception):
    """The docker configuration, or a program that it names, cannot be used; the text has no secret in it."""


async def login_of(
    registry: str, environ: Mapping[str, str] | None = None, *, deadline_s: float = DEADLINE_S
) -> Auth | None:
    """Give what `docker login` has left for a registry, as the engine takes it; None if there is nothing.

    Raises:
        CredentialsFailed: it cannot be told.
    """
    env = os.environ if environ is None else environ
    config = await asyncio.to_thread(_read, env)
    server = _HUB_KEY if registry == HUB else registry
    helper = _mapping(config.get("credHelpers")).get(registry) or config.get("credsStore")
    found = await _ask(str(helper), server, env, deadline_s) if helper else None
    return found or _written(config, registry)


def host_of(server: str) -> str:
    """Give the host that a registry's address means."""
    host = server.removeprefix("https://").removeprefix("http://").split("/", 1)[0]
    return HUB if host in HUB_NAMES else host


def _read(env: Mapping[str, str]) -> Mapping[str, Any]:
    folder = env.get("DOCKER_CONFIG") or Path(env.get("HOME") or Path.home()) / ".docker"
    path = Path(folder) / "config.json"
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "not JSON"
        raise CredentialsFailed(f"{path}: {reason}; correct it, or remove it") from None
    return _mapping(found)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _written(config: Mapping[str, Any], registry: str) -> Auth | None:
    """Read an entry of the file itself."""
    for server, entry in _mapping(config.get("auths")).items():
        told = _mapping(entry)
        if host_of(server) != registry or not told:
            continue
        if token := told.get("identitytoken"):
            return {"identitytoken": str(token), "serveraddress": server}
        user, password = _pair(told)
        if user and password:
            return {"username": user, "password": password, "serveraddress": server}
    return None


def _pair(entry: Mapping[str, Any]) -> tuple[str, str]:
    if not entry.get("auth"):
        return str(entry.get("username") or ""), str(entry.get("password") or "")
    try:
        user, _, password = base64.b64decode(str(entry["auth"])).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return user, password.rstrip("\0")


async def _ask(helper: str, server: str, env: Mapping[str, str], deadline_s: float) -> Auth | None:
    """Ask a program for the credentials of one server."""
    name = f"docker-credential-{helper}"
    if not _HELPER.fullmatch(helper):
        raise CredentialsFailed(f"credential helper '{helper[:_SHOWN]}': not a name of a program")
    try:
        process = await asyncio.create_subprocess_exec(
            name, "get", stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=dict(env), start_new_session=True
        )
    except OSError as exc:
        raise CredentialsFailed(
            f"credential helper {name}: {exc.strerror}; install it, or remove it from docker's config.json"
        ) from None
    try:
        async with asyncio.timeout(deadline_s):
            told, _ = await process.communicate(server.encode())
    except TimeoutError:
        raise CredentialsFailed(f"credential helper {name}: no answer within {deadline_s:g} s") from None
    finally:
        await _end(process)
    return _answer(name, server, told, process.returncode)


async def _end(process: Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        await process.wait()


def _answer(name: str, server: str, told: bytes, code: int | None) -> Auth | None:
    text = told[:_ANSWER_MOST].decode(errors="replace")
    if code != 0:
        if _NOT_FOUND.search(text):
            return None
        first = text.strip().splitlines()[0][:_SHOWN] if text.strip() else f"exit code {code}"
        raise CredentialsFailed(f"credential helper {name}: {first}")
    try:
        found = json.loads(text)
        user, secret = str(found["Username"]), str(found["Secret"])
    except (ValueError, KeyError, TypeError):
        raise CredentialsFailed(f"credential helper {name}: its answer has no Username and Secret") from None
    if user == _TOKEN_USER:
        return {"identitytoken": secret, "serveraddress": server}
    return {"username": user, "password": secret, "serveraddress": server} if user or secret else None
