"""Reads a trace, its older files included, and says by file and line what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """An entry and where it stands."""

    place: str
    entry: Entry


@dataclass(slots=True)
class Trace:
    """All of it, oldest first. `dropped`: lines that were never written; `torn`: cut off by a kill."""

    entries: list[Placed] = field(default_factory=list)
    dropped: int = 0
    torn: int = 0


def read_trace(path: Path) -> Trace:
    """Read `path` and the older files beside it (`path.1`, `path.2` …).

    Raises:
        ConfigError: it cannot be read, or a line is no line of a trace; with file and line.
    """
    trace = Trace()
    for file in _files(path):
        _Reader(file, trace).read()
    if not trace.entries:
        raise ConfigError(
            f"{path}: no decision, end or arrival in it; record one by 'scaler run --record {path.name}'"
        )
    return trace


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
        self._path = path
        self._trace = trace
        self._triggers: dict[str, EventTrigger | ScheduleTrigger] = {}

    def read(self) -> None:
        try:
            for number, text in self._lines():
                self._take(number, text)
        except OSError as exc:
            raise ConfigError(
                f"{self._path}: {exc.strerror}; name a trace that 'scaler run --record' wrote"
            ) from exc

    def _lines(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Give what each line holds. A line that a kill cut off is counted: it is the last one of its run."""
        cut: str | None = None
        with self._path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                place = f"{self._path}:{number}"
                if not raw.strip():
                    continue
                try:
                    body = json.loads(raw)
                except ValueError:
                    body = None
                if cut is not None:
                    if not (isinstance(body, dict) and body.get("kind") == "trace"):
                        raise ConfigError(f"{cut}: is no JSON object; a trace has one on each line")
                    self._trace.torn += 1
                cut = None
                if isinstance(body, dict):
                    yield number, body
                else:
                    cut = place
        if cut is not None:
            if not self._trace.entries:
                raise ConfigError(f"{cut}: is no JSON object; a trace has one on each line")
            self._trace.torn += 1

    def _take(self, number: int, body: dict[str, Any]) -> None:
        place, kind = f"{self._path}:{number}", body.pop("kind", None)
        try:
            entry = self._entry(kind, body)
        except Unreadable as exc:
            raise ConfigError(f"{place}: {kind}: {exc}") from None
        except KeyError as exc:
            raise ConfigError(f"{place}: {kind}: missing {exc}") from None
        if entry is not None:
            self._trace.entries.append(Placed(place=place, entry=entry))

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
