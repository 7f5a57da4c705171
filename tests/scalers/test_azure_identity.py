"""`identity` from end to end: a token service beside us, the real chain of azure-identity, a service that checks it.

The whole command `scaler probe` runs as its users run it, because trust in an authority is read at its start.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import ssl
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from ssl import SSLContext
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient

from scaler.devbroker import DevBroker
from scaler.devbroker.admin import AdminApi
from scaler.devbroker.sas import Keys
from tests.infra.install import azurite_queue
from tests.infra.process import LocalProcess, free_ports
from tests.scalers.rabbitmq_kit import Authority

AUDIENCE = "https://servicebus.azure.net"
HEADER, FEDERATED, TOKEN = "headercanary" * 6, "federatedcanary" * 6, "tokencanary" * 7


def make_jwt(audience: str, end: int) -> str:
    """Make a token in Entra's form, signed by nobody."""
    claims = {
        "aud": audience,
        "iss": "https://sts.windows.net/tenant-1/",
        "nbf": end - 7200,
        "iat": end - 7200,
    }
    parts = ({"alg": "RS256", "typ": "JWT"}, {**claims, "exp": end, "ver": "1.0"})
    texts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*texts, TOKEN])


@dataclass(slots=True)
class Tokens:
    """A token service in the shape of App Service's managed identity and of Entra's token endpoint."""

    known: str = ""
    """The one client id that it gives tokens to; empty: none is needed."""
    asked: list[dict[str, str]] = field(default_factory=list)
    lives_s: int = 3600
    makes_jwt: bool = False
    """Whether tokens have Entra's form, for a service that reads them; nobody here checks signatures."""

    def routes(self) -> web.Application:
        """Build the application."""
        app = web.Application()
        app.router.add_get("/msi", self._managed)
        app.router.add_post("/{tenant}/oauth2/v2.0/token", self._federated)
        return app

    def _token(self, audience: str, end: int) -> str:
        return make_jwt(audience, end) if self.makes_jwt else f"{TOKEN}.{audience.rstrip('/')}"

    async def _managed(self, request: web.Request) -> web.Response:
        self.asked.append(dict(request.query))
        if request.headers.get("X-IDENTITY-HEADER") != HEADER:
            return web.json_response({"message": "no header"}, status=401)
        if self.known and request.query.get("client_id") != self.known:
            return web.json_response({"message": f"no such identity; {TOKEN}"}, status=400)
        end = int(time.time()) + self.lives_s
        text = self._token(request.query["resource"], end)
        given = {"access_token": text, "expires_on": str(end), "token_type": "Bearer"}
        return web.json_response({**given, "resource": request.query["resource"]})

    async def _federated(self, request: web.Request) -> web.Response:
        form = {key: str(value) for key, value in (await request.post()).items()}
        self.asked.append({"tenant": request.match_info["tenant"], **form})
        if form.get("client_assertion") != FEDERATED:
            return web.json_response({"error": "invalid_client", "error_description": "no"}, status=401)
        text = self._token(form["scope"].removesuffix("/.default"), int(time.time()) + self.lives_s)
        return web.json_response({"access_token": text, "expires_in": self.lives_s, "token_type": "Bearer"})


@web.middleware
async def wants_token(request: web.Request, handler: Any) -> web.StreamResponse:
    """Let in whoever has a token of ours for Service Bus, not for another service."""
    if request.headers.get("Authorization") != f"Bearer {TOKEN}.{AUDIENCE}":
        return web.Response(status=401, text="<Error><Code>401</Code></Error>")
    answer: web.StreamResponse = await handler(request)
    return answer


@asynccontextmanager
async def serving(app: web.Application, tls: SSLContext | None) -> AsyncIterator[int]:
    """Listen on a free port of 127.0.0.1."""
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


