"""Each scaler tells of as many round trips as its source sees."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Mapping

import pytest

from scaler.engine.sessions import Sessions
from scaler.plugins import SCALERS
from scaler.ports.scaler import ScalerContext
from scaler.scalers import _kafka_session
from scaler.scalers._kafka_brokers import Brokers
from scaler.scalers._kafka_login import Cluster
from scaler.scalers._kafka_round import Answer, Question
from scaler.scalers._kafka_session import KafkaSession
from scaler.wire.metadata import validate
from tests.scalers import external_kit
from tests.scalers.azure_rules import ScriptedServer
from tests.scalers.github_server import Github, serving


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


async def counted(kind: str, metadata: Mapping[str, str], **auth: str) -> int:
    """Poll a rule once; how many round trips it tells of."""
    meta, faults = validate(SCALERS.load(kind).metadata, metadata, auth, {})
    assert faults == ()
    noted: list[None] = []

    async def note() -> None:
        noted.append(None)

    async with Sessions() as sessions:
        context = ScalerContext(
            job="j",
            rule="r",
            timeout_s=5,
            sessions=sessions,
            now=now,
            note_request=note,
        )
        async with SCALERS.load(kind).open(meta, context) as scaler:
            await scaler.poll()
    return len(noted)


async def test_github_runner_tells_of_each_page() -> None:
    async with serving(Github()) as github:
        github.page_size = 1
        github.runs = {name: {1: ("queued", [("queued", []), ("queued", [])])} for name in ("one", "two")}
        metadata = {"githubApiURL": github.url, "owner": "octo", "runnerScope": "org"}
        count = await counted("github-runner", metadata, personalAccessToken="canary-pat")
    assert count == len(github.asked) == 10


async def test_azure_pipelines_tells_of_its_one_request() -> None:
    body = '{"count": 0, "value": []}'
    async with ScriptedServer(200, body, {"Content-Type": "application/json"}).serving() as server:
        metadata = {"organizationURL": f"http://127.0.0.1:{server.port}/contoso", "poolID": "7"}
        count = await counted("azure-pipelines", metadata, personalAccessToken="canary")
    assert count == len(server.seen) == 1


async def test_azure_queue_tells_of_its_request_and_of_the_look_at_what_is_visible() -> None:
    headers = {"x-ms-approximate-messages-count": "3", "x-ms-version": "2025-11-05"}
    body = '<?xml version="1.0" encoding="utf-8"?><QueueMessagesList></QueueMessagesList>'
    async with ScriptedServer(200, body, headers).serving() as server:
        at = f"http://127.0.0.1:{server.port}/acc"
        connection = f"AccountName=acc;AccountKey=Y2FuYXJ5;QueueEndpoint={at};"
        count = await counted("azure-queue", {"queueName": "orders"}, connection=connection)
    assert count == len(server.seen) == 2


async def test_external_tells_of_its_three_calls() -> None:
    sample = external_kit.Sample()
    async with external_kit.serving(sample) as port:
        count = await counted("external", {"scalerAddress": f"127.0.0.1:{port}"})
    assert count == len(sample.calls) == 3


async def test_kafka_tells_of_a_round_to_the_first_that_asks_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    going, rounds = asyncio.Event(), []

    async def answer_all(_brokers: Brokers, questions: tuple[Question, ...]) -> Mapping[Question, Answer]:
        rounds.append([question.group for question in questions])
        await going.wait()
        return dict.fromkeys(questions, ())

    monkeypatch.setattr(_kafka_session, "answer_all", answer_all)
    brokers = Brokers(Cluster(servers=(("127.0.0.1", 1),)), patience_s=1)
    session = KafkaSession(brokers, timeout_s=5, now=now)
    noted: list[str] = []

    async def ask(group: str) -> None:
        async def note() -> None:
            noted.append(group)

        await session.read(Question(group=group, topics=("t",)), note)

    async with asyncio.TaskGroup() as tasks:
        for group in ("a", "b"):
            tasks.create_task(ask(group))
        await asyncio.sleep(0.01)
        for group in ("c", "d"):
            tasks.create_task(ask(group))
        await asyncio.sleep(0.01)
        going.set()
    await session.aclose()
    assert (noted, rounds) == (["a", "c"], [["a", "b"], ["c", "d"]])
