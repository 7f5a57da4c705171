"""What the commands see of the daemon's records without a daemon."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

LOOK_S = 5.0
"""How long a look may take; a file of a gigabyte is read in about that time."""

FILE = "scaler.db"


def look_at_records(state_dir: Path) -> bool:
    """Say what a daemon would refuse of the records; gives whether all of them were looked at.

    Raises:
        StoreError: the daemon would say the same.
    """
    from scaler.store.look import look

    return look(state_dir / FILE, most_s=LOOK_S)


def left_behind(state_dir: Path, until: datetime) -> int | None:
    """Count the executions begun by then of which no end is recorded; None if it cannot be told."""
    from scaler.store.look import count_unfinished

    return count_unfinished(state_dir / FILE, until=until, most_s=LOOK_S)