@dataclass(slots=True, kw_only=True)
class World:
    """All that a rule with an identity meets, and a way to ask it."""

    folder: Path
    tokens: Tokens
    http_port: int
    https_port: int
    bus_port: int

    async def probe(
        self,
        identity: str,
        env: Mapping[str, str],
        *,
        kind: str = "azure-servicebus",
        metadata: Mapping[str, str] | None = None,
    ) -> tuple[dict[str, Any], str]:
        """Run `scaler probe` on one rule; give its answer and all that was printed."""
        bus = {"namespace": "127", "endpointSuffix": "0.0.1", "adminPort": str(self.bus_port)}
        texts = {"queueName": "orders", "cloud": "Private", **(bus if metadata is None else metadata)}
        rule = {"name": "queue", "type": kind, "metadata": texts, "identity": identity}
        configuration = {
            "triggerType": "Event",
            "replicaTimeout": 60,
            "eventTriggerConfig": {"scale": {"rules": [rule]}},
        }
        template = {"containers": [{"name": "worker", "image": "example/worker:1"}]}
        path = self.folder / "orders.yaml"
        path.write_text(
            json.dumps(
                {"name": "orders", "properties": {"configuration": configuration, "template": template}}
            )
        )
        clean = {
            key: value for key, value in os.environ.items() if not key.startswith(("AZURE_", "IDENTITY_"))
        }
        trust = {
            "SSL_CERT_FILE": str(self.folder / "ca.pem"),
            "REQUESTS_CA_BUNDLE": str(self.folder / "ca.pem"),
        }
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "scaler", "-o", "json", "probe", str(path)),
            env=clean | trust | dict(env),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(60):
            out, err = await process.communicate()
        printed = out.decode() + err.decode()
        assert out, printed
        (answer,) = json.loads(out)
        return answer, printed

    @property
    def managed(self) -> dict[str, str]:
        """Variables of a host with a managed identity."""
        return {"IDENTITY_ENDPOINT": f"http://127.0.0.1:{self.http_port}/msi", "IDENTITY_HEADER": HEADER}

    def federated(self, client_id: str = "client-1") -> dict[str, str]:
        """Variables of a workload identity."""
        path = self.folder / "federated"
        path.write_text(FEDERATED)
        return {
            "AZURE_AUTHORITY_HOST": f"https://127.0.0.1:{self.https_port}",
            "AZURE_TENANT_ID": "tenant-1",
            "AZURE_CLIENT_ID": client_id,
            "AZURE_FEDERATED_TOKEN_FILE": str(path),
        }


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    authority, tokens = Authority(tmp_path), Tokens()
    (tmp_path / "ca.pem").write_text(authority.pem)
    async with DevBroker() as broker:
        broker.add_queue("orders")
        async with ServiceBusClient.from_connection_string(broker.connection_string) as client:
            async with client.get_queue_sender("orders") as sender:
                await sender.send_messages([ServiceBusMessage("m") for _ in range(3)])
        api = AdminApi(broker.namespace, Keys()).application()
        api.middlewares.append(wants_token)
        tls = authority.server()
        async with (
            serving(api, tls) as bus_port,
            serving(tokens.routes(), None) as http_port,
            serving(tokens.routes(), tls) as https_port,
        ):
            yield World(
                folder=tmp_path, tokens=tokens, http_port=http_port, https_port=https_port, bus_port=bus_port
            )


def told(answer: Mapping[str, Any], printed: str) -> tuple[str, str]:
    """Give reason and message of a failure; no secret may stand anywhere."""
    assert [secret for secret in (HEADER, FEDERATED, TOKEN) if secret in printed] == []
    return answer["failure"]["reason"], answer["failure"]["message"]


@pytest.mark.timeout(120)
async def test_the_hosts_managed_identity_reads_the_queue(world: World) -> None:
    answer, printed = await world.probe("system", world.managed)
    assert (answer["value"], answer["active"], answer["failure"]) == (3, True, None), printed
    assert answer["source"] == f"127.0.0.1:{world.bus_port}"
    assert [asked["resource"].rstrip("/") for asked in world.tokens.asked] == [AUDIENCE]
    assert "client_id" not in world.tokens.asked[0]
    assert TOKEN not in printed


@pytest.mark.timeout(120)
async def test_an_id_picks_that_identity(world: World) -> None:
    world.tokens.known = "client-2"
    answer, printed = await world.probe("client-2", world.managed)
    assert (answer["value"], answer["failure"]) == (3, None), printed
    resource = (
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/me"
    )
    world.tokens.known = ""
    answer, printed = await world.probe(resource, world.managed)
    assert (answer["value"], answer["failure"]) == (3, None), printed
    assert [asked.get("client_id") for asked in world.tokens.asked] == ["client-2", None]
    assert resource in world.tokens.asked[1].values()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("identity", ["system", "client-3"])
