"""Executor `process`: each replica is a local process; for machines without an engine, tests and the demo.

A replica belongs to its shim (`_process_shim.py`), not to the daemon: it goes on when the daemon stops or
is killed, and its exit code is found by the next one. This module starts shims, signals them, and reads
their records; it never waits for a replica as a parent would.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from executors._logfile import read_log
from executors._logparts import NO_LOG, compress, is_there
from executors._process_check import check, notes
from executors._process_records import Records
from executors._process_words import exit_of, lost, start_error
from scaler.errors import ConfigError, ExecutorUnavailable, LaunchError, NotFound
from scaler.model.replica import Health, OwnedReplica, ReplicaExit, ReplicaHandle, ReplicaSpec
from scaler.ports.executor import ExecutorContext, ExecutorType

SHIM = Path(__file__).with_name("_process_shim.py")
INHERITED = ("PATH", "HOME", "LANG", "TZ")
_REPLICA_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_SETTINGS: Mapping[str, tuple[Any, str]] = {
    "maxLogBytes": (10 << 20, "size at which a replica's log is turned over; one older part is kept"),
    "maxConcurrentLaunches": (8, "launches under way at once"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long things may take, in seconds."""

    launch_s: float = 20.0  # 15 ms on an idle machine; a swamped one takes seconds to start a program
    kill_s: float = 10.0  # from KILL to the end of the shim, which empties the log pipe first
    force_s: float = 2.0  # from KILL of the shim itself to its end
    look_s: float = 0.02  # how often records are looked at where nothing can wake us


