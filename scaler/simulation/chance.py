"""Spans of time by chance, as people write them: `30s`, `exp:30s`, `uniform:10s..60s`, `lognormal:20s..3m`.

What is drawn depends on a seed and a name only, never on what was drawn before: so the same message takes the same time
under all settings that are compared.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from scaler.errors import ConfigError

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SPAN = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_P99 = 2.326
"""Standard deviations from the median to the 99th percentile."""

FORMS = "a time such as 30s, exp:30s (mean), uniform:10s..60s or lognormal:20s..3m (median..p99)"


def read_span(text: str, what: str) -> float:
    """Read a time such as `500ms`, `30s`, `2h5m`; a number alone is seconds.

    Raises:
        ConfigError: it is none; `what` names it.
    """
    plain = text.strip()
    if _NUMBER.fullmatch(plain):
        return float(plain)
    parts = _SPAN.findall(plain)
    if not parts or "".join(map("".join, parts)) != plain:
        raise ConfigError(f"{what}: got '{text}'; write a time such as 500ms, 30s, 5m or 24h")
    return sum(float(number) * UNITS[unit] for number, unit in parts)


def dice(seed: int, *names: object) -> random.Random:
    """Make chance that depends on a seed and names only."""
    return random.Random("/".join(map(str, (seed, *names))))  # noqa: S311 - no secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Spans:
    """A distribution of times, seconds. `kind`: fixed, exp (a), uniform (a..b), lognormal (median..p99), seen."""

    kind: str
    low: float = 0.0
    high: float = 0.0
    seen: Sequence[float] = ()

    def draw(self, chance: random.Random) -> float:
        """Draw one; never below 0."""
        if self.kind == "seen":
            return chance.choice(self.seen)
        if self.kind == "exp":
            return chance.expovariate(1 / self.low) if self.low > 0 else 0.0
        if self.kind == "uniform":
            return chance.uniform(self.low, self.high)
        if self.kind == "lognormal":
            return self.low * math.exp(chance.gauss(0, math.log(self.high / self.low) / _P99))
        return self.low


def read_spans(text: str, what: str) -> Spans:
    """Read a distribution.

    Raises:
        ConfigError: it is none; `what` names it.
    """
    kind, colon, rest = text.partition(":")
    if not colon:
        return Spans(kind="fixed", low=read_span(text, what))
    if kind == "exp":
        return Spans(kind="exp", low=read_span(rest, what))
    low_text, dots, high_text = rest.partition("..")
    if kind not in ("uniform", "lognormal") or not dots:
        raise ConfigError(f"{what}: got '{text}'; write {FORMS}")
    low, high = read_span(low_text, what), read_span(high_text, what)
    if high < low or (kind == "lognormal" and low <= 0):
        raise ConfigError(f"{what}: got '{text}'; the first time is above 0 and not above the second")
    return Spans(kind=kind, low=low, high=high)


def read_share(text: str, what: str) -> float:
    """Read a share such as `5%` or `0.05`.

    Raises:
        ConfigError: it is none; `what` names it.
    """
    percent = text.strip().endswith("%")
    try:
        value = float(text.strip().removesuffix("%")) / (100 if percent else 1)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise ConfigError(f"{what}: got '{text}'; write a share such as 5% or 0.05")
    return value
