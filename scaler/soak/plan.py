"""What is sent and what is done to whom, second by second: all of it follows from the seed. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Final

from scaler.soak.kinds import CRON, EDITED, MANUAL, PAUSED, STOPPED, Kind, by_job, job_name


class Deed(StrEnum):
    """What can be done. Those up to `RESUME` are use, the others are faults."""

    START = "start"
    STOP = "stop"
    RAISE = "raise maximum"
    LOWER = "lower maximum"
    SPOIL = "spoil file"
    MEND = "mend file"
    REMOVE = "remove job"
    RESTORE = "restore job"
    SUSPEND = "suspend"
    RESUME = "resume"
    KILL_DAEMON = "kill daemon"
    PAUSE_DAEMON = "pause daemon"
    KILL_WORKER = "kill worker"
    KILL_SHIM = "kill shim"
    KILL_CONTAINER = "kill container"
    REMOVE_CONTAINER = "remove container"
    HIDE_SOURCE = "hide source"
    HANG_UP = "hang up"


class Lane(StrEnum):
    """Deeds of one lane are done one after the other; lanes do not wait for each other."""

    DAEMON = "daemon"
    WORKERS = "workers"
    SOURCES = "sources"
    FILES = "files"
    PEOPLE = "people"
    CLIENTS = "clients"


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One deed: when, to which job if to one, and how long it lasts (seconds)."""

    at_s: float
    deed: Deed
    lane: Lane
    job: str = ""
    lasts_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """Messages that are alike, to one job."""

    at_s: float
    job: str
    names: tuple[str, ...]
    think_s: float
    fails: int = 0
    poison: bool = False
    hangs: int = 0
    noise: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The whole run.

    Attributes:
        seed, seconds, executors: what it was made of.
        jobs: event jobs by name.
        manual, scheduled: names of the others.
        sends, acts: in the order of time.
    """

    seed: int
    seconds: float
    executors: tuple[str, ...]
    jobs: Mapping[str, Kind]
    manual: tuple[str, ...]
    scheduled: tuple[str, ...]
    sends: tuple[Send, ...]
    acts: tuple[Act, ...]


KILLS_UNTIL: Final = 0.4
"""The daemon is killed in the first part of a run only, so that the last one that runs is long enough to be judged."""


def make_plan(*, seed: int, seconds: float, executors: tuple[str, ...], faults: bool) -> Plan:
    """Plan a run of so many seconds."""
    jobs = by_job(executors)
    sends = [one for job, kind in jobs.items() for one in _sends(job, kind, Random(f"{seed} {job}"), seconds)]
    acts = list(_use(executors, Random(f"{seed} use"), seconds))
    if faults:
        acts += _faults(executors, tuple(jobs), Random(f"{seed} faults"), seconds)
    return Plan(
        seed=seed,
        seconds=seconds,
        executors=executors,
        jobs=jobs,
        manual=tuple(job_name(one, MANUAL) for one in executors),
        scheduled=tuple(job_name(one, CRON) for one in executors),
        sends=tuple(sorted(sends, key=lambda one: (one.at_s, one.job))),
        acts=tuple(sorted(acts, key=lambda one: one.at_s)),
    )


def _times(random: Random, mean_s: float, begin_s: float, end_s: float) -> Iterator[float]:
    """Give moments whose distances are between half and one and a half times the mean."""
    at = begin_s + random.uniform(0, mean_s)
    while at < end_s:
        yield at
        at += mean_s * random.uniform(0.5, 1.5)


def _sends(job: str, kind: Kind, random: Random, seconds: float) -> Iterator[Send]:
    number = 0
    for at in _times(random, kind.every_s, 0, seconds):
        names = tuple(f"{job}-{number + n:06}" for n in range(kind.batch))
        number += kind.batch
        chance = random.random()
        is_poison = chance < kind.poison
        yield Send(
            at_s=at,
            job=job,
            names=names,
            think_s=round(random.uniform(*kind.think_s), 2),
            poison=is_poison,
            fails=int(random.random() < kind.failing),
            hangs=int(random.random() < kind.hanging),
            noise=kind.noise,
        )


def _use(executors: tuple[str, ...], random: Random, seconds: float) -> Iterator[Act]:
    for executor in executors:
        rarer = 1 if executor == "process" else 4
        for at in _times(random, 6 * rarer, 0, seconds):
            yield Act(at_s=at, deed=Deed.START, lane=Lane.PEOPLE, job=job_name(executor, MANUAL))
        for at in _times(random, 10 * rarer, 5, seconds):
            yield Act(at_s=at, deed=Deed.STOP, lane=Lane.PEOPLE, job=job_name(executor, STOPPED))
    if "process" not in executors:
        return
    round_of = (Deed.RAISE, Deed.LOWER, Deed.SPOIL, Deed.MEND, Deed.REMOVE, Deed.RESTORE)
    for number, at in enumerate(_times(random, 7, 5, seconds)):
        deed = round_of[number % len(round_of)]
        yield Act(at_s=at, deed=deed, lane=Lane.FILES, job=job_name("process", EDITED))
    for number, at in enumerate(_times(random, 12, 10, seconds)):
        deed = (Deed.SUSPEND, Deed.RESUME)[number % 2]
        yield Act(at_s=at, deed=deed, lane=Lane.FILES, job=job_name("process", PAUSED))


def _faults(
    executors: tuple[str, ...], jobs: tuple[str, ...], random: Random, seconds: float
) -> Iterator[Act]:
    kills = max(2, min(5, int(seconds / 300)))
    share = seconds * KILLS_UNTIL / kills
    for number in range(kills):
        at = number * share + share * random.uniform(0.4, 0.9)
        yield Act(at_s=at, deed=Deed.KILL_DAEMON, lane=Lane.DAEMON, lasts_s=random.uniform(0.3, 4))
    for at in _times(random, 45, 20, seconds):
        yield Act(at_s=at, deed=Deed.PAUSE_DAEMON, lane=Lane.DAEMON, lasts_s=random.uniform(1, 5))
    if "process" in executors:
        for at in _times(random, 7, 5, seconds):
            deed = random.choice((Deed.KILL_WORKER, Deed.KILL_WORKER, Deed.KILL_SHIM))
            yield Act(at_s=at, deed=deed, lane=Lane.WORKERS)
    if "docker" in executors:
        for at in _times(random, 15, 8, seconds):
            deed = random.choice((Deed.KILL_CONTAINER, Deed.REMOVE_CONTAINER))
            yield Act(at_s=at, deed=deed, lane=Lane.WORKERS)
    for at in _times(random, 20, 10, seconds):
        job = random.choice(jobs)
        yield Act(at_s=at, deed=Deed.HIDE_SOURCE, lane=Lane.SOURCES, job=job, lasts_s=random.uniform(2, 8))
    for at in _times(random, 10, 5, seconds):
        yield Act(at_s=at, deed=Deed.HANG_UP, lane=Lane.CLIENTS)
