"""What hears of decisions and ends, so that they can be made again later."""

from __future__ import annotations

from typing import Protocol

from scaler.model.execution import ExecutionState
from scaler.planning.answer import Plan
from scaler.planning.decide import Inputs
from scaler.planning.firing import Fired, FireInputs


class Recorder(Protocol):
    """Takes note; never waits and never raises, since the engine goes on without it."""

    def decided(self, inputs: Inputs, plan: Plan, *, decision_id: int, read_s: float) -> None:
        """Hear of a decision that is recorded; `read_s` is how long reading the sources took, seconds."""
        ...

    def fired(self, inputs: FireInputs, fired: Fired, *, decision_id: int) -> None:
        """Hear of a decision on a due time that is recorded."""
        ...

    def ended(self, state: ExecutionState) -> None:
        """Hear of an execution that has ended."""
        ...


class Unrecorded:
    """Takes no note."""

    def decided(self, inputs: Inputs, plan: Plan, *, decision_id: int, read_s: float) -> None:
        """Forget it."""

    def fired(self, inputs: FireInputs, fired: Fired, *, decision_id: int) -> None:
        """Forget it."""

    def ended(self, state: ExecutionState) -> None:
        """Forget it."""
