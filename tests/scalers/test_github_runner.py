"""The `github-runner` scaler against a local server that answers as GitHub does: counts, ETags, limits, faults."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from scaler.engine.sessions import Sessions
from scaler.model.sample import Sample
from tests.scalers.github_server import Clock, Github, failing, opened, serving

OURS = ["self-hosted", "Linux", "gpu"]


@pytest.fixture
async def github() -> AsyncIterator[Github]:
    async with serving(Github()) as found:
        yield found


# --- What counts -----------------------------------------------------------------------------------------


async def test_queued_and_running_jobs_of_all_repositories_count_and_running_ones_are_taken(
    github: Github,
) -> None:
    github.runs = {
        "one": {
            1: ("queued", [("queued", OURS), ("queued", ["ubuntu-latest"])]),
            2: (
                "in_progress",
                [("in_progress", OURS), ("completed", OURS), ("queued", []), ("waiting", OURS)],
            ),
            3: ("completed", [("queued", OURS)]),
        },
        "two": {4: ("queued", [("queued", ["x64"])])},
        "empty": {},
    }
    before = datetime.now(UTC)
    async with opened(github, {"labels": "gpu, arm"}) as scaler:
        found = await scaler.poll()
    assert found.as_of is not None
    assert before <= found.as_of <= datetime.now(UTC)
    assert found == Sample(value=4.0, active=True, includes_taken=True, taken=1.0, as_of=found.as_of)
    assert github.asked[0] == "/orgs/octo/repos?per_page=100&page=1"


@pytest.mark.parametrize(
    ("metadata", "labels", "counts"),
    [
        ({}, ["self-hosted", "LINUX", "X64"], True),
        ({}, ["self-hosted", "gpu"], False),
        ({"labels": "GPU"}, ["self-hosted", "gpu"], True),
        ({"labels": "gpu", "noDefaultLabels": "true"}, ["self-hosted", "gpu"], False),
        ({"labels": "gpu", "noDefaultLabels": "true"}, ["gpu"], True),
        ({}, [], True),
        ({"labels": "gpu"}, [], True),
        ({"labels": "gpu", "matchUnlabeledJobsWithUnlabeledRunners": "true"}, [], False),
        ({"matchUnlabeledJobsWithUnlabeledRunners": "true"}, [], True),
        ({"labels": "gpu", "matchUnlabeledJobsWithUnlabeledRunners": "true"}, ["gpu"], True),
    ],
)
async def test_a_job_counts_if_the_runner_offers_all_its_labels(
    github: Github, metadata: dict[str, str], labels: list[str], counts: bool
) -> None:
    github.runs = {"one": {1: ("queued", [("queued", labels)])}}
    async with opened(github, {"repos": "one", **metadata}) as scaler:
        assert (await scaler.poll()).value == float(counts)


@pytest.mark.parametrize(("target", "active"), [("1", True), ("2", True), ("3", False)])
async def test_the_rule_is_active_from_the_target_on(github: Github, target: str, active: bool) -> None:
    github.runs = {"one": {1: ("queued", [("queued", OURS)] * 2)}}
    async with opened(github, {"labels": "gpu", "targetWorkflowQueueLength": target}) as scaler:
        found = await scaler.poll()
    assert (found.value, found.active) == (2.0, active)


async def test_no_job_is_zero_and_inactive(github: Github) -> None:
    github.runs = {"one": {}}
    async with opened(github) as scaler:
        found = await scaler.poll()
    assert (found.value, found.active, found.taken) == (0.0, False, 0.0)


@pytest.mark.parametrize("links", [True, False])
async def test_all_pages_of_repositories_runs_and_jobs_are_read(github: Github, links: bool) -> None:
    github.links = links
    github.page_size = 2 if links else 100
    rows = 5 if links else 105
    github.runs = {f"repo{n}": {} for n in range(rows if links else 2)}
    github.runs["repo1"] = {n: ("queued", []) for n in range(rows)}
    github.runs["repo1"][1] = ("queued", [("queued", OURS)] * rows)
    async with opened(github, {"labels": "gpu"}) as scaler:
        assert (await scaler.poll()).value == float(rows)


async def test_repositories_of_a_user_are_listed_for_the_scope_repo(github: Github) -> None:
    github.runs = {"one": {1: ("queued", [("queued", [])])}}
    async with opened(github, {"runnerScope": "repo"}) as scaler:
        assert (await scaler.poll()).value == 1.0
    assert github.asked[0].startswith("/users/octo/repos?")


async def test_named_repositories_are_not_listed_and_a_missing_one_is_skipped(github: Github) -> None:
    github.runs = {"one": {1: ("queued", [("queued", [])])}, "other": {2: ("queued", [("queued", [])])}}
    async with opened(github, {"repos": "one, gone"}) as scaler:
        assert (await scaler.poll()).value == 1.0
    assert not any("/orgs/" in path or "/other/" in path for path in github.asked)


async def test_archived_repositories_are_not_asked(github: Github) -> None:
    github.runs = {"old": {1: ("queued", [("queued", [])])}, "new": {}}
    github.archived = {"old"}
    async with opened(github) as scaler:
        assert (await scaler.poll()).value == 0.0
    assert not any("/old/" in path for path in github.asked)


async def test_only_missing_repositories_are_a_fault_and_never_zero(github: Github) -> None:
    async with opened(github, {"repos": "gone,lost"}) as scaler:
        with failing("EntityNotFound", transient=False) as caught:
            await scaler.poll()
    assert "none of repos exists, or the token may not see them" in str(caught.value)


async def test_an_unknown_owner_is_a_fault(github: Github) -> None:
    async with opened(github, {"owner": "nobody"}) as scaler:
        with failing("EntityNotFound", transient=False) as caught:
            await scaler.poll()
    assert "no org 'nobody'; correct owner" in str(caught.value)


async def test_a_run_that_starts_between_the_two_listings_counts_once(github: Github) -> None:
    github.runs = {"one": {1: ("queued", [("queued", [])])}}
    found = github._find

    def moving(request: Any) -> Any:
        rows = found(request)
        if "status=queued" in request.path_qs:
            github.runs["one"][1] = ("in_progress", [("in_progress", [])])
        return rows

    github._find = moving  # type: ignore[method-assign]
    async with opened(github) as scaler:
        sample = await scaler.poll()
    assert (sample.value, sample.taken) == (1.0, 1.0)


# --- ETags and limits ------------------------------------------------------------------------------------


async def test_with_etags_what_is_unchanged_is_not_sent_again_and_what_changed_is(github: Github) -> None:
    github.page_size = 1
    github.runs = {"one": {1: ("queued", [("queued", []), ("queued", [])])}, "two": {}}
    async with opened(github, {"enableEtags": "true"}) as scaler:
        first = await scaler.poll()
        asked = len(github.asked)
        second = await scaler.poll()
        assert (len(github.asked), github.unchanged) == (2 * asked, asked)
        github.runs["one"][1] = ("in_progress", [("in_progress", []), ("queued", [])])
        third = await scaler.poll()
    assert [(s.value, s.taken) for s in (first, second, third)] == [(2.0, 0.0), (2.0, 0.0), (2.0, 1.0)]
    assert second.as_of is not None
    assert first.as_of is not None
    assert second.as_of > first.as_of


async def test_without_etags_none_is_sent(github: Github) -> None:
    github.runs = {"one": {}}
    async with opened(github) as scaler:
        await scaler.poll()
        await scaler.poll()
    assert github.unchanged == 0


def _limits(kind: str, clock: Clock) -> tuple[int, dict[str, str], Any]:
    reset = str(int((clock() + timedelta(seconds=90)).timestamp()))
    return {
        "primary": (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset}, {"message": "limit"}),
        "primary 429": (429, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset}, {}),
        "retry after": (403, {"Retry-After": "90"}, {"message": "You have exceeded a secondary rate limit"}),
        "secondary": (403, {}, {"message": "You have exceeded a secondary rate limit."}),
        "429 alone": (429, {"X-RateLimit-Remaining": "50"}, None),
    }[kind]


@pytest.mark.parametrize("kind", ["primary", "primary 429", "retry after", "secondary", "429 alone"])
async def test_while_limited_the_last_count_stands_and_nothing_is_asked(github: Github, kind: str) -> None:
    clock = Clock()
    github.runs = {"one": {1: ("queued", [("queued", [])])}}
    async with opened(github, clock=clock) as scaler:
        first = await scaler.poll()
        status, github.headers, body = _limits(kind, clock)
        github.fault = (status, body)
        assert await scaler.poll() == first
        asked = len(github.asked)
        github.fault, github.headers = None, {}
        github.runs["one"][2] = ("queued", [("queued", [])])
        clock.ahead += timedelta(seconds=30)
        assert await scaler.poll() == first
        assert len(github.asked) == asked
        clock.ahead += timedelta(seconds=70)
        last = await scaler.poll()
    assert last.value == 2.0
    assert first.as_of is not None
    assert last.as_of is not None
    assert last.as_of - first.as_of >= timedelta(seconds=100)


@pytest.mark.parametrize("kind", ["primary", "retry after", "secondary"])
async def test_a_limit_without_a_last_count_is_a_fault(github: Github, kind: str) -> None:
    clock = Clock()
    status, github.headers, body = _limits(kind, clock)
    github.fault = (status, body)
    async with opened(github, clock=clock) as scaler:
        with failing("Throttled", transient=True) as caught:
            await scaler.poll()
        asked = len(github.asked)
        with failing("Throttled", transient=True):
            await scaler.poll()
    assert len(github.asked) == asked
    assert "is used up until" in str(caught.value)


async def test_the_last_request_that_is_left_is_used_and_none_after_it(github: Github) -> None:
    clock = Clock()
    github.runs = {"one": {}}
    reset = str(int((clock() + timedelta(seconds=90)).timestamp()))
    github.headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset}
    async with opened(github, clock=clock) as scaler:
        with failing("Throttled", transient=True):
            await scaler.poll()
    assert len(github.asked) == 1


async def test_rules_of_one_login_share_the_limit_and_requests_in_flight(github: Github) -> None:
    github.runs = {"one": {1: ("queued", [("queued", [])])}}
    github.delay_s = 0.1
    async with (
        Sessions() as pool,
        opened(github, pool=pool) as first,
        opened(github, {"labels": "gpu"}, pool=pool) as second,
    ):
        found = await asyncio.gather(first.poll(), second.poll())
        assert [sample.value for sample in found] == [1.0, 1.0]
        assert len(github.asked) == len(set(github.asked))
        github.delay_s = 0.0
        github.fault, github.headers = (429, {}), {"Retry-After": "60"}
        assert await first.poll() == found[0]
        asked = len(github.asked)
        assert await second.poll() == found[1]
    assert len(github.asked) == asked


# --- Faults ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "reason", "transient", "words"),
    [
        (401, {"message": "Bad credentials"}, "AuthenticationFailed", False, "status 401 (Bad credentials)"),
        (
            403,
            {"message": "Resource not accessible"},
            "AuthorizationFailed",
            False,
            "Resource not accessible",
        ),
        (403, {"message": "Bearer canary-pat is bad"}, "AuthorizationFailed", False, "*** is bad"),
        (500, {}, "ServiceError", True, "is GitHub well?"),
        (502, "<html>", "ServiceError", True, "status 502;"),
        (422, {"message": "Validation Failed"}, "BadRequest", False, "(Validation Failed)"),
        (200, {"hello": 1}, "BadAnswer", True, "not GitHub's list"),
        (200, [{"id": 1}], "BadAnswer", True, "not GitHub's list"),
        (200, "text", "BadAnswer", True, "not GitHub's list"),
    ],
)
async def test_faults_are_told_apart(
    github: Github, status: int, body: Any, reason: str, transient: bool, words: str
) -> None:
    github.fault = (status, body)
    async with opened(github) as scaler:
        with failing(reason, transient=transient) as caught:
            await scaler.poll()
    assert words in str(caught.value)


@pytest.mark.parametrize("place", ["status=in_progress", "/jobs"])
async def test_a_fault_on_the_way_is_the_polls(github: Github, place: str) -> None:
    github.runs = {"one": {1: ("queued", [("queued", [])])}, "two": {}}
    github.fault, github.fault_at = (500, {}), place
    async with opened(github) as scaler:
        with failing("ServiceError", transient=True):
            await scaler.poll()
        github.fault = None
        assert (await scaler.poll()).value == 1.0


async def test_a_slow_service_is_a_timeout(github: Github) -> None:
    github.delay_s = 5.0
    async with opened(github, timeout_s=0.2) as scaler:
        with failing("Timeout", transient=True):
            await scaler.poll()


async def test_nobody_there_is_unreachable(github: Github) -> None:
    async with opened(github, {"githubApiURL": "http://127.0.0.1:1/api/v3"}) as scaler:
        with failing("Unreachable", transient=True) as caught:
            await scaler.poll()
    assert "cannot connect" in str(caught.value)


async def test_a_plain_port_asked_for_tls_is_a_fault_of_tls(github: Github) -> None:
    async with opened(github, {"githubApiURL": github.url.replace("http:", "https:")}) as scaler:
        with failing("TlsFailed", transient=False):
            await scaler.poll()
