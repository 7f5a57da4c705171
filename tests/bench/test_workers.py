"""What the benches make of workers' notes, and the figures that are computed and not run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from scaler.bench.footprint import RULES, rule_job
from scaler.bench.poison import strict_rate
from scaler.bench.workers import check_once, end_workers
from scaler.config.load import load_paths
from scaler.rig.daemon import RigError

ONCE = [
    ["took", "r-1", "a"],
    ["done", "r-1", "a"],
    ["empty", "r-2", "-"],
    ["took", "r-3", "b"],
    ["done", "r-3", "b"],
]


def test_messages_that_were_taken_and_done_once_pass_whatever_else_was_noted() -> None:
    check_once([*ONCE, ["failed", "r-4", "poison"]], ["a", "b"])
    with pytest.raises(RigError, match="c was taken 0 times and done 0 times: no note"):
        check_once(ONCE, ["a", "b", "c"])


def test_a_message_that_was_done_twice_is_told_with_who_did_it() -> None:
    twice = [*ONCE, ["took", "r-9", "a"], ["done", "r-9", "a"]]
    with pytest.raises(RigError, match="a was taken 2 times and done 2 times: took by r-1, .* done by r-9"):
        check_once(twice, ["a"])


def test_a_strict_interval_fills_every_slot_at_every_tick() -> None:
    assert strict_rate(4, 0.5) == 8


def test_workers_on_a_folder_are_ended_and_no_others(tmp_path: Path) -> None:
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    with subprocess.Popen([*sleep, str(tmp_path)]) as ours, subprocess.Popen(sleep) as other:
        end_workers(tmp_path)
        assert ours.wait(10) == -9
        assert other.poll() is None
        other.kill()


@pytest.mark.parametrize("kind", RULES)
def test_a_rule_whose_source_does_not_answer_is_a_job_without_a_fault(kind: str, tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(json.dumps(rule_job(kind)))
    result = load_paths([tmp_path], env={})
    assert result.faults == ()
    assert [loaded.job.name for loaded in result.jobs] == [kind]
