"""How a flood looks while it goes on: lines that are redrawn on a terminal, plain lines elsewhere."""

from __future__ import annotations

import io

import pytest

from scaler.cli.load_view import View
from scaler.load.account import Notes, Report, Sample
from scaler.load.plan import Plan

PLAN = Plan(count=10, poison=0.2)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def looked(job: str, at_s: float, done: int, depth: int | None) -> Notes:
    made = Notes(job=job, kind="rabbitmq", max_executions=4)
    made.sent = {f"r/{number}": 0.0 for number in range(8)}
    made.reports = [Report(id=f"r/{n}", started=1.0, reported=2.0, is_poison=False) for n in range(done)]
    made.samples = [
        Sample(at_s=0.0, sent=8, done=0, depth=8, running=4),
        Sample(at_s=at_s, sent=8, done=done, depth=depth, running=None),
    ]
    return made


def test_without_a_terminal_a_line_is_told_when_something_changed() -> None:
    stream = io.StringIO()
    view = View(PLAN, stream)
    for at_s, done, depth in ((1.0, 1, 7), (1.5, 2, 6), (3.0, 2, None), (5.0, 2, None)):
        view.show(looked("orders", at_s, done, depth))
    view.close()
    assert [line.split() for line in stream.getvalue().splitlines()] == [
        "1 s orders queue 7 | running ?/4 | done 1/8".split(),
        "3 s orders queue ? | running ?/4 | done 2/8".split(),
    ]


def test_on_a_terminal_the_lines_of_all_jobs_are_drawn_anew_with_a_bar_and_a_chart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    stream = Terminal()
    view = View(PLAN, stream)
    view.show(looked("orders", 1.0, 4, 4))
    view.show(looked("mails", 1.0, 8, 0))
    view.show(looked("orders", 2.0, 8, 0))
    view.close()
    text = stream.getvalue()
    assert text.count("\x1b[1A") == 1
    assert text.count("\x1b[2A") == 1
    assert "done 4/8 [#####.....] 1 s " in text
    assert max(map(len, text.replace("\x1b[K", "").splitlines())) <= 80 + len("\x1b[2A\r")
    assert "█" in text
    assert text.rsplit("\x1b[2A", 1)[1].count("done 8/8 [##########]") == 2


def test_a_run_without_a_look_shows_nothing() -> None:
    stream = io.StringIO()
    View(PLAN, stream).show(Notes(job="orders", kind="rabbitmq", max_executions=4))
    assert stream.getvalue() == ""


def test_without_a_terminal_the_end_is_told_even_within_a_second() -> None:
    stream = io.StringIO()
    view = View(PLAN, stream)
    view.show(looked("orders", 1.0, 5, 3))
    view.show(looked("orders", 1.4, 8, 0))
    view.close()
    assert stream.getvalue().splitlines()[-1].split() == "1 s orders queue 0 | running ?/4 | done 8/8".split()
