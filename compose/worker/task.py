"""What the sample workers share: how a message is read, worked on, and reported.

A message of `scaler load` is JSON: `id`, `think` (seconds to work), `poison` (fail until then, in seconds since 1970).
Any other text is work of WORK seconds, with the text as its id. A report goes to RESULT_QUEUE, if that is set, and to
the log.
"""

import json
import os
import sys
import time
from dataclasses import dataclass

STARTED = time.time()
"""When the worker was ready to take a message: its client library is imported by then."""

WAIT_S = float(os.environ.get("WAIT", "5"))
"""How long to wait for a message before the queue counts as empty."""


@dataclass(frozen=True)
class Task:
    """What one message asks for."""

    id: str
    think_s: float
    is_poison: bool


def read(body: str) -> Task:
    """Read a message."""
    work = float(os.environ.get("WORK", "0"))
    try:
        found = json.loads(body)
        is_poison = time.time() < float(found.get("poison", 0))
        return Task(str(found["id"]), float(found.get("think", work)), is_poison)
    except (ValueError, TypeError, KeyError, AttributeError):
        return Task(body, work, is_poison=False)


def report(task: Task | None, **more: object) -> str:
    """Write the report of a task, or of an empty queue, to the log; give it to be sent."""
    facts = {"id": None if task is None else task.id, "empty": task is None, "startedAt": round(STARTED, 3)}
    facts["reportedAt"] = round(time.time(), 3)
    facts["execution"] = os.environ.get("CONTAINER_APP_JOB_EXECUTION_NAME", "")
    line = json.dumps(facts | more)
    print(line, flush=True)
    return line


def complain(task: Task) -> int:
    """Say that a task cannot be done; give the exit code."""
    print(f"{task.id}: cannot be done", file=sys.stderr, flush=True)
    return 1
