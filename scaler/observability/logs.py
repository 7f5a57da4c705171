"""Sets up logging: events with fields, on standard error, for people or as JSON."""

from __future__ import annotations

import logging
import sys

import structlog
from structlog.typing import Processor


def configure_logs(*, level: str, form: str) -> None:
    """Set up structlog, and keep client libraries from writing lines of their own.

    `level` is debug, info, warning or error; `form` is console or json. Libraries report failures to us
    as errors, which are logged on change only; their own lines would repeat them at every poll.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    last: Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info if form == "json" else _as_it_is,
            last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.addHandler(logging.NullHandler())
    if number <= logging.DEBUG:
        root.addHandler(logging.StreamHandler(sys.stderr))
    logging.getLogger("asyncio").addHandler(logging.StreamHandler(sys.stderr))


def _as_it_is(_logger: object, _name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return event
