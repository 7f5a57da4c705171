"""The daemon's composition root: builds the concrete things and joins them."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from scaler import __version__
from scaler.api.address import socket_path
from scaler.api.app import build_app
from scaler.api.serve import TcpListener, serve
from scaler.bounds import engine_limits
from scaler.config.document import LoadedJob
from scaler.config.load import LoadResult, load_paths
from scaler.config.merge import Merged, merge
from scaler.config.settings import Settings, TraceSettings, load_settings
from scaler.config.watch import fingerprint, watch
from scaler.engine.audit import Audit
from scaler.engine.clock import SystemClock
from scaler.engine.crew import Crew
from scaler.engine.memory import Memory
from scaler.engine.retention import Keeper
from scaler.engine.roster import Roster
from scaler.engine.sessions import Sessions
from scaler.engine.supervisor import EnginePorts, Supervisor
from scaler.errors import ConfigError, ScalerError, StoreError
from scaler.model.audit import BY_DAEMON, AuditAction
from scaler.model.job import Job
from scaler.observability.logs import configure_logs
from scaler.plugins import EXECUTORS
from scaler.ports.executor import Executor, ExecutorContext
from scaler.ports.store import Store
from scaler.ports.trace import Recorder, Unrecorded
from scaler.store.log_shelf import FolderOfLogs
from scaler.store.opening import Footing
from scaler.store.sqlite import open_store
from scaler.trace.recorder import TraceFile, open_recorder
from scaler.turn import Ending, Standby, take_turn
from scaler.wire.checks import image_faults
from scaler.wire.rules import resolve_rule

log = structlog.get_logger("scaler")

FOOTING_EVERY_S = 1.0
PUT_AT_ONCE = 100
"""Jobs that are taken up together, so that their records share commits."""
BY_SIGNAL = "signal"

Results = AsyncIterator[LoadResult]
"""What the job files hold, now and whenever they change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonOptions:
    """What the command line says. `state_dir`, `record` (a trace file) and `drain` None: as the settings say."""

    paths: tuple[Path, ...]
    settings: Path | None = None
    state_dir: Path | None = None
    record: Path | None = None
    standby: bool = False
    drain: bool | None = None


# --- the daemon -------------------------------------------------------------------------------------------


async def run(options: DaemonOptions) -> int:
    """Run until TERM, INT or HUP; give the exit code. A standby waits for its turn first.

    Raises:
        ConfigError: settings are wrong, or no job file holds a job without a fault.
        StateInUse: another daemon works on the state directory, and this one is no standby.
        ScalerError: the state directory cannot be read.
    """
    settings = await asyncio.to_thread(load_settings, options.settings, env=os.environ)
    if options.state_dir is not None:
        settings = replace(settings, state_dir=options.state_dir.absolute())
    if options.record is not None:
        kept = settings.trace or TraceSettings(file=options.record)
        settings = replace(settings, trace=replace(kept, file=options.record.absolute()))
    if options.drain is not None:
        settings = replace(settings, shutdown=replace(settings.shutdown, drain=options.drain))
    configure_logs(level=settings.log.level, form=settings.log.format)
    results = watch(
        options.paths,
        asyncio.sleep,
        env=os.environ,
        executor_settings=settings.executors,
        known=await asyncio.to_thread(_first_look, options, settings),
    )
    _make_folder(settings.state_dir)
    ending = Ending()
    ending.listen()
    async with AsyncExitStack() as stack:
        turn = stack.enter_context(ExitStack())
        if not await take_turn(_database(settings), turn, ending, _standby(options, settings)):
            return 0
        supervisor, store = await _build(settings, stack)
        audit = Audit(store, SystemClock())
        await audit.record(AuditAction.DAEMON_STARTED, by=BY_DAEMON, detail=f"release {__version__}")
        try:
            await _serve(results, settings, supervisor, store, ending)
        except* ScalerError as group:
            raise _first(group) from group
        await audit.record(AuditAction.DAEMON_STOPPED, by=BY_DAEMON)
    return 0


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        there = path.exists() and not path.is_dir()
        hint = (
            f"{'move that file away, or ' if there else ''}give a state directory that this user can write to"
        )
        raise StoreError(f"{path}: {exc.strerror}; {hint}") from exc


