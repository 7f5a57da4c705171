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
from scaler.bench.yard import PATIENCE_S, Yard, check_done, open_yard
from scaler.rig.daemon import Daemon
from scaler.rig.engine_events import EngineEvents

SAMPLES: Final = 30
INTERVAL_S: Final = 1
HALF_S: Final = INTERVAL_S / 2
STRIDE: Final = 7  # phases are taken in an order that nothing of the machine follows
READY: Final = 2
"""Networks that are made ahead in the second half of each repetition, which has the opt-in `readyNetworks`."""
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
    plain: list[Samples] = []
    ready: list[Samples] = []
    with open_yard(stage) as yard:
        for number in range(stage.options.repeat):
            for networks, found in ((0, plain), (READY, ready)):
                plan = yard.plan(stage.folder / f"daemon-{number}-{networks}", readyNetworks=networks)
                daemon = Daemon(plan, stage.connect)
                with daemon.running():
                    yard.learn(daemon)
                    found.append(_sample(yard, daemon, count))
            stage.options.say(
                f"detect {number + 1}/{stage.options.repeat}: p50 {_p50(plain[-1]):.3f} s, with ready networks "
                f"{_p50(ready[-1]):.3f} s, bare start p50 {percentile(plain[-1].bare, 0.5):.3f} s"
            )
    return _figures(plain, ready, count)


def _p50(samples: Samples) -> float:
    return percentile(samples.detected, 0.5)


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
    written = time.time()
    feed.put()
    started = feed.next_start()
    samples.detected.append(started - written)
    feed.rest()
    return started


def _start(yard: Yard, bare: EngineEvents) -> float:
    """Give the seconds from sending create to when the engine says that a bare container has started."""
    spool = yard.spool(1)
    body, known, begun = yard.body(spool), set(bare.moments("start")), time.time()
    yard.bout(body, 1, at_once=1)
    check_done(spool, 1)
    return bare.next_start(known, PATIENCE_S)[1] - begun


def _figures(plain: Sequence[Samples], ready: Sequence[Samples], count: int) -> list[Figure]:
    def of(values: Sequence[Sequence[float]], share: float) -> list[float]:
        return [percentile(one, share) for one in values]

    detected, bare = [one.detected for one in plain], [one.bare for one in plain]
    start = of(bare, 0.5)
    own = [(percentile(one.decided, 0.5) - raw) * 1e3 for one, raw in zip(plain, start, strict=True)]
    how = f"{count} messages, one at a time, at phases spread evenly over pollingInterval {INTERVAL_S}"
    return [
        figure(
            "p50 to half an interval and a bare start",
            _reach(plain),
            "x",
            f"p50 / ({HALF_S:g} s + bare start p50)",
            goal=1.0,
        ),
        figure(
            "the same, with ready networks",
            _reach(ready),
            "x",
            f"readyNetworks: {READY}, bare starts without",
        ),
        figure("p50", of(detected, 0.5), "s", f"message written to started, by the engine's clock; {how}"),
        figure("p99", of(detected, 0.99), "s", "the same"),
        figure("p50 with ready networks", [_p50(one) for one in ready], "s", "the same"),
        figure(
            "bare start p50", start, "s", "create sent to started, by the engine's clock; in turns with ours"
        ),
        figure("bare start p99", of(bare, 0.99), "s", "the same"),
        figure("the daemon's own part", own, "ms", "p50 of decision to started, less bare start p50"),
    ]


def _reach(found: Sequence[Samples]) -> list[float]:
    return [_p50(one) / (HALF_S + percentile(one.bare, 0.5)) for one in found]
