"""The settings file's shape, as people write it."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from scaler.wire.base import YEAR_S, Cores, Memory, Positive, WireModel, Word, parse_memory, show

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)?")
_TOKEN_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_DIGITS = re.compile(r"[0-9]{1,10}")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_ADDRESS = re.compile(r"(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<host>[A-Za-z0-9.-]+)):(?P<port>[0-9]{1,5})")


def _read_duration(value: object) -> float:
    match = None if isinstance(value, bool) else _DURATION.fullmatch(str(value))
    seconds = float(match[1]) * _SECONDS[match[2] or "s"] if match and len(str(value)) < 20 else 0.0
    if not 0.0 < seconds <= YEAR_S:
        raise ValueError(f"got {show(value)}; write a time such as 500ms, 10s or 5m")
    return seconds


Duration = Annotated[float, BeforeValidator(_read_duration), WithJsonSchema({"type": ["string", "number"]})]
"""A time, `500ms`, `10s`, `5m`, `1h`, or a number of seconds; in seconds."""


def _read_rate(value: object) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0.01 <= float(str(value)) <= 1_000_000:
        raise ValueError(f"got {show(value)}; write a number of requests a second, such as 50 or 0.5")
    return float(str(value))


Rate = Annotated[float, BeforeValidator(_read_rate), WithJsonSchema({"type": "number"})]
"""Requests a second, 0.01 to 1,000,000."""


def split_address(text: str) -> tuple[str, int]:
    """Split `host:port`; IPv6 hosts stand in brackets.

    Raises:
        ValueError: not such an address. Port 0 lets the system choose.
    """
    match = _ADDRESS.fullmatch(text)
    if not match or int(match["port"]) > 65535:
        raise ValueError(f"got {show(text)}; write host:port, such as 127.0.0.1:8080")
    return match["v6"] or match["host"], int(match["port"])


def _read_address(value: object) -> str:
    text = str(value)
    split_address(text)
    return text


Address = Annotated[str, BeforeValidator(_read_address), WithJsonSchema({"type": "string"})]


NO_BOUND = "unlimited"


def _read_bound(value: object) -> object:
    if value == NO_BOUND:
        return value
    number = int(value) if isinstance(value, str) and _DIGITS.fullmatch(value) else value
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= 1_000_000_000:
        raise ValueError(f"got {show(number)}; write a whole number, 1 or more, or {NO_BOUND}")
    return number


def _read_size_bound(value: object) -> object:
    if value != NO_BOUND:
        parse_memory(str(value))
    return value


Bound = Annotated[
    int | str,
    BeforeValidator(_read_bound),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1},
                {"type": "string", "pattern": rf"^([0-9]+|{NO_BOUND})$|\$\{{"},
            ]
        }
    ),
]
"""A whole number, 1 or more, or `unlimited`."""
SizeBound = Annotated[
    str,
    BeforeValidator(_read_size_bound),
    WithJsonSchema({"type": "string", "pattern": rf"^([0-9]+(\.[0-9]+)?(Gi|Mi)|{NO_BOUND})$|\$\{{"}),
]
"""A size such as `0.5Gi` or `512Mi`, or `unlimited`."""


def _read_token_name(value: object) -> str:
    if not isinstance(value, str) or not _TOKEN_NAME.fullmatch(value):
        raise ValueError(f"got {show(value)}; name a token by letters, digits, '-', '_' and '.', 64 at most")
    return value


TokenName = Annotated[str, BeforeValidator(_read_token_name), WithJsonSchema({"type": "string"})]


class TokenWire(WireModel):
    """Where the API's token comes from: one of the two."""

    env: Word | None = None
    """Environment variable of the daemon."""
    file: Word | None = None
    """File, relative to the settings file."""


class ListenWire(WireModel):
    """A TCP address for the API, beside the socket in the state folder."""

    address: Address
    """`host:port`; port 0 lets the system choose."""
    token: TokenWire | None = None
    """The bearer token that clients must send; this or `tokens` is required unless the host is loopback."""
    tokens: dict[TokenName, TokenWire] = Field(default_factory=dict)
    """Further tokens, each under a name by which the audit knows who shows it."""


