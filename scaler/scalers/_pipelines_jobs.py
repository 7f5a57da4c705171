"""Job requests of an Azure DevOps agent pool as its REST API writes them, and which of them an agent can take.

Source: Azure DevOps REST API, `distributedtask/pools/{id}/jobrequests` (TaskAgentJobRequest), and KEDA's
rules for demands. Pure: no request is made here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

_VERSION: Final = "agent.version"
"""Every job demands a version of the agent; which one is the agent's own business."""


class Match(StrEnum):
    """How a job's demands and the offered ones must fit."""

    OFFERED = "every demand of the job is offered"
    EQUAL = "both lists are equal"
    DEMANDED = "the job demands all that is offered"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """One unfinished job request.

    Attributes:
        is_received: an agent has it and works on it.
        demands: what it demands, such as `docker` or `java -equals 17`.
        agents: names of the agents that could take it; empty if the service did not say.
    """

    is_received: bool
    demands: frozenset[str]
    agents: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """What the agents to start can do. `parent` (an agent's name) goes before `demands`; both may be empty."""

    parent: str = ""
    demands: tuple[str, ...] = ()
    match: Match = Match.OFFERED
    ignore_case: bool = False

    def can_take(self, job: JobRequest) -> bool:
        """Whether such an agent can take the job."""
        if self.parent:
            return self.parent in job.agents
        if not self.demands:
            return True
        wanted, offered = self._relevant(job.demands), self._relevant(self.demands)
        if self.match is Match.EQUAL:
            return wanted == offered
        if self.match is Match.DEMANDED:
            return offered <= wanted
        return wanted <= offered

    def _relevant(self, demands: frozenset[str] | tuple[str, ...]) -> frozenset[str]:
        fold: Callable[[str], str] = str.casefold if self.ignore_case else str
        return frozenset(fold(item) for item in demands if not item.casefold().startswith(_VERSION))


def read_requests(body: object) -> tuple[JobRequest, ...] | None:
    """Read the unfinished requests of an answer; None if it is no such answer."""
    rows = body.get("value") if isinstance(body, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        return None
    return tuple(_request(row) for row in rows if row.get("result") is None)


def _request(row: Mapping[str, Any]) -> JobRequest:
    agents = row.get("matchedAgents") or ()
    return JobRequest(
        is_received=row.get("receiveTime") is not None,
        demands=frozenset(str(demand).strip() for demand in row.get("demands") or ()),
        agents=frozenset(str(agent.get("name")) for agent in agents if isinstance(agent, dict)),
    )


def pool_ids(body: object, name: str) -> list[int] | None:
    """Give the ids of the pools that bear a name, whatever its case; None if the answer is no list of pools."""
    rows = body.get("value") if isinstance(body, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        return None
    return [
        row["id"]
        for row in rows
        if isinstance(row.get("id"), int) and str(row.get("name", name)).casefold() == name.casefold()
    ]
