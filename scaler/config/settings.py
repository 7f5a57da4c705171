"""The daemon's own settings: where it keeps its state, where it listens, and its limits."""

from __future__ import annotations

import ipaddress
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from scaler.config.faults import Fault, mask
from scaler.config.files import read_file
from scaler.config.secrets import file_trouble, read_secret_file
from scaler.config.settings_wire import (
    NO_BOUND,
    GlobalWire,
    HistoryWire,
    SettingsWire,
    TokenWire,
    split_address,
)
from scaler.config.source import Document, UnreadableText, decode, read_documents
from scaler.errors import ConfigError
from scaler.model.capacity import UNLIMITED, GlobalLimits
from scaler.model.retention import CONTAINER_APPS, DEFAULT_RETENTION, Retention
from scaler.model.secret import Secret
from scaler.plugins import EXECUTORS, Registry
from scaler.ports.executor import ExecutorType
from scaler.wire.base import parse_memory, show, without_nulls
from scaler.wire.faults import WireFault, nearest, pydantic_faults, where

DEFAULT_STATE_DIR = ".scaler"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """A TCP address of the API.

    `tokens` are names and texts; the one without a name is "". Without any, whoever reaches it may use it, which
    is for loopback only.
    """

    host: str
    port: int
    tokens: tuple[tuple[str, Secret], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings:
    """Times that bound the daemon's own work.

    Attributes:
        poll_timeout: longest reading of one source.
        refill_interval: least time between two early readings (an execution has ended) of one source.
        source_requests: most requests a second to one source, of all rules together; None for no limit.
        launch_timeout: longest start of one replica, pulling its image included.
        stop_grace: from asking a replica to end until it is killed.
        overall: what all executions of the daemon may take together.
    """

    poll_timeout: timedelta = timedelta(seconds=10)
    refill_interval: timedelta = timedelta(seconds=0.05)
    source_requests: float | None = None
    launch_timeout: timedelta = timedelta(seconds=300)
    stop_grace: timedelta = timedelta(seconds=10)
    overall: GlobalLimits = UNLIMITED


@dataclass(frozen=True, slots=True, kw_only=True)
class ShutdownSettings:
    """What the first signal does: end and leave replicas running, or `drain`, for `drain_timeout` at most.

    `drain_timeout` None: as long as it takes.
    """

    drain: bool = False
    drain_timeout: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """What is logged, and how. `level`: debug, info, warning, error; `format`: console, json."""

    level: str = "info"
    format: str = "console"


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceSettings:
    """Where decisions are recorded: at most `keep` older files of `max_bytes` each beside `file`."""

    file: Path
    max_bytes: int = 64 << 20
    keep: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All of it. `listen` None: only the socket in `state_dir`. `executors`: plain values by executor."""

    state_dir: Path
    listen: Listen | None = None
    executors: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    history: Retention = DEFAULT_RETENTION
    limits: LimitSettings = LimitSettings()
    log: LogSettings = LogSettings()
    shutdown: ShutdownSettings = ShutdownSettings()
    trace: TraceSettings | None = None


def load_settings(
    path: str | os.PathLike[str] | None,
    *,
    env: Mapping[str, str],
    executors: Registry[ExecutorType] = EXECUTORS,
) -> Settings:
    """Read a settings file; without one, all defaults (state in `.scaler` of the current folder).

    Relative paths start from the folder of the file.

    Raises:
        ConfigError: one line a fault, each with file, line, column, place, what was got and what to do.
    """
    if path is None:
        return Settings(state_dir=Path(DEFAULT_STATE_DIR).absolute())
    name = os.fspath(path)
    document = _document(name, env)
    wire, faults = _validate(document.value)
    folder = os.path.dirname(os.path.abspath(name))
    tokens, token_faults = _tokens(wire, folder, env)
    faults += token_faults
    if isinstance(document.value, dict):
        faults += _executor_faults(document.value.get("executors"), executors)
    if faults or document.faults or wire is None:
        raise ConfigError(_text(name, document, faults))
    return _settings(wire, folder, tokens)


def _document(name: str, env: Mapping[str, str]) -> Document:
    file = read_file(name)
    if file.fault:
        raise ConfigError(str(file.fault))
    try:
        documents, broken = read_documents(decode(file.raw), env, numbers=True)
    except UnreadableText as exc:
        line, column = (exc.position.line, exc.position.column) if exc.position else (0, 0)
        raise ConfigError(str(Fault(file=name, line=line, column=column, message=exc.message))) from exc
    if broken:
        place = broken.position
        fault = Fault(file=name, line=place.line, column=place.column, message=broken.message)
        raise ConfigError(str(fault))
    if len(documents) > 1:
        place = documents[1].start
        message = "a second document; settings are one document"
        raise ConfigError(str(Fault(file=name, line=place.line, column=place.column, message=message)))
    document = documents[0] if documents else None
    if document is None or (document.value is None and not document.faults):
        raise ConfigError(
            str(Fault(file=name, line=1, column=1, message="no settings in it; leave it out for defaults"))
        )
    return document


def _validate(value: object) -> tuple[SettingsWire | None, list[WireFault]]:
    if not isinstance(value, dict):
        return None, [WireFault(path=(), message=f"got {show(value)}; write settings, which are a mapping")]
    try:
        return SettingsWire.model_validate(without_nulls(value)), []
    except ValidationError as exc:
        return None, pydantic_faults(SettingsWire, exc)


Token = tuple[str, Secret]
"""Name and text of a token."""


def _tokens(
    wire: SettingsWire | None, folder: str, env: Mapping[str, str]
) -> tuple[tuple[Token, ...], list[WireFault]]:
    if wire is None or wire.listen is None:
        return (), []
    listen = wire.listen
    sources: list[tuple[str, tuple[str, ...], TokenWire]]
    sources = [] if listen.token is None else [("", ("listen", "token"), listen.token)]
    sources += [(name, ("listen", "tokens", name), source) for name, source in listen.tokens.items()]
    host = split_address(listen.address)[0]
    if not sources and not _is_loopback(host):
        message = f"missing; {host} can be reached from outside, so name the token that clients must send"
        return (), [WireFault(path=("listen", "token"), message=message)]
    found = [(name, *_token_text(source, path, folder, env)) for name, path, source in sources]
    tokens = tuple((name, Secret(text)) for name, text, _fault in found if text)
    return tokens, [fault for _name, _text, fault in found if fault is not None]


def _token_text(
    source: TokenWire, path: tuple[str, ...], folder: str, env: Mapping[str, str]
) -> tuple[str | None, WireFault | None]:
    if (source.env is None) == (source.file is None):
        return None, WireFault(path=path, message="write either 'env' or 'file'")
    if source.env is not None:
        text = env.get(source.env, "")
        message = f"the variable {source.env} is not set; set it where the daemon starts"
        return text, None if text else WireFault(path=(*path, "env"), message=message)
    named = source.file or ""
    try:
        text = read_secret_file(os.path.join(folder, named))
    except (OSError, ValueError) as exc:
        return None, WireFault(path=(*path, "file"), message=file_trouble(exc, named))
    fault = WireFault(path=(*path, "file"), message=f"the file '{named}' is empty")
    return text, None if text else fault


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _executor_faults(section: object, executors: Registry[ExecutorType]) -> list[WireFault]:
    """Check the names under `executors.<name>` against what that executor knows."""
    faults: list[WireFault] = []
    for name, values in section.items() if isinstance(section, dict) else ():
        path = ("executors", name)
        try:
            known = executors.load(name).settings
        except ConfigError as exc:
            faults.append(WireFault(path=path, message=str(exc), at_key=True))
            continue
        for key in values if isinstance(values, dict) else ():
            if key not in known:
                hint = nearest(key, known) if known else "it has no settings"
                faults.append(WireFault(path=(*path, key), message=f"unknown setting; {hint}", at_key=True))
    return faults


def _text(name: str, document: Document, faults: list[WireFault]) -> str:
    found = [(document.locate(f.path, at_key=f.at_key), f.path, f.message) for f in faults]
    found += [(f.position, f.path, f.message) for f in document.faults]
    lines = [
        Fault(
            file=name,
            line=place.line,
            column=place.column,
            where=where(path),
            message=mask(message, document.drawn),
        )
        for place, path, message in sorted(found, key=lambda item: item[0])
    ]
    return "\n".join(dict.fromkeys(str(line) for line in lines))


def _overall(wire: GlobalWire) -> GlobalLimits:
    return GlobalLimits(
        executions=wire.executions,
        cpu=wire.cpu,
        memory_bytes=None if wire.memory is None else parse_memory(wire.memory),
        launch_rate=wire.launch_rate,
        launch_burst=wire.launch_burst or max(1, math.floor(wire.launch_rate or 1.0)),
        pass_over=wire.pass_over,
    )


def _retention(wire: HistoryWire) -> Retention:
    """Join the preset and what is written beside it."""
    kept = replace(CONTAINER_APPS if wire.preset else DEFAULT_RETENTION, decisions=wire.decisions)
    if wire.executions is not None:
        kept = replace(kept, executions=None if wire.executions == NO_BOUND else int(wire.executions))
    if wire.days is not None:
        kept = replace(kept, age=None if wire.days == NO_BOUND else timedelta(days=int(wire.days)))
    if wire.log_bytes is not None:
        kept = replace(kept, log_bytes=None if wire.log_bytes == NO_BOUND else parse_memory(wire.log_bytes))
    return kept


def _settings(wire: SettingsWire, folder: str, tokens: tuple[Token, ...]) -> Settings:
    listen = None
    if wire.listen is not None:
        host, port = split_address(wire.listen.address)
        listen = Listen(host=host, port=port, tokens=tokens)
    limits = wire.limits
    trace = None
    if wire.trace is not None:
        file = Path(os.path.normpath(os.path.join(folder, wire.trace.file)))
        trace = TraceSettings(file=file, max_bytes=wire.trace.max_bytes, keep=wire.trace.keep)
    return Settings(
        state_dir=Path(os.path.normpath(os.path.join(folder, wire.state_dir))),
        listen=listen,
        executors=dict(wire.executors),
        history=_retention(wire.history),
        limits=LimitSettings(
            poll_timeout=timedelta(seconds=limits.poll_timeout),
            refill_interval=timedelta(seconds=limits.refill_interval),
            source_requests=limits.source_requests,
            launch_timeout=timedelta(seconds=limits.launch_timeout),
            stop_grace=timedelta(seconds=limits.stop_grace),
            overall=_overall(limits.overall),
        ),
        log=LogSettings(level=wire.log.level, format=wire.log.format),
        shutdown=ShutdownSettings(
            drain=wire.shutdown.drain,
            drain_timeout=None
            if wire.shutdown.drain_timeout is None
            else timedelta(seconds=wire.shutdown.drain_timeout),
        ),
        trace=trace,
    )
