"""The one place where a name is checked or made.

Rules: Container Apps job names (1-32 characters, lower-case letters, digits and single dashes, a
letter first, an alphanumeric last); execution and replica names as the service forms them.
"""

from __future__ import annotations

import re
import secrets
from datetime import datetime

JOB_NAME = re.compile(r"[a-z](?:-?[a-z0-9])*")
JOB_NAME_MAX = 32
_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"

LABEL_INSTANCE = "io.scaler.instance"
LABEL_JOB = "io.scaler.job"
LABEL_EXECUTION = "io.scaler.execution"
LABEL_REPLICA = "io.scaler.replica"
LABEL_CONTAINER = "io.scaler.container"
LABEL_PLAN = "io.scaler.plan"
LABEL_NETWORK = "io.scaler.network"


def job_name_fault(name: str) -> str | None:
    """Say what is wrong with a job name, or None if it is a good one."""
    if not name:
        return "a job needs a name"
    if len(name) > JOB_NAME_MAX:
        return f"{len(name)} characters; at most {JOB_NAME_MAX} are allowed"
    if not JOB_NAME.fullmatch(name):
        return "use lower-case letters, digits and single dashes; a letter first, no dash last"
    return None


def _suffix(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def event_execution_name(job: str) -> str:
    """Name an execution started by a scale rule: `<job>-` and 10 random characters.

    The service itself uses 5; at a thousand executions an hour those would collide within days.
    """
    return f"{job}-{_suffix(10)}"


def manual_execution_name(job: str) -> str:
    """Name an execution started by hand: `<job>-` and 7 random characters."""
    return f"{job}-{_suffix(7)}"


def schedule_execution_name(job: str, fire_time: datetime) -> str:
    """Name a scheduled execution: `<job>-` and the minutes since 1970 of its fire time."""
    return f"{job}-{int(fire_time.timestamp()) // 60}"


def replica_name(execution: str) -> str:
    """Name a replica: its execution's name, a dash and 5 random characters."""
    return f"{execution}-{_suffix(5)}"
