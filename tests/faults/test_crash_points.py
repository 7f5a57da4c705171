"""Every moment at which the engine can die, one after the other: nothing is left, doubled, or without an end."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from scaler.testing.crash_points import POINTS, Moment, Phase
from tests.docs.tree import ROOT
from tests.engine.world import in_virtual_time
from tests.faults.stories import STORIES, Story, told

PAGE = ROOT / "docs/explanation/crash-safety.md"


def _moments(story: Story) -> tuple[Moment, ...]:
    found: list[Moment] = []

    async def dry_run() -> None:
        found.extend((await told(story)).moments())

    in_virtual_time(dry_run)
    return tuple(found)


def _killings(moments: tuple[Moment, ...]) -> Iterator[tuple[Moment, float]]:
    """Give each moment with the pause until the next engine: short enough to meet what is still under way."""
    for moment in moments:
        yield moment, 0.0
        if moment.phase is Phase.DURING:
            yield moment, 1.0


BY_THE_DAEMON = {"store.prune"}
"""Done by the daemon on its own clock, beside the engine, in one transaction."""


def test_each_crash_point_has_a_row_on_the_page_and_is_passed_by_a_story() -> None:
    rows = re.findall(r"^\| `((?:store|executor)\.\w+)` \|", PAGE.read_text(), re.MULTILINE)
    passed = {moment.point for story in STORIES for moment in _moments(story)}

    assert sorted(rows) == list(POINTS), f"{PAGE.name}: say what a crash around each of these leads to"
    assert passed | BY_THE_DAEMON == set(POINTS), "a point that no story passes is never killed at"


@pytest.mark.timeout(400)  # some hundred worlds, on a machine that may be loaded
@pytest.mark.parametrize("story", STORIES, ids=[story.name for story in STORIES])
def test_killed_at_any_moment_each_execution_ends_once_and_nothing_is_left(story: Story) -> None:
    moments = _moments(story)
    for moment, rest_s in _killings(moments):

        async def kill(moment: Moment = moment, rest_s: float = rest_s) -> None:
            await told(story, moment, rest_s=rest_s)

        in_virtual_time(kill)
    assert len(moments) >= 12
