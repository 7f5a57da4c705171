"""Who asks is told to the engine, as well as the way the request came tells it."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import aiohttp
import pytest

from scaler.api.app import build_app
from scaler.api.serve import TcpListener, serve
from scaler.model.secret import Secret
from tests.api.fakes import NOW, FakeControl, FakeStore, make_state

P = "/subscriptions/s/resourceGroups/g/providers/Microsoft.App/jobs/orders"
ME = pwd.getpwuid(os.getuid()).pw_name
V = {"api-version": "2025-07-01"}


@pytest.mark.parametrize(
    ("said", "known_as"),
    [
        ({}, f"api:{ME}"),
        ({"Scaler-Caller": "cli:ann"}, f"cli:{ME}"),
        ({"Scaler-Caller": "schedule"}, f"api:{ME}"),
        ({"Scaler-Caller": "cli:a b"}, f"api:{ME}"),
    ],
)
async def test_on_the_socket_the_kernel_names_the_user_whatever_the_client_says(
    client: aiohttp.ClientSession,
    control: FakeControl,
    store: FakeStore,
    said: dict[str, str],
    known_as: str,
) -> None:
    store.states.append(make_state("orders-abcdefg"))
    paths = (f"{P}/start", f"{P}/stop", f"{P}/executions/orders-abcdefg/stop", "/scaler/jobs/orders/reset")
    for path in paths:
        async with client.post(path, params=V, headers=said) as response:
            assert response.status == 200, path
    assert set(control.callers) == {known_as}
    assert len(control.callers) == 5  # both executions are stopped by "all"


@pytest.mark.parametrize(
    ("tokens", "known_as"),
    [
        ((), "api:local"),
        ((("", Secret("t0")),), "api:token"),
        ((("", Secret("t1")), ("ci", Secret("t0"))), "api:token:ci"),
    ],
)
async def test_over_tcp_nobody_is_taken_for_the_command_line(
    control: FakeControl,
    store: FakeStore,
    tmp_path: Path,
    tokens: tuple[tuple[str, Secret], ...],
    known_as: str,
) -> None:
    app = build_app(control, store, clock_now=lambda: NOW, version="9.9", tokens=tokens)
    headers = {"Scaler-Caller": "cli:root", "Authorization": "Bearer t0"}
    async with serve(app, tmp_path / "scaler.sock", tcp=TcpListener(host="127.0.0.1", port=0)) as urls:
        url = next(str(url) for url in urls if str(url).startswith("http"))
        async with aiohttp.ClientSession() as session:
            async with session.post(f"{url.rstrip('/')}{P}/start", params=V, headers=headers) as response:
                assert response.status == 200
    assert control.callers == [known_as]
