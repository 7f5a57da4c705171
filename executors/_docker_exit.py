"""Reads how a container ended from the engine's description of it, and whose trouble that was."""

from __future__ import annotations

import signal
from datetime import UTC, datetime
from typing import Any

from scaler.model.replica import Fault, ReplicaExit

ENDED = frozenset({"exited", "dead", "removing"})
_GOING = frozenset({"dead", "removing"})
_REMOVED = "somebody removed the container while it ran"
_BY_ENGINE = frozenset({128 + signal.SIGTERM, 128 + signal.SIGKILL, 255})
"""How an engine ends its containers when it goes down (TERM, KILL), and what it tells of those that it lost."""


def vanished(*, was_seen: bool) -> ReplicaExit:
    """Say how a container ended that the engine does not know; `was_seen`: it ran when we looked last."""
    if was_seen:
        return ReplicaExit(code=None, reason="RemovedFromOutside", message=_REMOVED, fault=Fault.INFRA)
    message = "the engine does not know the container"
    return ReplicaExit(code=None, reason="Lost", message=message, fault=Fault.INFRA)


def ended_by_a_stranger(how: ReplicaExit) -> bool:
    """Whether it was sent TERM or KILL, and nothing tells by whom."""
    return how.reason == "Signaled" and how.code in _BY_ENGINE


def exit_of(found: dict[str, Any], *, unwatched: bool = False) -> ReplicaExit | None:
    """Say how a container ended, from its description; None while it has not.

    `unwatched`: it ran before the engine went away, or before this daemon began, and this is the first look since.
    Then an end by TERM or KILL is most likely the engine's, or the machine's, which went down; nobody can know that
    it was the app's.
    """
    state = found["State"]
    if state["Status"] not in ENDED:
        return None
    code, at = int(state["ExitCode"]), moment(str(state.get("FinishedAt") or ""))
    reason, message = _words(found, code)
    trouble = None if reason == "OOMKilled" else _trouble(state["Status"], code, unwatched=unwatched)
    if trouble is not None:
        reason, message = trouble
    return ReplicaExit(
        code=code,
        reason=reason,
        message=message,
        at=at,
        fault=Fault.INFRA if trouble else None,
        image_digest=found.get("Image") or None,
    )


def _trouble(status: str, code: int, *, unwatched: bool) -> tuple[str, str] | None:
    """Say which trouble of what runs it ended a container; None if it is to be taken for the app's own end."""
    if code not in _BY_ENGINE:
        return None
    if status in _GOING:  # the engine says so before it kills what it is to remove
        return "RemovedFromOutside", _REMOVED
    if unwatched:
        return "EngineLost", f"ended ({_name(code)}) while the engine was down, or no daemon looked on"
    return None


def _words(found: dict[str, Any], code: int) -> tuple[str, str]:
    message = str(found["State"].get("Error") or "")
    if code == 0:
        return "Completed", message
    if found["State"].get("OOMKilled"):
        limit = int(found["HostConfig"]["Memory"]) >> 20
        return "OOMKilled", f"used more than its {limit} MiB of memory"
    number = _signal(code)
    if number is not None:
        return "Signaled", message or f"ended by {number.name}"
    if code in (126, 127) and not message:
        message = "the command could not be run, or was not found in the image"
    return "Error", message


def moment(text: str) -> datetime | None:
    """Read the engine's time, which has nanoseconds; None for its zero and for what is no time."""
    try:
        found = datetime.fromisoformat(text[:19]).replace(tzinfo=UTC)
        fraction = text[19:].rstrip("Z").lstrip(".")[:6]
        return found.replace(microsecond=int(fraction.ljust(6, "0"))) if found.year > 1970 else None
    except ValueError:
        return None


def _signal(code: int) -> signal.Signals | None:
    try:
        return signal.Signals(code - 128) if code > 128 else None
    except ValueError:
        return None


def _name(code: int) -> str:
    found = _signal(code)
    return found.name if found else f"exit code {code}"
