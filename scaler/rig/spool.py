"""A queue of files, and the worker that takes one message from it: a broker that needs nothing but a folder.

A message is a file. It waits in `ready`, lies in `taken` while a worker has it, and ends in `done`; each step is one
rename, so that it is in one place at every moment and one worker alone can take it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PLACES: Final = ("new", "ready", "taken", "done")
WORKER: Final = "worker.sh"
MOUNT: Final = "/spool"
"""Where containers see the folder."""

_SCRIPT: Final = """\
#!/bin/sh
# Takes one message and ends: 0 done or none there, 1 the message is poison and was put back.
# SPOOL: the folder; START: seconds before it looks; PATIENCE: seconds it waits for a message.
cd "${SPOOL:-/spool}" || exit 2
[ "${START:-0}" = 0 ] || sleep "$START"
tries=$((${PATIENCE:-0} * 10))
while :; do
  for file in ready/*; do
    name="${file##*/}"
    [ "$name" != "*" ] && mv "$file" "taken/$name" 2>/dev/null && break 2
  done
  [ "$tries" -gt 0 ] || { echo "no message"; exit 0; }
  tries=$((tries - 1))
  sleep 0.1
done
read -r think poison < "taken/$name"
[ "$think" = 0 ] || sleep "$think"
if [ "$poison" = 1 ]; then
  mv "taken/$name" "ready/$name"
  echo "failed: $name"
  exit 1
fi
mv "taken/$name" "done/$name"
echo "done: $name"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """Messages that wait, that workers have, and that are done."""

    ready: int
    taken: int
    done: int


class Spool:
    """The queue in a folder, made if it is not there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for place in PLACES:
            (folder / place).mkdir(parents=True, exist_ok=True)
        (folder / WORKER).write_text(_SCRIPT, encoding="ascii")

    def put(self, names: Iterable[str], *, think_s: float = 0.0, poison: bool = False) -> None:
        """Add messages, each under a name that no other has; `think_s` is the work in it, seconds."""
        text = f"{think_s:g} {int(poison)}\n"
        for name in names:
            fresh = self.folder / "new" / name
            fresh.write_text(text, encoding="ascii")
            fresh.rename(self.folder / "ready" / name)

    def depth(self) -> Depth:
        """Count. A message on its way from one place to the next may be missed or counted twice."""
        return Depth(ready=self._count("ready"), taken=self._count("taken"), done=self._count("done"))

    def done_at(self) -> Mapping[str, float]:
        """Give when each message was done, seconds since 1970."""
        with os.scandir(self.folder / "done") as found:
            return {entry.name: entry.stat().st_ctime for entry in found}

    def names(self) -> Counter[str]:
        """Give all messages wherever they are; each once, or something is wrong."""
        return Counter(entry for place in PLACES[1:] for entry in os.listdir(self.folder / place))

    def give_back(self) -> int:
        """Put back what dead workers had taken, as a broker does whose consumers are gone; give how many."""
        taken = os.listdir(self.folder / "taken")
        for name in taken:
            (self.folder / "taken" / name).rename(self.folder / "ready" / name)
        return len(taken)

    def _count(self, place: str) -> int:
        return len(os.listdir(self.folder / place))
