"""How long GitHub wants to be left alone, read from its answers.

Source: GitHub's REST documentation, "Rate limits" and "Best practices": `x-ratelimit-remaining` 0 means until
`x-ratelimit-reset`; `retry-after` means so many seconds; a limit without either means a minute.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from scaler.errors import PollError

DEFAULT_WAIT: Final = timedelta(seconds=60)
LIMITED: Final = (403, 429)


class RateLimited(PollError):
    """GitHub must not be asked before `until`."""

    def __init__(self, origin: str, until: datetime) -> None:
        self.until = until
        at = until.astimezone(UTC).strftime("%H:%M:%S UTC")
        text = f"{origin}: the rate limit of these credentials is used up until {at}; poll less often, "
        super().__init__(f"{text}name repos, or set enableEtags", reason="Throttled")


def limited_until(status: int, headers: Mapping[str, str], said: str, now: datetime) -> datetime | None:
    """Say until when an answer forbids further requests, None if it does not.

    Also an answer that was given may have been the last one: 0 remaining counts with any status.
    """
    is_refused = status in LIMITED
    waits = _whole(headers.get("Retry-After"))
    if is_refused and waits is not None:
        return now + timedelta(seconds=waits)
    resets = _whole(headers.get("X-RateLimit-Reset"))
    if headers.get("X-RateLimit-Remaining", "").strip() == "0" and resets is not None:
        until = datetime.fromtimestamp(resets, UTC)
        return until if until > now else None
    if status == 429 or (is_refused and "rate limit" in said.lower()):
        return now + DEFAULT_WAIT
    return None


def _whole(text: str | None) -> int | None:
    """Read a count of seconds; nonsense, and what no clock can hold, counts as absent."""
    found = (text or "").strip()
    return int(found) if found.isascii() and found.isdigit() and len(found) <= 10 else None
