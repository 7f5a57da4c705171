"""Trigger `github-runner`: workflow jobs of GitHub Actions that a self-hosted runner could take.

Source: KEDA docs, scaler `github-runner`. All pages are read, a run counts once, and the jobs that a runner
works on already are told apart, so that each waiting job gets one runner.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, ClassVar, Final, Literal, Self
from urllib.parse import quote

from pydantic import BeforeValidator, Field, field_validator, model_validator

from scaler.errors import ConfigError, PollError
from scaler.model.sample import Sample
from scaler.ports.scaler import Scaler, ScalerContext, ScalerType
from scaler.scalers._github_auth import App, Login, PersonalToken
from scaler.scalers._github_limits import RateLimited
from scaler.scalers._github_session import Api, GithubSession, Listing, Query, open_github
from scaler.scalers._rest import read_base_url
from scaler.wire.metadata import KedaBool, KedaInt, SecretStr, Sources, TriggerMetadata

PUBLIC_API: Final = "https://api.github.com"
DEFAULT_LABELS: Final = frozenset({"self-hosted", "linux", "x64"})
QUEUED, IN_PROGRESS = "queued", "in_progress"


def _read_list(value: object) -> object:
    """Split a comma-separated text."""
    if isinstance(value, str):
        return tuple(item.strip() for item in value.split(",") if item.strip())
    return value


Words = Annotated[tuple[str, ...], BeforeValidator(_read_list)]
ENV: Final = Sources("ME")
KEY: Final = Sources("AE")


class Metadata(TriggerMetadata):
    """Parameters of `github-runner`."""

    examples: ClassVar[Mapping[str, str]] = {
        "owner": "octo", "githubApiURL": "https://github.example.com/api/v3", "repos": "shop,site",
        "labels": "linux,gpu", "applicationID": "123456", "installationID": "654321",
        "appKey": "-----BEGIN RSA PRIVATE KEY----- …",
    }  # fmt: skip

    owner: Annotated[str, ENV] = Field(description="User or organization that owns the repositories")
    runner_scope: Annotated[Literal["org", "ent", "repo"], ENV] = Field(
        description="Where the runner is registered: with an organization, an enterprise or a repository"
    )
    github_api_url: Annotated[str, ENV] = Field(
        default="",
        alias="githubApiURL",
        description="GitHub's public API if not given; `https://HOST/api/v3` of an Enterprise Server",
    )
    repos: Annotated[Words, ENV] = Field(
        default=(), description="Repositories, comma separated; if not given, all that the owner has"
    )
    labels: Annotated[Words, ENV] = Field(
        default=(), description="Labels of the runner, comma separated, beside the default ones"
    )
    no_default_labels: Annotated[KedaBool, ENV] = Field(
        default=False, description="The runner lacks the labels `self-hosted`, `linux` and `x64`"
    )
    match_unlabeled_jobs_with_unlabeled_runners: Annotated[KedaBool, ENV] = Field(
        default=False, description="A job without labels counts only if `labels` is empty"
    )
    enable_etags: Annotated[KedaBool, ENV] = Field(
        default=False, description="Asks with ETags: what has not changed costs nothing of the rate limit"
    )
    target_workflow_queue_length: Annotated[KedaInt, ENV, Field(gt=0)] = Field(
        default=1, description="Target: jobs that one execution takes; active from this many jobs on"
    )
    personal_access_token: Annotated[SecretStr | None, KEY] = Field(
        default=None, description="Token; not beside `appKey`"
    )
    application_id: Annotated[KedaInt | None, ENV] = Field(
        default=None, alias="applicationID", description="GitHub App; with `installationID` and `appKey`"
    )
    installation_id: Annotated[KedaInt | None, ENV] = Field(
        default=None, alias="installationID", description="Installation of that App"
    )
    app_key: Annotated[SecretStr | None, KEY] = Field(
        default=None, description="PEM text of the App's private key"
    )

    @field_validator("github_api_url")
    @classmethod
    def _api_is_a_url(cls, value: str) -> str:
        return read_base_url(value)

    @model_validator(mode="after")
    def _login_is_whole(self) -> Self:
        given = [bool(self.application_id), bool(self.installation_id), self.app_key is not None]
        if any(given) and not all(given):
            raise ValueError("GitHub App: needs applicationID, installationID and appKey")
        if all(given) == (self.personal_access_token is not None):
            raise ValueError("give either personalAccessToken or applicationID, installationID and appKey")
        return self

    @property
    def api(self) -> Api:
        """Where to ask, and as whom."""
        login: Login
        if self.app_key is not None:
            login = App(
                application_id=self.application_id or 0,
                installation_id=self.installation_id or 0,
                key=self.app_key.get_secret_value(),
            )
        else:
            token = self.personal_access_token
            login = PersonalToken(text=token.get_secret_value() if token else "")
        return Api(url=self.github_api_url or PUBLIC_API, login=login)

    def can_take(self, labels: tuple[str, ...]) -> bool:
        """Whether the runner offers all labels of a job; case does not matter."""
        if not labels and self.match_unlabeled_jobs_with_unlabeled_runners:
            return not self.labels
        offered = {label.lower() for label in self.labels}
        if not self.no_default_labels:
            offered |= DEFAULT_LABELS
        return {label.lower() for label in labels} <= offered


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Jobs that the runner could take or has taken, and from which moment on that is true."""

    waiting: int
    running: int
    asked_at: datetime


