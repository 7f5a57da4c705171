"""What every bench gets: how much it shall do, where it may write, and how it reaches its daemon."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scaler.rig.daemon import Api


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line says of size and care.

    Attributes:
        repeat: repetitions, each of baseline and product in turn.
        quick: a tenth of the size, to see that the bench itself works.
        say: takes a line of progress.
        image: the image to measure containers with; None: one made of this machine's shell.
    """

    repeat: int
    quick: bool
    say: Callable[[str], None]
    image: str | None = None

    def size(self, full: int, *, least: int = 1) -> int:
        """Give the number of things to do."""
        return max(least, full // 10) if self.quick else full


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Where one bench plays.

    Attributes:
        options: size and care.
        folder: an empty folder of its own, gone afterwards.
        connect: makes a client of the daemon on a state directory.
    """

    options: Options
    folder: Path
    connect: Callable[[Path], Api]

    def room(self, name: str) -> Path:
        """Make a folder in it."""
        room = self.folder / name
        room.mkdir(parents=True)
        return room
