"""Job files of a soak, and the settings of its daemon: bounds so small that the past reaches them within minutes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from scaler.rig.daemon import env_list, spool_job
from scaler.rig.spool import MOUNT
from scaler.soak.kinds import Kind

MARK: Final = "SCALER_SOAK"
"""Variable by which processes of a soak are found."""

SETTINGS: Final[Mapping[str, Any]] = {
    "history": {"executions": 25, "decisions": 60, "logBytes": "1Mi"},
    "limits": {"stopGrace": "2s", "launchTimeout": "60s"},
}
_RESOURCES: Final = {"cpu": 0.25, "memory": "0.5Gi"}
_SLEEP_S: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """Where jobs are run: the folder of everything, the mark of the run, and the image if containers run."""

    folder: Path
    mark: str
    image: str | None = None

    def queue(self, job: str) -> Path:
        """Give the folder of a job's queue."""
        return self.folder / "queues" / job


def settings(ground: Ground) -> dict[str, Any]:
    """Give the daemon's settings."""
    executors: dict[str, Any] = {"process": {"maxLogBytes": 1 << 17}}
    if ground.image is not None:
        executors["docker"] = {"allowedMounts": [str(ground.folder)], "logMaxSize": "128k"}
    return {**SETTINGS, "executors": executors}


def event_job(name: str, kind: Kind, ground: Ground, *, most: int | None = None) -> dict[str, Any]:
    """Make the file of an event job; `most` replaces its maximum."""
    queue = ground.queue(name)
    env = {"START": f"{kind.start_s:g}", "PATIENCE": kind.patience_s, "JOURNAL": 1}
    container, extension = _worker(name, queue, ground, env)
    job = spool_job(
        name,
        queue,
        scale={"pollingInterval": 2, "maxExecutions": kind.most if most is None else most},
        container=container,
        extension=extension,
    )
    own = job["configuration"]
    own |= {"replicaTimeout": kind.timeout_s, "replicaRetryLimit": kind.retries}
    event = own["eventTriggerConfig"]
    event |= {"parallelism": kind.parallelism, "replicaCompletionCount": kind.completions}
    event["scale"]["rules"][0]["metadata"]["value"] = str(kind.completions)
    return job


def manual_job(name: str, ground: Ground) -> dict[str, Any]:
    """Make the file of a job that people start."""
    return _plain(name, ground, {"triggerType": "Manual", "manualTriggerConfig": {}})


def scheduled_job(name: str, ground: Ground) -> dict[str, Any]:
    """Make the file of a job that starts each minute."""
    trigger = {"triggerType": "Schedule", "scheduleTriggerConfig": {"cronExpression": "* * * * *"}}
    return _plain(name, ground, trigger)


def _plain(name: str, ground: Ground, trigger: Mapping[str, Any]) -> dict[str, Any]:
    container, extension = _worker(name, ground.queue(name), ground, {})
    container["command"] = ["/bin/sh", "-c", f"sleep {_SLEEP_S}"]
    return {
        "name": name,
        "configuration": {**trigger, "replicaTimeout": 60, "replicaRetryLimit": 0},
        "template": {"containers": [{"name": "worker", **container}]},
        "x-scaler": extension,
    }


def _worker(
    name: str, queue: Path, ground: Ground, env: Mapping[str, object]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give container and extension of a worker on a queue; the job's name tells the executor."""
    if name.startswith("docker-"):
        container = {
            "image": ground.image,
            "command": ["/bin/sh", f"{MOUNT}/worker.sh"],
            "env": env_list({"SPOOL": MOUNT, **env}),
            "resources": _RESOURCES,
        }
        own = {"mounts": [f"{queue}:{MOUNT}"], "user": f"{os.getuid()}:{os.getgid()}"}
        return container, {"executor": "docker", "docker": own}
    variables = {"SPOOL": queue, MARK: ground.mark, **env}
    container = {"command": ["/bin/sh", str(queue / "worker.sh")], "env": env_list(variables)}
    return container, {"executor": "process"}
