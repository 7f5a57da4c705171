"""YAML with positions: the one module that knows the YAML library.

Interpolation of `${VARIABLE}` happens after parsing, so a variable's text can break no YAML. Numbers stay
text unless asked for: the field that wants a number reads it, and `1.10` or `007` elsewhere stay as written.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from scaler.config.interpolate import Unusable, interpolate
from scaler.wire.characters import unusable
from scaler.wire.faults import Path

MAX_BYTES = 1 << 20
MAX_VALUES = 50_000
"""Values of one document with aliases written out: far above any job, far below what aliases can make."""
_KEPT_PARTS = 1024
_KEPT_SIZE = 8192
"""Characters of the largest document that is remembered once it is composed, and how many are."""
_BEGIN = re.compile(r"^---(?=\s|\Z)", re.MULTILINE)
_WHOLE = re.compile(r"^(?:%|\.\.\.(?=\s|\Z))|[\r\x85\u2028\u2029]", re.MULTILINE)
"""Directives and ends of documents, which concern what follows; line ends that YAML counts and we do not."""
_TAG = "tag:yaml.org,2002:"
_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Line and column, both from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFault:
    """A fault of the text itself."""

    position: Position
    message: str
    path: Path = ()


@dataclass(slots=True, kw_only=True)
class Document:
    """One YAML document as plain values.

    Attributes:
        value: mappings, lists, texts, truth values and None (numbers too, where they were asked for).
        keys: where each key stands; values: where each value stands; both by path.
        drawn: texts that came from the environment; never to be shown.
    """

    value: object
    start: Position
    keys: dict[Path, Position] = field(default_factory=dict)
    values: dict[Path, Position] = field(default_factory=dict)
    drawn: set[str] = field(default_factory=set)
    faults: list[SourceFault] = field(default_factory=list)

    def locate(self, path: Path, *, at_key: bool = False) -> Position:
        """Find a path, or the nearest place around it."""
        if at_key and path in self.keys:
            return self.keys[path]
        if path in self.values:
            return self.values[path]
        for length in range(len(path) - 1, 0, -1):
            place = self.keys.get(path[:length]) or self.values.get(path[:length])
            if place:
                return place
        return self.start


def decode(raw: bytes) -> str:
    """Give the text of a file.

    Raises:
        UnreadableText: it is no UTF-8 text of reasonable size.
    """
    if len(raw) > MAX_BYTES:
        raise UnreadableText(None, f"{len(raw)} bytes or more; job files have at most {MAX_BYTES}")
    if b"\0" in raw:
        raise UnreadableText(None, "not a text file; write YAML")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        before = raw[: exc.start].decode("utf-8")
        message = f"byte 0x{raw[exc.start]:02x} is not UTF-8; save the file as UTF-8"
        raise UnreadableText(_position_after(before), message) from exc


class UnreadableText(Exception):
    """A file's bytes are no text of ours."""

    def __init__(self, position: Position | None, message: str) -> None:
        super().__init__(message)
        self.position = position
        self.message = message


def read_documents(
    text: str, env: Mapping[str, str], *, numbers: bool = False
) -> tuple[list[Document], SourceFault | None]:
    """Read every document of a text; a syntax error leaves none of them.

    Args:
        text: YAML 1.2.
        env: variables for `${NAME}`.
        numbers: whether plain scalars that look like numbers become numbers.
    """
    try:
        parts = _compose_parts(text) or [(0, _compose(text))]
    except ReaderError as exc:
        place = _position_after(text[: exc.position])
        return [], SourceFault(position=place, message="a control character; remove it")
    except MarkedYAMLError as exc:
        return [], _syntax_fault(exc, text)
    except RecursionError:
        return [], SourceFault(position=Position(1, 1), message="nested too deeply; flatten it")
    except (YAMLError, ValueError) as exc:
        first = str(exc).splitlines()[0] if str(exc) else type(exc).__name__
        return [], SourceFault(position=Position(1, 1), message=f"not YAML: {first}")
    return [
        _Builder(env, numbers=numbers, line=line).document(node) for line, nodes in parts for node in nodes
    ], None


def _compose(text: str) -> tuple[Node, ...]:
    yaml = YAML(typ="safe", pure=True)
    return tuple(node for node in yaml.compose_all(text) if node is not None)


@lru_cache(maxsize=_KEPT_PARTS)
def _compose_part(part: str) -> tuple[Node, ...]:
    return _compose(part)


def _compose_parts(text: str) -> list[tuple[int, tuple[Node, ...]]] | None:
    """Compose document by document, each with the lines before it; None: the text has to be read as a whole.

    Composing is nearly all of the time that reading takes, and an edit changes one document of many: those
    that are unchanged are remembered by their text. A fault anywhere is worded by reading the whole.
    """
    starts = [match.start() for match in _BEGIN.finditer(text)]
    if not starts or _WHOLE.search(text):
        return None
    bounds = [0, *starts, len(text)]
    parts: list[tuple[int, tuple[Node, ...]]] = []
    line = 0
    for begin, end in pairwise(bounds):
        part = text[begin:end]
        try:
            nodes = _compose_part(part) if len(part) <= _KEPT_SIZE else _compose(part)
        except (YAMLError, ValueError, RecursionError):
            return None
        parts.append((line, nodes))
        line += part.count("\n")
    return parts


