"""Reading the logs of an execution while it goes on: later attempts are followed, one replica may be asked for."""

from __future__ import annotations

import asyncio

import pytest

from scaler.errors import NotFound
from tests.engine.world import World, in_virtual_time, manual_job


def test_a_followed_log_goes_on_with_later_attempts_until_the_execution_ends() -> None:
    async def story() -> None:
        world = World()

        async def fail(_spec: object) -> int:
            await asyncio.sleep(2)
            return 1

        world.executor.behaviour = fail
        async with world.engine(manual_job(replica_retry_limit=2)) as engine:
            state = await engine.start("by-hand", None)
            name = state.execution.id
            async with asyncio.timeout(3600):
                lines = [line async for line in engine.logs("by-hand", name, tail=None, follow=True)]
            final = await world.store.execution("by-hand", name)
            assert final is not None
            assert final.execution.is_final
            assert lines == [f"log of {replica.id}" for replica in final.replicas]
            assert len(lines) == 3

            second = final.replicas[1].id
            only = [
                line async for line in engine.logs("by-hand", name, tail=None, follow=True, replica=second)
            ]
            assert only == [f"log of {second}"]
            with pytest.raises(NotFound, match="no replica 'by-hand-nobody'"):
                _ = [
                    line
                    async for line in engine.logs(
                        "by-hand", name, tail=None, follow=False, replica="by-hand-nobody"
                    )
                ]

    in_virtual_time(story)
