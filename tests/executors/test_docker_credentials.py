"""Credentials that `docker login` has left: the file, helpers, and helpers that fail or never answer."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from executors._docker_credentials import CredentialsFailed, login_of
from scaler.testing.executor_contract import CANARY

PAIR = base64.b64encode(f"me:{CANARY}".encode()).decode()
FOUND = {"username": "me", "password": CANARY}


def configure(folder: Path, config: Any, **helpers: str) -> dict[str, str]:
    """Write a docker configuration and helper scripts; give the environment in which they are found."""
    (folder / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    (folder / "bin").mkdir()
    for name, script in helpers.items():
        path = folder / "bin" / f"docker-credential-{name}"
        path.write_text(f"#!/bin/sh\nread server\n{script}\n")
        path.chmod(0o755)
    return {"DOCKER_CONFIG": str(folder), "PATH": f"{folder / 'bin'}:/usr/bin:/bin"}


@pytest.fixture(autouse=True)
def helper_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Programs are found by the path of this process."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")


def answering(user: str = "me") -> str:
    return f"""echo '{{"ServerURL":"x","Username":"{user}","Secret":"{CANARY}"}}'"""


@pytest.mark.parametrize(
    ("config", "registry", "found"),
    [
        ({"auths": {"r.example": {"auth": PAIR}}}, "r.example", FOUND | {"serveraddress": "r.example"}),
        (
            {"auths": {"https://r.example/v1/": {"username": "me", "password": CANARY}}},
            "r.example",
            FOUND | {"serveraddress": "https://r.example/v1/"},
        ),
        (
            {"auths": {"https://index.docker.io/v1/": {"auth": PAIR}}},
            "docker.io",
            FOUND | {"serveraddress": "https://index.docker.io/v1/"},
        ),
        (
            {"auths": {"r.example": {"identitytoken": CANARY}}},
            "r.example",
            {"identitytoken": CANARY, "serveraddress": "r.example"},
        ),
        ({"auths": {"r.example": {"auth": "no base64"}, "other": {}}}, "r.example", None),
        ({"auths": {"r.example.org": {"auth": PAIR}}}, "r.example", None),
        ([], "r.example", None),
    ],
)
async def test_entries_of_the_file_are_read(
    tmp_path: Path, config: Any, registry: str, found: dict[str, str] | None
) -> None:
    assert await login_of(registry, configure(tmp_path, config)) == found


async def test_without_a_file_there_is_nothing(tmp_path: Path) -> None:
    assert await login_of("r.example", {"HOME": str(tmp_path)}) is None


async def test_the_registrys_own_helper_comes_before_the_store_and_both_before_the_file(
    tmp_path: Path,
) -> None:
    config = {
        "auths": {"third.example": {"auth": PAIR}},
        "credsStore": "store",
        "credHelpers": {"r.example": "own"},
    }
    missing = 'echo "credentials not found in native keychain"; exit 1'
    store = f'test "$server" = https://index.docker.io/v1/ && {answering("store")} && exit 0; {missing}'
    env = configure(tmp_path, config, own=answering("<token>"), store=store)
    assert await login_of("r.example", env) == {"identitytoken": CANARY, "serveraddress": "r.example"}
    hub = await login_of("docker.io", env)
    assert hub is not None
    assert (hub["username"], hub["serveraddress"]) == ("store", "https://index.docker.io/v1/")
    third = await login_of("third.example", env)
    assert third is not None
    assert third["username"] == "me"
    assert await login_of("fourth.example", env) is None


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ("echo broken keychain; exit 1", "credential helper docker-credential-own: broken keychain"),
        ("exit 3", "credential helper docker-credential-own: exit code 3"),
        (f"echo {CANARY}", "credential helper docker-credential-own: its answer has no Username and Secret"),
        ("sleep 300", "credential helper docker-credential-own: no answer within 0.5 s"),
        ("trap '' TERM; sleep 300 & wait", "credential helper docker-credential-own: no answer within 0.5 s"),
    ],
)
async def test_a_helper_that_fails_is_named_and_tells_no_secret(
    tmp_path: Path, script: str, text: str
) -> None:
    env = configure(tmp_path, {"credsStore": "own"}, own=script)
    deadline = 0.5 if "sleep" in script else 30.0
    with pytest.raises(CredentialsFailed) as caught:
        await login_of("r.example", env, deadline_s=deadline)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"credsStore": "absent"}, "docker-credential-absent: No such file or directory; install it"),
        ({"credsStore": "../evil"}, "credential helper '../evil': not a name of a program"),
        ("{", "config.json: not JSON; correct it, or remove it"),
    ],
)
async def test_what_cannot_be_used_is_told(tmp_path: Path, config: Any, text: str) -> None:
    with pytest.raises(CredentialsFailed) as caught:
        await login_of("r.example", configure(tmp_path, config))
    assert text in str(caught.value)
