"""One evaluation as one pure step: what it cuts by, and what may be left out of a record of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from scaler.model.decision import Bound, Occasion, Reason
from scaler.model.job import StrategyName
from scaler.planning import breaker
from scaler.planning.capacity import Cut
from scaler.planning.counts import Counts
from scaler.planning.decide import Inputs, decide, trimmed
from scaler.trace.codec import decode, encode
from tests.planning.builders import NOW, reading, trigger


def inputs(
    *, value: float, counts: Counts, lag_s: float = 0, taken: float | None = None, **kw: object
) -> Inputs:
    item = reading(value, taken=taken, as_of=NOW - timedelta(seconds=lag_s), includes_taken=taken is None)
    return Inputs(
        job="orders", trigger=kw.pop("trigger", trigger()), readings=(item,), counts=counts, at=NOW,
        occasion=Occasion.TICK, **kw,
    )  # type: ignore[arg-type]  # fmt: skip


def test_the_breaker_cuts_what_the_readings_ask_for() -> None:
    backing_off = breaker.failed(breaker.CLOSED, NOW, timedelta(seconds=1))
    none_live = Counts(running=0, pending=0)
    assert decide(inputs(value=10, counts=none_live)).launch == 10
    braked = decide(inputs(value=10, counts=none_live, breaker=backing_off))
    assert (braked.launch, braked.bound) == (breaker.FREE_LAUNCHES, Bound.BREAKER)


def test_a_limit_of_the_daemon_cuts_what_is_left_and_a_trace_of_it_gives_the_same() -> None:
    cut = Cut(launch=2, bound=Bound.GLOBAL_EXECUTIONS, reason=Reason.AT_GLOBAL_LIMIT, message="full")
    made = inputs(value=10, counts=Counts(running=0, pending=0), cut=cut)
    assert (decide(made).launch, decide(made).bound) == (2, Bound.GLOBAL_EXECUTIONS)
    none = decide(replace(made, cut=replace(cut, launch=0)))
    assert (none.launch, none.reason, none.message) == (0, Reason.AT_GLOBAL_LIMIT, "full")
    wide = decide(replace(made, cut=replace(cut, launch=50)))
    assert (wide.launch, wide.bound) == (10, Bound.NONE)
    assert decode(Cut, encode(cut)) == cut


def test_a_hold_launches_nothing() -> None:
    held = decide(inputs(value=10, counts=Counts(running=0, pending=0), hold="refused"))
    assert (held.launch, held.message) == (0, "refused")


@given(
    value=st.integers(0, 50),
    taken=st.none() | st.integers(0, 20),
    running=st.integers(0, 20),
    lag_s=st.floats(0, 30),
    ages=st.lists(st.floats(-1, 130), max_size=30),
    strategy=st.sampled_from(StrategyName),
)
def test_ends_that_are_left_out_of_a_record_change_no_decision(
    value: int, taken: int | None, running: int, lag_s: float, ages: list[float], strategy: StrategyName
) -> None:
    ended = tuple(NOW - timedelta(seconds=age) for age in sorted(ages, reverse=True))
    counts = Counts(running=running, pending=0, ended=ended)
    whole = inputs(value=value, taken=taken, counts=counts, lag_s=lag_s, trigger=trigger(strategy=strategy))
    short = trimmed(whole)
    assert decide(short) == decide(whole)
    assert short.counts.ended_until(NOW) == whole.counts.ended_until(NOW)
