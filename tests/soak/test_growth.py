"""A planted leak of each kind is found in recorded samples; what a healthy daemon does is not one. And the report."""

from __future__ import annotations

import json

import pytest

from scaler.soak.growth import ROWS, growth, verdict
from scaler.soak.notes import Sample
from scaler.soak.report import body, is_sound, report_page, rows, verdicts
from tests.soak.kit import MIB, good, sample

LEAKS = {
    "memory": lambda at: sample(at, rss=int((75 + at / 20) * MIB)),
    "file descriptors": lambda at: sample(at, fds=18 + int(at / 30)),
    "threads": lambda at: sample(at, threads=6 + int(at / 30)),
    "database": lambda at: sample(at, db=int((2 + at / 120) * MIB)),
    "write-ahead log": lambda at: sample(at, wal=int((4 + at / 40) * MIB)),
    "logs": lambda at: sample(at, logs=int((1 + at / 120) * MIB)),
    "other files": lambda at: sample(at, other=100_000 + int(at * 10_000)),
}
"""Three mebibytes of memory a minute, two descriptors a minute, and so on."""


def growing(samples: list[Sample]) -> list[str]:
    notes = good()
    notes.samples = samples
    return [one.row.name for one in growth(notes) if verdict(one).ok is False]


def test_every_row_has_its_leak_here() -> None:
    assert list(LEAKS) == [row.name for row in ROWS]


def test_a_daemon_that_does_its_work_is_flat() -> None:
    assert [verdict(one).ok for one in growth(good())] == [True] * len(ROWS)


@pytest.mark.parametrize("name", LEAKS)
def test_a_planted_leak_is_found(name: str) -> None:
    assert growing([LEAKS[name](float(at)) for at in range(600)]) == [name]


def test_what_happens_before_a_restart_or_while_it_warms_up_is_no_leak() -> None:
    climbing = [sample(float(at), rss=(40 + min(at % 200, 50)) * MIB) for at in range(200)]
    settled = [sample(float(at), rss=min(40 + (at - 200), 75) * MIB) for at in range(200, 600)]
    assert growing(climbing + settled) == []


def test_the_disk_is_judged_once_a_daemon_has_lived_through_a_pruning() -> None:
    notes = good()
    notes.starts = [0.0, 30.0, 63.0]
    notes.samples = [sample(float(at), db=min(at, 98) * MIB // 20) for at in range(600)]
    notes.load_until = 180.0
    found = {one.row.name: one for one in growth(notes)}["database"]
    assert found.since == 98.0
    assert verdict(found).ok is True


def test_a_daemon_that_is_down_is_a_gap() -> None:
    notes = good()
    notes.samples[300:310] = [sample(float(at), rss=None, fds=None, threads=None) for at in range(300, 310)]
    assert [verdict(one).ok for one in growth(notes)] == [True] * len(ROWS)


def test_a_run_that_is_too_short_says_so() -> None:
    notes = good()
    notes.load_until = 35.0
    found = {one.row.name: verdict(one) for one in growth(notes)}
    assert found["memory"].ok is None
    assert "too few samples" in found["memory"].text
    page = report_page({}, notes)
    assert "No promise was broken; " in page
    assert "nothing grows" not in page


def test_the_report_tells_the_verdicts_and_their_reasons() -> None:
    notes = good()
    told = json.loads(json.dumps(body({"command": "scaler soak"}, notes)))
    page = report_page({"command": "scaler soak"}, notes)
    assert told["sound"] is True
    assert [one["ok"] for one in told["verdicts"]] == [True] * len(verdicts(notes))
    assert {"slope", "noise", "noiseCouldShow", "bound", "why", "flat"} <= told["slopes"][0].keys()
    assert told["lateness"] == [{"at": round(at, 1), "p99": round(late, 3)} for at, late in notes.lateness]
    assert page.count("<svg") == 6
    assert "All promises were kept and nothing grows." in page
    assert "6 MiB an hour would be a leak" in page


def test_the_report_of_a_leak_says_what_grows() -> None:
    notes = good()
    notes.samples = [LEAKS["memory"](float(at)) for at in range(600)]
    assert not is_sound(verdicts(notes))
    assert "memory: grows by 3.0" in report_page({}, notes)
    assert ("flat: memory", "BROKEN") in [row[:2] for row in rows(verdicts(notes))]
    assert body({}, notes)["sound"] is False
