"""Looks for a text in logs, in bounded time: a pattern is one of RE2, which takes no longer than the log is long.

Lines that say what of a log is missing are always given: whoever finds nothing must know where nobody could look.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

from aiohttp import web

from scaler.api.errors import ApiError
from scaler.api.query import flag
from scaler.errors import NotFound
from scaler.model.execution import ExecutionState
from scaler.model.history import ExecutionQuery
from scaler.ports.control import JobControl
from scaler.ports.store import StoreReader

Fits = Callable[[str], bool]

SEARCH_S = 60.0
"""How long a search through a job's logs may take in all."""
TEXT_MAX = 1000

_PAGE = 100
_OURS = re.compile(r"\[(scaler: |log not kept: ).*\]")


def read_search(request: web.Request) -> Fits | None:
    """Read what is looked for: `search`, with `regex` as a pattern, with `ignoreCase` in any letter case.

    Raises:
        ApiError: 400, it is no pattern, too long, or patterns cannot be looked for here.
    """
    text = request.query.get("search")
    if not text:
        return None
    if len(text) > TEXT_MAX:
        message = f"search has {len(text)} characters; write {TEXT_MAX} at most"
        raise ApiError(400, "InvalidParameter", message, target="search")
    is_pattern, ignore_case = flag(request, "regex"), flag(request, "ignoreCase")
    if is_pattern:
        return _pattern(text, ignore_case=ignore_case)
    if ignore_case:
        folded = text.casefold()
        return lambda line: folded in line.casefold()
    return lambda line: text in line


def _pattern(text: str, *, ignore_case: bool) -> Fits:
    try:
        import re2  # type: ignore[import-untyped]  # noqa: PLC0415 - an extra, needed for patterns only
    except ModuleNotFoundError as exc:
        hint = "patterns need RE2; install queue-scaler[search], or search for a plain text"
        raise ApiError(400, "InvalidParameter", f"regex: {hint}", target="regex") from exc
    options: Any = re2.Options()
    options.log_errors = False
    options.case_sensitive = not ignore_case
    try:
        compiled = re2.compile(text, options=options)
    except re2.error as exc:
        told = exc.args[0] if exc.args else "it cannot be read"  # RE2 tells it as bytes
        why = told.decode(errors="replace") if isinstance(told, bytes) else str(told)
        message = f"search is '{text}', which is no pattern of RE2: {why}"
        raise ApiError(400, "InvalidParameter", message, target="search") from exc
    return lambda line: compiled.search(line) is not None


async def found_lines(lines: AsyncIterator[str], fits: Fits) -> AsyncGenerator[str, None]:
    """Give those lines that fit, and those in which we say that something is missing."""
    try:
        async for line in lines:
            if fits(line) or _OURS.fullmatch(line):
                yield line
    finally:
        if isinstance(lines, AsyncGenerator):
            await lines.aclose()


async def search_logs(
    control: JobControl, store: StoreReader, query: ExecutionQuery, fits: Fits | None, *, most: int
) -> AsyncGenerator[str, None]:
    """Give `most` lines of the logs of executions, newest execution first, each behind its execution's name.

    The last line says where the search ended before the logs did, and how many executions had no log.
    """
    given, searched, without = 0, 0, 0
    ends_at = asyncio.get_running_loop().time() + SEARCH_S
    async with aclosing(_states(store, query)) as states:
        async for state in states:
            execution = state.execution
            lines = control.logs(execution.job, execution.id, tail=None, follow=False)
            try:
                async with aclosing(found_lines(lines, fits or _any)) as found:
                    async for line in found:
                        if given >= most or asyncio.get_running_loop().time() > ends_at:
                            why = f"{most} lines" if given >= most else f"{SEARCH_S:g} s"
                            yield f"[scaler: the search ended after {why}, in {execution.id}; ask for less or more]"
                            return
                        given += 1
                        yield f"{execution.id}: {line}"
            except NotFound:
                without += 1
            searched += 1
            if asyncio.get_running_loop().time() > ends_at:
                yield f"[scaler: the search ended after {SEARCH_S:g} s, behind {execution.id}; ask for less]"
                return
    if without:
        yield f"[scaler: of {without} of {searched} executions no log is kept]"


def _any(_line: str) -> bool:
    return True


async def _states(store: StoreReader, query: ExecutionQuery) -> AsyncGenerator[ExecutionState, None]:
    cursor: str | None = None
    while True:
        page = await store.find(query, limit=_PAGE, cursor=cursor)
        for state in page.items:
            yield state
        cursor = page.cursor
        if cursor is None:
            return
