"""Reads query parameters and bodies, and says what is wrong with them."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar

from aiohttp import web
from yarl import URL

from scaler.api.errors import ApiError
from scaler.model.execution import ExecutionStatus

_CLAUSE = re.compile(r"(?:properties/)?status\s+eq\s+'([^']*)'", re.IGNORECASE)
_OR = re.compile(r"\s+or\s+", re.IGNORECASE)
_STATUSES = {status.value.lower(): status for status in ExecutionStatus}
E = TypeVar("E", bound=StrEnum)
_AGO = re.compile(r"([0-9]{1,9})([smhd])")
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_TRUE = frozenset({"1", "true", "yes"})
_FALSE = frozenset({"", "0", "false", "no"})


def statuses(text: str | None) -> frozenset[ExecutionStatus] | None:
    """Read `$filter`: `Status eq 'Running'`, several joined by `or`; None for no filter.

    The service documents no grammar; this is the form that is seen in use.

    Raises:
        ApiError: 400 `InvalidFilter`, rather than an answer that ignores the filter.
    """
    if text is None or not text.strip():
        return None
    found: set[ExecutionStatus] = set()
    for clause in _OR.split(text.strip()):
        match = _CLAUSE.fullmatch(clause.strip().removeprefix("(").removesuffix(")").strip())
        status = _STATUSES.get(match[1].lower()) if match else None
        if status is None:
            known = ", ".join(sorted(s.value for s in ExecutionStatus))
            hint = f"write Status eq 'Running' (clauses joined by or; one of {known})"
            raise ApiError(400, "InvalidFilter", f"$filter is {text!r}; {hint}", target="$filter")
        found.add(status)
    return frozenset(found)


def word(request: web.Request, name: str, known: type[E]) -> E | None:
    """Read one of a closed set of words, in any letter case; None if it is not given.

    Raises:
        ApiError: 400 `InvalidParameter`.
    """
    found = words(request, name, known)
    return next(iter(found)) if found else None


def words(request: web.Request, name: str, known: type[E]) -> frozenset[E] | None:
    """Read words of a closed set: the parameter may be repeated, or hold several joined by commas.

    Raises:
        ApiError: 400 `InvalidParameter`.
    """
    by_text = {member.value.lower(): member for member in known}
    texts = [text.strip() for given in request.query.getall(name, []) for text in given.split(",")]
    for text in texts:
        if text and text.lower() not in by_text:
            message = f"{name} is '{text}'; one of {', '.join(member.value for member in known)}"
            raise ApiError(400, "InvalidParameter", message, target=name)
    return frozenset(by_text[text.lower()] for text in texts if text) or None


def whole_number(request: web.Request, name: str, *, default: int | None, low: int, high: int) -> int | None:
    """Read a whole number of the query; `default` if it is not given.

    Raises:
        ApiError: 400 `InvalidParameter`.
    """
    text = request.query.get(name)
    if text is None or text == "":
        return default
    if not re.fullmatch(r"[0-9]{1,9}", text) or not low <= int(text) <= high:
        message = f"{name} is '{text}'; write a whole number from {low} to {high}"
        raise ApiError(400, "InvalidParameter", message, target=name)
    return int(text)


def moment(request: web.Request, name: str, now: datetime) -> datetime | None:
    """Read a time of the query: RFC 3339, a day (UTC), or so long ago: `90s`, `30m`, `24h`, `7d`.

    Raises:
        ApiError: 400 `InvalidParameter`.
    """
    text = request.query.get(name, "").strip()
    if not text:
        return None
    ago = _AGO.fullmatch(text)
    try:
        if ago is not None:
            return now - timedelta(seconds=int(ago[1]) * _UNIT_S[ago[2]])
        read = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
        return read.astimezone(UTC) if read.tzinfo else read.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        message = (
            f"{name} is '{text}'; write a time such as 2026-11-21T14:00:00Z, a day, or 24h for so long ago"
        )
        raise ApiError(400, "InvalidParameter", message, target=name) from None


def next_link(request: web.Request, name: str, cursor: str) -> str:
    """Write the address of the next page: this one's, with the cursor under `name`."""
    url = URL.build(scheme=request.scheme, authority=request.host, path=request.path)
    query = {key: value for key, value in request.query.items() if key != name}
    return str(url.with_query(query | {name: cursor}))


def flag(request: web.Request, name: str) -> bool:
    """Read a yes or no of the query; no if it is not given.

    Raises:
        ApiError: 400 `InvalidParameter`.
    """
    text = request.query.get(name, "").lower()
    if text not in _TRUE | _FALSE:
        raise ApiError(400, "InvalidParameter", f"{name} is '{text}'; write true or false", target=name)
    return text in _TRUE


async def json_object(request: web.Request) -> dict[str, Any] | None:
    """Read the body: a JSON object, or None if there is none (`null` and `{}` count as none).

    Raises:
        ApiError: 400 `InvalidRequestContent`.
    """
    try:
        raw = await request.read()
    except (ConnectionError, web.RequestPayloadError) as exc:  # nobody is there to read this answer
        raise ApiError(400, "InvalidRequestContent", "the connection ended before the body did") from exc
    if not raw.strip():
        return None
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as exc:
        text = f"the body is not JSON: {exc}"
        raise ApiError(400, "InvalidRequestContent", text) from exc
    if body is None or body == {}:
        return None
    if not isinstance(body, dict):
        text = f"the body must be a JSON object, not {type(body).__name__}"
        raise ApiError(400, "InvalidRequestContent", text)
    return body
