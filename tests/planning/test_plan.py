"""What `auto` decides, and what every strategy promises."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from scaler.model.decision import Bound, Reason
from scaler.model.job import Combine, EventTrigger, Strategy, StrategyName
from scaler.planning.counts import Counts
from scaler.planning.plan import RuleReading, plan
from tests.planning.builders import NOW, failure, reading, trigger


def _launch(readings: list[RuleReading], running: int = 0, pending: int = 0, **kw: object) -> int:
    chosen = trigger(**kw)  # type: ignore[arg-type]
    return plan(chosen, tuple(readings), Counts(running=running, pending=pending), NOW).launch


# --- auto, one rule -------------------------------------------------------------------------------------


def test_ten_messages_start_ten_executions() -> None:
    assert _launch([reading(10)]) == 10


def test_a_lower_bound_counts_as_its_value_and_the_decision_says_so() -> None:
    readings = (reading(7, target=2, lower_bound="looked at over AMQP"),)
    for strategy in StrategyName:
        planned = plan(trigger(strategy=strategy), readings, Counts(running=0, pending=0), NOW)
        assert planned.launch == 4
        assert planned.message.endswith("; rule rule is a lower bound: looked at over AMQP")
        assert planned.verdicts[0].lower_bound == "looked at over AMQP"
    assert "ceil(>=7/2)" in plan(trigger(), readings, Counts(running=0, pending=0), NOW).formula


def test_messages_that_have_an_execution_start_no_other_one() -> None:
    assert _launch([reading(10)], running=10) == 0


def test_a_source_that_counts_taken_messages_is_weighed_against_all_live_executions() -> None:
    assert _launch([reading(10)], running=4) == 6


def test_a_source_that_leaves_taken_messages_out_is_weighed_against_those_still_starting() -> None:
    assert _launch([reading(6, includes_taken=False, taken=4)], running=4) == 6
    assert _launch([reading(6, includes_taken=False, taken=1)], running=4) == 3


def test_a_source_that_cannot_tell_what_is_taken_is_only_slower() -> None:
    assert _launch([reading(6, includes_taken=False)], running=4) == 2


def test_messages_held_by_nobody_of_ours_start_nothing() -> None:
    """A crashed worker's message is invisible until its lock ends: nobody could take it now."""
    assert _launch([reading(3, taken=3)]) == 0
    assert _launch([reading(5, taken=3)]) == 2


def test_an_execution_that_ended_during_the_poll_may_still_stand_in_the_reading() -> None:
    counts = Counts(running=3, pending=0, ended=(NOW + timedelta(milliseconds=5),))
    assert plan(trigger(), (reading(10),), counts, NOW).launch == 6


def test_an_execution_that_ended_before_the_poll_does_not() -> None:
    counts = Counts(running=3, pending=0, ended=(NOW - timedelta(seconds=2),))
    assert plan(trigger(), (reading(10),), counts, NOW).launch == 7


def test_a_source_that_lags_counts_those_that_ended_within_its_lag() -> None:
    counts = Counts(running=3, pending=0, ended=(NOW - timedelta(seconds=2),))
    lagging = reading(10, as_of=NOW - timedelta(seconds=5))
    assert plan(trigger(), (lagging,), counts, NOW).launch == 6


def test_a_consumer_whose_execution_has_just_ended_is_not_taken_for_one_that_works() -> None:
    counts = Counts(running=2, pending=1, ended=(NOW - timedelta(milliseconds=100),))
    planned = plan(trigger(), (reading(1, includes_taken=False, taken=2),), counts, NOW)
    assert (planned.launch, planned.reason) == (0, Reason.ALL_CLAIMED)


def test_a_target_above_one_rounds_up() -> None:
    assert _launch([reading(11, target=5)]) == 3
    assert _launch([reading(1e-6, target=1e6)]) == 1


def test_the_maximum_counts_what_is_live() -> None:
    planned = plan(trigger(high=8), (reading(300),), Counts(running=5, pending=2), NOW)
    assert (planned.launch, planned.bound, planned.waiting) == (3, Bound.MAX, 295)


def test_the_minimum_is_a_floor_of_the_total_not_an_addition() -> None:
    assert _launch([reading(0)], low=2, high=9) == 2
    assert _launch([reading(3)], low=2, high=9) == 3
    assert _launch([reading(0)], running=2, low=2, high=9) == 0


def test_below_activation_only_the_minimum_is_kept() -> None:
    quiet = reading(5, active=False)
    assert _launch([quiet]) == 0
    assert _launch([quiet], low=1) == 1


def test_after_refused_launches_nothing_starts_until_the_hold_ends() -> None:
    planned = plan(trigger(), (reading(5),), Counts(running=0, pending=0), NOW, hold="3 refused")
    assert (planned.launch, planned.reason, planned.message) == (0, Reason.LAUNCH_BACKOFF, "3 refused")


# --- several rules --------------------------------------------------------------------------------------


def test_rules_are_turned_into_executions_before_they_are_combined() -> None:
    """KEDA would take the rule with more messages (100 at target 100: one job)."""
    rules = [reading(100, target=100, name="big"), reading(10, name="small")]
    assert _launch(rules) == 10
    assert _launch(rules, strategy=StrategyName.DEFAULT) == 10


def test_rounding_happens_before_the_sum() -> None:
    rules = [reading(2, target=5, name=str(i)) for i in range(3)]
    assert _launch(rules, combine=Combine.SUM) == 3
    assert _launch(rules, combine=Combine.MAX) == 1
    assert _launch([*rules, reading(10, name="x")], combine=Combine.AVG) == 4
    assert _launch([*rules, reading(10, name="x")], combine=Combine.MIN) == 1


