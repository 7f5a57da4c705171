"""`probe` against real sockets: what each kind of trouble looks like, told apart."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from scaler.cli import reach
from scaler.cli.advice import Advice, Finding, Look, advise
from scaler.cli.reach import look_at, places
from scaler.devbroker import DevBroker
from scaler.errors import PollError
from scaler.model.sample import Sample
from scaler.plugins import SCALERS
from scaler.ports.scaler import Scaler, ScalerContext, ScalerType
from scaler.wire.metadata import TriggerMetadata
from tests.cli.conftest import run_cli
from tests.infra.process import free_ports
from tests.scalers.azure_rules import ScriptedServer, silent_server

CANARY = "canarycanarycanary"
PLACE = {"host": "127.0.0.1"}


@pytest.fixture
async def broker() -> AsyncIterator[DevBroker]:
    async with DevBroker(key=CANARY) as running:
        running.add_queue("orders")
        yield running


def job(folder: Path, name: str, *rules: dict[str, Any], secret: str = "") -> Path:
    """Write a job file; JSON is YAML."""
    scale = {"minExecutions": 0, "maxExecutions": 5, "rules": list(rules)}
    body: dict[str, Any] = {
        "name": name,
        "properties": {
            "configuration": {
                "triggerType": "Event",
                "replicaTimeout": 60,
                "eventTriggerConfig": {"scale": scale},
            },
            "template": {"containers": [{"name": "worker", "image": "example/worker:1"}]},
        },
    }
    if secret:
        body["properties"]["configuration"]["secrets"] = [{"name": "source", "value": secret}]
    path = folder / f"{name}.yaml"
    path.write_text(json.dumps(body))
    return path


def rule(name: str, kind: str, parameter: str = "", **metadata: str) -> dict[str, Any]:
    auth = [{"secretRef": "source", "triggerParameter": parameter}] if parameter else []
    return {"name": name, "type": kind, "metadata": metadata, "auth": auth}


def bus_rule(
    broker: DevBroker, name: str = "queue", queue: str = "orders", **metadata: str
) -> dict[str, Any]:
    port = str(broker.http_port)
    return rule(name, "azure-servicebus", "connection", queueName=queue, adminPort=port, **metadata)


def bus_text(broker: DevBroker, key: str = CANARY) -> str:
    return (
        f"Endpoint=sb://127.0.0.1:{broker.http_port};SharedAccessKeyName=RootManageSharedAccessKey;"
        f"SharedAccessKey={key};UseDevelopmentEmulator=true;"
    )


def rabbit_rule(name: str = "queue", queue: str = "orders", **metadata: str) -> dict[str, Any]:
    texts = {"mode": "QueueLength", "value": "2", "timeout": "500", **metadata}
    return rule(name, "rabbitmq", "host", queueName=queue, **texts)


async def probe(*args: object) -> Result:
    """Run the command beside this loop, on which the servers live."""
    return await asyncio.to_thread(run_cli, "probe", *map(str, args))


async def probe_json(*args: object) -> tuple[int, list[dict[str, Any]]]:
    result = await probe(*args, "-o", "json")
    assert CANARY not in result.output
    return result.exit_code, json.loads(result.stdout)


async def failure(*args: object) -> dict[str, Any]:
    """Give the one rule's failure, its texts for people left out."""
    code, (found,) = await probe_json(*args)
    told = dict(found["failure"])
    assert (code, bool(told.pop("message")), bool(told.pop("advice"))) == (1, True, True)
    return told


# --- answers ----------------------------------------------------------------------------------------------


