"""`scaler drain` of jobs and of the whole daemon, against the real API over a fake engine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.api.fakes import NOW, make_state
from tests.cli.conftest import Daemon, Run, run_cli


def _running(daemon: Daemon, job: str, number: int) -> None:
    daemon.control.views[job] = replace(daemon.control.views[job], running=number, running_other=0)


def test_jobs_are_suspended_and_waited_for(daemon: Daemon, run: Run) -> None:
    _running(daemon, "orders", 0)
    result = run("drain", "Orders")
    assert (result.exit_code, result.stdout) == (
        0,
        "orders: drained; 'scaler job resume orders' lets it start\n",
    )
    assert daemon.control.views["orders"].suspended is not None
    assert daemon.control.draining is None


def test_a_job_that_does_not_end_in_time_is_named(daemon: Daemon, run: Run) -> None:
    _running(daemon, "orders", 2)
    _running(daemon, "billing", 0)
    result = run("drain", "orders", "billing", "--timeout", "1")
    assert result.exit_code == 1
    assert "billing: drained" in result.stdout
    assert result.stderr.splitlines() == [
        "orders: waiting for 2 executions",
        "Error: not drained within 1 s: orders (2 executions); nothing new of them starts",
    ]


def test_the_daemon_is_asked_and_named_with_its_time(daemon: Daemon, run: Run) -> None:
    daemon.store.states.append(make_state("orders-abcdefg"))
    result = run("drain", "--timeout", "90", "--no-wait")
    assert (result.exit_code, result.stdout) == (0, "the daemon drains: 1 execution to wait for\n")
    assert daemon.control.drain_timeout_s == 90
    assert daemon.control.draining is not None
    assert daemon.control.draining.by.startswith("cli:")
    assert daemon.control.draining.at == NOW


@pytest.mark.parametrize(("args", "code"), [(("--timeout", "0"), 2), (("orders", "--no-wait"), 2)])
def test_a_wrong_use_drains_nothing(daemon: Daemon, run: Run, args: tuple[str, ...], code: int) -> None:
    assert run("drain", *args).exit_code == code
    assert daemon.control.draining is None


def test_without_a_daemon_there_is_nothing_to_drain(tmp_path: Path) -> None:
    assert run_cli("drain", "--state-dir", str(tmp_path)).exit_code == 3
