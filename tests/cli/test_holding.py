"""Commands that hold jobs back and let them go."""

from __future__ import annotations

import json

from scaler.model.execution import ExecutionStatus
from tests.api.fakes import make_state
from tests.cli.conftest import Daemon, Run


def _suspended(daemon: Daemon) -> list[str]:
    return sorted(name for name, view in daemon.control.views.items() if view.suspended)


def test_jobs_are_suspended_and_resumed_by_name_or_all(daemon: Daemon, run: Run) -> None:
    assert run("job", "suspend", "Orders").stdout == "orders: suspended\n"
    assert _suspended(daemon) == ["orders"]
    assert run("job", "suspend", "--all").stdout == "billing: suspended\norders: suspended\n"
    assert _suspended(daemon) == ["billing", "orders"]
    resources = json.loads(run("-o", "json", "job", "resume", "orders", "billing").stdout)
    assert [r["properties"]["runningState"] for r in resources] == ["Ready", "Ready"]
    assert _suspended(daemon) == []


def test_a_suspended_job_says_so_wherever_it_is_looked_at(run: Run) -> None:
    run("job", "suspend", "orders")
    show, why = run("job", "show", "orders").stdout, run("why", "orders").stdout
    assert "Suspended" in show
    assert "by cli:" in show
    assert why.startswith("Suspended: nothing starts by event, schedule or hand (by cli:")
    assert "'scaler job resume orders' ends that" in why


def test_suspending_wants_names_or_all(run: Run) -> None:
    for args in ((), ("orders", "--all")):
        result = run("job", "suspend", *args)
        assert (result.exit_code, "name jobs, or give --all" in result.stderr) == (2, True)
    result = run("job", "suspend", "order")
    assert (result.exit_code, "did you mean 'orders'?" in result.stderr) == (1, True)


def test_all_that_run_of_a_job_are_stopped(daemon: Daemon, run: Run) -> None:
    states = [
        make_state("orders-a"),
        make_state("orders-b", status=ExecutionStatus.FAILED),
        make_state("orders-c"),
    ]
    daemon.store.states += [*states, make_state("billing-a", job="billing")]
    assert run("execution", "stop", "orders", "--all").stdout == (
        "orders-a: stop requested\norders-c: stop requested\n"
    )
    assert daemon.control.stopped == ["orders-a", "orders-c"]
    assert len(json.loads(run("-o", "json", "execution", "stop", "billing", "--all").stdout)) == 1
    daemon.store.states.clear()
    assert run("execution", "stop", "orders", "--all").stdout == "Nothing runs.\n"
    for args in ((), ("orders-a", "--all")):
        assert run("execution", "stop", "orders", *args).exit_code == 2
