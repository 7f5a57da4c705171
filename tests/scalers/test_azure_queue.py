"""The scaler `azure-queue` against a real Azurite, and its parameters against the table of its source."""

from __future__ import annotations

import asyncio
import base64
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest
from azure.storage.queue.aio import QueueServiceClient

from scaler.engine.sessions import Sessions
from scaler.errors import ConfigError
from scaler.model.sample import Sample
from scaler.plugins import SCALERS
from tests.infra.azurite import ACCOUNT, KEY, Azurite, start_azurite
from tests.infra.install import azurite_queue
from tests.infra.process import LocalProcess, free_ports
from tests.scalers.azure_rules import (
    ScriptedServer,
    all_text,
    context,
    fault_of,
    opened,
    read,
    silent_server,
)

KIND = "azure-queue"
CANARY = base64.b64encode(b"canary-canary-canary-canary-key!").decode()
CONNECTION = f"DefaultEndpointsProtocol=https;AccountName=acct;AccountKey={CANARY}"


@pytest.fixture
async def pool() -> AsyncIterator[Sessions]:
    async with Sessions() as sessions:
        yield sessions


@pytest.fixture
async def queue(azurite: Azurite, queue_name: str) -> AsyncIterator[str]:
    await azurite.create(queue_name)
    yield queue_name
    await azurite.delete(queue_name)


def at(url: str, key: str = KEY, account: str = ACCOUNT) -> str:
    return f"AccountName={account};AccountKey={key};QueueEndpoint={url}"


async def take(azurite: Azurite, queue: str, count: int, seconds: int = 300) -> None:
    """Receive messages and keep them, as workers do."""
    async with QueueServiceClient.from_connection_string(azurite.connection_string) as client:
        target = client.get_queue_client(queue)
        taken = [m async for m in target.receive_messages(max_messages=count, visibility_timeout=seconds)]
    assert len(taken) == count


# -- parameters


@pytest.mark.parametrize(
    ("texts", "key", "message"),
    [
        ({}, "queueName", "missing"),
        ({"queueName": "  "}, "queueName", "missing"),
        ({"queueName": "q", "queueLength": "5.0"}, "queueLength", "whole number"),
        ({"queueName": "q", "queueLength": "05"}, "queueLength", "whole number"),
        ({"queueName": "q", "queueLength": "1e1"}, "queueLength", "whole number"),
        ({"queueName": "q", "queueLength": "0"}, "queueLength", "greater than 0"),
        ({"queueName": "q", "queueLength": "-3"}, "queueLength", "greater than 0"),
        ({"queueName": "q", "activationQueueLength": "one"}, "activationQueueLength", "whole number"),
        ({"queueName": "q", "queueLengthStrategy": "All"}, "queueLengthStrategy", "'all' or 'visibleonly'"),
        ({"queueName": "q", "queueLengthStrategy": "all,visibleonly"}, "queueLengthStrategy", "'all'"),
        ({"queueName": "q", "cloud": "Moon"}, "cloud", "AzurePublicCloud"),
        ({"queueName": "q", "cloud": "private"}, "endpointSuffix", "missing"),
        ({"queueName": "q", "queueLenght": "5"}, "queueLenght", "did you mean 'queueLength'?"),
        ({"queueName": "q", "connectionFromEnv": "NOPE"}, "connectionFromEnv", "NOPE"),
        ({"queueName": "q", "accountNameFromEnv": "X"}, "accountNameFromEnv", "unknown key"),
        ({"queueName": "q", "connection": "hello"}, "connection", "not a connection string"),
        ({"queueName": "q", "connection": "AccountName=a"}, "connection", "no credentials"),
        ({"queueName": "q", "connection": f"AccountKey={CANARY}"}, "connection", "names no account"),
        ({"queueName": "q", "connection": "AccountName=a;AccountKey=canary!"}, "connection", "not base64"),
        ({"queueName": "q", "connection": f"{CONNECTION};QueueEndpoint=canary"}, "connection", "address"),
        (
            {"queueName": "q", "connection": f"{CONNECTION};QueueEndpoint=http://h:canary"},
            "connection",
            "address",
        ),
        (
            {"queueName": "q", "connection": f"{CONNECTION};DefaultEndpointsProtocol=ftp"},
            "connection",
            "http",
        ),
    ],
)
def test_a_wrong_parameter_is_named_with_what_to_do(texts: dict[str, str], key: str, message: str) -> None:
    meta, faults = read(KIND, texts)
    assert meta is None
    assert [fault.key for fault in faults] == [key]
    assert message in faults[0].message
    assert CANARY not in repr(faults)
    assert "canary" not in repr(faults)


