"""The `rabbitmq` scaler against scripted servers: answers that a healthy broker does not give, and tokens."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from scaler.engine.sessions import Sessions
from scaler.model.sample import Sample
from tests.scalers.rabbitmq_kit import failing, opened

FULL = {
    "name": "q",
    "type": "classic",
    "messages": 9,
    "messages_details": {"rate": 0.0},
    "messages_ready": 6,
    "messages_unacknowledged": 3,
    "message_stats": {
        "publish": 100,
        "publish_details": {"rate": 4.0},
        "deliver_get": 90,
        "deliver_get_details": {"rate": 2.0},
    },
}
TOTALS = {"name": "q", "type": "classic", "messages": 9, "messages_ready": 6, "messages_unacknowledged": 3}


class Management:
    """A management API and a token endpoint that say what the test wants."""

    def __init__(self) -> None:
        self.listing: list[dict[str, Any]] = [TOTALS]
        self.single: dict[str, Any] = FULL
        self.status = 200
        self.body: Any = None
        self.delay_s = 0.0
        self.asked: list[str] = []
        self.authorizations: list[str] = []
        self.tokens: list[tuple[str, dict[str, str]]] = []
        self.token: dict[str, Any] = {"access_token": "canary-token", "expires_in": 3600}
        self.header_clients = True
        self.url = ""
        self.identities: list[dict[str, str]] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.raw_path)
        self.authorizations.append(request.headers.get("Authorization", ""))
        await asyncio.sleep(self.delay_s)
        if self.status != 200:
            return web.json_response(self.body, status=self.status)
        if "page" in request.query:
            page, size = int(request.query["page"]), int(request.query["page_size"])
            items = self.listing[(page - 1) * size : page * size]
            pages = -(-len(self.listing) // size)
            return web.json_response({"items": items, "page": page, "page_count": pages})
        is_listing = request.raw_path.partition("?")[0].count("/") == 3
        return web.json_response(self.listing if is_listing else self.single)

    async def give_token(self, request: web.Request) -> web.Response:
        form = {key: str(value) for key, value in (await request.post()).items()}
        authorization = request.headers.get("Authorization", "")
        self.tokens.append((authorization, form))
        if authorization and not self.header_clients:
            return web.json_response({"error": "invalid_client"}, status=401)
        return web.json_response(self.token, status=200 if "access_token" in self.token else 400)

    async def give_identity(self, request: web.Request) -> web.Response:
        self.identities.append(dict(request.query))
        life_s = {"expires_on": str(int(datetime.now(UTC).timestamp()) + 3600)}
        return web.json_response({"access_token": "entra", "token_type": "Bearer", "resource": "r", **life_s})


@pytest.fixture
async def api() -> AsyncIterator[Management]:
    management = Management()
    app = web.Application()
    app.router.add_get("/api/{tail:.*}", management.answer)
    app.router.add_get("/identity", management.give_identity)
    app.router.add_post("/token", management.give_token)
    server = TestServer(app)
    await server.start_server()
    management.url = f"http://user:canary@127.0.0.1:{server.port}"
    yield management
    await server.close()


def _rule(api: Management, **more: str) -> dict[str, str]:
    return {"host": api.url, "queueName": "q", **more}


def _oauth(api: Management, **more: str) -> dict[str, str]:
    base = api.url.replace("user:canary@", "")
    return {"oauthTokenURI": f"{base}/token", "clientID": "the id", "clientSecret": "canary+", **more}


async def test_the_listing_of_the_vhost_is_asked_for_totals_only(api: Management) -> None:
    async with opened(_rule(api)) as scaler:
        sample = await scaler.poll()
    assert (sample.value, sample.taken) == (9, 3)
    columns = "columns=name,type,messages,messages_ready,messages_unacknowledged,messages_details.rate"
    assert api.asked == [f"/api/queues/%2F?disable_stats=true&enable_queue_totals=true&{columns}"]
    assert api.authorizations == ["Basic " + base64.b64encode(b"user:canary").decode()]


async def test_a_hundred_rules_polling_together_ask_once_and_share_the_time(api: Management) -> None:
    api.delay_s = 0.3
    async with Sessions() as pool, contextlib.AsyncExitStack() as stack:
        rules = [await stack.enter_async_context(opened(_rule(api), pool=pool)) for _ in range(100)]
        async with asyncio.TaskGroup() as group:
            first = [group.create_task(rule.poll()) for rule in rules[:50]]
            await asyncio.sleep(0.1)
            later_at = datetime.now(UTC)
            later = [group.create_task(rule.poll()) for rule in rules[50:]]
        samples = [task.result() for task in first + later]
        assert len(api.asked) == 1
        await rules[0].poll()
    assert len(api.asked) == 2
    assert len({sample.as_of for sample in samples}) == 1
    assert samples[0].as_of is not None
    assert samples[0].as_of < later_at


async def test_a_cancelled_poll_leaves_the_listing_to_the_others(api: Management) -> None:
    api.delay_s = 0.2
    async with Sessions() as pool, opened(_rule(api), pool=pool) as one, opened(_rule(api), pool=pool) as two:
        tasks = [asyncio.create_task(each.poll()) for each in (one, two)]
        await asyncio.sleep(0.05)
        tasks[0].cancel()
        assert (await tasks[1]).value == 9
        with pytest.raises(asyncio.CancelledError):
            await tasks[0]
    assert len(api.asked) == 1


async def test_a_server_that_ignores_the_switches_gives_figures_that_count_as_five_seconds_old(
    api: Management,
) -> None:
    api.listing = [FULL]
    async with opened(_rule(api)) as scaler:
        sample = await scaler.poll()
    assert sample.as_of is not None
    assert sample.as_of <= datetime.now(UTC) - timedelta(seconds=5)
    assert sample == Sample(value=9, active=True, includes_taken=True, taken=3, as_of=sample.as_of)


async def test_a_listing_without_totals_falls_back_to_the_queue_itself(api: Management) -> None:
    api.listing = [{"name": "q", "type": "classic"}]
    async with opened(_rule(api, excludeUnacknowledged="true")) as scaler:
        sample = await scaler.poll()
    assert sample.as_of is not None
    assert sample.as_of <= datetime.now(UTC) - timedelta(seconds=5)
    assert sample == Sample(value=6, active=True, includes_taken=False, taken=3, as_of=sample.as_of)
    assert [path.partition("?")[0] for path in api.asked] == ["/api/queues/%2F", "/api/queues/%2F/q"]


async def test_counts_that_nobody_gives_are_an_error_and_never_zero(api: Management) -> None:
    api.listing, api.single = [{"name": "q"}], {"name": "q", "message_stats": {}}
    rules = [_rule(api), _rule(api, mode="MessageRate", value="1"), _rule(api, useRegex="true")]
    for rule in rules:
        async with opened(rule) as scaler:
            with failing("CountMissing") as caught:
                await scaler.poll()
        assert caught.value.transient


@pytest.mark.parametrize(
    ("mode", "value"),
    [
        ("MessageRate", 4.0),
        ("DeliverGetRate", 2.0),
        ("PublishedToDeliveredRatio", 2.0),
        ("ExpectedQueueConsumptionTime", 5.5),
    ],
)
async def test_rates_come_from_the_queues_statistics(api: Management, mode: str, value: float) -> None:
    async with opened(_rule(api, mode=mode, value="1")) as scaler:
        sample = await scaler.poll()
    assert api.asked == ["/api/queues/%2F/q"]
    assert sample.as_of is not None
    assert sample == Sample(value=value, active=True, includes_taken=True, taken=None, as_of=sample.as_of)
    assert sample.as_of <= datetime.now(UTC) - timedelta(seconds=5)


async def test_rates_of_a_pattern_are_read_from_every_page(api: Management) -> None:
    api.listing = [{**FULL, "name": f"q{n}"} for n in range(5)]
    async with opened(_rule(api, mode="MessageRate", value="1", useRegex="true", pageSize="2")) as scaler:
        sample = await scaler.poll()
    assert sample.value == 20
    assert api.asked == [
        f"/api/queues/%2F?page={page}&page_size=2&use_regex=true&pagination=true&name=q&sort=name"
        for page in (1, 2, 3)
    ]


@pytest.mark.parametrize(
    ("status", "body", "reason", "transient"),
    [
        (401, {"error": "not_authorized", "reason": "Login failed"}, "AuthenticationFailed", False),
        (401, {"error": "not_authorised", "reason": "Not management user"}, "AuthorizationFailed", False),
        (403, {}, "AuthorizationFailed", False),
        (404, {"error": "Object Not Found", "reason": "Not Found"}, "EntityNotFound", False),
        (400, {"error": "bad_request", "reason": "bad"}, "BadRequest", False),
        (429, {}, "Throttled", True),
        (500, {"error": "internal", "reason": "oops"}, "ServiceError", True),
        (503, ["no object"], "ServiceError", True),
    ],
)
async def test_refusals_are_told_apart(
    api: Management, status: int, body: object, reason: str, transient: bool
) -> None:
    api.status, api.body = status, body
    async with opened(_rule(api)) as scaler:
        with failing(reason) as caught:
            await scaler.poll()
        assert caught.value.transient is transient
        assert "canary" not in str(caught.value)
        api.status = 200
        assert (await scaler.poll()).value == 9


@pytest.mark.parametrize("listing", [None, "text", 3, {"items": []}, [1], [{"type": "classic"}]])
async def test_an_answer_that_is_no_list_of_queues_is_an_error(api: Management, listing: Any) -> None:
    api.listing = listing
    async with opened(_rule(api)) as scaler:
        with failing("BadAnswer"):
            await scaler.poll()


async def test_a_token_is_got_once_and_renewed_before_it_expires(api: Management) -> None:
    extra = {"scopes": "read, write", "endpointParams": "audience=a%20b&x=y"}
    async with opened(_rule(api), _oauth(api, **extra)) as scaler:
        for _ in range(3):
            assert (await scaler.poll()).value == 9
    pair = base64.b64encode(b"the+id:canary%2B").decode()
    form = {"grant_type": "client_credentials", "audience": "a b", "x": "y", "scope": "read write"}
    assert api.tokens == [(f"Basic {pair}", form)]
    assert api.authorizations == ["Bearer canary-token"] * 3
    api.token = {"access_token": "short", "expires_in": 0.2}
    async with opened(_rule(api), _oauth(api)) as scaler:
        await scaler.poll()
        await asyncio.sleep(0.25)
        await scaler.poll()
    assert len(api.tokens) == 3


async def test_rules_of_one_client_share_one_token(api: Management) -> None:
    async with Sessions() as pool, contextlib.AsyncExitStack() as stack:
        rules = [
            await stack.enter_async_context(opened(_rule(api, timeout=f"{n}s"), _oauth(api), pool=pool))
            for n in range(1, 6)
        ]
        async with asyncio.TaskGroup() as group:
            for rule in rules:
                group.create_task(rule.poll())
    assert (len(api.tokens), len(api.asked)) == (1, 5)


async def test_a_client_that_is_refused_in_the_header_is_named_in_the_body(api: Management) -> None:
    api.header_clients = False
    async with opened(_rule(api), _oauth(api)) as scaler:
        assert (await scaler.poll()).value == 9
    form = {"grant_type": "client_credentials", "client_id": "the id", "client_secret": "canary+"}
    assert api.tokens[1:] == [("", form)]


async def test_a_refused_client_and_a_refused_token_are_told_without_secrets(api: Management) -> None:
    async with opened(_rule(api), _oauth(api)) as scaler:
        api.token = {"error": "invalid_client"}
        with failing("AuthenticationFailed") as caught:
            await scaler.poll()
        assert "canary" not in str(caught.value)
        assert "'invalid_client'" in str(caught.value)
        api.token = {"access_token": "canary-token"}
        assert (await scaler.poll()).value == 9
        api.status, api.body = 401, {"error": "not_authorized", "reason": "Login failed"}
        with failing("AuthenticationFailed"):
            await scaler.poll()
        tokens, api.status = len(api.tokens), 200
        assert (await scaler.poll()).value == 9
        assert len(api.tokens) == tokens + 1


async def test_an_unreachable_token_endpoint_is_told(api: Management) -> None:
    auth = {**_oauth(api), "oauthTokenURI": "http://127.0.0.1:1/token"}
    async with opened(_rule(api), auth) as scaler:
        with failing("Unreachable") as caught:
            await scaler.poll()
    assert "http://127.0.0.1:1/token" in str(caught.value)
    assert api.asked == []


async def test_closing_ends_a_listing_in_flight(api: Management) -> None:
    api.delay_s = 30
    started = asyncio.get_running_loop().time()
    async with Sessions() as pool, opened(_rule(api), pool=pool) as scaler:
        polling = asyncio.create_task(scaler.poll())
        await asyncio.sleep(0.1)
        polling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await polling
    api.delay_s = 0
    assert asyncio.get_running_loop().time() - started < 3


@pytest.mark.parametrize(("identity", "client"), [(None, None), ("system", None), ("11-22", "11-22")])
async def test_an_entra_identity_sends_the_resources_token(
    api: Management, monkeypatch: pytest.MonkeyPatch, identity: str | None, client: str | None
) -> None:
    monkeypatch.setenv("IDENTITY_ENDPOINT", api.url.replace("user:canary@", "") + "/identity")
    monkeypatch.setenv("IDENTITY_HEADER", "anything")
    auth = {"workloadIdentityResource": "api://broker"}
    async with opened(_rule(api), auth, identity=identity) as scaler:
        for _ in range(2):
            assert (await scaler.poll()).value == 9
    assert api.authorizations == ["Bearer entra"] * 2
    assert [(asked["resource"], asked.get("client_id")) for asked in api.identities] == [
        ("api://broker", client)
    ]
