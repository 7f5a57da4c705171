"""From job files, a rate or a trace, and options, to what is simulated: all that a user can get wrong is told here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path

from scaler.bounds import engine_limits
from scaler.config.load import load_paths
from scaler.config.settings import load_settings
from scaler.errors import ConfigError
from scaler.model.job import EventTrigger, Job, ManualTrigger
from scaler.observability.logs import configure_logs
from scaler.simulation.arrivals import Arrivals, Burst, Flow, Rate, draw
from scaler.simulation.chance import Spans
from scaler.simulation.deduce import Told, told_by
from scaler.simulation.queue import Habits
from scaler.simulation.result import Outcome, Price
from scaler.simulation.run import BEGINNING, Scene, simulate
from scaler.simulation.variants import Variant, apply
from scaler.simulation.worker import Trade
from scaler.trace.read import Trace

WORK = Spans(kind="fixed", low=30.0)
START = Spans(kind="fixed", low=1.0)
DAY_S = 86_400.0

Tell = Callable[[str, float], None]
"""Hears what is done, and which share of it is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulateOptions:
    """What the command line says. None: as the trace tells, else the default.

    Attributes:
        rates, trace: where messages come from; one of them.
        variants: settings to try beside the files' own.
        span_s: how long messages come in, seconds.
        work, start, failing: how long a message and a start take, and how many executions fail.
        begin: the first moment, for schedules.
        settings: the daemon's settings file; its limits hold.
        outages: from when until when the daemon is down, seconds.
    """

    paths: tuple[Path, ...]
    rates: tuple[Rate, ...] = ()
    trace: Path | None = None
    variants: tuple[Variant, ...] = ()
    span_s: float | None = None
    work: Spans | None = None
    start: Spans | None = None
    failing: float | None = None
    poison: float = 0.0
    patience_s: float = 1.0
    take: int | None = None
    poll_s: float = 0.05
    habits: Habits = field(default_factory=Habits)
    price: Price | None = None
    seed: int = 1
    begin: datetime | None = None
    settings: Path | None = None
    outages: tuple[tuple[float, float], ...] = ()


def simulate_files(
    options: SimulateOptions, env: Mapping[str, str], tell: Tell = lambda _name, _share: None
) -> tuple[Outcome, ...]:
    """Simulate the jobs of files as they are written, then with each variant.

    Raises:
        ConfigError: a file, the trace or an option is wrong; all faults of job files, one a line.
    """
    configure_logs(level="error", form="console")
    settings = load_settings(options.settings, env=env)
    jobs = _load(options.paths, env)
    told = _told(options.trace, tell) if options.trace is not None else None
    scene = replace(_scene(options, jobs, told), limits=engine_limits(settings))
    outcomes = []
    for variant in (Variant(), *options.variants):
        changed = apply(variant, jobs)
        outcomes.append(
            simulate(
                changed, scene, settings=variant.name,
                tell=partial(_tell_share, tell, variant.name, scene.span_s),
            )
        )  # fmt: skip
    return tuple(outcomes)


def _told(path: Path, tell: Tell) -> Told:
    return told_by(Trace(path, partial(tell, f"reading {path.name}")))


def _tell_share(tell: Tell, name: str, span_s: float, at_s: float) -> None:
    tell(f"simulating ({name})", min(1.0, at_s / span_s))


def _load(paths: Sequence[Path], env: Mapping[str, str]) -> tuple[Job, ...]:
    result = load_paths(paths, env=env)
    if result.faults:
        raise ConfigError("\n".join(str(fault) for fault in result.faults))
    jobs = tuple(loaded.job for loaded in result.jobs)
    if all(isinstance(job.trigger, ManualTrigger) for job in jobs):
        raise ConfigError(
            "no job with the trigger Event or Schedule in the files: there is nothing to simulate"
        )
    return jobs


def _scene(options: SimulateOptions, jobs: Sequence[Job], told: Told | None) -> Scene:
    span_s = options.span_s or (max(told.span_s, 1.0) if told else DAY_S)
    rules = [
        (job.name, rule.name)
        for job in jobs
        if isinstance(job.trigger, EventTrigger)
        for rule in job.trigger.rules
    ]
    arrivals = _of_trace(told, rules) if told else _of_rates(options, rules, span_s)
    return Scene(
        arrivals=arrivals,
        trades={job.name: _trade(options, job.name, told) for job in jobs},
        habits=options.habits,
        poison=options.poison,
        span_s=span_s,
        poll_s=options.poll_s,
        seed=options.seed,
        begin=options.begin or (told.begin if told else BEGINNING),
        price=options.price,
        outages=options.outages,
    )


def _trade(options: SimulateOptions, job: str, told: Told | None) -> Trade:
    work = options.work or (told.work.get(job) if told else None) or WORK
    start = options.start or (told.start.get(job) if told else None) or START
    failing = options.failing
    if failing is None:
        failing = told.failing.get(job, 0.0) if told else 0.0
    return Trade(work=work, start=start, failing=failing, patience_s=options.patience_s, take=options.take)


def _of_rates(
    options: SimulateOptions, rules: Sequence[tuple[str, str]], span_s: float
) -> dict[tuple[str, str], Arrivals]:
    parts: dict[tuple[str, str], list[Flow | Burst]] = defaultdict(list)
    for rate in options.rates:
        for job, rule in _named(rate.target, rules):
            parts[job, rule] += rate.parts
    return {
        key: draw(some, span_s=span_s, seed=options.seed, name="/".join(key)) for key, some in parts.items()
    }


def _named(target: str | None, rules: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    if target is None:
        return list(rules)
    found = [(job, rule) for job, rule in rules if target in (job, f"{job}/{rule}")]
    if not found:
        known = ", ".join(f"{job}/{rule}" for job, rule in rules) or "none"
        raise ConfigError(f"--rate {target}=…: no such job or rule in the files; known: {known}")
    return found


def _of_trace(told: Told, rules: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Arrivals]:
    found: dict[tuple[str, str], list[tuple[float, int]]] = defaultdict(list)
    for (job, rule), some in told.arrivals.items():
        for key in rules:
            if key == (job, rule) or (rule is None and key[0] == job):
                found[key] += some
    if rules and not found:
        known = ", ".join(sorted({job for job, _rule in told.arrivals})) or "none"
        raise ConfigError(f"the trace tells of no job of the files; it has: {known}")
    return {key: sorted(some) for key, some in found.items()}
