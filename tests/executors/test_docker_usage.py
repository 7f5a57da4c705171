"""What containers used, as far as it was seen: samples read, chosen, and taken on the real engine."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from executors._docker_usage import LOOKS_A_ROUND, due, larger, usage_of
from executors.docker import open_docker
from scaler.model.replica import Usage
from scaler.ports.executor import ExecutorContext
from scaler.testing.executor_contract import make_spec, soon
from tests.infra.engine import Engine

MIB = 1 << 20


def _stats(cpu: int, memory: dict[str, Any]) -> dict[str, Any]:
    return {"cpu_stats": {"cpu_usage": {"total_usage": cpu}}, "memory_stats": memory}


@pytest.mark.parametrize(
    ("stats", "expected"),
    [
        (
            _stats(1_500_000_000, {"usage": 9 * MIB, "stats": {"inactive_file": 2 * MIB}}),
            Usage(cpu_seconds=1.5, peak_memory_bytes=7 * MIB),
        ),
        (
            _stats(1, {"usage": 9 * MIB, "max_usage": 80 * MIB, "stats": {"total_inactive_file": MIB}}),
            Usage(cpu_seconds=1e-9, peak_memory_bytes=8 * MIB),
        ),
        (_stats(0, {}), Usage()),
        ({}, Usage()),
        (None, Usage()),  # of a container that is just being removed
        ({"cpu_stats": None, "memory_stats": None}, Usage()),
    ],
)
def test_a_sample_is_read_and_a_zero_is_not_known(stats: dict[str, Any] | None, expected: Usage) -> None:
    assert usage_of(stats) == expected


def test_a_later_sample_never_takes_away() -> None:
    first = Usage(cpu_seconds=2.0, peak_memory_bytes=None)
    assert larger(first, Usage(cpu_seconds=None, peak_memory_bytes=5)) == Usage(
        cpu_seconds=2.0, peak_memory_bytes=5
    )
    assert larger(first, Usage(cpu_seconds=1.0)) == first


def test_those_not_looked_at_for_longest_come_first_and_no_more_than_an_engine_bears() -> None:
    looked = {f"c{number}": float(number) for number in range(20)} | {"new": float("-inf")}
    chosen = due(looked, now=20.0)
    assert chosen == ["new", "c0", "c1", "c2", "c3"]
    assert len(chosen) == LOOKS_A_ROUND
    assert due({"c": 18.0}, now=20.0) == []


async def test_what_a_container_used_is_known_after_its_end(
    docker_engine: Engine, worker_image: str, tmp_path: Path
) -> None:
    context = ExecutorContext(instance="docker-usage-tests", state_dir=tmp_path, log_dir=tmp_path / "logs")
    burn = "held = b'x' * (60 << 20)\nwhile True: pass"
    spec = make_spec(["python3", "-c", burn], image=worker_image, instance=context.instance)
    async with open_docker({"host": docker_engine.url}, context) as executor:
        handle = await soon(executor.launch(spec))
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(soon(executor.wait(handle), seconds=120))
            sampler = executor._watcher.usage  # type: ignore[attr-defined]
            async with asyncio.timeout(60):
                while sampler.seen(handle.token).peak_memory_bytes is None:
                    await asyncio.sleep(0.1)
            await soon(executor.stop(handle, timedelta(0)))
        await soon(executor.remove(handle))
    used = waiting.result().usage
    assert used.cpu_seconds is not None
    assert used.peak_memory_bytes is not None
    assert used.cpu_seconds > 0
    assert used.peak_memory_bytes < 512 * MIB
