"""The commands that need no daemon, the exit codes, and what a shell sees of the real program."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
import pytest

from scaler.cli import completion, doctor, main
from scaler.cli.complete import complete_job
from scaler.cli.plan import planned_body
from scaler.docker_address import find_address
from scaler.errors import ConfigError, DaemonUnreachable
from scaler.model.decision import RuleVerdict
from scaler.planning.invariants import Promise, Violation
from tests.api.fakes import make_decision, make_state
from tests.cli.conftest import Daemon, Run, run_cli
from tests.cli.help_page import commands

GOOD = """\
name: good
properties:
  configuration:
    triggerType: Manual
    replicaTimeout: 60
  template:
    containers:
      - name: main
        image: worker:1
"""


def shell(*args: str, **kwargs: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "scaler", *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **kwargs)  # type: ignore[call-overload, no-any-return]


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from scaler.cli.main import main; code = main(['--help']); "
        "heavy = ['pydantic', 'aiohttp', 'structlog', 'asyncio', 'aiodocker', 'azure', 'aiokafka', 'aio_pika', "
        "'ruamel', 'sqlite3', 'scaler.engine', 'scaler.daemon', 'scaler.wire', 'scaler.config', 'http.client']; "
        "sys.exit(', '.join(name for name in heavy if name in sys.modules) or code)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert "Usage: scaler [OPTIONS] COMMAND [ARGS]..." in result.stdout


def test_a_client_command_imports_no_server() -> None:
    code = (
        "import sys; from scaler.cli.main import main; main(['job', 'list', '--state-dir', '/none']); "
        "sys.exit(', '.join(n for n in ('pydantic', 'aiohttp', 'asyncio') if n in sys.modules) or 0)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.stderr.startswith("Error: no daemon answers in '/none'")
    assert (result.returncode, len(result.stderr.splitlines())) == (0, 1)


def test_the_commands_are_those_that_scripts_rely_on() -> None:
    assert sorted(" ".join(path) for path in commands(main.cli)) == sorted(
        [
            "run", "validate", "plan", "probe", "simulate", "job", "job list", "job show", "job start", "job reset",
            "job suspend", "job resume", "job logs", "execution",
            "execution list", "execution show", "execution stop", "execution logs", "drain", "why", "audit",
            "scalers", "doctor", "guard", "load", "bench", "soak", "completion",
        ]
    )  # fmt: skip
    assert "demo" in main.cli.list_commands(click.Context(main.cli))


@pytest.mark.parametrize("path", list(commands(main.cli)), ids=" ".join)
def test_every_command_has_help_with_examples(path: tuple[str, ...]) -> None:
    result = run_cli(*path, "--help")
    assert result.exit_code == 0
    assert "Examples:" in result.stdout
    assert f"scaler {' '.join(path)}" in result.stdout.split("Examples:")[1]


@pytest.mark.parametrize(
    ("args", "code", "text"),
    [
        ((), 2, "Usage"),
        (("jobb",), 2, "no such command 'jobb'; did you mean 'job'?"),
        (("job", "lst"), 2, "no such command 'lst'; did you mean 'list'?"),
        (("job", "list", "--colour"), 2, "No such option"),
        (("job", "list", "-o", "yaml"), 2, "'yaml'"),
        (("validate",), 2, "PATH"),
        (("execution", "logs", "a", "b", "--tail", "-1"), 2, "--tail"),
        (("scalers", "azure-queu"), 2, "did you mean 'azure-queue'?"),
        (("validate", "/none.yaml"), 2, "/none.yaml"),
        (("job", "list"), 3, "scaler run PATH --state-dir"),
        (("why", "x"), 3, "no daemon answers in"),
        (("execution", "stop", "a", "b"), 3, "no daemon answers in"),
        (("--version",), 0, ""),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_exit_codes(args: tuple[str, ...], code: int, text: str, tmp_path: Path) -> None:
    result = run_cli("--state-dir", str(tmp_path), *args)
    assert (result.exit_code, text in result.stderr) == (code, True), result.stderr
    assert "Traceback" not in result.output


def test_validate_lists_every_fault_and_counts(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(GOOD)
    bad.write_text(GOOD.replace("name: good", "name: bad").replace("replicaTimeout: 60", "replicaTimeout: x"))
    assert run_cli("validate", str(good)).stdout == "0 faults, 1 job without a fault\n"
    result = run_cli("validate", str(tmp_path))
    lines = result.stderr.splitlines()
    assert (result.exit_code, result.stdout, len(lines)) == (2, "", 2)
    assert lines[0].startswith(f"{bad}:5:")
    assert lines[1] == "1 fault, 1 job without a fault"


def test_validate_in_json_is_a_list_of_places(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(GOOD.replace("triggerType: Manual", "triggerType: Manul"))
    result = run_cli("validate", str(bad), "-o", "json")
    found = json.loads(result.stdout)
    assert (result.exit_code, len(found)) == (2, 1)
    assert set(found[0]) == {"path", "line", "column", "where", "message"}
    assert (found[0]["path"], found[0]["line"]) == (str(bad), 4)
    assert found[0]["where"] == "properties.configuration.triggerType"


def test_a_plan_in_json_has_what_scripts_rely_on() -> None:
    broken = RuleVerdict(name="q", type="kafka", error="no answer", error_reason="Timeout")
    assert planned_body(make_decision(rules=(broken,))) == {
        "job": "orders",
        "rules": [
            {
                "name": "q",
                "type": "kafka",
                "value": None,
                "active": None,
                "target": None,
                "error": "no answer",
                "lowerBound": None,
            }
        ],
        "launch": 3,
        "reason": "Launched",
    }


def test_scalers_lists_types_and_describes_one() -> None:
    found = json.loads(run_cli("scalers", "-o", "json").stdout)
    assert {"type", "installed", "summary"} == set(found[0])
    assert "azure-queue" in [entry["type"] for entry in found]
    described = json.loads(run_cli("scalers", "azure-queue", "-o", "json").stdout)
    length = next(p for p in described["parameters"] if p["parameter"] == "queueLength")
    assert (length["default"], length["from"]) == ("5", "metadata")
    assert "queueLength" in run_cli("scalers", "azure-queue").stdout


def test_doctor_reports_each_thing(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    result = run("doctor", "-o", "json")
    states = {check["name"]: check["state"] for check in json.loads(result.stdout)}
    assert (states["python"], states["packages"], states["state directory"]) == ("ok", "ok", "ok")
    assert (states["daemon"], states["docker engine"], result.exit_code) == ("ok", "broken", 1)


def test_doctor_does_not_demand_a_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX) as engine:
        engine.bind(str(tmp_path / "engine.sock"))
        monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/engine.sock")
        assert doctor.check_engine(needed=True).state == "broken"
    good = doctor.Check(name="docker engine", state="ok", message="")
    monkeypatch.setattr(doctor, "check_engine", lambda *, needed: good)
    result = run_cli("doctor", "--state-dir", str(tmp_path / "new"))
    assert result.exit_code == 0
    assert "will be made" in result.stdout
    assert not (tmp_path / "new").exists()


def test_doctor_finds_a_sick_daemon(run: Run, daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon.control.ok = False
    result = run("doctor", "-o", "json")
    check = json.loads(result.stdout)[-1]
    assert (check["name"], check["state"], result.exit_code) == ("daemon", "broken", 1)
    assert "executor docker: no answer" in check["message"]
    assert "taken: 3 of 4 executions, waiting for room: orders" in check["message"]


def test_doctor_tells_which_promises_are_broken(run: Run, daemon: Daemon) -> None:
    assert "3 executions and 5 decisions looked at; all is as it should be" in run("doctor").stdout
    daemon.control.violations = (Violation(promise=Promise.ORPHAN, subject="orders-x", message="nobody's"),)
    result = run("doctor", "-o", "json")
    check = json.loads(result.stdout)[-2]
    assert (check["name"], check["state"], result.exit_code) == ("records", "broken", 1)
    assert check["message"].startswith("Orphan orders-x: nobody's; this is a fault of scaler")


@pytest.mark.parametrize("name", completion.SHELLS)
def test_completion_prints_a_script(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run_cli("completion", name)
    assert (result.exit_code, "_SCALER_COMPLETE" in result.stdout) == (0, True)
    monkeypatch.setenv("SHELL", f"/usr/bin/{name}")
    assert run_cli("completion").stdout == result.stdout
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    assert run_cli("completion").exit_code == 2


def test_job_names_are_completed_and_tab_never_fails(run: Run, tmp_path: Path) -> None:
    ctx, param = click.Context(main.cli), click.Argument(["name"])
    assert [item.value for item in complete_job(ctx, param, "or")] == ["orders"]
    ctx.meta["scaler.state_dir"] = tmp_path / "none"
    assert complete_job(ctx, param, "or") == []


def test_an_unexpected_error_shows_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def fail(_self: object) -> list[object]:
        raise ZeroDivisionError("two\nlines")

    monkeypatch.setattr("scaler.cli.client.Client.live_jobs", fail)
    assert main.main(["job", "list"]) == 1
    assert capsys.readouterr().err == (
        "Error: unexpected ZeroDivisionError: two lines\n"
        "This is a fault of ours; run with SCALER_DEBUG=1 for the traceback.\n"
    )
    monkeypatch.setenv("SCALER_DEBUG", "1")
    assert main.main(["job", "list"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_main_gives_the_exit_code_of_our_errors(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main.main(["job", "list", "--state-dir", str(tmp_path)]) == DaemonUnreachable.exit_code == 3
    assert "Error: no daemon answers" in capsys.readouterr().err

    def interrupt(_self: object) -> list[object]:
        raise KeyboardInterrupt

    monkeypatch.setattr("scaler.cli.client.Client.live_jobs", interrupt)
    assert main.main(["job", "list"]) == 130


def test_a_daemon_that_never_answers_is_no_daemon(tmp_path: Path) -> None:
    from scaler.cli.client import Client

    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(tmp_path / "scaler.sock"))
        mute.listen()
        with pytest.raises(DaemonUnreachable, match="takes too long"):
            Client(tmp_path, answer_s=0.1).live_jobs()


def test_the_program_speaks_to_a_daemon_and_a_closed_pipe_is_no_error(daemon: Daemon) -> None:
    daemon.store.states = [make_state(f"orders-{n:04}") for n in range(3000)]
    env = os.environ | {"SCALER_STATE_DIR": str(daemon.state_dir)}
    assert shell("job", "list", env=env).stdout.splitlines()[0].startswith("NAME")
    line = f"'{sys.executable}' -m scaler execution list orders | head -1"
    result = subprocess.run(
        line, shell=True, capture_output=True, text=True, timeout=60, check=False, env=env
    )
    assert (result.stdout.split()[0], result.stderr) == ("NAME", "")


def test_a_full_disk_behind_the_output_is_one_line() -> None:
    line = f"'{sys.executable}' -m scaler scalers > /dev/full"
    result = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stderr) == (1, "Error: No space left on device\n")


def test_a_state_directory_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    jobs = tmp_path / "jobs"
    jobs.mkdir()
    result = shell("run", str(jobs), "--state-dir", "/proc/none/here")
    hint = "give a state directory that this user can write to"
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == f"Error: /proc/none/here: No such file or directory; {hint}"


def test_types_of_scalers_are_completed() -> None:
    words = {"_SCALER_COMPLETE": "bash_complete", "COMP_WORDS": "scaler scalers ra", "COMP_CWORD": "2"}
    assert shell(env=os.environ | words).stdout == "plain,rabbitmq\n"


def test_interrupting_a_followed_log_ends_with_130(daemon: Daemon) -> None:
    daemon.store.states = [make_state("orders-a")]
    env = os.environ | {"SCALER_STATE_DIR": str(daemon.state_dir)}
    command = [sys.executable, "-m", "scaler", "execution", "logs", "orders", "orders-a", "--follow"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"one\n"
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _out, err = process.communicate(timeout=20)
    assert (process.returncode, b"Traceback" in err) == (130, False)


def test_the_engine_is_looked_for_where_docker_looks(tmp_path: Path) -> None:
    def address(**env: str) -> str:
        return find_address(None, {"DOCKER_CONFIG": str(tmp_path)} | env).url

    assert address() == "unix:///var/run/docker.sock"
    (tmp_path / "config.json").write_text('{"currentContext": "mine"}')
    with pytest.raises(ConfigError, match=r"config.json: currentContext: got 'mine'; no such docker context"):
        address()
    meta = tmp_path / "contexts" / "meta" / hashlib.sha256(b"mine").hexdigest()
    meta.mkdir(parents=True)
    (meta / "meta.json").write_text('{"Endpoints": {"docker": {"Host": "unix:///run/mine.sock"}}}')
    assert address() == "unix:///run/mine.sock"
    assert address(DOCKER_CONTEXT="default") == "unix:///var/run/docker.sock"
    assert address(DOCKER_HOST="tcp://there:2375") == "tcp://there:2375"


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("DOCKER_HOST", "garbage", "only unix:///PATH and tcp://HOST:PORT"),
        ("DOCKER_HOST", "ssh://me@far", "forward a remote socket"),
        ("DOCKER_HOST", "tcp://far:port", "only unix:///PATH and tcp://HOST:PORT"),
        ("DOCKER_CONTEXT", "none", "no such docker context"),
    ],
)
def test_doctor_validate_and_run_agree_on_an_engine_that_cannot_be_reached_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, reason: str
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setenv(variable, value)
    state, file = tmp_path / "state", tmp_path / "good.yaml"
    file.write_text(GOOD)
    asked = run_cli("doctor", "--state-dir", str(state), "-o", "json")
    check = next(check for check in json.loads(asked.stdout) if check["name"] == "docker engine")
    assert (asked.exit_code, check["state"]) == (1, "broken")
    checked = run_cli("validate", str(file))
    ran = run_cli("run", str(file), "--state-dir", str(state))
    assert (checked.exit_code, ran.exit_code) == (2, 2)
    fault = f"executor docker: {variable}: got '{value.replace('me@', '***@')}'; "
    for text in (f"executor docker: {check['message']}", checked.stderr, ran.stderr.removeprefix("Error: ")):
        assert text.startswith(fault)
        assert reason in text


def test_an_interrupt_while_the_program_is_still_being_imported_ends_with_130(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text(
        "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(9)\n"
    )
    result = shell("job", "list", env=os.environ | {"PYTHONPATH": str(tmp_path)})
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "")


def test_an_empty_name_is_wrong_use(run: Run) -> None:
    result = run("job", "show", "")
    assert (result.exit_code, result.stderr) == (2, "Error: got an empty name; name a job or an execution\n")


def test_a_working_directory_that_was_removed_is_wrong_use(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    line = f"cd '{gone}' && rmdir '{gone}' && exec '{sys.executable}' -P -m scaler validate x"
    result = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stderr) == (
        2,
        "Error: the working directory was removed; change to one that exists\n",
    )


HANGING = """\
name: hanging
properties:
  configuration:
    triggerType: Event
    replicaTimeout: 60
    secrets: [{{name: host, value: "http://u:p@127.0.0.1:{port}/"}}]
    eventTriggerConfig:
      scale:
        pollingInterval: 2
        rules:
          - name: orders
            type: rabbitmq
            metadata: {{queueName: orders, mode: QueueLength, value: "1", protocol: http}}
            auth: [{{secretRef: host, triggerParameter: host}}]
  template: {{containers: [{{name: main, command: ["true"]}}]}}
x-scaler: {{executor: process}}
"""


def test_a_plan_waits_for_a_source_no_longer_than_the_daemon_would(tmp_path: Path) -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        (tmp_path / "job.yaml").write_text(HANGING.format(port=mute.getsockname()[1]))
        result = shell("plan", str(tmp_path / "job.yaml"))
    assert result.returncode == 0, result.stderr
    assert "no answer within 3 s" in result.stdout


def test_doctor_needs_the_engine_if_its_address_keeps_jobs_of_the_daemon_away() -> None:
    health: dict[str, list[Any]] = {"executors": [{"name": "process"}], "fileFaults": ["jobs.yaml:3:1: bad"]}
    assert not doctor._needs_engine(health)
    health["fileFaults"].append("executor docker: DOCKER_HOST: got 'garbage'; only …")
    assert doctor._needs_engine(health)