class GithubJobs:
    """Counts jobs; while the rate limit forbids it, the last count stands."""

    def __init__(self, session: GithubSession, meta: Metadata, context: ScalerContext) -> None:
        self._session = session
        self._meta = meta
        self._owner = quote(meta.owner, safe="")
        self._timeout_s = context.timeout_s
        self._now = context.now
        self._note = context.note_request
        self._last: Sample | None = None

    async def poll(self) -> Sample:
        """Read repositories, runs and jobs."""
        try:
            async with asyncio.timeout(self._timeout_s):
                tally = await self._count()
        except TimeoutError as exc:
            text = f"{source(self._meta)}: not all read within {self._timeout_s:g} s; name fewer repos"
            raise PollError(text, reason="Timeout") from exc
        except RateLimited:
            if self._last is None:
                raise
            return self._last
        value = tally.waiting + tally.running
        self._last = Sample(
            value=float(value),
            active=value >= self._meta.target_workflow_queue_length,
            taken=float(tally.running),
            as_of=tally.asked_at,
        )
        return self._last

    async def _count(self) -> Tally:
        started = self._now()
        repos = list(self._meta.repos)
        if not repos:
            listing = await self._repos()
            repos, started = _live_names(listing), min(started, listing.asked_at)
        found = await _side_by_side([self._repo(repo) for repo in repos])
        tallies = [tally for tally in found if tally is not None]
        if self._meta.repos and not tallies:
            text = f"{source(self._meta)}: none of repos exists, or the token may not see them; correct repos"
            raise PollError(text, transient=False, reason="EntityNotFound")
        return _sum(tallies, started)

    async def _repos(self) -> Listing:
        kind = "users" if self._meta.runner_scope == "repo" else "orgs"
        path = f"/{kind}/{self._owner}/repos"
        listing = await self._session.read(
            self._query(path, None, ("name", "archived", "disabled")), self._note
        )
        if listing is None:
            text = f"{source(self._meta)}: no {kind.removesuffix('s')} '{self._meta.owner}'; correct owner"
            raise PollError(text, transient=False, reason="EntityNotFound")
        return listing

    async def _repo(self, repo: str) -> Tally | None:
        """Count one repository's jobs; None if it is not there.

        Queued runs are read first: one that starts in between is then found among those in progress.
        """
        base = f"/repos/{self._owner}/{quote(repo, safe='')}/actions/runs"
        listings = []
        for status in (QUEUED, IN_PROGRESS):
            query = self._query(base, "workflow_runs", ("id", "status"), (("status", status),))
            listing = await self._session.read(query, self._note)
            if listing is None:
                return None
            listings.append(listing)
        runs = {
            run["id"] for item in listings for run in item.items if run["status"] in (QUEUED, IN_PROGRESS)
        }
        found = await _side_by_side([self._jobs(f"{base}/{run}/jobs") for run in sorted(runs, key=str)])
        return _sum([tally for tally in found if tally is not None], listings[0].asked_at)

    async def _jobs(self, path: str) -> Tally | None:
        """Count one run's jobs; None if the run was deleted meanwhile."""
        listing = await self._session.read(self._query(path, "jobs", ("status", "labels")), self._note)
        if listing is None:
            return None
        states = [job["status"] for job in listing.items if self._meta.can_take(_labels(job))]
        return Tally(
            waiting=states.count(QUEUED), running=states.count(IN_PROGRESS), asked_at=listing.asked_at
        )

    def _query(
        self,
        path: str,
        items: str | None,
        fields: tuple[str, ...],
        parameters: tuple[tuple[str, str], ...] = (),
    ) -> Query:
        return Query(
            path=path,
            items=items,
            fields=fields,
            parameters=parameters,
            use_etags=self._meta.enable_etags,
        )


def _live_names(listing: Listing) -> list[str]:
    """Give the names of repositories in which anything can run."""
    return [str(row["name"]) for row in listing.items if not row["archived"] and not row["disabled"]]


def _labels(job: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(label) for label in job["labels"] or ())


def _sum(tallies: list[Tally], started: datetime) -> Tally:
    return Tally(
        waiting=sum(tally.waiting for tally in tallies),
        running=sum(tally.running for tally in tallies),
        asked_at=min([started, *(tally.asked_at for tally in tallies)]),
    )


async def _side_by_side(counts: list[Any]) -> list[Tally | None]:
    """Run counts together; the session bounds how many requests are in flight. The first error is the result's."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(count, name="github:count") for count in counts]
    except* (PollError, ConfigError) as failed:
        first: BaseException = failed
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        error = first
    else:
        return [task.result() for task in tasks]
    raise error


@asynccontextmanager
async def open_scaler(meta: Metadata, context: ScalerContext) -> AsyncIterator[Scaler]:
    """Open the rule on the client that it shares with all rules of the same API and login."""
    api = meta.api
    async with context.sessions.lease(
        ("github-runner", api), lambda: open_github(api, context.timeout_s, context.now)
    ) as session:
        yield GithubJobs(session, meta, context)


def source(meta: Metadata) -> str:
    """Give the API's host and the owner."""
    return f"{meta.api.url.partition('://')[2]}/{meta.owner}"


SCALER = ScalerType(
    metadata=Metadata,
    target=lambda meta: float(meta.target_workflow_queue_length),
    open=open_scaler,
    source=source,
    summary="GitHub Actions jobs that a self-hosted runner could take",
)
