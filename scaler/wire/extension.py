"""What the service has no word for: the `x-scaler` section of a job file."""

from __future__ import annotations

import os
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema

from scaler.model.job import Combine, DockerOptions, Poison, ProcessOptions, Strategy, StrategyName
from scaler.wire.base import (
    Count,
    Flag,
    Memory,
    Positive,
    Text,
    WireModel,
    Word,
    parse_memory,
    read_number,
    show,
)
from scaler.wire.schedule import ScheduleExtensionWire


def _read_share(value: object) -> str:
    number = read_number(value)
    if number < 0:
        raise ValueError(f"got {show(value)}; write a number such as '0.5', 0 or more")
    return str(value)


def _read_weight(value: object) -> float:
    number = read_number(value)
    if not 0.001 <= number <= 1_000_000:
        raise ValueError(f"got {show(value)}; write a number from 0.001 to 1000000, such as 2")
    return number


Weight = Annotated[float, BeforeValidator(_read_weight), WithJsonSchema({"type": ["number", "string"]})]
"""A number above 0."""
Share = Annotated[str, BeforeValidator(_read_share), WithJsonSchema({"type": ["string", "number"]})]
"""A number in a text, as KEDA has it."""


class DockerWire(WireModel):
    """What only the docker executor reads."""

    network: Word | None = None
    """Network that replicas join; the engine's default one when left out."""
    mounts: tuple[Word, ...] = ()
    """Host folders or volumes, `/host:/container` or `name:/container`, also with `:ro`; settings must allow them."""
    user: Text | None = None
    """User to run as, `uid` or `uid:gid`."""
    read_only: Flag = False
    """Whether the container's own file system is read-only."""


class ProcessWire(WireModel):
    """What only the process executor reads."""

    cwd: Word | None = None
    """Folder to run in, relative to the job file; the job file's folder when left out."""
    cpu_seconds: Positive | None = None
    """Processor seconds after which the process is ended."""
    memory: Memory | None = None
    """Address space that the process may use."""


class StrategyWire(WireModel):
    """How a number of wanted executions becomes a number to start; spelled as in KEDA's ScaledJob."""

    strategy: StrategyName = StrategyName.AUTO
    """`auto` (ours), `default`, `custom`, `accurate` or `eager`."""
    custom_scaling_queue_length_deduction: Count = 0
    """Read by `custom` only."""
    custom_scaling_running_job_percentage: Share | None = None
    """Read by `custom` only; a number in a text."""
    multiple_scalers_calculation: Combine = Combine.MAX
    """How several rules make one number: `max`, `min`, `avg` or `sum`."""

    def to_model(self) -> Strategy:
        """Give the strategy as the model has it."""
        share = self.custom_scaling_running_job_percentage
        return Strategy(
            name=self.strategy,
            queue_length_deduction=self.custom_scaling_queue_length_deduction,
            running_percentage=None if share is None else float(share),
        )


class SecretSourceWire(WireModel):
    """A secret of the job whose text is not in the job file."""

    name: Word
    """Lower-case letters, digits, `-` and `.`."""
    env: Word | None = None
    """Environment variable of the daemon that holds it."""
    file: Word | None = None
    """File that holds it, relative to the job file; one line end at its end is cut."""


class PoisonWire(WireModel):
    """When a message whose executions always fail is moved out of the way."""

    move_after: Positive = 5
    """Failed rounds in a row, each after a longer pause, after which the message is moved."""
    to: Word | None = None
    """Queue that it is moved to; what can be left out depends on the scaler's type."""

    def to_model(self) -> Poison:
        """Give the section as the model has it."""
        return Poison(move_after=self.move_after, to=self.to)


class ExtensionWire(WireModel):
    """`x-scaler`: what the service has no word for."""

    executor: Word = "docker"
    """What runs the replicas: `docker`, `process`, or the name of an installed one."""
    sidecars: tuple[Word, ...] | None = None
    """Names of containers that are ended once all others have; how they end decides nothing."""
    docker: DockerWire | None = None
    """Read by the docker executor."""
    process: ProcessWire | None = None
    """Read by the process executor."""
    scaling_strategy: StrategyWire | None = None
    """Only with `triggerType: Event`."""
    schedule: ScheduleExtensionWire | None = None
    """Only with `triggerType: Schedule`."""
    refill: Flag = True
    """Whether an ended execution is replaced at once, without waiting for the next reading. Event jobs only."""
    poison: PoisonWire | None = None
    """Moves a message whose executions always fail; without it, messages are never touched. Event jobs only."""
    priority: Count | None = None
    """Where jobs compete for `limits.global` of the daemon: the higher number comes first; 0 when left out."""
    weight: Weight | None = None
    """Among competing jobs of one priority: how large its share is beside the others'; 1 when left out."""
    secrets: tuple[SecretSourceWire, ...] = ()
    """Secrets from files and environment variables, beside `configuration.secrets`."""

    def docker_options(self) -> DockerOptions:
        """Give the docker section as the model has it."""
        own = self.docker or DockerWire()
        return DockerOptions(network=own.network, mounts=own.mounts, user=own.user, read_only=own.read_only)

    def process_options(self, folder: str) -> ProcessOptions:
        """Give the process section as the model has it, `cwd` made absolute from the job file's folder."""
        own = self.process or ProcessWire()
        return ProcessOptions(
            cwd=os.path.normpath(os.path.join(folder, own.cwd or ".")),
            cpu_seconds=own.cpu_seconds,
            memory_bytes=None if own.memory is None else parse_memory(own.memory),
        )
