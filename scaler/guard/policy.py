"""Decides which calls of the engine's API are let through at all, by method, path and query.

The path is compared as it was sent: no decoding and no tidying, so that the engine cannot read another path than
we did. What is passed on is put together anew from the parts that were recognized.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any
from urllib.parse import parse_qsl, urlencode

from scaler.guard.grants import Grants, Refused

_NAME = r"(?P<name>[A-Za-z0-9][A-Za-z0-9_.-]{0,254})"
_IMAGE = r"(?P<name>[A-Za-z0-9][A-Za-z0-9_.:@-]*(?:/[A-Za-z0-9][A-Za-z0-9_.:@-]*)*)"
_VERSION = re.compile(r"/v(1\.[0-9]{1,3})(?=/)")
_JSON, _TAR = "application/json", "application/x-tar"
_OLDEST = (1, 41)  # older ones let a start change the container


class Subject(Enum):
    """What a call is about, and thereby what is looked at before it is passed on."""

    ENGINE = "engine"
    LIST = "list"
    EVENTS = "events"
    CREATE = "create"
    CONTAINER = "container"
    INSPECTION = "inspection"
    IMAGE = "image"
    IMAGE_LOAD = "image load"
    VOLUME_CREATE = "volume create"
    VOLUME = "volume"
    NETWORK = "network"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One call that is known. `body` is the type of what it carries; `long` tells that its answer may take its time."""

    method: str
    path: re.Pattern[str]
    subject: Subject
    params: frozenset[str] = frozenset()
    body: str = ""
    long: bool = False
    action: str = ""


def _route(method: str, path: str, subject: Subject, params: str = "", **more: Any) -> Route:
    pattern = path.replace("{name}", _IMAGE if subject is Subject.IMAGE else _NAME)
    action = path.rpartition("/")[2] if "{name}/" in path else ""
    names = frozenset(params.split())
    return Route(
        method=method, path=re.compile(pattern), subject=subject, params=names, action=action, **more
    )


