"""What only the store on disk promises: durability, one daemon at a time, a file that is checked."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import stat
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scaler.errors import StoreError
from scaler.model.execution import ExecutionState, ExecutionStatus
from scaler.model.replica import Usage
from scaler.store import SqliteStore, open_store, rows
from scaler.store.opening import load_migrations, load_queries
from scaler.testing.store_contract import ended, make_decision, make_state

WRITER = """
import asyncio, sys
from pathlib import Path
from scaler.model.execution import ExecutionStatus
from scaler.store import open_store
from scaler.testing.store_contract import ended, make_state

async def live(store, name):
    state = make_state(name, replicas=3)
    await store.begin((state,))
    print("begun", name, flush=True)
    await store.apply(ended(state, ExecutionStatus.SUCCEEDED))
    print("ended", name, flush=True)

async def main():
    async with open_store(Path(sys.argv[1])) as store, asyncio.TaskGroup() as group:
        for number in range(int(sys.argv[2])):
            group.create_task(live(store, f"e{number}"))
            await asyncio.sleep(0)
        await asyncio.sleep(600)

asyncio.run(main())
"""

NEWEST = load_migrations()[-1][0]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "scaler.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    async with open_store(path) as opened:
        yield opened


async def killed_after(path: Path, executions: int, lines: int) -> list[list[str]]:
    """Kill a writing process with SIGKILL after so many lines: what it had promised by then."""
    writer = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITER, str(path), str(executions), stdout=asyncio.subprocess.PIPE
    )
    assert writer.stdout is not None
    told = [await writer.stdout.readline() for _ in range(lines)]
    writer.kill()
    told += (await writer.stdout.read()).splitlines(keepends=True)
    await writer.wait()
    return [line.decode().split() for line in told if line.endswith(b"\n")]


async def test_what_begin_returned_for_survives_a_killed_process(path: Path) -> None:
    promised = await killed_after(path, 1, 1)
    assert promised[0] == ["begun", "e0"]
    async with open_store(path) as store:
        found = await store.execution("invoices", "e0")
    whole = make_state("e0", replicas=3)
    assert found in (whole, ended(whole, ExecutionStatus.SUCCEEDED))


@pytest.mark.parametrize("lines", [5, 60, 300])
async def test_a_kill_between_any_two_writes_leaves_whole_records(path: Path, lines: int) -> None:
    promised = await killed_after(path, 400, lines)
    async with open_store(path) as store:
        found = {state.execution.id: state for state in (await store.executions("invoices", limit=999)).items}
    for name, state in found.items():
        whole = make_state(name, replicas=3)
        assert state in (whole, ended(whole, ExecutionStatus.SUCCEEDED))
    assert {name for word, name in promised if word == "begun"} <= set(found)
    assert all(found[name].execution.is_final for word, name in promised if word == "ended")


async def test_records_outlive_the_store(path: Path) -> None:
    async with open_store(path) as store:
        await store.begin((make_state("a"),))
        decision = await store.decide(make_decision())
        await store.remember("instance", "x")
    async with open_store(path) as store:
        assert await store.execution("invoices", "a") == make_state("a")
        assert await store.decisions("invoices") == (replace(make_decision(), id=decision),)
        assert await store.recall("instance") == "x"


# group commit


async def test_writes_that_wait_together_share_commits(store: SqliteStore) -> None:
    async with asyncio.TaskGroup() as group:
        for number in range(200):
            group.create_task(store.begin((make_state(f"e{number}"),)))
    assert await store.status_counts("invoices") == {ExecutionStatus.PROCESSING: 200}
    assert store._writer.commits <= 3


async def test_closing_writes_what_is_queued(path: Path) -> None:
    async with open_store(path) as store:
        tasks = [asyncio.create_task(store.begin((make_state(f"e{n}"),))) for n in range(50)]
        await asyncio.sleep(0)
    assert [task.exception() for task in tasks] == [None] * 50
    async with open_store(path) as store:
        assert await store.status_counts("invoices") == {ExecutionStatus.PROCESSING: 50}


async def test_a_closed_store_says_so(path: Path) -> None:
    async with open_store(path) as store:
        pass
    with pytest.raises(StoreError, match="the store is closed"):
        await store.begin((make_state("a"),))
    with pytest.raises(StoreError, match="the store is closed"):
        await store.executions("invoices")


async def test_a_write_cancelled_before_its_turn_is_not_written(store: SqliteStore) -> None:
    first = asyncio.create_task(store.begin((make_state("a"),)))
    second = asyncio.create_task(store.begin((make_state("b"),)))
    await asyncio.sleep(0)
    second.cancel()
    await first
    await store.remember("later", "x")
    assert await store.status_counts("invoices") == {ExecutionStatus.PROCESSING: 1}


async def test_a_full_disk_fails_the_write_and_heals(store: SqliteStore) -> None:
    await store.begin((make_state("a"),))
    connection = store._writer._connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    big = tuple(make_state(f"big-{n}", replicas=50) for n in range(20))
    with pytest.raises(StoreError, match=r"scaler\.db.*full"):
        await store.begin(big)
    connection.execute("PRAGMA max_page_count = 1000000")
    assert await store.status_counts("invoices") == {ExecutionStatus.PROCESSING: 1}
    await store.begin(big)
    assert await store.status_counts("invoices") == {ExecutionStatus.PROCESSING: 21}


async def test_every_commit_waits_for_the_disk(store: SqliteStore, path: Path) -> None:
    connection = store._writer._connection
    settings = {
        name: connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("synchronous", "journal_mode", "foreign_keys", "busy_timeout")
    }
    assert settings == {"synchronous": 2, "journal_mode": "wal", "foreign_keys": 1, "busy_timeout": 5000}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


# one daemon


async def test_a_second_daemon_is_kept_out(store: SqliteStore, path: Path) -> None:
    with pytest.raises(
        StoreError, match=rf"in use by another daemon \(process {os.getpid()} on \S+, since 20"
    ):
        async with open_store(path):
            pass
    await store.remember("still", "here")


async def test_the_lock_of_a_dead_daemon_keeps_nobody_out(path: Path) -> None:
    await killed_after(path, 1, 1)
    assert json.loads(path.with_name("scaler.db.lock").read_text())["pid"] != os.getpid()
    async with open_store(path) as store:
        assert await store.recall("any") is None


# the file


@pytest.mark.parametrize("content", [b"this is no database" * 100, b"SQLite format 3\0" + b"\xff" * 8192])
async def test_a_file_that_is_no_database_says_what_to_do(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"scaler\.db: not a sound database .* move it away together with"):
        async with open_store(path):
            pass
    assert path.read_bytes() == content, "it is left as it was"


async def test_a_damaged_page_is_found_at_the_start(path: Path) -> None:
    async with open_store(path) as store:
        await store.begin(tuple(make_state(f"e{n}", replicas=9) for n in range(99)))
    whole = bytearray(path.read_bytes())
    whole[4096 * 3 : 4096 * 6] = b"\x5a" * (4096 * 3)
    path.write_bytes(whole)
    with pytest.raises(StoreError, match="not a sound database"):
        async with open_store(path):
            pass


async def test_a_newer_schema_is_refused(path: Path) -> None:
    async with open_store(path):
        pass
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match=f"schema 99 of a newer release, this one knows up to {NEWEST}"):
        async with open_store(path):
            pass


async def test_a_folder_that_cannot_be_written_to_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="give a state directory"):
        async with open_store(tmp_path / "file" / "scaler.db"):
            pass


async def test_a_folder_in_the_files_place_is_told(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(StoreError, match="Is a directory; give a file"):
        async with open_store(path):
            pass


async def test_a_row_that_no_release_wrote_is_an_error(store: SqliteStore) -> None:
    await store.begin((make_state("a"),))
    store._writer._connection.execute("UPDATE executions SET status = 'Perhaps'")
    with pytest.raises(StoreError, match="cannot be read: 'Perhaps'"):
        await store.execution("invoices", "a")


def _write_as_of(path: Path, schema: int, state: ExecutionState) -> None:
    """Write a file as the release with that schema did: what later ones added has no column yet."""

    def insert(connection: sqlite3.Connection, table: str, row: dict[str, Any]) -> None:
        known = [column[1] for column in connection.execute(f"PRAGMA table_info({table})")]
        names = [name for name in row if name in known]
        marks = ", ".join(f":{name}" for name in names)
        connection.execute(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})", row)

    path.parent.mkdir()
    with sqlite3.connect(path) as connection:
        for number, script in load_migrations()[:schema]:
            connection.executescript(f"{script}\nPRAGMA user_version = {number};")
        insert(connection, "executions", rows.execution_row(state.execution))
        for row in rows.replica_rows(state):
            insert(connection, "replicas", row)
    connection.close()


@pytest.mark.parametrize("schema", range(1, NEWEST))
async def test_records_of_an_older_schema_are_taken_over(path: Path, schema: int) -> None:
    """What an older release did not keep is not known; what it kept is still there, and new records are whole."""
    _write_as_of(path, schema, ended(make_state("old"), ExecutionStatus.FAILED))
    async with open_store(path) as store:
        old = await store.execution("invoices", "old")
        await store.begin((make_state("new"),))
        new = await store.execution("invoices", "new")
    assert old is not None
    assert (old.execution.id, old.execution.status, old.execution.reason) == ("old", "Failed", "Why")
    assert [(r.exit_code, r.reason, r.removed) for r in old.replicas] == [(143, "Signaled", True)]
    assert new == make_state("new")
    if schema < 2:
        assert old.execution.share is None
    if schema < 3:
        assert (old.execution.trigger, old.execution.template_hash) == (None, None)
        assert [(r.fault, r.usage, r.created_at, r.removed_at) for r in old.replicas] == [
            (None, Usage(), None, None)
        ]


def test_no_number_of_a_migration_is_given_twice() -> None:
    numbers = [number for number, _ in load_migrations()]
    assert (numbers[0], numbers) == (1, sorted(set(numbers)))


# growth


async def test_every_list_goes_by_an_index(store: SqliteStore) -> None:
    queries = load_queries()
    names = ("id", "job", "seq", "created_at", "statuses", "limit", "keep", "key", "executions")
    parameters = dict.fromkeys(names)
    for name in ("find_execution", "find_status", "count_statuses", "list_unfinished", "list_decisions"):
        plan = await store._reader.execute_fetchall("EXPLAIN QUERY PLAN " + queries[name], parameters)
        steps = [row["detail"] for row in plan]
        full = [step for step in steps if step.startswith("SCAN") and "INDEX" not in step]
        assert [step for step in full if step.split()[1] not in ("e", "json_each")] == [], (name, steps)


async def test_pages_of_a_long_history_are_read_quickly(store: SqliteStore) -> None:
    states: list[ExecutionState] = [make_state(f"e{n}", at=n) for n in range(5000)]
    await store.begin(tuple(states))
    async with asyncio.timeout(5):
        page = await store.executions("invoices", limit=100)
        rest = await store.executions("invoices", limit=100, cursor=page.cursor)
    assert [rest.items[0], page.items[0]] == [states[4899], states[4999]]
