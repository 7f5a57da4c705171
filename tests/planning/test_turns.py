"""Turns at a source with a budget: the rate holds, nobody starves, whatever the order of asking and leaving."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from scaler.planning.turns import BURST_S, GATHER_S, RETURN_S, Ticket, Turns


def test_the_first_requests_go_at_once_and_the_others_at_the_rate() -> None:
    turns = Turns(rate=10)
    tickets = [turns.join(number, 100.0) for number in range(4)]
    assert turns.serve(100.0) == tickets[:1]
    assert turns.wait_s(100.0) == 0.1
    assert turns.serve(100.05) == []
    assert turns.serve(100.1001) == tickets[1:2]
    assert turns.serve(200.0) == tickets[2:3], "idle time is worth no more than the burst"
    turns.leave(tickets[3], 200.0)
    assert turns.wait_s(200.0) is None


def test_who_was_served_longest_ago_is_next_whoever_came_first() -> None:
    turns = Turns(rate=1)
    first = turns.join("a", 0.0)
    assert turns.serve(0.0) == [first]
    again, new = turns.join("a", 0.5), turns.join("b", 0.5)
    assert turns.serve(1.0) == [new]
    assert turns.serve(2.0) == [again]


def test_a_new_line_waits_a_moment_for_those_who_left_unserved() -> None:
    turns = Turns(rate=1)
    served, hungry = turns.join("a", 0.0), turns.join("b", 0.0)
    assert turns.serve(0.0) == [served]
    turns.leave(hungry, 0.5)
    early = turns.join("a", 10.0)
    assert (turns.serve(10.0), turns.wait_s(10.0)) == ([], GATHER_S)
    late = turns.join("b", 10.2)
    assert turns.serve(10.2) == [late]
    assert turns.serve(11.2) == [early]


def test_who_does_not_come_back_holds_nobody_up() -> None:
    turns = Turns(rate=1)
    turns.leave(turns.join("gone", 0.0), 0.0)
    soon = turns.join("a", 1.0)
    assert (turns.serve(1.0), turns.serve(1.0 + GATHER_S)) == ([], [soon])
    late = turns.join("a", RETURN_S + 2)
    assert turns.serve(RETURN_S + 2) == [late]


def test_further_requests_of_one_answer_keep_the_place_of_the_first() -> None:
    turns = Turns(rate=1)
    turns.join("a", 0.0)
    turns.serve(0.0)
    other, further = turns.join("b", 0.0), turns.join("a", 0.0, anew=False)
    assert turns.serve(1.0) == [other]
    assert turns.serve(2.0) == [further]
    third, anew = turns.join("a", 2.0, anew=False), turns.join("b", 2.0)
    assert turns.serve(3.0) == [third]
    assert turns.serve(4.0) == [anew]


@given(
    rate=st.floats(0.5, 50),
    steps=st.lists(
        st.tuples(st.floats(0, 2), st.sets(st.integers(0, 9), max_size=6), st.integers(0, 3)), max_size=40
    ),
)
def test_no_stretch_of_time_sees_more_than_the_rate_and_the_best_place_goes_first(
    rate: float, steps: list[tuple[float, set[int], int]]
) -> None:
    turns, now = Turns(rate=rate), 0.0
    waiting: list[Ticket] = []
    served_at: list[float] = []
    last: dict[object, int] = {}
    for pause, names, leaving in steps:
        now += pause
        waiting += [turns.join(name, now) for name in names if name not in {ticket.who for ticket in waiting}]
        for ticket in waiting[:leaving]:
            turns.leave(ticket, now)
        waiting = waiting[leaving:]
        for ticket in turns.serve(now):
            best = min(last.get(each.who, 0) for each in waiting)
            assert last.get(ticket.who, 0) == best
            waiting.remove(ticket)
            served_at.append(now)
            last[ticket.who] = len(served_at)
        assert not waiting or (turns.wait_s(now) or 0) > 0
    for index, begin in enumerate(served_at):
        for number, end in enumerate(served_at[index:], start=1):
            assert number <= rate * (end - begin) + max(1.0, rate * BURST_S) + 1e-6


@given(st.integers(1, 30), st.integers(1, 12), st.integers(1, 5))
def test_all_who_go_on_asking_are_served_equally_often(askers: int, rate: int, patience_s: int) -> None:
    """Everybody asks each second, and leaves when that took too long."""
    turns, served = Turns(rate=rate), Counter[object]()
    waiting: dict[object, tuple[int, Ticket]] = {}
    for second in range(60):
        for name, (since, ticket) in list(waiting.items()):
            if second - since >= patience_s:
                turns.leave(ticket, second)
                del waiting[name]
        for name in range(askers):
            if name not in waiting:
                waiting[name] = (second, turns.join(name, second))
        for tenth in range(10):
            for ticket in turns.serve(second + tenth / 10):
                served[ticket.who] += 1
                del waiting[ticket.who]
    assert max(served.values()) - min(served[name] for name in range(askers)) <= 1
