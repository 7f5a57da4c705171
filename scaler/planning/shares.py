"""Hands the shares of a source to executions: a share is in the hands of one execution at a time.

For sources whose parts cannot be worked on by two at once (Kafka's partitions), and whose own way to part them
among workers is no way for an execution that takes one message. What waits is counted share by share, so no
guess is needed of who holds what: a share whose execution has not ended, or ended after the reading was true, is
left alone, because the reading may still count what that execution has done.

That an end becomes known only after it is dated does no harm here: until it is known, the execution counts as
live, and nothing is remembered from one reading to the next.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from scaler.model.share import Share
from scaler.planning.counts import Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Allotment:
    """What becomes of the shares in which something waits.

    Attributes:
        handed: to be launched now, longest first.
        left: without an execution for lack of room.
        held: an execution has them, or had them after the reading was true.
        unshared: executions that may work on any share, because they were handed none.
    """

    handed: tuple[Share, ...]
    left: tuple[Share, ...]
    held: tuple[Share, ...]
    unshared: int

    @property
    def wanted(self) -> int:
        """Executions that the source asks for in all."""
        return len(self.handed) + len(self.left) + len(self.held)


def allot(shares: Iterable[Share], counts: Counts, *, most: int, as_of: datetime) -> Allotment:
    """Decide which shares are launched, of those that were read at `as_of`.

    Longest first, so that no share grows while shorter ones are served; of equal ones that which waits since
    longest. Nothing is launched while an execution lives that was handed no share (begun before its job's rule
    was changed): it may be working on any of them.
    """
    waiting = [share for share in shares if share.value > 0]
    holders = counts.holders_since(as_of)
    unshared = counts.unshared_since(as_of)
    served = dict(sorted(counts.released, key=lambda item: item[1]))
    free = sorted(
        (share for share in waiting if share.key not in holders),
        key=lambda share: (-share.value, served[share.key].timestamp() if share.key in served else 0.0),
    )
    room = 0 if unshared > 0 else max(0, most - counts.running)
    return Allotment(
        handed=tuple(free[:room]),
        left=tuple(free[room:]),
        held=tuple(share for share in waiting if share.key in holders),
        unshared=max(0, unshared),
    )
