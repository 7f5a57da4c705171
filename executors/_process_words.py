"""Puts what the shim of a process replica tells into the words of the executor port."""

from __future__ import annotations

import errno
import signal
import sys
from datetime import UTC, datetime

from executors._process_records import Ended
from scaler.errors import ExecutorUnavailable, LaunchError
from scaler.model.replica import Fault, ReplicaExit, ReplicaSpec, Usage

_PASSING = frozenset({errno.EAGAIN, errno.ETXTBSY, errno.EMFILE, errno.ENFILE})
_DENIED = frozenset({errno.EACCES, errno.EPERM})
_MISSING = frozenset({errno.ENOENT, errno.ENOTDIR})


def lost(why: str) -> ReplicaExit:
    """Say that nobody knows how a replica ended."""
    return ReplicaExit(code=None, reason="Lost", message=why, fault=Fault.INFRA)


def exit_of(ended: Ended) -> ReplicaExit:
    """Say how a replica ended. Reasons: `Completed`, `Error`, `Signaled`, `CpuLimit`."""
    reason, message = ("Completed" if ended.code == 0 else "Error"), ""
    if ended.signal is not None:
        reason, message = "Signaled", f"ended by {_signal_name(ended.signal)}"
        if ended.signal == signal.SIGKILL and not ended.killed:
            message += ", which this executor did not send; perhaps the machine was out of memory"
    if ended.cpu_limited:
        reason, message = "CpuLimit", "used up the processor seconds that x-scaler.process.cpuSeconds allows"
    at = datetime.fromtimestamp(ended.at, UTC)
    return ReplicaExit(
        code=ended.code, reason=reason, message=message, log_lost=ended.log_lost, at=at, usage=usage_of(ended)
    )


def usage_of(ended: Ended) -> Usage:
    """Say what a replica used. The peak is told in KiB by Linux and in bytes by macOS."""
    unit = 1 if sys.platform == "darwin" else 1024
    peak = None if ended.peak_rss is None else ended.peak_rss * unit
    return Usage(cpu_seconds=ended.cpu_s, peak_memory_bytes=peak)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def start_error(
    spec: ReplicaSpec, *, stage: str, number: int | None, text: str
) -> LaunchError | ExecutorUnavailable:
    """Say what a failed start means: `stage` is the step that failed, `number` the system's error number."""
    if stage in ("gate", "fork", "record") or number in _PASSING:
        return ExecutorUnavailable(f"replica {spec.replica_id}: cannot start a process: {text}")
    if stage == "cwd":
        reason = "PermissionDenied" if number in _DENIED else "CwdNotFound"
        hint = "give a folder that exists as x-scaler.process.cwd"
        return LaunchError(f"job {spec.job}: folder {spec.process.cwd!r}: {text}; {hint}", reason=reason)
    if stage == "limits":
        return LaunchError(f"job {spec.job}: limits of x-scaler.process: {text}", reason="StartFailed")
    reason, hint = "StartFailed", "see whether it starts by hand"
    if number in _MISSING:
        reason, hint = "CommandNotFound", "install it (and the interpreter it names), or give its full path"
    elif number in _DENIED:
        reason, hint = "PermissionDenied", "make it executable for the user that runs the daemon"
    program = (spec.command + spec.args)[0]
    return LaunchError(f"job {spec.job}: command {program!r}: {text}; {hint}", reason=reason)