class ProcessExecutor:
    """Runs replicas as local processes. See `scaler.ports.executor.Executor` for the promises."""

    def __init__(
        self, context: ExecutorContext, *, log_cap: int, launches: int, limits: Limits | None = None
    ) -> None:
        self._state_dir = context.state_dir
        self._log_dir = context.log_dir
        self._log_cap = log_cap
        self._limits = limits or Limits()
        self._gate = asyncio.Semaphore(launches)
        self._shims: dict[int, subprocess.Popen[bytes]] = {}

    def close(self) -> None:
        """Let go of the shims, which go on without us."""
        self._reap()
        for shim in self._shims.values():
            shim.returncode = 0  # left on purpose: no warning about a child that still runs
        self._shims.clear()

    async def fingerprint(self) -> Health:
        """Say whether processes can be started and recorded here."""
        if sys.platform not in ("linux", "darwin"):
            return Health(ok=False, message=f"{sys.platform} is not supported; use Linux, macOS or docker")
        for folder in (self._state_dir, self._log_dir):
            if not os.access(folder, os.W_OK | os.X_OK):
                return Health(ok=False, message=f"{folder}: not a folder that this user can write to")
        return Health(ok=True, message=f"local processes of user {os.getuid()}")

    async def launch(self, spec: ReplicaSpec) -> ReplicaHandle:
        """Start a replica, or find it started. See the port."""
        if not _REPLICA_ID.fullmatch(spec.replica_id):
            raise LaunchError(f"replica id {spec.replica_id!r}: not usable as a name of a folder")
        if spec.pod is not None:
            raise LaunchError(
                f"job {spec.job}: the process executor runs one plain process a replica: no further containers, "
                "volumes or probes",
                reason="NotSupported",
            )
        if not spec.command + spec.args:
            raise LaunchError(f"job {spec.job}: no command; give one", reason="CommandNotFound")
        try:
            async with self._gate, asyncio.timeout(self._limits.launch_s):
                return await self._launch(spec)
        except TimeoutError as exc:
            raise ExecutorUnavailable(
                f"replica {spec.replica_id}: no answer from its shim within {self._limits.launch_s:g} s"
            ) from exc
        except OSError as exc:
            raise ExecutorUnavailable(f"replica {spec.replica_id}: {exc}") from exc

    async def _launch(self, spec: ReplicaSpec) -> ReplicaHandle:
        records = self._records(spec.replica_id)
        while True:
            if records.claim() is None:
                records.folder.mkdir(mode=0o700, exist_ok=True)
                answer = await self._ask_shim(spec, records.folder)
                if "fault" in answer:
                    with suppress(OSError):
                        (records.folder / "shim.err").unlink(missing_ok=True)
                        records.folder.rmdir()
                    raise start_error(spec, **answer["fault"])
            if records.started() or records.ended() or (records.claim() and not records.is_alive()):
                return _handle(spec.replica_id)
            await asyncio.sleep(self._limits.look_s)

    async def _ask_shim(self, spec: ReplicaSpec, folder: Path) -> dict[str, Any]:
        """Start a shim, tell it what to run through a socket, and give its answer."""
        loop = asyncio.get_running_loop()
        ours = self._start_shim(folder)
        try:
            await loop.sock_sendall(ours, self._request(spec))
            ours.shutdown(socket.SHUT_WR)
            told = b""
            while part := await loop.sock_recv(ours, 65536):
                told += part
        finally:
            ours.close()
        if not told:
            raise ExecutorUnavailable(
                f"replica {spec.replica_id}: its shim ended early; see {folder}/shim.err"
            )
        answer: dict[str, Any] = json.loads(told)
        return answer

    def _start_shim(self, folder: Path) -> socket.socket:
        """Start a shim in a session of its own, so that signals to the daemon do not reach it."""
        self._reap()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            with theirs, (folder / "shim.err").open("ab") as errors:
                shim = subprocess.Popen(
                    [sys.executable, "-I", "-S", "-X", "utf8", str(SHIM), str(folder)],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    env={name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ},
                    cwd="/",
                    start_new_session=True,
                )
        except OSError:
            ours.close()
            raise
        self._shims[shim.pid] = shim
        return ours

    def _request(self, spec: ReplicaSpec) -> bytes:
        own = {name: os.environ[name] for name in INHERITED if name in os.environ}
        request = {
            "argv": [*spec.command, *spec.args],
            "cwd": spec.process.cwd or os.getcwd(),
            "env": own | {name: value.reveal() for name, value in spec.env.items()},
            "cpu_seconds": spec.process.cpu_seconds,
            "memory_bytes": spec.process.memory_bytes,
            "log": str(self._log_path(spec.replica_id)),
            "log_cap": self._log_cap,
        }
        return json.dumps(request).encode()

    async def wait(self, handle: ReplicaHandle) -> ReplicaExit:
        """Wait for the end of a replica, whoever launched it. See the port."""
        records = self._records(handle.token)
        claim = records.claim()
        if claim is None:
            return lost("nothing is known of it here")
        await self._until_dead(records, claim.pid)
        self._reap()
        ended = records.ended()
        if ended is None:
            await asyncio.to_thread(records.kill_remains)
            return lost("its shim was killed or the machine restarted, so nobody saw how it ended")
        return exit_of(ended)

    async def _until_dead(self, records: Records, pid: int) -> None:
        """Return when the shim has ended. It wakes us if it can be had, else we look now and then."""
        try:
            descriptor = os.pidfd_open(pid) if sys.platform == "linux" else None
        except OSError:  # gone, or no descriptors left
            descriptor = None
        if descriptor is None:
            while records.is_alive():
                await asyncio.sleep(self._limits.look_s * 10)
            return
        loop, dead = asyncio.get_running_loop(), asyncio.Event()
        try:
            if records.is_alive():  # so the descriptor is the shim's, not that of a later process
                loop.add_reader(descriptor, dead.set)
                await dead.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)

    async def stop(self, handle: ReplicaHandle, grace: timedelta) -> None:
        """Ask the shim to end the replica and its whole group. See the port."""
        records = self._records(handle.token)
        claim = records.claim()
        if claim is None:
            return
        steps = ((signal.SIGTERM, grace.total_seconds()), (signal.SIGUSR1, self._limits.kill_s))
        for number, patience_s in (*steps, (signal.SIGKILL, self._limits.force_s)):
            if number == signal.SIGKILL:
                await asyncio.to_thread(records.kill_remains)
            _signal(records, claim.pid, number)
            with suppress(TimeoutError):
                async with asyncio.timeout(patience_s):
                    return await self._until_dead(records, claim.pid)
        raise ExecutorUnavailable(f"replica {handle.token}: still there after KILL (process {claim.pid})")

    async def remove(self, handle: ReplicaHandle) -> None:
        """Delete the records of a replica; its log stays, compressed. One that still runs is killed first."""
        records = self._records(handle.token)
        if records.is_alive():
            await self.stop(handle, timedelta(0))
        self._reap()
        with suppress(OSError):  # a full disk: it is kept as it is
            await asyncio.to_thread(compress, self._log_path(handle.token))
        doomed = self._state_dir / f".removed-{handle.token}"  # a half-deleted folder must not look like new
        try:
            with suppress(FileNotFoundError):
                records.folder.rename(doomed)
            await asyncio.to_thread(shutil.rmtree, doomed, ignore_errors=True)
        except OSError as exc:
            raise ExecutorUnavailable(f"{records.folder}: {exc}") from exc

    async def owned(self) -> tuple[OwnedReplica, ...]:
        """List the folders of replicas. See the port."""
        try:
            return await asyncio.to_thread(self._owned)
        except OSError as exc:
            raise ExecutorUnavailable(f"{self._state_dir}: {exc}") from exc

    def _owned(self) -> tuple[OwnedReplica, ...]:
        names = sorted(name for name in os.listdir(self._state_dir) if _REPLICA_ID.fullmatch(name))
        found = []
        for name in names:
            records = self._records(name)
            claim = records.claim()
            with suppress(FileNotFoundError):  # removed at this moment
                at = claim.at if claim else records.folder.stat().st_mtime
                found.append(
                    OwnedReplica(
                        replica_id=name,
                        handle=_handle(name),
                        started=bool(records.started() or records.ended()),
                        ended=claim is not None and not records.is_alive(),
                        created_at=datetime.fromtimestamp(at, UTC),
                    )
                )
        return tuple(found)

    async def logs(
        self, replica_id: str, handle: ReplicaHandle | None, *, tail: int | None, follow: bool
    ) -> AsyncIterator[str]:
        """Give the lines of a replica's log. See the port."""
        is_name = _REPLICA_ID.fullmatch(replica_id) is not None
        path = self._log_path(replica_id)
        records = self._records(replica_id)
        if not is_name or not (is_there(path) or records.folder.exists()):
            raise NotFound(f"replica {replica_id}: {NO_LOG}")
        async for line in read_log(path, tail=tail, follow=follow, ended=lambda: not records.is_alive()):
            yield line

    def _records(self, replica_id: str) -> Records:
        return Records(self._state_dir / replica_id)

    def _log_path(self, replica_id: str) -> Path:
        return self._log_dir / f"{replica_id}.log"

    def _reap(self) -> None:
        """Take leave of shims that have ended, so that they do not stay as zombies."""
        for pid in [pid for pid, shim in self._shims.items() if shim.poll() is not None]:
            del self._shims[pid]


