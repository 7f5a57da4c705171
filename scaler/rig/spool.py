"""A queue of files, and the worker that takes one message from it: a broker that needs nothing but a folder.

A message is a file. It waits in `ready`, lies in `taken` under its worker's name while that has it, and ends in `done`;
each step is one rename, so that it is in one place at every moment and one worker alone can take it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PLACES: Final = ("new", "ready", "taken", "done")
WORKER: Final = "worker.sh"
MOUNT: Final = "/spool"
"""Where containers see the folder."""

HOLDS: Final = "@"
"""Stands in `taken` between a message and the replica that has it."""
AGAIN: Final = "~"
"""Begins the name of a message that was put back: it waits behind those that nobody has tried."""
ALWAYS: Final = -1
"""So often fails a message that always does."""

_SCRIPT: Final = """\
#!/bin/sh
# Takes one message and ends: 0 done or none there, 1 the message made it fail and was put back.
# SPOOL: the folder; START: seconds before it looks; PATIENCE: seconds it waits for a message; JOURNAL: keep one.
LC_ALL=C; export LC_ALL
me="${CONTAINER_APP_REPLICA_NAME:-nobody}"
note() { [ -z "${JOURNAL:-}" ] || echo "$1 $me ${name#\\~}" >> journal; }
cd "${SPOOL:-/spool}" || exit 2
[ "${START:-0}" = 0 ] || sleep "$START"
tries=$((${PATIENCE:-0} * 10))
while :; do
  for file in ready/*; do
    name="${file##*/}"
    held="taken/$name@$me"
    [ "$name" != "*" ] && mv "$file" "$held" 2>/dev/null && break 2
  done
  [ "$tries" -gt 0 ] || { name=-; note empty; echo "no message"; exit 0; }
  tries=$((tries - 1))
  sleep 0.1
done
note took
read -r think fails hangs noise < "$held"
if [ "${hangs:-0}" -gt 0 ]; then
  echo "$think $fails $((hangs - 1)) $noise" > "$held"
  exec sleep 3600
fi
while [ "${noise:-0}" -gt 0 ]; do
  echo "$noise: a line of a worker that says more than anybody wants to read, again and again, $me"
  noise=$((noise - 1))
done
[ "${think:-0}" = 0 ] || sleep "$think"
if [ "${fails:-0}" != 0 ]; then
  [ "$fails" -lt 0 ] || echo "$think $((fails - 1)) 0 0" > "$held"
  note failed  # before it is put back: who is killed in between must not have put back what nobody knows of
  until mv "$held" "ready/~${name#\\~}" 2>/dev/null; do sleep 0.1; done
  echo "failed: $name"
  exit 1
fi
mv "$held" "done/${name#\\~}" || { note robbed; exit 3; }
note done
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

    def put(
        self,
        names: Iterable[str],
        *,
        think_s: float = 0.0,
        poison: bool = False,
        fails: int = 0,
        hangs: int = 0,
        noise: int = 0,
    ) -> None:
        """Add messages, each under a name that no other has.

        `think_s` is the work in it, seconds; the first `fails` workers fail (if it is poison, all do), the first
        `hangs` never end, and each writes `noise` lines.
        """
        text = f"{think_s:g} {ALWAYS if poison else fails} {hangs} {noise}\n"
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
        found = (entry for place in PLACES[1:] for entry in os.listdir(self.folder / place))
        return Counter(plain_name(entry) for entry in found)

    def holders(self) -> set[str]:
        """Give the replicas that have a message."""
        return {entry.rpartition(HOLDS)[2] for entry in os.listdir(self.folder / "taken")}

    def give_back(self, dead: Collection[str]) -> list[tuple[str, str]]:
        """Put back what dead workers had taken, as a broker does whose consumers are gone.

        Args:
            dead: replicas; who lives must be asked after the `holders`, so that nobody is taken for dead who has just
                begun.

        Returns:
            Each message with the replica that had it.

        Raises:
            FileNotFoundError: a place of the queue is away.
        """
        given = []
        for entry in os.listdir(self.folder / "taken"):
            name, _, replica = entry.rpartition(HOLDS)
            if replica in dead:
                (self.folder / "taken" / entry).rename(self.folder / "ready" / f"{AGAIN}{plain_name(entry)}")
                given.append((plain_name(name), replica))
        return given

    def journal(self) -> list[list[str]]:
        """Give what workers noted, where they do: a word (took, done, failed, empty), the replica, the message."""
        path = self.folder / "journal"
        text = path.read_text(encoding="ascii", errors="replace") if path.exists() else ""
        return [line.split() for line in text.splitlines()]

    def _count(self, place: str) -> int:
        return len(os.listdir(self.folder / place))


def plain_name(entry: str) -> str:
    """Give the name under which a message was put, wherever it is now."""
    return entry.partition(HOLDS)[0].lstrip(AGAIN)