async def test_an_answer_is_shown_with_what_it_took(tmp_path: Path, broker: DevBroker) -> None:
    path = job(tmp_path, "orders", bus_rule(broker, messageCount="3"), secret=bus_text(broker))
    code, (found,) = await probe_json(path)
    latency, opening = found.pop("latencyMs"), found.pop("openMs")
    assert 0 < latency < 10_000
    assert 0 <= opening < 10_000
    assert (code, found) == (
        0,
        {
            "job": "orders",
            "rule": "queue",
            "type": "azure-servicebus",
            "source": f"127.0.0.1:{broker.http_port}",
            "value": 0,
            "taken": None,
            "active": False,
            "target": 3.0,
            "requests": 1,
            "lowerBound": None,
            "failure": None,
        },
    )


async def test_a_count_that_is_only_a_lower_bound_is_shown_as_one(tmp_path: Path) -> None:
    async with DevBroker(key=CANARY, listen_key="listencanary") as broker:
        broker.add_queue("orders")
        path = job(tmp_path, "orders", bus_rule(broker), secret=broker.listen_connection_string)
        result = await probe(path)
        code, (found,) = await probe_json(path)
    why = (
        "the connection string's key lacks the right Manage, so messages were looked at over AMQP, at most "
        "250 of them"
    )
    assert (code, result.exit_code) == (0, 0)
    assert (found["value"], found["lowerBound"], found["failure"]) == (0, why, None)
    assert result.stdout.splitlines()[1].endswith("at least")
    assert result.stdout.splitlines()[2:] == ["", f"orders, rule queue: at least 0: {why}"]


async def test_the_table_has_a_line_for_each_rule_and_a_paragraph_for_each_failure(
    tmp_path: Path, broker: DevBroker
) -> None:
    good, bad = bus_rule(broker), bus_rule(broker, "ghost", "ghost")
    result = await probe(job(tmp_path, "orders", good, bad, secret=bus_text(broker)))
    source = f"127.0.0.1:{broker.http_port}"
    lines = [re.sub(r"\s\d+(\.\d+)?(?=\s+1\s)", " MS", line).split() for line in result.stdout.splitlines()]
    assert result.exit_code == 1
    assert lines[1] == ["orders", "queue", "azure-servicebus", source, "0", "-", "no", "5", "MS", "1", "ok"]
    assert lines[2][-2:] == ["2", "EntityNotFound"]  # in the list that both share, then by itself
    missing = f"queue 'ghost' at {source}: does not exist; create it, or correct the names in the rule"
    assert result.stdout.splitlines()[3:] == [
        "",
        f"orders, rule ghost: EntityNotFound: {missing}",
        "  Check first (entity): the queue, topic or other thing of that name: create it, or correct the name.",
    ]


async def test_rules_of_one_round_count_it_once(tmp_path: Path) -> None:
    rows = [{"name": n, "messages": 4, "messages_ready": 3, "messages_unacknowledged": 1} for n in "ab"]
    async with ScriptedServer(
        200, json.dumps(rows), {"Content-Type": "application/json"}
    ).serving() as server:
        host = f"http://guest:{CANARY}@127.0.0.1:{server.port}/"
        path = job(tmp_path, "two", rabbit_rule("a", "a"), rabbit_rule("b", "b"), secret=host)
        code, found = await probe_json(path)
    assert code == 0
    assert [(each["value"], each["taken"], each["active"], each["target"]) for each in found] == [
        (4.0, 1.0, True, 2.0)
    ] * 2
    assert [each["requests"] for each in found] == [1, 0]
    assert len(server.seen) == 1


async def test_a_search_for_entities_counts_each_page(tmp_path: Path, broker: DevBroker) -> None:
    for number in range(150):
        broker.add_queue(f"q{number}")
    path = job(tmp_path, "many", bus_rule(broker, queue="q.*", useRegex="true"), secret=bus_text(broker))
    code, (found,) = await probe_json(path)
    assert (code, found["value"], found["requests"]) == (0, 0, 2)