class HistoryWire(WireModel):
    """How much is kept. What has not ended is always kept."""

    preset: Literal["container-apps"] | None = None
    """`container-apps`: as much as Container Apps keep, the newest 100 ended executions of a job."""
    executions: Bound | None = None
    """Ended executions of a job, the newest; `unlimited` for all. With the preset 100."""
    days: Bound | None = None
    """Days after its end that an execution is kept; `unlimited` for ever."""
    log_bytes: SizeBound | None = None
    """Size of all kept logs together, such as `512Mi`; the oldest go first. `unlimited` for no bound."""
    decisions: Positive = 500
    """Decisions of a job, the newest."""


def _read_starts(value: object) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0.01 <= float(str(value)) <= 1_000_000:
        raise ValueError(f"got {show(value)}; write how many executions a second, such as 0.5")
    return float(str(value))


Starts = Annotated[float, BeforeValidator(_read_starts), WithJsonSchema({"type": "number"})]
"""Executions a second, 0.01 to 1,000,000."""


class GlobalWire(WireModel):
    """What all executions of the daemon may take together, whatever their job and cause."""

    executions: Positive | None = None
    """Most executions that have not ended; without it, no limit."""
    cpu: Cores | None = None
    """Most processor cores; an execution takes its containers' `cpu` times `parallelism`. Without it, no limit."""
    memory: Memory | None = None
    """Most memory, such as `16Gi`; counted like `cpu`. Without it, no limit."""
    launch_rate: Starts | None = None
    """Most executions that begin a second, on average; without it, no limit."""
    launch_burst: Positive | None = None
    """Executions that may begin at once after a quiet time; without it, those of one second, at least 1."""
    pass_over: Positive = 10
    """Starts that may go past a waiting job before the next one goes to the job that has waited longest."""


class LimitsWire(WireModel):
    """Times that bound the daemon's own work: `500ms`, `10s`, `5m`, or seconds."""

    poll_timeout: Duration = 10.0
    """Longest reading of one source; never above the polling interval or 3 s, whichever is longer."""
    refill_interval: Duration = 0.05
    """Least time between two early readings of one source; an execution that ends causes one."""
    source_requests: Rate | None = None
    """Most requests a second to one source, of all rules together; without it, no limit."""
    launch_timeout: Duration = 300.0
    """Longest start of one replica, pulling its image included."""
    stop_grace: Duration = 10.0
    """From asking a replica to end until it is killed."""
    overall: GlobalWire = Field(default=GlobalWire(), alias="global")
    """What all executions of the daemon may take together."""


class ShutdownWire(WireModel):
    """What a signal to end (TERM, INT, HUP) does; a second one ends the daemon at once."""

    drain: bool = False
    """Start nothing more and wait for what runs, then end; otherwise end, and leave replicas running."""
    drain_timeout: Duration | None = None
    """Longest such wait, such as `30m`; replicas that are left then run on. Without it, as long as it takes."""


class LogWire(WireModel):
    """What is logged, and how."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """`debug`, `info`, `warning` or `error`."""
    format: Literal["console", "json"] = "console"
    """`console` for people, `json` for machines."""


class TraceWire(WireModel):
    """A record of what each decision was made on, for `scaler simulate`."""

    file: Word
    """Where to, relative to this file; older ones lie beside it as `FILE.1`, `FILE.2` …"""
    max_bytes: Annotated[int, Field(ge=65_536, le=1 << 40)] = 64 << 20
    """Size at which a new file is begun, bytes."""
    keep: Annotated[int, Field(ge=0, le=100)] = 3
    """Older files that are kept."""


class SettingsWire(WireModel):
    """The settings file of the daemon."""

    state_dir: Word = ".scaler"
    """Folder for the database, the logs of replicas and the API's socket; relative to this file."""
    listen: ListenWire | None = None
    """Where the API listens on TCP; without it, only on the socket in the state folder."""
    executors: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Settings of executors, by name."""
    history: HistoryWire = HistoryWire()
    """How much is kept."""
    limits: LimitsWire = LimitsWire()
    """Times that bound the daemon's own work."""
    shutdown: ShutdownWire = ShutdownWire()
    """What a signal to end does."""
    log: LogWire = LogWire()
    """What is logged, and how."""
    trace: TraceWire | None = None
    """Where decisions are recorded for `scaler simulate`; without it, nowhere."""
