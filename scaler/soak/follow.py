"""Follows executions through the API from their begin to their end, before the history forgets them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, Protocol

from scaler.errors import DaemonUnreachable, ScalerError
from scaler.rig.daemon import Api
from scaler.soak.notes import Notes, Ran

NEWEST: Final = 200
"""Executions looked at each time; with looks seconds apart, none ends and goes unseen."""


class SoakApi(Api, Protocol):
    """What a soak asks of the daemon beside the rest."""

    def execution(self, job: str, execution: str) -> Any:
        """Give one execution."""
        ...

    def stop(self, job: str, execution: str) -> Any:
        """Ask one execution to stop."""
        ...

    def suspend(self, job: str) -> Any:
        """Let nothing of a job start."""
        ...

    def resume(self, job: str) -> Any:
        """Let a job start executions again."""
        ...

    def reset(self, job: str) -> Any:
        """Forget a job's failures."""
        ...


def look(api: SoakApi, notes: Notes) -> None:
    """Take in the newest executions, and those that were under way and are not among them.

    Raises:
        DaemonUnreachable: none answers.
    """
    found = [_ran(body) for body in api.executions(None, limit=NEWEST)]
    here = {ran.name for ran in found}
    for ran in found:
        take(notes, ran)
    for ran in [ran for ran in notes.ran.values() if not ran.is_final and ran.name not in here]:
        try:
            take(notes, _ran(api.execution(ran.job, ran.name)))
        except DaemonUnreachable:
            raise
        except ScalerError:
            notes.unseen.append(ran.name)
            del notes.ran[ran.name]


def take(notes: Notes, ran: Ran) -> None:
    """Note how an execution is; an end that is not the one that was seen before is noted apart."""
    before = notes.ran.get(ran.name)
    if before is not None and before.is_final and (before.status, before.reason) != (ran.status, ran.reason):
        notes.changed.append(ran.name)
    notes.ran[ran.name] = ran


def _ran(body: Any) -> Ran:
    own = body["properties"]
    replicas = own["detailedStatus"]["replicas"]
    begun = [one["times"]["created"] for one in replicas if "created" in one.get("times", {})]
    return Ran(
        name=str(body["name"]),
        job=_job(str(body["id"])),
        status=str(own["status"]),
        reason=str(own.get("reason", "")),
        replicas=tuple((r["name"], r.get("reason", "")) for r in replicas),
        begun_at=datetime.fromisoformat(min(begun)).timestamp() if begun else None,
    )


def _job(resource: str) -> str:
    parts = resource.split("/")
    return parts[parts.index("jobs") + 1]
