"""The command `simulate`, on job files as people write them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from scaler.model.decision import Occasion
from scaler.planning.counts import Counts
from scaler.planning.decide import Inputs, decide
from scaler.trace.recorder import TraceFile, open_recorder
from tests.cli.conftest import run_cli
from tests.planning.builders import NOW, reading, trigger

JOB = """\
name: {name}
properties:
  configuration:
    triggerType: Event
    replicaTimeout: 600
    eventTriggerConfig:
      scale:
        pollingInterval: 10
        maxExecutions: 10
        rules:
          - name: {name}
            type: {type}
            metadata: {metadata}
            auth: [{{secretRef: url, triggerParameter: {parameter}}}]
    secrets: [{{name: url, value: "{url}"}}]
  template: {{containers: [{{name: main, image: "worker:1"}}]}}
"""
RABBIT = JOB.format(
    name="orders", type="rabbitmq", metadata="{queueName: orders, mode: QueueLength, value: 1}",
    parameter="host", url="amqp://guest:canary@localhost/",
)  # fmt: skip
BUS = JOB.format(
    name="mails", type="azure-servicebus", metadata="{queueName: mails, messageCount: 3}", parameter="connection",
    url="Endpoint=sb://localhost;SharedAccessKeyName=n;SharedAccessKey=a2V5;UseDevelopmentEmulator=true",
)  # fmt: skip


@pytest.fixture
def jobs(tmp_path: Path) -> Path:
    (tmp_path / "orders.yaml").write_text(RABBIT)
    (tmp_path / "mails.yaml").write_text(BUS)
    return tmp_path


def test_settings_are_compared_on_the_same_messages(jobs: Path) -> None:
    result = run_cli(
        "simulate", str(jobs), "--rate", "orders=60@0s", "--rate", "mails=30@0s", "--work", "exp:10s",
        "--set", "maxExecutions=2", "--price-cpu", "1", "-o", "json",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    written, narrow = json.loads(result.stdout)
    assert (written["settings"], narrow["settings"]) == ("as written", "maxExecutions=2")
    by_name = [{job["job"]: job for job in outcome["jobs"]} for outcome in (written, narrow)]
    wide, few = (jobs["orders"] for jobs in by_name)
    assert (wide["messages"], wide["done"], wide["executions"], wide["peak"]) == (60, 60, 60, 10)
    assert (few["done"], few["peak"]) == (60, 2)
    assert few["drainSeconds"] > 3 * wide["drainSeconds"]
    assert few["executionSeconds"] == pytest.approx(wide["executionSeconds"])
    assert wide["cost"] == pytest.approx(wide["vcpuSeconds"])
    mails = by_name[0]["mails"]
    assert (mails["done"], mails["peak"]) == (30, 10)
    assert 10 <= mails["executions"] < 20  # one for each three messages


def test_the_table_says_what_was_left(jobs: Path) -> None:
    result = run_cli(
        "simulate",
        str(jobs / "orders.yaml"),
        "--rate",
        "5@0s",
        "--poison",
        "100%",
        "--work",
        "1s",
        "--for",
        "2m",
    )
    head, row, *remarks = result.stdout.splitlines()
    assert head.split()[:4] == ["SETTINGS", "JOB", "MESSAGES", "DONE"]
    assert row.split()[:6] == ["as", "written", "orders", "5", "0", "-"]
    assert remarks == ["as written: orders: 5 messages were left at the end"]
    assert "of virtual time in" in result.stderr


def test_arrivals_may_be_written_down(jobs: Path) -> None:
    trace = jobs / "t.jsonl"
    lines = [
        {"kind": "arrival", "job": "orders", "at": f"2026-03-01T12:{minute:02}:00Z", "count": 4}
        for minute in (0, 10)
    ]
    trace.write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = run_cli(
        "simulate", str(jobs / "orders.yaml"), "--trace", str(trace), "--work", "5s", "-o", "json"
    )
    (outcome,) = json.loads(result.stdout)
    assert outcome["jobs"][0]["done"] == 8
    assert outcome["jobs"][0]["drainSeconds"] < 30
    assert 600 < outcome["simulatedSeconds"] < 660
    other = run_cli("simulate", str(jobs / "mails.yaml"), "--trace", str(trace))
    assert (other.exit_code, other.stderr) == (
        2,
        "Error: the trace tells of no job of the files; it has: orders\n",
    )


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ((), "name the job files to simulate"),
        (("orders.yaml",), "write either --rate or --trace"),
        (("orders.yaml", "--rate", "1/m", "--trace", "t"), "write either --rate or --trace"),
        (("--verify",), "write --trace FILE --verify"),
        (("orders.yaml", "--rate", "1/w"), "--rate 1/w: got '1/w'; write 10/m"),
        (
            ("orders.yaml", "--rate", "no=1/m"),
            "--rate no=…: no such job or rule in the files; known: orders/orders",
        ),
        (("orders.yaml", "--rate", "1/m", "--for", "0"), "--for: got '0'; write a time above 0"),
        (("orders.yaml", "--rate", "1/m", "--work", "long"), "--work: got 'long'; write a time such as"),
        (("orders.yaml", "--rate", "1/m", "--fail", "2"), "--fail: got '2'; write a share"),
        (
            ("orders.yaml", "--rate", "1/m", "--from", "today"),
            "--from: got 'today'; write a time with its zone",
        ),
        (("orders.yaml", "--rate", "1/m", "--set", "maxexecutions=1"), "did you mean 'maxExecutions'?"),
        (("none.yaml", "--rate", "1/m"), "none.yaml"),
        (("orders.yaml", "--trace", "none.jsonl"), "none.jsonl: No such file or directory; name a trace"),
    ],
)
def test_wrong_use_is_told_with_what_to_do(
    jobs: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], fault: str
) -> None:
    monkeypatch.chdir(jobs)
    result = run_cli("simulate", *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert fault in result.stderr
    assert "Traceback" not in result.stderr


def test_files_of_jobs_started_by_hand_hold_nothing_to_simulate(tmp_path: Path) -> None:
    (tmp_path / "hand.yaml").write_text(
        "name: hand\nproperties:\n  configuration: {triggerType: Manual, replicaTimeout: 60}\n"
        "  template: {containers: [{name: main, image: 'worker:1'}]}\n"
    )
    result = run_cli("simulate", str(tmp_path), "--rate", "1/m")
    assert result.exit_code == 2
    assert "no job with the trigger Event or Schedule in the files" in result.stderr


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "t.jsonl"
    inputs = Inputs(
        job="orders", trigger=trigger(), readings=(reading(3),), counts=Counts(running=1, pending=0), at=NOW,
        occasion=Occasion.TICK,
    )  # fmt: skip
    with open_recorder(TraceFile(path=path), version="1", now=lambda: datetime.now(UTC)) as recorder:
        recorder.decided(inputs, decide(inputs), decision_id=1, read_s=0.01)
    return path


def test_a_trace_that_decides_the_same_is_well(trace: Path) -> None:
    result = run_cli("simulate", "--trace", str(trace), "--verify")
    assert (result.exit_code, result.stdout) == (0, "1 decision, 2 launches: all come out the same\n")


def test_a_trace_that_decides_otherwise_fails_and_tells_where(trace: Path) -> None:
    trace.write_text(trace.read_text().replace('"launch":2', '"launch":9'))
    result = run_cli("simulate", "--trace", str(trace), "--verify")
    assert result.exit_code == 1
    assert (
        f"{trace}:3: orders at 2026-03-01T12:00:00+00:00: launch was 9, is 2 now (max[rule:" in result.stderr
    )
    assert "1 decision, 9 launches: 1 comes out otherwise" in result.stderr
    body = json.loads(run_cli("simulate", "--trace", str(trace), "--verify", "-o", "json").stdout)
    assert [item["field"] for item in body["differences"]] == ["launch"]


def test_ctrl_c_ends_it_without_a_word_of_its_insides(jobs: Path) -> None:
    """Whether or not what runs the tests lets its children hear of it."""
    program = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from scaler.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    words = ["simulate", str(jobs / "orders.yaml"), "--rate", "1/s"]
    command = [sys.executable, "-c", program, *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("simulating (as written): ")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, out) == (130, "")
    assert not {"Traceback", "Task", "coroutine"} & set(err.replace("(", " ").split())
