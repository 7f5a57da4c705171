"""What should run after files changed: good jobs replace old ones, a broken edit keeps the old one alive."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from scaler.config.document import LoadedJob
from scaler.config.load import Fault, LoadResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """The jobs that should run now, by name, and the broken edit that each kept one awaits."""

    jobs: Mapping[str, LoadedJob]
    faults: Mapping[str, str]


def merge(running: Mapping[str, LoadedJob], result: LoadResult) -> Merged:
    """Decide which jobs run: all good ones, and running ones whose file (or self) is broken now.

    `faults` is keyed by job name, or by file where a fault cannot be laid at a running job's door.
    """
    jobs = {loaded.job.name: loaded for loaded in result.jobs}
    faults: dict[str, str] = {}
    for name, old in running.items():
        broken = [fault for fault in result.faults if _concerns(fault, name, old)]
        if broken and name not in jobs:
            jobs[name] = old
            faults[name] = "\n".join(map(str, broken))
    laid = "\n".join(faults.values())
    for fault in result.faults:
        if str(fault) not in laid:
            key = fault.job or fault.file
            faults[key] = "\n".join(filter(None, [faults.get(key), str(fault)]))
    return Merged(jobs=jobs, faults=faults)


def _concerns(fault: Fault, name: str, old: LoadedJob) -> bool:
    if fault.job is not None:
        return fault.job == name
    return old.file == fault.file or old.file.startswith(fault.file.rstrip(os.sep) + os.sep)
