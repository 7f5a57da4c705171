"""The whole job resource, as `az containerapp job create --yaml` takes it, and its way to the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, Field, ValidationError, WithJsonSchema

from scaler.model.job import EventTrigger, Job, ManualTrigger, Trigger
from scaler.model.names import job_name_fault
from scaler.model.secret import Secret
from scaler.wire.base import ReadOnly, Text, WireModel, Word, show, without_nulls
from scaler.wire.checks import check_job
from scaler.wire.configuration import ConfigurationWire, TriggerType
from scaler.wire.document import document_text
from scaler.wire.extension import ExtensionWire, StrategyWire
from scaler.wire.faults import Node, WireFault, pydantic_faults, without_followers
from scaler.wire.schedule import ScheduleExtensionWire
from scaler.wire.template import TemplateWire
from scaler.wire.trigger import EventWire, ScheduleWire

JOB_TYPE = "Microsoft.App/jobs"
HOISTED = ("environmentId", "workloadProfileName", "configuration", "template")
"""Members of `properties` that may stand at the top level."""


def _read_type(value: object) -> str:
    if str(value).lower() != JOB_TYPE.lower():
        raise ValueError(f"got {show(value)}; write {JOB_TYPE} or remove it")
    return JOB_TYPE


def _read_name(value: object) -> str:
    fault = job_name_fault(value) if isinstance(value, str) else "write a text"
    if fault or not isinstance(value, str):
        raise ValueError(f"got {show(value)}; {fault}")
    return value


JobType = Annotated[str, BeforeValidator(_read_type), WithJsonSchema({"const": JOB_TYPE})]
JobName = Annotated[
    str,
    BeforeValidator(_read_name),
    WithJsonSchema({"type": "string", "pattern": r"^[a-z](-?[a-z0-9])*$|\$\{"}),
]


class IdentityWire(WireModel):
    """Accepted and answered, not used."""

    type: Word = "None"
    """`None`, `SystemAssigned`, `UserAssigned` or both."""
    user_assigned_identities: dict[str, dict[str, Text]] | None = None
    """Ids of identities."""


class PropertiesWire(WireModel):
    """The job itself."""

    environment_id: Text | None = None
    """Accepted and not used: there is one environment, this one."""
    workload_profile_name: Text | None = None
    """Accepted and not used."""
    configuration: ConfigurationWire
    """Trigger, limits and credentials."""
    template: TemplateWire
    """What an execution runs."""
    provisioning_state: ReadOnly = None
    """Read-only: ignored."""
    running_state: ReadOnly = None
    """Read-only: ignored."""
    outbound_ip_addresses: ReadOnly = None
    """Read-only: ignored."""
    event_stream_endpoint: ReadOnly = None
    """Read-only: ignored."""


class JobWire(WireModel):
    """A Container Apps job, and what we add to it under `x-scaler`."""

    name: JobName
    """1 to 32 lower-case letters, digits and single dashes."""
    type: JobType = JOB_TYPE
    """`Microsoft.App/jobs`."""
    location: Text | None = None
    """Accepted and answered, not used."""
    tags: dict[str, Text] | None = None
    """Accepted and answered, not used."""
    identity: IdentityWire = IdentityWire()
    """Accepted and answered, not used."""
    id: ReadOnly = None
    """Read-only: ignored."""
    system_data: ReadOnly = None
    """Read-only: ignored."""
    resource_group: ReadOnly = None
    """Read-only: ignored; `az containerapp job show` adds it."""
    properties: PropertiesWire
    """The job itself; its members may also stand at the top level."""
    extension: ExtensionWire = Field(default=ExtensionWire(), alias="x-scaler")
    """What the service has no word for."""

    def to_model(self, *, secrets: Mapping[str, Secret], folder: str) -> Job:
        """Give the job as the model has it.

        Args:
            secrets: all secrets of the job by name, those from files and variables included.
            folder: the folder that relative paths start from.
        """
        config, own = self.properties.configuration, self.extension
        template = replace(
            self.properties.template.to_model(self.name),
            sidecars=own.sidecars or (),
            docker=own.docker_options(),
            process=own.process_options(folder),
            registries=tuple(registry.to_model() for registry in config.registries),
        )
        return Job(
            name=self.name,
            trigger=_trigger(config, own),
            template=template,
            replica_timeout=timedelta(seconds=config.replica_timeout),
            replica_retry_limit=config.replica_retry_limit,
            parallelism=config.trigger.parallelism,
            replica_completion_count=config.trigger.replica_completion_count,
            executor=own.executor,
            secrets=dict(secrets),
            priority=own.priority or 0,
            weight=own.weight or 1.0,
            poison=own.poison.to_model() if own.poison else None,
            document=document_text(self, template, tuple(secrets)),
        )


def _trigger(config: ConfigurationWire, own: ExtensionWire) -> Trigger:
    chosen = config.trigger
    if isinstance(chosen, ScheduleWire):
        return (own.schedule or ScheduleExtensionWire()).to_model(chosen.cron_expression)
    if not isinstance(chosen, EventWire):
        return ManualTrigger()
    scale, strategy = chosen.scale, own.scaling_strategy or StrategyWire()
    return EventTrigger(
        rules=tuple(rule.to_model() for rule in scale.rules),
        min_executions=scale.min_executions,
        max_executions=scale.max_executions,
        polling_interval=scale.interval,
        strategy=strategy.to_model(),
        combine=strategy.multiple_scalers_calculation,
        refill=own.refill,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class JobReading:
    """What became of a document.

    Attributes:
        job: the resource, or None if it has faults.
        root: the document in its canonical arrangement, for further checks.
        hoisted: members of `properties` that the author wrote at the top level.
        faults: everything that is wrong, with the author's own paths.
    """

    job: JobWire | None
    root: Node
    hoisted: frozenset[str]
    faults: tuple[WireFault, ...]

    def authored(self, fault: WireFault) -> WireFault:
        """Give a fault of `root` the path at which the author wrote it."""
        path = fault.path
        if len(path) > 1 and path[0] == "properties" and path[1] in self.hoisted:
            path = path[1:]
        return WireFault(path=path, message=fault.message, at_key=fault.at_key)


def read_job(document: object, *, needs_image: bool | None = True) -> JobReading:
    """Check a document (plain mappings, lists and scalars) in all its parts at once.

    Args:
        document: YAML or JSON values.
        needs_image: whether the job's executor runs images; None if that cannot be told.
    """
    if not isinstance(document, dict):
        fault = WireFault(path=(), message=f"got {show(document)}; write a job, which is a mapping")
        return JobReading(job=None, root=Node(None), hoisted=frozenset(), faults=(fault,))
    value, hoisted, faults = _arrange(document)
    job = None
    try:
        job = JobWire.model_validate(value)
    except ValidationError as exc:
        faults += pydantic_faults(JobWire, exc)
    root = Node(value)
    faults += [fault for fault in check_job(root, needs_image=needs_image) if not _covered(fault, faults)]
    reading = JobReading(job=job, root=root, hoisted=hoisted, faults=())
    return JobReading(
        job=None if faults else job,
        root=root,
        hoisted=hoisted,
        faults=tuple(reading.authored(fault) for fault in without_followers(faults)),
    )


def _covered(fault: WireFault, known: list[WireFault]) -> bool:
    """Say whether a fault only repeats another one of the same place."""
    return any(other.path == fault.path for other in known)


def _arrange(document: dict[str, object]) -> tuple[dict[str, object], frozenset[str], list[WireFault]]:
    """Bring a document into one arrangement: no nulls, `properties` present, the trigger's name as spelled."""
    value = without_nulls(document)
    assert isinstance(value, dict)
    faults: list[WireFault] = []
    inner = value.get("properties", {})
    hoisted = frozenset(key for key in HOISTED if key in value)
    if not isinstance(inner, dict):
        return value, frozenset(), faults
    for key in hoisted:
        moved = value.pop(key)
        if key in inner:
            message = "stands under 'properties' too; keep one of the two"
            faults.append(WireFault(path=(key,), message=message, at_key=True))
        else:
            inner[key] = moved
    value["properties"] = inner
    config = inner.get("configuration")
    kind = config.get("triggerType") if isinstance(config, dict) else None
    if isinstance(config, dict) and isinstance(kind, str):
        proper = next((item.value for item in TriggerType if item.lower() == kind.strip().lower()), kind)
        config["triggerType"] = proper
    return value, hoisted - {fault.path[0] for fault in faults}, faults
