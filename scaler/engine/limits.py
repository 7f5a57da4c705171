"""Every time limit and rate of the engine in one place, in seconds, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass

from scaler.model.capacity import UNLIMITED, GlobalLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Settings of the engine's hands; none of them changes what is decided.

    Attributes:
        poll_s: one poll in all, opening included; no more than the job's polling interval, if that is
            longer than `poll_least_s`, or a short interval could never reach a source that is slower.
        poll_least_s: what a poll may take however short the interval is; KEDA's clients wait as long.
        close_s: closing a scaler; then it is abandoned.
        look_again_s: when to look again after an execution ended: at once, then when a broker has had time
            to put back what a closed connection held.
        source_gap_s: least time between two polls outside the cadence of one source.
        source_requests: how many requests a second one source gets from all rules together; None for as many
            as they ask.
        launch_s: one launch in all, pulling an image included.
        stop_grace_s: between TERM and KILL.
        call_s: one stop or removal in all, the grace included.
        retry_first_s, retry_most_s: pause before asking an unavailable executor again, doubling.
        orphan_grace_s: how old a replica without a record must be before it is removed.
        sweep_s: pause between two searches for orphans.
        backoff_most_s: longest pause after launches that were refused.
        overall: what all executions of the daemon may take together.
        ended_kept_s: how long ends are remembered for readings that lag.
    """

    poll_s: float = 10.0
    poll_least_s: float = 3.0
    close_s: float = 5.0
    look_again_s: tuple[float, ...] = (0.0, 0.25, 1.0)
    source_gap_s: float = 0.05
    source_requests: float | None = None
    launch_s: float = 1800.0
    stop_grace_s: float = 10.0
    call_s: float = 60.0
    retry_first_s: float = 0.2
    retry_most_s: float = 5.0
    orphan_grace_s: float = 60.0
    sweep_s: float = 60.0
    backoff_most_s: float = 300.0
    overall: GlobalLimits = UNLIMITED
    ended_kept_s: float = 120.0

    def poll_timeout(self, polling_interval_s: float) -> float:
        """How long one poll of a job with that interval may take, seconds."""
        return min(self.poll_s, max(self.poll_least_s, polling_interval_s))
