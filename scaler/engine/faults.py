"""Failures are logged on change only: the first one, then silence and a count, then the recovery."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import structlog

log = structlog.get_logger("scaler")


@dataclass(slots=True)
class _Trouble:
    reason: str
    since: datetime
    count: int = 1


class FaultLog:
    """Remembers what is in trouble, by subject."""

    def __init__(self) -> None:
        self._troubles: dict[str, _Trouble] = {}
        self._limited: dict[str, str] = {}

    def is_quiet(self, subject: str) -> bool:
        """Whether nothing is noted of a subject, so that it is no news that it is well."""
        return subject not in self._troubles and subject not in self._limited

    def failed(self, subject: str, reason: str, message: str, now: datetime, **fields: object) -> None:
        """Note a failure; a line is written only if the subject was well or fails for another reason."""
        known = self._troubles.get(subject)
        if known is not None and known.reason == reason:
            known.count += 1
            return
        self._troubles[subject] = _Trouble(reason=reason, since=known.since if known else now)
        event = _kind(subject) + ".failed"
        log.warning(event, reason=reason, error=message, **fields)

    def well(self, subject: str, now: datetime, **fields: object) -> None:
        """Note a success; a line is written only if the subject was in trouble."""
        trouble = self._troubles.pop(subject, None)
        if trouble is not None:
            event = _kind(subject) + ".recovered"
            log.info(
                event,
                after_s=round((now - trouble.since).total_seconds(), 1),
                failures=trouble.count,
                **fields,
            )

    def limited(self, subject: str, why: str | None, **fields: object) -> None:
        """Note whether a reading is only a lower bound, and why; a line is written on a change only."""
        if self._limited.get(subject) == why:
            return
        event = _kind(subject) + (".exact" if why is None else ".lower_bound")
        if why is None:
            del self._limited[subject]
            log.info(event, **fields)
        else:
            self._limited[subject] = why
            log.warning(event, why=why, **fields)


def _kind(subject: str) -> str:
    return subject.split(":", 1)[0]
