"""The Container Apps paths: what az and the SDK send, and what they must get."""

from __future__ import annotations

import aiohttp
import pytest

from scaler.model.execution import ExecutionStatus
from tests.api.fakes import FakeControl, FakeStore, make_state

JOBS = "/subscriptions/s1/resourceGroups/g1/providers/Microsoft.App/jobs"
V = "api-version=2025-07-01"
ORDERS = f"{JOBS}/orders"


async def body_of(
    client: aiohttp.ClientSession, method: str, path: str, **kwargs: object
) -> tuple[int, object]:
    async with client.request(method, path, **kwargs) as response:  # type: ignore[arg-type]
        return response.status, await response.json()


async def test_a_job_is_answered_as_a_resource_under_the_callers_ids(client: aiohttp.ClientSession) -> None:
    status, body = await body_of(client, "GET", f"{ORDERS}?{V}")
    assert status == 200
    assert isinstance(body, dict)
    assert body["id"] == "/subscriptions/s1/resourceGroups/g1/providers/Microsoft.App/jobs/orders"
    assert (body["name"], body["type"]) == ("orders", "Microsoft.App/jobs")
    assert body["properties"]["template"]["containers"][0]["image"] == "worker:1"


@pytest.mark.parametrize(
    "path",
    [
        "/subscriptions/s1/resourcegroups/g1/providers/microsoft.app/JOBS/Orders",
        "/SUBSCRIPTIONS/s1/RESOURCEGROUPS/other/PROVIDERS/MICROSOFT.APP/jobs/ORDERS",
    ],
)
async def test_letter_case_of_fixed_segments_and_names_does_not_matter(
    client: aiohttp.ClientSession, path: str
) -> None:
    status, body = await body_of(client, "GET", f"{path}?{V}")
    assert isinstance(body, dict)
    assert (status, body["name"]) == (200, "orders")


@pytest.mark.parametrize("path", [JOBS, "/subscriptions/s1/providers/Microsoft.App/jobs"])
async def test_jobs_are_listed_by_group_and_by_subscription(client: aiohttp.ClientSession, path: str) -> None:
    status, body = await body_of(client, "GET", f"{path}?{V}")
    assert isinstance(body, dict)
    assert (status, [job["name"] for job in body["value"]]) == (200, ["billing", "orders"])
    assert "nextLink" not in body


async def test_a_start_without_body_runs_the_jobs_own_template(
    client: aiohttp.ClientSession, control: FakeControl, store: FakeStore
) -> None:
    status, body = await body_of(client, "POST", f"{ORDERS}/start?{V}")
    name = store.states[0].execution.id
    assert (status, body) == (
        200,
        {
            "id": f"/subscriptions/s1/resourceGroups/g1/providers/Microsoft.App/jobs/orders/executions/{name}",
            "name": name,
        },
    )
    assert control.started == [("orders", None)]


@pytest.mark.parametrize("wrap", [False, True])
async def test_a_start_with_a_body_replaces_the_template(
    client: aiohttp.ClientSession, control: FakeControl, wrap: bool
) -> None:
    template = {"containers": [{"name": "main", "image": "other:2", "args": ["x"]}]}
    sent = {"template": template} if wrap else template
    status, _body = await body_of(client, "POST", f"{ORDERS}/start?{V}", json=sent)
    assert status == 200
    started = control.started[0][1]
    assert started is not None
    assert (started.container.image, started.container.args) == ("other:2", ("x",))
    assert started.container.command == ()


@pytest.mark.parametrize("data", [b"null", b"{}", b"  "])
async def test_an_empty_override_counts_as_none(
    client: aiohttp.ClientSession, control: FakeControl, data: bytes
) -> None:
    status, _body = await body_of(client, "POST", f"{ORDERS}/start?{V}", data=data)
    assert (status, control.started) == (200, [("orders", None)])


