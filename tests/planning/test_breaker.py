"""The breaker by itself: rounds, suspects, credit, and that it only ever cuts."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.model.decision import Bound, Reason
from scaler.planning.breaker import (
    CLOSED,
    FREE_LAUNCHES,
    LONGEST_PAUSE,
    Breaker,
    Phase,
    at,
    brake,
    failed,
    launched,
    pause,
    succeeded,
)
from scaler.planning.counts import Counts
from scaler.planning.plan import plan
from tests.planning.builders import NOW, reading, trigger

SECOND = timedelta(seconds=1)


def _after(seconds: float, breaker: Breaker) -> Breaker:
    return at(breaker, NOW + seconds * SECOND)


def _plan(value: int, breaker: Breaker, *, running: int = 0, low: int = 0) -> tuple[int, Reason, Bound]:
    made = plan(trigger(low=low, high=10), (reading(value),), Counts(running=running, pending=0), NOW)
    cut = brake(made, breaker, NOW)
    return cut.launch, cut.reason, cut.bound


def test_a_failure_opens_and_the_pause_doubles_round_by_round() -> None:
    breaker, second, pauses = CLOSED, 0.0, []
    for _ in range(12):
        breaker = failed(breaker, NOW + second * SECOND, SECOND)
        assert breaker.phase is Phase.BACKING_OFF
        assert breaker.until is not None
        length = (breaker.until - NOW).total_seconds() - second
        pauses.append(length)
        second += length
        breaker = _after(second, breaker)
        assert breaker.phase is Phase.HALF_OPEN
    assert pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
    assert pause(10_000) == LONGEST_PAUSE


def test_the_suspect_message_waits_and_the_others_flow() -> None:
    breaker = failed(CLOSED, NOW, SECOND)
    assert _plan(1, breaker) == (0, Reason.BACKING_OFF, Bound.BREAKER)
    assert _plan(4, breaker) == (3, Reason.LAUNCHED, Bound.BREAKER)


def test_what_is_held_back_is_not_said_to_be_launched() -> None:
    made = plan(trigger(high=10), (reading(1),), Counts(running=0, pending=0), NOW)
    assert "launch" in made.message
    cut = brake(made, failed(CLOSED, NOW, SECOND), NOW)
    assert cut.message == "executions failed in 1 round; 1 message is held back, the next try in 1 s"


def test_an_outage_behind_the_workers_ends_launches_until_the_pause_is_over() -> None:
    breaker = failed(CLOSED, NOW, SECOND)
    for _ in range(7):
        breaker = failed(breaker, NOW, SECOND)
    assert _plan(100, launched(breaker, FREE_LAUNCHES))[0] == 0
    assert _plan(100, _after(1, launched(breaker, FREE_LAUNCHES)))[0] == FREE_LAUNCHES


def test_successes_pay_for_launches() -> None:
    breaker = launched(failed(CLOSED, NOW, SECOND), FREE_LAUNCHES)
    assert _plan(100, breaker)[0] == 0
    assert _plan(100, succeeded(breaker, NOW))[0] == 2


def test_a_minimum_of_executions_that_fail_is_not_refilled_at_once() -> None:
    assert _plan(0, failed(CLOSED, NOW, SECOND), low=1) == (0, Reason.BACKING_OFF, Bound.BREAKER)


@pytest.mark.parametrize(("quiet_s", "phase"), [(0.5, Phase.HALF_OPEN), (21, Phase.CLOSED)])
def test_it_closes_after_a_success_and_more_time_than_failures_take(quiet_s: float, phase: Phase) -> None:
    opened = failed(CLOSED, NOW, 10 * SECOND)
    half = succeeded(_after(1, opened), NOW + SECOND)
    assert half.phase is Phase.HALF_OPEN
    assert _after(1 + quiet_s, half).phase is phase


def test_without_a_success_it_does_not_close_by_itself() -> None:
    assert _after(100_000, _after(1, failed(CLOSED, NOW, SECOND))).phase is Phase.HALF_OPEN


@given(
    value=st.integers(0, 200),
    running=st.integers(0, 12),
    low=st.integers(0, 5),
    events=st.lists(st.sampled_from(["fail", "succeed", "launch", "wait"]), max_size=40),
)
def test_it_only_ever_cuts(value: int, running: int, low: int, events: list[str]) -> None:
    breaker, now = CLOSED, NOW
    for event in events:
        now += 3 * SECOND
        breaker = {
            "fail": lambda b: failed(b, now, SECOND),  # noqa: B023 - called at once
            "succeed": lambda b: succeeded(b, now),  # noqa: B023
            "launch": lambda b: launched(b, 2),
            "wait": lambda b: at(b, now),  # noqa: B023
        }[event](breaker)
    made = plan(trigger(low=low, high=10), (reading(value),), Counts(running=running, pending=0), now)
    cut = brake(made, breaker, now)
    assert 0 <= cut.launch <= made.launch
    assert (cut == made) == (cut.launch == made.launch)
    if "fail" not in events:
        assert cut == made
