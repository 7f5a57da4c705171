"""Listening: the socket's mode, what stands in its place, long paths, TCP and its token."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from scaler.api.app import build_app
from scaler.api.serve import TcpListener, serve, serve_unix
from scaler.cli.client import Client
from scaler.errors import ConfigError, Conflict
from scaler.model.secret import Secret
from tests.api.fakes import NOW, FakeControl, FakeStore


def make_app(token: Secret | None = None) -> web.Application:
    store = FakeStore()
    return build_app(
        FakeControl(store), store, clock_now=lambda: NOW, version="1", tokens=(("", token),) if token else ()
    )


async def health_over(path: str) -> int:
    async with (
        aiohttp.ClientSession("http://localhost", connector=aiohttp.UnixConnector(path=path)) as session,
        session.get("/scaler/health") as response,
    ):
        return response.status


async def test_only_the_owner_may_connect_and_the_socket_goes_with_the_server(tmp_path: Path) -> None:
    path = tmp_path / "scaler.sock"
    async with serve_unix(make_app(), path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert await health_over(str(path)) == 200
    assert not path.exists()


async def test_a_socket_that_nobody_answers_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "scaler.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with serve_unix(make_app(), path):
        assert await health_over(str(path)) == 200


async def test_a_second_daemon_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "scaler.sock"
    async with serve_unix(make_app(), path):
        with pytest.raises(Conflict, match="another daemon answers"):
            async with serve_unix(make_app(), path):
                pass
        assert await health_over(str(path)) == 200


async def test_something_else_in_the_place_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "scaler.sock"
    path.write_text("precious")
    with pytest.raises(ConfigError, match="something else than a socket"):
        async with serve_unix(make_app(), path):
            pass
    assert path.read_text() == "precious"


async def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file or directory"):
        async with serve_unix(make_app(), tmp_path / "none" / "scaler.sock"):
            pass


async def test_a_path_longer_than_a_socket_address_works(tmp_path: Path) -> None:
    import asyncio

    folder = tmp_path / ("long-" * 20) / ("name-" * 20)
    folder.mkdir(parents=True)
    path = folder / "scaler.sock"
    assert len(os.fsencode(path)) > 200
    async with serve_unix(make_app(), path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        health = await asyncio.to_thread(Client(folder).health)
        with pytest.raises(Conflict):
            async with serve_unix(make_app(), path):
                pass
    assert health["ok"] is True
    assert not path.exists()


async def test_tcp_answers_local_programs_without_a_token_but_no_page(tmp_path: Path) -> None:
    listener = TcpListener(port=0)
    async with serve(make_app(), tmp_path / "s", tcp=listener) as (url,), aiohttp.ClientSession() as session:
        headers: dict[str, str]
        for headers, status in (
            ({}, 200),
            ({"Origin": url}, 200),
            ({"Origin": "http://evil.test"}, 403),
            ({"Host": "evil.test"}, 403),
        ):
            async with session.get(f"{url}/scaler/health", headers=headers) as response:
                assert (headers, response.status) == (headers, status)


async def test_tcp_demands_the_token_and_the_socket_does_not(tmp_path: Path) -> None:
    app, path = make_app(Secret("s3cret")), tmp_path / "s"
    async with serve(app, path, tcp=TcpListener(port=0)) as (url,), aiohttp.ClientSession() as session:
        for headers, status in (
            ({}, 401),
            ({"Authorization": "Bearer wrong"}, 401),
            ({"Authorization": "Bearer s3cret"}, 200),
        ):
            async with session.get(f"{url}/scaler/health", headers=headers) as response:
                assert (headers, response.status) == (headers, status)
                assert "s3cret" not in await response.text()
        assert await health_over(str(path)) == 200


async def test_a_listener_for_all_the_world_needs_a_token(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="set a token"):
        async with serve(make_app(), tmp_path / "s", tcp=TcpListener(host="0.0.0.0", port=0)):
            pass
    assert not (tmp_path / "s").exists()


async def test_a_port_in_use_is_told(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}"):
            async with serve(make_app(), tmp_path / "s", tcp=TcpListener(port=port)):
                pass
