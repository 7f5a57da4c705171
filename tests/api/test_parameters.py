"""What our own paths take in their queries, and that nothing else is ignored."""

from __future__ import annotations

import aiohttp
import pytest

from scaler.api.app import ROUTES
from scaler.api.parameters import OURS, PARAMETERS
from tests.api.fakes import FakeControl, FakeStore, make_state

ARM = "/subscriptions/s/resourceGroups/g/providers/Microsoft.App/jobs/orders"


def test_the_table_holds_each_of_our_paths() -> None:
    assert set(PARAMETERS) == {route.path for route in ROUTES if route.path.startswith(OURS)}


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("executions?stat=Failed", "unknown query parameter 'stat'; did you mean 'status'? known here: job, "),
        ("executions?Status=Failed", "unknown query parameter 'Status'; did you mean 'status'? known here: "),
        ("executions?limit=1&foo=1", "unknown query parameter 'foo'; known here: job, status, trigger, "),
        ("audit?status=Failed", "unknown query parameter 'status'; known here: job, execution, by, action, "),
        ("health?foo=1", "unknown query parameter 'foo'; there are none here"),
        ("jobs/orders/logs?tail=1", "unknown query parameter 'tail'; known here: status, trigger, by, "),
        ("jobs/orders/executions/orders-a/logs?folow=1", "unknown query parameter 'folow'; did you mean 'follow'? "),
    ],
)  # fmt: skip
async def test_an_unknown_parameter_is_refused_with_those_that_are_known(
    client: aiohttp.ClientSession, store: FakeStore, target: str, message: str
) -> None:
    store.states = [make_state("orders-a")]
    async with client.get(f"/scaler/{target}") as response:
        error = (await response.json())["error"]
        assert (response.status, error["code"]) == (400, "InvalidParameter")
    assert error["message"].startswith(message)


async def test_an_api_version_may_be_sent_along_everywhere(client: aiohttp.ClientSession) -> None:
    async with client.get("/scaler/jobs/orders?api-version=2025-07-01") as response:
        assert response.status == 200


async def test_paths_of_arm_ignore_what_they_do_not_know(client: aiohttp.ClientSession) -> None:
    async with client.get(f"{ARM}?api-version=2025-07-01&foo=1") as response:
        assert response.status == 200


@pytest.mark.parametrize("body", ['{"timeout": "x"}', '{"timeout": 5}', "5", "timeout=5"])
async def test_a_drain_with_a_body_drains_nothing(
    client: aiohttp.ClientSession, control: FakeControl, body: str
) -> None:
    async with client.post("/scaler/drain", data=body) as response:
        error = (await response.json())["error"]
        assert (response.status, error["code"]) == (400, "InvalidRequestContent")
    assert control.draining is None


async def test_a_drain_with_a_body_is_told_where_its_time_stands(client: aiohttp.ClientSession) -> None:
    async with client.post("/scaler/drain", json={"timeout": 5}) as response:
        assert (
            "write the seconds to wait at most into the query" in (await response.json())["error"]["message"]
        )


@pytest.mark.parametrize("body", [None, b"", b"{}", b"null"])
async def test_a_drain_with_an_empty_body_is_one_without(
    client: aiohttp.ClientSession, control: FakeControl, body: bytes | None
) -> None:
    async with client.post("/scaler/drain?timeout=7", data=body) as response:
        assert response.status == 200
    assert control.drain_timeout_s == 7
