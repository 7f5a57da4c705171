"""Records of a soak in which all went well, to be spoilt by tests."""

from __future__ import annotations

import math
from collections import Counter
from functools import cache

from scaler.soak.notes import Crowd, Notes, Ran, Sample
from scaler.soak.plan import Plan, Send, make_plan

MIB = 1 << 20
SECONDS = 600.0
JOB = "process-fast"
CRON = "process-cron"
BEGUN = 1_800_000_000


@cache
def plan(seed: int = 1, seconds: float = SECONDS, *, faults: bool = True) -> Plan:
    return make_plan(seed=seed, seconds=seconds, executors=("process",), faults=faults)


def sample(at_s: float, **changed: int | None) -> Sample:
    """A daemon that does its work: figures go up and down, and stay."""
    wave = math.sin(at_s / 9)
    usual: dict[str, int | None] = {
        "rss": int((75 + wave) * MIB),
        "fds": 18 + round(4 * wave),
        "threads": 6,
        "db": 2 * MIB,
        "wal": 4 * MIB,
        "logs": int((1 + 0.1 * wave) * MIB),
        "other": 100_000,
        "waiting": 5,
        "done": int(at_s),
        "workers": 4,
    }
    return Sample(at_s=at_s, **(usual | changed))  # type: ignore[arg-type]


def good(messages: int = 5) -> Notes:
    """One message an execution, all of them done."""
    names = tuple(f"{JOB}-{n:06}" for n in range(messages))
    ran = [
        Ran(
            name=f"{JOB}-{n:010}",
            job=JOB,
            status="Succeeded",
            reason="Completed",
            replicas=((f"{JOB}-{n:010}-abcde", "Completed"),),
        )
        for n in range(messages)
    ]
    cron = [
        Ran(name=f"{CRON}-{minute}", job=CRON, status="Succeeded", reason="Completed", replicas=())
        for minute in range(BEGUN // 60, BEGUN // 60 + 11)
    ]
    return Notes(
        plan=plan(),
        begun_at=BEGUN,
        begun="2026-01-01 00:00:00Z",
        sent=[Send(at_s=float(n), job=JOB, names=(name,), think_s=0) for n, name in enumerate(names)],
        places={JOB: Counter(names)},
        done={JOB: set(names)},
        journal=[
            (word, one.replicas[0][0], name)
            for one, name in zip(ran, names, strict=True)
            for word in ("took", "done")
        ],
        maxima=[(0.0, JOB, 4)],
        starts=[0.0, 60.0, 200.0],
        samples=[sample(float(at)) for at in range(int(SECONDS))],
        crowds=[Crowd(at_s=float(n), job=JOB, executions=n % 5, replicas=1) for n in range(messages)],
        ran={one.name: one for one in (*ran, *cron)},
        looks=10,
        load_until=SECONDS,
        ended=SECONDS + 10,
    )
