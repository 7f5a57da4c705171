"""One job of a running daemon and the moments of its containers, for benches that put a message at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from scaler.bench.yard import PATIENCE_S, Yard, check_done, names
from scaler.rig.daemon import Daemon
from scaler.rig.engine_events import EngineEvents
from scaler.rig.spool import Spool

MANY = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """One replica's beginning as the daemon records it, seconds since 1970, by the milliseconds of its API.

    Attributes:
        name: of the replica, and so of its container.
        decided: when the decision was made that began it.
        asked: when the executor was asked to launch it.
    """

    name: str
    decided: float
    asked: float


class Feed:
    """Made by `open_feed`."""

    def __init__(self, daemon: Daemon, spool: Spool, job: str, events: EngineEvents) -> None:
        self._daemon = daemon
        self._job = job
        self._seen: set[str] = set()
        self.spool = spool
        self.events = events
        self.messages = 0

    def put(self, count: int = 1) -> None:
        """Write messages."""
        self.spool.put(names(self.messages + count)[self.messages :])
        self.messages += count

    def next_start(self) -> float:
        """Wait until one more container has started, and give the moment."""
        name, moment = self.events.next_start(self._seen, PATIENCE_S)
        self._seen.add(name)
        return moment

    def rest(self) -> None:
        """Wait until all messages are done and nothing is left of their containers.

        Raises:
            RigError: a message was not done once, or that took too long.
        """

        def is_over() -> bool:
            return self.spool.depth().done == self.messages and self.events.are_gone(self.messages)

        self._daemon.until(is_over, timeout_s=PATIENCE_S, what=f"{self.messages} messages")
        check_done(self.spool, self.messages)

    def first_look(self) -> float:
        """Give when the queue was read for the first time."""
        return first_look(self._daemon, self._job)

    def begun(self) -> list[Begun]:
        """Give how every replica of the job began, oldest first."""
        api = self._daemon.api
        return beginnings(api.executions(self._job, limit=MANY), api.decisions(self._job, MANY))


@contextmanager
def open_feed(yard: Yard, daemon: Daemon, *, at_most: int, interval_s: int = 1) -> Iterator[Feed]:
    """Give the daemon a job on a queue of its own, and wait until it knows it."""
    spool = yard.spool()
    job = yard.job(spool, {"pollingInterval": interval_s, "maxExecutions": at_most})
    with yard.events(job) as events:
        daemon.write(job)
        daemon.until(
            lambda: any(one["job"] == job["name"] for one in daemon.events("job.added")),
            timeout_s=PATIENCE_S,
            what="the job",
        )
        yield Feed(daemon, spool, job["name"], events)


def first_look(daemon: Daemon, job: str) -> float:
    """Give when a job was added, which is when its queue is read for the first time, seconds since 1970."""
    return float(next(one["at"] for one in daemon.events("job.added") if one["job"] == job))


def beginnings(executions: Sequence[Any], decisions: Sequence[Any]) -> list[Begun]:
    """Find for each execution the decision that began it: the latest one before it that launched. Pure."""
    decided = sorted(moment(one["at"]) for one in decisions if one["launch"])
    found = []
    for one in executions:
        for replica in one["properties"]["detailedStatus"]["replicas"]:
            times = replica["times"]
            created = moment(times["created"])
            last = max((at for at in decided if at <= created), default=created)
            found.append(Begun(name=replica["name"], decided=last, asked=moment(times["launched"])))
    return sorted(found, key=lambda begun: begun.asked)


def moment(text: str) -> float:
    """Read a time of the API as seconds since 1970. Pure."""
    return datetime.fromisoformat(text).timestamp()
