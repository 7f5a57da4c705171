"""What an execution runs, as `properties.template` writes it."""

from __future__ import annotations

from dataclasses import replace

from scaler.model.job import Container, EnvVar, Resources, Template
from scaler.wire.base import Cores, Memory, Text, WireModel, Word, parse_memory
from scaler.wire.pod import ProbeWire, VolumeMountWire, VolumeWire


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
    ephemeral_storage: Memory | None = None
    """Most that the container may write to its own file system, where the daemon's settings enforce it."""

    def to_model(self) -> Resources:
        """Give the limits as the model has them."""
        storage = self.ephemeral_storage
        return Resources(
            cpu=self.cpu,
            memory_bytes=parse_memory(self.memory),
            storage_bytes=None if storage is None else parse_memory(storage),
        )


class InitContainerWire(WireModel):
    """A container that runs before the others and must end with 0."""

    name: Word | None = None
    """Name of the container; the job's name when left out, which only the first may."""
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
    volume_mounts: tuple[VolumeMountWire, ...] = ()
    """Where the container sees volumes of the template."""

    def to_model(self, default_name: str) -> Container:
        """Give the container as the model has it."""
        return Container(
            name=self.name or default_name,
            image=self.image,
            command=self.command,
            args=self.args,
            env=tuple(item.to_model() for item in self.env),
            resources=self.resources.to_model(),
            mounts=tuple(mount.to_model() for mount in self.volume_mounts),
        )


class ContainerWire(InitContainerWire):
    """A container that each replica runs."""

    probes: tuple[ProbeWire, ...] = ()
    """Questions whose failure fails the replica."""

    def to_model(self, default_name: str) -> Container:
        """Give the container as the model has it."""
        probes = [probe.to_model() for probe in self.probes]
        kept = tuple(probe for probe in probes if probe is not None)
        return replace(super().to_model(default_name), probes=kept)


class TemplateWire(WireModel):
    """The template of a job, or the body of a start."""

    containers: tuple[ContainerWire, ...]
    """The containers to run side by side; they share the network and may share volumes."""
    init_containers: tuple[InitContainerWire, ...] = ()
    """Containers to run before, one after another."""
    volumes: tuple[VolumeWire, ...] = ()
    """Folders that the containers share; gone with the replica."""

    def to_model(self, default_name: str) -> Template:
        """Give what runs as the model has it; how it runs is the extension's part."""
        first, *further = (one.to_model(default_name) for one in self.containers)
        return Template(
            container=first,
            further=tuple(further),
            init=tuple(one.to_model(default_name) for one in self.init_containers),
            volumes=tuple(volume.to_model() for volume in self.volumes),
        )
