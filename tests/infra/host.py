"""What carries a broker: a process, a container, or somebody else's machine."""

from __future__ import annotations

from typing import Final, NoReturn, Protocol

from tests.infra.choose import absent


class Host(Protocol):
    """Starts, stops and kills one broker with its data kept; `close` ends it for good."""

    def start(self) -> None:
        """Start it again after `stop` or `kill`."""

    def stop(self) -> None:
        """End it politely."""

    def kill(self) -> None:
        """End it at once."""

    def close(self) -> None:
        """End it at once and drop its data."""


class Restartable(Protocol):
    """A service that a test may have stopped."""

    def start(self) -> None:
        """Start it again; returns when it serves."""


DOWN: Final[set[Restartable]] = set()
"""Services a test stopped and did not start again; a failed test must not spoil the next ones."""


def revive() -> None:
    """Start everything that a test left stopped."""
    for service in tuple(DOWN):
        service.start()


class External:
    """A broker named by an environment variable: used, never touched."""

    def __init__(self, service: str, variable: str) -> None:
        self._service = service
        self._variable = variable

    def start(self) -> None:
        """Refuse: it is not ours."""
        self._refuse()

    def stop(self) -> None:
        """Refuse: it is not ours."""
        self._refuse()

    def kill(self) -> None:
        """Refuse: it is not ours."""
        self._refuse()

    def close(self) -> None:
        """Leave it alone."""

    def _refuse(self) -> NoReturn:
        absent(self._service, f"the one of {self._variable} is not ours to stop; unset the variable")
