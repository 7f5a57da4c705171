"""What a simulation found, job by job."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a second of a core and of a GiB costs, in any currency."""

    cpu_second: float = 0.0
    gib_second: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """One job under one set of settings; times in seconds.

    Attributes:
        messages, done, dead, left: arrived, worked on, dead-lettered, and neither at the end.
        twice: worked on although another execution had done it.
        drain_s: from the last arrival until all were done or dead; None if some are left.
        wait_p50_s, wait_p99_s, wait_max_s: from arrival until first taken; None if none was.
        peak: most executions starting or running at once.
        executions, failed: begun, and ended as failed.
        wasted: replicas that found no message.
        unended: executions that had not ended when the time was over.
        execution_s: sum of what replicas ran; `cpu_s` and `memory_gib_s`: times what they may use.
        cost: by the prices that were given; None without.
        decisions: evaluations that were recorded.
    """

    job: str
    messages: int
    done: int
    dead: int
    left: int
    twice: int
    drain_s: float | None
    wait_p50_s: float | None
    wait_p99_s: float | None
    wait_max_s: float | None
    peak: int
    executions: int
    failed: int
    wasted: int
    unended: int
    execution_s: float
    cpu_s: float
    memory_gib_s: float
    cost: float | None
    decisions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """All jobs under one set of settings. `simulated_s`: virtual time until nothing was left to do, or the end."""

    settings: str
    simulated_s: float
    jobs: tuple[JobResult, ...] = field(default=())


def percentile(values: Sequence[float], share: float) -> float | None:
    """Give the value that a share of them does not exceed; None of none."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
