"""When messages come in: made up from a rate that people write, such as `600/h@9h-17h+1000@0s`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scaler.errors import ConfigError
from scaler.simulation.chance import UNITS, dice, read_span

Arrivals = Sequence[tuple[float, int]]
"""Seconds from the beginning, and how many messages; in order."""

MOST_MESSAGES = 5_000_000
_FORMS = "write 10/m, 600/h@9h-17h (in that time only), 1000@0s (all at once), or several of them joined by +"
_BURST = re.compile(r"([0-9]+)@(\S+)")
_FLOW = re.compile(r"([0-9]+(?:\.[0-9]+)?)/(s|m|h|d)(?:@([^-\s]+)-(\S+))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """Messages at random, so many a second on average, between two moments (None: to the end), seconds."""

    rate: float
    begin_s: float = 0.0
    end_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """So many messages at one moment."""

    count: int
    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """What comes in for one job, or one rule (`job/rule`); `target` None: for every rule."""

    target: str | None
    parts: tuple[Flow | Burst, ...]


def read_rate(text: str) -> Rate:
    """Read `[JOB[/RULE]=]PART[+PART…]`.

    Raises:
        ConfigError: it has another form.
    """
    target, equals, rest = text.rpartition("=")
    parts = tuple(_read_part(part.strip(), text) for part in rest.split("+"))
    return Rate(target=target if equals else None, parts=parts)


def _read_part(text: str, whole: str) -> Flow | Burst:
    what = f"--rate {whole}"
    if match := _BURST.fullmatch(text):
        return Burst(count=int(match[1]), at_s=read_span(match[2], what))
    if match := _FLOW.fullmatch(text):
        rate = float(match[1]) / UNITS[match[2]]
        if match[3] is None:
            return Flow(rate=rate)
        begin, end = read_span(match[3], what), read_span(match[4], what)
        if end <= begin:
            raise ConfigError(f"{what}: got '{text}'; the second time lies behind the first")
        return Flow(rate=rate, begin_s=begin, end_s=end)
    raise ConfigError(f"{what}: got '{text}'; {_FORMS}")


def draw(parts: Iterable[Flow | Burst], *, span_s: float, seed: int, name: str) -> Arrivals:
    """Draw arrivals within a span, the same ones for the same seed and name.

    Raises:
        ConfigError: there would be more than can be simulated.
    """
    found: list[tuple[float, int]] = []
    for number, part in enumerate(parts):
        if isinstance(part, Burst):
            found += [(part.at_s, part.count)] if part.at_s <= span_s and part.count else []
            continue
        chance, end = dice(seed, "arrivals", name, number), min(span_s, part.end_s or span_s)
        _refuse_too_many(part.rate * max(0.0, end - part.begin_s))
        at = part.begin_s
        while part.rate > 0:
            at += chance.expovariate(part.rate)
            if at > end:
                break
            found.append((at, 1))
    _refuse_too_many(sum(count for _at, count in found))
    return sorted(found)


def _refuse_too_many(count: float) -> None:
    if count > MOST_MESSAGES:
        text = f"{count:.0f} messages; at most {MOST_MESSAGES} can be simulated: lower --rate or --for"
        raise ConfigError(text)
