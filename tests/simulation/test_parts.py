"""Virtual time, chance, rates and variants, each by itself."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from scaler.errors import ConfigError
from scaler.model.job import EventTrigger
from scaler.simulation.arrivals import Burst, Flow, draw, read_rate
from scaler.simulation.chance import Spans, dice, read_share, read_span, read_spans
from scaler.simulation.result import percentile
from scaler.simulation.variants import apply, read_variant
from scaler.simulation.virtual import StandsStill, VirtualClock, run_virtually
from tests.engine.world import event_job, manual_job


def test_a_day_passes_at_once_and_in_order() -> None:
    seen: list[float] = []

    async def story(loop: asyncio.AbstractEventLoop) -> datetime:
        clock = VirtualClock(datetime(2026, 1, 1, tzinfo=UTC), loop)

        async def note(after_s: float) -> None:
            await clock.sleep(after_s)
            seen.append(clock.monotonic())

        async with asyncio.TaskGroup() as tasks:
            for after_s in (86_400, 60, 3600):
                tasks.create_task(note(after_s))
        return clock.now()

    assert run_virtually(story, lambda _seconds: None) == datetime(2026, 1, 2, tzinfo=UTC)
    assert seen == pytest.approx([60, 3600, 86_400])


def test_standing_still_is_an_error_and_no_hang() -> None:
    async def story(loop: asyncio.AbstractEventLoop) -> None:
        await loop.create_future()

    with pytest.raises(StandsStill):
        run_virtually(story, lambda _seconds: None)


def test_tasks_that_are_left_are_ended() -> None:
    ended: list[str] = []

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("yes")

    async def story(loop: asyncio.AbstractEventLoop) -> None:
        task = loop.create_task(forever())
        await asyncio.sleep(1)
        assert not task.done()

    run_virtually(story, lambda _seconds: None)
    assert ended == ["yes"]


def mean(spans: Spans) -> float:
    return sum(spans.draw(dice(1, number)) for number in range(4000)) / 4000


def test_spans_have_the_mean_or_median_that_was_asked_for() -> None:
    assert mean(read_spans("30s", "x")) == 30
    assert mean(read_spans("exp:30s", "x")) == pytest.approx(30, rel=0.1)
    assert mean(read_spans("uniform:10s..50s", "x")) == pytest.approx(30, rel=0.05)
    drawn = sorted(read_spans("lognormal:20s..3m", "x").draw(dice(1, number)) for number in range(4000))
    assert percentile(drawn, 0.5) == pytest.approx(20, rel=0.1)
    assert percentile(drawn, 0.99) == pytest.approx(180, rel=0.25)


@pytest.mark.parametrize(
    "text", ["", "x", "-1s", "norm:3s", "uniform:5s", "uniform:9s..5s", "lognormal:0s..5s", "1w"]
)
def test_spans_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--work: got"):
        read_spans(text, "--work")


def test_times_and_shares() -> None:
    assert [read_span(text, "x") for text in ("500ms", "30s", "5m", "24h", "2d", "7")] == [
        0.5, 30, 300, 86_400, 172_800, 7,
    ]  # fmt: skip
    assert [read_share(text, "x") for text in ("5%", "0.05", "0", "100%")] == [0.05, 0.05, 0, 1]
    for text in ("101%", "-1", "x", "nan"):
        with pytest.raises(ConfigError, match="write a share such as 5% or 0.05"):
            read_share(text, "--fail")


def test_rates_are_read() -> None:
    assert read_rate("10/m").parts == (Flow(rate=10 / 60),)
    both = read_rate("orders/a=600/h@9h-17h+1000@0s")
    assert (both.target, both.parts) == (
        "orders/a",
        (Flow(rate=600 / 3600, begin_s=32_400, end_s=61_200), Burst(count=1000, at_s=0)),
    )


@pytest.mark.parametrize("text", ["", "10", "10/w", "10@", "a@0s", "10/m@5h-4h", "10/m+", "=10/m+x"])
def test_rates_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--rate"):
        read_rate(text)


def test_arrivals_have_their_rate_their_window_and_their_seed() -> None:
    parts = read_rate("600/h@9h-17h+50@1h").parts
    drawn = draw(parts, span_s=86_400, seed=1, name="a")
    flow = [at for at, count in drawn if count == 1]
    assert len(flow) == pytest.approx(4800, rel=0.1)
    assert 32_400 <= min(flow) < max(flow) <= 61_200
    assert (3600.0, 50) in drawn
    assert drawn == draw(parts, span_s=86_400, seed=1, name="a") == sorted(drawn)
    assert drawn != draw(parts, span_s=86_400, seed=2, name="a")
    with pytest.raises(ConfigError, match="at most 5000000 can be simulated"):
        draw(read_rate("1000/s").parts, span_s=86_400, seed=1, name="a")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("maxExecution=5", "did you mean 'maxExecutions'?"),
        ("maxExecutions", "write KEY=VALUE"),
        ("maxExecutions=0", "write a whole number from 1 to"),
        ("maxExecutions=x", "got 'x'"),
        ("strategy=best", "write one of auto"),
        ("refill=yes", "write true or false"),
        ("cpu=-1", "write a number above 0"),
    ],
)
def test_settings_that_are_none_are_refused(text: str, fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_variant(text)
    assert fault in str(caught.value)


def test_settings_change_event_jobs_and_leave_others_their_trigger() -> None:
    variant = read_variant("maxExecutions=7,pollingInterval=3,replicaTimeout=9,cpu=2,memory=4,refill=false")
    changed, by_hand = apply(variant, [event_job(), manual_job()])
    trigger: Any = changed.trigger
    assert isinstance(trigger, EventTrigger)
    assert (trigger.max_executions, trigger.polling_interval, trigger.refill) == (
        7,
        timedelta(seconds=3),
        False,
    )
    resources = changed.template.container.resources
    assert (changed.replica_timeout, resources.cpu, resources.memory_bytes) == (
        timedelta(seconds=9),
        2,
        4 << 30,
    )
    assert by_hand.trigger == manual_job().trigger
    one, other = apply(
        read_variant("drain/maxExecutions=3"), [event_job("drain", high=9), event_job("b", high=9)]
    )
    assert [job.trigger.max_executions for job in (one, other)] == [3, 9]  # type: ignore[union-attr]
    with pytest.raises(ConfigError, match="no such job in the files; known: drain"):
        apply(read_variant("orders/maxExecutions=3"), [event_job("drain")])
    with pytest.raises(ConfigError, match="minExecutions 5 is above maxExecutions 2; set both"):
        apply(read_variant("minExecutions=5,maxExecutions=2"), [event_job()])


def test_percentiles_are_values_that_were_there() -> None:
    assert percentile([], 0.5) is None
    assert [percentile([3, 1, 2], share) for share in (0.01, 0.5, 0.99)] == [1, 2, 3]
