"""Bench `launch`: what lies between a decision and the engine's calls, seen by a relay between daemon and engine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from scaler.bench.drain import best_at_once
from scaler.bench.feed import Begun, open_feed
from scaler.bench.report import Figure, figure, percentile
from scaler.bench.stage import Stage
from scaler.bench.yard import open_yard
from scaler.rig.bare_engine import engine_socket
from scaler.rig.daemon import Daemon, RigError
from scaler.rig.relay import Launch, open_relay

STEADY: Final = 40
BURST: Final = 80
ALWAYS: Final = 4
"""So many launches at once the executor lets through whatever it measures; a further one may have to wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overhead:
    """Of one launch, seconds: what the daemon adds to the engine's calls, and what it waited for a slot on purpose."""

    own: float
    slot: float


def run(stage: Stage) -> Sequence[Figure]:
    """Measure; needs an engine."""
    options = stage.options
    steady: list[list[Overhead]] = []
    burst: list[list[Overhead]] = []
    with open_yard(stage) as yard:
        learner = Daemon(yard.plan(stage.folder / "learner"), stage.connect)
        with learner.running():
            yard.learn(learner)
        best = best_at_once(yard, options)
        for number in range(options.repeat):
            folder = stage.room(f"run-{number}")
            with open_relay(folder, engine_socket()) as relay:
                daemon = Daemon(yard.plan(folder / "daemon", host=relay.address), stage.connect)
                with daemon.running():
                    with open_feed(yard, daemon, at_most=1) as feed:
                        for _ in range(options.size(STEADY)):
                            feed.put()
                            feed.rest()
                        steady.append(overheads(feed.begun(), relay.launches()))
                    with open_feed(yard, daemon, at_most=best) as feed:
                        feed.put(options.size(BURST))
                        feed.rest()
                        burst.append(overheads(feed.begun(), relay.launches()))
            options.say(
                f"launch {number + 1}/{options.repeat}: p99 {_percentile(steady[-1], 0.99):.1f} ms steady, "
                f"{_percentile(burst[-1], 0.99):.1f} ms in a burst"
            )
    return _figures(steady, burst, best)


def overheads(begun: Sequence[Begun], launches: Mapping[str, Launch]) -> list[Overhead]:
    """Tell for each replica what was between its decision and its calls. Pure.

    A replica whose create was sent after another launch had come to its end, of `ALWAYS` or more that were under way
    until then, is taken to have waited for that end; what follows it is the daemon's own.

    Raises:
        RigError: a launch was not seen.
    """
    found = []
    for one in begun:
        launch = launches.get(one.name)
        if launch is None:
            raise RigError(f"the relay did not see the launch of {one.name}")
        freed = [
            other.start_answered
            for other in launches.values()
            if one.asked < other.start_answered <= launch.create_sent
        ]
        slot = (
            max(freed) - one.asked if freed and _under_way(launches.values(), max(freed)) >= ALWAYS else 0.0
        )
        before = launch.create_sent - one.decided
        between = launch.start_sent - launch.create_answered
        found.append(Overhead(own=before + between - slot, slot=slot))
    return found


def _under_way(launches: Iterable[Launch], moment: float) -> int:
    """Count the launches until that moment, those that end in it included."""
    return sum(one.create_sent < moment <= one.start_answered for one in launches)


def _percentile(overheads: Sequence[Overhead], share: float) -> float:
    return percentile([one.own for one in overheads], share) * 1e3


def _figures(
    steady: Sequence[Sequence[Overhead]], burst: Sequence[Sequence[Overhead]], best: int
) -> list[Figure]:
    how = "(create sent - decision) + (start sent - create answered)"
    waited = [sum(one.slot > 0 for one in run) / len(run) * 100 for run in burst]
    slots = [percentile([one.slot for one in run], 0.99) * 1e3 for run in burst]
    figures = []
    for name, runs, goal in (
        ("steady", steady, f"{len(steady[0])} one at a time"),
        ("burst", burst, f"{len(burst[0])}, {best} at once, the engine's best"),
    ):
        p99 = [_percentile(run, 0.99) for run in runs]
        p50 = [_percentile(run, 0.5) for run in runs]
        figures.append(figure(f"{name}, p99", p99, "ms", f"{how}; {goal}", goal=50))
        figures.append(figure(f"{name}, p50", p50, "ms", "the same"))
    return [
        *figures,
        figure(
            "burst, waited for a slot",
            waited,
            "%",
            f"of launches, on purpose, {ALWAYS} or more being under way",
        ),
        figure(
            "burst, wait for a slot p99", slots, "ms", "not part of the above; 0 for those that did not wait"
        ),
    ]
