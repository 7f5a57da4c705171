"""The desired definition of a job: what starts it, what it runs, and its limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum

from scaler.model.pod import Probe, Volume, VolumeMount
from scaler.model.secret import Secret

_STORAGE_BY_CPU = ((0.25, 1), (0.5, 2), (1.0, 4))  # cores, GiB
PARALLELISM_MAX = 1000
COMPLETIONS_MAX = 10_000
"""More of one execution no job file may ask for: each replica is a record, held in memory while it runs."""


class Combine(StrEnum):
    """How several scale rules make one number (KEDA: `multipleScalersCalculation`)."""

    MAX = "max"
    MIN = "min"
    AVG = "avg"
    SUM = "sum"


class StrategyName(StrEnum):
    """How a number of wanted executions becomes a number to launch; the last four are KEDA's."""

    AUTO = "auto"
    DEFAULT = "default"
    CUSTOM = "custom"
    ACCURATE = "accurate"
    EAGER = "eager"


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """A strategy and the two numbers that only `custom` reads.

    `running_percentage` None means "not given or unparsable", which turns `custom` into `default`.
    """

    name: StrategyName = StrategyName.AUTO
    queue_length_deduction: int = 0
    running_percentage: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthRef:
    """One auth entry of a scale rule: the job's secret that fills a scaler parameter."""

    parameter: str
    secret: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleRule:
    """One event source. `metadata` values are strings, as KEDA has them."""

    name: str
    type: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    auth: tuple[AuthRef, ...] = ()
    identity: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ManualTrigger:
    """Executions start on demand only."""


class Overlap(StrEnum):
    """What becomes of a due time while an earlier scheduled execution of the job lives."""

    ALLOW = "allow"
    FORBID = "forbid"
    QUEUE = "queue"
    REPLACE = "replace"


class CatchUp(StrEnum):
    """Which due times are made up for that passed while nobody looked (daemon down, host asleep)."""

    NONE = "none"
    LATEST = "latest"
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleTrigger:
    """Executions start at the times of five-field cron expressions.

    Attributes:
        cron: the expression that Container Apps knows.
        also: further ones; a moment at which several are due starts one execution.
        time_zone: IANA name of the zone whose wall time they mean.
        catch_up_window: how far back due times are made up for.
        jitter: a start is put off by less than this, by a time that the job and the due time fix.
    """

    cron: str
    also: tuple[str, ...] = ()
    time_zone: str = "UTC"
    overlap: Overlap = Overlap.ALLOW
    catch_up: CatchUp = CatchUp.NONE
    catch_up_window: timedelta = timedelta(hours=1)
    jitter: timedelta = timedelta()

    @property
    def crons(self) -> tuple[str, ...]:
        """All expressions."""
        return (self.cron, *self.also)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventTrigger:
    """Executions start because scale rules find work.

    `min_executions` <= `max_executions`; `polling_interval` is the upper bound of waiting;
    `refill` asks for a new evaluation when an execution ends.
    """

    rules: tuple[ScaleRule, ...]
    min_executions: int = 0
    max_executions: int = 100
    polling_interval: timedelta = timedelta(seconds=30)
    strategy: Strategy = Strategy()
    combine: Combine = Combine.MAX
    refill: bool = True


Trigger = ManualTrigger | ScheduleTrigger | EventTrigger


