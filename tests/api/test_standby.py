"""What a daemon answers that waits for its turn."""

from __future__ import annotations

import os
from pathlib import Path

import aiohttp
import pytest

from scaler.api.serve import TcpListener, serve
from scaler.api.standby import build_standby


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/scaler/health"), ("POST", "/subscriptions/s/x"), ("GET", "/")]
)
async def test_a_standby_says_who_works_whatever_it_is_asked(tmp_path: Path, method: str, path: str) -> None:
    holders = ["process 7 on here", "process 8 on here"]
    app = build_standby(lambda: holders[-1])
    async with serve(app, tmp_path / "standby.sock", tcp=TcpListener(host="127.0.0.1", port=0)) as urls:
        async with aiohttp.ClientSession() as session:
            async with session.request(method, f"{urls[0]}{path}") as response:
                body = await response.json()
    assert response.status == 503
    assert body["error"]["code"] == "Standby"
    assert body["error"]["message"] == (
        f"this daemon (process {os.getpid()}) is a standby: it takes over when the one that works "
        "(process 8 on here) ends; ask that one"
    )
