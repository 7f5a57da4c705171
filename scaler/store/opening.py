"""Opens the file of records: a sound file, the newest schema."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiosqlite

from scaler.errors import StoreError
from scaler.store.lock import lock_path

_SQL = Path(__file__).with_name("sql")
_BUSY_MS = 5000  # nobody else writes; a backup tool may hold the file for a moment
PRAGMAS = (f"busy_timeout = {_BUSY_MS}", "foreign_keys = ON", "synchronous = FULL")


def load_queries() -> dict[str, str]:
    """Read the named statements of all files in `sql` that are no migrations."""
    found: dict[str, str] = {}
    for file in sorted(_SQL.glob("[a-z]*.sql")):
        parts = re.split(r"^-- name: (\w+)\n", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
        found |= dict(zip(parts[1::2], parts[2::2], strict=True))
    return found


def load_migrations() -> list[tuple[int, str]]:
    """Read the steps of the schema, in order: number and statements of `sql/NNNN_name.sql`."""
    files = sorted(_SQL.glob("[0-9][0-9][0-9][0-9]_*.sql"))
    return [(int(file.name[:4]), file.read_text(encoding="utf-8")) for file in files]


def _identity(path: Path) -> tuple[int, int] | None:
    """Give device and inode of a file; None if it is not there."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


class Footing:
    """Remembers which files hold the records, to notice when they are taken away from under the daemon.

    An open file that was deleted can still be written, so that nothing else would tell: the records would go
    nowhere, and without its lock file a second daemon could begin beside this one. Blocks on the disk.
    """

    def __init__(self, path: Path) -> None:
        self._files = {file: _identity(file) for file in (path, lock_path(path))}

    def check(self) -> None:
        """Look once.

        Raises:
            StoreError: a file is gone, or another one is in its place.
        """
        for file, before in self._files.items():
            try:
                now = _identity(file)
            except OSError:
                continue  # cannot be told now; writing will show it
            if now != before:
                what = "was removed" if now is None else "was replaced by another file"
                raise StoreError(
                    f"{file}: {what} while the daemon ran, so nothing more can be recorded; "
                    "put the state directory back if you can, and start the daemon again"
                )


def make_file(path: Path) -> None:
    """Make the file, readable by its owner only: plain values in templates are nobody else's business.

    Raises:
        StoreError: it can be neither opened nor made.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as exc:
        raise StoreError(f"{path}: {exc.strerror}; give a file that this user can write to") from exc


@contextmanager
def explain(path: Path) -> Iterator[None]:
    """Turn what SQLite says into what a user can act upon."""
    try:
        yield
    except sqlite3.OperationalError as exc:
        raise StoreError(f"{path}: {exc}; see whether the disk is full or the file is not writable") from exc
    except sqlite3.DatabaseError as exc:
        raise StoreError(damaged(path, str(exc))) from exc


def damaged(path: Path, what: str) -> str:
    """Say what to do about a file that is no sound database."""
    return (
        f"{path}: not a sound database ({what}); stop the daemon and put a copy in its place, or move it away "
        f"together with {path.name}-wal and {path.name}-shm to begin with an empty history"
    )


def open_writing(path: Path) -> sqlite3.Connection:
    """Open the connection that writes, on a sound file with the newest schema; in nobody's transaction.

    Blocks. The connection may be used from any thread, by one at a time.

    Raises:
        StoreError: the file is damaged, or was written by a newer release.
    """
    with explain(path):
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        with explain(path):
            connection.row_factory = sqlite3.Row
            for pragma in PRAGMAS:
                connection.execute(f"PRAGMA {pragma}")
            _prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


async def open_reading(path: Path) -> aiosqlite.Connection:
    """Open a connection that cannot write, on a file that is sound already."""
    connection = await aiosqlite.connect(path, isolation_level=None)
    try:
        connection.row_factory = sqlite3.Row
        for pragma in (*PRAGMAS, "query_only = ON"):
            await connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        await connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Check the file, put it into WAL mode and bring its schema up to date."""
    found = _value(connection, "PRAGMA quick_check(1)")
    if found != "ok":
        raise StoreError(damaged(path, str(found)))
    mode = _value(connection, "PRAGMA journal_mode = WAL")
    if mode != "wal":
        raise StoreError(
            f"{path}: its file system has no shared memory; put the state directory on a local disk"
        )
    version = check_schema(connection, path)
    for number, script in load_migrations():
        if number > version:
            connection.executescript(f"BEGIN;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")


def check_schema(connection: sqlite3.Connection, path: Path) -> int:
    """Give the number of the file's schema.

    Raises:
        StoreError: this release does not know it.
    """
    version, newest = int(str(_value(connection, "PRAGMA user_version"))), load_migrations()[-1][0]
    if version > newest:
        raise StoreError(
            f"{path}: schema {version} of a newer release, this one knows up to {newest}; "
            "install the newer release, or use another state directory"
        )
    return version


def _value(connection: sqlite3.Connection, sql: str) -> object:
    return connection.execute(sql).fetchone()[0]
