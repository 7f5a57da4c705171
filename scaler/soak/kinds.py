"""The jobs of a soak, as a table: what each is, how often its messages come, and what is wrong with some of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One event job and its stream of messages.

    Attributes:
        name: the job is called by it, after its executor.
        every_s: mean time between two sendings, seconds.
        batch: messages at a time.
        think_s: least and most work in a message, seconds.
        most: its `maxExecutions`.
        parallelism, completions: of one execution; it is expected to take `completions` messages.
        retries: its `replicaRetryLimit`.
        timeout_s: its `replicaTimeout`.
        start_s: seconds that a worker takes before it looks for a message.
        patience_s: seconds that a worker waits for one.
        failing, poison, hanging: shares of messages that fail once, always, or never end at the first try.
        noise: lines that a worker writes.
    """

    name: str
    every_s: float
    batch: int = 1
    think_s: tuple[float, float] = (0.0, 0.0)
    most: int = 3
    parallelism: int = 1
    completions: int = 1
    retries: int = 0
    timeout_s: int = 60
    start_s: float = 0.0
    patience_s: int = 1
    failing: float = 0.0
    poison: float = 0.0
    hanging: float = 0.0
    noise: int = 0


KINDS: Final = (
    Kind(name="fast", every_s=0.8, most=4),
    Kind(name="slow", every_s=4, think_s=(3, 8), most=4),
    Kind(name="starter", every_s=5, start_s=2, think_s=(0, 1), most=3),
    Kind(name="burst", every_s=30, batch=15, think_s=(0.5, 1.5), most=6),
    Kind(name="wide", every_s=15, batch=6, think_s=(0.2, 1), most=2, parallelism=3, completions=6, retries=2),
    Kind(name="flaky", every_s=3, failing=0.3, retries=2, most=3),
    Kind(name="poison", every_s=4, poison=0.08, most=3),
    Kind(name="late", every_s=6, timeout_s=6, think_s=(0, 0.5), hanging=0.25, most=2),
    Kind(name="chatty", every_s=20, noise=3000, most=2),
    Kind(name="edited", every_s=2, think_s=(0.2, 2), most=3),
    Kind(name="paused", every_s=3, think_s=(0, 0.5), most=2),
)
"""Event jobs of the executor `process`."""

SLOWER: Final = 6.0
"""How many times rarer messages of containers are: each costs the engine as much processor as that many processes."""

IN_CONTAINERS: Final = ("fast", "slow", "starter", "burst", "wide", "flaky", "poison", "late", "chatty")

MANUAL: Final = "manual"
CRON: Final = "cron"
EDITED: Final = "edited"
PAUSED: Final = "paused"
STOPPED: Final = "slow"
"""The job whose executions are stopped by the API."""

EXECUTORS: Final = ("process", "docker")


def kinds_of(executor: str) -> tuple[Kind, ...]:
    """Give the event jobs of an executor."""
    if executor == "process":
        return KINDS
    chosen = (one for one in KINDS if one.name in IN_CONTAINERS)
    return tuple(
        replace(
            one,
            every_s=one.every_s * SLOWER,
            timeout_s=max(one.timeout_s, 12),
            noise=one.noise // 3,
            batch=one.batch if one.completions > 1 else max(1, one.batch // 2),
        )
        for one in chosen
    )


def job_name(executor: str, kind: str) -> str:
    """Name the job of a kind on an executor."""
    return f"{executor}-{kind}"


def by_job(executors: tuple[str, ...]) -> Mapping[str, Kind]:
    """Give all event jobs by their names."""
    return {job_name(executor, one.name): one for executor in executors for one in kinds_of(executor)}
