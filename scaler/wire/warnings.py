"""What a job file says that runs here, but not in Azure, or not as it says."""

from __future__ import annotations

from scaler.wire.base import parse_memory, read_number
from scaler.wire.faults import Node, WireFault

_GIB = 1 << 30
_CPU_STEP = 0.25
_CPU_MOST = 4


def job_warnings(root: Node) -> list[WireFault]:
    """List them, of a document without faults."""
    template = root["properties"]["template"]
    return [*_resources(template), *_readiness(template)]


def _resources(template: Node) -> list[WireFault]:
    """Compare the sum over all containers with what the service's Consumption plan accepts."""
    containers = list(template["containers"])
    told = [one["resources"] for one in containers]
    if not any(one["cpu"].is_set or one["memory"].is_set for one in told):
        return []
    cpu = sum(read_number(one["cpu"].value or 0.5) for one in told)
    memory = sum(parse_memory(one["memory"].text or "1Gi") for one in told)
    if cpu % _CPU_STEP == 0 and memory == int(cpu * 2 * _GIB) and cpu <= _CPU_MOST:
        return []
    message = "runs here; Azure's Consumption plan wants cpu in steps of 0.25 and 2Gi a core"
    if len(containers) == 1:
        return [told[0].fault(message)]
    return [template["containers"].fault(f"{message}, over all containers together")]


def _readiness(template: Node) -> list[WireFault]:
    probes = [probe for container in template["containers"] for probe in container["probes"]]
    message = "not used: nothing is routed to a job; Startup and Liveness are"
    return [one["type"].fault(message) for one in probes if one["type"].text.lower() == "readiness"]
