"""Runs a soak: the load and the faults of a plan, looks at everything all along, and what is done at its end."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from scaler.engine.clock import SystemClock
from scaler.errors import DaemonUnreachable, ScalerError
from scaler.rig.bare_engine import BareEngine, bare_engine
from scaler.rig.daemon import Daemon, RigError
from scaler.rig.daemon import Plan as DaemonPlan
from scaler.rig.spool import Spool
from scaler.soak import follow
from scaler.soak.eyes import Eyes
from scaler.soak.finish import Finish
from scaler.soak.follow import SoakApi
from scaler.soak.hands import Hands, Stage
from scaler.soak.jobs import Ground, event_job, manual_job, scheduled_job, settings
from scaler.soak.looks import Looks
from scaler.soak.notes import Notes
from scaler.soak.plan import Lane, Plan, Send

FEED_S: Final = 0.2
"""Pause between two tries to send to a queue that is away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line says.

    Attributes:
        plan: what to send and do.
        connect: makes a client of the daemon on a state directory.
        say: takes a line of progress.
        keep: folder to which the daemon's log is copied at the end.
        stop: set to end early.
    """

    plan: Plan
    connect: Callable[[Path], SoakApi]
    say: Callable[[str], None]
    keep: Path
    stop: asyncio.Event = field(default_factory=asyncio.Event)


async def soak(options: Options) -> Notes:
    """Run it and give all that was seen.

    Raises:
        RigError: the daemon or the engine could not be had to begin with.
    """
    with tempfile.TemporaryDirectory(prefix="scaler-soak-", dir=_room(), ignore_cleanup_errors=True) as name:
        folder = Path(name)
        async with _engine(options.plan) as engine:
            image = None if engine is None else await engine.image(None)
            ground = Ground(folder=folder, mark=secrets.token_hex(6), image=image)
            run = _Run(options, ground, engine)
            try:
                return await run.play()
            finally:
                await run.close()


def _room() -> Path:
    """Give the folder for temporary ones, as the engine calls it: without links."""
    return Path(tempfile.gettempdir()).resolve()


@asynccontextmanager
async def _engine(plan: Plan) -> AsyncIterator[BareEngine | None]:
    if "docker" not in plan.executors:
        yield None
        return
    async with bare_engine() as engine:
        yield engine


class _Run:
    """One soak, from its set-up to its end."""

    def __init__(self, options: Options, ground: Ground, engine: BareEngine | None) -> None:
        clock, plan = SystemClock(), options.plan
        begun = clock.monotonic()
        self._options = options
        self._clock = clock
        self._over = asyncio.Event()
        self._closed = asyncio.Event()
        self._ground = ground
        now = clock.now()
        self.notes = Notes(plan=plan, begun=now.strftime("%Y-%m-%d %H:%M:%SZ"), begun_at=now.timestamp())
        spools = {job: Spool(ground.queue(job)) for job in (*plan.jobs, *plan.manual, *plan.scheduled)}
        self._api = options.connect(ground.folder / "daemon" / "state")
        self._daemon = Daemon(
            DaemonPlan(folder=ground.folder / "daemon", settings=settings(ground)), options.connect
        )
        self._on = Stage(
            daemon=self._daemon,
            api=self._api,
            spools=spools,
            ground=ground,
            engine=engine,
            eyes=Eyes(ground, engine),
            notes=self.notes,
            now=lambda: clock.monotonic() - begun,
            rest=self._rest,
            random=Random(plan.seed),
        )
        self._hands = Hands(self._on)
        self._looks = Looks(self._on, self._hands, self._closed, options.say)

    async def play(self) -> Notes:
        """Start the daemon, load it, judge nothing, and end it in peace."""
        self._write_jobs()
        await self._hands.bring_up()
        if self.notes.mishaps:
            raise RigError(self.notes.mishaps[0])
        self._options.say(
            f"{self.notes.plan.seconds / 60:g} minutes, seed {self.notes.plan.seed}, "
            f"{' and '.join(self.notes.plan.executors)}: {len(self._on.spools)} jobs"
        )
        async with asyncio.TaskGroup() as looks:
            for look in self._looks.all():
                looks.create_task(look, name="soak-look")
            try:
                await self._load()
                await self._finish()
            finally:
                self._closed.set()
        await self._end()
        return self.notes

    async def close(self) -> None:
        """End the daemon and all workers, whatever happened; leave the log of the daemon."""
        await asyncio.to_thread(self._daemon.stop)
        await self._hands.clear()
        with suppress(OSError):
            self._options.keep.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self._daemon.log, self._options.keep / "soak-daemon.log")

    def _write_jobs(self) -> None:
        plan, ground = self.notes.plan, self._ground
        for job, kind in plan.jobs.items():
            self.notes.maxima.append((0.0, job, kind.most))
            self._daemon.write(event_job(job, kind, ground))
        self._daemon.write(*(manual_job(job, ground) for job in plan.manual))
        self._daemon.write(*(scheduled_job(job, ground) for job in plan.scheduled))

    # --- the load -------------------------------------------------------------------------------------------

    async def _load(self) -> None:
        async with asyncio.TaskGroup() as load:
            load.create_task(self._time(), name="soak-time")
            load.create_task(self._feed(), name="soak-feed")
            for lane in Lane:
                load.create_task(self._lane(lane), name=f"soak-{lane}")
        self.notes.load_until = self._on.now()

    async def _time(self) -> None:
        """End the load when its time is over, when somebody asks for it, or when there is no daemon any more."""
        while self._on.now() < self.notes.plan.seconds:
            with suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    await self._options.stop.wait()
                self.notes.interrupted = True
                break
            if self.notes.mishaps:
                break
        self._over.set()

    async def _rest(self, seconds: float) -> bool:
        """Wait; give whether the load is over, which ends every wait."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, seconds)):
                await self._over.wait()
        return self._over.is_set()

    async def _feed(self) -> None:
        late: list[Send] = []
        for send in self.notes.plan.sends:
            while late or self._on.now() < send.at_s:
                late = [one for one in late if not self._sent(one)]
                if await self._rest(min(FEED_S, max(0.0, send.at_s - self._on.now())) or FEED_S):
                    return
                if self._on.now() >= send.at_s:
                    break
            if not self._sent(send):
                late.append(send)

    def _sent(self, send: Send) -> bool:
        """Send; not if the queue is away, and then nothing of it."""
        spool = self._on.spools[send.job]
        if not (spool.folder / "ready").is_dir():
            return False
        spool.put(
            send.names,
            think_s=send.think_s,
            poison=send.poison,
            fails=send.fails,
            hangs=send.hangs,
            noise=send.noise,
        )
        self.notes.sent.append(send)
        return True

    async def _lane(self, lane: Lane) -> None:
        for act in self.notes.plan.acts:
            if act.lane is lane:
                if await self._rest(act.at_s - self._on.now()):
                    return
                await self._hands.do(act)

    # --- its end --------------------------------------------------------------------------------------------

    async def _finish(self) -> None:
        """Put right what deeds have left, and let everything drain; somebody who ended it early does not wait."""
        if self._daemon.is_alive and not self.notes.interrupted:
            await Finish(self._on, self._options.stop, self._options.say).drain()
        with suppress(DaemonUnreachable):
            await asyncio.to_thread(self._looks.inspect)
            await asyncio.to_thread(follow.look, self._api, self.notes)

    async def _end(self) -> None:
        was_alive = self._daemon.is_alive
        await asyncio.to_thread(self._daemon.stop)
        if was_alive and self._daemon.exit_code != 0:
            self.notes.mishaps.append(f"asked to end, the daemon ended with code {self._daemon.exit_code}")
        for job, spool in self._on.spools.items():
            if job in self.notes.plan.jobs:
                names = spool.names()
                self.notes.places[job] = Counter(names)
                self.notes.done[job] = set(os.listdir(spool.folder / "done"))
                self.notes.journal += [(w, r, m) for w, r, m in spool.journal()]
        living = await self._on.eyes.look()
        self.notes.left = [f"{name} still works" for name in living or {}]
        with suppress(ScalerError):
            self.notes.left += [
                f"container {one['Names'][0]} is there" for one in await self._on.eyes.containers()
            ]
        self.notes.ended = self._on.now()
