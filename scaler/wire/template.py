"""What an execution runs, as `properties.template` writes it."""

from __future__ import annotations

from scaler.model.job import Container, EnvVar, Resources
from scaler.wire.base import Cores, Memory, Text, Unsupported, WireModel, Word, parse_memory


class EnvWire(WireModel):
    """One environment variable: `value` or `secretRef`."""

    name: Word
    """Name of the variable."""
    value: Text | None = None
    """Its text; visible in answers of the API, so a secret belongs in `secretRef`."""
    secret_ref: Word | None = None
    """Name of one of the job's secrets, in place of `value`."""

    def to_model(self) -> EnvVar:
        """Give the variable as the model has it."""
        return EnvVar(name=self.name, value=self.value, secret_ref=self.secret_ref)


class ResourcesWire(WireModel):
    """Limits of the container."""

    cpu: Cores = 0.5
    """Processor cores."""
    memory: Memory = "1Gi"
    """Memory, in `Gi` or `Mi`."""
    ephemeral_storage: Text | None = None
    """Accepted and not used: the service fills it in by itself."""

    def to_model(self) -> Resources:
        """Give the limits as the model has them."""
        return Resources(cpu=self.cpu, memory_bytes=parse_memory(self.memory))


class ContainerWire(WireModel):
    """The container that each replica runs."""

    name: Word | None = None
    """Name of the container; the job's name when left out."""
    image: Word | None = None
    """Image to run; only the process executor can do without."""
    image_type: Text | None = None
    """Accepted and not used: newer versions of the service answer `ContainerImage`."""
    command: tuple[Text, ...] = ()
    """Replaces the image's entry point; the program, on the process executor."""
    args: tuple[Text, ...] = ()
    """Arguments, in place of the image's own."""
    env: tuple[EnvWire, ...] = ()
    """Environment variables."""
    resources: ResourcesWire = ResourcesWire()
    """Limits; 0.5 core and 1Gi when left out."""
    probes: Unsupported = None
    """Not supported: leave it out."""
    volume_mounts: Unsupported = None
    """Not supported: leave it out."""

    def to_model(self, default_name: str) -> Container:
        """Give the container as the model has it."""
        return Container(
            name=self.name or default_name,
            image=self.image,
            command=self.command,
            args=self.args,
            env=tuple(item.to_model() for item in self.env),
            resources=self.resources.to_model(),
        )


class TemplateWire(WireModel):
    """The template of a job, or the body of a start."""

    containers: tuple[ContainerWire, ...]
    """The container to run; one."""
    init_containers: Unsupported = None
    """Not supported: leave it out."""
    volumes: Unsupported = None
    """Not supported: leave it out."""
