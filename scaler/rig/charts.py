"""Draws charts as SVG, without a library: lines over time, with axes that carry round numbers. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

BLUE, ORANGE, GREEN, GREY, RED = "#3b78d8", "#e08a1e", "#2f9e5b", "#8a94a0", "#c62f2f"
_WIDTH, _HEIGHT = 720, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 26, 28, 34
_TICKS = 5
_ROUND = (1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a chart. A value of None is a gap. `stepped`: each value holds until the next."""

    label: str
    colour: str
    points: Sequence[tuple[float, float | None]]
    stepped: bool = False
    dashed: bool = False


def chart(title: str, lines: Sequence[Line]) -> str:
    """Draw lines over seconds; the title names what the vertical axis counts."""
    known = [(x, y) for line in lines for x, y in line.points if y is not None]
    width = max((x for x, _ in known), default=0.0) or 1.0
    height = max((y for _, y in known), default=0.0) or 1.0
    across, up = ticks(width), ticks(height, least=1.0)
    frame = _Frame(
        across=max(width, across[-1] if across[-1] < width * 1.2 else width), up=max(height, up[-1])
    )
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">',
        f'<text class="title" x="{_LEFT}" y="16">{escape(title)}</text>',
        *(_rule(frame, value) for value in up),
        *(_mark(frame, value) for value in across if value <= frame.across),
        *(_path(frame, line) for line in lines),
        *_legend(lines),
        "</svg>",
    ]
    return "\n".join(parts)


def ticks(top: float, *, least: float = 0.0) -> list[float]:
    """Give round numbers from 0 to at least `top`, about five of them; `least` is the smallest step."""
    rough = max(top / _TICKS, least)
    scale = 10.0 ** math.floor(math.log10(rough))
    step = next(scale * one for one in _ROUND if scale * one >= rough)
    return [number * step for number in range(math.ceil(top / step - 1e-9) + 1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    across: float
    up: float

    def x(self, value: float) -> float:
        return _LEFT + value / self.across * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        return _HEIGHT - _BOTTOM - value / self.up * (_HEIGHT - _TOP - _BOTTOM)


def _rule(frame: _Frame, value: float) -> str:
    y = frame.y(value)
    return (
        f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text class="axis" x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>'
    )


def _mark(frame: _Frame, value: float) -> str:
    x = frame.x(value)
    return (
        f'<text class="axis" x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 16}" text-anchor="middle">{value:g} s</text>'
    )


def _path(frame: _Frame, line: Line) -> str:
    words: list[str] = []
    is_open = False
    for x, y in line.points:
        if y is None:
            is_open = False
            continue
        if is_open and line.stepped:
            words.append(f"H{frame.x(x):.1f}")
        words.append(f"{'L' if is_open else 'M'}{frame.x(x):.1f} {frame.y(y):.1f}")
        is_open = True
    dash = ' stroke-dasharray="5 4"' if line.dashed else ""
    return f'<path d="{"".join(words)}" fill="none" stroke="{line.colour}" stroke-width="2"{dash}/>'


def _legend(lines: Sequence[Line]) -> list[str]:
    parts, x = [], _WIDTH - _RIGHT
    for line in reversed(lines):
        x -= 9 * len(line.label) + 28
        parts.append(
            f'<rect x="{x}" y="8" width="12" height="4" fill="{line.colour}"/>'
            f'<text class="axis" x="{x + 17}" y="14">{escape(line.label)}</text>'
        )
    return parts


SPARKS = "▁▂▃▄▅▆▇█"


def spark(values: Sequence[float | None], *, width: int, top: float) -> str:
    """Draw the latest values as one line of text; what is not known is a blank."""
    shown = values[-width:] if width > 0 else ()
    return "".join(
        " " if value is None else SPARKS[min(len(SPARKS) - 1, int(value / (top or 1.0) * len(SPARKS)))]
        for value in shown
    )
