"""Tasks in the background go on after what nobody foresaw, and those that wait are told all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import pytest
from aiodocker import Docker
from structlog.testing import capture_logs

from executors._docker_settings import Limits
from executors._docker_watch import open_watcher
from executors._kept import kept

LIMITS = replace(Limits(), reconcile_s=0.1)


async def test_work_that_fails_begins_anew_and_an_end_is_an_end() -> None:
    tries = 0

    async def work() -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise AttributeError("nobody foresaw it")

    async with asyncio.timeout(20):
        await kept(work, "work", pause_s=0.01)
    assert tries == 3


async def test_cancelling_it_ends_it() -> None:
    begun = asyncio.Event()

    async def work() -> None:
        begun.set()
        await asyncio.sleep(60)

    task = asyncio.get_running_loop().create_task(kept(work, "work"))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


class _Events:
    """No event ever comes."""

    def subscribe(self, *, create_task: bool) -> asyncio.Queue[Any]:
        return asyncio.Queue()

    async def run(self, *, filters: Mapping[str, Any]) -> None:
        await asyncio.sleep(60)


class _Containers:
    """Gives answers that no engine should give, once each, and good ones then."""

    def __init__(self) -> None:
        self.odd_lists = 1
        self.odd_inspections = 1

    async def list(self, *, all: bool, filters: Mapping[str, Any]) -> Any:  # noqa: A002 - the client's word
        if self.odd_lists:
            self.odd_lists -= 1
            return [{"Id": "c"}]  # without a state
        return [{"Id": "c", "State": "exited"}]

    def container(self, name: str) -> Any:
        return self

    async def show(self) -> Any:
        if self.odd_inspections:
            self.odd_inspections -= 1
            return {"State": None}
        state = {"Status": "exited", "ExitCode": 7, "StartedAt": "2026-01-01T00:00:00.1Z"}
        return {"State": state | {"FinishedAt": "2026-01-01T00:00:01.1Z"}, "Id": "c", "RestartCount": 0}


class _Client:
    """As much of the client as the watcher uses; every use of a container is told as `null`."""

    def __init__(self) -> None:
        self.events, self.containers = _Events(), _Containers()

    async def _query_json(self, query: str, params: Mapping[str, str]) -> Any:
        return None


async def test_an_end_is_told_though_the_watcher_stumbled_over_odd_answers() -> None:
    client = _Client()
    with capture_logs() as lines:
        async with (
            asyncio.timeout(30),
            open_watcher(cast(Docker, client), instance="i", limits=LIMITS) as watcher,
        ):
            ended = await watcher.wait("c")
    assert ended.code == 7
    assert (client.containers.odd_inspections, client.containers.odd_lists) == (0, 0)
    assert {(line["event"], line["task"]) for line in lines} == {("docker.task_failed", "watcher")}
