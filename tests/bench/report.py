"""What a bench found: figures with the way they were taken, as a table or as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number: a ratio to a baseline, or a measured value that a ratio was made of.

    Attributes:
        name: what it is.
        value: the median over the repetitions.
        unit: `x` for a ratio, else seconds, 1/s and so on.
        how: how it was taken, in one line.
        goal: upper bound of a ratio, or None if there is none.
        runs: the values of all repetitions, in order.
    """

    name: str
    value: float
    unit: str
    how: str
    goal: float | None = None
    runs: tuple[float, ...] = ()

    @property
    def is_met(self) -> bool | None:
        """Whether the goal is met; None without one."""
        return None if self.goal is None else self.value <= self.goal


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line says of size and care.

    Attributes:
        repeat: repetitions, each of baseline and product in turn.
        quick: a tenth of the size, to see that the bench itself works.
        say: takes a line of progress.
    """

    repeat: int
    quick: bool
    say: Callable[[str], None]

    def size(self, full: int, *, least: int = 1) -> int:
        """Give the number of things to do."""
        return max(least, full // 10) if self.quick else full


def figure(name: str, runs: Sequence[float], unit: str, how: str, *, goal: float | None = None) -> Figure:
    """Sum up repetitions by their median."""
    return Figure(name=name, value=median(runs), unit=unit, how=how, goal=goal, runs=tuple(runs))


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


def as_json(found: dict[str, Sequence[Figure]]) -> str:
    """Give everything for machines: figures by the name of the bench."""
    return json.dumps(
        {
            bench: [asdict(one) | {"is_met": one.is_met} for one in figures]
            for bench, figures in found.items()
        },
        indent=2,
    )


def _number(one: Figure) -> str:
    text = f"{one.value:.3g} {one.unit}" if one.value < 100 else f"{one.value:.0f} {one.unit}"
    if len(one.runs) > 1:
        text += f" ({min(one.runs):.3g}..{max(one.runs):.3g})"
    return text


def _goal(one: Figure) -> str:
    if one.goal is None:
        return ""
    return f"goal {one.goal:g}: {'met' if one.is_met else 'MISSED'}"
