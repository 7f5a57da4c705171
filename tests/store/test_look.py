"""A look at the file of records from outside: what the daemon would say, and nothing changes."""

from __future__ import annotations

import os
import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest

from scaler.errors import StoreError
from scaler.model.execution import ExecutionStatus
from scaler.store import open_store
from scaler.store.look import count_unfinished, look
from scaler.testing.store_contract import ended, make_state

LONG_S = 60.0


def _files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir()) if file.is_file()}


async def _refused(path: Path) -> str:
    with pytest.raises(StoreError) as caught:
        async with open_store(path):
            pass
    return str(caught.value)


async def _made(path: Path) -> Path:
    async with open_store(path) as store:
        await store.begin((make_state("e0"),))
        await store.begin((make_state("e1"),))
        await store.apply(ended(make_state("e1"), ExecutionStatus.SUCCEEDED))
    return path


async def test_sound_records_are_sound_and_stay_as_they_are(tmp_path: Path) -> None:
    path = await _made(tmp_path / "scaler.db")
    before = _files(tmp_path)
    assert look(path, most_s=LONG_S)
    assert _files(tmp_path) == before


def test_no_records_are_no_fault_and_none_are_made(tmp_path: Path) -> None:
    assert look(tmp_path / "scaler.db", most_s=LONG_S)
    (tmp_path / "empty.db").touch()
    assert look(tmp_path / "empty.db", most_s=LONG_S)
    assert _files(tmp_path) == {"empty.db": b""}


@pytest.mark.parametrize("garbage", [b"garbage\n", b"garbage\n" * 4096])
async def test_garbage_is_told_as_the_daemon_tells_it(tmp_path: Path, garbage: bytes) -> None:
    path = tmp_path / "scaler.db"
    path.write_bytes(garbage)
    with pytest.raises(StoreError) as caught:
        look(path, most_s=LONG_S)
    assert _files(tmp_path) == {"scaler.db": garbage}
    assert str(caught.value) == await _refused(path)


async def test_a_page_that_was_overwritten_is_told_as_the_daemon_tells_it(tmp_path: Path) -> None:
    path = await _made(tmp_path / "scaler.db")
    raw = bytearray(path.read_bytes())
    raw[4096:] = b"\xff" * (len(raw) - 4096)
    path.write_bytes(raw)
    with pytest.raises(StoreError) as caught:
        look(path, most_s=LONG_S)
    assert str(caught.value) == await _refused(path)


async def test_a_schema_of_a_newer_release_is_told_as_the_daemon_tells_it(tmp_path: Path) -> None:
    path = await _made(tmp_path / "scaler.db")
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 9999")
    connection.close()
    with pytest.raises(StoreError, match="schema 9999 of a newer release") as caught:
        look(path, most_s=LONG_S)
    assert str(caught.value) == await _refused(path)


async def test_a_folder_in_its_place_is_told_as_the_daemon_tells_it(tmp_path: Path) -> None:
    path = tmp_path / "scaler.db"
    path.mkdir()
    with pytest.raises(StoreError) as caught:
        look(path, most_s=LONG_S)
    assert str(caught.value) == await _refused(path)


def test_a_look_ends_at_its_time(tmp_path: Path) -> None:
    path = tmp_path / "scaler.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t (a TEXT)")
        connection.execute("CREATE INDEX i ON t (a)")
        connection.executemany("INSERT INTO t VALUES (?)", ((f"{n:0100}",) for n in range(20_000)))
    connection.close()
    assert not look(path, most_s=0)


async def test_unfinished_executions_are_counted_with_and_without_a_daemon(tmp_path: Path) -> None:
    path = tmp_path / "scaler.db"
    begun = make_state("e2").execution.created_at
    async with open_store(path) as store:
        await store.begin((make_state("e0"), make_state("e1")))
        await store.apply(ended(make_state("e1"), ExecutionStatus.FAILED))
        assert (
            count_unfinished(path, until=begun, most_s=LONG_S) == 1
        )  # what is in the log beside the file, too
    before = _files(tmp_path)
    assert count_unfinished(path, until=begun, most_s=LONG_S) == 1
    assert count_unfinished(path, until=begun - timedelta(seconds=1), most_s=LONG_S) == 0
    assert _files(tmp_path) == before


def test_what_cannot_be_counted_is_unknown_and_not_zero(tmp_path: Path) -> None:
    until = make_state("e0").execution.created_at
    assert count_unfinished(tmp_path / "none.db", until=until, most_s=LONG_S) is None
    (tmp_path / "odd.db").write_bytes(os.urandom(8192))
    assert count_unfinished(tmp_path / "odd.db", until=until, most_s=LONG_S) is None
