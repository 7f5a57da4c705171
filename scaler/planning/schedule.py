"""When cron expressions are due, in any time zone.

Expressions mean wall time. What that is at a change of clocks is the rule of Debian's cron, spelled out:

- **interval** expressions (the minute or the hour begins with `*`) are due at each instant whose wall time
  matches: not at times that a change leaves out, twice at times that it repeats;
- **fixed** expressions are due once for each matching wall time: at its first instant where it is repeated,
  and where it is left out, at the first instant after the gap.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from cronsim import CronSim

from scaler.model.job import ScheduleTrigger

_DAY = timedelta(days=1)
_MINUTE = timedelta(minutes=1)
_MOST_GAP = timedelta(days=1, hours=2)
"""No change of clocks skips more: the largest known is a whole day, at the date line."""


def next_fire(expression: str, after: datetime, zone: str = "UTC") -> datetime:
    """Give the first due time strictly after a moment, aware UTC.

    Args:
        expression: five-field cron expression.
        after: aware.
        zone: IANA name.

    Raises:
        cronsim.CronSimError: the expression is not one.
        StopIteration: it is never due again.
    """
    after = after.astimezone(UTC)
    if zone == "UTC":
        return next(CronSim(expression, after))
    tz, is_interval = _zone(zone), _is_interval(expression)
    shift = _shift(tz, after)
    wall = _wall(after, tz) - shift
    found: datetime | None = None
    for wanted in CronSim(expression, wall - _MINUTE if shift else wall):
        if found is not None and wanted > _wall(found, tz) + shift:
            break
        for instant in _instants(wanted, tz, is_interval=is_interval):
            if instant > after and (found is None or instant < found):
                found = instant
        if found is not None and not shift and not _shift(tz, found):
            break
    if found is None:
        raise StopIteration
    return found


def next_due(trigger: ScheduleTrigger, after: datetime) -> datetime:
    """Give the first moment strictly after another at which any of a trigger's expressions is due.

    Raises:
        StopIteration: none is due again.
    """
    found = []
    for expression in trigger.crons:
        try:
            found.append(next_fire(expression, after, trigger.time_zone))
        except StopIteration:
            continue
    if not found:
        raise StopIteration
    return min(found)


def due_between(trigger: ScheduleTrigger, after: datetime, until: datetime) -> Iterator[datetime]:
    """Give all due times in `(after, until]`, in order, each once."""
    while True:
        try:
            after = next_due(trigger, after)
        except StopIteration:
            return
        if after > until:
            return
        yield after


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def _is_interval(expression: str) -> bool:
    minute, hour = expression.split()[:2]
    return minute.startswith("*") or hour.startswith("*")


def _wall(instant: datetime, tz: ZoneInfo) -> datetime:
    """Give what a clock on the wall shows, without a zone."""
    return instant.astimezone(tz).replace(tzinfo=None, fold=0)


def _shift(tz: ZoneInfo, moment: datetime) -> timedelta:
    """Give by how much the clocks change within two days around a moment; 0 nearly always."""
    offsets = [(moment + days * _DAY).astimezone(tz).utcoffset() or timedelta() for days in (-2, -1, 0, 1, 2)]
    return max(offsets) - min(offsets)


def _instants(wall: datetime, tz: ZoneInfo, *, is_interval: bool) -> tuple[datetime, ...]:
    """Give the instants at which a wall time is due: none, one or two."""
    both = sorted({wall.replace(tzinfo=tz, fold=fold).astimezone(UTC) for fold in (0, 1)})
    real = tuple(instant for instant in both if _wall(instant, tz) == wall)
    if is_interval:
        return real
    return real[:1] or (_gap_end(wall, tz, both[0]),)


def _gap_end(wall: datetime, tz: ZoneInfo, before: datetime) -> datetime:
    """Give the first instant whose wall time is later than one that was left out."""
    low, high = before - _MOST_GAP, before + _MOST_GAP
    while high - low > _MINUTE:  # wall time grows over a gap, so halving finds it
        middle = (low + (high - low) / 2).replace(second=0, microsecond=0)
        if middle <= low:
            middle = low + _MINUTE
        if _wall(middle, tz) > wall:
            high = middle
        else:
            low = middle
    return high
