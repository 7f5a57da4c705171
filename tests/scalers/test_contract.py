"""What every scaler promises, whatever it asks: one suite over all types, and a new type is one file."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from scaler.engine.sessions import Sessions
from scaler.errors import PollError
from scaler.plugins import SCALERS
from scaler.ports.scaler import NoteRequest, Scaler, unnoted
from scaler.wire.metadata import validate
from tests.infra.process import free_ports
from tests.scalers.azure_rules import all_text, context, fault_of, silent_server

CANARY = "canary0secret"
_SAS = f"SharedAccessKeyName=n;SharedAccessKey={CANARY};UseDevelopmentEmulator=true;"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A rule whose source is at a port of this machine."""

    type: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    auth: Mapping[str, str] = field(default_factory=dict)


CASES = {
    "azure-queue": Case(
        type="azure-queue",
        metadata={"queueName": "q"},
        auth={"connection": f"AccountName=a;AccountKey={CANARY}123=;QueueEndpoint=http://127.0.0.1:PORT/a;"},
    ),
    "azure-servicebus": Case(
        type="azure-servicebus",
        metadata={"queueName": "q", "adminPort": "PORT"},
        auth={"connection": f"Endpoint=sb://127.0.0.1:5672;{_SAS}"},
    ),
    "rabbitmq-amqp": Case(
        type="rabbitmq",
        metadata={"queueName": "q"},
        auth={"host": f"amqp://u:{CANARY}@127.0.0.1:PORT/"},
    ),
    "rabbitmq-http": Case(
        type="rabbitmq",
        metadata={"queueName": "q"},
        auth={"host": f"http://u:{CANARY}@127.0.0.1:PORT/"},
    ),
    "kafka": Case(
        type="kafka",
        metadata={"bootstrapServers": "127.0.0.1:PORT", "consumerGroup": "g", "topic": "t"},
        auth={"sasl": "plaintext", "username": "u", "password": CANARY},
    ),
    "external": Case(type="external", metadata={"scalerAddress": "127.0.0.1:PORT", "token": CANARY}),
    "github-runner": Case(
        type="github-runner",
        metadata={"githubApiURL": "http://127.0.0.1:PORT", "owner": "o", "runnerScope": "org"},
        auth={"personalAccessToken": CANARY},
    ),
    "azure-pipelines": Case(
        type="azure-pipelines",
        metadata={"organizationURL": "http://127.0.0.1:PORT/o", "poolID": "1"},
        auth={"personalAccessToken": CANARY},
    ),
}
every = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


@asynccontextmanager
async def opened(
    case: Case, port: int, *, timeout_s: float = 1.0, note: NoteRequest = unnoted
) -> AsyncIterator[Scaler]:
    plugin = SCALERS.load(case.type)

    def placed(texts: Mapping[str, str]) -> dict[str, str]:
        return {key: text.replace("PORT", str(port)) for key, text in texts.items()}

    meta, faults = validate(plugin.metadata, placed(case.metadata), placed(case.auth), {})
    assert faults == ()
    assert plugin.check(meta, None) == ()
    assert plugin.target(meta) >= 0
    assert CANARY not in plugin.source(meta) + repr(meta)
    async with Sessions() as pool:
        given = context(pool, timeout_s=timeout_s)
        given = type(given)(
            job="j", rule="r", timeout_s=timeout_s, sessions=pool, now=given.now, note_request=note
        )
        async with plugin.open(meta, given) as scaler:
            yield scaler


def test_every_type_is_here() -> None:
    assert {case.type for case in CASES.values()} == set(SCALERS.known())


@every
async def test_opening_asks_nothing_and_a_poll_of_nobody_is_unreachable(case: Case) -> None:
    (port,) = free_ports(1)
    before = asyncio.all_tasks()
    async with opened(case, port, timeout_s=5.0) as scaler:
        faults = [await fault_of(scaler) for _ in range(2)]
    assert [(fault.reason, fault.transient) for fault in faults] == [("Unreachable", True)] * 2
    assert CANARY not in "".join(all_text(fault) for fault in faults)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


@every
async def test_a_silent_server_is_a_timeout_within_the_limit(case: Case) -> None:
    async with silent_server() as port, opened(case, port, timeout_s=0.6) as scaler:
        began = time.monotonic()
        fault = await fault_of(scaler)
        took = time.monotonic() - began
    assert (fault.reason, fault.transient) == ("Timeout", True)
    assert took < 0.6 + 0.5
    assert CANARY not in all_text(fault)


