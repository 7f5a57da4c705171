"""Looks at the file of records from outside of the daemon: nothing is made, locked against it, or written."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

from scaler.errors import StoreError
from scaler.store.opening import check_schema, damaged, explain
from scaler.store.rows import time_text

_STEPS = 10_000
"""Steps of SQLite's machine between two looks at the time; they take about a millisecond."""

_UNFINISHED = """
SELECT COUNT(*) FROM executions
WHERE status NOT IN ('Succeeded', 'Failed', 'Stopped', 'Unknown') AND created_at <= :until
"""


@contextmanager
def _reading(path: Path, most_s: float) -> Iterator[sqlite3.Connection]:
    """Open the file for reading; what takes longer than `most_s` is interrupted.

    Without a log beside it nobody writes, and SQLite is told so, or it would lay one down.
    """
    how = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "mode=ro&immutable=1"
    ends_at = time.monotonic() + most_s
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True)) as connection:
        connection.set_progress_handler(lambda: time.monotonic() > ends_at, _STEPS)
        yield connection


def look(path: Path, *, most_s: float) -> bool:
    """Say what the daemon would refuse of a file that is there; blocks.

    Gives whether all of it was looked at within the time.

    Raises:
        StoreError: the daemon would say the same.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        return True
    except OSError as exc:
        raise StoreError(f"{path}: {exc.strerror}; give a file that this user can write to") from exc
    with explain(path), _reading(path, most_s) as connection:
        try:
            check_schema(connection, path)
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        except sqlite3.OperationalError as exc:
            if str(exc) == "interrupted":
                return False
            raise
    if found != "ok":
        raise StoreError(damaged(path, str(found)))
    return True


def count_unfinished(path: Path, *, until: datetime, most_s: float) -> int | None:
    """Count the executions that were begun by then and have no recorded end; None if it cannot be told. Blocks."""
    if not path.is_file():
        return None
    try:
        with _reading(path, most_s) as connection:
            return int(connection.execute(_UNFINISHED, {"until": time_text(until)}).fetchone()[0])
    except sqlite3.Error:
        return None