async def _build(settings: Settings, stack: AsyncExitStack) -> tuple[Supervisor, Store]:
    """Open store, sessions and executors, in the order in which they are needed."""
    clock = SystemClock()
    recorder = _recorder(settings, stack)
    store = await stack.enter_async_context(open_store(_database(settings), is_locked=True))
    instance = await store.recall("instance")
    if instance is None:
        instance = secrets.token_hex(6)
        await store.remember("instance", instance)
    sessions = await stack.enter_async_context(Sessions())
    opener = _Executors(settings, instance)
    crew = await stack.enter_async_context(Crew(opener.open, sessions))
    supervisor = Supervisor(
        EnginePorts(
            clock=clock,
            store=store,
            crew=crew,
            sessions=sessions,
            resolve=resolve_rule,
            instance=instance,
            wall=SystemClock.wall,
            check=opener.check,
            limits=engine_limits(settings),
            recorder=recorder,
        )
    )
    return supervisor, store


def _recorder(settings: Settings, stack: AsyncExitStack) -> Recorder:
    """Begin the trace, if there is to be one; it is closed after everything that writes to it."""
    trace = settings.trace
    if trace is None:
        return Unrecorded()
    file = TraceFile(path=trace.file, max_bytes=trace.max_bytes, keep=trace.keep)
    return stack.enter_context(open_recorder(file, version=__version__, now=SystemClock().now))


class _Executors:
    """Opens executors by name with their settings and a place of their own."""

    def __init__(self, settings: Settings, instance: str) -> None:
        self._settings = settings
        self._instance = instance

    def open(self, name: str) -> AbstractAsyncContextManager[Executor]:
        place = self._settings.state_dir / "executors" / name
        context = ExecutorContext(
            instance=self._instance, state_dir=place, log_dir=log_dir(self._settings.state_dir)
        )
        _make_folder(place)
        _make_folder(context.log_dir)
        return EXECUTORS.load(name).open(self._settings.executors.get(name, {}), context)

    def check(self, job: Job) -> tuple[tuple[str, str], ...]:
        """List what the job's executor could not run of it; see `ExecutorType.check`."""
        kind = EXECUTORS.load(job.executor)
        faults = kind.check(job, self._settings.executors.get(job.executor, {}))
        return (*faults, *image_faults(job.template)) if kind.needs_image else faults


def log_dir(state_dir: Path) -> Path:
    """Name the folder where the logs of replicas are kept."""
    return state_dir / "logs"