def test_defaults_are_those_of_the_source() -> None:
    meta, faults = read(KIND, {"queueName": "orders", "connection": CONNECTION})
    assert faults == ()
    assert meta is not None
    assert meta.model_dump(exclude={"connection"}) == {
        "queue_name": "orders",
        "queue_length": 5,
        "activation_queue_length": 0,
        "queue_length_strategy": "all",
        "account_name": None,
        "cloud": "AzurePublicCloud",
        "endpoint_suffix": None,
    }
    assert SCALERS.load(KIND).target(meta) == 5.0
    assert CANARY not in repr(meta)


def test_auth_wins_over_metadata_and_metadata_over_the_environment() -> None:
    texts = {"queueName": "q", "connectionFromEnv": "CS"}
    cs = {name: f"AccountName={name};AccountKey={KEY}" for name in ("meta", "auth", "env")}
    source = SCALERS.load(KIND).source
    hosts = []
    for metadata, auth in (
        ({**texts, "connection": cs["meta"]}, {"connection": cs["auth"]}),
        ({**texts, "connection": cs["meta"]}, {}),
        (texts, {}),
    ):
        meta, faults = read(KIND, metadata, auth, CS=cs["env"])
        assert faults == ()
        hosts.append(source(meta).partition(".")[0])
    assert hosts == ["auth", "meta", "env"]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ({"connection": CONNECTION}, "acct.queue.core.windows.net"),
        (
            {"connection": f"{CONNECTION};EndpointSuffix=core.chinacloudapi.cn"},
            "acct.queue.core.chinacloudapi.cn",
        ),
        ({"connection": "UseDevelopmentStorage=true"}, "127.0.0.1:10001/devstoreaccount1"),
        ({"connection": at("http://azurite:10001/devstoreaccount1/")}, "azurite:10001/devstoreaccount1"),
        (
            {"connection": "QueueEndpoint=https://a.example/?sv=1&sig=x;SharedAccessSignature=sv=1"},
            "a.example",
        ),
        ({"connection": "QueueEndpoint=https://a.example/?sv=1&sig=x"}, "a.example"),
        ({"accountName": "acct"}, "acct.queue.core.windows.net"),
        ({"accountName": "acct", "cloud": "AZUREUSGOVERNMENT"}, "acct.queue.core.usgovcloudapi.net"),
        ({"accountName": "acct", "cloud": "AzureGermanCloud"}, "acct.queue.core.cloudapi.de"),
        ({"accountName": "acct", "cloud": "Private", "endpointSuffix": "queue.corp"}, "acct.queue.corp"),
        ({"accountName": "acct", "endpointSuffix": "unused.corp"}, "acct.queue.core.windows.net"),
    ],
)
def test_the_source_is_the_host_without_secrets(texts: dict[str, str], expected: str) -> None:
    meta, faults = read(KIND, {"queueName": "q", **texts})
    assert faults == ()
    assert SCALERS.load(KIND).source(meta) == expected


@pytest.mark.parametrize(
    ("texts", "identity", "faulty"),
    [
        ({}, None, "connection"),
        ({"accountName": "acct"}, None, "connection"),
        ({}, "system", "accountName"),
        ({"connection": CONNECTION}, "system", "accountName"),
        ({"connection": CONNECTION}, None, ""),
        ({"accountName": "acct"}, "system", ""),
    ],
)
def test_missing_credentials_are_found_before_the_first_poll(
    texts: dict[str, str], identity: str | None, faulty: str
) -> None:
    meta, _faults = read(KIND, {"queueName": "q", **texts})
    found = SCALERS.load(KIND).check(meta, identity)
    assert [text.partition(":")[0] for text in found] == ([faulty] if faulty else [])


# -- the number


