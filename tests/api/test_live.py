"""Our own paths: health, live jobs, decisions, counts and logs."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import aiohttp
import pytest

from scaler.errors import ExecutorUnavailable
from scaler.model.execution import ExecutionStatus
from scaler.planning.invariants import Promise, Violation
from tests.api.fakes import FakeControl, FakeStore, make_decision, make_job, make_state, make_view


@pytest.mark.parametrize(("ok", "status"), [(True, 200), (False, 503)])
async def test_health_tells_by_its_status_too(
    client: aiohttp.ClientSession, control: FakeControl, ok: bool, status: int
) -> None:
    control.ok = ok
    async with client.get("/scaler/health") as response:
        body = await response.json()
        assert response.status == status
    assert body == {
        "ok": ok,
        "version": "9.9",
        "startedAt": "2026-11-21T11:55:00.000+00:00",
        "now": "2026-11-21T12:00:00.000+00:00",
        "uptimeSeconds": 300.0,
        "executors": [{"name": "docker", "ok": ok, "message": "answers" if ok else "no answer"}],
        "latenessSeconds": {"p50": 0.001, "p99": 0.01, "atMost": {"0.001": 2, "0.5": 4}},
        "ticks": 7,
        "fileFaults": [],
        "draining": None,
        "usage": {
            "executions": {"used": 3, "limit": 4},
            "cpu": {"used": 1.5, "limit": None},
            "memoryBytes": {"used": 3221225472, "limit": None},
            "waiting": ["orders"],
        },
    }


async def test_an_inspection_tells_what_is_broken_and_what_could_not_be_compared(
    client: aiohttp.ClientSession, control: FakeControl
) -> None:
    control.violations = (Violation(promise=Promise.ORPHAN, subject="orders-x", message="nobody's"),)
    control.silent = ("docker",)
    async with client.get("/scaler/inspection") as response:
        body = await response.json()
    assert body == {
        "ok": False,
        "executions": 3,
        "decisions": 5,
        "silentExecutors": ["docker"],
        "violations": [{"promise": "Orphan", "subject": "orders-x", "message": "nobody's"}],
    }


async def test_a_job_is_suspended_and_resumed_and_says_so(
    client: aiohttp.ClientSession, control: FakeControl
) -> None:
    job = "/subscriptions/s/resourceGroups/g/providers/Microsoft.App/jobs/ORDERS"
    answers = []
    for word in ("suspend", "Suspend", "resume", "resume"):
        async with client.post(f"{job}/{word}", params={"api-version": "2026-07-01"}) as response:
            body = await response.json()
            answers.append((response.status, body["name"], body["properties"]["runningState"]))
        async with client.get("/scaler/jobs/orders") as response:
            live = await response.json()
        if word == "resume":
            assert live["suspended"] is None
        else:
            assert live["suspended"]["by"].startswith("api:")
            assert live["suspended"]["at"] == "2026-11-21T12:00:00.000+00:00"
    assert answers == [(200, "orders", "Suspended")] * 2 + [(200, "orders", "Ready")] * 2
    assert control.views["billing"].suspended is None
    async with client.post(f"{job}x/suspend", params={"api-version": "2026-07-01"}) as response:
        assert response.status == 404


async def test_a_live_job_tells_its_state(client: aiohttp.ClientSession, control: FakeControl) -> None:
    control.views["orders"] = make_view(make_job("orders"), make_decision())
    async with client.get("/scaler/jobs/orders") as response:
        body = await response.json()
    last = body.pop("lastDecision")
    assert body == {
        "name": "orders",
        "generation": 1,
        "triggerType": "Event",
        "trigger": {
            "minExecutions": 0,
            "maxExecutions": 10,
            "pollingInterval": 30.0,
            "rules": [{"name": "queue", "type": "azure-queue"}],
        },
        "executor": "docker",
        "running": 2,
        "pending": 1,
        "runningOther": 0,
        "conditions": [
            {"type": "Ready", "status": "True", "reason": "Evaluated", "message": "",
             "since": "2026-11-21T12:00:00.000+00:00"},
            {"type": "Active", "status": "False", "reason": "NoWork", "message": "empty",
             "since": "2026-11-21T12:00:00.000+00:00"},
        ],
        "fileFault": None,
        "nextPoll": "2026-11-21T12:00:30.000+00:00",
        "suspended": None,
    }  # fmt: skip
    assert (last["launch"], last["formula"]) == (3, "ceil(25 / 5) - 2 = 3")
    async with client.get("/scaler/jobs") as response:
        assert [job["name"] for job in (await response.json())["value"]] == ["billing", "orders"]


async def test_a_reset_answers_with_the_job(client: aiohttp.ClientSession, control: FakeControl) -> None:
    async with client.post("/scaler/jobs/Orders/reset") as response:
        assert (response.status, (await response.json())["name"]) == (200, "orders")
    assert control.resets == ["orders"]
    async with client.post("/scaler/jobs/nowhere/reset") as response:
        assert response.status == 404


async def test_a_decision_that_repeats_itself_is_told_with_the_time_of_the_last_poll(
    client: aiohttp.ClientSession, control: FakeControl, store: FakeStore
) -> None:
    recorded = replace(make_decision(), id=7)
    store.made = [recorded, replace(recorded, id=6)]
    control.views["orders"] = make_view(
        make_job("orders"), replace(recorded, at=recorded.at + timedelta(seconds=9))
    )
    async with client.get("/scaler/jobs/orders/decisions") as response:
        body = await response.json()
    assert [(each["id"], each["at"][17:19]) for each in body["value"]] == [(7, "09"), (6, "00")]


async def test_decisions_are_told_whole_and_up_to_the_limit(
    client: aiohttp.ClientSession, store: FakeStore
) -> None:
    store.made = [make_decision(number=number) for number in (3, 2, 1)]
    store.made[0] = replace(store.made[0], handed=("orders/3",), held=("orders/0", "orders/1"))
    async with client.get("/scaler/jobs/orders/decisions?limit=2") as response:
        value = (await response.json())["value"]
    assert [decision["id"] for decision in value] == [3, 2]
    assert value[0]["rules"] == [
        {
            "name": "queue",
            "type": "azure-queue",
            "value": 25.0,
            "taken": None,
            "active": True,
            "target": 5.0,
            "needed": 5,
            "error": None,
            "errorReason": None,
            "shares": None,
            "lowerBound": None,
        }
    ]
    assert (value[0]["handed"], value[0]["held"]) == (["orders/3"], ["orders/0", "orders/1"])
    assert (value[1]["handed"], value[1]["held"]) == ([], [])
    assert value[0]["at"] == "2026-11-21T12:00:00.000+00:00"


async def test_counts_name_every_status(client: aiohttp.ClientSession, store: FakeStore) -> None:
    store.states = [make_state("orders-a"), make_state("orders-b", status=ExecutionStatus.FAILED)]
    async with client.get("/scaler/jobs/orders/counts") as response:
        body = await response.json()
    expected = dict.fromkeys((status.value for status in ExecutionStatus), 0)
    assert body == {"counts": expected | {"Running": 1, "Failed": 1}, "total": 2}


@pytest.mark.parametrize(
    ("query", "text"), [("", "one\ntwo\nthree\n"), ("?tail=1", "three\n"), ("?tail=0", "")]
)
async def test_logs_are_plain_text(
    client: aiohttp.ClientSession, store: FakeStore, query: str, text: str
) -> None:
    store.states = [make_state("orders-a", status=ExecutionStatus.SUCCEEDED)]
    async with client.get(f"/scaler/jobs/orders/executions/orders-a/logs{query}") as response:
        assert (response.status, response.content_type) == (200, "text/plain")
        assert await response.text() == text


async def test_a_followed_log_comes_as_it_is_written_and_ends_with_the_execution(
    client: aiohttp.ClientSession, control: FakeControl, store: FakeStore
) -> None:
    store.states = [make_state("orders-a")]
    async with client.get("/scaler/jobs/orders/executions/orders-a/logs?follow=true") as response:
        assert [await response.content.readline() for _ in range(3)] == [b"one\n", b"two\n", b"three\n"]
        control.follow_until.set()
        assert await response.content.read() == b"last\n"


async def test_a_reader_that_leaves_ends_the_stream(
    client: aiohttp.ClientSession, control: FakeControl, store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scaler.api.logs.LOOK_S", 0.02)
    store.states = [make_state("orders-a")]
    async with client.get("/scaler/jobs/orders/executions/orders-a/logs?follow=1") as response:
        assert await response.content.readline() == b"one\n"
    async with asyncio.timeout(5):
        while any(task.get_name() == "api/logs/watch" for task in asyncio.all_tasks()):
            await asyncio.sleep(0.02)
    assert not control.follow_until.is_set()


async def test_a_log_that_cannot_be_read_is_an_ordinary_error(
    client: aiohttp.ClientSession, control: FakeControl, store: FakeStore
) -> None:
    store.states = [make_state("orders-a")]
    control.lines, control.log_error = [], ExecutorUnavailable("docker is away")
    async with client.get("/scaler/jobs/orders/executions/orders-a/logs") as response:
        body = await response.json()
        assert (response.status, body["error"]["code"]) == (503, "ExecutorUnavailable")


async def test_a_log_that_breaks_off_is_not_taken_for_a_whole_one(
    client: aiohttp.ClientSession, control: FakeControl, store: FakeStore
) -> None:
    store.states = [make_state("orders-a")]
    control.log_error = ExecutorUnavailable("docker is away")
    async with client.get("/scaler/jobs/orders/executions/orders-a/logs") as response:
        with pytest.raises(aiohttp.ClientError):
            await response.read()
