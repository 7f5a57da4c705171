"""How a job is started and kept within limits, as `properties.configuration` writes it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BeforeValidator, SecretStr, WithJsonSchema

from scaler.model.job import Registry
from scaler.wire.base import Count, Seconds, Text, Unsupported, WireModel, Word, read_text
from scaler.wire.trigger import EventWire, ManualWire, ScheduleWire

SecretText = Annotated[
    SecretStr, BeforeValidator(read_text), WithJsonSchema({"type": ["string", "number", "boolean"]})
]
"""A text that no message and no answer shows."""


class TriggerType(StrEnum):
    """What starts executions."""

    MANUAL = "Manual"
    SCHEDULE = "Schedule"
    EVENT = "Event"


TriggerName = Annotated[
    TriggerType,
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": ["Manual", "Schedule", "Event"]},
                {"type": "string", "pattern": r"^(manual|schedule|event|MANUAL|SCHEDULE|EVENT)$|\$\{"},
            ]
        }
    ),
]
TRIGGER_OBJECT = {
    TriggerType.MANUAL: "manualTriggerConfig",
    TriggerType.SCHEDULE: "scheduleTriggerConfig",
    TriggerType.EVENT: "eventTriggerConfig",
}


class SecretWire(WireModel):
    """A secret whose text stands in the file, or comes into it by `${VARIABLE}`."""

    name: Word
    """Lower-case letters, digits, `-` and `.`."""
    value: SecretText | None = None
    """Its text."""
    key_vault_url: Text | None = None
    """Not supported: leave it out."""
    identity: Text | None = None
    """Not supported: leave it out."""


class RegistryWire(WireModel):
    """Credentials of one image registry."""

    server: Word
    """Host name, such as `ghcr.io`."""
    username: Word | None = None
    """User name."""
    password_secret_ref: Word | None = None
    """Name of one of the job's secrets."""
    identity: Text | None = None
    """Not supported: leave it out."""

    def to_model(self) -> Registry:
        """Give the credentials as the model has them: complete, checked before."""
        return Registry(
            server=self.server,
            username=self.username or "",
            password_secret=self.password_secret_ref or "",
        )


class IdentitySettingWire(WireModel):
    """Accepted and not used."""

    identity: Word
    """`system` or an id."""
    lifecycle: Word | None = None
    """None, Main, Init or All."""


class ConfigurationWire(WireModel):
    """Trigger, limits and credentials."""

    trigger_type: TriggerName
    """`Manual`, `Schedule` or `Event`."""
    replica_timeout: Seconds
    """Seconds that one replica may run."""
    replica_retry_limit: Count = 0
    """Further attempts after a replica failed."""
    manual_trigger_config: ManualWire | None = None
    """Only with `triggerType: Manual`."""
    schedule_trigger_config: ScheduleWire | None = None
    """Only with `triggerType: Schedule`."""
    event_trigger_config: EventWire | None = None
    """Only with `triggerType: Event`."""
    secrets: tuple[SecretWire, ...] = ()
    """Secrets of the job; those from files and variables stand under `x-scaler.secrets`."""
    registries: tuple[RegistryWire, ...] = ()
    """Image registries."""
    identity_settings: tuple[IdentitySettingWire, ...] = ()
    """Accepted and not used."""
    dapr: Unsupported = None
    """Not supported for jobs."""

    @property
    def trigger(self) -> ManualWire:
        """The trigger object that is in force; a Manual job may leave it out."""
        chosen = {
            TriggerType.MANUAL: self.manual_trigger_config,
            TriggerType.SCHEDULE: self.schedule_trigger_config,
            TriggerType.EVENT: self.event_trigger_config,
        }[self.trigger_type]
        return chosen or ManualWire()
