"""The audit over REST, and who a caller is."""

from __future__ import annotations

from datetime import timedelta

import aiohttp
import pytest

from scaler.model.audit import AuditAction, AuditEntry, AuditQuery
from tests.api.fakes import NOW, FakeStore

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
