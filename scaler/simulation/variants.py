"""Settings to try: `pollingInterval=5,orders/maxExecutions=20` changes jobs in memory, as job files could have it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from difflib import get_close_matches
from typing import Any

from scaler.errors import ConfigError
from scaler.model.job import COMPLETIONS_MAX, PARALLELISM_MAX, EventTrigger, Job, Strategy, StrategyName

AS_WRITTEN = "as written"


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One set of changes (job or "" for all, key, value); none: the jobs as their files have them."""

    name: str = AS_WRITTEN
    changes: tuple[tuple[str, str, str], ...] = ()


def read_variant(text: str) -> Variant:
    """Read `[JOB/]KEY=VALUE[,[JOB/]KEY=VALUE…]`.

    Raises:
        ConfigError: a key is unknown, or a value is none of its kind.
    """
    changes = []
    for part in text.split(","):
        name, equals, value = part.strip().partition("=")
        job, _slash, key = name.rpartition("/")
        if key not in _KEYS or not equals:
            near = get_close_matches(key, _KEYS, 1)
            hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(_KEYS)}"
            raise ConfigError(f"--set {text}: got '{part}'; write KEY=VALUE or JOB/KEY=VALUE; {hint}")
        _KEYS[key][0](value, f"--set {key}")
        changes.append((job, key, value))
    return Variant(name=text, changes=tuple(changes))


def apply(variant: Variant, jobs: Sequence[Job]) -> tuple[Job, ...]:
    """Change the jobs; what speaks of event triggers changes only those.

    Raises:
        ConfigError: the changes do not fit a job (a minimum above its maximum), or there is no job of that name.
    """
    names = {job.name for job in jobs}
    for target, key, _text in variant.changes:
        if target and target not in names:
            known = ", ".join(sorted(names))
            raise ConfigError(f"--set {target}/{key}=…: no such job in the files; known: {known}")
    return tuple(_applied(variant, job) for job in jobs)


def _applied(variant: Variant, job: Job) -> Job:
    changed = job
    for target, key, text in variant.changes:
        read, put = _KEYS[key]
        changed = put(changed, read(text, f"--set {key}")) if target in ("", job.name) else changed
    trigger = changed.trigger
    if isinstance(trigger, EventTrigger) and trigger.min_executions > trigger.max_executions:
        low, high = trigger.min_executions, trigger.max_executions
        raise ConfigError(
            f"--set {variant.name}: job {job.name}: minExecutions {low} is above maxExecutions {high}; set both"
        )
    return changed


def _whole(least: int, most: int) -> Callable[[str, str], int]:
    def read(text: str, what: str) -> int:
        if not text.strip().isdecimal() or not least <= int(text) <= most:
            raise ConfigError(f"{what}: got '{text}'; write a whole number from {least} to {most}")
        return int(text)

    return read


def _number(text: str, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 10_000:
        raise ConfigError(f"{what}: got '{text}'; write a number above 0")
    return value


def _strategy(text: str, what: str) -> StrategyName:
    try:
        return StrategyName(text)
    except ValueError:
        known = ", ".join(StrategyName)
        raise ConfigError(f"{what}: got '{text}'; write one of {known}") from None


def _refill(text: str, what: str) -> bool:
    if text not in ("true", "false"):
        raise ConfigError(f"{what}: got '{text}'; write true or false")
    return text == "true"


def _trigger(**names: Callable[[Any], Any]) -> Callable[[Job, Any], Job]:
    def put(job: Job, value: Any) -> Job:
        if not isinstance(job.trigger, EventTrigger):
            return job
        changes = {name: make(value) for name, make in names.items()}
        return replace(job, trigger=replace(job.trigger, **changes))

    return put


def _job(name: str, make: Callable[[Any], Any]) -> Callable[[Job, Any], Job]:
    return lambda job, value: replace(job, **{name: make(value)})


def _resources(name: str, make: Callable[[Any], Any]) -> Callable[[Job, Any], Job]:
    def put(job: Job, value: Any) -> Job:
        container = job.template.container
        resources = replace(container.resources, **{name: make(value)})
        return replace(job, template=replace(job.template, container=replace(container, resources=resources)))

    return put


def _seconds(value: int) -> timedelta:
    return timedelta(seconds=value)


def _same(value: Any) -> Any:
    return value


_KEYS: dict[str, tuple[Callable[[str, str], Any], Callable[[Job, Any], Job]]] = {
    "pollingInterval": (_whole(1, 86_400), _trigger(polling_interval=_seconds)),
    "minExecutions": (_whole(0, 100_000), _trigger(min_executions=_same)),
    "maxExecutions": (_whole(1, 100_000), _trigger(max_executions=_same)),
    "strategy": (_strategy, _trigger(strategy=lambda name: Strategy(name=name))),
    "refill": (_refill, _trigger(refill=_same)),
    "replicaTimeout": (_whole(1, 31_536_000), _job("replica_timeout", _seconds)),
    "replicaRetryLimit": (_whole(0, 1000), _job("replica_retry_limit", _same)),
    "parallelism": (_whole(1, PARALLELISM_MAX), _job("parallelism", _same)),
    "replicaCompletionCount": (_whole(1, COMPLETIONS_MAX), _job("replica_completion_count", _same)),
    "cpu": (_number, _resources("cpu", _same)),
    "memory": (_number, _resources("memory_bytes", lambda gib: int(gib * (1 << 30)))),
}
