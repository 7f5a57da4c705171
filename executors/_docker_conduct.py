"""Brings one replica of several containers from its first start to its end, by what the engine tells.

It needs nothing but the engine, the plan on the holder and the note of it, so a daemon that takes over goes on
where the last one was. Launching is not its business: every container has been created before.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiodocker import Docker, DockerError

from executors._docker_claim import look
from executors._docker_errors import engine_call
from executors._docker_exit import vanished
from executors._docker_members import Members, find_members, stop_all
from executors._docker_notes import Notes
from executors._docker_plan import Plan, Start, Verdict, decide, exit_by
from executors._docker_probes import address_of, ask, watch_container
from executors._docker_settings import DockerSettings, Limits
from executors._docker_watch import Watcher
from scaler.errors import ExecutorUnavailable
from scaler.model.replica import ReplicaExit

_ASK_AGAIN_S = 1.0
UNKNOWN = vanished(was_seen=False)
FORMER_S = 1.0
"""What a former process asked for just before it was killed may still be under way in the engine: a start that comes
after its start has ended would run a container twice. So one looks again after a while."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConductPorts:
    """What every conductor of one executor shares."""

    client: Docker
    watcher: Watcher
    notes: Notes
    settings: DockerSettings
    limits: Limits
    instance: str


class Conductor:
    """Conducts one replica. `run` ends with its exit; cancelling it stops nothing.

    `is_ours` says that this process launched it, so that nobody else's calls are under way.
    """

    def __init__(self, replica_id: str, ports: ConductPorts, *, is_ours: bool) -> None:
        self._is_ours = is_ours
        self._id = replica_id
        self._ports = ports
        self._stop = asyncio.Event()
        self._waits: dict[str, asyncio.Task[ReplicaExit]] = {}
        self._probes: dict[str, asyncio.Task[Verdict | None]] = {}
        self._holder: asyncio.Task[ReplicaExit] | None = None

    def stop(self) -> None:
        """Start nothing more. It must have been noted before."""
        self._stop.set()

    async def run(self) -> ReplicaExit:
        """Start what is to start, wait, judge, end the rest."""
        while True:
            try:
                return await self._run()
            except ExecutorUnavailable:
                await asyncio.sleep(_ASK_AGAIN_S)

    async def _run(self) -> ReplicaExit:
        members = await self._look()
        if not self._is_ours and any(one.is_unstarted for one in members.named.values()):
            await asyncio.sleep(FORMER_S)
            members = await self._look()
        if members.plan is None:
            return UNKNOWN
        note = await self._ports.notes.read(self._id)
        if note.stopping:
            self._stop.set()
        verdict = note.verdict
        if verdict is None:
            async with self._watching():
                verdict = await self._judge(members, members.plan)
            verdict = await self._ports.notes.note_verdict(self._id, verdict)
        return await self._settle(verdict, members.plan)

    async def _look(self) -> Members:
        return await find_members(self._ports.client, self._id, self._ports.instance, self._ports.limits)

    @asynccontextmanager
    async def _watching(self) -> AsyncIterator[None]:
        """See to it that nothing which `_judge` began goes on after it."""
        try:
            yield
        finally:
            tasks = [*self._waits.values(), *self._probes.values(), *([self._holder] if self._holder else [])]
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)
            self._waits, self._probes, self._holder = {}, {}, None

    # until it is decided

    async def _judge(self, members: Members, plan: Plan) -> Verdict:
        ended = {name: UNKNOWN for name in plan.names if name not in members.named}
        unstarted = {name for name, one in members.named.items() if one.is_unstarted}
        await self._attend(
            [name for name in plan.names if name in members.named.keys() - unstarted], members, plan
        )
        if members.holder is not None:
            self._holder = self._wait_for(members.holder.id, "holder", is_measured=False)
        while True:
            self._gather(ended)
            holder_up = self._holder is not None and not self._holder.done()
            if not holder_up:
                await self._catch_up(ended)
            step = decide(plan, ended, unstarted, stopping=self._stop.is_set(), holder_up=holder_up)
            if isinstance(step, Verdict):
                return step
            if isinstance(step, Start):
                fault = await self._start_all(step.names, unstarted, members, plan)
                if fault is not None:
                    return fault
                continue
            found = await self._next_event()
            if found is not None:
                return found

    def _gather(self, ended: dict[str, ReplicaExit]) -> None:
        for name, wait in list(self._waits.items()):
            if wait.done():
                ended[name] = wait.result()
                del self._waits[name]

    async def _catch_up(self, ended: dict[str, ReplicaExit]) -> None:
        """Learn of every end that came with that of the holder, as when the engine itself went down."""
        members = await self._look()
        for name in [
            name for name in self._waits if name not in members.named or not members.named[name].is_live
        ]:
            ended[name] = await self._waits.pop(name)

    async def _next_event(self) -> Verdict | None:
        """Wait until a container ends, a probe fails or a stop is asked for."""
        stop = asyncio.create_task(self._stop.wait(), name=f"docker/stop-asked:{self._id}")
        awaited: set[asyncio.Future[object]] = {*self._waits.values(), *self._probes.values()}  # type: ignore[arg-type]
        awaited |= {self._holder} if self._holder else set()  # type: ignore[arg-type]
        awaited |= set() if self._stop.is_set() else {stop}  # type: ignore[arg-type]
        try:
            await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
        if any(wait.done() for wait in self._waits.values()):
            return None  # an end explains why it does not answer
        for name, probe in list(self._probes.items()):
            if probe.done():
                del self._probes[name]
                if (verdict := probe.result()) is not None:
                    return verdict
        return None

    async def _start_all(
        self, names: tuple[str, ...], unstarted: set[str], members: Members, plan: Plan
    ) -> Verdict | None:
        for name in names:
            if self._stop.is_set():
                break
            fault = await self._start(name, members)
            if fault is not None:
                return fault
            unstarted.discard(name)
            await self._attend([name], members, plan)
        return None

    async def _start(self, name: str, members: Members) -> Verdict | None:
        try:
            async with engine_call(f"start of {self._id}.{name}", self._ports.limits.create_s):
                await self._ports.client.containers.container(members.named[name].id).start()
        except DockerError as exc:
            return Verdict(container=name, reason="StartFailed", message=exc.message.strip())
        self._ports.watcher.has_started(members.named[name].id)
        return None

    async def _attend(self, names: list[str], members: Members, plan: Plan) -> None:
        """Begin to wait for the ends of started containers, and to probe them."""
        for name in names:
            self._waits[name] = self._wait_for(members.named[name].id, name)
        probed = [name for name in names if plan.probes.get(name)]
        if not probed or members.holder is None:
            return
        holder = await look(self._ports.client, members.holder.id, self._ports.limits)
        if holder is None:
            return
        for name in probed:
            self._probes[name] = asyncio.create_task(
                watch_container(name, plan.probes[name], address_of(holder), ask),
                name=f"docker/probe:{self._id}.{name}",
            )

    def _wait_for(self, container: str, name: str, *, is_measured: bool = True) -> asyncio.Task[ReplicaExit]:
        work = self._ports.watcher.wait(container, is_measured=is_measured)
        return asyncio.create_task(work, name=f"docker/wait:{self._id}.{name}")

    # once it is decided

    async def _settle(self, verdict: Verdict, plan: Plan) -> ReplicaExit:
        """End what still runs, the holder last, and tell how it went."""
        ports = self._ports
        members = await self._look()
        live = {name: one.id for name, one in members.named.items() if one.is_live}
        own = live.pop(verdict.container or "", None)
        grace_s = float(ports.settings.stop_grace_s)
        if own is not None:
            patience = grace_s if verdict.grace_s is None else verdict.grace_s
            await stop_all(ports.client, ports.watcher, [own], patience, ports.limits)
        await stop_all(ports.client, ports.watcher, live.values(), grace_s, ports.limits)
        ended = {}
        for name, one in members.named.items():
            if not one.is_unstarted:
                ended[name] = await ports.watcher.wait(one.id)
        if members.holder is not None:
            await stop_all(ports.client, ports.watcher, [members.holder.id], 0, ports.limits)
        return exit_by(verdict, plan, ended)
