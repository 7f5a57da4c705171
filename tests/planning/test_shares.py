"""Which shares of a source are handed out: never one twice at a time, never one without work, longest first."""

from __future__ import annotations

from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from scaler.model.decision import Bound, Reason
from scaler.model.job import ScaleRule
from scaler.model.sample import Sample
from scaler.model.share import Share
from scaler.planning.counts import Counts
from scaler.planning.plan import RuleReading, plan
from scaler.planning.shares import allot
from tests.planning.builders import NOW, failure, trigger

NOBODY = Counts(running=0, pending=0)


def _share(key: str, value: float) -> Share:
    return Share(key=key, value=value, env=(("PART", key),))


def _shares(**lags: float) -> tuple[Share, ...]:
    return tuple(_share(key, value) for key, value in lags.items())


def _reading(shares: tuple[Share, ...], *, active: bool = True, as_of: datetime = NOW) -> RuleReading:
    total = sum(share.value for share in shares)
    sample = Sample(value=total, active=active and total > 0, as_of=as_of, shares=shares)
    return RuleReading(rule=ScaleRule(name="topic", type="toy"), target=1, reading=sample)


def _keys(shares: tuple[Share, ...]) -> list[str]:
    return [share.key for share in shares]


def _counts(
    *held: str, released: dict[str, float] | None = None, unshared: int = 0, ended: tuple[float, ...] = ()
) -> Counts:
    freed = tuple((key, NOW + timedelta(seconds=at)) for key, at in (released or {}).items())
    ends = tuple(at for _key, at in freed) + tuple(NOW + timedelta(seconds=at) for at in ended)
    return Counts(running=len(held) + unshared, pending=0, ended=ends, held=frozenset(held), released=freed)


def test_each_share_with_work_gets_one_execution_whatever_its_length() -> None:
    planned = plan(trigger(), (_reading(_shares(a=50, b=0, c=1)),), NOBODY, NOW)
    assert _keys(planned.handed) == ["a", "c"]
    assert (planned.launch, planned.wanted, planned.reason) == (2, 2, Reason.LAUNCHED)
    assert planned.launches == planned.handed
    assert (planned.verdicts[0].needed, planned.verdicts[0].shares) == (2, 3)


def test_the_longest_go_first_where_there_is_no_room_for_all() -> None:
    planned = plan(trigger(high=2), (_reading(_shares(a=1, b=7, c=3)),), NOBODY, NOW)
    assert _keys(planned.handed) == ["b", "c"]
    assert (planned.bound, planned.waiting) == (Bound.MAX, 3)


def test_of_equal_length_the_one_that_waits_since_longest_goes_first() -> None:
    counts = _counts(released={"a": -3, "b": -9, "c": -5})
    planned = plan(trigger(high=3), (_reading(_shares(a=2, b=2, c=2, d=2)),), counts, NOW)
    assert _keys(planned.handed) == ["d", "b", "c"]


def test_a_share_in_an_executions_hands_is_left_alone() -> None:
    planned = plan(trigger(), (_reading(_shares(a=9, b=9)),), _counts("a"), NOW)
    assert (_keys(planned.handed), planned.held) == (["b"], ("a",))
    assert planned.formula == "2 shares with work - 1 held = 1; 1 live, max(100) -> 1"
    both = plan(trigger(), (_reading(_shares(a=9, b=9)),), _counts("a", "b"), NOW)
    assert (both.launch, both.reason, both.bound) == (0, Reason.ALL_CLAIMED, Bound.CLAIMS)
    assert both.message == "every share with work has its execution (2 live)"


def test_a_share_whose_execution_ended_after_the_reading_may_still_stand_in_it() -> None:
    for at, expected in ((-0.001, ["a"]), (0.0, []), (0.4, [])):
        planned = plan(trigger(), (_reading(_shares(a=1)),), _counts(released={"a": at}), NOW)
        assert _keys(planned.handed) == expected


def test_an_end_that_becomes_known_late_frees_its_share_only_for_a_reading_behind_it() -> None:
    """Dated 0.1 s before the reading, known after it: meanwhile the execution counts as live."""
    reading = _reading(_shares(a=1))
    assert plan(trigger(), (reading,), _counts("a"), NOW).launch == 0
    assert plan(trigger(), (reading,), _counts(released={"a": -0.1}), NOW).launch == 1


