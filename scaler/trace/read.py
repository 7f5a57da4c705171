"""Reads a trace, its older files included, line by line, and says by file and line what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scaler.errors import ConfigError
from scaler.model.job import EventTrigger, ScheduleTrigger
from scaler.planning.decide import Inputs
from scaler.planning.firing import Fired, FireInputs
from scaler.trace.codec import Unreadable, decode
from scaler.trace.lines import VERSION, Arrival, Decided, Due, Ended, Entry, Outcome

KINDS = ("trace", "job", "decision", "due", "end", "arrival", "dropped")
MOST_FILES = 1000
_LINES_A_TELL = 1000

Tell = Callable[[float], None]
"""Hears which share has been read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """An entry and where it stands."""

    place: str
    entry: Entry


class Trace:
    """A trace on the disk, older files beside it included. Iterating reads it, oldest first, never all at once.

    Attributes:
        dropped: lines that were never written; torn: cut off by a kill. Known once it is read to its end.
    """

    def __init__(self, path: Path, tell: Tell = lambda _share: None) -> None:
        self.path = path
        self.dropped = 0
        self.torn = 0
        self._tell = tell

    def __iter__(self) -> Iterator[Placed]:
        """Read it.

        Raises:
            ConfigError: it cannot be read, or a line is no line of a trace; with file and line.
        """
        self.dropped = self.torn = found = 0
        files = _files(self.path)
        total = sum(file.stat().st_size for file in files if file.exists())
        done = 0
        for file in files:
            reader = _Reader(file, self)
            for placed in reader.entries():
                found += 1
                yield placed
                if found % _LINES_A_TELL == 0:
                    self._tell((done + reader.position) / max(1, total))
            done += reader.position
        if not found:
            name = self.path.name
            text = f"no decision, end or arrival in it; record one by 'scaler run --record {name}'"
            raise ConfigError(f"{self.path}: {text}")


def _files(path: Path) -> list[Path]:
    older = []
    for number in range(1, MOST_FILES):
        file = path.with_name(f"{path.name}.{number}")
        if not file.exists():
            break
        older.append(file)
    return [*reversed(older), path]


class _Reader:
    """Reads one file; `job` lines hold from where they stand."""

    def __init__(self, path: Path, trace: Trace) -> None:
        self.position = 0
        self._path = path
        self._trace = trace
        self._cut: str | None = None
        self._any = False
        self._triggers: dict[str, EventTrigger | ScheduleTrigger] = {}

    def entries(self) -> Iterator[Placed]:
        """Give what its lines hold, with their places."""
        try:
            with self._path.open("rb") as file:
                for number, raw in enumerate(file, start=1):
                    self.position += len(raw)
                    placed = self._take(number, raw) if raw.strip() else None
                    if placed is not None:
                        yield placed
        except OSError as exc:
            text = f"{exc.strerror}; name a trace that 'scaler run --record' wrote"
            raise ConfigError(f"{self._path}: {text}") from exc
        if self._cut is not None:
            self._end_of_run(self._cut, is_torn=self._any)

    def _end_of_run(self, place: str, *, is_torn: bool) -> None:
        """Judge a line that is no JSON: a kill cuts off the last one of a run; elsewhere there is none such."""
        self._cut = None
        if not is_torn:
            raise ConfigError(f"{place}: is no JSON object; a trace has one on each line")
        self._trace.torn += 1

    def _take(self, number: int, raw: bytes) -> Placed | None:
        place = f"{self._path}:{number}"
        try:
            body = json.loads(raw)
        except ValueError:
            body = None
        if self._cut is not None:
            self._end_of_run(self._cut, is_torn=isinstance(body, dict) and body.get("kind") == "trace")
        if not isinstance(body, dict):
            self._cut = place
            return None
        self._any = True
        kind = body.pop("kind", None)
        try:
            entry = self._entry(kind, body)
        except Unreadable as exc:
            raise ConfigError(f"{place}: {kind}: {exc}") from None
        except (KeyError, TypeError) as exc:
            raise ConfigError(f"{place}: {kind}: missing or no object: {exc}") from None
        return Placed(place=place, entry=entry) if entry is not None else None

    def _entry(self, kind: object, body: dict[str, Any]) -> Entry | None:
        if kind == "decision":
            return self._decision(body)
        if kind == "due":
            return self._due(body)
        if kind == "end":
            return decode(Ended, body)
        if kind == "arrival":
            return _arrival(body)
        if kind == "job":
            self._triggers[body["job"]] = _trigger(body)
        elif kind == "dropped":
            self._trace.dropped += decode(int, body["count"], "count")
        elif kind == "trace":
            self._triggers.clear()
            if body.get("version") != VERSION:
                raise Unreadable(f"version {body.get('version')!r}; this program reads {VERSION}")
        else:
            raise Unreadable(f"got {kind!r}; a line's kind is one of {', '.join(KINDS)}")
        return None

    def _decision(self, body: dict[str, Any]) -> Decided:
        return Decided(
            inputs=decode(Inputs, self._inputs(body), "inputs"),
            outcome=decode(Outcome, body["outcome"], "outcome"),
            decision_id=decode(int, body.get("decisionId", 0), "decisionId"),
            read_s=decode(float, body.get("readS", 0.0), "readS"),
        )

    def _due(self, body: dict[str, Any]) -> Due:
        return Due(
            inputs=decode(FireInputs, self._inputs(body), "inputs"),
            outcome=decode(Fired, body["outcome"], "outcome"),
            decision_id=decode(int, body.get("decisionId", 0), "decisionId"),
        )

    def _inputs(self, body: dict[str, Any]) -> dict[str, Any]:
        """Give the inputs of a line together with the trigger of their job."""
        inputs = body["inputs"]
        trigger = self._triggers.get(inputs["job"])
        if trigger is None:
            raise Unreadable(f"no line of kind job for '{inputs['job']}' stands before it")
        return {**inputs, "trigger": trigger}


def _trigger(body: dict[str, Any]) -> EventTrigger | ScheduleTrigger:
    if "schedule" in body:
        return decode(ScheduleTrigger, body["schedule"], "schedule")
    return decode(EventTrigger, body["trigger"], "trigger")


def _arrival(body: dict[str, Any]) -> Arrival:
    arrival = decode(Arrival, body)
    if arrival.at.tzinfo is None:
        raise Unreadable(f"at: got {body['at']!r}; write a time with its zone, such as 2026-03-01T12:00:00Z")
    if arrival.count < 1:
        raise Unreadable(f"count: got {arrival.count}; it must be 1 or more")
    return arrival
