"""Faults of a document by path, and pydantic's own errors reworded: what was got, and what to do."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from scaler.wire.base import show

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WireFault:
    """One fault of a document.

    Attributes:
        path: keys and list indexes that lead to it.
        message: what was got and what to do; may still hold values, which the caller must mask if secret.
        at_key: whether the key is at fault rather than its value.
        meant: for an unknown key, the path that was probably meant.
    """

    path: Path
    message: str
    at_key: bool = False
    meant: Path | None = None


def where(path: Path) -> str:
    """Spell a path for people: `properties.configuration.secrets[0].name`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


@dataclass(frozen=True, slots=True)
class Node:
    """A place in an unchecked document, read without ever failing on a wrong kind of value."""

    value: object
    path: Path = ()

    def __getitem__(self, key: str) -> Node:
        value = self.value.get(key) if isinstance(self.value, dict) else None
        return Node(value, (*self.path, key))

    def __iter__(self) -> Iterator[Node]:
        items = self.value if isinstance(self.value, list | tuple) else ()
        return (Node(item, (*self.path, index)) for index, item in enumerate(items))

    @property
    def is_set(self) -> bool:
        """Whether something stands here."""
        return self.value is not None

    @property
    def text(self) -> str:
        """The text here, or '' if there is none."""
        return self.value if isinstance(self.value, str) else ""

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of the mapping here, or none."""
        return tuple(self.value) if isinstance(self.value, dict) else ()

    def fault(self, message: str, *, at_key: bool = False) -> WireFault:
        """Make a fault of this place."""
        return WireFault(path=self.path, message=message, at_key=at_key)


def check_unique(items: Iterable[Node], key: str) -> Iterator[WireFault]:
    """Refuse a text that an earlier item has under the same key."""
    seen: set[str] = set()
    for item in items:
        name = item[key].text
        if name and name in seen:
            yield item[key].fault(f"'{name}' is given twice; keep one")
        seen.add(name)


def check_reference(node: Node, names: frozenset[str]) -> Iterator[WireFault]:
    """Refuse the name of a secret that is not among those declared."""
    if node.text and node.text not in names:
        known = ", ".join(sorted(name for name in names if name)) or "none"
        yield node.fault(f"no secret '{node.text}'; declare it under configuration.secrets (there: {known})")


def pydantic_faults(model: type[BaseModel], error: ValidationError) -> list[WireFault]:
    """Reword the errors of a validation."""
    return [_reword(model, item) for item in error.errors(include_url=False)]


def without_followers(faults: list[WireFault]) -> list[WireFault]:
    """Leave out what is missing only because its key, or one around it, is misspelled."""
    meant = [fault.meant for fault in faults if fault.meant]
    return [
        fault
        for fault in faults
        if not fault.message.startswith("missing")
        or not any(fault.path[: len(path)] == path for path in meant)
    ]


def _reword(model: type[BaseModel], item: Mapping[str, typing.Any]) -> WireFault:
    path: Path = tuple(item["loc"])
    kind, ctx = item["type"], item.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown(model, path)
    if kind == "missing":
        return WireFault(path=path, message=_missing(model, path))
    if kind in ("model_type", "dict_type", "model_attributes_type"):
        message = f"got {show(item['input'])}; write a mapping of 'key: value' lines"
    elif kind in ("list_type", "tuple_type"):
        message = f"got {show(item['input'])}; write a list, each line beginning with '-'"
    elif kind in ("enum", "literal_error"):
        message = choice(item["input"], ctx["expected"])
    else:
        message = str(item["msg"]).removeprefix("Value error, ")
    return WireFault(path=path, message=message)


def choice(got: object, expected: str) -> str:
    """Say which words can be written; `expected` as pydantic lists them: `'a', 'b' or 'c'`."""
    words = expected.replace("' or '", "', '").strip("'").split("', '")
    near = difflib.get_close_matches(str(got).lower(), [word.lower() for word in words], n=1, cutoff=0.7)
    match = next((word for word in words if near and word.lower() == near[0]), None)
    hint = f"did you mean '{match}'?" if match else f"write one of {', '.join(words)}"
    return f"got {show(got)}; {hint}"


def nearest(word: str, known: typing.Iterable[str]) -> str:
    """Suggest what was meant: `did you mean 'x'?`, or all that is known."""
    names = sorted(known)
    match = _nearest(word, names)
    return f"did you mean '{match}'?" if match else f"known here: {', '.join(names)}"


def _nearest(word: str, names: list[str]) -> str | None:
    lower = {name.lower(): name for name in names}
    near = difflib.get_close_matches(word.lower(), lower, n=1)
    return lower[near[0]] if near else None


def _unknown(model: type[BaseModel], path: Path) -> WireFault:
    owner = _model_at(model, path[:-1])
    known = [] if owner is None else list(_fields(owner))
    match = _nearest(str(path[-1]), known)
    return WireFault(
        path=path,
        message=f"unknown key; {nearest(str(path[-1]), known)}",
        at_key=True,
        meant=(*path[:-1], match) if match else None,
    )


def _missing(model: type[BaseModel], path: Path) -> str:
    owner = _model_at(model, path[:-1])
    info = None if owner is None else _fields(owner).get(str(path[-1]))
    help_text = (info.description or "").rstrip(".") if info else ""
    return f"missing; add it ({help_text})" if help_text else "missing; add it"


def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    return {info.alias or name: info for name, info in model.model_fields.items()}


def _model_at(model: type[BaseModel], path: Path) -> type[BaseModel] | None:
    """Find the model that a path leads to."""
    current: type[BaseModel] | None = model
    for part in path:
        if isinstance(part, int):
            continue
        info = _fields(current).get(part) if current else None
        current = _inner_model(info.annotation) if info else None
    return current


def _inner_model(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return annotation if issubclass(annotation, BaseModel) else None
    found = (_inner_model(part) for part in typing.get_args(annotation))
    return next((model for model in found if model is not None), None)
