"""The records of the daemon in one SQLite file. Only the composition root imports this package.

`open_store(path)` gives a `SqliteStore`, which implements `scaler.ports.store.Store`.
"""

from scaler.store.sqlite import SqliteStore, open_store

__all__ = ["SqliteStore", "open_store"]
