"""The process executor: the contract of every executor, and what only processes have."""

from __future__ import annotations

import ast
import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from executors._process_records import Records
from executors._process_shim import Log
from executors.process import EXECUTOR, ProcessExecutor, open_executor
from scaler.errors import ConfigError, ExecutorUnavailable, LaunchError
from scaler.model.job import Container, Job, ManualTrigger, ProcessOptions, Template
from scaler.model.replica import Fault, ReplicaExit, ReplicaSpec, Usage
from scaler.model.secret import Secret
from scaler.ports.executor import ExecutorContext
from scaler.testing.executor_contract import CANARY, ExecutorContract, lines_of, make_spec, soon

DAEMON = """
import asyncio, sys
from pathlib import Path
from executors.process import open_executor
from scaler.ports.executor import ExecutorContext
from scaler.testing.executor_contract import make_spec
from dataclasses import replace

async def main():
    state, logs, replica, script = sys.argv[1:]
    context = ExecutorContext(instance="i", state_dir=Path(state), log_dir=Path(logs))
    async with open_executor({}, context) as executor:
        await executor.launch(replace(make_spec(["sh", "-c", script]), replica_id=replica))
        print("launched", flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.fixture
def context(tmp_path: Path) -> ExecutorContext:
    return ExecutorContext(instance="i", state_dir=tmp_path / "state", log_dir=tmp_path / "logs")


@pytest.fixture
async def executor(context: ExecutorContext) -> AsyncIterator[ProcessExecutor]:
    async with open_executor({}, context) as opened:
        yield opened
        for owned in await opened.owned():
            await opened.stop(owned.handle, timedelta(0))


class TestContract(ExecutorContract):
    @pytest.fixture
    async def executor(self, context: ExecutorContext) -> AsyncIterator[ProcessExecutor]:
        async with open_executor({}, context) as opened:
            yield opened


def process_exists(pid: int) -> bool:
    """Whether a process lives; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def until(claim: Callable[[], bool], *, seconds: float = 20.0) -> None:
    """Wait until something is true."""
    async with asyncio.timeout(seconds):
        while not claim():
            await asyncio.sleep(0.02)


async def run(executor: ProcessExecutor, spec: ReplicaSpec) -> tuple[ReplicaExit, list[str]]:
    """Run a replica to its end: the exit and the log."""
    handle = await soon(executor.launch(spec))
    ended = await soon(executor.wait(handle))
    return ended, await lines_of(executor.logs(spec.replica_id, handle, tail=None, follow=False))


def python(code: str, **options: object) -> ReplicaSpec:
    """Make a spec that runs Python code under process options."""
    return replace(make_spec([sys.executable, "-c", code]), process=ProcessOptions(**options))  # type: ignore[arg-type]


# limits


async def test_the_cpu_limit_ends_a_busy_replica(executor: ProcessExecutor) -> None:
    ended, _ = await run(executor, python("while True: pass", cpu_seconds=1))
    assert (ended.code, ended.reason) == (128 + signal.SIGXCPU, "CpuLimit")


async def test_memory_above_the_limit_is_refused_to_the_program(executor: ProcessExecutor) -> None:
    ended, lines = await run(executor, python("x = bytearray(1 << 30)", memory_bytes=512 << 20))
    assert (ended.code, ended.reason, lines[-1]) == (1, "Error", "MemoryError")


async def test_no_core_is_ever_dumped(executor: ProcessExecutor) -> None:
    _, lines = await run(executor, make_spec(["sh", "-c", "ulimit -c; ulimit -H -c"]))
    assert lines == ["0", "0"]


async def test_a_signal_from_elsewhere_is_named(executor: ProcessExecutor) -> None:
    ended, _ = await run(executor, make_spec(["sh", "-c", "kill -KILL $$"]))
    assert (ended.code, ended.reason) == (137, "Signaled")
    assert ended.message.startswith("ended by SIGKILL, which this executor did not send")


async def test_a_replica_starts_with_default_signals(executor: ProcessExecutor) -> None:
    code = "print([l.split()[1] for l in open('/proc/self/status') if l[:6] in ('SigBlk', 'SigIgn')])"
    _, lines = await run(executor, make_spec([sys.executable, "-S", "-c", code]))
    blocked, ignored = (int(word, 16) for word in ast.literal_eval(lines[0]))
    libc_keeps = 1 << 31 | 1 << 32  # 32 and 33: nobody can change them, so they are as they were inherited
    # Python itself ignores SIGPIPE (13) and SIGXFSZ (25)
    assert (blocked & ~libc_keeps, ignored & ~libc_keeps) == (0, 1 << 12 | 1 << 24)


