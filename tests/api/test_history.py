"""The history over REST: what is asked reaches the store, and wrong questions are refused."""

from __future__ import annotations

from datetime import timedelta

import aiohttp
import pytest

from scaler.model.execution import Cause, ExecutionStatus
from scaler.model.history import ExecutionQuery
from tests.api.fakes import NOW, FakeStore, make_state


async def test_executions_of_all_jobs_come_in_pages_of_resources(
    client: aiohttp.ClientSession, store: FakeStore
) -> None:
    store.states = [make_state("orders-b"), make_state("gone-a", job="gone"), make_state("orders-a")]
    async with client.get("/scaler/executions?limit=2") as response:
        body = await response.json()
    assert [item["name"] for item in body["value"]] == ["orders-b", "gone-a"]
    assert body["value"][1]["id"].endswith(
        "/resourceGroups/local/providers/Microsoft.App/jobs/gone/executions/gone-a"
    )
    async with client.get(body["nextLink"]) as response:
        rest = await response.json()
    assert ([item["name"] for item in rest["value"]], "nextLink" in rest) == (["orders-a"], False)


async def test_everything_that_is_asked_reaches_the_store(
    client: aiohttp.ClientSession, store: FakeStore
) -> None:
    query = (
        "job=Orders&status=failed,Stopped&status=Running&trigger=manual&by=cli:ann&reason=OOMKilled"
        "&since=7d&until=2026-11-21T14:00:00%2B02:00"
    )
    async with client.get(f"/scaler/executions?{query}") as response:
        assert (response.status, await response.json()) == (200, {"value": []})
    assert store.query == ExecutionQuery(
        job="orders",
        statuses=frozenset({ExecutionStatus.FAILED, ExecutionStatus.STOPPED, ExecutionStatus.RUNNING}),
        cause=Cause.MANUAL,
        by="cli:ann",
        reason="OOMKilled",
        since=NOW - timedelta(days=7),
        until=NOW,
    )


@pytest.mark.parametrize(
    ("query", "code", "target"),
    [
        ("status=failing", "InvalidParameter", "status"),
        ("trigger=Cron", "InvalidParameter", "trigger"),
        ("since=soon", "InvalidParameter", "since"),
        ("since=9999-12-31T23:59:59-23:59", "InvalidParameter", "since"),
        ("limit=1001", "InvalidParameter", "limit"),
        ("job=nosuch", "ResourceNotFound", "nosuch"),
    ],
)
async def test_a_question_that_cannot_be_answered_is_refused(
    client: aiohttp.ClientSession, query: str, code: str, target: str
) -> None:
    async with client.get(f"/scaler/executions?{query}") as response:
        error = (await response.json())["error"]
    assert (error["code"], error["target"]) == (code, target)
