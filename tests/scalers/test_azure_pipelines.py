"""The `azure-pipelines` scaler against a local server that answers as Azure DevOps does."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from scaler.engine.sessions import Sessions
from scaler.errors import ConfigError, PollError
from scaler.model.sample import Sample
from scaler.ports.scaler import Scaler, ScalerContext
from scaler.scalers.azure_pipelines import SCALER, Metadata
from scaler.wire.metadata import validate

PAT = {"personalAccessToken": "canary-pat"}
BY_ID = {"poolID": "7"}
WHEN = "2026-01-02T03:04:05.67Z"


def job(
    number: int,
    *demands: str,
    result: str | None = None,
    received: bool = False,
    agents: list[str] | None = None,
) -> dict[str, Any]:
    """A request as the service writes it: what has not happened has no key."""
    row: dict[str, Any] = {
        "requestId": number,
        "queueTime": WHEN,
        "jobId": f"00000000-0000-0000-0000-{number:012}",
        "planType": "Build",
        "poolId": 7,
        "demands": ["Agent.Version -gtVersion 2.182.1", *demands],
        "definition": {"id": 3, "name": "build"},
    }
    if received or result:
        row |= {"assignTime": WHEN, "receiveTime": WHEN, "reservedAgent": {"id": 1, "name": "agent"}}
    if result:
        row |= {"finishTime": WHEN, "result": result}
    if agents is not None:
        row["matchedAgents"] = [{"id": n, "name": name, "enabled": True} for n, name in enumerate(agents)]
    return row


class DevOps:
    """One organization. `jobs` are newest first."""

    def __init__(self) -> None:
        self.pools: list[dict[str, Any]] = [{"id": 7, "name": "Linux pool", "isHosted": False}]
        self.jobs: list[dict[str, Any]] = []
        self.fault: tuple[int, dict[str, str], str] | None = None
        self.delay_s = 0.0
        self.asked: list[str] = []
        self.identities: list[dict[str, str]] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path_qs)
        await asyncio.sleep(self.delay_s)
        if self.fault is not None:
            status, headers, body = self.fault
            return web.Response(status=status, headers=headers, text=body, content_type="application/json")
        basic = base64.b64encode(b":canary-pat").decode()
        if request.headers["Authorization"] not in (f"Basic {basic}", "Bearer entra"):
            return web.Response(status=203, text="<html>Sign in</html>", content_type="text/html")
        if request.path.endswith("/pools"):
            wanted = request.query["poolName"].lower()
            found = [pool for pool in self.pools if str(pool["name"]).lower().startswith(wanted)]
            return web.json_response({"count": len(found), "value": found})
        if not request.path.endswith("/pools/7/jobrequests"):
            return web.json_response({"message": "VS403: pool"}, status=404)
        rows = self.jobs
        if request.query.get("completedRequestCount") == "0":
            rows = [row for row in rows if "result" not in row]
        if "$top" in request.query:
            rows = rows[: int(request.query["$top"])]
            rows = [{key: row[key] for key in row if key != "matchedAgents"} for row in rows]
        return web.json_response({"count": len(rows), "value": rows})

    async def give_identity(self, request: web.Request) -> web.Response:
        self.identities.append(dict(request.query))
        expires = str(int(datetime.now(UTC).timestamp()) + 3600)
        return web.json_response(
            {"access_token": "entra", "token_type": "Bearer", "resource": "r", "expires_on": expires}
        )


@pytest.fixture
async def devops() -> AsyncIterator[DevOps]:
    found = DevOps()
    app = web.Application()
    app.router.add_get("/contoso/_apis/distributedtask/{tail:.*}", found.answer)
    app.router.add_get("/identity", found.give_identity)
    server = TestServer(app)
    await server.start_server()
    found.url = str(server.make_url("/contoso"))
    yield found
    await server.close()


@asynccontextmanager
async def opened(
    devops: DevOps,
    metadata: dict[str, str],
    auth: dict[str, str] | None = None,
    *,
    pool: Any = None,
    timeout_s: float = 5.0,
    identity: str | None = None,
) -> AsyncIterator[Scaler]:
    given = {"organizationURL": devops.url, **metadata}
    meta, faults = validate(Metadata, given, PAT if auth is None else auth, {})
    assert faults == ()
    assert isinstance(meta, Metadata)
    async with contextlib.AsyncExitStack() as stack:
        used = pool if pool is not None else await stack.enter_async_context(Sessions())
        context = ScalerContext(
            job="j",
            rule="r",
            timeout_s=timeout_s,
            sessions=used,
            now=lambda: datetime.now(UTC),
            identity=identity,
        )
        yield await stack.enter_async_context(SCALER.open(meta, context))


@contextmanager
def failing(reason: str, *, transient: bool) -> Iterator[Any]:
    with pytest.raises(PollError) as caught:
        yield caught
    assert (caught.value.reason, caught.value.transient) == (reason, transient), str(caught.value)
    assert "canary" not in str(caught.value)


# --- What counts -----------------------------------------------------------------------------------------


async def test_waiting_jobs_count_and_received_ones_are_taken_beside_them(devops: DevOps) -> None:
    devops.jobs = [job(1), job(2), job(3, received=True), job(4, result="succeeded"), job(5, result="failed")]
    before = datetime.now(UTC)
    async with opened(devops, BY_ID) as scaler:
        found = await scaler.poll()
    assert found.as_of is not None
    assert before <= found.as_of <= datetime.now(UTC)
    assert found == Sample(value=2.0, active=True, includes_taken=False, taken=1.0, as_of=found.as_of)
    assert devops.asked == ["/contoso/_apis/distributedtask/pools/7/jobrequests?$top=250"]


async def test_no_job_is_zero_and_inactive(devops: DevOps) -> None:
    async with opened(devops, BY_ID) as scaler:
        found = await scaler.poll()
    assert (found.value, found.active, found.taken) == (0.0, False, 0.0)


@pytest.mark.parametrize(("activation", "active"), [("1", True), ("2", False), ("-1", True)])
async def test_the_rule_is_active_only_above_its_threshold(
    devops: DevOps, activation: str, active: bool
) -> None:
    devops.jobs = [job(1), job(2)]
    async with opened(devops, {**BY_ID, "activationTargetPipelinesQueueLength": activation}) as scaler:
        assert (await scaler.poll()).active is active


async def test_a_pool_is_found_by_name_once(devops: DevOps) -> None:
    devops.pools += [{"id": 8, "name": "Linux pool 2"}]
    devops.jobs = [job(1)]
    async with opened(devops, {"poolName": "linux pool"}) as scaler:
        assert [(await scaler.poll()).value for _ in range(2)] == [1.0, 1.0]
    assert [path.partition("distributedtask/")[2] for path in devops.asked] == [
        "pools?poolName=linux%20pool",
        "pools/7/jobrequests?$top=250",
        "pools/7/jobrequests?$top=250",
    ]


@pytest.mark.parametrize(
    ("offered", "demanded", "mode", "counts"),
    [
        ("docker,java", (), {}, True),
        ("docker,java", ("docker",), {}, True),
        ("docker, java", ("java", "docker"), {}, True),
        ("docker", ("docker", "java"), {}, False),
        ("java -equals 17", ("java -equals 17",), {}, True),
        ("java", ("java -equals 17",), {}, False),
        ("Docker", ("docker",), {}, False),
        ("Docker", ("docker",), {"caseInsensitiveDemandsProcessing": "true"}, True),
        ("docker,Agent.Version -gtVersion 2", ("docker",), {"requireAllDemands": "true"}, True),
        ("docker,java", ("docker",), {"requireAllDemands": "true"}, False),
        ("docker", ("docker", "java"), {"requireAllDemands": "true"}, False),
        ("docker", (), {"requireAllDemands": "true"}, False),
        ("docker", ("docker", "java"), {"requireAllDemandsAndIgnoreOthers": "true"}, True),
        ("docker,java", ("docker",), {"requireAllDemandsAndIgnoreOthers": "true"}, False),
        ("docker", (), {"requireAllDemandsAndIgnoreOthers": "true"}, False),
        ("docker", ("docker", "docker"), {"requireAllDemands": "true"}, True),
    ],
)
async def test_demands_fit_by_the_mode(
    devops: DevOps, offered: str, demanded: tuple[str, ...], mode: dict[str, str], counts: bool
) -> None:
    devops.jobs = [job(1, *demanded), job(2, *demanded, received=True)]
    async with opened(devops, {**BY_ID, "demands": offered, **mode}) as scaler:
        found = await scaler.poll()
    assert (found.value, found.taken) == (float(counts), float(counts))


async def test_with_a_parent_those_jobs_count_that_it_could_take(devops: DevOps) -> None:
    devops.jobs = [
        job(1, agents=["template", "other"]),
        job(2, agents=["other"]),
        job(3, agents=[]),
        job(4),
        job(5, "docker", agents=["template"]),
    ]
    async with opened(devops, {**BY_ID, "parent": "template", "demands": "java"}) as scaler:
        assert (await scaler.poll()).value == 2.0
    assert devops.asked == ["/contoso/_apis/distributedtask/pools/7/jobrequests"]


async def test_how_many_requests_are_read_can_be_told(devops: DevOps) -> None:
    devops.jobs = [job(1, result="succeeded"), job(2), job(3)]
    async with opened(devops, {**BY_ID, "jobsToFetch": "2"}) as scaler:
        assert (await scaler.poll()).value == 1.0
    async with opened(devops, {**BY_ID, "fetchUnfinishedJobsOnly": "true", "parent": "p"}) as scaler:
        assert (await scaler.poll()).value == 0.0
    assert [path.partition("jobrequests")[2] for path in devops.asked] == [
        "?$top=2",
        "?completedRequestCount=0",
    ]


async def test_rules_of_one_pool_and_login_share_a_request_in_flight(devops: DevOps) -> None:
    devops.jobs, devops.delay_s = [job(1, "docker"), job(2)], 0.1
    async with (
        Sessions() as pool,
        opened(devops, BY_ID, pool=pool) as first,
        opened(devops, {**BY_ID, "demands": "java"}, pool=pool) as second,
    ):
        found = await asyncio.gather(first.poll(), second.poll())
    assert [sample.value for sample in found] == [2.0, 1.0]
    assert len(devops.asked) == 1


# --- Identity --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("identity", "client"), [("system", None), ("11-22", "11-22")])
async def test_an_identity_sends_its_token_for_azure_devops(
    devops: DevOps, monkeypatch: pytest.MonkeyPatch, identity: str, client: str | None
) -> None:
    monkeypatch.setenv("IDENTITY_ENDPOINT", devops.url.replace("/contoso", "/identity"))
    monkeypatch.setenv("IDENTITY_HEADER", "anything")
    devops.jobs = [job(1)]
    async with opened(devops, BY_ID, {}, identity=identity) as scaler:
        assert [(await scaler.poll()).value for _ in range(2)] == [1.0, 1.0]
    assert [(asked["resource"], asked.get("client_id")) for asked in devops.identities] == [
        ("499b84ac-1321-427f-aa17-267ca6975798", client)
    ]


async def test_a_token_goes_before_an_identity(devops: DevOps) -> None:
    async with opened(devops, BY_ID, identity="system") as scaler:
        assert (await scaler.poll()).value == 0.0
    assert devops.identities == []


async def test_a_refused_identity_is_named(devops: DevOps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDENTITY_ENDPOINT", devops.url.replace("/contoso", "/identity"))
    monkeypatch.setenv("IDENTITY_HEADER", "anything")
    devops.fault = (401, {}, "")
    async with opened(devops, BY_ID, {}, identity="system") as scaler:
        with failing("AuthenticationFailed", transient=False) as caught:
            await scaler.poll()
    assert "add identity 'system' to the organization" in str(caught.value)


async def test_without_the_package_an_identity_is_told_what_to_install(
    devops: DevOps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "scaler.scalers._azure_identity", raising=False)
    monkeypatch.setitem(sys.modules, "azure.core.credentials", None)
    with pytest.raises(ConfigError) as caught:
        async with opened(devops, BY_ID, {}, identity="system"):
            pytest.fail("it opened")
    assert "pip install 'queue-scaler[azure-identity]'" in str(caught.value)


# --- Faults ----------------------------------------------------------------------------------------------


async def test_a_bad_token_is_told_from_the_sign_in_page(devops: DevOps) -> None:
    async with opened(devops, BY_ID, {"personalAccessToken": "canary-old"}) as scaler:
        with failing("AuthenticationFailed", transient=False) as caught:
            await scaler.poll()
    assert "status 203: the login was refused; renew personalAccessToken" in str(caught.value)


@pytest.mark.parametrize(
    ("status", "headers", "body", "reason", "transient", "words"),
    [
        (302, {"Location": "/signin?canary"}, "", "AuthenticationFailed", False, "status 302"),
        (401, {}, "canary", "AuthenticationFailed", False, "renew personalAccessToken"),
        (403, {}, "canary", "AuthorizationFailed", False, "vso.agentpools"),
        (429, {"Retry-After": "30"}, "", "Throttled", True, "poll less often after 30 s"),
        (503, {"Retry-After": "5"}, "", "Throttled", True, "after 5 s"),
        (503, {}, "", "ServiceError", True, "is Azure DevOps well?"),
        (500, {}, "canary", "ServiceError", True, "status 500"),
        (400, {}, "", "BadRequest", False, "check organizationURL"),
        (200, {}, "<html>", "BadAnswer", True, "what came back is no list"),
        (200, {}, '{"value": 3}', "BadAnswer", True, "what came back is no list"),
        (200, {}, '{"value": [3]}', "BadAnswer", True, "what came back is no list"),
    ],
)
async def test_faults_are_told_apart(
    devops: DevOps, status: int, headers: Any, body: str, reason: str, transient: bool, words: str
) -> None:
    devops.fault = (status, headers, body)
    for metadata in (BY_ID, {"poolName": "x"}):
        async with opened(devops, metadata) as scaler:
            with failing(reason, transient=transient) as caught:
                await scaler.poll()
        assert words in str(caught.value)


async def test_a_missing_pool_is_a_fault_and_never_zero(devops: DevOps) -> None:
    async with opened(devops, {"poolID": "8"}) as scaler:
        with failing("EntityNotFound", transient=False) as caught:
            await scaler.poll()
    assert "pools/8/jobrequests: status 404; correct poolID" in str(caught.value)
    async with opened(devops, {"poolName": "Mac"}) as scaler:
        with failing("EntityNotFound", transient=False) as caught:
            await scaler.poll()
    assert "no agent pool 'Mac', or no right to see it; correct poolName" in str(caught.value)


async def test_two_pools_of_one_name_are_a_fault(devops: DevOps) -> None:
    devops.pools = [{"id": 7, "name": "a"}, {"id": 8, "name": "A"}]
    async with opened(devops, {"poolName": "a"}) as scaler:
        with failing("Ambiguous", transient=False):
            await scaler.poll()


async def test_a_slow_service_is_a_timeout_and_nobody_there_unreachable(devops: DevOps) -> None:
    devops.delay_s = 5.0
    async with opened(devops, BY_ID, timeout_s=0.2) as scaler:
        with failing("Timeout", transient=True):
            await scaler.poll()
    async with opened(devops, {**BY_ID, "organizationURL": "http://127.0.0.1:1/contoso"}) as scaler:
        with failing("Unreachable", transient=True):
            await scaler.poll()


# --- Parameters ------------------------------------------------------------------------------------------

URL = {"organizationURL": "https://dev.example/contoso"}


@pytest.mark.parametrize(
    ("metadata", "auth", "words"),
    [
        (BY_ID, PAT, "organizationURL: missing"),
        (URL, PAT, "give poolName or poolID"),
        ({**URL, "poolID": "0"}, PAT, "give poolName or poolID"),
        ({**URL, **BY_ID, "poolName": "a"}, PAT, "poolName and poolID: give one of the two"),
        ({**BY_ID, "organizationURL": "https://dev.example/"}, PAT, "organizationURL: names no organization"),
        ({**BY_ID, "organizationURL": "https://u:canary@dev.example/c"}, PAT, "without user"),
        ({**BY_ID, "organizationURL": "dev.example/c"}, PAT, "organizationURL: write an https:// URL"),
        ({**URL, **BY_ID, "jobsToFetch": "9", "parent": "p"}, PAT, "jobsToFetch: excludes parent"),
        (
            {**URL, **BY_ID, "jobsToFetch": "9", "fetchUnfinishedJobsOnly": "false"},
            PAT,
            "jobsToFetch: excludes fetchUnfinishedJobsOnly",
        ),
        ({**URL, **BY_ID, "targetPipelinesQueueLength": "0"}, PAT, "targetPipelinesQueueLength: "),
        ({**URL, **BY_ID, "demand": "x"}, PAT, "demand: unknown key; did you mean 'demands'?"),
        ({**URL, **BY_ID, "personalAccessToken": "canary"}, {}, "not allowed in metadata; give it by auth"),
    ],
)
def test_bad_parameters_are_refused(metadata: dict[str, str], auth: dict[str, str], words: str) -> None:
    built, faults = validate(Metadata, metadata, auth, {})
    text = "; ".join(f"{fault.key}: {fault.message}" for fault in faults)
    assert built is None
    assert words in text
    assert "canary" not in text


def test_credentials_must_be_there() -> None:
    built, _faults = validate(Metadata, {**URL, **BY_ID}, {}, {})
    assert SCALER.check(built, None) == (
        "personalAccessToken: missing; give it by auth, or set the rule's identity",
    )
    assert SCALER.check(built, "system") == ()


def test_the_organization_comes_from_the_environment_first() -> None:
    given = {**BY_ID, "organizationURL": "https://meta.example/m", "organizationURLFromEnv": "AZP_URL"}
    env = {"AZP_URL": "https://env.example/contoso/"}
    built, faults = validate(Metadata, given, {**PAT, "organizationURL": "https://auth.example/a"}, env)
    assert faults == ()
    assert isinstance(built, Metadata)
    assert (SCALER.source(built), SCALER.target(built)) == ("env.example/contoso", 1.0)
    assert "canary" not in f"{built!r} {built.organization(None)!r}"
