"""What a soak has seen and done, as plain values: the account and the judgement are made of nothing else."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from scaler.soak.plan import Act, Plan, Send


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The daemon and its folder at one moment; None where no daemon runs.

    Attributes:
        at_s: seconds since the beginning.
        rss, db, wal, logs, other: bytes; the last four are what parts of the state directory take of the disk.
        fds, threads: how many the daemon has.
        waiting, done: messages of all jobs.
        workers: that live, as seen from outside; None if that is not known.
    """

    at_s: float
    rss: int | None
    fds: int | None
    threads: int | None
    db: int
    wal: int
    logs: int
    other: int
    waiting: int
    done: int
    workers: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A deed that was done: to whom, and what came of it."""

    act: Act
    at_s: float
    subject: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    """A message that came back because the replica that had it is dead."""

    at_s: float
    job: str
    message: str
    replica: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """An execution as the API told it last.

    Attributes:
        name, job, status, reason: its own.
        replicas: each with the reason of its end, empty while it lives.
        begun_at: when its first replica was recorded, seconds since 1970; None if that is not told.
    """

    name: str
    job: str
    status: str
    reason: str
    replicas: tuple[tuple[str, str], ...]
    begun_at: float | None = None

    @property
    def is_final(self) -> bool:
        """Whether it has ended."""
        return self.status in FINAL


FINAL = frozenset({"Succeeded", "Failed", "Stopped", "Unknown"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """What lived of a job at one moment: executions, and the most replicas that one of them had."""

    at_s: float
    job: str
    executions: int
    replicas: int


@dataclass(slots=True, kw_only=True)
class Notes:
    """Everything that was seen, in the order in which it was.

    Attributes:
        plan: what was to be done.
        begun: wall time, for people; `begun_at` is the same, seconds since 1970.
        sent: what was sent.
        places: at the end, by job: how often each message is there, and which of them are done.
        journal: words of workers: what (took, done, failed, empty), the replica, the message.
        returned: messages that came back.
        acts: deeds done.
        maxima: `maxExecutions` of a job from a moment on.
        starts: moments at which a daemon was started.
        crowds: what lived, whenever that changed.
        ran: executions by name; `changed` and `unseen` are those that had two ends, or were gone before one was seen.
        broken: promises that the daemon itself found broken, by their text.
        looks: inspections that were answered; `silent`: those in which an executor did not answer.
        lateness: of the daemon's ticks: moment, and seconds of the 99th percentile.
        mishaps: what else must not be: a daemon that ended by itself, or did not come up.
        left: workers and containers that are there after the end.
        load_until: when nothing more was sent or done.
        ended: when all was over.
        interrupted: whether somebody ended it early.
    """

    plan: Plan
    begun: str = ""
    begun_at: float = 0.0
    sent: list[Send] = field(default_factory=list)
    places: dict[str, Counter[str]] = field(default_factory=dict)
    done: dict[str, set[str]] = field(default_factory=dict)
    journal: list[tuple[str, str, str]] = field(default_factory=list)
    returned: list[Returned] = field(default_factory=list)
    acts: list[Done] = field(default_factory=list)
    maxima: list[tuple[float, str, int]] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    crowds: list[Crowd] = field(default_factory=list)
    ran: dict[str, Ran] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    broken: dict[str, float] = field(default_factory=dict)
    looks: int = 0
    silent: int = 0
    lateness: list[tuple[float, float]] = field(default_factory=list)
    mishaps: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    load_until: float = 0.0
    ended: float = 0.0
    interrupted: bool = False
