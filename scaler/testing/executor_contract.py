"""What every executor must do, as a test suite: subclass `ExecutorContract` and give it two hooks.

    class TestMine(ExecutorContract):
        @pytest.fixture
        async def executor(self, context): ...          # an open executor
        def spec(self, command, **changes): ...         # a ReplicaSpec that runs `command`

The suite itself knows no backend. Commands are `sh` scripts of the smallest kind, so any image or machine
with a POSIX shell will do. Every replica that `spec` named is removed at the end by `tidy`.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import pytest

from scaler.errors import ExecutorUnavailable, LaunchError, NotFound
from scaler.model.job import DockerOptions, ProcessOptions, Resources
from scaler.model.names import LABEL_EXECUTION, LABEL_INSTANCE, LABEL_JOB, LABEL_REPLICA
from scaler.model.replica import OwnedReplica, ReplicaExit, ReplicaHandle, ReplicaSpec
from scaler.model.secret import Secret
from scaler.ports.executor import Executor, ExecutorContext

T = TypeVar("T")

PATIENCE_S = 40.0
GRACE = timedelta(seconds=10)
CANARY = "canary-5f2d9e61-not-to-be-seen"


async def soon(awaitable: Awaitable[T], *, seconds: float = PATIENCE_S) -> T:
    """Await with an upper bound, so that a hang is a failure with a place."""
    async with asyncio.timeout(seconds):
        return await awaitable


async def lines_of(lines: AsyncIterator[str]) -> list[str]:
    """Read a log to its end."""
    async with asyncio.timeout(PATIENCE_S):
        return [line async for line in lines]


def make_spec(command: list[str], *, image: str | None = None, instance: str = "contract") -> ReplicaSpec:
    """Build a spec with a fresh replica id and the labels that the engine gives."""
    replica = f"contract-{uuid.uuid4().hex[:10]}"
    return ReplicaSpec(
        replica_id=replica,
        execution_id=f"{replica}-execution",
        job="contract",
        image=image,
        command=tuple(command),
        args=(),
        env={},
        resources=Resources(cpu=0.5, memory_bytes=128 << 20),
        labels={
            LABEL_INSTANCE: instance,
            LABEL_JOB: "contract",
            LABEL_EXECUTION: f"{replica}-execution",
            LABEL_REPLICA: replica,
        },
        docker=DockerOptions(),
        process=ProcessOptions(),
    )


class ExecutorContract:
    """The promises of `scaler.ports.executor.Executor`, each as a test."""

    @pytest.fixture
    def context(self, tmp_path: Path) -> ExecutorContext:
        """Give an instance id of its own, so that parallel runs never see each other's replicas."""
        for name in ("state", "logs"):
            (tmp_path / name).mkdir()
        return ExecutorContext(
            instance=f"contract-{uuid.uuid4().hex[:8]}",
            state_dir=tmp_path / "state",
            log_dir=tmp_path / "logs",
        )

    @pytest.fixture
    async def executor(self, context: ExecutorContext) -> AsyncIterator[Executor]:
        """Open the executor under test. Override."""
        raise NotImplementedError
        yield

    def spec(self, command: list[str], *, instance: str = "contract") -> ReplicaSpec:
        """Make a spec that runs `command`. Override to add an image or a folder."""
        return make_spec(command, instance=instance)

    @pytest.fixture(autouse=True)
    async def tidy(self, executor: Executor) -> AsyncIterator[None]:
        """Stop and remove whatever a test has left."""
        yield
        for owned in await soon(executor.owned()):
            await soon(executor.stop(owned.handle, timedelta(0)))
            await soon(executor.remove(owned.handle))

    async def run(self, executor: Executor, spec: ReplicaSpec) -> tuple[ReplicaHandle, ReplicaExit]:
        """Launch and wait."""
        handle = await soon(executor.launch(spec))
        return handle, await soon(executor.wait(handle))

    async def owned_by_id(self, executor: Executor, replica_id: str) -> OwnedReplica | None:
        """Find one replica in the list."""
        return {one.replica_id: one for one in await soon(executor.owned())}.get(replica_id)

    # health

    async def test_a_working_backend_is_healthy(self, executor: Executor) -> None:
        health = await soon(executor.fingerprint())
        assert (health.ok, bool(health.message)) == (True, True)

    # exit codes

    async def test_success_is_completed(self, executor: Executor) -> None:
        _, ended = await self.run(executor, self.spec(["sh", "-c", "exit 0"]))
        assert (ended.code, ended.reason, ended.log_lost) == (0, "Completed", None)

    @pytest.mark.parametrize("code", [1, 3, 42])
    async def test_the_exit_code_is_told(self, executor: Executor, code: int) -> None:
        _, ended = await self.run(executor, self.spec(["sh", "-c", f"exit {code}"]))
        assert (ended.code, ended.reason) == (code, "Error")

    async def test_args_follow_the_command(self, executor: Executor) -> None:
        spec = replace(self.spec(["sh", "-c"]), args=("exit 7",))
        _, ended = await self.run(executor, spec)
        assert ended.code == 7

    async def test_a_bad_command_is_a_failure(self, executor: Executor) -> None:
        """Either refused at launch, or ended with 126 or 127 as a shell would; never success."""
        try:
            _, ended = await self.run(executor, self.spec(["/no/such/program"]))
        except LaunchError as exc:
            assert exc.reason in {"StartFailed", "CommandNotFound"}
        else:
            assert ended.code in {126, 127}

    # waiting

    async def test_waiting_after_the_end_tells_the_same(self, executor: Executor) -> None:
        handle, first = await self.run(executor, self.spec(["sh", "-c", "exit 5"]))
        assert await soon(executor.wait(handle)) == first

    async def test_the_time_of_the_end_is_told_however_late_one_asks(self, executor: Executor) -> None:
        handle = await soon(executor.launch(self.spec(["sh", "-c", "exit 0"])))
        first = await soon(executor.wait(handle))
        await asyncio.sleep(1.5)
        late = await soon(executor.wait(handle))
        assert late.at is not None
        assert late.at == first.at
        assert datetime.now(UTC) - late.at >= timedelta(seconds=1.4)

    async def test_several_waits_all_get_the_exit(self, executor: Executor) -> None:
        handle = await soon(executor.launch(self.spec(["sh", "-c", "sleep 0.5; exit 6"])))
        async with asyncio.TaskGroup() as group:
            waits = [group.create_task(soon(executor.wait(handle))) for _ in range(3)]
        assert [wait.result().code for wait in waits] == [6, 6, 6]

    async def test_cancelling_a_wait_stops_nothing(self, executor: Executor) -> None:
        spec = self.spec(["sh", "-c", "sleep 60"])
        handle = await soon(executor.launch(spec))
        with pytest.raises(TimeoutError):
            await soon(executor.wait(handle), seconds=0.5)
        owned = await self.owned_by_id(executor, spec.replica_id)
        assert owned is not None
        assert (owned.started, owned.ended) == (True, False)

    async def test_an_unknown_replica_is_lost(self, executor: Executor) -> None:
        handle, _ = await self.run(executor, self.spec(["sh", "-c", "exit 0"]))
        await soon(executor.remove(handle))
        ended = await soon(executor.wait(handle))
        assert (ended.code, ended.reason) == (None, "Lost")

    async def test_twelve_at_once_each_tell_their_own_code(self, executor: Executor) -> None:
        async def one(number: int) -> tuple[int, int | None]:
            _, ended = await self.run(executor, self.spec(["sh", "-c", f"sleep 0.2; exit {number}"]))
            return number, ended.code

        async with asyncio.TaskGroup() as group:
            runs = [group.create_task(one(number)) for number in range(12)]
        assert [run.result() for run in runs] == [(number, number) for number in range(12)]

    # launching

    async def test_launching_twice_starts_once(self, executor: Executor, tmp_path: Path) -> None:
        spec = self.spec(["sh", "-c", "echo started; sleep 60"])
        first = await soon(executor.launch(spec))
        assert await soon(executor.launch(spec)) == first
        assert [one.replica_id for one in await soon(executor.owned())] == [spec.replica_id]

    @pytest.mark.parametrize("script", ["echo started", "echo started; sleep 1"])
    async def test_launching_twice_at_once_starts_once(self, executor: Executor, script: str) -> None:
        spec = self.spec(["sh", "-c", script])
        async with asyncio.TaskGroup() as group:
            launches = [group.create_task(soon(executor.launch(spec))) for _ in range(4)]
        handles = {launch.result() for launch in launches}
        assert len(handles) == 1
        handle = handles.pop()
        await soon(executor.wait(handle))
        assert await lines_of(executor.logs(spec.replica_id, handle, tail=None, follow=False)) == ["started"]

    async def test_launching_an_ended_one_again_starts_nothing(self, executor: Executor) -> None:
        spec = self.spec(["sh", "-c", "echo once; exit 4"])
        handle, first = await self.run(executor, spec)
        assert await soon(executor.launch(spec)) == handle
        assert await soon(executor.wait(handle)) == first
        assert await lines_of(executor.logs(spec.replica_id, handle, tail=None, follow=False)) == ["once"]

    async def test_env_reaches_the_replica_and_stays_out_of_sight(self, executor: Executor) -> None:
        plain = self.spec(["sh", "-c", 'test "$TOKEN" = ' + CANARY + ' && test "$N" = 5'])
        spec = replace(plain, env={"TOKEN": Secret(CANARY), "N": Secret("5")})
        handle, ended = await self.run(executor, spec)
        assert ended.code == 0
        assert CANARY not in f"{ended} {handle} {spec.env} {await soon(executor.owned())}"

    # stopping

    async def test_stop_lets_a_replica_end_by_itself(self, executor: Executor) -> None:
        script = "trap 'echo bye; exit 9' TERM; echo ready; while :; do sleep 0.1; done"
        spec = self.spec(["sh", "-c", script])
        handle = await soon(executor.launch(spec))
        await self.until_logged(executor, spec, handle, "ready")
        await soon(executor.stop(handle, GRACE))
        assert (await soon(executor.wait(handle))).code == 9

    async def test_stop_by_term_is_told_as_a_signal(self, executor: Executor) -> None:
        spec = self.spec(["sh", "-c", "echo ready; exec sleep 60"])
        handle = await soon(executor.launch(spec))
        # Before it begins, the first process of a container may hear no TERM.
        await self.until_logged(executor, spec, handle, "ready")
        began = time.monotonic()
        await soon(executor.stop(handle, GRACE))
        ended = await soon(executor.wait(handle))
        assert (ended.code, ended.reason) == (143, "Signaled")
        assert time.monotonic() - began < GRACE.total_seconds()

    async def test_a_deaf_replica_is_killed_after_the_grace(self, executor: Executor) -> None:
        script = "trap '' TERM; echo ready; while :; do sleep 0.1; done"
        spec = self.spec(["sh", "-c", script])
        handle = await soon(executor.launch(spec))
        await self.until_logged(executor, spec, handle, "ready")
        began = time.monotonic()
        await soon(executor.stop(handle, timedelta(seconds=1)))
        ended = await soon(executor.wait(handle))
        assert (ended.code, ended.reason) == (137, "Signaled")
        assert 0.9 <= time.monotonic() - began < GRACE.total_seconds()

    async def test_stopping_what_is_gone_is_fine(self, executor: Executor) -> None:
        handle, ended = await self.run(executor, self.spec(["sh", "-c", "exit 0"]))
        await soon(executor.stop(handle, GRACE))
        assert await soon(executor.wait(handle)) == ended
        await soon(executor.remove(handle))
        await soon(executor.stop(handle, GRACE))

    # removing and listing

    async def test_removing_twice_is_fine(self, executor: Executor) -> None:
        spec = self.spec(["sh", "-c", "exit 0"])
        handle, _ = await self.run(executor, spec)
        await soon(executor.remove(handle))
        await soon(executor.remove(handle))
        assert await soon(executor.owned()) == ()

    async def test_owned_lists_every_state(self, executor: Executor) -> None:
        before = datetime.now(UTC) - timedelta(seconds=2)
        live, done = self.spec(["sleep", "60"]), self.spec(["sh", "-c", "exit 0"])
        live_handle = await soon(executor.launch(live))
        done_handle, _ = await self.run(executor, done)
        owned = {one.replica_id: one for one in await soon(executor.owned())}
        assert {key: (one.handle, one.started, one.ended) for key, one in owned.items()} == {
            live.replica_id: (live_handle, True, False),
            done.replica_id: (done_handle, True, True),
        }
        now = datetime.now(UTC) + timedelta(seconds=2)
        assert all(before <= one.created_at <= now for one in owned.values())

    # logs

    async def test_the_log_is_read_before_and_after_remove(self, executor: Executor) -> None:
        spec = self.spec(["sh", "-c", "echo one; echo two >&2; sleep 0.1; echo three"])
        handle, _ = await self.run(executor, spec)
        live = await lines_of(executor.logs(spec.replica_id, handle, tail=None, follow=False))
        assert (sorted(live), live[-1]) == (["one", "three", "two"], "three")
        await soon(executor.remove(handle))
        assert await lines_of(executor.logs(spec.replica_id, handle, tail=None, follow=False)) == live
        assert await lines_of(executor.logs(spec.replica_id, None, tail=1, follow=False)) == ["three"]
        assert await lines_of(executor.logs(spec.replica_id, None, tail=None, follow=True)) == live

    async def test_the_log_is_kept_under_its_name(self, executor: Executor, context: ExecutorContext) -> None:
        spec = self.spec(["sh", "-c", "echo kept"])
        handle, _ = await self.run(executor, spec)
        await soon(executor.remove(handle))
        assert (context.log_dir / f"{spec.replica_id}.log").read_bytes() == b"kept\n"

    async def test_tail_gives_the_last_lines(self, executor: Executor) -> None:
        spec = self.spec(["sh", "-c", "for n in 1 2 3 4 5; do echo line $n; done"])
        handle, _ = await self.run(executor, spec)
        assert await lines_of(executor.logs(spec.replica_id, handle, tail=2, follow=False)) == [
            "line 4",
            "line 5",
        ]
        assert await lines_of(executor.logs(spec.replica_id, handle, tail=0, follow=False)) == []

    async def test_following_ends_with_the_replica(self, executor: Executor) -> None:
        spec = self.spec(["sh", "-c", "for n in 1 2 3; do echo line $n; sleep 0.4; done"])
        handle = await soon(executor.launch(spec))
        lines = await lines_of(executor.logs(spec.replica_id, handle, tail=None, follow=True))
        assert lines == ["line 1", "line 2", "line 3"]

    async def test_the_log_of_a_stranger_is_not_found(self, executor: Executor) -> None:
        with pytest.raises(NotFound):
            await lines_of(executor.logs("contract-nobody", None, tail=None, follow=False))

    async def until_logged(
        self, executor: Executor, spec: ReplicaSpec, handle: ReplicaHandle, text: str
    ) -> None:
        """Wait until the replica has written `text`."""
        async with asyncio.timeout(PATIENCE_S):
            while text not in await self._try_lines(executor, spec, handle):
                await asyncio.sleep(0.05)

    async def _try_lines(self, executor: Executor, spec: ReplicaSpec, handle: ReplicaHandle) -> list[str]:
        try:
            return await lines_of(executor.logs(spec.replica_id, handle, tail=None, follow=False))
        except (NotFound, ExecutorUnavailable):
            return []
