"""The looks that go on during a soak: samples, workers from outside, the daemon's word, and the line of progress."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from typing import Any, Final

from scaler.errors import DaemonUnreachable
from scaler.soak import follow, watch
from scaler.soak.eyes import Worker, crowds
from scaler.soak.hands import Hands, Stage
from scaler.soak.notes import Returned, Sample

SAMPLE_S: Final = 1.0
EYES_S: Final = 0.4
GIVE_EVERY: Final = 2
"""Looks at workers from one giving back of messages to the next."""
FOLLOW_S: Final = 3.0
INSPECT_S: Final = 10.0
TELL_S: Final = 2.0


class Looks:
    """Looks until it is closed."""

    def __init__(self, stage: Stage, hands: Hands, closed: asyncio.Event, say: Callable[[str], None]) -> None:
        self._on = stage
        self._hands = hands
        self._closed = closed
        self._say = say
        self._workers: int | None = None
        self._told = 0

    def all(self) -> Iterator[Coroutine[Any, Any, None]]:
        """Give every look as a coroutine to run."""
        yield self._sampling()
        yield self._seeing()
        yield self._following()
        yield self._inspecting()
        yield self._telling()

    async def _rest(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closed.wait()
        return self._closed.is_set()

    # --- from outside ---------------------------------------------------------------------------------------

    async def _sampling(self) -> None:
        while not await self._rest(SAMPLE_S):
            self._on.notes.samples.append(await asyncio.to_thread(self._sample))
            self._look_after_daemon()

    def _look_after_daemon(self) -> None:
        daemon = self._on.daemon
        if not daemon.is_alive and not self._hands.is_down and not self._on.notes.mishaps:
            at = f"at {self._on.now():.0f} s the daemon ended by itself"
            self._on.notes.mishaps.append(f"{at}, with code {daemon.exit_code}: {daemon.tail(3)}")

    def _sample(self) -> Sample:
        is_up = self._on.daemon.is_alive
        taken, files = (
            watch.process(self._on.daemon.pid if is_up else None),
            watch.disk(self._on.daemon.state_dir),
        )
        waiting = done = 0
        for job in self._on.notes.plan.jobs:
            with suppress(FileNotFoundError):
                depth = self._on.spools[job].depth()
                waiting, done = waiting + depth.ready + depth.taken, done + depth.done
        return Sample(
            at_s=self._on.now(),
            rss=None if taken is None else taken.rss,
            fds=None if taken is None else taken.fds,
            threads=None if taken is None else taken.threads,
            db=files.db,
            wal=files.wal,
            logs=files.logs,
            other=files.other,
            waiting=waiting,
            done=done,
            workers=self._workers,
        )

    async def _seeing(self) -> None:
        before: dict[str, Worker] = {}
        rounds = 0
        while not await self._rest(EYES_S):
            now = await self._on.eyes.look()
            self._workers = None if now is None else len(now)
            if now is None:  # nothing is known, which is neither dead nor alive
                before = {}
                continue
            self._on.notes.crowds += crowds(self._on.now(), before, now, self._on.notes.plan.jobs)
            before = now
            rounds += 1
            if rounds % GIVE_EVERY == 0:
                await self._give_back()

    async def _give_back(self) -> None:
        """Give messages of dead workers back. Who has one is listed first, who lives is asked then."""
        jobs = self._on.notes.plan.jobs
        held = {job: self._on.spools[job].holders() for job in jobs}
        if not any(held.values()):
            return
        first, second = await self._on.eyes.look(), await self._on.eyes.look()
        if first is None or second is None:
            return
        for job, holders in held.items():
            dead = (
                holders - first.keys() - second.keys()
            )  # a process that becomes another one is unseen for a moment
            with suppress(FileNotFoundError):
                for message, replica in self._on.spools[job].give_back(dead) if dead else ():
                    one = Returned(at_s=self._on.now(), job=job, message=message, replica=replica)
                    self._on.notes.returned.append(one)

    # --- the daemon's word ----------------------------------------------------------------------------------

    async def _following(self) -> None:
        while not await self._rest(FOLLOW_S):
            with suppress(DaemonUnreachable):
                await asyncio.to_thread(follow.look, self._on.api, self._on.notes)

    async def _inspecting(self) -> None:
        while not await self._rest(INSPECT_S):
            with suppress(DaemonUnreachable):
                await asyncio.to_thread(self.inspect)

    def inspect(self) -> None:
        """Ask the daemon which promises are broken, and how late its ticks are.

        Raises:
            DaemonUnreachable: none answers.
        """
        notes, found = self._on.notes, self._on.api.inspection()
        notes.looks += 1
        notes.silent += bool(found["silentExecutors"])
        for one in found["violations"]:
            notes.broken.setdefault(f"{one['promise']} {one['subject']}: {one['message']}", self._on.now())
        notes.lateness.append((self._on.now(), self._on.api.health()["latenessSeconds"]["p99"]))

    # --- for people -----------------------------------------------------------------------------------------

    async def _telling(self) -> None:
        while not await self._rest(TELL_S):
            self._tell()

    def _tell(self) -> None:
        notes = self._on.notes
        for done in notes.acts[self._told :]:
            words = " ".join(filter(None, (done.act.deed.value, done.subject, done.note)))
            self._say(f"{done.at_s:6.0f} s  {words}")
        self._told = len(notes.acts)
        if not notes.samples:
            return
        last, of = notes.samples[-1], notes.plan.seconds
        sent = sum(len(send.names) for send in notes.sent)
        memory = "down" if last.rss is None else f"{last.rss / (1 << 20):.0f} MiB, {last.fds} fds"
        workers = "?" if last.workers is None else last.workers
        self._say(
            f"{last.at_s:6.0f} s of {of:.0f}  sent {sent}, done {last.done}, waiting {last.waiting}, "
            f"workers {workers}, daemon {memory}; broken promises: {len(notes.broken) + len(notes.mishaps)}"
        )
