"""Base of the wire models and the scalars they share, so that a wrong value has one wording everywhere.

Values come from YAML (where a number stays text until a field asks for a number, so that `1.10` is not
turned into `1.1` on its way to a variable) and from JSON (native numbers); both spellings are read.
"""

from __future__ import annotations

import math
import re
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, WithJsonSchema
from pydantic.alias_generators import to_camel

_WHOLE = re.compile(r"[+-]?[0-9]+")
_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)(Gi|Mi)")
_UNITS = {"Gi": 1 << 30, "Mi": 1 << 20}
_VARIABLE = r"\$\{"
_SHOWN = 60
YEAR_S = 31_536_000


class WireModel(BaseModel):
    """Base of everything that people and clients write: camelCase keys, unknown ones refused."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=False,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )


def show(value: object) -> str:
    """Word a wrong value for a message: a scalar in quotes, anything else by its kind."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None:
        return "nothing"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    line = text.splitlines()[0] if text.splitlines() else ""
    return f"'{line[:_SHOWN]}…'" if len(text) > _SHOWN or line != text else f"'{text}'"


def without_nulls(value: object) -> object:
    """Copy a value without the members of mappings that are null: null means absent everywhere."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


def read_text(value: object) -> object:
    """Turn a scalar into text: `true`, `5`, `0.5`; anything else is refused."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, int | float):
        return str(value)
    raise ValueError(f"got {show(value)}; write a text")


def _read_whole(value: object) -> int:
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        if len(value) < 19:
            return int(value)
        raise ValueError(f"got {show(value)}; that is too large a number")
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError(f"got {show(value)}; write a whole number")


def read_number(value: object) -> float:
    """Read a finite number from a number or its text.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            number = math.nan
        if math.isfinite(number):
            return number
    raise ValueError(f"got {show(value)}; write a number such as 0.5")


def _read_flag(value: object) -> object:
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return value == "true"
    raise ValueError(f"got {show(value)}; write true or false")


def _read_cores(value: object) -> float:
    number = read_number(value)
    if number <= 0:
        raise ValueError(f"got {show(value)}; write a number of cores above 0, such as 0.5")
    return number


def parse_memory(text: str) -> int:
    """Give the bytes of a quantity such as `0.5Gi` or `512Mi`.

    Raises:
        ValueError: not such a quantity, or less than a byte.
    """
    match = _QUANTITY.fullmatch(text)
    size = int(float(match[1]) * _UNITS[match[2]]) if match and len(text) < 16 else 0
    if size < 1:
        raise ValueError(f"got {show(text)}; write a size such as '0.5Gi' or '512Mi'")
    return size


def format_memory(size_bytes: int) -> str:
    """Spell bytes as the service does: `0.5Gi`, `1Gi`; `100Mi` where Gi would need over two decimals."""
    gib = round(size_bytes / _UNITS["Gi"], 2)
    if int(gib * _UNITS["Gi"]) == size_bytes:
        return f"{gib:g}Gi"
    return f"{size_bytes / _UNITS['Mi']:g}Mi"


def _read_memory(value: object) -> object:
    text = value if isinstance(value, str) else show(value).strip("'")
    parse_memory(text)
    return text


def _read_word(value: object) -> object:
    text = read_text(value)
    if not isinstance(text, str) or not text.strip():
        raise ValueError("got an empty text; write one, or leave it out")
    return text


def bounded(least: int, most: int | None = None) -> BeforeValidator:
    """Read whole numbers within bounds, both included."""

    def read(value: object) -> int:
        number = _read_whole(value)
        if number < least:
            raise ValueError(f"got {number}; write {least} or more")
        if most is not None and number > most:
            raise ValueError(f"got {number}; write {most} or less")
        return number

    return BeforeValidator(read)


def whole_schema(least: int, most: int | None = None) -> WithJsonSchema:
    """Give the schema of such a number, or of a variable in its place."""
    text = {"type": "string", "pattern": rf"^[0-9]+$|{_VARIABLE}"}
    upper = {} if most is None else {"maximum": most}
    return WithJsonSchema({"anyOf": [{"type": "integer", "minimum": least, **upper}, text]})


def _text_schema(pattern: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": rf"{pattern}|{_VARIABLE}"})


Text = Annotated[str, BeforeValidator(read_text), WithJsonSchema({"type": ["string", "number", "boolean"]})]
"""A text; YAML scalars that look like numbers or truth values are taken as they are written."""
Word = Annotated[str, BeforeValidator(_read_word), WithJsonSchema({"type": "string", "minLength": 1})]
"""A text that may not be empty."""
Flag = Annotated[
    bool,
    BeforeValidator(_read_flag),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"type": "string", "pattern": _VARIABLE}]}),
]
"""`true` or `false`."""
Cores = Annotated[
    float,
    BeforeValidator(_read_cores),
    WithJsonSchema({"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string"}]}),
]
"""Processor cores, above 0; a number or its text."""
Memory = Annotated[str, BeforeValidator(_read_memory), _text_schema(r"^[0-9]+(\.[0-9]+)?(Gi|Mi)$")]
"""A size such as `0.5Gi` or `512Mi`."""
Count = Annotated[int, bounded(0), whole_schema(0)]
"""A whole number, 0 or more."""
Positive = Annotated[int, bounded(1), whole_schema(1)]
"""A whole number, 1 or more."""
Seconds = Annotated[int, bounded(1, YEAR_S), whole_schema(1)]
"""Whole seconds, from 1 to a year."""
ReadOnly = Annotated[object, WithJsonSchema({"readOnly": True})]
"""A member that the service fills in; ignored, so that what it answers can be kept as a file."""
Unsupported = Annotated[object, WithJsonSchema({"type": ["array", "null"], "maxItems": 0})]
"""A member that the service knows and that cannot run here yet; anything but an empty list is refused."""