def _handle(replica_id: str) -> ReplicaHandle:
    return ReplicaHandle(executor="process", token=replica_id)


def _signal(records: Records, pid: int, number: int) -> None:
    """Signal the shim, and no later process that has got its id."""
    with suppress(ProcessLookupError):
        if sys.platform != "linux":
            if records.is_alive():
                os.kill(pid, number)
            return
        descriptor = os.pidfd_open(pid)
        try:
            if records.is_alive():
                signal.pidfd_send_signal(descriptor, number)
        finally:
            os.close(descriptor)


def _setting(settings: Mapping[str, Any], name: str, least: int) -> int:
    value = settings.get(name)
    value = _SETTINGS[name][0] if value is None else value
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(f"executors.process.{name}: got {value!r}; give a whole number of at least {least}")
    return value


@asynccontextmanager
async def open_executor(
    settings: Mapping[str, Any], context: ExecutorContext
) -> AsyncIterator[ProcessExecutor]:
    """Open the executor. Leaving it stops nothing.

    Raises:
        ConfigError: an unknown setting or a wrong value.
    """
    for name in settings:
        if name not in _SETTINGS:
            raise ConfigError(f"executors.process.{name}: unknown setting; known: {', '.join(_SETTINGS)}")
    executor = ProcessExecutor(
        context,
        log_cap=_setting(settings, "maxLogBytes", 1 << 17),
        launches=_setting(settings, "maxConcurrentLaunches", 1),
    )
    context.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    context.log_dir.mkdir(parents=True, exist_ok=True)
    for half in context.state_dir.glob(".removed-*"):
        await asyncio.to_thread(shutil.rmtree, half, ignore_errors=True)
    try:
        yield executor
    finally:
        executor.close()


EXECUTOR = ExecutorType(
    open=open_executor,
    summary="local processes, each under a small shim that outlives the daemon",
    needs_image=False,
    settings=_SETTINGS,
    check=check,
    notes=notes,
)
