"""Every moment at which the engine can die, one after the other: nothing is left, doubled, or without an end."""

from __future__ import annotations

from itertools import product

import pytest

from scaler.testing.crash_points import Moment
from tests.engine.world import in_virtual_time
from tests.faults.stories import STORIES, Story, told


def _moments(story: Story) -> tuple[Moment, ...]:
    found: list[Moment] = []

    async def dry_run() -> None:
        found.extend((await told(story)).moments())

    in_virtual_time(dry_run)
    return tuple(found)


@pytest.mark.parametrize("story", STORIES, ids=[story.name for story in STORIES])
def test_killed_at_any_moment_each_execution_ends_once_and_nothing_is_left(story: Story) -> None:
    moments = _moments(story)
    for moment, rest_s in product(moments, (0.0, 1.0)):  # back while what was asked for is under way, and after
        async def kill(moment: Moment = moment, rest_s: float = rest_s) -> None:
            await told(story, moment, rest_s=rest_s)

        in_virtual_time(kill)
    assert len(moments) >= 12
