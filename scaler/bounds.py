"""From the daemon's settings to the engine's limits, for every composition root alike."""

from __future__ import annotations

from scaler.config.settings import Settings
from scaler.engine.limits import Limits


def engine_limits(settings: Settings) -> Limits:
    """Give the limits that the settings ask for."""
    limits = settings.limits
    return Limits(
        poll_s=limits.poll_timeout.total_seconds(),
        source_gap_s=limits.refill_interval.total_seconds(),
        source_requests=limits.source_requests,
        launch_s=limits.launch_timeout.total_seconds(),
        stop_grace_s=limits.stop_grace.total_seconds(),
        call_s=limits.stop_grace.total_seconds() + 50.0,
        overall=limits.overall,
    )