@every
async def test_a_cancelled_poll_ends_at_once_and_leaves_no_task(case: Case) -> None:
    async with silent_server() as port:
        before = asyncio.all_tasks()
        async with opened(case, port, timeout_s=10.0) as scaler:
            poll = asyncio.create_task(scaler.poll())
            await asyncio.sleep(0.2)
            poll.cancel()
            await asyncio.wait([poll], timeout=1.0)
            assert poll.cancelled()
        await asyncio.sleep(0.05)
        assert {task for task in asyncio.all_tasks() - before if "hold" not in repr(task)} == set()


@every
async def test_it_waits_for_its_turn_and_a_turn_that_does_not_come_is_the_reason(case: Case) -> None:
    asked: list[None] = []

    async def refuse() -> None:
        asked.append(None)
        raise PollError("no turn", reason="BudgetExhausted")

    async with silent_server() as port, opened(case, port, timeout_s=5.0, note=refuse) as scaler:
        faults = [await fault_of(scaler) for _ in range(2)]
    assert [fault.reason for fault in faults] == ["BudgetExhausted"] * 2
    assert len(asked) == 2


TOY = '''
"""Trigger `line-file`: lines of a file."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from pydantic import Field

from scaler.errors import PollError
from scaler.model.sample import Sample
from scaler.ports.scaler import Scaler, ScalerContext, ScalerType
from scaler.wire.metadata import KedaInt, TriggerMetadata


class Metadata(TriggerMetadata):
    path: str = Field(description="The file.")
    lines: KedaInt = Field(default=2, description="Lines that one execution takes.")


class LineFile:
    def __init__(self, meta: Metadata, context: ScalerContext) -> None:
        self._meta, self._note = meta, context.note_request

    async def poll(self) -> Sample:
        await self._note()
        try:
            count = len(Path(self._meta.path).read_text().splitlines())
        except FileNotFoundError as exc:
            raise PollError(f"{self._meta.path}: no such file", reason="EntityNotFound", transient=False) from exc
        return Sample(value=count, active=count > 0, includes_taken=True)


@asynccontextmanager
async def open_scaler(meta: Metadata, context: ScalerContext) -> AsyncIterator[Scaler]:
    yield LineFile(meta, context)


SCALER = ScalerType(
    metadata=Metadata,
    target=lambda meta: float(meta.lines),
    open=open_scaler,
    source=lambda meta: meta.path,
    summary="lines of a file",
)
'''
RUN = "import sys, scaler.scalers as s; s.__path__.append(sys.argv.pop(1)); from scaler.cli.main import cli; cli()"


def test_a_new_type_is_one_file(tmp_path: Path) -> None:
    folder = tmp_path / "types"
    folder.mkdir()
    (folder / "line_file.py").write_text(TOY)
    (tmp_path / "five").write_text("a\nb\nc\nd\ne\n")

    def job(name: str, path: Path) -> str:
        rule = {"name": "lines", "type": "line-file", "metadata": {"path": str(path)}}
        event = {"scale": {"rules": [rule]}}
        return json.dumps(
            {
                "name": name,
                "properties": {
                    "configuration": {
                        "triggerType": "Event",
                        "replicaTimeout": 60,
                        "eventTriggerConfig": event,
                    },
                    "template": {"containers": [{"name": "worker", "image": "x"}]},
                },
            }
        )

    jobs = tmp_path / "jobs.yaml"
    jobs.write_text(f"{job('there', tmp_path / 'five')}\n---\n{job('gone', tmp_path / 'none')}\n")

    def scaler(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", RUN, str(folder), *words]
        return subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)

    assert "line-file" in scaler("scalers").stdout
    described = json.loads(scaler("scalers", "line-file", "-o", "json").stdout)
    assert [row["parameter"] for row in described["parameters"]] == ["path", "lines"]
    assert scaler("validate", str(jobs)).returncode == 0
    there, gone = json.loads(scaler("probe", str(jobs), "-o", "json").stdout)
    assert (there["value"], there["requests"], there["failure"]) == (5, 1, None)
    assert (gone["value"], gone["failure"]["reason"]) == (None, "EntityNotFound")
    planned = json.loads(scaler("plan", str(jobs), "-o", "json").stdout)
    launches = {each["job"]: each["launch"] for each in planned}
    assert launches == {"there": 3, "gone": 0}
