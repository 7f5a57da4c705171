"""The course of the demo: start, flood, watch until the queue is drained, and count."""

from __future__ import annotations

import http.client
import importlib.util
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar
from xml.etree import ElementTree as ET

from scaler.demo.account import Tally
from scaler.demo.job_file import JOB, POLLING_S, QUEUE
from scaler.demo.signals import Signals
from scaler.demo.stage import Bus, Stage, StageError
from scaler.errors import DaemonUnreachable, ScalerError

T = TypeVar("T")

SAMPLE_S = 0.2
START_S = 60.0
"""How long the broker or the daemon may take until it answers; some seconds on a swamped machine."""

SETTLE_S = POLLING_S + 0.5
"""How long all must be quiet at the end: a surplus execution would start within the next look."""

DEADLINE_S = 120.0
MESSAGE_S = 2.0
_COUNTS = "{http://schemas.microsoft.com/netservices/2011/06/servicebus}"
_DONE = "done: "
_BROKER_S = 5.0


class Daemon(Protocol):
    """What the demo asks the daemon; raises `DaemonUnreachable` while none answers."""

    def counts(self, job: str) -> Any:
        """Give the number of a job's executions by status."""
        ...

    def executions(self, job: str) -> list[Any]:
        """List a job's executions."""
        ...

    def logs(self, job: str, execution: str, *, tail: int | None, follow: bool) -> Iterator[bytes]:
        """Give an execution's log."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is asked for."""

    messages: int
    max_executions: int

    @property
    def deadline_s(self) -> float:
        """Seconds after which the demo ends whatever is missing."""
        return DEADLINE_S + MESSAGE_S * self.messages


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One look: messages in the queue, executions that are live, and that have ended."""

    messages: int
    left: int
    dead: int
    live: int
    max_executions: int
    ended: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Where the demo tells how it goes: a step begins; the figures of now."""

    step: Callable[[str], None]
    progress: Callable[[Progress], None]


def require_sdk() -> None:
    """Raise a `ScalerError` that says what to install, if the SDK is not."""
    try:
        found = importlib.util.find_spec("azure.servicebus")
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise ScalerError(
            "the demo needs the package azure-servicebus; run: pip install 'queue-scaler[azure-servicebus]'"
        )


class Story:
    """Plays the demo on a stage. Every method raises `Interrupted` soon after a signal."""

    def __init__(
        self, plan: Plan, stage: Stage, signals: Signals, connect: Callable[[Path], Daemon], view: View
    ) -> None:
        self._plan = plan
        self._stage = stage
        self._signals = signals
        self._daemon = connect(stage.state_dir)
        self._view = view

    def start(self) -> Bus:
        """Start the broker and the daemon, and wait until both answer."""
        self._view.step("starting a development broker that speaks Azure Service Bus")
        self._stage.start_broker()
        bus = self._until(self._stage.bus, "the broker")
        self._view.step(f"starting the daemon on {self._stage.job_file}")
        self._stage.start_daemon(bus, max_executions=self._plan.max_executions)
        self._until(self._statuses, "the daemon")
        return bus

    def drain(self, bus: Bus) -> Tally:
        """Flood the queue, watch until nothing moves any more, and count."""
        began = time.monotonic()
        self._view.step(
            f"sending {self._plan.messages} messages; at most {self._plan.max_executions} executions at once"
        )
        self._stage.start_sender(self._plan.messages)
        peak, quiet_since, overdue = 0, began, False
        while True:
            self._signals.pause(SAMPLE_S)
            now = self._look(bus, began)
            peak = max(peak, now.live)
            self._view.progress(now)
            if now.left or now.live or self._stage.sent() is None:
                quiet_since = time.monotonic()
            overdue = now.seconds > self._plan.deadline_s
            if overdue or time.monotonic() - quiet_since > SETTLE_S:
                break
        return self._count(now, peak=peak, overdue=overdue)

    def _until(self, answer: Callable[[], T | None], name: str) -> T:
        end = time.monotonic() + START_S
        while (found := answer()) is None:
            if time.monotonic() > end:
                raise StageError(f"{name} didn't answer within {START_S:g} s")
            self._signals.pause(0.05)
        return found

    def _statuses(self) -> dict[str, int] | None:
        """Give the number of executions by status; None as long as the daemon doesn't know the job."""
        self._stage.check()
        try:
            return dict(self._daemon.counts(JOB)["counts"])
        except DaemonUnreachable:
            return None
        except ScalerError as exc:
            if getattr(exc, "status", None) == http.HTTPStatus.NOT_FOUND:
                return None
            raise

    def _look(self, bus: Bus, began: float) -> Progress:
        left, dead = read_depth(bus)
        statuses = self._statuses()
        if statuses is None:
            raise StageError("the daemon doesn't answer any more")
        live = statuses["Processing"] + statuses["Running"]
        return Progress(
            messages=self._plan.messages,
            left=left,
            dead=dead,
            live=live,
            max_executions=self._plan.max_executions,
            ended=sum(statuses.values()) - live,
            seconds=time.monotonic() - began,
        )

    def _count(self, last: Progress, *, peak: int, overdue: bool) -> Tally:
        return Tally(
            sent=self._stage.sent() or (),
            done=tuple(self._completed()),
            statuses=self._statuses() or {},
            peak=peak,
            max_executions=self._plan.max_executions,
            left=last.left,
            dead=last.dead,
            seconds=last.seconds - (0.0 if overdue else SETTLE_S),
            overdue=overdue,
        )

    def _completed(self) -> Iterator[str]:
        """Read in the log of every execution which messages it has completed."""
        for execution in self._daemon.executions(JOB):
            self._signals.check()
            log = b"".join(self._daemon.logs(JOB, execution["name"], tail=None, follow=False))
            lines = log.decode(errors="replace").splitlines()
            yield from (line.removeprefix(_DONE) for line in lines if line.startswith(_DONE))


def read_depth(bus: Bus) -> tuple[int, int]:
    """Ask the broker for the messages in the queue (those in workers' hands included) and the dead ones."""
    connection = http.client.HTTPConnection("127.0.0.1", bus.admin_port, timeout=_BROKER_S)
    try:
        connection.request("GET", f"/{QUEUE}?api-version=2021-05", headers={"Authorization": "none"})
        entry = ET.fromstring(connection.getresponse().read())  # noqa: S314 - written by our own broker
    except (OSError, http.client.HTTPException, ET.ParseError) as exc:
        raise StageError(f"the broker doesn't answer any more: {str(exc) or type(exc).__name__}") from exc
    finally:
        connection.close()
    names = (f"{_COUNTS}ActiveMessageCount", f"{_COUNTS}DeadLetterMessageCount")
    active, dead = (int(next(entry.iter(name)).text or 0) for name in names)
    return active, dead
