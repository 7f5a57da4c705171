"""Tables, times and colours."""

from __future__ import annotations

import io
import os
from contextlib import redirect_stdout
from datetime import timedelta

import pytest

from scaler.cli import render


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    screen = Terminal()
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((30, 24)))
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    return screen


def test_a_terminal_gets_bold_heads_and_rows_that_fit(terminal: Terminal) -> None:
    with redirect_stdout(terminal):
        render.table(("NAME", "TEXT"), [("orders", "a rather long text that cannot fit")])
    assert terminal.getvalue() == ("\x1b[1mNAME    TEXT\x1b[0m\norders  a rather long text th…\n")


def test_no_color_is_honoured(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    with redirect_stdout(terminal):
        render.table(("NAME",), [("orders",)])
    assert terminal.getvalue() == "NAME\norders\n"


def test_a_pipe_gets_whole_values(capsys: pytest.CaptureFixture[str]) -> None:
    render.table(("A", "B"), [("x" * 300, 1.0), (None, "two\nlines")])
    assert capsys.readouterr().out == f"A{' ' * 299}  B\n{'x' * 300}  1\n-{' ' * 299}  two lines\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (-5, "0s"), (59.9, "59s"), (60, "1m"), (3661, "1h 1m"), (90_000, "1d 1h"), (3600, "1h")],
)
def test_spans_have_two_units_at_most(seconds: float, text: str) -> None:
    assert render.span_text(timedelta(seconds=seconds)) == text


def test_times_are_utc_in_whole_seconds() -> None:
    assert render.clock_text("2026-11-21T14:00:00.123+02:00") == "2026-11-21 12:00:00Z"
    assert render.clock_text(None) == "-"
    assert render.read_time("no time") is None
