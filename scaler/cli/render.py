"""Prints: tables that fit the terminal, and JSON for programs."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import click

GAP = "  "
_UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def is_terminal() -> bool:
    """Say whether a person reads standard output directly."""
    return sys.stdout.isatty()


def uses_colour() -> bool:
    """Say whether colour is welcome: on a terminal, unless NO_COLOR is set (to anything)."""
    return is_terminal() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def print_json(value: object) -> None:
    """Print a JSON document."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    click.echo(text.encode("utf-8", "backslashreplace").decode())


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(width - 1, 0)] + "…"


def _widths(rows: Sequence[Sequence[str]], room: int | None) -> list[int]:
    """Choose column widths: as wide as the widest value; on a terminal the widest columns give way."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if room is None:
        return widths
    room -= len(GAP) * (len(widths) - 1)
    while sum(widths) > room and max(widths) > 8:
        widest = widths.index(max(widths))
        widths[widest] -= min(sum(widths) - room, max(widths) - 8)
    return widths


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, empty: str = "") -> None:
    """Print a table; without rows only the text `empty`, on standard error."""
    if not rows:
        click.echo(empty, err=True)
        return
    texts = [[_cell(value) for value in row] for row in rows]
    room = shutil.get_terminal_size().columns if is_terminal() else None
    widths = _widths([columns, *texts], room)
    head = _line(columns, widths)
    click.echo(click.style(head, bold=True) if uses_colour() else head)
    for row in texts:
        click.echo(_line(row, widths))


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [_cut(text, width).ljust(width) for text, width in zip(row, widths, strict=True)]
    return GAP.join(cells).rstrip()


def _cell(value: object) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, float):
        return f"{value:g}"
    return " ".join(str(value).split())


def pairs(entries: Sequence[tuple[str, object]]) -> None:
    """Print names and values, one a line, values aligned."""
    width = max(len(name) for name, _value in entries)
    for name, value in entries:
        click.echo(f"{name.ljust(width)}{GAP}{_cell(value)}")


def read_time(text: str | None) -> datetime | None:
    """Read a time of the API; None if there is none or it cannot be read."""
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        return None


def clock_text(text: str | None) -> str:
    """Write a time of the API for people: UTC, whole seconds."""
    moment = read_time(text)
    return "-" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"


def span_text(span: timedelta) -> str:
    """Write a span with its two largest units, such as `1h 5m`."""
    left = max(int(span.total_seconds()), 0)
    parts: list[str] = []
    for size, unit in _UNITS:
        count, left = divmod(left, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2])


def between(start: str | None, end: str | None) -> str:
    """Write how long it was between two times of the API, short spans in fractions; `-` if one is not known."""
    begin, close = read_time(start), read_time(end)
    if begin is None or close is None:
        return "-"
    span = close - begin
    return span_text(span) if span >= timedelta(minutes=1) else f"{max(span.total_seconds(), 0):.1f}s"


def ended_at(properties: dict[str, Any]) -> str | None:
    """Give the time at which an execution ended; that of a stopped one stands in our own field only."""
    return properties.get("endTime") or properties.get("endedAt")


def ran_for(properties: dict[str, Any]) -> str:
    """Write how long an execution has run, or ran."""
    start, end = read_time(properties.get("startTime")), read_time(ended_at(properties))
    if start is None or (end is None and properties.get("status") not in ("Running", "Processing")):
        return "-"
    return span_text((end or datetime.now(UTC)) - start)