# environment and secrets


async def test_nothing_of_the_daemons_environment_leaks(
    executor: ProcessExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAEMON_TOKEN", "leak")
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.delenv("LANG", raising=False)
    spec = replace(make_spec(["/usr/bin/env"]), env={"MINE": Secret("1"), "HOME": Secret("/nowhere")})
    _, lines = await run(executor, spec)
    assert sorted(lines) == ["HOME=/nowhere", "MINE=1", f"PATH={os.environ['PATH']}", "TZ=UTC"]


async def test_a_secret_is_never_on_disk_or_in_a_process_list(
    executor: ProcessExecutor, context: ExecutorContext
) -> None:
    spec = replace(make_spec(["sleep", "60"]), env={"TOKEN": Secret(CANARY)})
    handle = await executor.launch(spec)
    records = Records(context.state_dir / handle.token)
    claim, started = records.claim(), records.started()
    assert claim is not None
    assert started is not None
    assert CANARY.encode() in Path(f"/proc/{started.pid}/environ").read_bytes()
    seen = [Path(f"/proc/{claim.pid}/{name}").read_bytes() for name in ("environ", "cmdline")]
    seen.append(Path(f"/proc/{started.pid}/cmdline").read_bytes())
    await executor.stop(handle, timedelta(seconds=5))
    seen += [one.read_bytes() for one in context.state_dir.parent.rglob("*") if one.is_file()]
    assert len(seen) > 5
    assert [one for one in seen if CANARY.encode() in one] == []


async def test_an_impossible_value_is_refused_without_showing_it(executor: ProcessExecutor) -> None:
    spec = replace(make_spec(["true"]), env={"TOKEN": Secret(f"{CANARY}\0")})
    with pytest.raises(LaunchError) as caught:
        await executor.launch(spec)
    assert caught.value.reason == "StartFailed"
    assert CANARY not in str(caught.value)


# starting


async def test_a_missing_command_is_told_by_name(executor: ProcessExecutor, context: ExecutorContext) -> None:
    with pytest.raises(LaunchError, match="job contract: command 'no-such-program'") as caught:
        await executor.launch(make_spec(["no-such-program"]))
    assert caught.value.reason == "CommandNotFound"
    assert list(context.state_dir.iterdir()) == []


async def test_a_refused_replica_may_be_launched_again(executor: ProcessExecutor, tmp_path: Path) -> None:
    spec = make_spec([str(tmp_path / "late")])
    with pytest.raises(LaunchError):
        await executor.launch(spec)
    (tmp_path / "late").write_text("#!/bin/sh\nexit 3\n")
    (tmp_path / "late").chmod(0o755)
    ended, _ = await run(executor, spec)
    assert ended.code == 3


async def test_a_missing_folder_is_told(executor: ProcessExecutor) -> None:
    spec = replace(make_spec(["true"]), process=ProcessOptions(cwd="/no/such/folder"))
    with pytest.raises(LaunchError, match="folder '/no/such/folder'") as caught:
        await executor.launch(spec)
    assert caught.value.reason == "CwdNotFound"


async def test_a_file_that_may_not_run_is_told(executor: ProcessExecutor, tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("#!/bin/sh\n")
    with pytest.raises(LaunchError, match="make it executable") as caught:
        await executor.launch(make_spec([str(tmp_path / "plain")]))
    assert caught.value.reason == "PermissionDenied"


async def test_the_working_folder_is_used(executor: ProcessExecutor, tmp_path: Path) -> None:
    spec = replace(make_spec(["pwd"]), process=ProcessOptions(cwd=str(tmp_path)))
    assert (await run(executor, spec))[1] == [str(tmp_path)]


async def test_an_id_that_is_no_name_is_refused(executor: ProcessExecutor) -> None:
    with pytest.raises(LaunchError, match="not usable"):
        await executor.launch(replace(make_spec(["true"]), replica_id="../escape"))


async def test_two_daemons_at_once_start_one_replica(
    executor: ProcessExecutor, context: ExecutorContext, tmp_path: Path
) -> None:
    spec = make_spec(["sh", "-c", f"echo x >> {tmp_path}/runs; sleep 0.5"])
    async with open_executor({}, context) as other, asyncio.TaskGroup() as group:
        launches = [group.create_task(one.launch(spec)) for one in (executor, other) * 5]
    handle = launches[0].result()
    await soon(executor.wait(handle))
    assert {launch.result() for launch in launches} == {handle}
    assert (tmp_path / "runs").read_text() == "x\n"


async def test_a_shim_that_hears_only_half_starts_nothing(
    executor: ProcessExecutor, context: ExecutorContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = executor._request
    monkeypatch.setattr(executor, "_request", lambda spec: whole(spec)[:-5])
    spec = make_spec(["true"])
    with pytest.raises(ExecutorUnavailable, match="ended early"):
        await executor.launch(spec)
    owned = await executor.owned()
    assert [(one.replica_id, one.started, one.ended) for one in owned] == [(spec.replica_id, False, False)]
    monkeypatch.undo()
    assert (await run(executor, spec))[0].code == 0


# the group


async def test_nothing_stays_behind_when_the_replica_ends(executor: ProcessExecutor) -> None:
    script = "sleep 300 & echo $!; (setsid sleep 301 & echo $!; wait) & sleep 0.3; exit 4"
    ended, lines = await run(executor, make_spec(["sh", "-c", script]))
    assert (ended.code, ended.reason) == (4, "Error")
    assert [process_exists(int(pid)) for pid in lines] == [False, False]


async def test_stop_reaches_the_whole_group(executor: ProcessExecutor) -> None:
    child = "trap 'echo child; exit' TERM; echo ready; while :; do sleep 0.05; done"
    script = f"""sh -c "{child}" & pid=$!; trap 'wait $pid; echo parent; exit 6' TERM; wait $pid"""
    spec = make_spec(["sh", "-c", script])
    handle = await executor.launch(spec)

    async def text() -> list[str]:
        return await lines_of(executor.logs(spec.replica_id, handle, tail=None, follow=False))

    async with asyncio.timeout(20):
        while "ready" not in await text():
            await asyncio.sleep(0.05)
    await soon(executor.stop(handle, timedelta(seconds=10)))
    assert (await executor.wait(handle)).code == 6
    assert [line for line in await text() if line in ("ready", "child", "parent")] == [
        "ready",
        "child",
        "parent",
    ]


async def test_a_killed_shim_takes_the_replica_with_it(
    executor: ProcessExecutor, context: ExecutorContext
) -> None:
    spec = make_spec(["sh", "-c", "sleep 300 & echo $!; wait"])
    handle = await executor.launch(spec)
    log = context.log_dir / f"{spec.replica_id}.log"
    await until(lambda: log.exists() and log.read_text().endswith("\n"))
    grandchild = int(log.read_text())
    records = Records(context.state_dir / spec.replica_id)
    claim, started = records.claim(), records.started()
    assert claim is not None
    assert started is not None
    os.kill(claim.pid, signal.SIGKILL)
    ended = await soon(executor.wait(handle))
    assert (ended.code, ended.reason, ended.fault, ended.usage) == (None, "Lost", Fault.INFRA, Usage())
    await until(lambda: not process_exists(started.pid) and not process_exists(grandchild))
    assert await executor.launch(spec) == handle, "a lost one is never started again"
    assert not records.is_alive()


async def test_a_stranger_with_the_same_process_id_is_spared(
    executor: ProcessExecutor, context: ExecutorContext
) -> None:
    handle = await executor.launch(make_spec(["sleep", "60"]))
    await asyncio.sleep(0.05)  # start times are told in steps of 10 ms
    stranger = await asyncio.create_subprocess_exec("sleep", "60", start_new_session=True)
    try:
        folder = context.state_dir / "old"
        folder.mkdir()
        record = json.loads((context.state_dir / handle.token / "started").read_text())
        (folder / "started").write_text(json.dumps(record | {"pid": stranger.pid}))
        Records(folder).kill_remains()
        await asyncio.sleep(0.1)
        assert stranger.returncode is None
        assert process_exists(stranger.pid)
    finally:
        stranger.kill()
        await stranger.wait()


# restart of the daemon


async def test_a_killed_daemon_costs_no_exit_code(context: ExecutorContext) -> None:
    replica = make_spec(["true"]).replica_id
    daemon = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", DAEMON, str(context.state_dir), str(context.log_dir), replica),
        "echo before; sleep 2; echo after; exit 23",
        stdout=asyncio.subprocess.PIPE,
    )
    assert daemon.stdout is not None
    assert await soon(daemon.stdout.readline()) == b"launched\n"
    daemon.kill()
    await daemon.wait()
    async with open_executor({}, context) as executor:
        (owned,) = await executor.owned()
        assert (owned.replica_id, owned.started, owned.ended) == (replica, True, False)
        ended = await soon(executor.wait(owned.handle))
        assert (ended.code, ended.reason, ended.log_lost) == (23, "Error", None)
        lines = executor.logs(replica, None, tail=None, follow=False)
        assert await lines_of(lines) == ["before", "after"]


async def test_an_end_while_no_daemon_runs_is_found_later(context: ExecutorContext) -> None:
    async with open_executor({}, context) as first:
        handle = await first.launch(make_spec(["sh", "-c", "sleep 0.3; exit 9"]))
    await asyncio.sleep(0.8)
    async with open_executor({}, context) as second:
        assert [one.ended for one in await second.owned()] == [True]
        assert (await second.wait(handle)).code == 9


async def test_signals_to_the_daemons_group_do_not_reach_replicas(
    executor: ProcessExecutor, context: ExecutorContext
) -> None:
    handle = await executor.launch(make_spec(["sleep", "60"]))
    records = Records(context.state_dir / handle.token)
    claim, started = records.claim(), records.started()
    assert claim is not None
    assert started is not None
    sessions = {os.getsid(pid) for pid in (os.getpid(), claim.pid, started.pid)}
    assert len(sessions) == 3


async def test_an_adopted_replica_can_be_stopped(context: ExecutorContext) -> None:
    async with open_executor({}, context) as first:
        handle = await first.launch(make_spec(["sleep", "60"]))
    async with open_executor({}, context) as second:
        await soon(second.stop(handle, timedelta(seconds=10)))
        assert (await second.wait(handle)).code == 143


async def test_removing_a_live_one_kills_it_first(
    executor: ProcessExecutor, context: ExecutorContext
) -> None:
    handle = await executor.launch(make_spec(["sleep", "60"]))
    started = Records(context.state_dir / handle.token).started()
    assert started is not None
    await soon(executor.remove(handle))
    assert (process_exists(started.pid), await executor.owned()) == (False, ())


# logs


async def test_a_log_that_cannot_be_kept_stops_nothing(context: ExecutorContext) -> None:
    async with open_executor({}, context) as executor:
        spec = make_spec(["sh", "-c", "seq 1 100000; exit 5"])
        (context.log_dir / f"{spec.replica_id}.log").mkdir()
        ended = await soon(executor.wait(await executor.launch(spec)))
    assert (ended.code, ended.log_lost) == (5, f"{context.log_dir}/{spec.replica_id}.log: Is a directory")


def test_a_log_turns_over_at_a_line_end(tmp_path: Path) -> None:
    log = Log(str(tmp_path / "log"), 10)
    for piece in (b"one\ntwo\n", b"thr", b"ee\nfour\n"):
        log.write(piece)
    assert [(tmp_path / name).read_bytes() for name in ("log.1", "log")] == [
        b"[scaler: 8 bytes of this log were cut]\nthree\n",
        b"[scaler: 14 bytes of this log were cut]\nfour\n",
    ]


# settings and checks


@pytest.mark.parametrize("settings", [{"maxLogBytes": 5}, {"maxLogBytes": "1"}, {"maxLogByte": 1 << 20}])
async def test_a_wrong_setting_is_an_error(context: ExecutorContext, settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"executors\.process\.maxLogByte"):
        async with open_executor(settings, context):
            pass


@pytest.mark.parametrize(("command", "faults"), [(("true",), 0), ((), 1)])
def test_a_job_needs_a_command(command: tuple[str, ...], faults: int) -> None:
    template = Template(container=Container(name="main", command=command))
    job = Job(name="a", trigger=ManualTrigger(), template=template, replica_timeout=timedelta(seconds=9))
    assert len(EXECUTOR.check(job, {})) == faults
    assert EXECUTOR.needs_image is False


async def test_an_unwritable_folder_is_unhealthy(executor: ProcessExecutor, context: ExecutorContext) -> None:
    context.log_dir.rmdir()
    health = await executor.fingerprint()
    assert (health.ok, str(context.log_dir) in health.message) == (False, True)


async def test_a_launch_is_quick(executor: ProcessExecutor) -> None:
    began = time.perf_counter()
    handles = [await executor.launch(make_spec(["true"])) for _ in range(5)]
    assert (time.perf_counter() - began) / len(handles) < 2.0
