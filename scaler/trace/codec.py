"""Frozen values to plain JSON and back, led by their own type hints.

So whatever a decision comes to depend on is in the trace without anybody thinking of it: a field that is added to
`Inputs`, or to a value in it, is written and read like the others. What is not there keeps its default.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime, timedelta
from enum import Enum
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")

_UPPER = re.compile(r"_([a-z])")
_BLANK: tuple[object, ...] = (None, (), frozenset(), "", False, 0)


class Unreadable(Exception):
    """A value does not have the shape that it should have; the text says where and what."""


def encode(value: object) -> Any:
    """Write a value: dataclasses as objects in camelCase, moments as ISO text, spans as seconds."""
    if is_dataclass(value) and not isinstance(value, type):
        return _encode_fields(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, frozenset):
        return sorted(encode(item) for item in value)
    if isinstance(value, tuple | list):
        return [encode(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    return value


def _encode_fields(value: object) -> dict[str, Any]:
    written, kind = {}, typing.cast("Any", type(value))
    for name, key, blank in _keys(kind):
        item = getattr(value, name)
        if not (blank and _is_blank(item)):
            written[key] = encode(item)
    return written


def _is_blank(item: object) -> bool:
    return any(item is blank or (type(item) is type(blank) and item == blank) for blank in _BLANK)


@cache
def _keys(kind: Any) -> tuple[tuple[str, str, bool], ...]:
    """Name, key, and whether the default is blank, so that a blank value may be left out."""
    return tuple(
        (item.name, camel(item.name), item.default is not MISSING and _is_blank(item.default))
        for item in fields(kind)
    )


@cache
def camel(name: str) -> str:
    """Write `min_executions` as `minExecutions`."""
    return _UPPER.sub(lambda match: match[1].upper(), name.strip("_"))


def decode(kind: type[T], value: object, where: str = "") -> T:
    """Read a value of a type.

    Raises:
        Unreadable: it has another shape.
    """
    return typing.cast("T", _decode(kind, value, where))


def _decode(kind: Any, value: Any, where: str) -> Any:
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return _decode_union(typing.get_args(kind), value, where)
    if origin in (tuple, frozenset):
        return _decode_many(origin, typing.get_args(kind), value, where)
    if origin is not None:  # the mappings of a rule are not written
        return value if isinstance(value, dict) else _refuse(value, "an object", where)
    if is_dataclass(kind):
        if isinstance(value, kind):  # type: ignore[arg-type]  # read already
            return value
        return _decode_fields(typing.cast("type", kind), value, where)
    return _decode_plain(kind, value, where)


def _decode_plain(kind: Any, value: Any, where: str) -> Any:
    try:
        if kind is datetime:
            return datetime.fromisoformat(value)
        if kind is timedelta:
            return timedelta(seconds=value)
        if issubclass(kind, Enum):
            return kind(value)
    except (TypeError, ValueError):
        return _refuse(value, kind.__name__, where)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        return _refuse(value, kind.__name__, where)
    return value


def _decode_many(origin: Any, args: tuple[Any, ...], value: Any, where: str) -> Any:
    if not isinstance(value, list):
        return _refuse(value, "a list", where)
    if origin is tuple and Ellipsis not in args:
        if len(args) != len(value):
            return _refuse(value, f"a list of {len(args)}", where)
        pairs = zip(args, value, strict=True)
        return tuple(_decode(arg, item, f"{where}[{n}]") for n, (arg, item) in enumerate(pairs))
    return origin(_decode(args[0], item, f"{where}[{n}]") for n, item in enumerate(value))


def _decode_union(args: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in args:
        return None
    kinds = [arg for arg in args if arg is not type(None)]
    for kind in kinds[:-1]:
        try:
            return _decode(kind, value, where)
        except Unreadable:
            continue
    return _decode(kinds[-1], value, where)


def _decode_fields(kind: type, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        return _refuse(value, "an object", where)
    hints, given = _hints(kind), {}
    known = {key: name for name, key, _blank in _keys(kind)}
    for key, item in value.items():
        if key not in known:
            raise Unreadable(f"{where or 'the line'}: unknown key '{key}'; written by a newer version?")
        given[known[key]] = _decode(hints[known[key]], item, f"{where}.{key}" if where else key)
    try:
        return kind(**given)
    except (TypeError, ValueError) as exc:
        missing = [key for key, name in known.items() if name not in given and _needed(kind, name)]
        raise Unreadable(f"{where or 'the line'}: missing {', '.join(missing) or exc}") from None


def _needed(kind: type, name: str) -> bool:
    return any(f.name == name and f.default is MISSING and f.default_factory is MISSING for f in fields(kind))


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _refuse(value: object, wanted: str, where: str) -> Any:
    raise Unreadable(f"{where or 'the line'}: got {str(value)[:60]!r}; it must be {wanted}")
