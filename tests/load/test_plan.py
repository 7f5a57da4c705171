"""What is sent: exact counts, exact shares, bursts at their times, sizes as asked."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.load.plan import AT_ONCE, Plan, body, bursts


@given(
    count=st.integers(1, 400),
    share=st.floats(0, 1),
    burst=st.integers(1, 50),
    rate=st.none() | st.floats(0.1, 100),
)
def test_the_count_and_the_share_of_poison_are_exact(
    count: int, share: float, burst: int, rate: float | None
) -> None:
    plan = Plan(count=count, poison=share, burst=burst, rate=rate)
    messages = [one for each in bursts(plan, "run") for one in each.messages]
    assert [one.id for one in messages] == [f"run/{number}" for number in range(count)]
    assert sum(one.is_poison for one in messages) == plan.poisoned == round(share * count)


def test_poison_is_spread_evenly() -> None:
    messages = [one for each in bursts(Plan(count=100, poison=0.1), "r") for one in each.messages]
    places = [number for number, one in enumerate(messages) if one.is_poison]
    assert places == list(range(9, 100, 10))


def test_bursts_come_at_the_rate_that_was_asked_for() -> None:
    found = [(each.at_s, len(each.messages)) for each in bursts(Plan(count=25, rate=5, burst=10), "r")]
    assert found == [(0.0, 10), (2.0, 10), (4.0, 5)]


def test_without_a_rate_all_is_due_at_once() -> None:
    found = [(each.at_s, len(each.messages)) for each in bursts(Plan(count=AT_ONCE + 1), "r")]
    assert found == [(0.0, AT_ONCE), (0.0, 1)]


@pytest.mark.parametrize("size", [0, 50, 60, 70, 200, 4096])
def test_a_message_is_as_large_as_asked_and_says_what_to_do(size: int) -> None:
    plan = Plan(count=2, poison=0.5, think_s=0.25, size=size)
    good, poison = (one for each in bursts(plan, "r") for one in each.messages)
    text = body(poison, plan, poison_until=123.5)
    assert size <= len(text) <= max(size, 70)
    facts = json.loads(text)
    assert (facts["id"], facts["think"], facts["poison"]) == ("r/1", 0.25, 123.5)
    assert json.loads(body(good, plan, poison_until=123.5))["poison"] == 0