@pytest.mark.parametrize("strategy", ["all", "visibleonly"])
async def test_an_empty_queue_is_zero_and_inactive(
    azurite: Azurite, queue: str, pool: Sessions, strategy: str
) -> None:
    texts = {"queueName": queue, "queueLengthStrategy": strategy}
    async with opened(KIND, pool, texts, azurite.connection_string) as scaler:
        sample = await scaler.poll()
    assert sample == Sample(value=0, active=False, includes_taken=strategy == "all", taken=0)


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("all", Sample(value=5, active=True, includes_taken=True, taken=2)),
        ("visibleonly", Sample(value=3, active=True, includes_taken=False, taken=2)),
    ],
)
async def test_messages_that_workers_hold_are_told_apart(
    azurite: Azurite, queue: str, pool: Sessions, strategy: str, expected: Sample
) -> None:
    await azurite.send(queue, [f"m{i}" for i in range(5)])
    await take(azurite, queue, 2)
    texts = {"queueName": queue, "queueLengthStrategy": strategy}
    async with opened(KIND, pool, texts, azurite.connection_string) as scaler:
        assert await scaler.poll() == expected


async def test_a_message_whose_worker_died_comes_back(azurite: Azurite, queue: str, pool: Sessions) -> None:
    await azurite.send(queue, ["one"])
    await take(azurite, queue, 1, seconds=2)
    async with opened(KIND, pool, {"queueName": queue}, azurite.connection_string) as scaler:
        assert await scaler.poll() == Sample(value=1, active=True, taken=1)
        await asyncio.sleep(2.5)
        assert await scaler.poll() == Sample(value=1, active=True, taken=0)


@pytest.mark.parametrize("strategy", ["all", "visibleonly"])
async def test_more_messages_than_the_service_shows_are_counted_without_a_taken_figure(
    azurite: Azurite, queue: str, pool: Sessions, strategy: str
) -> None:
    await azurite.send(queue, [f"m{i}" for i in range(40)])
    await take(azurite, queue, 3)
    texts = {"queueName": queue, "queueLengthStrategy": strategy}
    async with opened(KIND, pool, texts, azurite.connection_string) as scaler:
        assert await scaler.poll() == Sample(value=40, active=True, includes_taken=True, taken=None)


async def test_thirty_one_visible_messages_are_the_last_exact_number(
    azurite: Azurite, queue: str, pool: Sessions
) -> None:
    await azurite.send(queue, [f"m{i}" for i in range(33)])
    await take(azurite, queue, 2)
    texts = {"queueName": queue, "queueLengthStrategy": "visibleonly"}
    async with opened(KIND, pool, texts, azurite.connection_string) as scaler:
        assert await scaler.poll() == Sample(value=31, active=True, includes_taken=False, taken=2)


@pytest.mark.parametrize(("activation", "is_active"), [("1", True), ("2", False), ("-1", True)])
async def test_active_is_strictly_above_the_activation(
    azurite: Azurite, queue: str, pool: Sessions, activation: str, is_active: bool
) -> None:
    await azurite.send(queue, ["a", "b"])
    texts = {"queueName": queue, "activationQueueLength": activation}
    async with opened(KIND, pool, texts, azurite.connection_string) as scaler:
        assert await scaler.poll() == Sample(value=2, active=is_active, taken=0)


async def test_a_taken_figure_that_may_not_be_read_is_left_out(pool: Sessions) -> None:
    class CountsOnly(ScriptedServer):
        async def answer(self, request: aiohttp.web.Request) -> aiohttp.web.Response:
            self.status = 403 if "peekonly" in request.query else 200
            return await super().answer(request)

    async with CountsOnly(200, headers={"x-ms-approximate-messages-count": "7"}).serving() as server:
        connection = at(f"http://127.0.0.1:{server.port}/acct")
        async with opened(KIND, pool, {"queueName": "q"}, connection) as scaler:
            assert await scaler.poll() == Sample(value=7, active=True, taken=None)


# -- faults


async def test_a_missing_queue_is_an_error(azurite: Azurite, pool: Sessions) -> None:
    async with opened(KIND, pool, {"queueName": "not-there"}, azurite.connection_string) as scaler:
        fault = await fault_of(scaler)
    assert (fault.reason, fault.transient) == ("EntityNotFound", False)
    assert str(fault).startswith(f"queue 'not-there' at {azurite.url}: does not exist")


async def test_a_wrong_key_is_an_authentication_fault(azurite: Azurite, queue: str, pool: Sessions) -> None:
    async with opened(KIND, pool, {"queueName": queue}, at(azurite.url, key=CANARY)) as scaler:
        fault = await fault_of(scaler)
    assert (fault.reason, fault.transient) == ("AuthenticationFailed", False)
    assert CANARY not in all_text(fault)


