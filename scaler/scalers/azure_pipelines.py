"""Trigger `azure-pipelines`: jobs that wait for an agent of an Azure DevOps pool.

Source: KEDA docs, scaler `azure-pipelines`. A job that an agent has received is told apart, so that it starts
no execution of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, ClassVar, Final, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from scaler.errors import PollError
from scaler.model.sample import Sample
from scaler.ports.scaler import Scaler, ScalerContext, ScalerType
from scaler.scalers._pipelines_jobs import Agent, Match
from scaler.scalers._pipelines_session import Organization, PipelinesSession, open_pipelines
from scaler.scalers._rest import read_base_url
from scaler.wire.metadata import KedaBool, KedaInt, SecretStr, Sources, TriggerMetadata


def _read_demands(value: object) -> object:
    """Split a comma-separated text."""
    if isinstance(value, str):
        return tuple(item.strip() for item in value.split(",") if item.strip())
    return value


Demands = Annotated[tuple[str, ...], BeforeValidator(_read_demands)]
KEY: Final = Sources("AE")


class Metadata(TriggerMetadata):
    """Parameters of `azure-pipelines`."""

    examples: ClassVar[Mapping[str, str]] = {
        "organizationURL": "https://devops.example.com/contoso", "poolName": "builders", "poolID": "7",
        "parent": "template-agent", "demands": "docker,gpu", "jobsToFetch": "250",
    }  # fmt: skip

    organization_url: Annotated[str, Sources("EAM")] = Field(
        alias="organizationURL", description="The organization, `https://` host and name, no project"
    )
    personal_access_token: Annotated[SecretStr | None, KEY] = Field(
        default=None, description="Token; needed without the rule's identity, and used before it"
    )
    pool_name: str = Field(default="", description="Agent pool; this or `poolID`")
    pool_id: KedaInt = Field(default=0, alias="poolID", description="Id of the agent pool")
    target_pipelines_queue_length: Annotated[KedaInt, Field(gt=0)] = Field(
        default=1, description="Target: jobs that one execution takes. At least 1"
    )
    activation_target_pipelines_queue_length: KedaInt = Field(
        default=0, description="Executions start only while the number of jobs is above this"
    )
    parent: str = Field(
        default="", description="Counts jobs that the agent of this name could take; `demands` are ignored"
    )
    demands: Demands = Field(
        default=(), description="What the agents offer, comma separated, such as `docker,java -equals 17`"
    )
    require_all_demands: KedaBool = Field(
        default=False, description="A job counts only if its demands are just these"
    )
    require_all_demands_and_ignore_others: KedaBool = Field(
        default=False, description="A job counts only if it has all these demands, others or not"
    )
    case_insensitive_demands_processing: KedaBool = Field(
        default=False, description="Upper and lower case of demands do not matter"
    )
    jobs_to_fetch: Annotated[KedaInt, Field(gt=0)] = Field(
        default=250,
        description="How many job requests are read, finished ones among them; not with the next or `parent`",
    )
    fetch_unfinished_jobs_only: KedaBool = Field(
        default=False, description="Reads all unfinished job requests and no finished ones"
    )

    @field_validator("organization_url")
    @classmethod
    def _organization_is_named(cls, value: str) -> str:
        url = read_base_url(value)
        if url.count("/") < 3:
            raise ValueError("names no organization; write it behind the host, without a project")
        return url

    @model_validator(mode="after")
    def _keys_fit(self) -> Self:
        faults = []
        if not self.pool_name and self.pool_id <= 0:
            faults.append("give poolName or poolID")
        if self.pool_name and self.pool_id:
            faults.append("poolName and poolID: give one of the two")
        if "jobs_to_fetch" in self.model_fields_set:
            if "fetch_unfinished_jobs_only" in self.model_fields_set:
                faults.append("jobsToFetch: excludes fetchUnfinishedJobsOnly; give one of the two")
            if self.parent:
                faults.append("jobsToFetch: excludes parent; give one of the two")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @property
    def agent(self) -> Agent:
        """What the agents to start can do."""
        match = Match.OFFERED
        if self.require_all_demands:
            match = Match.EQUAL
        elif self.require_all_demands_and_ignore_others:
            match = Match.DEMANDED
        return Agent(
            parent=self.parent,
            demands=self.demands,
            match=match,
            ignore_case=self.case_insensitive_demands_processing,
        )

    @property
    def query(self) -> str:
        """Which requests to ask for: `$top` gives a form without agents, which `parent` cannot do with."""
        if self.fetch_unfinished_jobs_only:
            return "?completedRequestCount=0"
        return "" if self.parent else f"?$top={self.jobs_to_fetch}"

    def organization(self, identity: str | None) -> Organization:
        """Where to ask, and as whom: a token goes before an identity."""
        if self.personal_access_token is not None:
            token = self.personal_access_token.get_secret_value()
            return Organization(url=self.organization_url, token=token)
        return Organization(url=self.organization_url, identity=identity)


class AgentPool:
    """Counts the jobs of one pool that wait; the pool's id is looked up once."""

    def __init__(self, session: PipelinesSession, meta: Metadata, context: ScalerContext) -> None:
        self._session = session
        self._meta = meta
        self._agent = meta.agent
        self._timeout_s = context.timeout_s
        self._note = context.note_request
        self._pool = meta.pool_id

    async def poll(self) -> Sample:
        """Read the pool's job requests."""
        try:
            async with asyncio.timeout(self._timeout_s):
                if not self._pool:
                    self._pool = await self._session.pool_id(self._meta.pool_name, self._note)
                found = await self._session.requests(self._pool, self._meta.query, self._note)
        except TimeoutError as exc:
            text = f"{self._meta.organization_url}: no answer within {self._timeout_s:g} s"
            raise PollError(text, reason="Timeout") from exc
        jobs = [job.is_received for job in found.jobs if self._agent.can_take(job)]
        waiting = jobs.count(False)
        return Sample(
            value=float(waiting),
            active=waiting > self._meta.activation_target_pipelines_queue_length,
            includes_taken=False,
            taken=float(jobs.count(True)),
            as_of=found.asked_at,
        )


@asynccontextmanager
async def open_scaler(meta: Metadata, context: ScalerContext) -> AsyncIterator[Scaler]:
    """Open the rule on the client that it shares with all rules of the same organization and login."""
    organization = meta.organization(context.identity)
    async with context.sessions.lease(
        ("azure-pipelines", organization),
        lambda: open_pipelines(organization, context.timeout_s, context.now),
    ) as session:
        yield AgentPool(session, meta, context)


def check(meta: Metadata, identity: str | None) -> tuple[str, ...]:
    """Say whether credentials are missing."""
    if meta.personal_access_token is None and identity is None:
        return ("personalAccessToken: missing; give it by auth, or set the rule's identity",)
    return ()


SCALER = ScalerType(
    metadata=Metadata,
    target=lambda meta: float(meta.target_pipelines_queue_length),
    open=open_scaler,
    source=lambda meta: meta.organization_url.partition("://")[2],
    summary="Azure DevOps jobs that wait for an agent of a pool",
    check=check,
)
