"""Bench `detect`: from a message written to its container started, at the shortest interval of polling."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from scaler.bench.feed import Feed, open_feed
from scaler.bench.report import Figure, figure, percentile
from scaler.bench.stage import Stage
from scaler.bench.yard import PATIENCE_S, Yard, open_yard
from scaler.rig.daemon import Daemon
from scaler.rig.engine_events import EngineEvents

SAMPLES: Final = 30
INTERVAL_S: Final = 1
HALF_S: Final = INTERVAL_S / 2
STRIDE: Final = 7  # phases are taken in an order that nothing of the machine follows
LOOKS_S: Final = 1.2  # after an end the daemon looks again for a second; that is not to find the next message


@dataclass(slots=True, kw_only=True)
class Samples:
    """Seconds: message to started, decision to started, and of bare containers create sent to started."""

    detected: list[float] = field(default_factory=list)
    decided: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)


def run(stage: Stage) -> Sequence[Figure]:
    """Measure; needs an engine."""
    count = stage.options.size(SAMPLES)
    found = []
    with open_yard(stage) as yard:
        for number in range(stage.options.repeat):
            daemon = Daemon(yard.plan(stage.folder / f"daemon-{number}"), stage.connect)
            with daemon.running():
                yard.learn(daemon)
                found.append(_sample(yard, daemon, count))
            stage.options.say(
                f"detect {number + 1}/{stage.options.repeat}: p50 {percentile(found[-1].detected, 0.5):.3f} s, "
                f"bare start p50 {percentile(found[-1].bare, 0.5):.3f} s"
            )
    return _figures(found, count)


def phases(count: int) -> list[float]:
    """Spread so many moments evenly over the interval, in a scattered order, seconds. Pure."""
    stride = next(one for one in range(STRIDE, STRIDE + count + 1) if math.gcd(one, count) == 1)
    return [((number * stride) % count + 0.5) / count * INTERVAL_S for number in range(count)]


def next_at(phase: float, begun: float, now: float) -> float:
    """Give the next moment with that phase of a cycle that began once. Pure."""
    return begun + phase + (math.floor((now - begun - phase) / INTERVAL_S) + 1) * INTERVAL_S


def _sample(yard: Yard, daemon: Daemon, count: int) -> Samples:
    samples = Samples()
    with open_feed(yard, daemon, at_most=1) as feed, yard.bare_events() as bare:
        begun = feed.first_look()
        started = []
        for phase in phases(count):
            time.sleep(LOOKS_S)
            time.sleep(max(0.0, next_at(phase, begun, time.time()) - time.time()))
            started.append(_detect(feed, samples))
            samples.bare.append(_start(yard, bare))
        decided = [one.decided for one in feed.begun()]
    samples.decided = [start - at for start, at in zip(started, decided, strict=True)]
    return samples


def _detect(feed: Feed, samples: Samples) -> float:
    feed.put()
    written = time.time()
    started = feed.next_start()
    samples.detected.append(started - written)
    feed.rest()
    return started


def _start(yard: Yard, bare: EngineEvents) -> float:
    """Give the seconds from sending create to when the engine says that a bare container has started."""
    known, begun = set(bare.moments("start")), time.time()
    yard.drained(1, at_once=1)
    return bare.next_start(known, PATIENCE_S)[1] - begun


def _figures(found: Sequence[Samples], count: int) -> list[Figure]:
    def of(values: Sequence[Sequence[float]], share: float) -> list[float]:
        return [percentile(one, share) for one in values]

    detected, bare = [one.detected for one in found], [one.bare for one in found]
    p50, start = of(detected, 0.5), of(bare, 0.5)
    reach = [ours / (HALF_S + raw) for ours, raw in zip(p50, start, strict=True)]
    own = [(percentile(one.decided, 0.5) - raw) * 1e3 for one, raw in zip(found, start, strict=True)]
    how = f"{count} messages, one at a time, at phases spread evenly over pollingInterval {INTERVAL_S}"
    return [
        figure(
            "p50 to half an interval and a bare start",
            reach,
            "x",
            f"p50 / ({HALF_S:g} s + bare start p50)",
            goal=1.0,
        ),
        figure("p50", p50, "s", f"message written to started, by the engine's clock; {how}"),
        figure("p99", of(detected, 0.99), "s", "the same"),
        figure(
            "bare start p50", start, "s", "create sent to started, by the engine's clock; in turns with ours"
        ),
        figure("bare start p99", of(bare, 0.99), "s", "the same"),
        figure("the daemon's own part", own, "ms", "p50 of decision to started, less bare start p50"),
    ]