async def test_an_address_where_nobody_listens_is_unreachable(pool: Sessions) -> None:
    (port,) = free_ports(1)
    connection = at(f"http://127.0.0.1:{port}/acct", key=CANARY)
    async with opened(KIND, pool, {"queueName": "q"}, connection) as scaler:
        fault = await fault_of(scaler)
    assert (fault.reason, fault.transient) == ("Unreachable", True)
    assert CANARY not in all_text(fault)


async def test_a_sas_is_in_no_text_of_an_error(pool: Sessions) -> None:
    (port,) = free_ports(1)
    connection = f"QueueEndpoint=http://127.0.0.1:{port}/acct;SharedAccessSignature=sv=1&sp=r&sig=canary"
    async with opened(KIND, pool, {"queueName": "q"}, connection) as scaler:
        fault = await fault_of(scaler)
    assert fault.reason == "Unreachable"
    assert "canary" not in all_text(fault)


async def test_a_server_that_never_answers_is_a_timeout(pool: Sessions) -> None:
    async with silent_server() as port:
        connection = at(f"http://127.0.0.1:{port}/acct")
        async with opened(KIND, pool, {"queueName": "q"}, connection, timeout_s=0.5) as scaler:
            begin = time.monotonic()
            fault = await fault_of(scaler)
    assert (fault.reason, fault.transient) == ("Timeout", True)
    assert time.monotonic() - begin < 2


@pytest.mark.parametrize(
    ("status", "code", "reason", "transient"),
    [
        (429, "TooManyRequests", "Throttled", True),
        (503, "ServerBusy", "Throttled", True),
        (500, "InternalError", "ServiceError", True),
        (403, "AuthorizationPermissionMismatch", "AuthenticationFailed", False),
        (401, "NoAuthenticationInformation", "AuthenticationFailed", False),
        (400, "InvalidResourceName", "BadRequest", False),
        (200, "", "CountMissing", True),
    ],
)
async def test_each_kind_of_refusal_has_its_reason(
    pool: Sessions, status: int, code: str, reason: str, transient: bool
) -> None:
    async with ScriptedServer(status, headers={"x-ms-error-code": code}).serving() as server:
        connection = at(f"http://127.0.0.1:{server.port}/acct")
        async with opened(KIND, pool, {"queueName": "q"}, connection) as scaler:
            fault = await fault_of(scaler)
    assert (fault.reason, fault.transient) == (reason, transient)
    assert code in str(fault)
    assert len(server.seen) == 1


async def test_a_service_that_comes_back_is_read_again(pool: Sessions, queue_name: str) -> None:
    service = start_azurite()
    try:
        await service.create(queue_name)
        await service.send(queue_name, ["one"])
        async with opened(KIND, pool, {"queueName": queue_name}, service.connection_string) as scaler:
            first = await scaler.poll()
            await asyncio.to_thread(service.stop)
            fault = await fault_of(scaler)
            await asyncio.to_thread(service.start)
            again = await scaler.poll()
    finally:
        await asyncio.to_thread(service.close)
    assert first == again == Sample(value=1, active=True, taken=0)
    assert fault.reason == "Unreachable"


# -- sessions, versions, identity


