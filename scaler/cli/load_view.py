"""Shows a flood while it goes on: lines that are redrawn on a terminal, else a line a second if anything changed."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, TextIO

from scaler.rig.charts import spark

if TYPE_CHECKING:
    from scaler.load.account import Notes
    from scaler.load.plan import Plan

LINE_EVERY_S = 1.0
_BAR = 10


class View:
    """Draws on standard error if nothing else is named, so that the report alone is on standard output."""

    def __init__(self, plan: Plan, stream: TextIO | None = None) -> None:
        self._plan = plan
        self._stream = stream or sys.stderr
        self._redraws = self._stream.isatty()
        self._lines: dict[str, str] = {}
        self._drawn = 0
        self._told: dict[str, tuple[str, float]] = {}
        self._untold: dict[str, tuple[str, float]] = {}

    def show(self, notes: Notes) -> None:
        """Show the latest sample of one job."""
        if not notes.samples:
            return
        text, at_s = self._text(notes), notes.samples[-1].at_s
        if self._redraws:
            self._lines[notes.job] = text
            self._draw()
            return
        before, when = self._told.get(notes.job, ("", float("-inf")))
        self._untold.pop(notes.job, None)
        if text == before:
            return
        if at_s - when < LINE_EVERY_S:
            self._untold[notes.job] = (text, at_s)
            return
        self._tell(notes.job, text, at_s)

    def close(self) -> None:
        """Leave the lines as they are, and tell how it ended what was not told in time."""
        self._drawn = 0
        for job, (text, at_s) in self._untold.items():
            self._tell(job, text, at_s)
        self._untold.clear()

    def _tell(self, job: str, text: str, at_s: float) -> None:
        self._told[job] = (text, at_s)
        self._stream.write(f"{at_s:5.0f} s  {text}\n")
        self._stream.flush()

    def _text(self, notes: Notes) -> str:
        last, of = notes.samples[-1], self._plan.count - self._plan.poisoned
        depth = "?" if last.depth is None else str(last.depth)
        running = "?" if last.running is None else str(last.running)
        most = notes.max_executions
        words = f"{notes.job:<16} queue {depth:>4} | running {running:>2}/{most} | done {last.done}/{of}"
        if not self._redraws:
            return words
        filled = min(_BAR, _BAR * last.done // max(1, of))
        depths = [sample.depth for sample in notes.samples]
        top = float(max((depth for depth in depths if depth is not None), default=1))
        text = f"{words} [{'#' * filled}{'.' * (_BAR - filled)}] {last.at_s:.0f} s "
        return text + spark(depths, width=self._room() - len(text), top=top)

    @staticmethod
    def _room() -> int:
        return shutil.get_terminal_size().columns - 1

    def _draw(self) -> None:
        room = self._room()
        back = f"\x1b[{self._drawn}A" if self._drawn else ""
        self._stream.write(back + "".join(f"\r{line[:room]}\x1b[K\n" for line in self._lines.values()))
        self._stream.flush()
        self._drawn = len(self._lines)
