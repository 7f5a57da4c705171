"""What all executions of one daemon may take together, and what one of them takes."""

from __future__ import annotations

from dataclasses import dataclass

from scaler.model.decision import Bound
from scaler.model.job import Container, Template


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """Executions, processor cores and bytes of memory; of one execution or of many."""

    executions: int = 0
    cpu: float = 0.0
    memory_bytes: int = 0

    def plus(self, other: Amount, times: int = 1) -> Amount:
        """Add another amount, so many times (negative: take it away)."""
        return Amount(
            executions=self.executions + other.executions * times,
            cpu=self.cpu + other.cpu * times,
            memory_bytes=self.memory_bytes + other.memory_bytes * times,
        )


NOTHING = Amount()


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalLimits:
    """`limits.global` of the settings. None: no such limit.

    Attributes:
        executions, cpu, memory_bytes: most that all executions which have not ended may take together.
        launch_rate: executions begun a second, on average.
        launch_burst: executions that may begin at once after a quiet time.
        pass_over: starts that may go past a waiting job before one goes to who has waited longest.
    """

    executions: int | None = None
    cpu: float | None = None
    memory_bytes: int | None = None
    launch_rate: float | None = None
    launch_burst: int = 1
    pass_over: int = 10

    @property
    def caps(self) -> tuple[tuple[Bound, float | None], ...]:
        """The three caps with their names."""
        return (
            (Bound.GLOBAL_EXECUTIONS, self.executions),
            (Bound.GLOBAL_CPU, self.cpu),
            (Bound.GLOBAL_MEMORY, self.memory_bytes),
        )

    @property
    def is_unlimited(self) -> bool:
        """Whether nothing is limited."""
        return self.launch_rate is None and all(cap is None for _, cap in self.caps)


UNLIMITED = GlobalLimits()


def need_of(template: Template, parallelism: int) -> Amount:
    """Give what one execution takes: one execution, and its containers' resources for each parallel replica.

    Replicas that are tried again take the place of those that ended, so they need nothing more.
    """
    containers = containers_of(template)
    cpu = max(sum(item.resources.cpu for item in one) for one in (containers, *_alone(template)))
    memory = max(sum(item.resources.memory_bytes for item in one) for one in (containers, *_alone(template)))
    return Amount(executions=1, cpu=parallelism * cpu, memory_bytes=parallelism * memory)


def containers_of(template: Template) -> tuple[Container, ...]:
    """Give the containers of a replica that run at the same time."""
    return template.containers


def _alone(template: Template) -> tuple[tuple[Container, ...], ...]:
    """Give the containers that run before, each by itself."""
    return tuple((one,) for one in template.init)