async def _serve(
    results: Results, settings: Settings, supervisor: Supervisor, store: Store, ending: Ending
) -> None:
    """Run the engine, the API and the file watch until a signal comes or one of them fails.

    The jobs are there before the API answers, so that nobody who asks early is told that there are none.
    """
    listen = settings.listen
    app = build_app(
        supervisor,
        store,
        clock_now=SystemClock().now,
        version=__version__,
        tokens=listen.tokens if listen else (),
    )
    tcp = _tcp(settings)
    async with asyncio.TaskGroup() as tasks:
        engine = tasks.create_task(supervisor.serve(), name="engine")
        side = [
            tasks.create_task(_keeper(settings, store).run(), name="daemon/keeper"),
            tasks.create_task(_keep_footing(settings), name="daemon/footing"),
        ]
        ending.then(_ender(settings, supervisor, tasks), supervisor.close)
        applied = asyncio.Event()
        memory = Memory(SystemClock())
        files = _follow_files(results, supervisor, store, memory, applied)
        side.append(tasks.create_task(memory.run(), name="daemon/memory"))
        side.append(tasks.create_task(files, name="files"))
        ready = tasks.create_task(applied.wait(), name="files/ready")
        await asyncio.wait([engine, ready], return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if not engine.done():
            async with serve(app, socket_path(settings.state_dir), tcp=tcp) as urls:
                log.info("daemon.ready", state_dir=str(settings.state_dir), listen=list(urls) or None)
                await asyncio.wait([engine])
        for task in side:
            task.cancel()
    log.info("daemon.stopped")


def _tcp(settings: Settings) -> TcpListener | None:
    listen = settings.listen
    return TcpListener(host=listen.host, port=listen.port) if listen else None


def _standby(options: DaemonOptions, settings: Settings) -> Standby | None:
    """Say how to wait while another daemon works; None to refuse to."""
    if not options.standby:
        return None
    tokens = settings.listen.tokens if settings.listen else ()
    return Standby(state_dir=settings.state_dir, tcp=_tcp(settings), tokens=tokens)


def _ender(settings: Settings, supervisor: Supervisor, tasks: asyncio.TaskGroup) -> Callable[[], None]:
    """Give what the first signal does: drain, or close and leave replicas running."""
    shutdown = settings.shutdown
    if not shutdown.drain:
        return supervisor.close
    timeout_s = shutdown.drain_timeout.total_seconds() if shutdown.drain_timeout else None

    def drain() -> None:
        tasks.create_task(supervisor.drain(by=BY_SIGNAL, timeout_s=timeout_s), name="daemon/drain")

    return drain


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Give the first plain error of a group of groups."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _database(settings: Settings) -> Path:
    return settings.state_dir / "scaler.db"


def _keeper(settings: Settings, store: Store) -> Keeper:
    shelf = FolderOfLogs(log_dir(settings.state_dir))
    return Keeper(store=store, clock=SystemClock(), shelf=shelf, policy=settings.history)


async def _keep_footing(settings: Settings) -> None:
    """End the daemon, by a StoreError, when the files of its records are taken away."""
    footing = Footing(_database(settings))
    while True:
        await asyncio.sleep(FOOTING_EVERY_S)
        await asyncio.to_thread(footing.check)


# --- job files --------------------------------------------------------------------------------------------


def _first_look(options: DaemonOptions, settings: Settings) -> tuple[str, LoadResult]:
    """Read the job files before anything is opened, and tell what they were read from. Blocks.

    Raises:
        ConfigError: none of them holds a job without a fault.
    """
    seen = fingerprint([os.fspath(path) for path in options.paths])
    first = load_paths(options.paths, env=os.environ, executor_settings=settings.executors)
    if first.faults and not first.jobs:
        raise ConfigError("\n".join(str(fault) for fault in first.faults))
    return seen, first


async def _follow_files(
    results: Results,
    supervisor: Supervisor,
    store: Store,
    memory: Memory,
    applied: asyncio.Event,
) -> None:
    """Once the engine is ready, apply what the files hold now, say so, and apply every change of them."""
    await supervisor.ready()
    running: dict[str, LoadedJob] = {}
    roster = Roster(store, SystemClock())
    told: frozenset[str] = frozenset()
    async for result in results:
        merged = merge(running, result)
        told = _tell(merged, result, told)
        before, running = running, await _apply(running, merged, supervisor, roster)
        memory.changed(_differences(before, running), jobs=len(running))
        await roster.settle(running, is_whole=not merged.faults)
        supervisor.take_up()
        applied.set()


def _differences(before: dict[str, LoadedJob], after: dict[str, LoadedJob]) -> int:
    """Count the jobs that were added, replaced or removed."""
    return sum(before.get(name) is not after.get(name) for name in before.keys() | after.keys())


def _tell(merged: Merged, result: LoadResult, told: frozenset[str]) -> frozenset[str]:
    """Log each fault and each warning once, and the end of all faults; give what is told now."""
    faults = {line: None for text in merged.faults.values() for line in text.splitlines()}
    for line in faults:
        if line not in told:
            log.error("file.faulty", fault=line)
    warnings = [str(warning) for warning in result.warnings]
    for text in warnings:
        if text not in told:
            log.warning("file.odd", warning=text)
    if told and not faults and not warnings:
        log.info("file.repaired")
    return frozenset([*faults, *warnings])


async def _apply(
    running: dict[str, LoadedJob], merged: Merged, supervisor: Supervisor, roster: Roster
) -> dict[str, LoadedJob]:
    faults = dict(merged.faults)
    for name in running.keys() - merged.jobs.keys():
        await supervisor.delete(name)
    applied: dict[str, LoadedJob] = {}

    async def put(name: str, loaded: LoadedJob) -> None:
        try:
            await supervisor.put(await roster.number(loaded.job, str(loaded.place)))
        except ConfigError as exc:
            faults[name] = f"{loaded.place}: {exc}"
            log.error("file.faulty", fault=faults[name])
        else:
            applied[name] = loaded

    changed: list[tuple[str, LoadedJob]] = []
    for name, loaded in merged.jobs.items():
        old = running.get(name)
        if old is not None and old.job == loaded.job:
            applied[name] = old
        else:
            changed.append((name, loaded))
    for first in range(0, len(changed), PUT_AT_ONCE):
        async with asyncio.TaskGroup() as tasks:
            for name, loaded in changed[first : first + PUT_AT_ONCE]:
                tasks.create_task(put(name, loaded), name=f"daemon/put/{name}")
    supervisor.file_faults(faults)
    return applied