async def test_a_federated_token_is_exchanged_over_https(world: World, identity: str) -> None:
    answer, printed = await world.probe(identity, world.federated())
    assert (answer["value"], answer["failure"]) == (3, None), printed
    (asked,) = world.tokens.asked
    expected = "client-1" if identity == "system" else identity
    assert (asked["tenant"], asked["client_id"]) == ("tenant-1", expected)
    assert (asked["scope"], asked["client_assertion"]) == (f"{AUDIENCE}//.default", FEDERATED)
    assert FEDERATED not in printed


@pytest.mark.timeout(120)
async def test_a_token_service_that_knows_no_such_identity_is_told(world: World) -> None:
    world.tokens.known = "another"
    reason, message = told(*await world.probe("/subscriptions/s/me", world.managed))
    assert reason == "AuthenticationFailed"
    assert message.startswith("identity '/subscriptions/s/me': no token (")
    reason, message = told(*await world.probe("system", world.managed))
    assert reason == "AuthenticationFailed"
    assert message.startswith("identity 'system': no token (ManagedIdentityCredential: ")


@pytest.mark.timeout(120)
async def test_a_token_service_that_cannot_be_reached_is_told_apart(world: World) -> None:
    closed = {**world.managed, "IDENTITY_ENDPOINT": "http://127.0.0.1:9/msi"}
    reason, message = told(*await world.probe("/subscriptions/s/me", closed))
    assert reason == "Unreachable"
    assert message.startswith("identity '/subscriptions/s/me': the token service cannot be reached (")


@pytest.mark.timeout(120)
async def test_a_token_that_the_service_refuses_is_a_matter_of_rights(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{__name__}.AUDIENCE", "https://other.example")  # what the service here wants
    reason, message = told(*await world.probe("system", world.managed))
    assert reason == "AuthenticationFailed"
    assert "give identity 'system' the role Azure Service Bus Data Owner on the namespace" in message


@asynccontextmanager
async def azurite(folder: Path) -> AsyncIterator[int]:
    """Serve storage queues over https by a certificate of the folder, to whoever has a token for storage."""
    (port,) = free_ports(1)
    cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
    where = ["--queueHost", "127.0.0.1", "--queuePort", str(port), "--location", str(folder / "azurite")]
    flags = ["--oauth", "basic", "--cert", cert, "--key", key, "--skipApiVersionCheck", "--disableTelemetry"]
    process = LocalProcess([str(azurite_queue()), *where, *flags], log=folder / "azurite.log")

    def listens() -> bool:
        with socket.socket() as each:
            return each.connect_ex(("127.0.0.1", port)) == 0

    process.start()
    try:
        await asyncio.to_thread(process.wait_ready, listens, timeout_s=40)
        yield port
    finally:
        await asyncio.to_thread(process.kill)


@pytest.mark.timeout(120)
async def test_a_storage_queue_is_read_with_a_token_for_storage_and_not_with_another(world: World) -> None:
    world.tokens.makes_jwt = True
    async with azurite(world.folder) as port:
        address = f"https://127.0.0.1:{port}/devstoreaccount1"
        trusting = ssl.create_default_context(cafile=world.folder / "ca.pem")
        token = make_jwt("https://storage.azure.com", int(time.time()) + 600)
        headers = {"Authorization": f"Bearer {token}", "x-ms-version": "2021-12-02"}
        async with aiohttp.ClientSession(headers=headers) as http:
            async with http.put(f"{address}/orders", ssl=trusting) as response:
                assert response.status == 201
            text = "<QueueMessage><MessageText>m</MessageText></QueueMessage>"
            async with http.post(f"{address}/orders/messages", data=text, ssl=trusting) as response:
                assert response.status == 201
        metadata = {"accountName": "127", "endpointSuffix": f"0.0.1:{port}/devstoreaccount1"}
        answer, printed = await world.probe("system", world.managed, kind="azure-queue", metadata=metadata)
        assert (answer["value"], answer["failure"]) == (1, None), printed
        assert TOKEN not in printed
        assert [asked["resource"].rstrip("/") for asked in world.tokens.asked] == [
            "https://storage.azure.com"
        ]
        world.tokens.makes_jwt = False
        reason, message = told(
            *await world.probe("system", world.managed, kind="azure-queue", metadata=metadata)
        )
    assert reason == "AuthenticationFailed"
    assert "give identity 'system' the role Storage Queue Data Reader on the account" in message
