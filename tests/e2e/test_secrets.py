"""A canary: the text of a secret appears nowhere but in the container that is meant to have it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import MakeDaemon
from tests.e2e.jobs import end_of, manual_job
from tests.e2e.work import JOB_LABEL
from tests.infra.engine import Engine

CANARY = "Kanarienvogel7Gelb"
CANARY_KEY = "S2FuYXJpZW52b2dlbDdHZWxiS2FuYXJpZW52b2dlbA=="
CANARIES = (CANARY, CANARY_KEY)


def event_job(name: str, image: str, rule: dict[str, Any], secret: str) -> dict[str, Any]:
    """Give a job whose source refuses connections and whose secret is in its address."""
    job = manual_job(image, "true")
    configuration = job["properties"]["configuration"]
    del configuration["manualTriggerConfig"]
    auth = [{"triggerParameter": rule.pop("parameter"), "secretRef": "address"}]
    scale = {"pollingInterval": 1, "maxExecutions": 1, "rules": [{"name": "queue", **rule, "auth": auth}]}
    configuration |= {
        "triggerType": "Event",
        "eventTriggerConfig": {"scale": scale},
        "secrets": [{"name": "address", "value": secret}],
    }
    return {**job, "name": name}


def jobs(image: str) -> list[dict[str, Any]]:
    """Give jobs that carry the canary in every place that takes a secret; `canary-odd` is faulty."""
    rabbit = {"type": "rabbitmq", "metadata": {"queueName": "q", "mode": "QueueLength", "value": "1"}}
    azure = {"type": "azure-queue", "metadata": {"queueName": "q", "queueLength": "1"}}
    connection = (
        f"DefaultEndpointsProtocol=http;AccountName=someone;AccountKey={CANARY_KEY};"
        "QueueEndpoint=http://127.0.0.1:1/someone;"
    )
    hand = manual_job(image, "echo container says $TOKEN; sleep 2; test $TOKEN")
    hand["name"] = "canary-hand"
    hand["properties"]["configuration"]["secrets"] = [{"name": "token", "value": CANARY}]
    hand["properties"]["template"]["containers"][0]["env"] = [{"name": "TOKEN", "secretRef": "token"}]
    pull = manual_job("127.0.0.1:1/nobody/nothing:1", "true")
    pull["name"] = "canary-pull"
    pull["properties"]["configuration"] |= {
        "secrets": [{"name": "password", "value": CANARY}],
        "registries": [{"server": "127.0.0.1:1", "username": "me", "passwordSecretRef": "password"}],
    }
    return [
        hand,
        pull,
        event_job(
            "canary-amqp", image, {**rabbit, "parameter": "host"}, f"amqp://me:{CANARY}@127.0.0.1:1/%2F"
        ),
        event_job(
            "canary-http", image, {**rabbit, "parameter": "host"}, f"http://me:{CANARY}@127.0.0.1:1/%2F"
        ),
        event_job("canary-azure", image, {**azure, "parameter": "connection"}, connection),
        event_job(
            "canary-odd",
            image,
            {**azure, "parameter": "connection"},
            f"AccountKey={CANARY};Nonsense={CANARY}",
        ),
    ]


def leaks(text: str | bytes) -> bool:
    """Tell whether a canary is in there."""
    raw = text.encode() if isinstance(text, str) else text
    return any(canary.encode() in raw for canary in CANARIES)


def leaking_files(folder: Path) -> list[str]:
    """Name the files below a folder that hold a canary."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    assert any(path.name == "scaler.db" for path in files)
    return [str(path.relative_to(folder)) for path in files if leaks(path.read_bytes())]


@pytest.mark.parametrize("level", ["info", "debug"])
async def test_the_text_of_a_secret_is_in_no_answer_no_log_no_file_and_no_label(
    level: str, docker_engine: Engine, worker_image: str, make_daemon: MakeDaemon
) -> None:
    daemon = make_daemon(docker_engine, log={"format": "json", "level": level})
    for job in jobs(worker_image):
        daemon.write(job)
    await daemon.start()
    execution = (await daemon.cli("job", "start", "canary-hand")).strip()
    pulling = (await daemon.cli("job", "start", "canary-pull")).strip()
    await daemon.until(
        lambda: all(
            daemon.client.live_job(f"canary-{one}")["lastDecision"] for one in ("amqp", "http", "azure")
        ),
        what="every source was polled", timeout_s=30,
    )  # fmt: skip
    with docker_engine.client() as client:
        labelled = client.api.containers(all=True, filters={"label": f"{JOB_LABEL}=canary-hand"})
    answers = [await daemon.cli("execution", "logs", "canary-hand", execution, "--follow")]
    end = await end_of(daemon, "canary-hand", execution)
    await daemon.until(
        lambda: "ImagePullFailed" in str(daemon.client.execution("canary-pull", pulling)),
        what="a pull failed", timeout_s=60,
    )  # fmt: skip
    words = [["job", "list"], ["execution", "show", "canary-hand", execution]]
    words += [["execution", "show", "canary-pull", pulling]]
    for name in ("hand", "pull", "amqp", "http", "azure"):
        words += [["job", "show", f"canary-{name}"], ["why", f"canary-{name}"]]
        words += [["execution", "list", f"canary-{name}"]]
    told = [await daemon.cli(*line) for line in words]
    told += [await daemon.cli("-o", "json", *line) for line in words]
    told.append(str(await daemon.ask(lambda client: (client.health(), client.live_jobs()))))
    told += [await daemon.cli(command, str(daemon.jobs), code=None) for command in ("plan", "validate")]
    health = await daemon.ask(lambda client: client.health())
    files = leaking_files(daemon.state)
    await daemon.stop()

    assert end[:2] == ("Succeeded", "Completed")
    assert answers == [f"container says {CANARY}\n"], "the container itself has the secret"
    assert [text for text in told if leaks(text)] == []
    assert not leaks(daemon.output.read_text()), daemon.tail()
    assert len(health["fileFaults"]) == 1, "the faulty job was to be told"
    assert len(labelled) == 1
    assert not leaks(str(labelled))
    assert all(name.startswith(f"logs/{execution}-") for name in files), files
    assert leaking_files(daemon.state) == files


def test_the_canary_is_found_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "scaler.db").write_bytes(b"\0" + CANARY_KEY.encode() + b"\0")
    (tmp_path / "other").write_bytes(b"quiet")

    assert leaking_files(tmp_path) == ["scaler.db"]
