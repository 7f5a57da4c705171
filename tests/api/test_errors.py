"""One error shape for every route and every class of error."""

from __future__ import annotations

import aiohttp
import pytest

from scaler import errors
from scaler.api.app import ROUTES
from scaler.api.errors import MAX_BODY
from tests.api.fakes import FakeControl, FakeStore, make_state

NAMES = {"subscription": "s", "group": "g", "job": "nosuch", "execution": "nosuch-1"}
FIXED = {
    "_1:(?i:subscriptions)": "subscriptions",
    "_2:(?i:resourceGroups)": "resourceGroups",
    "_3:(?i:providers)": "providers",
    "_4:(?i:Microsoft[.]App)": "Microsoft.App",
    "_5:(?i:jobs)": "jobs",
    "_6:(?i:stop)": "stop",
    "_7:(?i:executions)": "executions",
    "_8:(?i:start)": "start",
    "_9:(?i:suspend)": "suspend",
    "_9:(?i:resume)": "resume",
}


def path_of(template: str) -> str:
    for name, value in {**FIXED, **NAMES}.items():
        template = template.replace(f"{{{name}}}", value)
    assert "{" not in template
    return template


def all_classes(base: type[errors.ScalerError] = errors.ScalerError) -> list[type[errors.ScalerError]]:
    found = [base]
    for cls in base.__subclasses__():
        if cls.__module__ == "scaler.errors":
            found += all_classes(cls)
    return found


def check_shape(body: object) -> dict[str, object]:
    assert isinstance(body, dict)
    assert set(body) == {"error"}
    error = body["error"]
    assert set(error) == {"code", "message", "target", "details"}
    assert isinstance(error["code"], str)
    assert error["code"].isalpha()
    assert isinstance(error["message"], str)
    assert error["message"]
    assert error["target"] is None or isinstance(error["target"], str)
    assert error["details"] == []
    return dict(error)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_every_route_answers_its_errors_in_the_one_shape(
    client: aiohttp.ClientSession, control: FakeControl, store: FakeStore, route: object
) -> None:
    path, method = path_of(route.path), route.method  # type: ignore[attr-defined]
    control.error = RuntimeError("secret inside")
    store.error = RuntimeError("secret inside")
    control.ok = False
    query = "?api-version=2025-07-01"
    async with client.request(method, path + query) as response:
        if path == "/scaler/health":
            assert response.status == 503
            return
        error = check_shape(await response.json())
        assert (response.status, error["code"]) == (500, "InternalError")
        assert "secret inside" not in await response.text()
    control.error = store.error = None
    if "nosuch" in path:
        async with client.request(method, path + query) as response:
            assert response.status == 404
            check_shape(await response.json())
    async with client.request("DELETE", path + query) as response:
        assert response.status == 405
        assert "files" in str(check_shape(await response.json())["message"])
        assert response.headers["Allow"]


@pytest.mark.parametrize("cls", all_classes(), ids=lambda cls: cls.__name__)
async def test_every_error_class_has_a_status_and_the_one_shape(
    client: aiohttp.ClientSession, control: FakeControl, cls: type[errors.ScalerError]
) -> None:
    expected = {
        "ConfigError": 400,
        "NotFound": 404,
        "Conflict": 409,
        "LimitReached": 409,
        "LaunchError": 409,
        "PollError": 502,
        "ExecutorUnavailable": 503,
        "DaemonUnreachable": 503,
    }
    control.error = cls("what happened")
    async with client.get("/scaler/jobs") as response:
        error = check_shape(await response.json())
        assert response.status == expected.get(cls.__name__, 500)
    assert (error["code"], error["message"]) == (cls.code, "what happened")


async def test_a_store_that_fails_is_not_an_empty_list(
    client: aiohttp.ClientSession, store: FakeStore
) -> None:
    store.error = errors.StoreError("the disk is full")
    async with client.get("/scaler/jobs/orders/counts") as response:
        error = check_shape(await response.json())
        assert (response.status, error["code"]) == (500, "StoreFailed")


@pytest.mark.parametrize("path", ["/", "/nothing", "/scaler/nothing", "/subscriptions/s/nothing"])
async def test_an_unknown_path_is_not_found(client: aiohttp.ClientSession, path: str) -> None:
    async with client.get(path) as response:
        error = check_shape(await response.json())
        assert (response.status, error["code"], error["target"]) == (404, "NotFound", path)


async def test_a_body_that_is_too_large_is_refused(client: aiohttp.ClientSession) -> None:
    path = "/subscriptions/s/resourceGroups/g/providers/Microsoft.App/jobs/orders/start"
    data = b" " * (MAX_BODY + 10)
    async with client.post(f"{path}?api-version=2025-07-01", data=data) as response:
        error = check_shape(await response.json())
        assert (response.status, error["code"]) == (413, "RequestEntityTooLarge")


@pytest.mark.parametrize(
    "query", ["decisions?limit=0", "decisions?limit=x", "decisions?limit=1001", "executions/orders-a/logs?tail=-1",
              "executions/orders-a/logs?follow=perhaps"]
)  # fmt: skip
async def test_a_bad_parameter_is_named(client: aiohttp.ClientSession, store: FakeStore, query: str) -> None:
    store.states = [make_state("orders-a")]
    async with client.get(f"/scaler/jobs/orders/{query}") as response:
        error = check_shape(await response.json())
        assert (response.status, error["code"]) == (400, "InvalidParameter")
        assert error["target"] in query
