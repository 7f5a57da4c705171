"""Logs of process replicas: bounded, turned over, compressed, and what is missing is told to the byte."""

from __future__ import annotations

import asyncio
import re
import resource
from contextlib import suppress
from pathlib import Path

import pytest

from executors._logfile import read_log
from executors._process_shim import Log
from executors.process import open_executor
from scaler.errors import NotFound
from scaler.ports.executor import ExecutorContext
from scaler.testing.executor_contract import lines_of, soon
from tests.executors.test_process import make_spec, python

CUT = re.compile(r"\[scaler: ([0-9]+) bytes of this log were cut\]")
MEBIBYTE = 1 << 20


@pytest.fixture
def context(tmp_path: Path) -> ExecutorContext:
    for name in ("state", "logs"):
        (tmp_path / name).mkdir()
    return ExecutorContext(instance="i", state_dir=tmp_path / "state", log_dir=tmp_path / "logs")


def names(context: ExecutorContext) -> list[str]:
    return sorted(path.name for path in context.log_dir.iterdir())


def taken(context: ExecutorContext) -> int:
    """Add up the files of logs; one may be turned over at this moment."""
    size = 0
    for one in context.log_dir.iterdir():
        with suppress(FileNotFoundError):
            size += one.stat().st_size
    return size


async def test_a_log_is_bounded_keeps_the_newest_and_is_compressed_at_the_end(
    context: ExecutorContext,
) -> None:
    async with open_executor({"maxLogBytes": 1 << 17}, context) as executor:
        spec = make_spec(["sh", "-c", "seq 1 50000"])
        handle = await soon(executor.launch(spec))
        await soon(executor.wait(handle))
        sizes = [one.stat().st_size for one in context.log_dir.iterdir()]
        assert (len(sizes), max(sizes) <= (1 << 17) + 65536) == (2, True)
        lines = await lines_of(executor.logs(spec.replica_id, handle, tail=None, follow=False))
        older = await lines_of(executor.logs(spec.replica_id, None, tail=20000, follow=False))
        await soon(executor.remove(handle))
        assert names(context) == [f"{spec.replica_id}.log.gz"]
        assert await lines_of(executor.logs(spec.replica_id, None, tail=None, follow=True)) == lines
        assert await lines_of(executor.logs(spec.replica_id, None, tail=20000, follow=False)) == older
        await soon(executor.remove(handle))
    cut = CUT.fullmatch(lines.pop(0))
    assert cut is not None
    assert int(cut[1]) == sum(len(f"{number}\n") for number in range(1, int(lines[0])))
    assert lines == [str(number) for number in range(int(lines[0]), 50001)], "no line is torn or missing"
    assert older == lines[-20000:]


async def test_a_short_log_stays_as_it_is(context: ExecutorContext) -> None:
    async with open_executor({}, context) as executor:
        spec = make_spec(["echo", "short"])
        handle = await soon(executor.launch(spec))
        await soon(executor.wait(handle))
        await soon(executor.remove(handle))
    assert (context.log_dir / f"{spec.replica_id}.log").read_bytes() == b"short\n"


async def test_a_flood_of_a_gigabyte_costs_bounded_disk_and_memory(context: ExecutorContext) -> None:
    """The replica writes 1 GiB without a line's end, and as fast as it can; a reader follows it."""
    flood = python("import os\nfor _ in range(1024): os.write(1, b'x' * 1048576)")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with open_executor({"maxLogBytes": MEBIBYTE}, context) as executor:
        handle = await soon(executor.launch(flood))
        most, seen = 0, 0
        async with asyncio.timeout(110):
            async for line in executor.logs(flood.replica_id, handle, tail=None, follow=True):
                cut = CUT.fullmatch(line)
                seen += int(cut[1]) if cut else len(line)
                most = max(most, taken(context))
            ended = await executor.wait(handle)
        await soon(executor.remove(handle))
        lines = await lines_of(executor.logs(flood.replica_id, None, tail=None, follow=False))
    kept = taken(context)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
    assert (ended.code, ended.log_lost) == (0, None)
    assert seen == 1 << 30, "what the reader was too slow for was told to the byte"
    assert most <= 3 * MEBIBYTE
    assert kept < MEBIBYTE
    assert grown < 100 * MEBIBYTE
    cut = CUT.fullmatch(lines[0])
    assert cut is not None
    assert int(cut[1]) + sum(map(len, lines[1:])) == 1 << 30


async def test_a_follower_sees_what_is_written_over_many_turns(tmp_path: Path) -> None:
    path, done = tmp_path / "r.log", asyncio.Event()

    async def write() -> None:
        log = Log(str(path), 1000)
        for number in range(3000):
            log.write(b"%d\n" % number)
            if number % 100 == 0:
                await asyncio.sleep(0.01)
        done.set()

    lines: list[str] = []
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(write())
        lines.extend([line async for line in read_log(path, tail=None, follow=True, ended=done.is_set)])
    assert lines[-1] == "2999"
    told = 0
    for line in lines:
        cut = CUT.fullmatch(line)
        told += int(cut[1]) if cut else len(line) + 1
    assert told == sum(len(f"{number}\n") for number in range(3000))


async def test_of_a_log_that_is_gone_is_said_what_may_have_dropped_it(context: ExecutorContext) -> None:
    async with open_executor({}, context) as executor:
        with pytest.raises(NotFound, match=r"replica r-1: no log of it is kept here; history\.logBytes"):
            await anext(aiter(executor.logs("r-1", None, tail=None, follow=False)))


async def test_a_follower_reads_no_new_file_before_it_says_what_came_before(tmp_path: Path) -> None:
    """Between its creation and its first line a reader may look; the line is a count, not a line of the log."""
    path, done = tmp_path / "r.log", asyncio.Event()
    path.write_bytes(b"one\n")

    async def write() -> None:
        await asyncio.sleep(0.5)
        path.rename(path.with_name("r.log.1"))
        path.touch()
        await asyncio.sleep(0.7)
        path.write_bytes(b"[scaler: 4 bytes of this log were cut]\ntwo\n")
        done.set()

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(write())
        lines = [line async for line in read_log(path, tail=None, follow=True, ended=done.is_set)]
    assert lines == ["one", "two"]
