"""Waits of the docker executor through broken connections and restarts of the engine; and its logs."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from executors._docker_settings import Limits
from executors.docker import DockerExecutor, open_docker
from scaler.errors import ExecutorUnavailable
from scaler.model.job import DockerOptions
from scaler.model.replica import Fault, ReplicaHandle, ReplicaSpec
from scaler.ports.executor import Executor, ExecutorContext
from scaler.testing.executor_contract import lines_of, make_spec, soon
from tests.executors._cuttable import CuttableSocket, cuttable_socket
from tests.infra.engine import Engine

INSTANCE = "docker-watch-tests"
QUICK = replace(Limits(), backoff_s=0.3, inspect_s=5.0)


@pytest.fixture
def context(tmp_path: Path) -> ExecutorContext:
    return ExecutorContext(instance=INSTANCE, state_dir=tmp_path, log_dir=tmp_path / "logs")


@pytest.fixture
async def proxy(docker_engine: Engine, tmp_path: Path) -> AsyncIterator[CuttableSocket]:
    async with cuttable_socket(tmp_path / "engine.sock", docker_engine.url) as proxy:
        yield proxy


@pytest.fixture
async def executor(
    context: ExecutorContext, proxy: CuttableSocket, docker_engine: Engine
) -> AsyncIterator[Executor]:
    async with open_docker({"host": proxy.url}, context, limits=QUICK) as executor:
        yield executor
    async with open_docker({"host": docker_engine.url}, context) as broom:
        await sweep(broom)


async def sweep(executor: Executor) -> None:
    for left in await soon(executor.owned()):
        await soon(executor.stop(left.handle, timedelta(0)))
        await soon(executor.remove(left.handle))


def spec(image: str, script: str) -> ReplicaSpec:
    return make_spec(["sh", "-c", script], image=image, instance=INSTANCE)


async def test_a_wait_survives_a_cut_connection(
    executor: Executor, proxy: CuttableSocket, worker_image: str
) -> None:
    """One ends while nobody can see it, the other after the connection is back."""
    hidden = await soon(executor.launch(spec(worker_image, "sleep 1; exit 11")))
    later = await soon(executor.launch(spec(worker_image, "sleep 4; exit 12")))
    async with asyncio.TaskGroup() as group:
        first = group.create_task(soon(executor.wait(hidden)))
        second = group.create_task(soon(executor.wait(later)))
        await asyncio.sleep(0.2)
        await proxy.cut()
        with pytest.raises(ExecutorUnavailable):
            await soon(executor.owned())
        assert (await executor.fingerprint()).ok is False
        await asyncio.sleep(1.5)
        assert (first.done(), second.done()) == (False, False)
        await proxy.listen()
    assert (first.result().code, second.result().code) == (11, 12)


async def test_an_engine_that_hangs_is_unavailable_and_loses_nothing(
    context: ExecutorContext, proxy: CuttableSocket, executor: Executor, worker_image: str
) -> None:
    wanted = spec(worker_image, "exit 13")
    impatient = replace(QUICK, inspect_s=0.5, create_s=0.5)
    async with open_docker({"host": proxy.url}, context, limits=impatient) as hasty:
        assert (await hasty.fingerprint()).ok is True
        proxy.hold()
        with pytest.raises(ExecutorUnavailable, match=r"no answer within 0\.5 s"):
            await soon(hasty.launch(wanted))
        with pytest.raises(ExecutorUnavailable):
            await soon(hasty.owned())
        proxy.release()
        handle = await soon(executor.launch(wanted))  # a busy machine needs longer than the hasty one waits
        assert await soon(hasty.launch(wanted)) == handle
        assert (await soon(hasty.wait(handle))).code == 13
    assert [one.replica_id for one in await soon(executor.owned())] == [wanted.replica_id]


async def test_an_end_is_told_at_once(executor: Executor, worker_image: str) -> None:
    """By the event, not by the comparison, which comes every 3 s only: medians of ends by themselves."""
    delays = []
    for _ in range(5):
        wanted = spec(worker_image, "date +%s.%N; exec true")
        handle = await soon(executor.launch(replace(wanted, docker=DockerOptions(network="none"))))
        await soon(executor.wait(handle))
        told = time.time()
        (written,) = await lines_of(executor.logs(wanted.replica_id, handle, tail=1, follow=False))
        delays.append(told - float(written))
    assert sorted(delays)[2] < 1.0, delays


async def test_a_removal_by_somebody_else_ends_the_wait(executor: Executor, worker_image: str) -> None:
    handle = await soon(executor.launch(spec(worker_image, "sleep 60")))
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(soon(executor.wait(handle)))
        await asyncio.sleep(0.2)
        await soon(executor.remove(handle))
    assert waiting.result().code in (137, None)
    assert (waiting.result().reason, waiting.result().fault) == ("RemovedFromOutside", Fault.INFRA)


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.05)


async def test_a_restart_by_somebody_else_is_told_at_the_end(
    context: ExecutorContext, docker_engine: Engine, worker_image: str
) -> None:
    async with open_docker({"host": docker_engine.url}, context, limits=QUICK) as executor:
        assert isinstance(executor, DockerExecutor)
        watcher = executor._watcher
        wanted = spec(worker_image, "echo began; exec sleep 600")
        handle = await soon(executor.launch(wanted))
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(soon(executor.wait(handle)))
            await _until(lambda: handle.token in watcher._began)
            with docker_engine.client() as client:
                await asyncio.to_thread(client.containers.get(handle.token).restart, timeout=0)
            await _until(lambda: handle.token in watcher._restarted)
            assert not waiting.done()
            await soon(executor.stop(handle, timedelta(0)))
        lines = await lines_of(executor.logs(wanted.replica_id, handle, tail=None, follow=False))
        again = await soon(executor.wait(handle))
        await sweep(executor)
    ended = waiting.result()
    assert lines == ["began", "began"]
    assert ended.restarted_at is not None
    assert ended.at is not None
    assert ended.restarted_at <= ended.at
    assert again == ended


async def test_a_kill_is_told_as_such_if_we_looked_on_and_as_not_known_whose_if_nobody_did(
    context: ExecutorContext, docker_engine: Engine, worker_image: str
) -> None:
    settings = {"host": docker_engine.url}
    async with open_docker(settings, context, limits=QUICK) as first:
        watched, unwatched = [
            await soon(first.launch(spec(worker_image, "exec sleep 600"))) for _ in range(2)
        ]
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(soon(first.wait(watched)))
            with docker_engine.client() as client:
                await asyncio.to_thread(client.api.kill, watched.token)
        seen = waiting.result()
        again = await soon(first.wait(watched))
    with docker_engine.client() as client:
        await asyncio.to_thread(client.api.kill, unwatched.token)
    async with open_docker(settings, context, limits=QUICK) as second:
        unseen = await soon(second.wait(unwatched))
        await sweep(second)
    assert (seen.code, seen.reason, seen.fault) == (137, "Signaled", None)
    assert again == seen
    assert (unseen.code, unseen.reason, unseen.fault) == (137, "EngineLost", Fault.INFRA)


async def test_a_log_is_kept_byte_by_byte_in_order(
    executor: Executor, context: ExecutorContext, worker_image: str
) -> None:
    wanted = spec(worker_image, r"printf 'a\011\303\251b\n' >&2; printf 'no end'")
    handle = await soon(executor.launch(wanted))
    await soon(executor.wait(handle))
    expected = ["a\téb", "no end"]
    assert await lines_of(executor.logs(wanted.replica_id, handle, tail=None, follow=True)) == expected
    await soon(executor.remove(handle))
    assert (context.log_dir / f"{wanted.replica_id}.log").read_bytes() == b"a\t\xc3\xa9b\nno end"


async def test_a_long_log_is_bounded_by_the_engine(
    context: ExecutorContext, docker_engine: Engine, worker_image: str
) -> None:
    settings = {"host": docker_engine.url, "logMaxSize": "100k", "logMaxFile": 2}
    async with open_docker(settings, context) as executor:
        wanted = spec(worker_image, "seq 1 30000")
        handle = await soon(executor.launch(wanted))
        await soon(executor.wait(handle))
        await soon(executor.remove(handle))
        kept = await lines_of(executor.logs(wanted.replica_id, None, tail=None, follow=False))
    assert kept[0].startswith("[scaler: the beginning of this log may be cut: the engine kept ")
    del kept[0]
    assert kept[-1] == "30000"
    assert 0 < len(kept) < 10_000
    assert kept == [str(number) for number in range(int(kept[0]), 30_001)]


async def test_a_flood_of_a_gigabyte_costs_bounded_disk_and_memory(
    context: ExecutorContext, docker_engine: Engine, worker_image: str
) -> None:
    """1 GiB in lines of 16 KiB; the engine keeps 2 MB of it, and what is kept of that says that it is not all."""
    make = r"head -c 16383 /dev/zero | tr '\0' x > /tmp/a; echo >> /tmp/a"
    grow = "for n in 1 2 3 4 5 6; do cat /tmp/a /tmp/a /tmp/a /tmp/a > /tmp/b; mv /tmp/b /tmp/a; done"
    write = "for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do cat /tmp/a; done; echo end"
    flood = spec(worker_image, f"{make}; {grow}; {write}")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    settings = {"host": docker_engine.url, "logMaxSize": "1m", "logMaxFile": 2}
    async with open_docker(settings, context) as executor:
        handle = await executor.launch(flood)
        async with asyncio.timeout(300):
            ended = await executor.wait(handle)
        live = await lines_of(executor.logs(flood.replica_id, handle, tail=None, follow=False))
        await soon(executor.remove(handle))
        kept = await lines_of(executor.logs(flood.replica_id, None, tail=None, follow=False))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
    assert ended.code == 0
    note = "[scaler: the beginning of this log may be cut: "
    assert (kept[0].startswith(note), live[-1].startswith(note)) == (True, True)
    assert (kept[-1], live[-2]) == ("end", "end")
    assert sum(map(len, kept)) < 2_200_000
    assert sum(one.stat().st_size for one in context.log_dir.iterdir()) < 100_000
    assert grown < 100 << 20


async def test_a_replica_is_not_removed_while_its_log_cannot_be_kept(
    executor: Executor, context: ExecutorContext, worker_image: str
) -> None:
    handle = await soon(executor.launch(spec(worker_image, "echo precious")))
    await soon(executor.wait(handle))
    context.log_dir.write_text("a file where the folder should be")
    with pytest.raises(ExecutorUnavailable, match="log of"):
        await soon(executor.remove(handle))
    assert len(await soon(executor.owned())) == 1
    context.log_dir.unlink()
    await soon(executor.remove(handle))
    assert await soon(executor.owned()) == ()


async def test_leaving_a_followed_log_early_closes_its_connection(
    executor: Executor, worker_image: str
) -> None:
    wanted = spec(worker_image, "while :; do echo tick; sleep 0.05; done")
    handle = await soon(executor.launch(wanted))
    lines = executor.logs(wanted.replica_id, handle, tail=None, follow=True)
    assert await soon(anext(lines)) == "tick"
    await soon(lines.aclose())  # type: ignore[attr-defined]
    assert len(await soon(executor.owned())) == 1


@pytest.mark.parametrize("kill", [False, True])
async def test_waits_survive_a_restart_of_the_engine(
    context: ExecutorContext, spare_engine: Engine, worker_image: str, *, kill: bool
) -> None:
    """The engine ends its containers when it restarts: that is told, and the ids are still good."""
    on_host = DockerOptions(network="host")
    async with open_docker({"host": spare_engine.url}, context, limits=QUICK) as executor:
        await sweep(executor)
        done = replace(spec(worker_image, "exit 21"), docker=on_host)
        live = replace(spec(worker_image, "exec sleep 600"), docker=on_host)
        done_handle: ReplicaHandle = await soon(executor.launch(done))
        assert (await soon(executor.wait(done_handle))).code == 21
        live_handle = await soon(executor.launch(live))
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(soon(executor.wait(live_handle)))
            await asyncio.sleep(0.3)
            await asyncio.to_thread(spare_engine.restart, kill=kill)
        assert waiting.result().code not in (0, None)
        assert (waiting.result().reason, waiting.result().fault) == ("EngineLost", Fault.INFRA)
        assert (await soon(executor.wait(done_handle))).code == 21
        assert {one.handle for one in await soon(executor.owned())} == {done_handle, live_handle}
        await sweep(executor)
