"""One YAML document of a job file: from its values to a job, its faults placed at line and column."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scaler.config.faults import Fault, mask, parse_where
from scaler.config.secrets import SecretsReading, read_secrets
from scaler.config.source import Document
from scaler.errors import ConfigError
from scaler.model.job import AuthRef, Container, EnvVar, Job, ScaleRule
from scaler.model.names import job_name_fault
from scaler.plugins import Registry
from scaler.ports.executor import ExecutorType
from scaler.ports.scaler import AnyScalerType
from scaler.wire.base import read_text
from scaler.wire.faults import Node, Path, WireFault, where
from scaler.wire.job import JobReading, read_job
from scaler.wire.poison import check_poison
from scaler.wire.rules import check_rule, container_env
from scaler.wire.shares import check_shares
from scaler.wire.warnings import job_warnings


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedJob:
    """A job and where it stands. `secret_files` are the files it takes secrets from, absolute."""

    job: Job
    file: str
    line: int
    column: int
    secret_files: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """Where its name stands: `file:line:column`."""
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadContext:
    """What a document is checked against."""

    file: str
    env: Mapping[str, str]
    executor_settings: Mapping[str, Mapping[str, Any]]
    scalers: Registry[AnyScalerType]
    executors: Registry[ExecutorType]

    @property
    def folder(self) -> str:
        """The job file's folder, absolute: where relative paths start."""
        return os.path.dirname(os.path.abspath(self.file))


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentOutcome:
    """What became of a document."""

    job: LoadedJob | None
    faults: tuple[Fault, ...]
    warnings: tuple[Fault, ...]
    secret_files: tuple[str, ...]


def load_document(document: Document, context: LoadContext) -> DocumentOutcome:
    """Check a document in all its parts and make a job of it if it has no fault."""
    executor, executor_fault = _executor(Node(document.value), context)
    reading = read_job(document.value, needs_image=executor.needs_image if executor else None)
    secrets = read_secrets(reading.root, folder=context.folder, env=context.env)
    found = [*reading.faults, *executor_fault]
    found += [reading.authored(fault) for fault in secrets.faults]
    found += [reading.authored(fault) for fault in _rule_faults(reading.root, secrets, context)]
    found = _without_echoes(found, document)
    job = None
    if not found and not document.faults and reading.job:
        job = reading.job.to_model(secrets=secrets.values, folder=context.folder)
        found = [reading.authored(fault) for fault in _executor_faults(job, executor, context)]
    scribe = _Scribe(document, context.file, reading, secrets)
    place = document.locate(("name",))
    loaded = None
    if job and not found:
        loaded = LoadedJob(
            job=job,
            file=context.file,
            line=place.line,
            column=place.column,
            secret_files=tuple(secrets.files),
        )
    return DocumentOutcome(
        job=loaded,
        faults=scribe.write(found, with_source=True),
        warnings=_warnings(loaded.job, executor, context, reading, scribe) if loaded else (),
        secret_files=tuple(secrets.files),
    )


def _without_echoes(faults: list[WireFault], document: Document) -> list[WireFault]:
    """Leave out faults that only follow from a value that could not be read at all."""
    unread = {fault.path for fault in document.faults}
    around = {path[:-1] for path in unread}
    return [
        fault for fault in faults if fault.path not in unread and (fault.path not in around or fault.at_key)
    ]


class _Scribe:
    """Writes faults of one document, in order of place, with secrets masked."""

    def __init__(self, document: Document, file: str, reading: JobReading, secrets: SecretsReading) -> None:
        self._document = document
        self._file = file
        name = reading.root["name"].text
        self._job = name if name and job_name_fault(name) is None else None
        self._hidden = set(document.drawn) | {secret.reveal() for secret in secrets.values.values()}

    def write(self, found: list[WireFault], *, with_source: bool = False) -> tuple[Fault, ...]:
        faults = [self._fault(fault) for fault in found]
        if with_source:
            faults += [
                self._at(item.position.line, item.position.column, item.path, item.message)
                for item in self._document.faults
            ]
        return tuple(sorted(dict.fromkeys(faults), key=lambda fault: (fault.line, fault.column)))

    def _fault(self, fault: WireFault) -> Fault:
        place = self._document.locate(fault.path, at_key=fault.at_key)
        return self._at(place.line, place.column, fault.path, fault.message)

    def _at(self, line: int, column: int, path: Path, message: str) -> Fault:
        return Fault(
            file=self._file,
            line=line,
            column=column,
            where=where(path),
            message=mask(message, self._hidden),
            job=self._job,
        )


