"""When a daemon's turn begins and ends: a standby waits for it, and signals end it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from aiohttp import web

from scaler.api.address import standby_path
from scaler.api.keys import TOKENS
from scaler.api.serve import TcpListener, serve
from scaler.api.standby import build_standby
from scaler.errors import ConfigError, Conflict, StateInUse
from scaler.model.secret import Secret
from scaler.store.lock import hold_lock

log = structlog.get_logger("scaler")

LOOK_S = 0.25
"""How often a standby looks whether the state directory is free: so long may nobody work after a death."""


def ending_signals() -> tuple[signal.Signals, ...]:
    """Give TERM, INT, and HUP unless it is ignored, as nohup asks for."""
    is_heard = signal.getsignal(signal.SIGHUP) != signal.SIG_IGN
    return (signal.SIGTERM, signal.SIGINT, *((signal.SIGHUP,) if is_heard else ()))


@dataclass(slots=True)
class Ending:
    """Hears the signals that end a daemon: once to end, again to end at once."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    _first: Callable[[], None] | None = None
    _again: Callable[[], None] | None = None

    def listen(self) -> None:
        """Begin to hear the signals that end it."""
        loop = asyncio.get_running_loop()
        for number in ending_signals():
            loop.add_signal_handler(number, self._hear)

    def then(self, first: Callable[[], None], again: Callable[[], None]) -> None:
        """Say what to do at the first signal, which may have come already, and at further ones."""
        self._first, self._again = first, again
        if self.asked.is_set():
            first()

    def _hear(self) -> None:
        act = self._again if self.asked.is_set() else self._first
        self.asked.set()
        if act is not None:
            act()


@dataclass(frozen=True, slots=True, kw_only=True)
class Standby:
    """How a daemon waits for its turn: where it says so meanwhile."""

    state_dir: Path
    tcp: TcpListener | None = None
    tokens: tuple[tuple[str, Secret], ...] = ()


async def take_turn(database: Path, stack: ExitStack, ending: Ending, standby: Standby | None) -> bool:
    """Lock the records for as long as `stack` lasts; False if a signal ended the wait for it.

    Raises:
        StateInUse: another daemon holds them, and this one is not to wait.
    """
    try:
        stack.enter_context(hold_lock(database))
    except StateInUse as exc:
        if standby is None:
            raise
        return await _wait(database, stack, ending, standby, exc.holder)
    return True


async def _wait(database: Path, stack: ExitStack, ending: Ending, standby: Standby, holder: str) -> bool:
    """Look again and again; the holder may change while several wait."""
    begun = asyncio.get_running_loop().time()
    log.info("standby.waiting", state_dir=str(standby.state_dir), holder=holder)
    known = [holder]
    async with _saying_so(standby, lambda: known[0]):
        while not ending.asked.is_set():
            try:
                stack.enter_context(hold_lock(database))
            except StateInUse as exc:
                if exc.holder != known[0]:
                    log.info("standby.waiting", state_dir=str(standby.state_dir), holder=exc.holder)
                known[0] = exc.holder
            else:
                waited_s = round(asyncio.get_running_loop().time() - begun, 1)
                log.info("standby.takes_over", former=known[0], after_s=waited_s)
                return True
            await _pause(ending)
    log.info("standby.stopped")
    return False


async def _pause(ending: Ending) -> None:
    try:
        async with asyncio.timeout(LOOK_S):
            await ending.asked.wait()
    except TimeoutError:
        return


@asynccontextmanager
async def _saying_so(standby: Standby, holder: Callable[[], str]) -> AsyncIterator[None]:
    """Answer meanwhile, where nobody else does: another standby may, and on TCP the daemon that works."""
    async with AsyncExitStack() as stack:
        for tcp in (standby.tcp, None) if standby.tcp else (None,):
            app = _app(standby, holder)
            try:
                await stack.enter_async_context(serve(app, standby_path(standby.state_dir), tcp=tcp))
            except (ConfigError, Conflict) as exc:
                log.debug("standby.silent", reason=str(exc))
            else:
                break
        yield


def _app(standby: Standby, holder: Callable[[], str]) -> web.Application:
    app = build_standby(holder)
    if standby.tokens:
        app[TOKENS] = standby.tokens
    return app
