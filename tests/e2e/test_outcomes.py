"""What history says of ends that nobody asked for, on the real engine."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.e2e.daemon import Daemon
from tests.e2e.jobs import end_of, manual_job
from tests.e2e.test_files import started
from tests.e2e.work import containers
from tests.infra.engine import Engine


def _replicas(shown: dict[str, Any]) -> list[tuple[str, str | None, str | None, int]]:
    """Give status, reason, fault and attempt of each replica."""
    return [
        (one["containers"][0]["status"], one.get("reason"), one.get("fault"), one["attempt"])
        for one in shown["properties"]["detailedStatus"]["replicas"]
    ]


async def test_a_container_that_somebody_removes_costs_no_retry_and_a_signal_does(
    docker_engine: Engine, worker_image: str, daemon: Daemon
) -> None:
    removed = manual_job(worker_image, '[ "$SCALER_REPLICA_ATTEMPT" = 2 ] || exec sleep 300', retry=0)
    killed = manual_job(worker_image, '[ "$SCALER_REPLICA_ATTEMPT" = 2 ] || kill -SEGV $$', retry=1)
    for job in (removed, killed):
        daemon.write(job)
    await daemon.start()
    execution = await started(daemon, docker_engine, removed["name"])
    other = (await daemon.cli("job", "start", killed["name"], "--wait")).splitlines()[0]

    def remove() -> None:
        (row,) = containers(docker_engine, removed["name"])
        with docker_engine.client() as client:
            client.api.remove_container(row.split()[0].lstrip("/"), force=True)

    await asyncio.to_thread(remove)
    end = await end_of(daemon, removed["name"], execution, timeout_s=90)
    shown = await daemon.json("execution", "show", removed["name"], execution)
    also = await daemon.json("execution", "show", killed["name"], other)

    assert end[:2] == ("Succeeded", "Completed")
    assert _replicas(shown) == [
        ("Unknown", "RemovedFromOutside", "infra", 1),
        ("Succeeded", "Completed", None, 2),
    ]
    assert _replicas(also) == [("Failed", "Signaled", "app", 1), ("Succeeded", "Completed", None, 2)]
    assert also["properties"]["trigger"]["kind"] == "Manual"
    again = also["properties"]["detailedStatus"]["replicas"][1]
    assert again["imageDigest"].startswith("sha256:")
    assert {"created", "notBefore", "launched", "started", "ended"} <= again["times"].keys()
