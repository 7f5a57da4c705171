"""The engine in virtual time: what comes out is what can be worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from scaler.engine.limits import Limits
from scaler.model.capacity import GlobalLimits
from scaler.model.decision import Occasion
from scaler.model.execution import Cause, ExecutionStatus
from scaler.model.job import Container, Job, ScheduleTrigger, Template
from scaler.planning.counts import Counts
from scaler.planning.decide import Inputs, decide
from scaler.simulation.arrivals import Arrivals
from scaler.simulation.chance import Spans
from scaler.simulation.deduce import told_by
from scaler.simulation.queue import Habits
from scaler.simulation.result import JobResult, Price
from scaler.simulation.result import Outcome as Simulated
from scaler.simulation.run import BEGINNING, Scene, simulate
from scaler.simulation.worker import Trade
from scaler.trace.lines import Decided, Ended, Outcome
from scaler.trace.read import Placed, Trace
from scaler.trace.recorder import TraceFile, open_recorder
from scaler.trace.verify import replay
from tests.engine.world import event_job, resolve, topic_job
from tests.planning.builders import NOW, reading, trigger

START_S = 1.0


def fixed(seconds: float) -> Spans:
    return Spans(kind="fixed", low=seconds)


def scene(arrivals: Arrivals, *, work_s: float = 30.0, failing: float = 0.0, **more: Any) -> Scene:
    trade = Trade(work=fixed(work_s), start=fixed(START_S), failing=failing)
    names = {"drain": ("q", "t"), "other": ("q",), "nightly": ()}
    found = {(job, rule): arrivals for job, rules in names.items() for rule in rules}
    trades = dict.fromkeys(names, trade)
    return Scene(**({"arrivals": found, "trades": trades, "resolve": resolve, "span_s": 3600.0} | more))


def only(outcome: Simulated) -> JobResult:
    (job,) = outcome.jobs
    return job


def run(job: Job, of: Scene) -> JobResult:
    return only(simulate([job], of, settings="as written"))


@pytest.mark.parametrize("high", [1, 5, 20])
def test_a_flood_drains_in_as_many_rounds_as_there_are_slots(high: int) -> None:
    found = run(event_job(high=high, interval_s=10), scene([(0.0, 40)]))
    rounds = -(-40 // high)
    assert (found.messages, found.done, found.left, found.executions) == (40, 40, 0, 40)
    assert (found.peak, found.wasted, found.failed, found.twice) == (high, 0, 0, 0)
    assert found.drain_s == pytest.approx(rounds * (30 + START_S), abs=rounds * 0.2)
    assert found.wait_max_s == pytest.approx((rounds - 1) * (30 + START_S) + START_S, abs=rounds * 0.2)
    assert found.execution_s == pytest.approx(40 * 30)


def test_resources_and_prices_make_the_cost() -> None:
    price = Price(cpu_second=0.5, gib_second=0.25)
    found = run(event_job(high=5), scene([(0.0, 10)], price=price))
    assert (found.cpu_s, found.memory_gib_s, found.cost) == (150.0, 300.0, 150.0)


def test_a_job_that_does_not_refill_waits_for_its_interval() -> None:
    quick, slow = (
        run(event_job(high=2, interval_s=60, refill=refill), scene([(0.0, 8)])) for refill in (True, False)
    )
    assert quick.drain_s == pytest.approx(4 * 31, abs=1)
    assert slow.drain_s == pytest.approx(3 * 60 + 31, abs=1)


def test_executions_that_fail_are_made_up_for_and_counted() -> None:
    found = run(event_job(high=5, interval_s=5), scene([(0.0, 60)], work_s=2, failing=0.2))
    assert found.done == 60
    assert found.failed == found.executions - 60 > 0


def test_poison_is_held_back_by_the_breaker_and_dead_lettered_by_the_broker() -> None:
    poisoned = scene([(0.0, 1)], work_s=1, poison=1.0)
    held = run(event_job(high=5, interval_s=1), poisoned)
    assert (held.done, held.left) == (0, 1)
    assert 5 < held.failed < 40  # in two hours
    dead = run(event_job(high=5, interval_s=1), replace(poisoned, habits=Habits(max_deliveries=3)))
    assert (dead.dead, dead.left, dead.failed) == (1, 0, 3)
    assert dead.drain_s is not None


def test_messages_that_come_back_too_early_are_worked_on_twice() -> None:
    """Two are back in sight when a third one comes: its execution takes the first of them."""
    lost_sight = scene([(0.0, 2), (15.0, 1)], work_s=30, habits=Habits(visibility_s=10))
    found = run(event_job(high=5, interval_s=1), lost_sight)
    assert (found.done, found.left) == (3, 0)
    assert found.twice > 0


def test_a_worker_that_is_stopped_gives_its_message_back() -> None:
    found = run(event_job(high=1, interval_s=5, timeout_s=10), scene([(0.0, 1)], work_s=30, span_s=300.0))
    assert (found.done, found.left) == (0, 1)
    assert found.failed >= 2


def test_a_minimum_starts_workers_for_nothing() -> None:
    found = run(event_job(low=1, high=2, interval_s=10), scene([(300.0, 1)], span_s=600.0))
    assert (found.done, found.left) == (1, 0)
    assert found.wasted > 10


def test_shares_are_worked_on_one_at_a_time() -> None:
    found = run(topic_job(high=10, interval_s=5), scene([(0.0, 12)], habits=Habits(parts=4)))
    assert (found.done, found.peak, found.executions) == (12, 4, 12)


def test_a_schedule_fires_at_its_times() -> None:
    nightly = Job(
        name="nightly",
        trigger=ScheduleTrigger(cron="0 */6 * * *"),
        template=Template(container=Container(name="main", image="x")),
        executor="mock",
        replica_timeout=timedelta(seconds=60),
    )
    found = run(nightly, scene([], span_s=86_400.0, begin=BEGINNING + timedelta(minutes=1)))
    assert (found.executions, found.messages, found.failed) == (4, 0, 0)


def test_the_same_seed_gives_the_same_day_and_another_one_another() -> None:
    arrivals = [(n * 7.0, 1) for n in range(200)]
    chances = {
        "trades": {"drain": Trade(work=Spans(kind="exp", low=20.0), start=fixed(1), failing=0.05)},
        "poison": 0.01,
    }
    one, two, other = (
        run(event_job(high=4, interval_s=5), scene(arrivals, **chances, seed=seed)) for seed in (7, 7, 8)
    )
    assert one == two
    assert one != other


def test_a_simulation_can_be_recorded_decided_again_and_simulated_from(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    first = scene([(0.0, 20), (100.0, 5)], work_s=12.0)
    with open_recorder(TraceFile(path=path), version="1", now=lambda: BEGINNING) as recorder:
        run(event_job(high=4, interval_s=5), replace(first, recorder=recorder))
    trace = Trace(path)
    assert replay(trace).differences == ()
    assert replay(trace).launches == 25
    told = told_by(trace)
    arrivals = told.arrivals["drain", "q"]
    assert sum(count for _at, count in arrivals) == 25
    assert sum(count for at, count in arrivals if at < 50) == 20
    assert set(told.work["drain"].seen) == {12.0}
    again = run(event_job(high=25, interval_s=5), scene(arrivals, work_s=12.0))
    assert (again.messages, again.done, again.peak) == (25, 25, 20)


def test_an_outage_of_the_daemon_delays_and_loses_nothing() -> None:
    """Down from 35 s to 335 s: what ran then is adopted, and what waited is begun after."""
    steady = scene([(0.0, 8)], work_s=30)
    never, once = (
        run(event_job(high=4, interval_s=10), replace(steady, outages=outages))
        for outages in ((), ((35.0, 335.0),))
    )
    assert (never.executions, once.executions, once.done, once.twice) == (8, 8, 8, 0)
    assert (never.peak, once.peak, once.failed) == (4, 4, 0)
    assert never.drain_s == pytest.approx(62, abs=1)
    assert once.drain_s == pytest.approx(62, abs=1)  # all eight had begun
    early = run(event_job(high=4, interval_s=10), replace(steady, outages=((10.0, 310.0),)))
    assert (early.executions, early.done, early.failed) == (8, 8, 0)
    assert early.drain_s == pytest.approx(310 + 31, abs=2)


def test_jobs_share_what_the_daemon_may_run() -> None:
    jobs = [event_job(name, high=10, interval_s=10) for name in ("drain", "other")]
    capped = scene([(0.0, 12)], work_s=10, limits=Limits(overall=GlobalLimits(executions=4)))
    outcome = simulate(jobs, capped, settings="as written")
    assert [(job.done, job.executions, job.wasted) for job in outcome.jobs] == [(12, 12, 0), (12, 12, 0)]
    assert sum(job.peak for job in outcome.jobs) <= 8
    assert outcome.simulated_s == pytest.approx(24 / 4 * 11, abs=3)
    assert max(job.drain_s or 0 for job in outcome.jobs) - min(job.drain_s or 0 for job in outcome.jobs) < 12


def test_arrivals_are_deduced_although_messages_are_gone_before_their_executions_end() -> None:
    """A reading between a worker's last word to the broker and its end is no reason to see a message twice."""
    at = [NOW + timedelta(seconds=second) for second in (0, 10, 20, 30)]
    values = [3, 2, 4, 2]  # one done early at 10 s, two came, two done by 30 s
    ends = [12, 25, 28]
    trace: list[Placed] = []
    for moment, value in zip(at, values, strict=True):
        inputs = Inputs(
            job="drain", trigger=trigger(), readings=(reading(value, as_of=moment),), at=moment,
            counts=Counts(running=2, pending=0), occasion=Occasion.TICK,
        )  # fmt: skip
        decided = Decided(inputs=inputs, outcome=Outcome.of(decide(inputs)), decision_id=1)
        trace.append(Placed(place="t:1", entry=decided))
    for second in ends:
        ended = Ended(
            job="drain", execution=f"e{second}", cause=Cause.EVENT, status=ExecutionStatus.SUCCEEDED,
            created_at=NOW, started_at=NOW, ended_at=NOW + timedelta(seconds=second),
        )  # fmt: skip
        trace.append(Placed(place="t:2", entry=ended))
    arrivals = told_by(trace).arrivals["drain", "rule"]
    assert [(at, count) for at, count in arrivals] == [(0.0, 3), (12.5, 1), (17.5, 1)]