@pytest.mark.parametrize("data", [b"{not json", b"[1]", b'"text"', b'{"containers": 5}', b"\xff\xfe"])
async def test_a_bad_body_is_refused_and_starts_nothing(
    client: aiohttp.ClientSession, control: FakeControl, data: bytes
) -> None:
    status, body = await body_of(client, "POST", f"{ORDERS}/start?{V}", data=data)
    assert isinstance(body, dict)
    assert (status, body["error"]["code"]) == (400, "InvalidRequestContent")
    assert control.started == []


@pytest.mark.parametrize("version", ["2022-11-01-preview", "2026-07-01", "2030-02-28"])
async def test_any_well_formed_version_is_taken(client: aiohttp.ClientSession, version: str) -> None:
    status, _body = await body_of(client, "GET", f"{ORDERS}?api-version={version}")
    assert status == 200


@pytest.mark.parametrize("version", ["2025-13-01", "latest", "2025-7-1", "2025-07-01preview", "20250701"])
async def test_a_malformed_version_is_refused(client: aiohttp.ClientSession, version: str) -> None:
    status, body = await body_of(client, "GET", f"{ORDERS}?api-version={version}")
    assert isinstance(body, dict)
    assert (status, body["error"]["code"]) == (400, "InvalidApiVersionParameter")


@pytest.mark.parametrize("query", ["", "?api-version="])
async def test_a_missing_version_is_refused(client: aiohttp.ClientSession, query: str) -> None:
    status, body = await body_of(client, "GET", f"{ORDERS}{query}")
    assert isinstance(body, dict)
    assert (status, body["error"]["code"]) == (400, "MissingApiVersionParameter")


async def test_executions_come_in_pages_of_100_with_an_absolute_link(
    client: aiohttp.ClientSession, store: FakeStore
) -> None:
    store.states = [make_state(f"orders-{number:03}", age_s=number) for number in range(230)]
    names: list[str] = []
    sizes: list[int] = []
    link = f"{ORDERS}/executions?{V}"
    while link:
        async with client.get(link, headers={"Host": "example.test:99"}) as response:
            page = await response.json()
        names += [item["name"] for item in page["value"]]
        sizes.append(len(page["value"]))
        link = page.get("nextLink", "")
        assert link == "" or link.startswith(f"http://example.test:99{ORDERS}/executions?{V}&$skipToken=")
        link = link.removeprefix("http://example.test:99")
    assert sizes == [100, 100, 30]
    assert names == [f"orders-{number:03}" for number in range(230)]


async def test_a_filter_chooses_statuses(client: aiohttp.ClientSession, store: FakeStore) -> None:
    store.states = [
        make_state("orders-a"),
        make_state("orders-b", status=ExecutionStatus.FAILED),
        make_state("orders-c", status=ExecutionStatus.SUCCEEDED),
    ]
    wanted = {"api-version": "2025-07-01", "$filter": "Status eq 'Running' or status EQ 'failed'"}
    status, body = await body_of(client, "GET", f"{ORDERS}/executions", params=wanted)
    assert isinstance(body, dict)
    assert (status, [item["name"] for item in body["value"]]) == (200, ["orders-a", "orders-b"])


@pytest.mark.parametrize(
    "text", ["Status eq 'Weird'", "name eq 'x'", "Status eq Running", "Status ne 'Failed'"]
)
async def test_an_unknown_filter_is_refused_rather_than_ignored(
    client: aiohttp.ClientSession, text: str
) -> None:
    params = {"api-version": "2025-07-01", "$filter": text}
    status, body = await body_of(client, "GET", f"{ORDERS}/executions", params=params)
    assert isinstance(body, dict)
    assert (status, body["error"]["code"], body["error"]["target"]) == (400, "InvalidFilter", "$filter")


async def test_an_execution_is_answered_as_a_resource(
    client: aiohttp.ClientSession, store: FakeStore
) -> None:
    store.states = [make_state("orders-a", status=ExecutionStatus.SUCCEEDED)]
    status, body = await body_of(client, "GET", f"{ORDERS}/executions/orders-a?{V}")
    assert isinstance(body, dict)
    assert (status, body["properties"]["status"]) == (200, "Succeeded")
    assert body["properties"]["startTime"] == "2026-11-21T12:00:00+00:00"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"{ORDERS}/executions/orders-x"),
        ("POST", f"{ORDERS}/executions/orders-x/stop"),
        ("POST", f"{ORDERS}/stop/orders-x"),
    ],
)
async def test_a_missing_execution_is_told_in_the_words_that_clients_look_for(
    client: aiohttp.ClientSession, method: str, path: str
) -> None:
    status, body = await body_of(client, method, f"{path}?{V}")
    assert isinstance(body, dict)
    assert status == 404
    assert body["error"]["message"] == "Requested job execution 'orders-x' of job 'orders' was not found."