def test_while_an_execution_without_a_share_lives_nothing_is_handed_out() -> None:
    planned = plan(trigger(), (_reading(_shares(a=1, b=1)),), _counts("b", unshared=2), NOW)
    assert (planned.launch, planned.reason) == (0, Reason.ALL_CLAIMED)
    assert planned.message == (
        "2 executions that were handed no share may work on any; waiting for their end"
    )
    just_ended = _counts(ended=(0.1,))
    assert plan(trigger(), (_reading(_shares(a=1)),), just_ended, NOW).launch == 0
    assert plan(trigger(), (_reading(_shares(a=1)),), _counts(ended=(-0.1,)), NOW).launch == 1


def test_no_minimum_starts_an_execution_without_a_share() -> None:
    planned = plan(trigger(low=3), (_reading(_shares(a=0, b=1)),), NOBODY, NOW)
    assert _keys(planned.handed) == ["b"]
    empty = plan(trigger(low=3), (_reading(_shares(a=0)),), NOBODY, NOW)
    assert (empty.launch, empty.reason) == (0, Reason.NO_WORK)


def test_below_activation_and_on_an_unknown_count_nothing_is_handed_out() -> None:
    quiet = plan(trigger(), (_reading(_shares(a=4), active=False),), NOBODY, NOW)
    assert (quiet.launch, quiet.handed, quiet.reason) == (0, (), Reason.BELOW_ACTIVATION)
    unknown = plan(trigger(), (failure(),), NOBODY, NOW)
    assert (unknown.launch, unknown.handed, unknown.reason) == (0, (), Reason.UNKNOWN_COUNT)
    held_back = plan(trigger(), (_reading(_shares(a=4)),), NOBODY, NOW, hold="3 refused")
    assert (held_back.launch, held_back.handed) == (0, ())


# --- promises -------------------------------------------------------------------------------------------

_KEYS = [f"t/{number}" for number in range(12)]
_lags = st.dictionaries(st.sampled_from(_KEYS), st.integers(0, 5).map(float), max_size=12)
_held = st.sets(st.sampled_from(_KEYS), max_size=12)
_ages = st.integers(-5_000_000, 2_000_000).filter(bool).map(lambda age_us: age_us / 1_000_000)
_released = st.lists(st.tuples(st.sampled_from(_KEYS), _ages), max_size=8)


@given(
    _lags, _held, _released, st.integers(0, 3), st.lists(_ages, max_size=3), st.integers(1, 15), st.booleans()
)
def test_no_share_is_handed_out_twice_or_without_work_or_beyond_the_maximum(
    lags: dict[str, float],
    held: set[str],
    released: list[tuple[str, float]],
    unshared: int,
    ended: list[float],
    most: int,
    active: bool,
) -> None:
    freed = tuple((key, NOW + timedelta(seconds=age)) for key, age in released)
    ends = tuple(at for _key, at in freed) + tuple(NOW + timedelta(seconds=age) for age in ended)
    counts = Counts(running=len(held) + unshared, pending=0, ended=ends, held=frozenset(held), released=freed)
    shares = tuple(_share(key, value) for key, value in lags.items())
    planned = plan(trigger(high=most), (_reading(shares, active=active),), counts, NOW)

    handed = _keys(planned.handed)
    assert len(set(handed)) == len(handed) == planned.launch == len(planned.launches)
    assert not set(handed) & held
    assert not set(handed) & {key for key, age in released if age > 0}
    assert all(lags[key] > 0 for key in handed)
    assert planned.launch == 0 or counts.running + planned.launch <= most
    assert all(dict(share.env)["PART"] == share.key for share in planned.handed)
    if unshared or any(age > 0 for age in ended) or not active:
        assert planned.launch == 0
    else:
        free = [key for key, lag in lags.items() if lag > 0 and key not in planned.held]
        assert planned.launch == min(len(free), max(0, most - counts.running))
        left = [lags[key] for key in free if key not in handed]
        assert max(left, default=0) <= min((lags[key] for key in handed), default=5)


@given(_lags, _held, st.integers(1, 15))
def test_every_share_with_work_is_handed_out_or_left_or_held(
    lags: dict[str, float], held: set[str], most: int
) -> None:
    shares = tuple(_share(key, value) for key, value in lags.items())
    counts = Counts(running=len(held), pending=0, held=frozenset(held))
    found = allot(shares, counts, most=most, as_of=NOW)
    told = _keys(found.handed) + _keys(found.left) + _keys(found.held)
    assert sorted(told) == sorted(key for key, lag in lags.items() if lag > 0)
    assert found.wanted == len(told)
