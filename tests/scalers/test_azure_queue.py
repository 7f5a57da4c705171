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
        (403, "AuthorizationPermissionMismatch", "AuthorizationFailed", False),
        (403, "AuthenticationFailed", "AuthenticationFailed", False),
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


async def test_a_cancelled_poll_leaves_no_task_and_no_hanging_session() -> None:
    before = asyncio.all_tasks()
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(silent_server())
        pool = await stack.enter_async_context(Sessions())
        connection = at(f"http://127.0.0.1:{port}/acct")
        scaler = await stack.enter_async_context(opened(KIND, pool, {"queueName": "q"}, connection))
        poll = asyncio.get_running_loop().create_task(scaler.poll())
        await asyncio.sleep(0.1)
        poll.cancel()
        with pytest.raises(asyncio.CancelledError):
            await poll
    await asyncio.sleep(0.1)
    assert asyncio.all_tasks() == before


async def test_polling_writes_nothing_to_the_log(
    azurite: Azurite, queue: str, pool: Sessions, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    caplog.clear()
    async with opened(KIND, pool, {"queueName": queue}, azurite.connection_string) as scaler:
        await scaler.poll()
    async with opened(KIND, pool, {"queueName": queue}, at(azurite.url, key=CANARY)) as scaler:
        await fault_of(scaler)
    assert [record.getMessage() for record in caplog.records if record.name.startswith("azure")] == []
