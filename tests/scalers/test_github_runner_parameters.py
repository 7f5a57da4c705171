"""Parameters of the `github-runner` scaler, and how an App of GitHub logs in."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from scaler.errors import ConfigError
from scaler.scalers.github_runner import SCALER, Metadata
from scaler.wire.metadata import validate
from tests.scalers.github_server import BASE, PAT, Github, failing, opened, serving


@pytest.fixture
async def github() -> AsyncIterator[Github]:
    async with serving(Github()) as found:
        yield found


@pytest.fixture(scope="module")
def key() -> Any:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(key: Any) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    ).decode()


# --- Apps ------------------------------------------------------------------------------------------------


async def test_an_app_signs_in_and_keeps_its_token(github: Github, key: Any) -> None:
    github.public_key = key.public_key()
    github.runs = {"one": {1: ("queued", [("queued", [])])}}
    app = {"applicationID": "7", "installationID": "42"}
    async with opened(github, app, {"appKey": pem(key)}) as scaler:
        for _ in range(2):
            assert (await scaler.poll()).value == 1.0
    assert github.installations == 1
    (claims,) = github.claims
    now = datetime.now(UTC).timestamp()
    assert claims["iss"] == "7"
    assert now - 90 < claims["iat"] < now
    assert now < claims["exp"] < now + 600


async def test_a_refused_installation_token_is_got_anew(github: Github, key: Any) -> None:
    github.public_key = key.public_key()
    github.runs = {"one": {}}
    app = {"applicationID": "7", "installationID": "42"}
    async with opened(github, app, {"appKey": pem(key)}) as scaler:
        await scaler.poll()
        github.tokens = set()
        with failing("AuthenticationFailed", transient=False):
            await scaler.poll()
        github.tokens = {"canary-installation"}
        await scaler.poll()
    assert github.installations == 2


@pytest.mark.parametrize(
    ("app", "fault", "reason", "transient", "words"),
    [
        ({"installationID": "43"}, None, "EntityNotFound", False, "App 7 has no installation 43"),
        ({}, (401, {}), "AuthenticationFailed", False, "status 401 for App 7"),
        ({}, (403, {"message": "suspended"}), "AuthenticationFailed", False, "status 403 for App 7"),
        ({}, (429, {}), "Throttled", True, "is used up until"),
        ({}, (500, {}), "ServiceError", True, "status 500"),
        ({}, (422, {}), "BadRequest", False, "status 422"),
        ({}, (201, {"token": "canary"}), "BadAnswer", True, "no installation token"),
        ({}, (201, "text"), "BadAnswer", True, "no installation token"),
    ],
)
async def test_faults_of_an_apps_login_are_told_apart(
    github: Github, key: Any, app: dict[str, str], fault: Any, reason: str, transient: bool, words: str
) -> None:
    github.public_key = key.public_key()
    github.fault, github.fault_at = fault, "token"
    metadata = {"applicationID": "7", "installationID": "42", **app}
    async with opened(github, metadata, {"appKey": pem(key)}) as scaler:
        with failing(reason, transient=transient) as caught:
            await scaler.poll()
    assert words in str(caught.value)


async def test_a_key_that_is_none_is_a_fault(github: Github) -> None:
    metadata = {"applicationID": "7", "installationID": "42", "repos": "a,b"}
    async with opened(github, metadata, {"appKey": "canary"}) as scaler:
        with failing("AuthenticationFailed", transient=False) as caught:
            await scaler.poll()
    assert "appKey is no RSA private key" in str(caught.value)


async def test_without_the_package_an_app_is_told_what_to_install(
    github: Github, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jwt", None)
    metadata = {"applicationID": "7", "installationID": "42", "repos": "a,b"}
    async with opened(github, metadata, {"appKey": "canary"}) as scaler:
        with pytest.raises(ConfigError) as caught:
            await scaler.poll()
    assert "pip install 'queue-scaler[github-runner]'" in str(caught.value)


# --- Parameters ------------------------------------------------------------------------------------------

APP = {"applicationID": "7", "installationID": "42"}


@pytest.mark.parametrize(
    ("metadata", "auth", "words"),
    [
        ({}, PAT, "owner: missing"),
        ({"owner": "o"}, PAT, "runnerScope: missing"),
        ({**BASE, "runnerScope": "Org"}, PAT, "runnerScope: got 'Org'; did you mean 'org'?"),
        (BASE, {}, "give either personalAccessToken or applicationID"),
        ({**BASE, **APP}, {}, "GitHub App: needs applicationID, installationID and appKey"),
        (BASE, {"appKey": "canary"}, "GitHub App: needs"),
        ({**BASE, **APP}, {**PAT, "appKey": "canary"}, "give either"),
        ({**BASE, "applicationID": "x"}, PAT, "applicationID: got 'x'; write a whole number"),
        ({**BASE, "targetWorkflowQueueLength": "0"}, PAT, "targetWorkflowQueueLength: "),
        ({**BASE, "githubApiURL": "https://u:canary@h"}, PAT, "write an https:// URL without user"),
        ({**BASE, "githubApiURL": "api.github.com"}, PAT, "githubApiURL: write an https:// URL"),
        ({**BASE, "label": "x"}, PAT, "label: unknown key; did you mean 'labels'?"),
        ({**BASE, "personalAccessToken": "canary"}, {}, "not allowed in metadata; give it by auth"),
    ],
)
def test_bad_parameters_are_refused(metadata: dict[str, str], auth: dict[str, str], words: str) -> None:
    built, faults = validate(Metadata, metadata, auth, {})
    text = "; ".join(f"{fault.key}: {fault.message}" for fault in faults)
    assert built is None
    assert words in text
    assert "canary" not in text


def test_parameters_come_from_the_environment_too() -> None:
    env = {"O": "octo", "S": "ent", "R": "a, b,", "T": "canary", "N": "3"}
    given = {f"{key}FromEnv": name for key, name in (
        ("owner", "O"), ("runnerScope", "S"), ("repos", "R"), ("personalAccessToken", "T"),
        ("targetWorkflowQueueLength", "N"),
    )}  # fmt: skip
    built, faults = validate(Metadata, given, {}, env)
    assert faults == ()
    assert isinstance(built, Metadata)
    assert (built.owner, built.runner_scope, built.repos) == ("octo", "ent", ("a", "b"))
    assert (SCALER.target(built), SCALER.source(built)) == (3.0, "api.github.com/octo")
    assert "canary" not in f"{built!r} {built.api!r}"
