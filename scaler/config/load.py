"""Loads job files into jobs, or says everything that is wrong with them, in one go and by line."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from scaler.config.document import LoadContext, LoadedJob, load_document
from scaler.config.faults import Fault, mask
from scaler.config.files import RawFile, find_files, read_files
from scaler.config.source import UnreadableText, decode, read_documents
from scaler.plugins import EXECUTORS, SCALERS, Registry
from scaler.ports.executor import ExecutorType
from scaler.ports.scaler import AnyScalerType

__all__ = ["Fault", "LoadResult", "LoadedJob", "load_paths"]

_SHOWN_PLACES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadResult:
    """What a list of paths holds now.

    Attributes:
        jobs: every job without a fault, also from files in which another one is faulty.
        faults: everything that is wrong, by file and line. `Fault.job` tells whose it is; a fault without
            a job concerns all jobs of its file (they could not be read: keep the ones you had).
        warnings: what works but is probably not meant.
        files: job files that were found; secret_files: files that jobs take secrets from.
    """

    jobs: tuple[LoadedJob, ...] = ()
    faults: tuple[Fault, ...] = ()
    warnings: tuple[Fault, ...] = ()
    files: tuple[str, ...] = ()
    secret_files: tuple[str, ...] = ()


@dataclass(slots=True)
class _Gathered:
    jobs: list[LoadedJob] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    warnings: list[Fault] = field(default_factory=list)
    secret_files: list[str] = field(default_factory=list)


def load_paths(
    paths: Sequence[str | os.PathLike[str]],
    *,
    env: Mapping[str, str],
    executor_settings: Mapping[str, Mapping[str, Any]] | None = None,
    scalers: Registry[AnyScalerType] = SCALERS,
    executors: Registry[ExecutorType] = EXECUTORS,
) -> LoadResult:
    """Load files and folders (`*.yaml`, `*.yml`, recursively, hidden ones left out). Never raises for them.

    Blocks on files: call it in a thread from asynchronous code.

    Args:
        paths: files and folders, in any mixture; one file may hold several documents.
        env: variables for `${NAME}` and for secrets.
        executor_settings: the `executors` section of the daemon's settings, for checks of the executors.
        scalers: where scale-rule types are found.
        executors: where executors are found.
    """
    found = find_files([os.fspath(path) for path in paths])
    gathered = _Gathered(faults=list(found.faults))
    for folder in found.empty:
        message = "no *.yaml or *.yml file in it; put job files there"
        gathered.warnings.append(Fault(file=folder, message=message))
    for file in read_files(found.files):
        context = LoadContext(
            file=file.name,
            env=env,
            executor_settings=executor_settings or {},
            scalers=scalers,
            executors=executors,
        )
        _load_file(file, context, gathered)
    _refuse_duplicates(gathered)
    _refuse_unusable(gathered, executor_settings or {}, env, executors)
    return LoadResult(
        jobs=tuple(gathered.jobs),
        faults=tuple(gathered.faults),
        warnings=tuple(gathered.warnings),
        files=found.files,
        secret_files=tuple(dict.fromkeys(gathered.secret_files)),
    )


def _load_file(file: RawFile, context: LoadContext, gathered: _Gathered) -> None:
    if file.fault:
        gathered.faults.append(file.fault)
        return
    try:
        text = decode(file.raw)
    except UnreadableText as exc:
        line, column = (exc.position.line, exc.position.column) if exc.position else (0, 0)
        fault = Fault(file=file.name, line=line, column=column, message=exc.message)
        gathered.faults.append(fault)
        return
    documents, broken = read_documents(text, context.env)
    if broken:
        place = broken.position
        gathered.faults.append(
            Fault(file=file.name, line=place.line, column=place.column, message=broken.message)
        )
    documents = [doc for doc in documents if doc.value is not None or doc.faults]
    if not documents and not broken:
        message = "no job in it; describe one, or delete the file"
        gathered.faults.append(Fault(file=file.name, line=1, column=1, message=message))
    for document in documents:
        outcome = load_document(document, context)
        gathered.jobs += [outcome.job] if outcome.job else []
        gathered.faults += outcome.faults
        gathered.warnings += outcome.warnings
        gathered.secret_files += outcome.secret_files


def _refuse_duplicates(gathered: _Gathered) -> None:
    """Refuse jobs of one name, all of them: which one is meant cannot be told."""
    places: dict[str, list[LoadedJob]] = {}
    for loaded in gathered.jobs:
        places.setdefault(loaded.job.name, []).append(loaded)
    for name, same in places.items():
        if len(same) < 2:
            continue
        for loaded in same:
            others = _listed([other.place for other in same if other is not loaded])
            message = f"the job '{name}' is declared at {others} too; rename one"
            gathered.faults.append(
                Fault(
                    file=loaded.file,
                    line=loaded.line,
                    column=loaded.column,
                    where="name",
                    message=message,
                    job=name,
                )
            )
    gathered.jobs = [loaded for loaded in gathered.jobs if len(places[loaded.job.name]) == 1]


def _listed(places: list[str]) -> str:
    """Name the first ones and count the others: a list of all would be repeated at each of them."""
    more = len(places) - _SHOWN_PLACES
    shown = ", ".join(places[:_SHOWN_PLACES])
    return f"{shown} and {more} more" if more > 0 else shown


def _refuse_unusable(
    gathered: _Gathered,
    settings: Mapping[str, Mapping[str, Any]],
    env: Mapping[str, str],
    executors: Registry[ExecutorType],
) -> None:
    """Refuse the jobs of an executor that cannot work; the fault is the executor's, not that of a job file."""
    for name in dict.fromkeys(loaded.job.executor for loaded in gathered.jobs):
        trouble = executors.load(name).unusable(settings.get(name, {}), env)
        if trouble is not None:
            gathered.faults.append(Fault(file=f"executor {name}", message=mask(trouble, ())))
            gathered.jobs = [loaded for loaded in gathered.jobs if loaded.job.executor != name]
