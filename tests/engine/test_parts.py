"""The small parts of the engine one by one: cadence, pace, shared sessions, the fence around scalers."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from scaler.engine.circuit import Circuits
from scaler.engine.clock import SystemClock
from scaler.engine.faults import FaultLog
from scaler.engine.pace import Pace
from scaler.engine.sessions import Sessions
from scaler.engine.sources import RuleSource, SourcePorts
from scaler.engine.ticker import Ticker
from scaler.errors import ConfigError, PollError
from scaler.model.sample import PollFailure, Sample
from scaler.model.share import Share
from scaler.ports.scaler import Scaler, ScalerContext, ScalerType
from scaler.testing.fake_queue import FakeMetadata
from tests.engine.world import event_job
from tests.planning.builders import NOW


def test_late_ticks_are_skipped_and_the_cadence_does_not_shift() -> None:
    ticker = Ticker(start=100.0, interval_s=10.0)
    assert (ticker.fired(100.0), ticker.due) == (0.0, 110.0)
    assert (ticker.fired(134.5), ticker.due) == (24.5, 140.0)
    assert (ticker.fired(140.0), ticker.due) == (0.0, 150.0)


def test_early_readings_of_one_source_are_spaced_and_of_two_are_not() -> None:
    pace = Pace(gap_s=0.5)
    assert pace.wait_for(["amqp://a"], 1.0) == 0.0
    assert pace.wait_for(["amqp://a"], 1.2) == pytest.approx(0.3)
    assert pace.wait_for(["amqp://b"], 1.2) == 0.0
    assert pace.wait_for(["amqp://a", "amqp://b"], 1.6) == pytest.approx(0.1)
    assert pace.wait_for(["amqp://a"], 1.6) == 0.0


def test_a_failure_is_said_once_and_its_recovery_once() -> None:
    faults = FaultLog()
    with capture_logs() as lines:
        for second in range(5):
            faults.failed("rule:orders/q", "Unreachable", "refused", NOW + timedelta(seconds=second))
        faults.failed("rule:orders/q", "AuthenticationFailed", "no", NOW)
        faults.well("rule:orders/q", NOW + timedelta(seconds=9))
        faults.well("rule:orders/q", NOW + timedelta(seconds=10))
    assert [(line["event"], line.get("reason")) for line in lines] == [
        ("rule.failed", "Unreachable"),
        ("rule.failed", "AuthenticationFailed"),
        ("rule.recovered", None),
    ]
    assert lines[-1]["after_s"] == 9.0


def test_that_a_count_is_a_lower_bound_is_said_once_and_that_it_is_exact_again_once() -> None:
    faults = FaultLog()
    with capture_logs() as lines:
        faults.limited("rule:orders/q", None)
        for _ in range(5):
            faults.limited("rule:orders/q", "no right", rule="q")
        faults.limited("rule:orders/q", None)
        faults.limited("rule:orders/q", None)
    assert [(line["event"], line["log_level"], line.get("why")) for line in lines] == [
        ("rule.lower_bound", "warning", "no right"),
        ("rule.exact", "info", None),
    ]


def test_the_wall_clock_never_runs_backwards() -> None:
    clock = SystemClock()
    readings = [clock.now() for _ in range(100)]
    assert readings == sorted(readings)
    assert readings[0].tzinfo is not None


def test_a_dead_source_is_asked_by_one_rule_for_all_with_growing_pauses_until_it_answers() -> None:
    circuits = Circuits(jitter=lambda: 1.0)
    refused = PollFailure(reason="Unreachable", message="refused")
    for _ in range(3):
        assert circuits.refusal("amqp://a", 10.0) is None
        circuits.failed("amqp://a", refused, 10.0)
    held = circuits.refusal("amqp://a", 10.2)
    assert held == PollFailure(
        reason="Unreachable", message="refused (the source is asked again in 0.3 s)", transient=True
    )
    assert circuits.refusal("amqp://b", 10.2) is None
    asked = [circuits.refusal("amqp://a", 10.6) is None for _ in range(1000)]
    assert asked.count(True) == 1
    circuits.failed("amqp://a", refused, 10.7)
    assert circuits.refusal("amqp://a", 11.6) is not None
    for _ in range(10):
        circuits.failed("amqp://a", refused, 20.0)
    assert circuits.refusal("amqp://a", 25.01) is None
    circuits.well("amqp://a")
    assert [circuits.refusal("amqp://a", 25.02) for _ in range(3)] == [None, None, None]


def test_a_missing_queue_or_a_wrong_password_speaks_of_one_rule_not_of_its_source() -> None:
    circuits = Circuits()
    for reason in ("EntityNotFound", "AuthenticationFailed", "InvalidConfiguration"):
        for _ in range(9):
            circuits.failed("amqp://a", PollFailure(reason=reason, message="x"), 1.0)
    assert circuits.refusal("amqp://a", 1.0) is None


class Opened:
    """Counts how often a session was opened and closed, and by which task."""

    def __init__(self) -> None:
        self.opened = self.closed = 0
        self.tasks: list[object] = []
        self.fault: Exception | None = None
        self.hang = False

    @asynccontextmanager
    async def session(self) -> AsyncIterator[str]:
        self.opened += 1
        self.tasks.append(asyncio.current_task())
        if self.fault is not None:
            raise self.fault
        if self.hang:
            await asyncio.sleep(1000)
        try:
            yield "session"
        finally:
            self.tasks.append(asyncio.current_task())
            self.closed += 1


async def test_rules_with_one_address_share_one_session_until_the_last_lets_go() -> None:
    opened = Opened()
    async with Sessions() as pool:
        async with pool.lease("a", opened.session), pool.lease("a", opened.session):
            async with pool.lease("b", opened.session):
                assert opened.opened == 2
            async with pool.lease("a", opened.session):
                assert opened.opened == 2
        async with pool.lease("a", opened.session) as again:
            assert again == "session"
    assert (opened.opened, opened.closed) == (3, 3)


async def test_a_session_is_closed_by_the_task_that_opened_it() -> None:
    opened = Opened()
    async with Sessions() as pool:
        async with pool.lease("a", opened.session):
            pass
    assert opened.tasks[0] is opened.tasks[1]
    assert opened.tasks[0] is not asyncio.current_task()


async def test_a_fault_while_opening_reaches_every_lease_and_the_next_one_opens_anew() -> None:
    opened = Opened()
    opened.fault = PollError("refused")

    async def lease(pool: Sessions) -> str:
        async with pool.lease("a", opened.session) as got:
            return got

    async with Sessions() as pool:
        results = await asyncio.gather(lease(pool), lease(pool), return_exceptions=True)
        assert [str(r) for r in results] == ["refused", "refused"]
        opened.fault = None
        assert await lease(pool) == "session"
    assert opened.opened == 2


async def test_a_session_that_hangs_while_opening_is_dropped_with_its_last_lease() -> None:
    opened = Opened()
    opened.hang = True
    async with Sessions() as pool:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05), pool.lease("a", opened.session):
                pass
        opened.hang = False
        async with pool.lease("a", opened.session) as got:
            assert got == "session"
    assert opened.opened == 2


class Scripted:
    """A scaler whose next answers are given."""

    def __init__(self, *answers: Sample | Exception | float) -> None:
        self.answers = list(answers)
        self.opened = self.closed = 0

    async def poll(self) -> Sample:
        answer = self.answers.pop(0)
        if isinstance(answer, float):
            await asyncio.sleep(answer)
            return Sample(value=1, active=True)
        if isinstance(answer, Exception):
            raise answer
        return answer

    @asynccontextmanager
    async def open(self, _meta: FakeMetadata, _context: ScalerContext) -> AsyncIterator[Scaler]:
        self.opened += 1
        try:
            yield self
        finally:
            self.closed += 1


async def _readings(scripted: Scripted, polls: int, resolve: Any = None) -> list[Any]:
    kind = ScalerType(
        metadata=FakeMetadata,
        target=lambda _meta: 2.0,
        open=scripted.open,
        source=lambda _meta: "fake://q",
        summary="",
    )
    job = event_job()
    async with Sessions() as pool:
        ports = SourcePorts(
            clock=SystemClock(),
            sessions=pool,
            resolve=resolve or (lambda _job, _rule: (kind, FakeMetadata(queue="q"))),
            close_s=1.0,
        )
        source = RuleSource(job, job.trigger.rules[0], ports, timeout_s=0.1)
        serving = asyncio.get_running_loop().create_task(source.run())
        found = [await source.poll() for _ in range(polls)]
        serving.cancel()
        await asyncio.wait([serving])
    return found


async def test_a_reading_without_a_date_is_dated_at_the_start_of_its_poll() -> None:
    (found,) = await _readings(Scripted(Sample(value=3, active=True)), 1)
    assert found.target == 2.0
    assert found.reading.value == 3
    assert found.reading.as_of is not None


async def test_a_target_that_only_the_source_knows_wins_and_is_kept() -> None:
    told, plain = Sample(value=3, active=True, target=5.0), Sample(value=3, active=True)
    found = await _readings(Scripted(told, plain, PollError("gone"), plain), 4)
    assert [item.target for item in found] == [5.0, 5.0, 5.0, 2.0]


async def test_a_scaler_is_rebuilt_after_a_failed_poll_and_only_then() -> None:
    fine = Sample(value=1, active=True)
    scripted = Scripted(fine, fine, PollError("gone", reason="Unreachable"), fine)
    found = await _readings(scripted, 4)
    assert [isinstance(f.reading, PollFailure) for f in found] == [False, False, True, False]
    assert (scripted.opened, scripted.closed) == (2, 2)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (PollError("no", reason="AuthenticationFailed", transient=False), "AuthenticationFailed"),
        (ValueError("bug"), "ScalerFault"),
        (5.0, "Timeout"),
        (Sample(value=math.nan, active=True), "BadValue"),
        (Sample(value=-1, active=True), "BadValue"),
        (Sample(value=1, active=True, taken=math.inf), "BadValue"),
        (Sample(value=1, active=True, target=0.0), "BadValue"),
        (Sample(value=1, active=True, target=math.nan), "BadValue"),
        (Sample(value=1, active=True, shares=(Share(key="a", value=-1),)), "BadValue"),
        (Sample(value=1, active=True, shares=(Share(key="a", value=1), Share(key="a", value=2))), "BadValue"),
    ],
)
async def test_whatever_a_plugin_does_what_comes_out_is_a_reason(
    answer: Sample | Exception | float, reason: str
) -> None:
    (found,) = await _readings(Scripted(answer), 1)
    assert isinstance(found.reading, PollFailure)
    assert found.reading.reason == reason


async def test_a_rule_that_cannot_be_resolved_is_a_failure_too() -> None:
    def refuse(_job: object, _rule: object) -> Any:
        raise ConfigError("no such scaler")

    (found,) = await _readings(Scripted(), 1, refuse)
    assert found.reading == PollFailure(
        reason="InvalidConfiguration", message="no such scaler", transient=False
    )


class Stubborn(Scripted):
    """A scaler that does not let itself be cancelled for a while."""

    async def poll(self) -> Sample:
        until = asyncio.get_running_loop().time() + 2.0
        while (left := until - asyncio.get_running_loop().time()) > 0:
            try:
                await asyncio.sleep(left)
            except asyncio.CancelledError:
                pass
        return Sample(value=1, active=True)


async def test_a_scaler_that_cannot_be_cancelled_holds_up_no_poll_beyond_all_limits() -> None:
    began = asyncio.get_running_loop().time()
    kind = ScalerType(
        metadata=FakeMetadata,
        target=lambda _meta: 1.0,
        open=Stubborn().open,
        source=lambda _meta: "fake://q",
        summary="",
    )
    job = event_job()
    async with Sessions() as pool:
        ports = SourcePorts(
            clock=SystemClock(),
            sessions=pool,
            resolve=lambda _job, _rule: (kind, FakeMetadata(queue="q")),
            close_s=0.1,
        )
        source = RuleSource(job, job.trigger.rules[0], ports, timeout_s=0.1)
        serving = asyncio.get_running_loop().create_task(source.run())
        found = await source.poll()
        took = asyncio.get_running_loop().time() - began
        await asyncio.sleep(2.4 - took)  # it has come to its end
        serving.cancel()
        await asyncio.wait([serving])
    assert isinstance(found.reading, PollFailure)
    assert found.reading.reason == "Timeout"
    assert 1.1 < took < 1.6
