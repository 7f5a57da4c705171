"""Faults of the host, on local processes: a full disk, a clock that is set, kills, floods, deafness, fork bombs."""

from __future__ import annotations

import asyncio
import os
import platform
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from scaler.cli.client import RequestFailed
from scaler.errors import DaemonUnreachable, ScalerError
from tests.e2e.daemon import Daemon
from tests.e2e.jobs import end_of, is_final, local_job, outcome
from tests.infra.choose import Unavailable, absent
from tests.infra.install import debian_package

KILLS = 12
Make = Callable[..., Daemon]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Make a daemon for local processes; ended after the test, and it may not have printed a traceback."""
    made: list[Daemon] = []

    def give(*, env: dict[str, str] | None = None, **settings: Any) -> Daemon:
        made.append(Daemon(tmp_path, settings={"log": {"format": "json"}, **settings}, env=env))
        return made[-1]

    yield give
    for daemon in made:
        daemon.end(9)
        assert daemon.complaints() == []


async def _started(daemon: Daemon, job: str) -> str:
    """Start an execution by hand and give its name once it runs."""
    name: str = (await daemon.ask(lambda client: client.start(job)))["name"]
    await daemon.until(
        lambda: daemon.client.execution(job, name)["properties"]["status"] == "Running",
        what=f"{name} runs", timeout_s=60,
    )  # fmt: skip
    return name


async def _records(daemon: Daemon) -> dict[str, Any]:
    return dict(await daemon.ask(lambda client: client.inspection()))


async def _assert_all_well(daemon: Daemon) -> None:
    found = await _records(daemon)
    assert (found["ok"], found["violations"], found["silentExecutors"]) == (True, [], [])


# --- the disk ---------------------------------------------------------------------------------------------


@contextmanager
def _small_disk(place: Path, *, megabytes: int) -> Iterator[Path]:
    """Put a file system of that size at `place`; give a file whose removal frees it once it is filled."""
    if os.geteuid() != 0:
        absent("root", "only root can mount a small disk")
    place.mkdir()
    options = f"size={megabytes}m,mode=700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], check=True)
    try:
        yield place / "ballast"
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def _fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 10, 1):
            try:
                while file.write(b"x" * size) == size:
                    pass
            except OSError:
                continue


async def _start_until_refused(daemon: Daemon, job: str) -> list[str]:
    """Start executions until the disk has no room for the record of one; give those that were recorded."""
    recorded: list[str] = []
    for _ in range(2000):
        try:
            recorded.append((await daemon.ask(lambda client: client.start(job)))["name"])
        except (RequestFailed, DaemonUnreachable):
            return recorded
    raise AssertionError("the disk was never full")


async def test_a_full_disk_ends_the_daemon_and_costs_no_exit_code(tmp_path: Path, make: Make) -> None:
    """What cannot be recorded is not done: it ends, says why, and goes on when there is room again."""
    go = tmp_path / "go"
    patient = local_job(f"until [ -e {go} ]; do sleep 0.1; done; exit 5")
    quick = local_job("exit 0")
    daemon = make()
    for job in (patient, quick):
        daemon.write(job)

    with _small_disk(daemon.state, megabytes=6) as ballast:
        await daemon.start()
        waiting = await _started(daemon, patient["name"])
        await asyncio.to_thread(_fill, ballast)
        recorded = await _start_until_refused(daemon, quick["name"])
        code = await daemon.ended()
        last = daemon.tail(1)
        go.touch()
        await asyncio.sleep(1.5)  # it ends while nobody looks, and its end finds no room at first
        ballast.unlink()
        await daemon.start()
        end = await end_of(daemon, patient["name"], waiting, timeout_s=90)
        ends = [await end_of(daemon, quick["name"], name, timeout_s=90) for name in recorded]
        await _assert_all_well(daemon)
        await daemon.stop()

    assert code != 0
    assert "full" in last and str(daemon.state) in last
    assert end == ("Failed", "Error", [5])
    assert set(map(str, ends)) <= {str(("Succeeded", "Completed", [0]))}


# --- the clock --------------------------------------------------------------------------------------------

FAKE_TIME = Path(f"/usr/lib/{platform.machine()}-linux-gnu/faketime/libfaketime.so.1")


async def test_a_clock_set_by_an_hour_either_way_starts_no_storm_and_nothing_twice(
    tmp_path: Path, make: Make
) -> None:
    try:
        debian_package("libfaketime", FAKE_TIME)
    except Unavailable as exc:
        absent("faketime", str(exc))
    offset, clock = 3590 - time.time() % 3600, tmp_path / "clock"  # ten seconds before a full hour

    def set_clock(seconds: float) -> None:
        part = clock.with_suffix(".part")
        part.write_text(f"{seconds:+.3f}\n")
        part.replace(clock)

    set_clock(offset)
    variables = {
        "LD_PRELOAD": str(FAKE_TIME), "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }  # fmt: skip
    hourly = local_job("exit 0")
    hourly["properties"]["configuration"] |= {
        "triggerType": "Schedule", "scheduleTriggerConfig": {"cronExpression": "0 * * * *"},
    }  # fmt: skip
    del hourly["properties"]["configuration"]["manualTriggerConfig"]
    long = local_job("sleep 600", timeout_s=900)
    daemon = make(env=variables)
    for job in (hourly, long):
        daemon.write(job)
    await daemon.start()
    running = await _started(daemon, long["name"])

    def number() -> int:
        return len(daemon.client.executions(hourly["name"]))

    await daemon.until(lambda: number() == 1, what="the full hour", timeout_s=60)
    for step in (3600.0, 0.0, -3600.0, 0.0):
        set_clock(offset + step)
        await asyncio.sleep(1.5)
        assert await daemon.ask(lambda client: client.health())
    shown = await daemon.ask(lambda client: client.execution(long["name"], running))
    executions = await daemon.ask(lambda client: client.executions(hourly["name"]))
    reasons = [d["reason"] for d in await daemon.ask(lambda client: client.decisions(hourly["name"], 50))]
    await daemon.ask(lambda client: client.stop(long["name"], running))
    end = await end_of(daemon, long["name"], running, timeout_s=60)
    await _assert_all_well(daemon)

    assert shown["properties"]["status"] == "Running", "a step of the clock used up no time limit"
    assert len(executions) <= 2 and reasons.count("Launched") == len(executions)
    assert len({one["name"] for one in executions}) == len(executions)
    assert end[:2] == ("Stopped", "Stopped")


# --- kills ------------------------------------------------------------------------------------------------


@pytest.mark.timeout(300)
async def test_killed_at_random_moments_each_recorded_process_runs_once_and_ends_once(
    tmp_path: Path, make: Make
) -> None:
    runs = tmp_path / "runs"
    job = local_job(f"echo $CONTAINER_APP_REPLICA_NAME >> {runs}; sleep 0.3")
    daemon = make()
    daemon.write(job)
    seed = random.randrange(1 << 32)
    moments = random.Random(seed)
    answered: set[str] = set()

    async def keep_starting() -> None:
        while True:
            try:
                answered.add((await daemon.ask(lambda client: client.start(job["name"])))["name"])
            except ScalerError:
                await asyncio.sleep(0.01)

    for _ in range(KILLS):
        await daemon.start()
        starting = asyncio.create_task(keep_starting())
        await asyncio.sleep(moments.uniform(0.0, 0.5))
        await daemon.kill()
        starting.cancel()
        await asyncio.wait([starting])
    await daemon.start()

    def all_ended() -> bool:
        return all(
            one["properties"]["status"] in ("Succeeded", "Failed", "Unknown")
            for one in daemon.client.executions(job["name"])
        )

    await daemon.until(all_ended, what="everything recorded ends", timeout_s=120)
    executions = await daemon.ask(lambda client: client.executions(job["name"]))
    held = daemon.state / "executors/process"
    await daemon.until(lambda: not any(held.iterdir()), what="no remains", timeout_s=60)
    await _assert_all_well(daemon)

    print(f"seed {seed}: {len(executions)} executions, {len(answered)} answered")
    assert answered <= {one["name"] for one in executions}, "what was answered was recorded"
    assert {outcome(one)[:2] for one in executions} == {("Succeeded", "Completed")}
    ran = runs.read_text().split()
    assert len(ran) == len(set(ran)) == len(executions) > KILLS


# --- what replicas do -------------------------------------------------------------------------------------


async def test_a_process_deaf_to_term_is_killed_after_the_grace(make: Make) -> None:
    job = local_job("trap '' TERM; while :; do sleep 0.1; done")
    daemon = make(limits={"stopGrace": 1})
    daemon.write(job)
    await daemon.start()
    name = await _started(daemon, job["name"])
    await asyncio.sleep(0.5)  # the shell sets its trap

    await daemon.ask(lambda client: client.stop(job["name"], name))

    assert await end_of(daemon, job["name"], name, timeout_s=60) == ("Stopped", "Stopped", [137])


async def test_a_process_killed_from_outside_is_told_by_its_signal_and_not_as_ours(make: Make) -> None:
    job = local_job("kill -KILL $$")
    daemon = make()
    daemon.write(job)
    await daemon.start()
    name = (await daemon.ask(lambda client: client.start(job["name"])))["name"]

    assert await end_of(daemon, job["name"], name, timeout_s=60) == ("Failed", "Signaled", [137])
    shown = await daemon.ask(lambda client: client.execution(job["name"], name))
    assert "perhaps the machine was out of memory" in str(shown)


def _size(folder: Path) -> int:
    """Add up the files of a folder, some of which may be on their way out."""
    total = 0
    for file in folder.iterdir():
        with suppress(FileNotFoundError):
            total += file.stat().st_size
    return total


async def test_a_flood_of_log_lines_costs_bounded_disk_and_memory(make: Make) -> None:
    job = local_job("yes 0123456789012345678901234567890123456789 | head -c 1000000000; echo; echo the end")
    daemon = make(executors={"process": {"maxLogBytes": 1 << 20}})
    daemon.write(job)
    await daemon.start()
    name = (await daemon.ask(lambda client: client.start(job["name"])))["name"]

    def is_over() -> bool:
        nonlocal most
        most = max(most, _size(daemon.state / "logs"))
        return is_final(daemon, job["name"], name)

    most = 0
    await daemon.until(is_over, what="it ends", timeout_s=110)
    end = await end_of(daemon, job["name"], name)
    peak_kib = next(
        int(line.split()[1])
        for line in Path(f"/proc/{daemon.pid}/status").read_text().splitlines()
        if line.startswith("VmHWM")
    )
    lines = (await daemon.cli("execution", "logs", job["name"], name)).splitlines()

    assert end == ("Succeeded", "Completed", [0])
    assert most < 4 << 20
    assert peak_kib < 300 << 10
    assert any("of this log were cut]" in line for line in lines), "what is missing is told"
    assert lines[-1].endswith("the end")


async def test_a_fork_bomb_ends_with_its_time_limit_and_leaves_no_process(tmp_path: Path, make: Make) -> None:
    """Half of its children leave their process group. It stops at 120, for the sake of who shares the machine."""
    mark = f"MARK={tmp_path.name}-{os.getpid()}"
    bomb = "for i in $(seq 60); do sleep 300 & setsid sleep 300 & done; touch $DONE; wait"
    job = local_job(bomb, timeout_s=5, env={"DONE": str(tmp_path / "done"), mark[:4]: mark[5:]})
    daemon = make(limits={"stopGrace": 1})
    daemon.write(job)
    await daemon.start()
    name = (await daemon.ask(lambda client: client.start(job["name"])))["name"]
    await daemon.until((tmp_path / "done").exists, what="it has grown", timeout_s=60)
    grown = await asyncio.to_thread(_bearing, mark)

    end = await end_of(daemon, job["name"], name, timeout_s=90)
    await daemon.until(lambda: _bearing(mark) == 0, what="nothing of it is left", timeout_s=60)

    assert grown > 100
    assert end[:2] == ("Failed", "ReplicaTimeout")
    assert await asyncio.to_thread(is_final, daemon, job["name"], name)


def _bearing(mark: str) -> int:
    """Count processes with that variable in their environment."""
    found = 0
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            try:
                found += mark.encode() in (place / "environ").read_bytes()
            except OSError:
                continue
    return found
