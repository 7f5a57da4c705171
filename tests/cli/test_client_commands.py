"""The commands that ask the daemon: their text, their JSON, their exit codes."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from scaler.cli.client import API_VERSION
from scaler.model.decision import Bound, Reason, RuleVerdict
from scaler.model.execution import Cause, ExecutionStatus, Trigger, Verdict
from scaler.model.job import ManualTrigger, ScheduleTrigger
from scaler.model.replica import Fault, Usage
from scaler.model.share import Share
from tests.api.fakes import make_decision, make_job, make_state, make_view
from tests.cli.conftest import Daemon, Run, run_cli


def test_the_job_list_is_a_table(run: Run, daemon: Daemon) -> None:
    daemon.control.views["orders"] = make_view(make_job("orders"), make_decision())
    result = run("job", "list")
    assert result.exit_code == 0
    assert result.stdout == (
        "NAME     TRIGGER  READY  ACTIVE          RUNNING  PENDING  LAST DECISION\n"
        "billing  Event    True   False (NoWork)  2        1        -\n"
        "orders   Event    True   False (NoWork)  2        1        Launched at 2026-11-21 12:00:00Z\n"
    )


def test_the_job_list_in_json_is_a_list_of_resources(run: Run) -> None:
    found = json.loads(run("job", "list", "-o", "json").stdout)
    assert [(job["name"], job["type"]) for job in found] == [
        ("billing", "Microsoft.App/jobs"),
        ("orders", "Microsoft.App/jobs"),
    ]


def test_job_show_tells_definition_and_state(run: Run, daemon: Daemon) -> None:
    daemon.store.states = [make_state("orders-a"), make_state("orders-b", status=ExecutionStatus.FAILED)]
    result = run("job", "show", "Orders")
    assert result.exit_code == 0
    assert "Max executions     10\n" in result.stdout
    assert "Rules              queue (azure-queue)\n" in result.stdout
    assert "Executions         Running 1, Failed 1\n" in result.stdout
    assert json.loads(run("job", "show", "orders", "-o", "json").stdout)["name"] == "orders"


def test_a_start_prints_the_name(run: Run, daemon: Daemon) -> None:
    result = run("job", "start", "orders")
    assert (result.exit_code, result.stdout) == (0, f"{daemon.store.states[0].execution.id}\n")
    assert daemon.control.started == [("orders", None)]


def test_a_reset_says_that_failures_are_forgotten(run: Run, daemon: Daemon) -> None:
    result = run("job", "reset", "Orders")
    assert (result.exit_code, result.stdout) == (0, "orders: failures are forgotten\n")
    assert daemon.control.resets == ["orders"]
    assert run("job", "reset", "ordres").exit_code == 1


def test_a_start_in_json_gives_id_and_name(run: Run, daemon: Daemon) -> None:
    body = json.loads(run("-o", "json", "job", "start", "orders").stdout)
    name = daemon.store.states[0].execution.id
    assert set(body) == {"id", "name"}
    assert (body["name"], body["id"].endswith(f"/jobs/orders/executions/{name}")) == (name, True)


def test_a_start_with_overrides_keeps_what_is_not_named(run: Run, daemon: Daemon) -> None:
    words = ("--args", "'a b' --flag", "--env", "LEVEL=2", "--env", "NEW=x=y")
    result = run("job", "start", "orders", "--image", "worker:2", *words)
    assert result.exit_code == 0, result.stderr
    template = daemon.control.started[0][1]
    assert template is not None
    container = template.container
    assert (container.image, container.command) == ("worker:2", ("python", "work.py"))
    assert container.args == ("a b", "--flag")
    assert [(v.name, v.value) for v in container.env] == [("MODE", "live"), ("LEVEL", "2"), ("NEW", "x=y")]


@pytest.mark.parametrize(
    ("outcome", "code"),
    [(ExecutionStatus.SUCCEEDED, 0), (ExecutionStatus.FAILED, 1), (ExecutionStatus.STOPPED, 1)],
)
def test_waiting_ends_by_the_outcome(run: Run, daemon: Daemon, outcome: ExecutionStatus, code: int) -> None:
    daemon.control.outcome = outcome
    result = run("job", "start", "orders", "--wait")
    assert (result.exit_code, result.stdout) == (code, f"{daemon.store.states[0].execution.id}\n")
    assert result.stderr == f"{outcome.value}\n"


def test_the_execution_list_in_json_holds_all_pages(run: Run, daemon: Daemon) -> None:
    daemon.store.states = [make_state(f"orders-{n:03}") for n in range(230)]
    found = json.loads(run("execution", "list", "orders", "-o", "json").stdout)
    assert [item["name"] for item in found] == [f"orders-{n:03}" for n in range(230)]
    assert {item["type"] for item in found} == {"Microsoft.App/jobs/executions"}


def test_the_execution_list_is_a_table(run: Run, daemon: Daemon) -> None:
    daemon.store.states = [make_state("orders-a", status=ExecutionStatus.SUCCEEDED)]
    assert run("execution", "list", "orders", "--limit", "1").stdout == (
        "NAME      STATUS     STARTED               DURATION  REASON\n"
        "orders-a  Succeeded  2026-11-21 12:00:00Z  5s        -\n"
    )
    result = run("execution", "list", "billing")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "'billing' has no executions yet.\n"


def test_execution_show_tells_its_replicas(run: Run, daemon: Daemon) -> None:
    daemon.store.states = [make_state("orders-a", status=ExecutionStatus.SUCCEEDED)]
    result = run("execution", "show", "orders", "orders-a")
    assert result.exit_code == 0
    assert "Command   python work.py\n" in result.stdout
    table = result.stdout.partition("\n\n")[2].splitlines()
    assert [line.split() for line in table] == [
        ["REPLICA", "TRY", "STATUS", "EXIT", "CODE", "WAITED", "RAN", "CPU", "MEMORY", "FAULT", "MORE"],
        ["orders-a-abcde", "1", "Succeeded", "0", *["-"] * 6],
    ]


def test_execution_show_tells_who_started_it_whose_fault_it_was_and_what_it_used(
    run: Run, daemon: Daemon
) -> None:
    state = make_state("orders-a", status=ExecutionStatus.FAILED)
    began = state.execution.created_at
    execution = replace(
        state.execution,
        trigger=Trigger(kind=Cause.EVENT, by="queue", reading=25.0),
        verdict=Verdict(status=ExecutionStatus.FAILED, reason="Error", message="", fault=Fault.APP),
    )
    replica = replace(
        state.replicas[0],
        created_at=began,
        started_at=began + timedelta(seconds=0.25),
        ended_at=began + timedelta(seconds=90),
        exit_code=3,
        reason="Error",
        fault=Fault.APP,
        usage=Usage(cpu_seconds=1.5, peak_memory_bytes=3 << 20),
    )
    daemon.store.states = [replace(state, execution=execution, replicas=(replica,))]
    shown = run("execution", "show", "orders", "orders-a").stdout
    assert "Trigger   Event, by queue, which read 25\n" in shown
    assert "Fault     app\n" in shown
    row = shown.splitlines()[-1].split("  ")
    assert [cell.strip() for cell in row if cell.strip()] == [
        "orders-a-abcde", "1", "Failed", "3", "0.2s", "1m 29s", "1.50s", "3.0Mi", "app", "Error",
    ]  # fmt: skip


def test_execution_show_names_the_share_that_it_was_handed(run: Run, daemon: Daemon) -> None:
    state = make_state("orders-a")
    share = Share(key="orders/3", value=2.0, env=(("PARTITION", "3"),))
    daemon.store.states = [
        replace(state, execution=replace(state.execution, share=share)),
        make_state("orders-b"),
    ]
    assert "Share     orders/3\n" in run("execution", "show", "orders", "orders-a").stdout
    assert "Share" not in run("execution", "show", "orders", "orders-b").stdout


def test_a_stop_says_what_it_did(run: Run, daemon: Daemon) -> None:
    daemon.store.states = [make_state("orders-a"), make_state("orders-b", status=ExecutionStatus.FAILED)]
    assert run("execution", "stop", "orders", "orders-a").stdout == "orders-a: stop requested\n"
    assert run("execution", "stop", "orders", "orders-b").stdout == "orders-b: already Failed\n"
    assert daemon.control.stopped == ["orders-a", "orders-b"]


def test_logs_are_printed_as_they_are(run: Run, daemon: Daemon) -> None:
    daemon.store.states = [make_state("orders-a")]
    assert run("execution", "logs", "orders", "orders-a").stdout == "one\ntwo\nthree\n"
    assert run("execution", "logs", "orders", "orders-a", "--tail", "1").stdout == "three\n"
    daemon.control.follow_until.set()
    assert run("execution", "logs", "orders", "orders-a", "--follow").stdout == "one\ntwo\nthree\nlast\n"


def test_logs_of_an_execution_that_is_not_there_name_the_execution_and_not_its_job(run: Run) -> None:
    result = run("execution", "logs", "orders", "orders-gone")
    assert result.exit_code == 1
    assert "orders-gone" in result.stderr
    assert "did you mean" not in result.stderr


def test_logs_that_break_off_fail(run: Run, daemon: Daemon) -> None:
    daemon.store.states = [make_state("orders-a")]
    daemon.control.log_error = OSError("gone")
    result = run("execution", "logs", "orders", "orders-a")
    assert result.exit_code == 1
    assert "broke off" in result.stderr


def test_why_explains_in_sentences(run: Run, daemon: Daemon) -> None:
    broken = RuleVerdict(name="second", type="kafka", error="no answer within 10 s", error_reason="Timeout")
    first = make_decision().rules[0]
    capped = replace(
        make_decision(rules=(first, broken)), bound=Bound.MAX, max_executions=4, launch=2, waiting=3
    )
    idle = RuleVerdict(name="queue", type="azure-queue", value=0.0, active=False, target=5.0, needed=0)
    quiet = replace(make_decision(number=0, launch=0, rules=(idle,)), formula="", reason=Reason.NO_WORK)
    daemon.store.made = [capped, quiet]
    result = run("why", "orders")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].startswith("2026-11-21 12:00:00Z (")
    assert lines[0].endswith(" ago), on schedule:")
    assert lines[1:7] == [
        "  Rule 'queue' (azure-queue) read 25: active; at 5 per execution that is 5 executions.",
        "  Rule 'second' (kafka) could not be read: no answer within 10 s",
        "  2 executions had not ended, 1 of them without a running replica.",
        "  Strategy auto, rules combined by max: ceil(25 / 5) - 2 = 3",
        "  The limit maxExecutions = 4 held (3 were waiting).",
        "  Started 2 executions (Launched).",
    ]
    assert lines[9:] == [
        "  Rule 'queue' (azure-queue) read 0: not active.",
        "  2 executions had not ended, 1 of them without a running replica.",
        "  Started nothing (NoWork: there was no work).",
    ]


def test_why_says_which_shares_were_handed_out_and_which_are_held(run: Run, daemon: Daemon) -> None:
    rule = RuleVerdict(name="orders", type="kafka", value=200.0, active=True, target=1.0, needed=9, shares=10)
    keys = tuple(f"orders/{number}" for number in range(25))
    daemon.store.made = [replace(make_decision(rules=(rule,)), handed=("orders/7", "orders/2"), held=keys)]
    lines = run("why", "orders").stdout.splitlines()
    assert lines[1] == (
        "  Rule 'orders' (kafka) read 200: active; work in 9 of 10 shares, an execution each."
    )
    assert lines[4:6] == [
        "  Handed out: orders/7, orders/2.",
        f"  Held already: {', '.join(keys[:20])} and 5 more.",
    ]


def test_why_says_of_a_lower_bound_that_it_is_one(run: Run, daemon: Daemon) -> None:
    least = replace(make_decision().rules[0], lower_bound="looked at over AMQP")
    daemon.store.made = [make_decision(rules=(least,))]
    expected = (
        "  Rule 'queue' (azure-queue) read at least 25: active; at 5 per execution that is 5 executions."
    )
    assert run("why", "orders").stdout.splitlines()[1] == expected


def test_why_in_json_gives_the_decisions(run: Run, daemon: Daemon) -> None:
    daemon.store.made = [make_decision(number=n) for n in (5, 4, 3, 2)]
    found = json.loads(run("why", "orders", "-n", "2", "-o", "json").stdout)
    assert [(item["id"], item["reason"]) for item in found] == [(5, "Launched"), (4, "Launched")]


def test_why_of_a_manual_job_says_how_to_start_it(run: Run, daemon: Daemon) -> None:
    daemon.control.add(make_job("byhand", ManualTrigger()))
    expected = "'byhand' starts by hand only (trigger Manual): 'scaler job start byhand'.\n"
    assert run("why", "byhand").stdout == expected


def test_why_of_a_scheduled_job_names_its_next_start(run: Run, daemon: Daemon) -> None:
    daemon.control.add(make_job("nightly", ScheduleTrigger(cron="0 0 * * *")))
    expected = (
        "'nightly' starts at the times of '0 0 * * *' (UTC), next at 2026-11-21 12:00:30Z; no queue is read."
    )
    assert run("why", "nightly").stdout == f"{expected}\n"
    assert "Next start         2026-11-21 12:00:30Z\n" in run("job", "show", "nightly").stdout


def test_why_does_not_call_a_source_empty_that_could_not_be_read(run: Run, daemon: Daemon) -> None:
    lost = RuleVerdict(
        name="second",
        type="kafka",
        value=None,
        taken=None,
        active=None,
        target=1.0,
        needed=None,
        error="lost",
    )
    daemon.store.made = [replace(make_decision(launch=0), rules=(lost,), formula="none")]
    lines = run("why", "orders").stdout.splitlines()
    assert "  Started nothing (NoWork: there was no work in the sources that could be read)." in lines
    assert not [line for line in lines if "Strategy" in line]


def test_a_broken_edit_is_told(run: Run, daemon: Daemon) -> None:
    view = replace(daemon.control.views["orders"], file_fault="jobs.yaml:3:1: bad")
    daemon.control.views["orders"] = view
    assert "The last edit of the file was not applied: jobs.yaml:3:1: bad" in run("why", "orders").stdout
    assert "True (FileFault)" in run("job", "list").stdout
    assert "last edit not applied: jobs.yaml:3:1: bad" in run("job", "show", "orders").stdout


def test_executions_of_a_removed_job_are_listed(run: Run, daemon: Daemon) -> None:
    daemon.store.states = [make_state("gone-aaaaa", job="gone")]
    assert "gone-aaaaa" in run("execution", "list", "gone").stdout
    result = run("execution", "list", "ordres")
    assert (result.exit_code, result.stderr) == (1, "Error: no job 'ordres'; did you mean 'orders'?\n")


def test_a_job_that_is_missing_because_of_a_faulty_file_is_told_with_the_fault(
    run: Run, daemon: Daemon
) -> None:
    daemon.control.file_faults = ("jobs.yaml:3:1: bad",)
    expected = "no job 'x'; there are: billing, orders; faults of files keep jobs away: jobs.yaml:3:1: bad"
    assert run("why", "x").stderr == f"Error: {expected}\n"


@pytest.mark.parametrize(
    "command",
    [
        ("job", "show", "ordesr"),
        ("job", "start", "ordesr"),
        ("job", "start", "ordesr", "--image", "x"),
        ("execution", "list", "ordesr"),
        ("execution", "show", "ordesr", "x"),
        ("execution", "stop", "ordesr", "x"),
        ("execution", "logs", "ordesr", "x"),
        ("why", "ordesr"),
    ],
    ids=" ".join,
)
def test_a_wrong_job_name_gets_the_right_one_suggested(run: Run, command: tuple[str, ...]) -> None:
    result = run(*command)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "Error: no job 'ordesr'; did you mean 'orders'?\n"


def test_a_missing_execution_fails(run: Run) -> None:
    result = run("execution", "show", "orders", "orders-x")
    assert result.exit_code == 1
    assert result.stderr == "Error: Requested job execution 'orders-x' of job 'orders' was not found.\n"


def test_an_override_that_the_daemon_refuses_is_wrong_use(run: Run, daemon: Daemon) -> None:
    result = run("job", "start", "orders", "--env", "A=secretref:none")
    assert result.exit_code == 2
    assert "none" in result.stderr
    assert run("job", "start", "orders", "--env", "novalue").exit_code == 2
    assert run("job", "start", "orders", "--args", "'open").exit_code == 2
    assert daemon.control.started == []


@pytest.mark.parametrize("place", ["before", "behind"])
def test_the_state_directory_may_stand_before_and_behind_the_command(daemon: Daemon, place: str) -> None:
    option = ("--state-dir", str(daemon.state_dir))
    args = (*option, "job", "list") if place == "before" else ("job", "list", *option)
    assert run_cli(*args).exit_code == 0


def test_a_failure_of_the_daemon_is_told_without_internals(run: Run, daemon: Daemon) -> None:
    daemon.control.error = RuntimeError("internals")
    result = run("job", "list")
    assert result.exit_code == 1
    assert result.stderr == "Error: the daemon failed on this request; its log holds the reason\n"


def test_the_api_version_is_one_that_the_service_had() -> None:
    assert API_VERSION == "2025-07-01"


def test_faults_of_files_follow_the_list_of_jobs(run: Run, daemon: Daemon) -> None:
    assert run("job", "list").stderr == ""
    daemon.control.file_faults = ("a.yaml:3:1: bad\na.yaml:4:1: worse", "b.yaml: gone")
    result = run("job", "list")
    assert result.exit_code == 0
    assert "fault" not in result.stdout
    assert result.stderr == "fault: a.yaml:3:1: bad\nfault: a.yaml:4:1: worse\nfault: b.yaml: gone\n"
