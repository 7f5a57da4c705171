"""Looking back with a real daemon: who did what, also over a restart, and what its logs held."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from tests.cli.conftest import run_cli
from tests.cli.running import JOB, Running, running

ME = f"cli:{pwd.getpwuid(os.getuid()).pw_name}"
LOUD = """\
name: loud
properties:
  configuration: {triggerType: Manual, replicaTimeout: 60}
  template: {containers: [{name: main, command: [sh, -c, "seq 1 20000; echo needle in $CONTAINER_APP_JOB_NAME"]}]}
x-scaler: {executor: process}
"""


def told(daemon: Running) -> list[tuple[str, str, str | None]]:
    """Who did what to which job, oldest first; without the daemon's own coming and going."""
    found = [(one["by"], one["action"], one["job"]) for one in daemon.client.audit(limit=None)]
    return [one for one in reversed(found) if one[0] != "daemon"]


def test_edits_and_commands_are_told_with_who_made_them_also_over_a_restart(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        daemon.client.start("good")
        (daemon.jobs / "other.yaml").write_text(JOB.replace("name: good", "name: other"))
        daemon.until(lambda: ("file", "job.created", "other") in told(daemon), timeout_s=60)
        daemon.until(lambda: daemon.client.counts("good")["counts"]["Succeeded"] == 1, timeout_s=60)
        before = told(daemon)
    assert before == [
        ("file", "job.created", "good"),
        (ME, "execution.started", "good"),
        ("file", "job.created", "other"),
    ]
    (tmp_path / "jobs" / "other.yaml").unlink()
    with running(tmp_path) as daemon:
        daemon.until(lambda: ("file", "job.deleted", "other") in told(daemon), timeout_s=60)
        (daemon.jobs / "good.yaml").write_text(JOB.replace("replicaTimeout: 60", "replicaTimeout: 61"))
        daemon.until(lambda: ("file", "job.changed", "good") in told(daemon), timeout_s=60)
        assert told(daemon) == [*before, ("file", "job.deleted", "other"), ("file", "job.changed", "good")]


def test_a_log_is_compressed_at_the_end_and_still_searched(tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "loud.yaml").write_text(LOUD)
    with running(tmp_path) as daemon:
        name = daemon.client.start("loud")["name"]
        daemon.until(lambda: list(daemon.state.glob("logs/*.log.gz")) != [], timeout_s=60)
        assert [path.suffix for path in daemon.state.glob("logs/*")] == [".gz"]
        found = run_cli("job", "logs", "loud", "--search", "needle", "--state-dir", str(daemon.state))
        assert found.stdout == f"{name}: needle in loud\n"
        tail = run_cli("execution", "logs", "loud", name, "--tail", "2", "--state-dir", str(daemon.state))
        assert tail.stdout == "20000\nneedle in loud\n"
        listed = run_cli("execution", "list", "--by", ME, "--since", "1h", "--state-dir", str(daemon.state))
        assert (listed.exit_code, listed.stdout.count(name)) == (0, 1), "who started it is recorded with it"
