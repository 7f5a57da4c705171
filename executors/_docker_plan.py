"""Decides what comes next in a replica of several containers: pure, from what is known of them.

The plan is a label of the container that holds the replica's network, so that a daemon that was not there at
the launch can go on with it. It tells names and probes, and no secret.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from scaler.model.pod import Probe, ProbeType
from scaler.model.replica import Fault, PodSpec, ReplicaExit, Usage

_EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The containers of a replica by name: `init` in order, then `others` together; some of those are sidecars."""

    init: tuple[str, ...]
    others: tuple[str, ...]
    sidecars: frozenset[str] = frozenset()
    probes: Mapping[str, tuple[Probe, ...]] = field(default_factory=dict)

    @property
    def main(self) -> tuple[str, ...]:
        """Those whose ends decide."""
        return tuple(name for name in self.others if name not in self.sidecars)

    @property
    def names(self) -> tuple[str, ...]:
        """All, in the order of their starts."""
        return (*self.init, *self.others)


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Start these containers."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How the replica ends, whatever its containers still do. Written down before it is carried out.

    Attributes:
        container: whose end it is; None if it is that of all.
        reason: outweighs what the container's exit says; '' leaves it to that.
        grace_s: from TERM to KILL of that container, if not the executor's own.
    """

    container: str | None = None
    reason: str = ""
    message: str = ""
    grace_s: float | None = None


COMPLETED = Verdict(reason="Completed")
STOPPED = Verdict(reason="Stopped", message="stopped before all of its containers were started")
HOLDER_LOST = Verdict(reason="Lost", message="the container that holds the replica's network has ended")


def plan_of(pod: PodSpec) -> Plan:
    """Give the plan that a specification means."""
    return Plan(
        init=tuple(one.name for one in pod.init),
        others=tuple(one.name for one in pod.containers),
        sidecars=frozenset(pod.sidecars),
        probes={one.name: one.probes for one in pod.containers if one.probes},
    )


def decide(
    plan: Plan,
    ended: Mapping[str, ReplicaExit],
    unstarted: Collection[str],
    *,
    stopping: bool,
    holder_up: bool,
) -> Start | Verdict | None:
    """Say what to do next; None: wait.

    Args:
        plan: the replica's containers.
        ended: exits of those that have ended.
        unstarted: those that were never started. The rest runs.
        stopping: whether the replica has been asked to end, so that nothing more is started.
        holder_up: whether the container that holds the network runs.
    """
    for name in plan.init:
        if name not in ended:
            return _next((name,) if name in unstarted else (), stopping=stopping, holder_up=holder_up)
        if ended[name].code != 0:
            return Verdict(container=name)
    failed = [name for name in plan.main if name in ended and ended[name].code != 0]
    if failed:
        return Verdict(container=min(failed, key=lambda name: ended[name].at or _EPOCH))
    if all(name in ended for name in plan.main):
        return COMPLETED
    waiting = tuple(name for name in plan.others if name in unstarted)
    if stopping and all(name in ended or name in unstarted for name in plan.main):
        return STOPPED
    return _next(() if stopping else waiting, stopping=stopping, holder_up=holder_up)


def _next(waiting: tuple[str, ...], *, stopping: bool, holder_up: bool) -> Start | Verdict | None:
    if not holder_up:
        return HOLDER_LOST
    if waiting:
        return STOPPED if stopping else Start(names=waiting)
    return None


def exit_by(verdict: Verdict, plan: Plan, ended: Mapping[str, ReplicaExit]) -> ReplicaExit:
    """Give the replica's exit, now that all of its containers have ended."""
    mains = [ended[name] for name in plan.main if name in ended]
    at = max((one.at for one in mains if one.at is not None), default=None)
    if verdict.container is None:
        code = 0 if verdict == COMPLETED else None
        return ReplicaExit(
            code=code,
            reason=verdict.reason,
            message=verdict.message,
            at=at,
            usage=_usage(ended),
            image_digest=mains[0].image_digest if mains else None,
            restarted_at=_restarted_at(ended),
        )
    own = ended.get(verdict.container, ReplicaExit(code=None, reason="Lost"))
    code = None if verdict.reason and own.code == 0 else own.code  # it did not succeed, whatever it left with
    text = verdict.message or own.message
    return ReplicaExit(
        code=code,
        reason=verdict.reason or own.reason,
        message=f"container {verdict.container}" + (f": {text}" if text else ""),
        at=own.at or at,
        fault=Fault.APP if verdict.reason else own.fault,
        usage=_usage(ended),
        image_digest=own.image_digest,
        restarted_at=_restarted_at(ended),
    )


def _restarted_at(ended: Mapping[str, ReplicaExit]) -> datetime | None:
    """Tell when somebody started one of the containers anew, last."""
    return max((one.restarted_at for one in ended.values() if one.restarted_at is not None), default=None)


def _usage(ended: Mapping[str, ReplicaExit]) -> Usage:
    """Add up what is known of the containers' use: the replica has used at least that."""
    seconds = [one.usage.cpu_seconds for one in ended.values() if one.usage.cpu_seconds is not None]
    peaks = [one.usage.peak_memory_bytes for one in ended.values() if one.usage.peak_memory_bytes is not None]
    return Usage(
        cpu_seconds=sum(seconds) if seconds else None, peak_memory_bytes=max(peaks) if peaks else None
    )


def write_plan(plan: Plan) -> str:
    """Give the label's text."""
    probes = {name: [_write_probe(one) for one in many] for name, many in plan.probes.items()}
    document = {
        "init": plan.init,
        "others": plan.others,
        "sidecars": sorted(plan.sidecars),
        "probes": probes,
    }
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)


def read_plan(text: str) -> Plan:
    """Read the label.

    Raises:
        ValueError: it is not one of ours.
    """
    try:
        told = json.loads(text)
        return Plan(
            init=tuple(told["init"]),
            others=tuple(told["others"]),
            sidecars=frozenset(told["sidecars"]),
            probes={name: tuple(_read_probe(one) for one in many) for name, many in told["probes"].items()},
        )
    except (KeyError, TypeError, AttributeError) as exc:
        raise ValueError(f"no plan of ours: {exc}") from exc


def _write_probe(probe: Probe) -> dict[str, Any]:
    return {
        "type": probe.type.value,
        "port": probe.port,
        "path": probe.path,
        "https": probe.is_https,
        "headers": probe.headers,
        "delay": probe.initial_delay.total_seconds(),
        "period": probe.period.total_seconds(),
        "timeout": probe.timeout.total_seconds(),
        "failures": probe.failure_threshold,
        "grace": None if probe.grace is None else probe.grace.total_seconds(),
    }


def _read_probe(told: Mapping[str, Any]) -> Probe:
    grace = told["grace"]
    return Probe(
        type=ProbeType(told["type"]),
        port=told["port"],
        path=told["path"],
        is_https=told["https"],
        headers=tuple((name, value) for name, value in told["headers"]),
        initial_delay=timedelta(seconds=told["delay"]),
        period=timedelta(seconds=told["period"]),
        timeout=timedelta(seconds=told["timeout"]),
        failure_threshold=told["failures"],
        grace=None if grace is None else timedelta(seconds=grace),
    )
