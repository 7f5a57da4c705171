"""The audit over REST, and who a caller is."""

from __future__ import annotations

import getpass
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest

from scaler.api.app import build_app
from scaler.api.serve import TcpListener, serve
from scaler.model.audit import AuditAction, AuditEntry, AuditQuery
from scaler.model.secret import Secret
from tests.api.fakes import NOW, FakeControl, FakeStore

START = "/subscriptions/s/resourceGroups/g/providers/Microsoft.App/jobs/orders/start?api-version=2025-07-01"


def entries(count: int) -> list[AuditEntry]:
    return [
        AuditEntry(
            id=n,
            at=NOW,
            by="cli:ann",
            action=AuditAction.EXECUTION_STARTED,
            job="orders",
            execution=f"orders-{n}",
        )
        for n in range(count, 0, -1)
    ]


async def test_the_audit_comes_in_pages(client: aiohttp.ClientSession, store: FakeStore) -> None:
    store.entries = entries(3)
    async with client.get("/scaler/audit?limit=2&job=Orders&since=24h&until=2026-11-22") as response:
        body = await response.json()
    assert body["value"][0] == {
        "id": 3,
        "at": "2026-11-21T12:00:00.000+00:00",
        "by": "cli:ann",
        "action": "execution.started",
        "job": "orders",
        "execution": "orders-3",
        "detail": "",
    }
    assert store.asked == AuditQuery(
        job="orders", since=NOW - timedelta(hours=24), until=NOW.replace(hour=0) + timedelta(days=1)
    )
    async with client.get(body["nextLink"]) as response:
        rest = await response.json()
    assert ([entry["id"] for entry in rest["value"]], "nextLink" in rest) == ([1], False)


@pytest.mark.parametrize(
    ("query", "target"),
    [
        ("action=explode", "action"),
        ("since=yesterday", "since"),
        ("until=99999999999d", "until"),
        ("limit=0", "limit"),
    ],
)
async def test_a_question_that_cannot_be_read_is_refused(
    client: aiohttp.ClientSession, query: str, target: str
) -> None:
    async with client.get(f"/scaler/audit?{query}") as response:
        error = (await response.json())["error"]
    assert (response.status, error["code"], error["target"]) == (400, "InvalidParameter", target)


async def test_the_caller_on_the_socket_is_the_user_at_its_other_end(
    client: aiohttp.ClientSession, control: FakeControl
) -> None:
    for agent in ({}, {"User-Agent": "scaler-cli"}):
        async with client.post(START, headers=agent) as response:
            assert response.status == 200
    user = getpass.getuser()
    assert control.callers == [f"api:{user}", f"cli:{user}"]


@pytest.mark.parametrize(("token", "expected"), [(None, "api:local"), (Secret("t"), "api:token")])
async def test_the_caller_by_tcp_is_its_token(
    control: FakeControl, store: FakeStore, tmp_path: Path, token: Secret | None, expected: str
) -> None:
    app = build_app(control, store, clock_now=lambda: NOW, version="9.9", token=token)
    async with (
        serve(app, tmp_path / "s.sock", tcp=TcpListener(port=0)) as (url,),
        aiohttp.ClientSession(url) as tcp,
    ):
        async with tcp.post(
            START, headers={"Authorization": "Bearer t", "User-Agent": "scaler-cli"}
        ) as response:
            assert response.status == 200
    assert control.callers == [expected]
