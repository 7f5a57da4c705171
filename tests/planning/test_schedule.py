"""When schedules are due, against an oracle that tries every minute around every change of clocks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.model.job import ScheduleTrigger
from scaler.planning.schedule import due_between, next_due, next_fire

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
YEARS = range(2024, 2033)
EXPRESSIONS = (
    "30 2 * * *",
    "0 0 * * *",
    "15,45 0-3 * * *",
    "*/20 * * * *",
    "5 */2 * * *",
    "59 23 * * sun",
    "30 1 1 * mon",
)


# --- the oracle: no calendar arithmetic, it looks at every single minute ------------------------------------


def _field(text: str, low: int, high: int) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, _, last = (f"{low}-{high}" if span == "*" else span).partition("-")
        found |= set(range(int(first), int(last or first) + 1, int(step or 1)))
    return found


@lru_cache(maxsize=64)
def _fields(expression: str) -> tuple[set[int], ...]:
    names = {name: str(i) for i, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
    minute, hour, day, month, weekday = expression.split()
    return (
        _field(minute, 0, 59),
        _field(hour, 0, 23),
        _field(day, 1, 31),
        _field(month, 1, 12),
        _field(names.get(weekday, weekday), 0, 7),
    )


def _matches(expression: str, wall: datetime) -> bool:
    minutes, hours, days, months, weekdays = _fields(expression)
    _, _, day, _, weekday = expression.split()
    by_day, by_weekday = wall.day in days, (wall.weekday() + 1) % 7 in weekdays
    both = day.startswith("*") or weekday.startswith("*")
    is_day = (by_day and by_weekday) if both else (by_day or by_weekday)
    return wall.minute in minutes and wall.hour in hours and wall.month in months and is_day


def _oracle(expression: str, walls: list[tuple[datetime, datetime]]) -> list[datetime]:
    """Give due instants from every minute's (instant, wall time)."""
    minute, hour = expression.split()[:2]
    if minute.startswith("*") or hour.startswith("*"):
        return [instant for instant, wall in walls if _matches(expression, wall)]
    due, shown = set(), set()
    latest = walls[0][1]
    for instant, wall in walls:
        if wall not in shown and _matches(expression, wall):
            due.add(instant)
        skipped = latest + MINUTE
        while skipped < wall:
            if _matches(expression, skipped):
                due.add(instant)
            skipped += MINUTE
        shown.add(wall)
        latest = max(latest, wall)
    return sorted(due)


def _changes(zone: str) -> tuple[tuple[datetime, timedelta, timedelta], ...]:
    """Give every change of a zone's clocks in the years: when, and the offsets before and after."""
    tz, found = ZoneInfo(zone), []
    at, end = datetime(YEARS[0], 1, 1, tzinfo=UTC), datetime(YEARS[-1] + 1, 1, 1, tzinfo=UTC)
    offset = at.astimezone(tz).utcoffset()
    while at < end:
        after = (at + DAY).astimezone(tz).utcoffset()
        if after != offset and offset is not None and after is not None:
            moment = next(
                at + i * MINUTE for i in range(1441) if (at + i * MINUTE).astimezone(tz).utcoffset() != offset
            )
            found.append((moment, offset, after))
            offset = after
        at += DAY
    return tuple(found)


def _distinct_changes() -> Iterator[tuple[str, datetime]]:
    """Give each change once for all zones that share it."""
    seen = set()
    for zone in sorted(available_timezones()):
        for change in _changes(zone):
            if change not in seen:
                seen.add(change)
                yield zone, change[0]


CHANGES = tuple(_distinct_changes())


def test_there_are_changes_of_many_kinds() -> None:
    zones = {zone for zone, _ in CHANGES}
    assert len(CHANGES) > 250
    assert {"America/New_York", "Africa/Casablanca", "Australia/Lord_Howe"} & zones


def test_at_every_change_of_clocks_of_every_zone_each_is_due_when_the_oracle_says() -> None:
    wrong = []
    for zone, change in CHANGES:
        start, end = change - 7 * HOUR, change + 5 * HOUR
        walls = [
            (at, at.astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0))
            for at in (start + i * MINUTE for i in range(int((end - start) / MINUTE) + 1))
        ]
        for expression in EXPRESSIONS:
            wanted = [at for at in _oracle(expression, walls) if start + 3 * HOUR < at]
            trigger = ScheduleTrigger(cron=expression, time_zone=zone)
            got = list(due_between(trigger, start + 3 * HOUR, end))
            if got != wanted:
                wrong.append((expression, zone, change, got, wanted))
    assert wrong == []


@given(
    zone=st.sampled_from(["Europe/Berlin", "America/Santiago", "Africa/Casablanca", "Asia/Kolkata", "UTC"]),
    day=st.dates(date(2024, 1, 1), date(2032, 12, 30)),
    minute=st.integers(0, 1439),
    expression=st.sampled_from(EXPRESSIONS),
)
@settings(max_examples=300, deadline=None)
def test_the_next_one_is_later_and_none_lies_between(
    zone: str, day: date, minute: int, expression: str
) -> None:
    after = datetime(day.year, day.month, day.day, tzinfo=UTC) + minute * MINUTE
    found = next_fire(expression, after, zone)
    assert found > after
    middle = after + (found - after) / 2
    assert next_fire(expression, middle, zone) == found


def test_the_rules_at_the_changes_of_berlin() -> None:
    spring, autumn = datetime(2026, 3, 28, 12, tzinfo=UTC), datetime(2026, 10, 24, 12, tzinfo=UTC)
    berlin = "Europe/Berlin"
    assert next_fire("30 2 * * *", spring, berlin) == datetime(2026, 3, 29, 1, 0, tzinfo=UTC)
    assert next_fire("30 2 * * *", autumn, berlin) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    once = next_fire("30 2 * * *", datetime(2026, 10, 25, 0, 30, tzinfo=UTC), berlin)
    assert once == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)
    twice = ScheduleTrigger(cron="0 */2 * * *", time_zone=berlin)
    night = list(due_between(twice, datetime(2026, 10, 24, 21, 30, tzinfo=UTC), autumn + 16 * HOUR))
    assert [at.hour for at in night] == [22, 0, 1, 3]  # 0:00, 2:00, 2:00 again, 4:00


def test_several_expressions_are_one_schedule_and_a_shared_moment_is_one_due_time() -> None:
    trigger = ScheduleTrigger(cron="0 6 * * *", also=("0 */6 * * *", "30 12 * * *"))
    start = datetime(2026, 5, 1, 5, tzinfo=UTC)
    hours = [at.strftime("%H:%M") for at in due_between(trigger, start, start + 14 * HOUR)]
    assert hours == ["06:00", "12:00", "12:30", "18:00"]


def test_an_expression_that_is_due_once_in_four_years_holds_up_no_other() -> None:
    start = datetime(2026, 5, 1, 5, tzinfo=UTC)
    trigger = ScheduleTrigger(cron="0 6 * * *", also=("0 0 29 2 *",), time_zone="Europe/Paris")
    assert next_due(trigger, start) == datetime(2026, 5, 2, 4, tzinfo=UTC)
    assert next_fire("0 0 29 2 *", start, "Europe/Paris") == datetime(2028, 2, 28, 23, tzinfo=UTC)