async def test_only_rules_of_the_name_are_asked(tmp_path: Path, broker: DevBroker) -> None:
    text = bus_text(broker)
    one = job(tmp_path, "one", bus_rule(broker, "left"), bus_rule(broker, "right"), secret=text)
    two = job(tmp_path, "two", bus_rule(broker, "right"), secret=text)
    code, found = await probe_json(one, two, "--rule", "right")
    assert (code, [(each["job"], each["rule"]) for each in found]) == (
        0,
        [("one", "right"), ("two", "right")],
    )
    result = await probe(one, two, "--rule", "middle")
    assert (result.exit_code, result.stderr) == (
        2,
        "Error: no rule 'middle' in the files; known: left, right\n",
    )


async def test_a_faulty_file_ends_with_2_and_nothing_to_ask_with_0(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("name: bad\n")
    result = await probe(bad)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"{bad}:1" in result.stderr
    manual = json.loads(job(tmp_path, "manual").read_text().replace('"Event"', '"Manual"'))
    del manual["properties"]["configuration"]["eventTriggerConfig"]
    (tmp_path / "manual.yaml").write_text(json.dumps(manual))
    result = await probe(tmp_path / "manual.yaml")
    assert (result.exit_code, result.stderr) == (0, "No job with the trigger Event: nothing to ask.\n")


# --- failures ---------------------------------------------------------------------------------------------


async def test_a_wrong_key_is_a_matter_of_auth(tmp_path: Path, broker: DevBroker) -> None:
    path = job(tmp_path, "orders", bus_rule(broker), secret=bus_text(broker, f"not{CANARY}"))
    assert await failure(path) == {
        "reason": "AuthenticationFailed",
        "transient": False,
        "check": "auth",
        "network": [],
    }


async def test_a_closed_port_is_told_from_a_name_without_address(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    closed = job(tmp_path, "closed", rabbit_rule(), secret=f"http://u:{CANARY}@127.0.0.1:{port}/")
    nowhere = job(tmp_path, "nowhere", rabbit_rule(), secret=f"http://u:{CANARY}@queue.invalid:{port}/")
    assert await failure(closed) == {
        "reason": "Unreachable",
        "transient": True,
        "check": "tcp",
        "network": [{**PLACE, "port": port, "finding": "Refused"}],
    }
    told = await failure(nowhere)
    assert (told["reason"], told["check"]) == ("Unreachable", "dns")


async def test_a_listener_that_never_answers_is_told_from_one_that_cannot_be_reached(tmp_path: Path) -> None:
    async with silent_server() as port:
        path = job(tmp_path, "silent", rabbit_rule(), secret=f"http://u:{CANARY}@127.0.0.1:{port}/")
        assert await failure(path) == {
            "reason": "Timeout",
            "transient": True,
            "check": "source",
            "network": [{**PLACE, "port": port, "finding": "Connects"}],
        }


async def test_a_port_without_tls_is_a_matter_of_tls(tmp_path: Path, broker: DevBroker) -> None:
    host = f"https://u:{CANARY}@127.0.0.1:{broker.http_port}/"
    path = job(tmp_path, "tls", rabbit_rule(timeout="5s"), secret=host)
    told = await failure(path)
    assert (told["reason"], told["check"]) == ("TlsFailed", "tls")


async def test_a_port_behind_a_firewall_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "CONNECT_S", 0.3)
    with closing(socket.create_server(("127.0.0.1", 0), backlog=0)) as listener:
        port = int(listener.getsockname()[1])
        waiting = [socket.socket() for _ in range(4)]  # what the kernel takes before it drops what comes
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", port))
        await asyncio.sleep(0.05)
        found = await look_at("127.0.0.1", port)
        for each in waiting:
            each.close()
    assert found == Look(host="127.0.0.1", port=port, finding=Finding.SILENT)


# --- a scripted scaler ------------------------------------------------------------------------------------


class Scripted(TriggerMetadata):
    """No parameters."""


class Slow:
    def __init__(self, error: PollError | None) -> None:
        self.error = error

    async def poll(self) -> Sample:
        await asyncio.sleep(0.05)
        if self.error:
            raise self.error
        return Sample(value=7, active=True, taken=2)


def scripted(monkeypatch: pytest.MonkeyPatch, error: PollError | None = None) -> None:
    @asynccontextmanager
    async def open_scaler(_meta: Scripted, context: ScalerContext) -> AsyncIterator[Scaler]:
        await asyncio.sleep(0.2)
        for _ in range(3):
            await context.note_request()
        yield Slow(error)

    kind = ScalerType(
        metadata=Scripted, target=lambda _: 4.0, open=open_scaler, source=lambda _: "a script", summary=""
    )
    monkeypatch.setitem(SCALERS._loaded, "scripted", kind)


async def test_opening_does_not_count_as_latency(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch)
    code, (found,) = await probe_json(job(tmp_path, "slow", rule("it", "scripted")))
    assert (code, found["value"], found["taken"], found["requests"]) == (0, 7, 2, 3)
    assert found["latencyMs"] < 200 <= found["openMs"] + 1


@pytest.mark.parametrize(
    ("reason", "check"),
    [("Throttled", "throttled"), ("AuthorizationFailed", "right"), ("BadRequest", "config")],
)
async def test_the_word_of_a_failure_says_what_to_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str, check: str
) -> None:
    scripted(monkeypatch, PollError("no", reason=reason))
    assert await failure(job(tmp_path, "slow", rule("it", "scripted"))) == {
        "reason": reason,
        "transient": True,
        "check": check,
        "network": [],
    }


