"""What a process replica used, as the system told its shim."""

from __future__ import annotations

import sys
from pathlib import Path

from executors._process_records import Ended
from executors._process_words import usage_of
from executors.process import open_executor
from scaler.model.replica import Usage
from scaler.ports.executor import ExecutorContext
from scaler.testing.executor_contract import make_spec, soon


async def test_what_it_used_is_told_with_its_children(tmp_path: Path) -> None:
    """A child that the shell waits for burns half a second and holds 40 MiB."""
    burn = 'import time; held = b"x" * (40 << 20)\nwhile time.process_time() < 0.5: pass'
    script = f"{sys.executable} -c '{burn}'; exit 0"
    context = ExecutorContext(instance="test", state_dir=tmp_path / "state", log_dir=tmp_path / "logs")
    async with open_executor({}, context) as executor:
        ended = await soon(executor.wait(await executor.launch(make_spec(["sh", "-c", script]))))
    assert ended.code == 0
    assert ended.usage.cpu_seconds is not None
    assert ended.usage.peak_memory_bytes is not None
    assert ended.usage.cpu_seconds >= 0.5
    assert 40 << 20 <= ended.usage.peak_memory_bytes < 400 << 20


def test_the_record_of_an_older_shim_tells_no_usage() -> None:
    old = {"code": 0, "signal": None, "cpu_limited": False, "killed": False, "at": 1.0, "log_lost": None}
    assert usage_of(Ended(**old)) == Usage()