async def test_a_hundred_rules_share_one_session(
    azurite: Azurite, queue: str, pool: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[aiohttp.ClientSession] = []
    original = aiohttp.ClientSession.__init__

    def record(self: aiohttp.ClientSession, *args: object, **options: object) -> None:
        made.append(self)
        original(self, *args, **options)

    monkeypatch.setattr(aiohttp.ClientSession, "__init__", record)
    await azurite.send(queue, ["one"])
    made.clear()
    async with AsyncExitStack() as stack:
        rules = [
            await stack.enter_async_context(
                opened(KIND, pool, {"queueName": queue}, azurite.connection_string)
            )
            for _ in range(100)
        ]
        async with asyncio.TaskGroup() as group:
            polls = [group.create_task(rule.poll()) for rule in rules]
        assert [poll.result().value for poll in polls] == [1] * 100
        assert len(made) == 1
        assert not made[0].closed
    await asyncio.sleep(0.1)
    assert made[0].closed


async def test_closing_one_rule_leaves_the_session_to_the_others(
    azurite: Azurite, queue: str, pool: Sessions
) -> None:
    async with opened(KIND, pool, {"queueName": queue}, azurite.connection_string) as stays:
        async with opened(KIND, pool, {"queueName": queue}, azurite.connection_string) as leaves:
            assert (await leaves.poll()).value == 0
        assert (await stays.poll()).value == 0


@pytest.fixture
def strict_azurite(tmp_path: Path) -> Iterator[str]:
    """The address of an Azurite that refuses API versions newer than itself, which is its default."""
    if shutil.which("node") is None:
        start_azurite().close()
    (port,) = free_ports(1)
    command = [str(azurite_queue()), "--queueHost", "127.0.0.1", "--queuePort", str(port)]
    flags = ["--silent", "--disableTelemetry", "--inMemoryPersistence"]
    process = LocalProcess([*command, *flags], log=tmp_path / "azurite.log", cwd=tmp_path)
    process.start()
    service = Azurite(connection_string=at(f"http://127.0.0.1:{port}/{ACCOUNT}"), host=process)
    process.wait_ready(service.answers, timeout_s=40)
    yield service.url
    process.kill()


async def test_an_account_that_knows_only_older_api_versions_is_read(
    strict_azurite: str, pool: Sessions
) -> None:
    client = QueueServiceClient.from_connection_string(at(strict_azurite), api_version="2025-11-05")
    async with client:
        await client.create_queue("orders")
        await client.get_queue_client("orders").send_message("one")
    async with AsyncExitStack() as stack:
        rules = [
            await stack.enter_async_context(opened(KIND, pool, {"queueName": "orders"}, at(strict_azurite)))
            for _ in range(3)
        ]
        async with asyncio.TaskGroup() as group:
            polls = [group.create_task(rule.poll()) for rule in rules]
        assert [poll.result() for poll in polls] == [Sample(value=1, active=True, taken=0)] * 3


async def test_the_older_api_version_is_remembered_and_tried_once(pool: Sessions) -> None:
    body = (
        "<Error><Code>InvalidHeaderValue</Code><Message>bad value</Message>"
        "<HeaderName>x-ms-version</HeaderName><HeaderValue>x</HeaderValue></Error>"
    )
    async with ScriptedServer(400, body, {"x-ms-error-code": "InvalidHeaderValue"}).serving() as server:
        connection = at(f"http://127.0.0.1:{server.port}/acct")
        async with opened(KIND, pool, {"queueName": "q"}, connection) as scaler:
            faults = [await fault_of(scaler) for _ in range(2)]
    older = [headers["x-ms-version"] == "2025-11-05" for _path, headers in server.seen]
    assert older == [False, True, True]
    assert [fault.reason for fault in faults] == ["ApiVersionRefused"] * 2


async def test_identity_without_its_package_names_the_extra(
    pool: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "azure.identity.aio", None)
    meta, _faults = read(KIND, {"queueName": "q", "accountName": "acct"})
    with pytest.raises(ConfigError, match=r"queue-scaler\[azure-identity\]"):
        async with SCALERS.load(KIND).open(meta, context(pool, identity="system")):
            pass


async def test_an_identity_that_gets_no_token_is_an_authentication_fault(
    pool: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ScriptedServer(400, '{"error": "no such identity"}').serving() as server:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://127.0.0.1:{server.port}/token")
        monkeypatch.setenv("IDENTITY_HEADER", "canary")
        texts = {"queueName": "q", "accountName": "acct"}
        identity = "/subscriptions/1/providers/Microsoft.ManagedIdentity/userAssignedIdentities/me"
        async with opened(KIND, pool, texts, identity=identity) as scaler:
            fault = await fault_of(scaler)
    assert (fault.reason, fault.transient) == ("AuthenticationFailed", False)
    assert str(fault).startswith(f"identity '{identity}': no token (")
    assert "canary" not in all_text(fault)
    assert "userAssignedIdentities" in server.seen[0][0]


async def test_a_token_is_asked_for_the_storage_service(
    pool: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    (port,) = free_ports(1)
    token = '{"access_token": "canary", "expires_on": "4102444800", "token_type": "Bearer", "resource": "r"}'
    async with ScriptedServer(200, token, {"Content-Type": "application/json"}).serving() as server:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://127.0.0.1:{server.port}/token")
        monkeypatch.setenv("IDENTITY_HEADER", "x")
        texts = {"queueName": "q", "accountName": "acct", "cloud": "Private"}
        texts["endpointSuffix"] = f"localhost:{port}"
        async with opened(KIND, pool, texts, identity="00000000-aaaa") as scaler:
            fault = await fault_of(scaler)
    assert "resource=https://storage.azure.com" in server.seen[0][0].replace("%3A", ":").replace("%2F", "/")
    assert "client_id=00000000-aaaa" in server.seen[0][0]
    assert fault.reason == "Unreachable"
    assert "canary" not in all_text(fault)
