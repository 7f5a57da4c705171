"""Records in which all went well are found well; each way to spoil them is found, by the promise that it breaks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.soak.account import STILL_RUNNING_S, account, allowed
from scaler.soak.notes import Crowd, Done, Notes, Returned
from scaler.soak.plan import Act, Deed, Lane
from tests.soak.kit import BEGUN, CRON, JOB, good

FIRST = f"{JOB}-000000"
EXECUTION = f"{JOB}-{0:010}"
REPLICA = f"{EXECUTION}-abcde"


def broken(notes: Notes) -> dict[str, tuple[str, ...]]:
    return {one.name: one.breaches for one in account(notes) if one.ok is False}


def lose(notes: Notes) -> None:
    notes.done[JOB].remove(FIRST)
    del notes.places[JOB][FIRST]


def leave(notes: Notes) -> None:
    notes.done[JOB].remove(FIRST)


def do_twice(notes: Notes) -> None:
    notes.journal.append(("done", f"{JOB}-other-abcde", FIRST))


def copy(notes: Notes) -> None:
    notes.places[JOB][FIRST] = 2


def invent(notes: Notes) -> None:
    notes.places[JOB]["nobodys"] = 1


def take_again(notes: Notes) -> None:
    notes.journal.append(("took", f"{JOB}-other-abcde", FIRST))


def come_back(notes: Notes) -> None:
    notes.returned.append(Returned(at_s=5, job=JOB, message=FIRST, replica=REPLICA))


def forget_reason(notes: Notes) -> None:
    notes.ran[EXECUTION] = replace(notes.ran[EXECUTION], reason="")


def never_end(notes: Notes) -> None:
    notes.ran[EXECUTION] = replace(notes.ran[EXECUTION], status="Running")


def end_twice(notes: Notes) -> None:
    notes.changed.append(EXECUTION)


def vanish(notes: Notes) -> None:
    notes.unseen.append(EXECUTION)


def overfill(notes: Notes) -> None:
    notes.crowds.append(Crowd(at_s=9, job=JOB, executions=5, replicas=1))


def widen(notes: Notes) -> None:
    notes.crowds.append(Crowd(at_s=9, job=JOB, executions=1, replicas=2))


def skip_a_minute(notes: Notes) -> None:
    del notes.ran[f"{CRON}-{BEGUN // 60 + 5}"]


def start_suspended(notes: Notes) -> None:
    for deed, at in ((Deed.SUSPEND, 100.0), (Deed.RESUME, 110.0)):
        act = Act(at_s=at, deed=deed, lane=Lane.FILES, job=JOB)
        notes.acts.append(Done(act=act, at_s=at, subject=JOB))
    notes.ran[EXECUTION] = replace(notes.ran[EXECUTION], begun_at=BEGUN + 105.0)


def violate(notes: Notes) -> None:
    notes.broken["Orphan x: nobody's"] = 12.0


def die(notes: Notes) -> None:
    notes.mishaps.append("at 5 s the daemon ended by itself")


def stay(notes: Notes) -> None:
    notes.left.append("container x is there")


SPOILT: list[tuple[Callable[[Notes], None], str]] = [
    (lose, "nothing lost"),
    (leave, "nothing lost"),
    (do_twice, "done once"),
    (copy, "done once"),
    (invent, "done once"),
    (take_again, "again only after a fault"),
    (come_back, "again only after a fault"),
    (forget_reason, "one outcome with a reason"),
    (never_end, "one outcome with a reason"),
    (end_twice, "one outcome with a reason"),
    (vanish, "one outcome with a reason"),
    (overfill, "never above the maximum"),
    (widen, "never above the parallelism"),
    (skip_a_minute, "each minute its execution"),
    (start_suspended, "suspended jobs start nothing"),
    (violate, "the daemon's own promises"),
    (die, "the daemon lives"),
    (stay, "nothing left"),
]


def test_records_in_which_all_went_well_are_found_well() -> None:
    assert [one.name for one in account(good()) if one.ok is not True] == []


@pytest.mark.parametrize(("spoil", "promise"), SPOILT, ids=[spoil.__name__ for spoil, _ in SPOILT])
def test_each_way_to_spoil_them_breaks_its_promise(spoil: Callable[[Notes], None], promise: str) -> None:
    notes = good()
    spoil(notes)
    found = broken(notes)
    assert list(found) == [promise]
    assert found[promise]


@settings(deadline=None)
@given(which=st.sets(st.sampled_from([one for one in SPOILT if one[0] not in (lose, leave)]), min_size=1))
def test_several_faults_are_all_found(which: set[tuple[Callable[[Notes], None], str]]) -> None:
    notes = good()
    for spoil, _ in which:
        spoil(notes)
    assert set(broken(notes)) == {promise for _, promise in which}


def test_a_message_may_be_done_again_after_each_fault_that_explains_it() -> None:
    explanations: list[Callable[[Notes], None]] = [
        lambda notes: notes.acts.append(_done(Deed.KILL_WORKER, REPLICA)),
        lambda notes: notes.acts.append(_done(Deed.REMOVE_CONTAINER, REPLICA)),
        lambda notes: notes.acts.append(_done(Deed.STOP, EXECUTION)),
        lambda notes: notes.ran.update(
            {EXECUTION: replace(notes.ran[EXECUTION], replicas=((REPLICA, "ReplicaTimeout"),))}
        ),
    ]
    for explain in explanations:
        notes = good()
        come_back(notes)
        take_again(notes)
        explain(notes)
        assert broken(notes) == {}


def test_a_worker_that_fails_as_told_explains_one_more_try() -> None:
    notes = good()
    notes.journal += [("failed", REPLICA, FIRST), ("took", f"{JOB}-other-abcde", FIRST)]
    assert broken(notes) == {}
    take_again(notes)
    assert list(broken(notes)) == ["again only after a fault"]


def test_a_run_that_was_ended_early_judges_nothing_that_needs_its_end() -> None:
    notes = good()
    notes.interrupted = True
    leave(notes)
    never_end(notes)
    stay(notes)
    assert broken(notes) == {}
    assert [one.name for one in account(notes) if one.ok is None] == ["nothing lost", "nothing left"]
    lose_all = good()
    lose_all.interrupted = True
    lose(lose_all)
    assert list(broken(lose_all)) == ["nothing lost"]


def test_a_minute_at_which_the_daemon_was_away_needs_no_execution() -> None:
    for deed, at in ((Deed.KILL_DAEMON, 295.0), (Deed.PAUSE_DAEMON, 299.0)):
        notes = good()
        skip_a_minute(notes)
        act = Act(at_s=at, deed=deed, lane=Lane.DAEMON, lasts_s=3)
        notes.acts.append(Done(act=act, at_s=at))
        assert broken(notes) == {}


def test_what_begins_before_or_after_a_suspension_is_no_breach() -> None:
    for at in (99.0, 111.0):
        notes = good()
        start_suspended(notes)
        notes.ran[EXECUTION] = replace(notes.ran[EXECUTION], begun_at=BEGUN + at)
        assert broken(notes) == {}


def test_what_was_begun_under_a_higher_maximum_may_run_on_for_a_while() -> None:
    maxima = [(0.0, JOB, 3), (100.0, JOB, 6), (200.0, JOB, 1)]
    assert [allowed(maxima, JOB, at) for at in (50, 150, 250)] == [3, 6, 6]
    assert allowed(maxima, JOB, 200 + STILL_RUNNING_S + 1) == 1
    assert allowed(maxima, "another", 50) is None


def _done(deed: Deed, subject: str) -> Done:
    return Done(act=Act(at_s=1, deed=deed, lane=Lane.WORKERS), at_s=1, subject=subject)