def _position_after(text: str) -> Position:
    return Position(text.count("\n") + 1, len(text) - text.rfind("\n"))


def _syntax_fault(exc: MarkedYAMLError, text: str) -> SourceFault:
    mark = exc.problem_mark or exc.context_mark
    place = Position(mark.line + 1, mark.column + 1) if mark else Position(1, 1)
    problem = str(exc.problem or exc.context or "not YAML")
    lines = text.splitlines()
    line = lines[place.line - 1] if place.line <= len(lines) else ""
    if "\\t" in problem:
        problem = "a tab; YAML takes spaces for indentation and between a key and its value"
    elif "{" in problem and "${" in line:
        problem = 'a ${VARIABLE} within [ ] or { }; put it in quotes: "${VARIABLE}"'
    else:
        problem = f"not YAML: {problem}; check indentation, quotes and brackets from here upwards"
    return SourceFault(position=place, message=problem)


class _TooLarge(Exception):
    """Aliases make a document grow beyond all bounds."""


class _Builder:
    """Turns one node tree into plain values, with positions."""

    def __init__(self, env: Mapping[str, str], *, numbers: bool, line: int) -> None:
        self._line = line + 1
        self._env = env
        self._numbers = numbers
        self._count = 0
        self._open: set[int] = set()
        self._doc = Document(value=None, start=Position(1, 1))

    def _at(self, node: Node) -> Position:
        return Position(node.start_mark.line + self._line, node.start_mark.column + 1)

    def document(self, root: Node) -> Document:
        self._doc.start = self._at(root)
        try:
            self._doc.value = self._value(root, ())
        except (_TooLarge, RecursionError):
            message = f"over {MAX_VALUES} values; aliases (*name) repeat too much, write it out"
            self._doc.faults = [SourceFault(position=self._doc.start, message=message)]
            self._doc.value = None
        return self._doc

    def _fault(self, node: Node, path: Path, message: str) -> None:
        self._doc.faults.append(SourceFault(position=self._at(node), message=message, path=path))

    def _value(self, node: Node, path: Path) -> object:
        self._doc.values.setdefault(path, self._at(node))
        self._count += 1
        if self._count > MAX_VALUES:
            raise _TooLarge
        if isinstance(node, ScalarNode):
            return self._scalar(node, path)
        if id(node) in self._open:
            self._fault(node, path, "an alias that contains itself; write it out")
            return None
        self._open.add(id(node))
        try:
            if isinstance(node, MappingNode):
                return self._mapping(node, path)
            assert isinstance(node, SequenceNode)
            return [self._value(item, (*path, index)) for index, item in enumerate(node.value)]
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: MappingNode, path: Path) -> dict[str, object]:
        found: dict[str, object] = {}
        merged: list[Node] = []
        first: dict[str, int] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                self._fault(key_node, path, "a key that is a list or a mapping; write a text")
                continue
            if str(key_node.tag) == f"{_TAG}merge":
                merged += value_node.value if isinstance(value_node, SequenceNode) else [value_node]
                continue
            key = str(key_node.value)
            inner = (*path, key)
            if not key.isprintable():
                self._fault(
                    key_node, path, "a key with characters that cannot be printed; write a plain name"
                )
                continue
            if key in found:
                self._fault(key_node, inner, f"given twice, first in line {first[key]}; keep one")
                continue
            first[key] = self._at(key_node).line
            self._doc.keys[inner] = self._at(key_node)
            found[key] = self._value(value_node, inner)
        for other in merged:
            self._merge(other, path, found)
        return found

    def _merge(self, node: Node, path: Path, found: dict[str, object]) -> None:
        if not isinstance(node, MappingNode):
            self._fault(node, path, "'<<' takes an alias of a mapping")
            return
        for key_node, value_node in node.value:
            key = str(key_node.value)
            if isinstance(key_node, ScalarNode) and key not in found:
                self._doc.keys[(*path, key)] = self._at(key_node)
                found[key] = self._value(value_node, (*path, key))

    def _scalar(self, node: ScalarNode, path: Path) -> object:
        tag, text = str(node.tag), str(node.value)
        if not tag.startswith(_TAG) or tag == f"{_TAG}binary":
            self._fault(node, path, f"the tag {tag.replace(_TAG, '!!')} is not supported; remove it")
            return None
        is_plain = node.style is None
        if is_plain and tag == f"{_TAG}null":
            return None
        if is_plain and text.lower() in ("true", "false"):
            return text.lower() == "true"
        try:
            result = interpolate(text, self._env)
        except Unusable as exc:
            self._fault(node, path, str(exc))
            return None
        self._doc.drawn |= result.drawn
        if odd := unusable(result.text):
            self._fault(node, path, odd)
            return None
        return _number(result.text) if is_plain and self._numbers else result.text


def _number(text: str) -> object:
    if text in ("true", "false"):
        return text == "true"
    if _INT.fullmatch(text) and len(text) < 19:
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text
