"""How late ticks are, as the daemon tells it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scaler.bench.poll import counted, share_at
from scaler.bench.report import percentile
from scaler.engine.lateness import BOUNDS_S, LATEST, Lateness


def told(lateness: Lateness) -> dict[str, int]:
    return {f"{bound:g}": ticks for bound, ticks in lateness.at_most()}


def test_nothing_is_told_before_the_first_tick() -> None:
    lateness = Lateness()
    assert (lateness.ticks, lateness.percentiles()) == (0, (0.0, 0.0))
    assert lateness.at_most() == tuple((bound, 0) for bound in BOUNDS_S)


def test_percentiles_are_those_of_the_latest_and_counts_those_of_all() -> None:
    lateness = Lateness()
    for _ in range(100):
        lateness.note(9.0)
    for _ in range(LATEST):
        lateness.note(0.1)
    assert lateness.percentiles() == (0.1, 0.1)
    assert lateness.ticks == LATEST + 100
    assert dict(lateness.at_most())[0.07] == 0
    assert dict(lateness.at_most())[0.1] == dict(lateness.at_most())[5.0] == LATEST


@given(
    earlier=st.lists(st.floats(0, 4.9), max_size=20),
    later=st.lists(st.floats(0, 4.9), min_size=1, max_size=300),
)
def test_a_percentile_from_counts_lies_in_the_right_bucket(earlier: list[float], later: list[float]) -> None:
    lateness = Lateness()
    for seconds in earlier:
        lateness.note(seconds)
    before = told(lateness)
    for seconds in later:
        lateness.note(seconds)
    counts = counted(before, told(lateness))
    found = share_at(counts, len(later), 0.99)
    exact = sorted(later)[-(-99 * len(later) // 100) - 1]
    low = max((bound for bound in BOUNDS_S if bound < exact), default=0.0)
    high = next(bound for bound in BOUNDS_S if bound >= exact)
    assert low <= found <= high
    assert percentile(later, 0.99) >= exact


def test_what_is_later_than_every_bound_is_given_as_the_last() -> None:
    lateness = Lateness()
    lateness.note(60.0)
    assert share_at(counted(told(Lateness()), told(lateness)), 1, 0.99) == BOUNDS_S[-1]
