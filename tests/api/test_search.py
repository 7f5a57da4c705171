"""Searching logs over REST: what is found, what is told of what is not, and that a pattern stalls nobody."""

from __future__ import annotations

import aiohttp
import pytest

from scaler.api import search
from scaler.errors import NotFound
from scaler.model.execution import ExecutionStatus
from tests.api.fakes import FakeControl, FakeStore, make_state

LOG = "/scaler/jobs/orders/executions/orders-a/logs"


@pytest.fixture(autouse=True)
def some_log(control: FakeControl, store: FakeStore) -> None:
    store.states = [make_state("orders-a"), make_state("orders-b", status=ExecutionStatus.FAILED)]
    control.lines = ["[scaler: 5 bytes of this log were cut]", "Error: one", "fine", "error: two", "[other]"]


async def text_of(client: aiohttp.ClientSession, path: str) -> list[str]:
    async with client.get(path) as response:
        assert response.status == 200, await response.text()
        return (await response.text()).splitlines()


@pytest.mark.parametrize(
    ("query", "lines"),
    [
        ("search=rror", ["Error: one", "error: two"]),
        ("search=Error", ["Error: one"]),
        ("search=ERROR%26ignoreCase=no", []),
        ("search=ERROR&ignoreCase=true", ["Error: one", "error: two"]),
        ("search=^[Ee]rror: t&regex=true", ["error: two"]),
        ("search=^ERROR: O&regex=true&ignoreCase=1", ["Error: one"]),
        ("search=nothing", []),
    ],
)
async def test_a_search_gives_the_lines_that_fit_and_what_is_missing(
    client: aiohttp.ClientSession, query: str, lines: list[str]
) -> None:
    assert await text_of(client, f"{LOG}?{query}") == ["[scaler: 5 bytes of this log were cut]", *lines]


async def test_one_replica_may_be_asked_for(client: aiohttp.ClientSession, control: FakeControl) -> None:
    await text_of(client, f"{LOG}?replica=orders-a-abcde")
    await text_of(client, LOG)
    assert control.replicas == ["orders-a-abcde", None]


@pytest.mark.parametrize(
    ("query", "target"),
    [
        ("search=(&regex=true", "search"),
        (f"search={'x' * 1001}", "search"),
        ("search=x&regex=maybe", "regex"),
    ],
)
async def test_a_search_that_cannot_be_read_is_refused(
    client: aiohttp.ClientSession, query: str, target: str
) -> None:
    for path in (LOG, "/scaler/jobs/orders/logs"):
        async with client.get(f"{path}?{query}") as response:
            error = (await response.json())["error"]
        assert (response.status, error["code"], error["target"]) == (400, "InvalidParameter", target)


async def test_a_wrong_pattern_is_told_in_words(client: aiohttp.ClientSession) -> None:
    async with client.get(f"{LOG}?search=a[&regex=true") as response:
        message = (await response.json())["error"]["message"]
    assert message == "search is 'a[', which is no pattern of RE2: missing ]: ["


async def test_a_pattern_that_would_stall_a_backtracking_matcher_is_no_trouble(
    client: aiohttp.ClientSession, control: FakeControl
) -> None:
    control.lines = ["a" * 50_000 + "b"]
    assert await text_of(client, f"{LOG}?search=(a*)*$c&regex=true") == []


async def test_all_logs_of_a_job_are_searched_newest_first(
    client: aiohttp.ClientSession, store: FakeStore
) -> None:
    lines = await text_of(client, "/scaler/jobs/orders/logs?search=error&status=failed,running&since=7d")
    assert lines == [
        "orders-a: [scaler: 5 bytes of this log were cut]",
        "orders-a: error: two",
        "orders-b: [scaler: 5 bytes of this log were cut]",
        "orders-b: error: two",
    ]
    assert store.query is not None
    assert (store.query.job, len(store.query.statuses or ())) == ("orders", 2)


async def test_a_search_says_where_it_ended(
    client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = await text_of(client, "/scaler/jobs/orders/logs?limit=2")
    assert lines[2:] == ["[scaler: the search ended after 2 lines, in orders-a; ask for less or more]"]
    monkeypatch.setattr(search, "SEARCH_S", -1.0)
    lines = await text_of(client, "/scaler/jobs/orders/logs?search=nothing")
    assert lines == ["[scaler: the search ended after -1 s, in orders-a; ask for less or more]"]


async def test_executions_without_a_log_are_counted(
    client: aiohttp.ClientSession, control: FakeControl
) -> None:
    control.lines, control.log_error = [], NotFound("none")
    lines = await text_of(client, "/scaler/jobs/orders/logs?search=x")
    assert lines == ["[scaler: of 2 of 2 executions no log is kept]"]