def _executor(root: Node, context: LoadContext) -> tuple[ExecutorType | None, list[WireFault]]:
    node = root["x-scaler"]["executor"]
    if node.is_set and not node.text:
        return None, []
    try:
        return context.executors.load(node.text or "docker"), []
    except ConfigError as exc:
        return None, [node.fault(str(exc))]


def _executor_faults(job: Job, executor: ExecutorType | None, context: LoadContext) -> list[WireFault]:
    if executor is None:
        return []
    found = executor.check(job, context.executor_settings.get(job.executor, {}))
    return [WireFault(path=parse_where(path), message=message) for path, message in found]


def _rule_faults(root: Node, secrets: SecretsReading, context: LoadContext) -> list[WireFault]:
    scale = root["properties"]["configuration"]["eventTriggerConfig"]["scale"]
    env = container_env(_container(root), secrets.values)
    faults: list[WireFault] = []
    for node in scale["rules"]:
        if not node["type"].text:
            continue
        rule = _rule(node)
        resolved, found = check_rule(rule, secrets=secrets.values, env=env, registry=context.scalers)
        incomplete = bool(secrets.faults) or any(ref.secret not in secrets.values for ref in rule.auth)
        incomplete |= node["auth"].is_set and not isinstance(node["auth"].value, list)
        parameter = resolved[0].shares(resolved[1]) if resolved else None
        faults += check_shares(root, node, parameter) if parameter else ()
        faults += check_poison(root, node, resolved) if resolved else ()
        for fault in found:
            if incomplete and not fault.at_key and fault.path != ("type",):
                continue
            path = (*node.path, *fault.path)
            faults.append(WireFault(path=path, message=fault.message, at_key=fault.at_key))
    return faults


def _rule(node: Node) -> ScaleRule:
    """Read as much of an unchecked rule as can be read."""
    raw = node["metadata"].value
    metadata: dict[str, str] = {}
    for key, value in raw.items() if isinstance(raw, dict) else ():
        if isinstance(value, str | int | float):
            metadata[str(key)] = str(read_text(value))
    refs = tuple(
        AuthRef(parameter=entry["triggerParameter"].text, secret=entry["secretRef"].text)
        for entry in node["auth"]
        if entry["triggerParameter"].text and entry["secretRef"].text
    )
    identity = node["identity"].text or None
    return ScaleRule(
        name=node["name"].text, type=node["type"].text, metadata=metadata, auth=refs, identity=identity
    )


def _container(root: Node) -> Container:
    env: list[EnvVar] = []
    for container in list(root["properties"]["template"]["containers"])[:1]:
        for item in container["env"]:
            value = item["value"].value
            text = str(read_text(value)) if isinstance(value, str | int | float) else None
            if item["name"].text:
                env.append(
                    EnvVar(name=item["name"].text, value=text, secret_ref=item["secretRef"].text or None)
                )
    return Container(name="", env=tuple(env))


def _warnings(
    job: Job, executor: ExecutorType | None, context: LoadContext, reading: JobReading, scribe: _Scribe
) -> tuple[Fault, ...]:
    """List what runs, but otherwise than a job says or than it would in Azure."""
    found = job_warnings(reading.root)
    if executor is not None:
        told = executor.notes(job, context.executor_settings.get(job.executor, {}))
        found += [WireFault(path=parse_where(path), message=message) for path, message in told]
    return scribe.write([reading.authored(one) for one in found])
