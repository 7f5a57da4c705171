"""Small jobs around a shell script, and how to read their executions."""

from __future__ import annotations

import uuid
from typing import Any

from tests.e2e.daemon import Daemon
from tests.e2e.work import FINAL


def manual_job(
    image: str, script: str, *, retry: int = 0, timeout_s: int = 60, env: dict[str, str] | None = None
) -> dict[str, Any]:
    """Give the file of a job that is started by hand and runs a shell script. `$` is what the shell sees."""
    container = {
        "name": "main",
        "image": image,
        "command": ["sh", "-c", script.replace("${", "$${")],
        "env": [{"name": name, "value": value} for name, value in (env or {}).items()],
        "resources": {"cpu": 0.5, "memory": "0.25Gi"},
    }
    return {
        "name": f"hand-{uuid.uuid4().hex[:10]}",
        "properties": {
            "configuration": {
                "triggerType": "Manual",
                "replicaTimeout": timeout_s,
                "replicaRetryLimit": retry,
                "manualTriggerConfig": {"parallelism": 1, "replicaCompletionCount": 1},
            },
            "template": {"containers": [container]},
        },
        "x-scaler": {"executor": "docker", "docker": {"network": "host"}},
    }


def local_job(
    script: str, *, retry: int = 0, timeout_s: int = 60, env: dict[str, str] | None = None, **process: Any
) -> dict[str, Any]:
    """Give the file of the same job for the process executor, with that executor's own options."""
    job = manual_job("", script, retry=retry, timeout_s=timeout_s, env=env)
    container = job["properties"]["template"]["containers"][0]
    del container["image"], container["resources"]
    job["x-scaler"] = {"executor": "process", **({"process": process} if process else {})}
    return job


def is_final(daemon: Daemon, job: str, execution: str) -> bool:
    """Tell whether an execution has ended."""
    return daemon.client.execution(job, execution)["properties"]["status"] in FINAL


def outcome(execution: dict[str, Any]) -> tuple[str, str, list[int | None]]:
    """Give status, reason and the exit codes of the replicas of an execution."""
    properties = execution["properties"]
    replicas = properties["detailedStatus"]["replicas"]
    codes = [container.get("code") for replica in replicas for container in replica["containers"]]
    return properties["status"], properties.get("reason", ""), codes


async def end_of(
    daemon: Daemon, job: str, execution: str, *, timeout_s: float = 30
) -> tuple[str, str, list[int | None]]:
    """Wait for the end of an execution and give its outcome, as the command line tells it."""
    await daemon.until(
        lambda: is_final(daemon, job, execution), what=f"{execution} ends", timeout_s=timeout_s
    )
    return outcome(await daemon.json("execution", "show", job, execution))
