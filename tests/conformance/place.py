"""Where sentences are tried: a daemon with both executors, its REST API, and job files made for one of them."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

from scaler.cli.client import ARM_JOBS, RequestFailed
from scaler.config.load import LoadResult, load_paths
from scaler.wire.arm import arm_job
from tests.e2e.daemon import Daemon

Body = dict[str, Any]
VERSION = "api-version=2025-07-01"
FINAL = ("Succeeded", "Failed", "Stopped", "Unknown")
_LONG_S = 90.0


def merged(base: Body, change: Body) -> Body:
    """Lay one document over another; lists are replaced, and None takes a member away."""
    result = deepcopy(base)
    for key, value in change.items():
        if isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        elif value is None:
            result.pop(key, None)
        else:
            result[key] = deepcopy(value)
    return result


def manual(**change: Any) -> Body:
    """Give a small job of the process executor, changed by a document laid over it."""
    base: Body = {
        "name": f"say-{uuid.uuid4().hex[:8]}",
        "properties": {
            "configuration": {"triggerType": "Manual", "replicaTimeout": 60},
            "template": {"containers": [{"name": "main", "command": ["sh", "-c", "true"]}]},
        },
        "x-scaler": {"executor": "process"},
    }
    return merged(base, change)


def configured(trigger: str = "Manual", **members: Any) -> Body:
    """Give a small job with these members of `configuration`."""
    return manual(properties={"configuration": {"triggerType": trigger, **members}})


def event(**scale: Any) -> Body:
    """Give an event job with these members of `scale`; its queue is never asked."""
    rule = {
        "name": "queue",
        "type": "azure-queue",
        "metadata": {"queueName": "work", "accountName": "account"},
        "auth": [{"secretRef": "address", "triggerParameter": "connection"}],
    }
    text = "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5;QueueEndpoint=http://127.0.0.1:1/a;"
    return configured(
        "Event",
        eventTriggerConfig={"scale": {"rules": [rule], **scale}},
        secrets=[{"name": "address", "value": text}],
    )


def load(document: Body) -> LoadResult:
    """Load a document as the daemon loads a file."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "job.yaml"
        path.write_text(json.dumps(document))
        return load_paths([path], env=os.environ)


def faults(document: Body) -> str:
    """Give what is wrong with a document, a line each; empty if it is taken."""
    return "\n".join(str(fault) for fault in load(document).faults)


def answer(document: Body) -> Body:
    """Give the resource that the API answers for a document, which must be taken."""
    loaded = load(document)
    assert not loaded.faults, [str(fault) for fault in loaded.faults]
    return arm_job(loaded.jobs[0].job, subscription="s", resource_group="g")


def properties(document: Body) -> Body:
    """Give `properties` of the resource of a document."""
    found = answer(document)["properties"]
    assert isinstance(found, dict)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A running daemon and one of its executors."""

    daemon: Daemon
    executor: str
    image: str | None

    # --- job files --------------------------------------------------------------------------------------

    def job(self, script: str = "true", **change: Any) -> Body:
        """Give a job for this executor that runs a shell script; `change` is laid over it."""
        container: Body = {"name": "main", "command": ["sh", "-c", script.replace("${", "$${")]}
        extension: Body = {"executor": self.executor}
        if self.executor == "docker":
            container |= {"image": self.image, "resources": {"cpu": 0.25, "memory": "0.5Gi"}}
            extension["docker"] = {"network": "none"}
        document = manual(properties={"template": {"containers": [container]}})
        document["x-scaler"] = extension
        return merged(document, change)

    def configured(self, script: str = "true", trigger: str = "Manual", **members: Any) -> Body:
        """Give a job that runs a script with these members of `configuration`."""
        return self.job(script, properties={"configuration": {"triggerType": trigger, **members}})

    def put(self, document: Body) -> str:
        """Write a job file and wait until the daemon has it; gives the job's name."""
        name = str(document["name"])
        before = self._generation(name)
        self.daemon.write(document)
        self.until(lambda: self._generation(name) > before, f"job {name} is taken")
        return name

    def _generation(self, name: str) -> int:
        try:
            return int(self.daemon.client.live_job(name)["generation"])
        except RequestFailed:
            return 0

    # --- the API ----------------------------------------------------------------------------------------

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Make one request on a job's path; errors are raised with status and code."""
        return self.daemon.client.fetch(method, f"{ARM_JOBS}/{quote(path)}?{VERSION}", body)

    def refused(self, method: str, path: str, body: object = None) -> tuple[int, str]:
        """Make a request that must be refused; gives status and code."""
        try:
            self.ask(method, path, body)
        except RequestFailed as exc:
            return exc.status, exc.code
        raise AssertionError(f"{method} {path} was not refused")

    def start(self, name: str, body: object = None) -> str:
        """Start an execution; gives its name."""
        return str(self.ask("POST", f"{name}/start", body)["name"])

    def execution(self, name: str, execution: str) -> Body:
        """Read an execution."""
        found = self.ask("GET", f"{name}/executions/{execution}")
        assert isinstance(found, dict)
        return found

    def ended(self, name: str, execution: str) -> Body:
        """Wait for the end of an execution and give its properties."""

        def final() -> bool:
            return self.execution(name, execution)["properties"]["status"] in FINAL

        self.until(final, f"{execution} ends")
        found = self.execution(name, execution)["properties"]
        assert isinstance(found, dict)
        return found

    def run(self, document: Body, body: object = None) -> Body:
        """Write a job, start it, and give the properties of its ended execution."""
        name = self.put(document)
        return self.ended(name, self.start(name, body))

    def printed(self, document: Body, body: object = None) -> list[str]:
        """Write a job, run it to its end, and give the lines of its log."""
        name = self.put(document)
        execution = self.start(name, body)
        self.ended(name, execution)
        return self.lines(name, execution)

    def lines(self, name: str, execution: str) -> list[str]:
        """Give the lines of an execution's log."""
        pieces = self.daemon.client.logs(name, execution, tail=None, follow=False)
        return b"".join(pieces).decode().splitlines()

    def running(self, name: str, execution: str) -> Body:
        """Wait until an execution runs and give its properties."""

        def begun() -> bool:
            return self.execution(name, execution)["properties"]["status"] == "Running"

        self.until(begun, f"{execution} runs")
        found = self.execution(name, execution)["properties"]
        assert isinstance(found, dict)
        return found

    def until(self, check: Callable[[], bool], what: str) -> None:
        """Wait until something holds."""
        limit = time.monotonic() + _LONG_S
        while not check():
            assert time.monotonic() < limit, f"not within {_LONG_S:g} s: {what}\n{self.daemon.tail()}"
            time.sleep(0.1)


def codes(execution: Body) -> list[int | None]:
    """Give the exit codes of all containers of an execution's replicas, in order."""
    replicas = execution["detailedStatus"]["replicas"]
    return [container.get("code") for replica in replicas for container in replica["containers"]]