@dataclass(frozen=True, slots=True, kw_only=True)
class Poison:
    """When a message whose executions fail is moved out of the way, and to which queue.

    Attributes:
        move_after: failed rounds of the breaker, in a row.
        to: name of the queue; None: where the broker puts dead letters.
    """

    move_after: int
    to: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvVar:
    """One environment variable: a plain value, or the name of a secret of the job (never both)."""

    name: str
    value: str | None = None
    secret_ref: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """Limits of one container. `cpu` in cores, the others in bytes (defaults: 0.5 core, 1 GiB).

    `storage_bytes` bounds what the container writes to its own file system; None: not said.
    """

    cpu: float = 0.5
    memory_bytes: int = 1 << 30
    storage_bytes: int | None = None

    @property
    def service_storage_bytes(self) -> int:
        """What the service itself gives for this much CPU, and answers with."""
        return next((gib << 30 for cpu, gib in _STORAGE_BY_CPU if self.cpu <= cpu), 8 << 30)

    @property
    def is_storage_own(self) -> bool:
        """Whether a limit was chosen, rather than copied from the service's answer."""
        return self.storage_bytes not in (None, self.service_storage_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """One container of a replica. `image` is None only on the process executor."""

    name: str
    image: str | None = None
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: tuple[EnvVar, ...] = ()
    resources: Resources = Resources()
    mounts: tuple[VolumeMount, ...] = ()
    probes: tuple[Probe, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """Credentials for one image registry; the password is a secret of the job."""

    server: str
    username: str
    password_secret: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerOptions:
    """`x-scaler.docker`: what only the docker executor reads.

    `network` None means the engine's default network. `mounts` are host binds and named volumes as Docker
    spells them (`/host:/container[:ro]`, `name:/container[:ro]`), refused unless the daemon's settings allow them.
    """

    network: str | None = None
    mounts: tuple[str, ...] = ()
    user: str | None = None
    read_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessOptions:
    """`x-scaler.process`: what only the process executor reads. `cwd` None means the job file's folder."""

    cwd: str | None = None
    cpu_seconds: int | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """What an execution runs and how; snapshotted into each execution, so that an edit changes none.

    Attributes:
        container: the first container.
        further: those beside it; they share its network.
        init: run one after another before the others; each must end with 0.
        sidecars: names of containers that are ended once all others have.
        volumes: folders that containers share; gone with the replica.
    """

    container: Container
    further: tuple[Container, ...] = ()
    init: tuple[Container, ...] = ()
    sidecars: tuple[str, ...] = ()
    volumes: tuple[Volume, ...] = ()
    docker: DockerOptions = DockerOptions()
    process: ProcessOptions = ProcessOptions()
    registries: tuple[Registry, ...] = ()

    @property
    def containers(self) -> tuple[Container, ...]:
        """All containers but the init ones."""
        return (self.container, *self.further)

    def running(self, other: Template) -> Template:
        """Give this template with the containers of another one, as a start by hand may bring them."""
        return replace(
            self,
            container=other.container,
            further=other.further,
            init=other.init,
            sidecars=other.sidecars,
        )

    def named_containers(self) -> tuple[tuple[str, Container], ...]:
        """Give every container with its path in the job file."""
        groups = (("containers", self.containers), ("initContainers", self.init))
        return tuple(
            (f"properties.template.{key}[{number}]", one)
            for key, group in groups
            for number, one in enumerate(group)
        )

    @property
    def is_plain(self) -> bool:
        """Whether a replica is one container and nothing else."""
        first = self.container
        return not (self.further or self.init or self.volumes or first.mounts or first.probes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job definition; `generation` counts its changes, from 1.

    `priority` and `weight` matter where jobs compete for the limits of the daemon: the higher priority first, among
    equals shares by weight.
    `poison` None: messages are never touched.
    `document` is the job as the ARM resource writes it (camelCase, no secret values): JSON text, so
    that the API answers with exactly what was declared.
    """

    name: str
    trigger: Trigger
    template: Template
    replica_timeout: timedelta
    replica_retry_limit: int = 0
    parallelism: int = 1
    replica_completion_count: int = 1
    executor: str = "docker"
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    generation: int = 1
    priority: int = 0
    weight: float = 1.0
    poison: Poison | None = None
    document: str = "{}"

    def __post_init__(self) -> None:
        if self.parallelism < 1 or self.replica_completion_count < 1 or self.replica_retry_limit < 0:
            raise ValueError("parallelism and replicaCompletionCount start at 1, replicaRetryLimit at 0")
        if self.weight <= 0:
            raise ValueError("weight is above 0")
