"""What falls of a ready count tell, and what they must never be taken for."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

import pytest

from scaler.planning.counts import Counts
from scaler.planning.plan import plan
from scaler.planning.takings import Takings, observe
from tests.planning.builders import NOW, reading, trigger


def _at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def _see(before: Takings | None, ready: float, second: float, *, running: int, pending: int = 0,
         ended: tuple[float, ...] = (), target: float = 1) -> Takings:  # fmt: skip
    counts = Counts(running=running, pending=pending, ended=tuple(_at(e) for e in ended))
    return observe(before, ready=ready, target=target, as_of=_at(second), counts=counts)


def test_a_fall_means_that_so_many_executions_hold_a_message() -> None:
    first = _see(None, 60, 0, running=0)
    assert first.held == 0
    assert _see(first, 54, 1, running=6).held == 6


def test_never_more_than_have_started() -> None:
    first = _see(None, 60, 0, running=0)
    assert _see(first, 50, 1, running=6, pending=2).held == 4


def test_an_end_takes_one_off_and_a_new_taking_puts_it_back() -> None:
    held = Takings(ready=54, as_of=_at(1), held=6)
    ended = _see(held, 54, 2, running=5, ended=(1.5,))
    assert ended.held == 5
    assert _see(ended, 53, 3, running=6, ended=(1.5,)).held == 6


def test_an_execution_that_took_and_ended_between_two_readings_leaves_nothing() -> None:
    first = _see(None, 2, 0, running=1)
    assert _see(first, 1, 2, running=1, ended=(1.0,)).held == 0


def test_one_that_ended_after_the_figures_is_left_for_the_next_reading() -> None:
    first = _see(None, 2, 0, running=2)
    during = _see(first, 2, 1, running=1, ended=(1.3,))
    assert _see(during, 1, 2, running=1, ended=(1.3,)).held == 0


def test_an_end_that_becomes_known_after_a_later_reading_is_still_taken_off() -> None:
    first = _see(None, 6, 0, running=2)
    both = _see(first, 4, 1, running=2)
    meanwhile = _see(both, 4, 2, running=2)  # one of them ended at 1.9, but this is not recorded yet
    assert (both.held, meanwhile.held) == (2, 2)
    assert _see(meanwhile, 4, 3, running=2, ended=(1.9,)).held == 1


def test_ends_that_are_forgotten_are_not_taken_off_again() -> None:
    held = Takings(ready=4, as_of=_at(1), held=2, ended=3)
    counts = Counts(running=2, pending=0, ended=(_at(1.5),), forgotten=3)
    assert observe(held, ready=4, target=1, as_of=_at(2), counts=counts).held == 1


def test_a_rise_may_be_messages_given_back() -> None:
    held = Takings(ready=0, as_of=_at(1), held=2)
    assert _see(held, 1, 2, running=2).held == 1
    assert _see(held, 5, 2, running=2).held == 0


def test_a_target_above_one_rounds_so_that_less_is_held() -> None:
    first = _see(None, 20, 0, running=4, target=5)
    assert _see(first, 11, 1, running=4, target=5).held == 1


def test_an_older_reading_changes_nothing() -> None:
    held = Takings(ready=3, as_of=_at(5), held=2)
    assert _see(held, 0, 4, running=3) == held


@pytest.mark.parametrize("seed", range(200))
def test_whatever_workers_and_publishers_do_no_message_gets_two_executions(seed: int) -> None:
    """A small world: workers take, acknowledge, are pushed a second message, give it back, crash;
    their ends become known later than they are dated."""
    world = _World(random.Random(seed))
    for _ in range(400):
        world.step()
        live = len(world.live)
        assert live <= 5
        starting = sum(1 for e in world.live.values() if e == "starting")
        assert starting <= world.ready + world.pushed
    assert world.launched > 0


class _World:
    """Ready messages, and executions that are starting, working (holds one), or done (may hold a pushed one)."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.now = 0.0
        self.total = rng.randint(1, 25)
        self.arrivals = rng.choice([0.0, 0.05, 0.3])
        self.ready = self.total
        self.pushed = 0
        self.live: dict[int, str] = {}
        self.ended: list[float] = []
        self.unrecorded: list[float] = []
        self.launched = 0
        self.takings: Takings | None = None

    def step(self) -> None:
        self.now += 1.0
        if self.rng.random() < self.arrivals:
            self.ready += 1
            self.total += 1
        for name, state in list(self.live.items()):
            self._move(name, state)
        if self.rng.random() < 0.7:
            self._poll()
        if self.rng.random() < 0.5:
            self.ended += self.unrecorded
            self.unrecorded = []

    def _move(self, name: int, state: str) -> None:
        if self.rng.random() > 0.3:
            return
        if state == "starting" and self.ready:
            self.ready -= 1
            self.live[name] = "working"
        elif state == "working" and self.rng.random() < 0.1:
            self.ready += 1  # crashed
            self._end(name)
        elif state == "working":
            self.live[name] = "done"
            if self.ready and self.rng.random() < 0.5:
                self.ready -= 1
                self.pushed += 1
                self.live[name] = "pushed"
        elif state in ("done", "pushed"):
            if state == "pushed":
                self.pushed -= 1
                self.ready += 1
            self._end(name)

    def _end(self, name: int) -> None:
        del self.live[name]
        self.unrecorded.append(self.now)

    def _poll(self) -> None:
        self.now += 0.1
        counts = Counts(
            running=len(self.live) + len(self.unrecorded),
            pending=0,
            ended=tuple(_at(e) for e in self.ended[-20:]),
            forgotten=len(self.ended[:-20]),
        )
        as_of = _at(self.now)
        self.takings = observe(self.takings, ready=self.ready, target=1, as_of=as_of, counts=counts)
        item = reading(self.ready, includes_taken=False, as_of=as_of)
        item = type(item)(
            rule=item.rule, target=item.target, reading=item.reading, seen_held=self.takings.held
        )
        launch = plan(trigger(high=5), (item,), counts, as_of).launch
        for _ in range(launch):
            self.launched += 1
            self.live[self.launched] = "starting"
