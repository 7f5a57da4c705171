"""What every store must do with the audit, as a test suite: subclass `AuditContract` and give it a `store`."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from scaler.errors import StoreError
from scaler.model.audit import AuditAction, AuditEntry, AuditQuery
from scaler.ports.store import Store
from scaler.testing.store_contract import START, make_state


def make_entry(
    number: int, *, by: str = "cli:ann", action: AuditAction = AuditAction.JOB_RESET, job: str = "invoices"
) -> AuditEntry:
    """Build an entry of `number` seconds after `START`, every field set."""
    at = START + timedelta(seconds=number)
    return AuditEntry(at=at, by=by, action=action, job=job, execution=f"{job}-{number}", detail="ä; more")


class AuditContract:
    """The suite. `store` is a fixture of the subclass."""

    async def test_entries_come_back_whole_and_newest_first(self, store: Store) -> None:
        daemon = AuditEntry(at=START, by="daemon", action=AuditAction.DAEMON_STARTED)
        await store.note(daemon, make_entry(1), make_entry(1))
        page = await store.audit(AuditQuery())
        expected = [replace(make_entry(1), id=3), replace(make_entry(1), id=2), replace(daemon, id=1)]
        assert (list(page.items), page.cursor) == (expected, None)

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            (AuditQuery(job="invoices"), [3, 1, 0]),
            (AuditQuery(by="schedule"), [3, 2]),
            (AuditQuery(by="schedule", job="invoices"), [3]),
            (AuditQuery(action=AuditAction.JOB_CHANGED), [1]),
            (AuditQuery(execution="orders-2"), [2]),
            (AuditQuery(since=START + timedelta(seconds=2)), [3, 2]),
            (AuditQuery(until=START + timedelta(seconds=2)), [1, 0]),
            (
                AuditQuery(
                    job="invoices", since=START + timedelta(seconds=1), until=START + timedelta(seconds=3)
                ),
                [1],
            ),
            (AuditQuery(by="nobody"), []),
        ],
    )
    async def test_entries_are_found_by_what_is_asked(
        self, store: Store, query: AuditQuery, expected: list[int]
    ) -> None:
        await store.note(
            make_entry(0),
            make_entry(1, action=AuditAction.JOB_CHANGED),
            make_entry(2, by="schedule", job="orders"),
            make_entry(3, by="schedule"),
        )
        page = await store.audit(query)
        assert [int((entry.at - START).total_seconds()) for entry in page.items] == expected

    async def test_pages_of_the_audit_give_each_entry_once(self, store: Store) -> None:
        await store.note(*[make_entry(number // 3) for number in range(10)])
        seen: list[int | None] = []
        cursor: str | None = None
        while True:
            page = await store.audit(AuditQuery(job="invoices"), limit=4, cursor=cursor)
            seen += [entry.id for entry in page.items]
            await store.note(make_entry(100))
            cursor = page.cursor
            if cursor is None:
                break
        assert seen == list(range(10, 0, -1))

    async def test_a_foreign_cursor_and_an_empty_page_are_refused(self, store: Store) -> None:
        with pytest.raises(ValueError, match="not one of ours"):
            await store.audit(AuditQuery(), cursor="nonsense")
        with pytest.raises(StoreError, match="at least 1"):
            await store.audit(AuditQuery(), limit=0)

    async def test_who_began_an_execution_is_recorded_with_it_or_not_at_all(self, store: Store) -> None:
        entry = make_entry(0, action=AuditAction.EXECUTION_STARTED)
        await store.begin((make_state("a"),), by=(entry,))
        with pytest.raises(StoreError, match="already recorded"):
            await store.begin((make_state("b"), make_state("a")), by=(entry, entry))
        assert [one.id for one in (await store.audit(AuditQuery())).items] == [1]

    async def test_who_caused_a_note_is_recorded_with_it(self, store: Store) -> None:
        await store.remember("job:invoices", "x", by=(make_entry(0),))
        assert [one.by for one in (await store.audit(AuditQuery())).items] == ["cli:ann"]
