"""What becomes of due times: the catch-up policies, the bound on what waits, overlap, jitter."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.model.job import CatchUp, Overlap, ScheduleTrigger
from scaler.planning.firing import MOST_WAITING, ON_TIME, Turn, admit, delay, oldest_of_interest, turn

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def _trigger(catch_up: CatchUp = CatchUp.NONE, window_min: int = 60, jitter_s: int = 0) -> ScheduleTrigger:
    return ScheduleTrigger(
        cron="* * * * *",
        catch_up=catch_up,
        catch_up_window=window_min * MINUTE,
        jitter=timedelta(seconds=jitter_s),
    )


@pytest.mark.parametrize(
    ("catch_up", "window_min", "ages_min", "kept"),
    [
        (CatchUp.NONE, 60, (30, 20, 10, 0), (0,)),
        (CatchUp.LATEST, 60, (30, 20, 10, 0), (10, 0)),
        (CatchUp.LATEST, 5, (30, 20, 10), ()),
        (CatchUp.ALL, 25, (30, 20, 10, 0), (20, 10, 0)),
        (CatchUp.ALL, 60, (), ()),
    ],
)
def test_each_policy_keeps_what_it_says(
    catch_up: CatchUp, window_min: int, ages_min: tuple[int, ...], kept: tuple[int, ...]
) -> None:
    due = tuple(NOW - age * MINUTE for age in ages_min)
    found = admit(_trigger(catch_up, window_min), due, now=NOW)
    assert found.admitted == tuple(NOW - age * MINUTE for age in kept)
    assert found.dropped == len(ages_min) - len(kept)
    assert bool(found.why) == bool(found.dropped)


@given(
    ages=st.lists(st.integers(0, 7200), max_size=200),
    catch_up=st.sampled_from(CatchUp),
    waiting=st.integers(0, MOST_WAITING),
)
def test_nothing_is_invented_reordered_or_unaccounted_for(
    ages: list[int], catch_up: CatchUp, waiting: int
) -> None:
    due = tuple(NOW - timedelta(seconds=age) for age in sorted(ages, reverse=True))
    found = admit(_trigger(catch_up), due, now=NOW, waiting=waiting)
    assert len(found.admitted) + found.dropped == len(due)
    assert len(found.admitted) + waiting <= MOST_WAITING
    assert list(found.admitted) == sorted(found.admitted)
    assert set(found.admitted) <= set(due)


def test_what_is_too_old_for_every_policy_is_not_even_looked_for() -> None:
    long_ago = NOW - timedelta(days=3000)
    assert oldest_of_interest(_trigger(), long_ago, NOW) >= NOW - 2 * ON_TIME
    assert oldest_of_interest(_trigger(CatchUp.ALL, 90), long_ago, NOW) >= NOW - 91 * MINUTE
    assert oldest_of_interest(_trigger(CatchUp.ALL, 90), NOW - MINUTE, NOW) == NOW - MINUTE


@pytest.mark.parametrize(
    ("overlap", "live", "wanted"),
    [
        (Overlap.ALLOW, 5, Turn.START),
        (Overlap.FORBID, 0, Turn.START),
        (Overlap.FORBID, 1, Turn.SKIP),
        (Overlap.QUEUE, 1, Turn.WAIT),
        (Overlap.REPLACE, 2, Turn.REPLACE),
        (Overlap.REPLACE, 0, Turn.START),
    ],
)
def test_overlap_decides_what_a_due_time_does(overlap: Overlap, live: int, wanted: Turn) -> None:
    assert turn(overlap, live=live) is wanted


@given(st.integers(1, 3600), st.integers(0, 100_000))
def test_jitter_stays_below_its_bound_and_is_the_same_each_time(jitter_s: int, minute: int) -> None:
    trigger, due = _trigger(jitter_s=jitter_s), NOW + minute * MINUTE
    assert timedelta() <= delay(trigger, "tidy", due) < timedelta(seconds=jitter_s)
    assert delay(trigger, "tidy", due) == delay(trigger, "tidy", due)


def test_two_jobs_are_put_off_differently() -> None:
    trigger = _trigger(jitter_s=600)
    assert len({delay(trigger, f"job-{n}", NOW) for n in range(20)}) == 20
