"""Sets up logging: events with fields, on standard error, for people or as JSON."""

from __future__ import annotations

import logging
import sys
from functools import partial

import structlog
from structlog.typing import Processor, WrappedLogger

from scaler.observability.lines import PatientLines

_STDERR = 2


def configure_logs(*, level: str, form: str) -> None:
    """Set up structlog, and keep client libraries from writing lines of their own.

    `level` is debug, info, warning or error; `form` is console or json. Libraries report failures to us
    as errors, which are logged on change only; their own lines would repeat them at every poll.
    A line that cannot be written is dropped and counted: the work matters more than its log.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    last: Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            exception_formatter=structlog.dev.plain_traceback,  # rich's, where installed, shows values: secrets too
        )
    )
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    lines = PatientLines(_STDERR, partial(_dropped, stamp, last))
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            stamp,
            structlog.processors.format_exc_info if form == "json" else _as_it_is,
            last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=partial(_Logger, lines),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.addHandler(logging.NullHandler())
    if number <= logging.DEBUG:
        root.addHandler(logging.StreamHandler(lines))
    logging.getLogger("asyncio").addHandler(logging.StreamHandler(lines))


class _Logger:
    """Writes an event and its line end at once, whatever its level."""

    def __init__(self, lines: PatientLines, *_names: object) -> None:
        self._lines = lines

    def msg(self, text: str) -> None:
        """Write one event."""
        self._lines.write(f"{text}\n")

    debug = info = warning = error = critical = msg


def _dropped(stamp: Processor, last: Processor, number: int) -> str:
    """Render the line that tells how many lines are missing before it."""
    event: structlog.typing.EventDict = {"event": "log.dropped", "level": "warning", "lines": number}
    nobody: WrappedLogger = None
    text = last(nobody, "warning", dict(stamp(nobody, "warning", event)))  # type: ignore[arg-type]
    assert isinstance(text, str)  # what both renderers give
    return f"{text}\n"


def _as_it_is(_logger: object, _name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return event
