"""What a bench found: figures with the way they were taken, as a table or as JSON. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from pydantic import TypeAdapter

from scaler.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number: a ratio to a baseline, or a measured value that a ratio was made of.

    Attributes:
        name: what it is.
        value: the median over the repetitions.
        unit: `x` for a ratio, else seconds, 1/s and so on.
        how: how it was taken, in one line.
        goal: upper bound, or None if there is none.
        at_least: lower bound, or None if there is none.
        runs: the values of all repetitions, in order.
    """

    name: str
    value: float
    unit: str
    how: str
    goal: float | None = None
    at_least: float | None = None
    runs: tuple[float, ...] = ()

    @property
    def is_met(self) -> bool | None:
        """Whether the goal is met; None without one."""
        if self.goal is None and self.at_least is None:
            return None
        above = self.goal is not None and self.value > self.goal
        return not above and (self.at_least is None or self.value >= self.at_least)


Found = Mapping[str, Sequence[Figure]]
"""Figures by the name of the bench."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """What `body` gives."""

    facts: dict[str, str]
    benches: dict[str, list[Figure]]


def figure(
    name: str,
    runs: Sequence[float],
    unit: str,
    how: str,
    *,
    goal: float | None = None,
    at_least: float | None = None,
) -> Figure:
    """Sum up repetitions by their median."""
    return Figure(
        name=name, value=median(runs), unit=unit, how=how, goal=goal, at_least=at_least, runs=tuple(runs)
    )


def ratios(ours: Sequence[float], baseline: Sequence[float]) -> list[float]:
    """Divide run by run, so that both of a pair saw the same machine."""
    return [one / base for one, base in zip(ours, baseline, strict=True)]


def percentile(values: Sequence[float], share: float) -> float:
    """Give the value that `share` (0 to 1) of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def table(bench: str, figures: Sequence[Figure]) -> str:
    """Lay figures out for people."""
    rows = [(one.name, _number(one), _goal(one), one.how) for one in figures]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [f"{bench}"]
    for name, value, goal, how in rows:
        lines.append(f"  {name:<{widths[0]}}  {value:>{widths[1]}}  {goal:<{widths[2]}}  {how}".rstrip())
    return "\n".join(lines)


def page(facts: Mapping[str, str], found: Found) -> str:
    """Lay a whole run out for people: what it ran on, then a table a bench."""
    width = max((len(name) for name in facts), default=0)
    about = "\n".join(f"{name:<{width}}  {value}" for name, value in facts.items())
    return "\n\n".join([about, *(table(bench, figures) for bench, figures in found.items() if figures)])


def body(facts: Mapping[str, str], found: Found) -> dict[str, Any]:
    """Give a whole run for machines."""
    return {
        "facts": dict(facts),
        "benches": {
            bench: [asdict(one) | {"is_met": one.is_met} for one in figures]
            for bench, figures in found.items()
        },
    }


def read_body(text: str, where: str) -> tuple[Mapping[str, str], Found]:
    """Read what `body` gave, as text.

    Raises:
        ConfigError: it is something else; `where` names the file.
    """
    try:
        read = TypeAdapter(_Run).validate_json(text, strict=True)
    except ValueError as exc:
        raise ConfigError(f"{where}: is not what 'scaler bench -o json' writes") from exc
    return read.facts, read.benches


def _number(one: Figure) -> str:
    text = f"{_digits(one.value)} {one.unit}".rstrip()
    if len(one.runs) > 1:
        text += f" ({_digits(min(one.runs))}..{_digits(max(one.runs))})"
    return text


def _digits(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def _goal(one: Figure) -> str:
    bounds = []
    if one.goal is not None:
        bounds.append(f"at most {one.goal:g}")
    if one.at_least is not None:
        bounds.append(f"at least {one.at_least:g}")
    return f"{' and '.join(bounds)}: {'met' if one.is_met else 'MISSED'}" if bounds else ""