# --- advice -----------------------------------------------------------------------------------------------


def test_there_is_advice_for_every_word_of_the_scalers() -> None:
    root = Path(__file__).parents[2] / "scaler"
    files = [*(root / "scalers").glob("*.py"), root / "engine" / "sources.py"]
    words = {word for path in files for word in re.findall(r'reason="(\w+)"', path.read_text())}
    fallback = advise("NoSuchWord", ())
    assert "EntityNotFound" in words
    assert {word for word in words if advise(word, ()) == fallback} == set()


def test_of_several_brokers_the_worst_one_counts() -> None:
    looks = [
        Look(host="a", port=9092, finding=Finding.CONNECTS),
        Look(host="b", port=9093, finding=Finding.SILENT),
    ]
    told = advise("Unreachable", looks)
    assert told.check == "tcp"
    assert told.text.startswith("port 9093 of b does not answer")
    assert advise("Unreachable", ()) == Advice(
        check="tcp", text="the address, and whether this machine can reach it"
    )


@pytest.mark.parametrize("finding", list(Finding))
@pytest.mark.parametrize("reason", ["Unreachable", "Timeout"])
def test_every_finding_has_advice_with_its_place(reason: str, finding: Finding) -> None:
    told = advise(reason, [Look(host="mq.example", port=5672, finding=finding)])
    expected = {Finding.NO_ADDRESS: "dns", Finding.NAME_SERVER_SILENT: "dns", Finding.CONNECTS: "source"}
    assert told.check == expected.get(finding, "tcp")
    assert "mq.example" in told.text


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("amqp://mq:5672", (("mq", 5672),)),
        ("https://mq.example:443/prefix", (("mq.example", 443),)),
        ("kafka://a:9092,[::1]:9093", (("a", 9092), ("::1", 9093))),
        ("acc.queue.core.windows.net", (("acc.queue.core.windows.net", 443),)),
        ("127.0.0.1:10001/devstoreaccount1", (("127.0.0.1", 10001),)),
        ("api.github.com/owner", (("api.github.com", 443),)),
        ("dns:///scaler:6000", (("scaler", 6000),)),
        ("unix:///run/scaler.sock", ()),
        ("a script", ()),
        ("word", ()),
        ("host:notaport", ()),
    ],
)
def test_the_places_of_a_source(source: str, found: tuple[tuple[str, int], ...]) -> None:
    assert places(source) == found
