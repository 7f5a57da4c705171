"""Does what the plan says: kills, hides, edits, starts, stops, and puts right again what it can."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from scaler.api.address import socket_address, socket_path
from scaler.errors import DaemonUnreachable, ScalerError
from scaler.rig.bare_engine import BareEngine
from scaler.rig.daemon import Daemon, RigError
from scaler.rig.spool import Spool
from scaler.soak.eyes import Eyes, Worker
from scaler.soak.follow import SoakApi
from scaler.soak.jobs import Ground, event_job
from scaler.soak.notes import Done, Notes
from scaler.soak.plan import Act, Deed

UP_S: Final = 120.0
LOOK_S: Final = 0.1
_HANGING: Final = (
    b"GET /scaler/jobs HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /scaler/executions?limit=200 HTTP/1.1\r\nHo",
    b"POST /scaler/jobs/none/reset HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{",
)
"""What clients say that hang up before the answer: a whole question, half of one, one whose body never comes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """All that hands can reach."""

    daemon: Daemon
    api: SoakApi
    spools: Mapping[str, Spool]
    ground: Ground
    engine: BareEngine | None
    eyes: Eyes
    notes: Notes
    now: Callable[[], float]
    rest: Callable[[float], Awaitable[object]]
    random: Random


class Hands:
    """Carries out deeds, one of a lane at a time."""

    def __init__(self, stage: Stage) -> None:
        self._on = stage
        self.is_down = False
        """Whether the daemon is down because it was killed."""

    async def do(self, act: Act) -> None:
        """Carry out one deed and note it; what the daemon does not answer to is noted as that."""
        work: Mapping[Deed, Callable[[Act], Awaitable[Done | None]]] = {
            Deed.START: self._start,
            Deed.STOP: self._stop,
            Deed.RAISE: self._resize,
            Deed.LOWER: self._resize,
            Deed.SPOIL: self._spoil,
            Deed.MEND: self._resize,
            Deed.REMOVE: self._remove,
            Deed.RESTORE: self._resize,
            Deed.SUSPEND: self._suspend,
            Deed.RESUME: self._suspend,
            Deed.KILL_DAEMON: self._kill_daemon,
            Deed.PAUSE_DAEMON: self._pause_daemon,
            Deed.KILL_WORKER: self._kill_worker,
            Deed.KILL_SHIM: self._kill_worker,
            Deed.KILL_CONTAINER: self._kill_worker,
            Deed.REMOVE_CONTAINER: self._kill_worker,
            Deed.HIDE_SOURCE: self._hide,
            Deed.HANG_UP: self._hang_up,
        }
        at = self._on.now()
        try:
            done = await work[act.deed](act)
        except DaemonUnreachable:
            done = Done(act=act, at_s=at, note="the daemon did not answer")
        except ScalerError as exc:
            done = Done(act=act, at_s=at, note=str(exc))
        if done is not None:
            self._on.notes.acts.append(done)

    # --- people ---------------------------------------------------------------------------------------------

    async def _start(self, act: Act) -> Done:
        at = self._on.now()
        started = await asyncio.to_thread(self._on.api.start, act.job)
        return Done(act=act, at_s=at, subject=str(started["name"]))

    async def _stop(self, act: Act) -> Done | None:
        """Stop one that lives; it is noted before, since the answer may be lost and the deed done."""
        living = sorted(
            ran.name for ran in self._on.notes.ran.values() if ran.job == act.job and not ran.is_final
        )
        if not living:
            return None
        chosen = self._on.random.choice(living)
        self._on.notes.acts.append(Done(act=act, at_s=self._on.now(), subject=chosen))
        with suppress(ScalerError):
            await asyncio.to_thread(self._on.api.stop, act.job, chosen)
        return None

    async def _suspend(self, act: Act) -> Done:
        """Suspend or resume. The time that is noted lies within the suspension: after the one, before the other."""
        at = self._on.now()
        if act.deed is Deed.RESUME:
            await asyncio.to_thread(self._on.api.resume, act.job)
            return Done(act=act, at_s=at, subject=act.job)
        await asyncio.to_thread(self._on.api.suspend, act.job)
        return Done(act=act, at_s=self._on.now(), subject=act.job)

    # --- files ----------------------------------------------------------------------------------------------

    async def _resize(self, act: Act) -> Done:
        """Write the file with another maximum, or with its own one."""
        kind = self._on.notes.plan.jobs[act.job]
        most = {Deed.RAISE: kind.most * 2, Deed.LOWER: 1}.get(act.deed, kind.most)
        self._on.notes.maxima.append((self._on.now(), act.job, most))
        self._on.daemon.write(event_job(act.job, kind, self._on.ground, most=most))
        return Done(act=act, at_s=self._on.now(), subject=act.job, note=f"maxExecutions {most}")

    async def _spoil(self, act: Act) -> Done:
        file = self._on.daemon.jobs / f"{act.job}.yaml"
        fresh = file.with_name(f".{file.name}")
        fresh.write_text("name: [never closed\n", encoding="ascii")
        fresh.rename(file)
        return Done(act=act, at_s=self._on.now(), subject=act.job)

    async def _remove(self, act: Act) -> Done:
        (self._on.daemon.jobs / f"{act.job}.yaml").unlink(missing_ok=True)
        return Done(act=act, at_s=self._on.now(), subject=act.job)

    # --- the daemon -----------------------------------------------------------------------------------------

    async def _kill_daemon(self, act: Act) -> Done:
        at = self._on.now()
        self.is_down = True
        try:
            await asyncio.to_thread(self._on.daemon.kill)
            await self._on.rest(act.lasts_s)
            await self.bring_up()
        finally:
            self.is_down = False
        return Done(act=act, at_s=at, note=f"answers again after {self._on.now() - at:.1f} s")

    async def bring_up(self) -> None:
        """Start the daemon and wait until it answers; that it does not is a mishap."""
        started = self._on.now()
        self._on.notes.starts.append(started)
        self._on.daemon.start()  # in this thread, for the daemon ends with the one that starts it
        try:
            await asyncio.to_thread(
                self._on.daemon.until, self._answers, timeout_s=UP_S, what="an answer", every_s=LOOK_S
            )
        except RigError as exc:
            self._on.notes.mishaps.append(f"at {started:.0f} s it did not come up: {exc}")

    def _answers(self) -> Any:
        with suppress(DaemonUnreachable):
            return self._on.api.health()
        return None

    async def _pause_daemon(self, act: Act) -> Done:
        pid, at = self._on.daemon.pid, self._on.now()
        os.kill(pid, signal.SIGSTOP)
        try:
            await self._on.rest(act.lasts_s)
        finally:
            os.kill(pid, signal.SIGCONT)
        return Done(act=act, at_s=at, note=f"for {self._on.now() - at:.1f} s")

    # --- workers --------------------------------------------------------------------------------------------

    async def _kill_worker(self, act: Act) -> Done | None:
        """Kill one that lives. It is noted before, so that what follows from it is never unexplained."""
        in_container = act.deed in (Deed.KILL_CONTAINER, Deed.REMOVE_CONTAINER)
        living = await self._on.eyes.look() or {}
        fit = sorted(
            name
            for name, worker in living.items()
            if worker.is_running and bool(worker.container) == in_container
        )
        if not fit:
            return None
        worker = living[self._on.random.choice(fit)]
        self._on.notes.acts.append(Done(act=act, at_s=self._on.now(), subject=worker.replica))
        with suppress(OSError, RigError):  # it ended meanwhile
            await self._end(act.deed, worker)
        return None

    async def _end(self, deed: Deed, worker: Worker) -> None:
        if worker.container and self._on.engine is not None:
            place = f"/containers/{worker.container}"
            if deed is Deed.KILL_CONTAINER:
                await self._on.engine.call("POST", f"{place}/kill")
            else:
                await self._on.engine.call("DELETE", place, force="true")
            return
        shim = await asyncio.to_thread(self._on.eyes.shim, worker) if deed is Deed.KILL_SHIM else None
        for pid in worker.pids if shim is None else (shim,):
            os.kill(pid, signal.SIGKILL)

    async def clear(self) -> None:
        """End every worker that still lives and remove every container: nothing of a soak stays."""
        for worker in (await asyncio.to_thread(self._on.eyes.processes)).values():
            for pid in worker.pids:
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        with suppress(RigError):
            for one in await self._on.eyes.containers():
                if self._on.engine is not None:
                    await self._on.engine.call("DELETE", f"/containers/{one['Id']}", force="true", v="true")

    # --- sources and clients --------------------------------------------------------------------------------

    async def _hide(self, act: Act) -> Done:
        place = self._on.spools[act.job].folder / "ready"
        away = place.with_name("ready.away")
        at = self._on.now()
        place.rename(away)
        try:
            await self._on.rest(act.lasts_s)
        finally:
            away.rename(place)
        return Done(act=act, at_s=at, subject=act.job, note=f"for {self._on.now() - at:.1f} s")

    async def _hang_up(self, act: Act) -> Done:
        at = self._on.now()
        await asyncio.to_thread(self._hang_up_all)
        return Done(act=act, at_s=at, note=f"{len(_HANGING)} clients")

    def _hang_up_all(self) -> None:
        for words in _HANGING:
            with suppress(OSError), socket.socket(socket.AF_UNIX) as client:
                client.settimeout(2)
                with socket_address(socket_path(self._on.daemon.state_dir)) as address:
                    client.connect(address)
                client.sendall(words)