@pytest.mark.parametrize("form", ["executions/orders-a/stop", "stop/orders-a"])
async def test_one_execution_can_be_stopped_by_both_addresses(
    client: aiohttp.ClientSession, store: FakeStore, control: FakeControl, form: str
) -> None:
    store.states = [make_state("orders-a")]
    status, body = await body_of(client, "POST", f"{ORDERS}/{form}?{V}", data=b"null")
    assert isinstance(body, dict)
    assert (status, body["name"], control.stopped) == (200, "orders-a", ["orders-a"])


async def test_stop_all_stops_what_has_not_ended_over_all_pages(
    client: aiohttp.ClientSession, store: FakeStore, control: FakeControl
) -> None:
    ended = [make_state("orders-z", status=ExecutionStatus.SUCCEEDED)]
    waiting = [make_state("orders-p", status=ExecutionStatus.PROCESSING)]
    running = [make_state(f"orders-{number}") for number in range(120)]
    store.states = waiting + running + ended
    status, body = await body_of(client, "POST", f"{ORDERS}/stop?{V}")
    assert isinstance(body, dict)
    assert (status, len(body["value"])) == (200, 121)
    assert control.stopped == [state.execution.id for state in waiting + running]


async def test_stop_with_a_list_stops_only_those(
    client: aiohttp.ClientSession, store: FakeStore, control: FakeControl
) -> None:
    store.states = [make_state("orders-a"), make_state("orders-b")]
    sent = {"value": [{"name": "orders-b"}]}
    status, _body = await body_of(client, "POST", f"{ORDERS}/stop?{V}", json=sent)
    assert (status, control.stopped) == (200, ["orders-b"])
    status, _body = await body_of(client, "POST", f"{ORDERS}/stop?{V}", json={"names": ["orders-a"]})
    assert (status, control.stopped) == (400, ["orders-b"])


async def test_a_missing_job_is_told_in_arms_words(client: aiohttp.ClientSession) -> None:
    status, body = await body_of(client, "GET", f"{JOBS}/none?{V}")
    assert (status, body) == (
        404,
        {
            "error": {
                "code": "ResourceNotFound",
                "message": "The Resource 'Microsoft.App/jobs/none' under resource group 'g1' was not found.",
                "target": "none",
                "details": [],
            }
        },
    )


async def test_executions_of_a_removed_job_can_be_seen_and_stopped(
    client: aiohttp.ClientSession, control: FakeControl, store: FakeStore
) -> None:
    store.states += [make_state("gone-aaaaa", job="gone")]
    gone = f"{JOBS}/Gone"
    _, listed = await body_of(client, "GET", f"{gone}/executions?{V}")
    _, shown = await body_of(client, "GET", f"{gone}/executions/gone-aaaaa?{V}")
    assert isinstance(listed, dict)
    assert listed["value"] == [shown]
    status, _ = await body_of(client, "POST", f"{gone}/stop/gone-aaaaa?{V}")
    assert (status, control.stopped) == (200, ["gone-aaaaa"])
    status, _ = await body_of(client, "POST", f"{gone}/stop?{V}")
    assert (status, control.stopped) == (200, ["gone-aaaaa", "gone-aaaaa"])
    status, _ = await body_of(client, "POST", f"{gone}/start?{V}")
    assert status == 404


async def test_a_job_without_any_execution_is_not_found(client: aiohttp.ClientSession) -> None:
    status, body = await body_of(client, "GET", f"{JOBS}/gone/executions?{V}")
    assert isinstance(body, dict)
    assert (status, body["error"]["code"]) == (404, "ResourceNotFound")