def test_a_sum_takes_live_executions_off_once() -> None:
    rules = [
        reading(3, includes_taken=False, taken=2, name="a"),
        reading(4, includes_taken=False, taken=2, name="b"),
    ]
    assert _launch(rules, running=4, combine=Combine.SUM) == 7
    assert _launch(rules, running=6, combine=Combine.SUM) == 5


def test_a_failed_rule_never_counts_as_zero() -> None:
    counts = Counts(running=0, pending=0)
    planned = plan(trigger(), (reading(4), failure("orders")), counts, NOW)
    assert planned.launch == 4
    assert "orders left out: refused" in planned.message
    assert [v.error for v in planned.verdicts] == [None, "refused"]


def test_an_empty_source_beside_an_unknown_one_is_not_called_no_work() -> None:
    chosen = trigger(combine=Combine.SUM)
    planned = plan(chosen, (reading(0), failure("orders")), Counts(running=0, pending=0), NOW)
    assert (planned.launch, planned.reason) == (0, Reason.UNKNOWN_COUNT)
    assert planned.message == "the rules that could be read hold no work; rule orders left out: refused"


def test_where_a_failed_rule_could_lower_the_answer_nothing_is_launched() -> None:
    for combine in (Combine.MIN, Combine.AVG):
        counts = Counts(running=0, pending=0)
        planned = plan(trigger(combine=combine), (reading(4), failure()), counts, NOW)
        assert (planned.launch, planned.reason) == (0, Reason.UNKNOWN_COUNT)


def test_when_every_rule_fails_nothing_is_launched_not_even_the_minimum() -> None:
    for strategy in StrategyName:
        chosen = trigger(low=3, strategy=strategy)
        planned = plan(chosen, (failure(),), Counts(running=0, pending=0), NOW)
        assert (planned.launch, planned.reason) == (0, Reason.UNKNOWN_COUNT)


# --- promises of every strategy -------------------------------------------------------------------------

_amounts = st.one_of(st.integers(0, 500).map(float), st.floats(0, 1e6))
_samples = st.builds(
    lambda v, t, target, inc, act: reading(
        v, taken=t, target=target, includes_taken=inc, active=act and v > 0
    ),
    _amounts,
    st.one_of(st.none(), st.integers(0, 500).map(float)),
    st.sampled_from([0.5, 1, 2, 5, 100]),
    st.booleans(),
    st.booleans(),
)
_triggers = st.builds(
    lambda low, extra, name, combine, deduct, share: EventTrigger(
        rules=(),
        min_executions=low,
        max_executions=low + extra,
        combine=combine,
        strategy=Strategy(name=name, queue_length_deduction=deduct, running_percentage=share),
    ),
    st.integers(0, 20),
    st.integers(1, 100),
    st.sampled_from(list(StrategyName)),
    st.sampled_from(list(Combine)),
    st.integers(-50, 50),
    st.one_of(st.none(), st.floats(-2, 2)),
)
_counts = st.integers(0, 150).flatmap(
    lambda running: st.builds(
        lambda pending, ages: Counts(
            running=running, pending=pending, ended=tuple(NOW + timedelta(seconds=a) for a in ages)
        ),
        st.integers(0, running),
        st.lists(st.floats(-3, 1), max_size=5),
    )
)


@given(_triggers, st.lists(st.one_of(_samples, st.just(failure())), min_size=1, max_size=4), _counts)
def test_the_maximum_holds_and_the_unknown_launches_nothing(
    chosen: EventTrigger, readings: list[RuleReading], counts: Counts
) -> None:
    planned = plan(chosen, tuple(readings), counts, NOW)
    assert planned.launch >= 0
    assert planned.launch == 0 or counts.running + planned.launch <= chosen.max_executions
    if all(v.error is not None for v in planned.verdicts):
        assert planned.launch == 0
    if not any(v.active for v in planned.verdicts):
        assert planned.launch <= max(0, chosen.min_executions - counts.running)
    assert len(planned.verdicts) == len(readings)
    assert planned.message


@given(_triggers, _samples, _counts, st.integers(1, 100))
def test_more_messages_never_plan_fewer(
    chosen: EventTrigger, item: RuleReading, counts: Counts, more: int
) -> None:
    sample = item.reading
    assert hasattr(sample, "value")
    fuller = reading(
        sample.value + more,
        taken=sample.taken,
        target=item.target,
        includes_taken=sample.includes_taken,
        active=True,
    )
    before = plan(chosen, (item,), counts, NOW).launch
    assert plan(chosen, (fuller,), counts, NOW).launch >= before


@given(
    waiting=st.integers(0, 60),
    working=st.integers(0, 30),
    starting=st.integers(0, 30),
    kind=st.sampled_from(["all", "all+taken", "ready+taken"]),
)
def test_auto_gives_every_waiting_message_exactly_one_execution(
    waiting: int, working: int, starting: int, kind: str
) -> None:
    """`working` executions hold a message each, `starting` ones will take one of the waiting."""
    starting = min(starting, waiting)
    total = float(waiting + working)
    item = {
        "all": reading(total),
        "all+taken": reading(total, taken=float(working)),
        "ready+taken": reading(float(waiting), includes_taken=False, taken=float(working)),
    }[kind]
    counts = Counts(running=working + starting, pending=starting)
    planned = plan(trigger(high=1000), (item,), counts, NOW)
    assert planned.launch == waiting - starting
