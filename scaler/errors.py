"""The whole exception tree, so that every failure has one stable code and one exit code.

Foreign errors (an SDK's, the engine's, SQLite's) are mapped to these at the edge where they
arise; nothing above that edge knows the foreign library.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class ScalerError(Exception):
    """Base of all errors that the product raises on purpose.

    Attributes:
        code: stable CamelCase word for API answers and logs.
        exit_code: what the CLI ends with when this error reaches it.
    """

    code = "InternalError"
    exit_code = 1


class ConfigError(ScalerError):
    """A file, setting or argument of the user's is wrong. The text says where, what and what to do."""

    code = "InvalidConfiguration"
    exit_code = 2


class PollError(ScalerError):
    """One reading of a source failed.

    Attributes:
        transient: whether the next poll may succeed without anybody changing anything.
        reason: stable CamelCase word (`Unreachable`, `AuthenticationFailed`, `EntityNotFound` …).
    """

    code = "PollFailed"

    def __init__(self, message: str, *, transient: bool = True, reason: str = "PollFailed") -> None:
        super().__init__(message)
        self.transient = transient
        self.reason = reason


class LaunchError(ScalerError):
    """A replica cannot be started; trying the same at once will not help (bad image, bad command).

    Attributes:
        reason: stable CamelCase word (`ImagePullFailed`, `CommandNotFound` …).
        passing: it is the trouble of what runs replicas (a registry that does not answer, a full disk), not of
            what the job says: a later try may work, and the app has not failed.
    """

    code = "LaunchFailed"

    def __init__(self, message: str, *, reason: str = "LaunchFailed", passing: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.passing = passing


class ExecutorUnavailable(ScalerError):
    """The engine that runs replicas does not answer; the call may be repeated when it does."""

    code = "ExecutorUnavailable"


class NotFound(ScalerError):
    """The named thing does not exist."""

    code = "ResourceNotFound"


class Conflict(ScalerError):
    """The request does not fit the state of the thing it names."""

    code = "Conflict"


class LimitReached(Conflict):
    """A limit of the whole daemon leaves no room for what was asked; it may be asked again later."""

    code = "LimitReached"


class StoreError(ScalerError):
    """Records could not be read or written; nothing may be launched on a guess."""

    code = "StoreFailed"


class StateInUse(StoreError):
    """Another daemon works on the state directory.

    Attributes:
        holder: which one, for people: process id, host, since when.
    """

    code = "StateInUse"
    exit_code = 4

    def __init__(self, message: str, *, holder: str = "unknown") -> None:
        super().__init__(message)
        self.holder = holder


class DaemonUnreachable(ScalerError):
    """No daemon answers at the state directory that the client was told of."""

    code = "NoDaemon"
    exit_code = 3


@contextmanager
def map_errors(
    *,
    transient: type[BaseException] | tuple[type[BaseException], ...] = (),
    fatal: type[BaseException] | tuple[type[BaseException], ...] = (),
    where: str = "",
) -> Iterator[None]:
    """Turn a client library's errors into `PollError`.

    `fatal` is looked at first, so it may name subclasses of a `transient` class.
    """
    prefix = f"{where}: " if where else ""
    try:
        yield
    except PollError:
        raise
    except fatal as exc:
        raise PollError(f"{prefix}{str(exc) or type(exc).__name__}", transient=False) from exc
    except transient as exc:
        raise PollError(f"{prefix}{str(exc) or type(exc).__name__}", transient=True) from exc