_ROUTES = (
    _route("GET", "/_ping", Subject.ENGINE),
    _route("HEAD", "/_ping", Subject.ENGINE),
    _route("GET", "/version", Subject.ENGINE),
    _route("GET", "/events", Subject.EVENTS, "filters since until stream", long=True),
    _route("GET", "/containers/json", Subject.LIST, "all filters limit size"),
    _route("POST", "/containers/create", Subject.CREATE, "name", body=_JSON),
    _route("GET", "/containers/{name}/json", Subject.INSPECTION, "size"),
    _route("POST", "/containers/{name}/start", Subject.CONTAINER),
    _route("POST", "/containers/{name}/stop", Subject.CONTAINER, "t signal", long=True),
    _route("POST", "/containers/{name}/kill", Subject.CONTAINER, "signal"),
    _route("POST", "/containers/{name}/wait", Subject.CONTAINER, "condition", long=True),
    _route("DELETE", "/containers/{name}", Subject.CONTAINER, "force v", long=True),
    _route(
        "GET",
        "/containers/{name}/logs",
        Subject.CONTAINER,
        "stdout stderr follow tail since until timestamps",
        long=True,
    ),
    _route("GET", "/containers/{name}/stats", Subject.CONTAINER, "stream one-shot", long=True),
    _route(
        "PUT",
        "/containers/{name}/archive",
        Subject.CONTAINER,
        "path noOverwriteDirNonDir copyUIDGID",
        body=_TAR,
        long=True,
    ),
    _route("POST", "/images/create", Subject.ENGINE, "fromImage tag platform", long=True),
    _route("POST", "/images/load", Subject.IMAGE_LOAD, "quiet", body=_TAR),
    _route("GET", "/images/{name}/json", Subject.IMAGE),
    _route("POST", "/volumes/create", Subject.VOLUME_CREATE, body=_JSON),
    _route("GET", "/volumes", Subject.LIST, "filters"),
    _route("GET", "/volumes/{name}", Subject.VOLUME),
    _route("DELETE", "/volumes/{name}", Subject.VOLUME, "force"),
    _route("GET", "/networks/{name}", Subject.NETWORK),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A recognized request: everything that may be passed on of its first line."""

    route: Route
    version: str
    name: str
    query: Mapping[str, str] = field(default_factory=dict)

    def target(self, *, name: str | None = None, query: Mapping[str, str] | None = None) -> str:
        """Write the path and query anew, with another name or query if need be."""
        path = self.route.path.pattern
        for form in (_NAME, _IMAGE):
            path = path.replace(form, name or self.name)
        words = urlencode(self.query if query is None else query)
        return f"{self.version}{path}{'?' if words else ''}{words}"


def recognize(method: str, target: str, headers: Mapping[str, str]) -> Call:
    """Find the call that a request makes.

    Raises:
        Refused: it is none that the docker executor makes.
    """
    _must_be_plain(headers)
    path, mark, text = target.partition("?")
    version, rest = _split_version(path)
    for route in _ROUTES:
        found = route.path.fullmatch(rest)
        if found and route.method == method:
            query = _query(text if mark else "", route)
            return Call(route=route, version=version, name=found.groupdict().get("name", ""), query=query)
    raise Refused(f"{method} {path[:200]}: not a call that the docker executor makes; no setting allows it")


def own_filters(text: str, grants: Grants, *, events: bool = False) -> str:
    """Narrow a list's or a stream's filters to what is ours.

    Raises:
        Refused: they are not of the form {"name": ["value"]}.
    """
    given = read_json(text, "filters") if text else {}
    good = isinstance(given, dict) and all(
        isinstance(values, list) and all(isinstance(value, str) for value in values)
        for values in given.values()
    )
    if not good:
        raise Refused('filters: not of the form {"name": ["value"]}; write them so')
    kept = dict(given)
    kept["label"] = [*kept.get("label", []), grants.label_filter]
    if events:
        kept["type"] = ["container"]
    return json.dumps(kept)


def must_be_holder(archive: bytes, grants: Grants) -> None:
    """Refuse to load any image but the executor's own: another could take the place of one that people trust."""
    if hashlib.sha256(archive).hexdigest() not in grants.holders:
        raise Refused("image: not the executor's own holder; no setting allows others, so pull them")


def must_be_open_network(name: str, grants: Grants) -> None:
    """Refuse to tell of a network that containers may not join."""
    if name not in grants.networks | {"bridge", "none"}:
        raise Refused(f"network '{name}': not granted; allow it by --allow-network {name}")


def read_json(text: str | bytes, what: str) -> Any:
    """Read JSON as strictly as any reader might: no key twice, no numbers that are none.

    Raises:
        Refused: it is not that.
    """
    try:
        return json.loads(text, object_pairs_hook=_no_key_twice, parse_constant=_no_number)
    except (ValueError, RecursionError) as exc:
        raise Refused(f"{what}: not JSON: {exc}") from exc


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number")


def _must_be_plain(headers: Mapping[str, str]) -> None:
    words = {word.strip().lower() for word in headers.get("Connection", "").split(",")}
    if "Upgrade" in headers or "upgrade" in words:
        raise Refused("Upgrade: a connection that changes hands cannot be watched; no setting allows it")


def _split_version(path: str) -> tuple[str, str]:
    found = _VERSION.match(path)
    if found is None:
        return "", path
    major, minor = found[1].split(".")
    if (int(major), int(minor)) < _OLDEST:
        oldest = ".".join(map(str, _OLDEST))
        raise Refused(f"API version {found[1]}: too old to be judged; use {oldest} or newer")
    return found[0], path[found.end() :]


def _query(text: str, route: Route) -> dict[str, str]:
    try:
        pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text), errors="strict")
    except ValueError as exc:
        raise Refused(f"query: cannot be read: {exc}") from exc
    query = dict(pairs)
    if len(query) != len(pairs):
        raise Refused("query: a parameter stands twice")
    for name in query:
        if name not in route.params:
            raise Refused(f"query parameter '{name[:60]}': the docker executor does not send it here")
    return query
