"""A daemon for the command line to talk to: the real API over a fake engine, in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from scaler.api.app import build_app
from scaler.api.serve import serve_unix
from scaler.cli.main import cli
from tests.api.fakes import NOW, FakeControl, FakeStore, make_job


@dataclass
class Daemon:
    """What runs behind the socket."""

    state_dir: Path
    store: FakeStore
    control: FakeControl


async def _serve(daemon: Daemon, ready: threading.Event, done: asyncio.Event) -> None:
    app = build_app(daemon.control, daemon.store, clock_now=lambda: NOW, version="9.9")
    async with serve_unix(app, daemon.state_dir / "scaler.sock"):
        ready.set()
        await done.wait()


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    store = FakeStore()
    made = Daemon(tmp_path, store, FakeControl(store))
    made.control.add(make_job("orders"), make_job("billing"))
    ready, loop, done = threading.Event(), asyncio.new_event_loop(), asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(_serve(made, ready, done),))
    thread.start()
    assert ready.wait(10)
    yield made
    loop.call_soon_threadsafe(done.set)
    thread.join(10)
    loop.close()


Run = Callable[..., Result]


@pytest.fixture
def run(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run one command against the daemon; streams are kept apart."""
    monkeypatch.setenv("SCALER_STATE_DIR", str(daemon.state_dir))
    return run_cli


def run_cli(*args: str) -> Result:
    """Run one command in this process."""
    return CliRunner().invoke(cli, list(args), prog_name="scaler")
