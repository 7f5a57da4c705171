"""When a cron expression fires next, in UTC."""

from __future__ import annotations

from datetime import UTC, datetime

from cronsim import CronSim


def next_fire(expression: str, after: datetime) -> datetime:
    """Give the first fire time strictly after a moment; both aware UTC.

    Raises:
        cronsim.CronSimError: the expression is not a five-field cron expression.
        StopIteration: it never fires again.
    """
    return next(CronSim(expression, after.astimezone(UTC)))
